/* serve: see serve.h. A file is looked through before anything of it is
 * applied, so that one that can't be followed changes nothing. */
#include "serve.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#define MAX_ARGUMENT 65536

static const char *const passed[] = {"PATH", "HOME", "LANG", "TINKER_*"};

/* --- The state folder ----------------------------------------------------- */

/* "${NAME}/rest" as the environment has it. XDG_STATE_HOME has a default. */
static int expand(tinker__rec_serve_t *s, const char *text,
                  tinker__buf_t *report) {
  const tinker__world_t *w = tinker__world_real();
  char name[64] = "";
  const char *rest = text, *value = "", *more = "";
  if (strncmp(text, "${", 2) == 0 && strchr(text, '}')) {
    rest = strchr(text, '}') + 1;
    snprintf(name, sizeof name, "%.*s", (int)(rest - text - 3), text + 2);
    value = w->env(w->user, name);
  }
  if (!value && strcmp(name, "XDG_STATE_HOME") == 0) {
    value = w->env(w->user, "HOME");
    more = "/.local/state";
  }
  int n = snprintf(s->state_dir, sizeof s->state_dir, "%s%s%s",
                   value ? value : "", more, rest);
  if (value && n > 0 && (size_t)n < sizeof s->state_dir) return 0;
  tinker__buf_addf(report, "%s: defaults.state_dir: %s is not set\n", s->path,
                   name);
  return TINKER_EFORMAT;
}

/* --- Its runs ------------------------------------------------------------- */

/* NULL = the daemon has no trainer to start. */
static const char *name_of(const tinker__rec_policy_run_t *r) {
  bool named = r->match.n == 1 && strcmp(r->match.items[0].name, "name") == 0;
  return named && r->argv.n ? r->match.items[0].text : NULL;
}

