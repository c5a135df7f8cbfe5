/* check: see check.h. The output is YAML as a whole: the worst case stands in
 * comments. */
#include "policy/check.h"

#include <tinker/error.h>

/* Adds text, each of its lines after "#". */
static void comment(tinker__buf_t *out, const tinker__buf_t *text) {
  bool begins = true;
  for (size_t i = 0; i < text->len; i++) {
    if (begins) tinker__buf_addc(out, '#');
    tinker__buf_addc(out, text->data[i]);
    begins = text->data[i] == '\n';
  }
  if (tinker__buf_error(text)) tinker__buf_fail(out, tinker__buf_error(text));
}

static void worst_of(const tinker__rec_policy_t *policy,
                     const tinker__rec_times_t *times, tinker__buf_t *out) {
  tinker__buf_t text;
  tinker__buf_init(&text, out->mem, 65536);
  tinker__rec_worst_print(policy, times, &text);
  comment(out, &text);
  tinker__buf_free(&text);
}

static void print_all(const tinker__rec_policy_file_t *file,
                      const tinker__rec_times_t *times, tinker__buf_t *out) {
  const tinker__rec_policy_run_t *runs = file->runs.items;
  tinker__rec_policy_print(file, out);
  tinker__buf_adds(out, "\n# worst case of the defaults\n");
  worst_of(&file->defaults, times, out);
  for (size_t i = 0; i < file->runs.n; i++) {
    tinker__buf_addf(out, "# worst case of runs[%zu]\n", i);
    tinker__rec_times_t t = *times;
    t.kill_ms = runs[i].kill_after_ms;
    t.hang_ms = runs[i].hang_after_ms;
    worst_of(&runs[i].policy, &t, out);
  }
}

int tinker__rec_policy_check(tinker__mem_t *mem, const tinker__world_t *world,
                             const char *path, const tinker__rec_times_t *times,
                             tinker__buf_t *out, tinker__buf_t *faults) {
  tinker__rec_policy_file_t *file;
  int rc = tinker__rec_policy_read(&file, mem, world, path, faults);
  if (rc) {
    return rc == TINKER_EFORMAT ? TINKER__REC_CHECK_BAD
                                : TINKER__REC_CHECK_UNREAD;
  }
  print_all(file, times, out);
  tinker__rec_policy_free(file);
  if (!tinker__buf_error(out)) return TINKER__REC_CHECK_GOOD;
  tinker__buf_adds(faults, "out of memory\n");
  return TINKER__REC_CHECK_UNREAD;
}
