/* policy: see policy.h. */
#include "policy/policy.h"

#include <string.h>
#include <tinker/error.h>

#include "base/file.h"
#include "base/show.h"

void tinker__rec_policy_free(tinker__rec_policy_file_t *file) {
  if (!file) return;
  tinker__yaml_free(file->yaml);
  tinker__mem_free(file->mem, file);
}

/* One line of a report that is not about a place in the file. */
static int say(tinker__buf_t *report, int code, const char *line) {
  if (report) {
    tinker__buf_adds(report, line);
    tinker__buf_addc(report, '\n');
  }
  return code;
}

/* Gives the file away, or its faults and nothing. */
static int end(tinker__rec_policy_file_t **out, tinker__rec_policy_file_t *file,
               tinker__buf_t *report) {
  int rc = tinker__yaml_error(file->yaml);
  if (rc == 0) {
    *out = file;
    return 0;
  }
  if (rc == TINKER_ENOMEM) {
    say(report, rc, "out of memory");
  } else if (report) {
    tinker__yaml_report(file->yaml, report);
  }
  tinker__rec_policy_free(file);
  return rc;
}

/* Reads the text; the faults are in the file's yaml. */
static int parse(tinker__rec_policy_file_t **out, tinker__mem_t *mem,
                 tinker__str_t text, const char *name, tinker__buf_t *report) {
  tinker__rec_policy_file_t *file = tinker__mem_zalloc(mem, sizeof *file);
  if (!file) return say(report, TINKER_ENOMEM, "out of memory");
  file->mem = mem;
  int rc = tinker__yaml_read(&file->yaml, mem, text, name,
                             tinker__rec_policy_table, file);
  if (rc && rc != TINKER_EFORMAT) {
    tinker__mem_free(mem, file);
    return say(report, rc, "out of memory");
  }
  tinker__rec_policy_rules(file);
  *out = file;
  return 0;
}

int tinker__rec_policy_parse(tinker__rec_policy_file_t **out,
                             tinker__mem_t *mem, tinker__str_t text,
                             const char *name, tinker__buf_t *report) {
  tinker__rec_policy_file_t *file;
  int rc = parse(&file, mem, text, name, report);
  return rc ? rc : end(out, file, report);
}

/* As parse; what the faults call the file can go to a terminal. */
static int load(tinker__rec_policy_file_t **out, tinker__mem_t *mem,
                const tinker__world_t *world, const char *path,
                tinker__buf_t *report) {
  tinker__buf_t text;
  char why[600], shown[300];
  tinker__show(shown, sizeof shown, tinker__str(path));
  tinker__buf_init(&text, mem, TINKER__YAML_MAX_BYTES);
  int rc = tinker__file_read(world, path, &text, why, sizeof why);
  if (rc) {
    say(report, rc, why);
  } else {
    rc = parse(out, mem, tinker__buf_str(&text), shown, report);
  }
  tinker__buf_free(&text);
  return rc;
}

int tinker__rec_policy_read(tinker__rec_policy_file_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world, const char *path,
                            tinker__buf_t *report) {
  tinker__rec_policy_file_t *file;
  int rc = load(&file, mem, world, path, report);
  return rc ? rc : end(out, file, report);
}

int tinker__rec_policy_reload(tinker__rec_policy_file_t **out,
                              const tinker__rec_policy_file_t *old,
                              const tinker__world_t *world, const char *path,
                              tinker__buf_t *report) {
  tinker__rec_policy_file_t *file;
  int rc = load(&file, old->mem, world, path, report);
  if (rc) return rc;
  if (strcmp(old->host.state_dir, file->host.state_dir) &&
      !tinker__yaml_faulty(file->yaml, "defaults.state_dir")) {
    tinker__yaml_fault(file->yaml, "defaults.state_dir",
                       "'%s' is not '%s', which is in use: a reload can't "
                       "change it",
                       file->host.state_dir, old->host.state_dir);
  }
  return end(out, file, report);
}

void tinker__rec_policy_print(const tinker__rec_policy_file_t *file,
                              tinker__buf_t *out) {
  tinker__yaml_print(out, tinker__rec_policy_table, file, NULL);
}