static int check_run(const tinker__rec_serve_t *s,
                     const tinker__rec_policy_file_t *file, size_t i,
                     tinker__buf_t *report) {
  const tinker__rec_policy_run_t *runs = file->runs.items;
  const char *name = name_of(&runs[i]);
  if (!runs[i].argv.n) {
    tinker__buf_addf(report,
                     "%s: runs[%zu].trainer.argv: is missing: a run is watched "
                     "by the daemon that starts its trainer, and by no other\n",
                     s->path, i);
    return TINKER_EFORMAT;
  }
  size_t n = name ? strspn(name, "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
                  : 0;
  if (n > 0 && n <= 64 && !name[n]) return 0;
  tinker__buf_addf(report,
                   "%s: runs[%zu].match: a run whose trainer is started is "
                   "{name: NAME}, NAME of 1 to 64 of [A-Za-z0-9_-]\n",
                   s->path, i);
  return TINKER_EFORMAT;
}

static int check(const tinker__rec_serve_t *s,
                 const tinker__rec_policy_file_t *file, tinker__buf_t *report) {
  int rc = 0;
  for (size_t i = 0; i < file->runs.n; i++) {
    int one = check_run(s, file, i, report);
    if (one != 0) rc = one;
  }
  return rc;
}

/* text with each "{lineage}" as the name. */
static char *argument(tinker__arena_t *a, tinker__mem_t *mem, const char *text,
                      const char *name) {
  static const char mark[] = "{lineage}";
  tinker__buf_t b;
  tinker__buf_init(&b, mem, MAX_ARGUMENT);
  for (const char *at; (at = strstr(text, mark)); text = at + strlen(mark)) {
    tinker__buf_add(&b, text, (size_t)(at - text));
    tinker__buf_adds(&b, name);
  }
  tinker__buf_adds(&b, text);
  char *out =
      tinker__buf_error(&b) ? NULL : tinker__arena_str(a, tinker__buf_str(&b));
  tinker__buf_free(&b);
  return out;
}

static void take_policy(const tinker__rec_policy_run_t *r,
                        tinker__rec_spec_t *spec) {
  const tinker__rec_policy_t *p = &r->policy;
  spec->policy = (tinker__rec_restart_policy_t){
      .max_restarts = p->attempts.no_progress_cycles,
      .base_ms = p->attempts.backoff.base_ms,
      .cap_ms = p->attempts.backoff.cap_ms,
      .factor = p->attempts.backoff.factor,
      .jitter = p->attempts.backoff.jitter == TINKER__REC_JITTER_FULL,
      .grace_ms = r->kill_after_ms,
      .stopped_code = p->notify.stopped_code,
      .exhausted_code = p->notify.exhausted_code};
  spec->hang_ms =
      r->hang_after_ms == TINKER__REC_NO_LIMIT ? 0 : r->hang_after_ms;
}

static int take_hook(tinker__arena_t *a, const tinker__rec_policy_t *p,
                     tinker__rec_spec_t *spec) {
  size_t n = p->notify.argv.n;
  char **argv = tinker__arena_array(a, n + 1, sizeof *argv);
  for (size_t i = 0; argv && i < n; i++) {
    argv[i] = (char *)(uintptr_t)p->notify.argv.items[i]; /* only read */
  }
  spec->hook = argv;
  spec->hook_on = p->notify.on;
  spec->hook_ms = p->notify.timeout_ms;
  return argv ? 0 : TINKER_ENOMEM;
}

/* What the run itself has to know of the file. */
static int take_passed(tinker__arena_t *a, tinker__mem_t *mem,
                       const tinker__rec_policy_file_t *file, size_t i,
                       tinker__rec_spec_t *spec) {
  tinker__buf_t b;
  tinker__buf_init(&b, mem, MAX_ARGUMENT);
  tinker__buf_adds(&b, "TINKER_RUN_POLICY=");
  tinker__rec_policy_pass(file, i, &b);
  if (!tinker__buf_error(&b)) {
    spec->run_policy = tinker__arena_str(a, tinker__buf_str(&b));
  }
  tinker__buf_free(&b);
  return spec->run_policy ? 0 : TINKER_ENOMEM;
}

/* The strings of spec are the file's and the arena's. */
static int spec_of(tinker__arena_t *a, tinker__mem_t *mem,
                   const tinker__rec_policy_file_t *file, size_t at,
                   tinker__rec_spec_t *spec) {
  const tinker__rec_policy_run_t *r =
      (const tinker__rec_policy_run_t *)file->runs.items + at;
  char **argv = tinker__arena_array(a, r->argv.n + 1, sizeof *argv);
  spec->name = name_of(r);
  for (size_t i = 0; argv && i < r->argv.n; i++) {
    argv[i] = argument(a, mem, r->argv.items[i], spec->name);
    if (!argv[i]) return TINKER_ENOMEM;
  }
  spec->argv = argv;
  spec->env_allow = r->env_allow.n ? r->env_allow.items : passed;
  spec->env_count =
      r->env_allow.n ? r->env_allow.n : sizeof passed / sizeof passed[0];
  take_policy(r, spec);
  int rc = argv ? take_hook(a, &r->policy, spec) : TINKER_ENOMEM;
  return rc == 0 ? take_passed(a, mem, file, at, spec) : rc;
}

/* --- Applying ------------------------------------------------------------- */

static int apply_spec(tinker__rec_daemon_t *d, const tinker__rec_spec_t *spec,
                      char *why, size_t why_len) {
  tinker__rec_trainer_t *t = tinker__rec_trainer_find(d, spec->name);
  if (!t) return tinker__rec_trainer_add(d, spec, false, why, why_len);
  int rc = tinker__rec_trainer_set(t, spec);
  if (rc == 0 && t->restart.state == TINKER__REC_TRAINER_LEFT) {
    tinker__rec_trainer_on(t, TINKER__REC_ON_RELEASE, "the file has it again");
  }
  return rc;
}

/* One that is not enabled has no trainer of ours. */
static bool acts(tinker__rec_daemon_t *d, const tinker__rec_policy_run_t *r) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (!name_of(r)) return false;
  if (r->policy.enabled) return true;
  facts.why = tinker__str("it is not enabled");
  tinker__rec_tell(d, "not_started", name_of(r), &facts);
  return false;
}

static int apply_run(tinker__rec_daemon_t *d,
                     const tinker__rec_policy_file_t *file, size_t at,
                     char *why, size_t why_len) {
  const tinker__rec_policy_run_t *runs = file->runs.items;
  tinker__rec_spec_t spec = {.name = NULL};
  tinker__arena_t arena;
  if (!acts(d, &runs[at])) return 0;
  tinker__arena_init(&arena, &d->mem);
  int rc = spec_of(&arena, &d->mem, file, at, &spec);
  if (rc == 0) rc = apply_spec(d, &spec, why, why_len);
  tinker__arena_free(&arena);
  return rc;
}

static bool has_run(const tinker__rec_policy_file_t *file, const char *name) {
  const tinker__rec_policy_run_t *runs = file->runs.items;
  for (size_t i = 0; i < file->runs.n; i++) {
    const char *other = name_of(&runs[i]);
    if (!other || !runs[i].policy.enabled) continue;
    if (strcmp(other, name) == 0) return true;
  }
  return false;
}

/* One that the file does not have any more is ended, and can go on when it has
 * it again. */
static void leave_others(tinker__rec_daemon_t *d,
                         const tinker__rec_policy_file_t *file) {
  TINKER__LIST_EACH(l, tmp, &d->trainers) {
    tinker__rec_trainer_t *t =
        TINKER__CONTAINER(l, tinker__rec_trainer_t, link);
    if (has_run(file, t->spec.name)) continue;
    tinker__rec_trainer_on(t, TINKER__REC_ON_LEAVE, "the file has it no more");
  }
}

static int apply(tinker__rec_daemon_t *d, const tinker__rec_policy_file_t *file,
                 char *why, size_t why_len) {
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < file->runs.n; i++) {
    rc = apply_run(d, file, i, why, why_len);
  }
  if (rc == 0) leave_others(d, file);
  return rc;
}

static int reload(tinker__rec_daemon_t *d, char *why, size_t why_len) {
  tinker__rec_serve_t *s = d->file;
  tinker__rec_policy_file_t *file = NULL;
  tinker__buf_t report;
  tinker__buf_init(&report, &d->mem, MAX_ARGUMENT);
  int rc = d->phase == TINKER__REC_DAEMON_WORKS ? 0 : TINKER_ESTATE;
  if (rc == 0) {
    rc = tinker__rec_policy_reload(&file, s->file, d->world, s->path, &report);
  }
  if (rc == 0) rc = check(s, file, &report);
  if (rc != 0) {
    tinker__why(why, why_len, rc, "%s", tinker__buf_cstr(&report));
    tinker__rec_policy_free(file);
  } else {
    tinker__rec_policy_free(s->file);
    s->file = file;
    rc = apply(d, file, why, why_len);
    if (rc != 0) tinker__rec_daemon_break(d, "out of memory");
  }
  tinker__buf_free(&report);
  return rc;
}

/* --- Beginning and end ---------------------------------------------------- */

int tinker__rec_serve_begin(tinker__rec_serve_t *s, const char *path,
                            const char *given, tinker__buf_t *report) {
  memset(s, 0, sizeof *s);
  s->path = path;
  tinker__mem_init(&s->mem, NULL, 0);
  int rc = tinker__rec_policy_read(&s->file, &s->mem, tinker__world_real(),
                                   path, report);
  if (rc == 0) rc = check(s, s->file, report);
  if (rc == 0) {
    rc = expand(s, given ? given : s->file->host.state_dir, report);
  }
  return rc;
}

int tinker__rec_serve_start(tinker__rec_serve_t *s, tinker__rec_daemon_t *d,
                            char *why, size_t why_len) {
  d->lasts = true;
  d->reload = reload;
  d->file = s;
  return apply(d, s->file, why, why_len);
}

void tinker__rec_serve_end(tinker__rec_serve_t *s) {
  tinker__rec_policy_free(s->file);
  s->file = NULL;
}
