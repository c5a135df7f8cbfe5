/* rules: what a policy may not say although each of its keys is in its limits.
 *
 * Each rule is applied to the defaults and to every run. A run that sets none
 * of a rule's keys has them from the defaults, where the fault is reported. A
 * key that has a fault already is not judged: its value is not the one of the
 * file. */
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"
#include "yaml/scalar.h"

/* The policy that is checked: the defaults, or a run's. */
typedef struct tinker__rec_scope_s {
  tinker__yaml_t *yaml;
  const tinker__rec_policy_t *policy;
  const char *prefix; /* of its keys: "defaults.", "runs[2]." */
  bool is_run;
} tinker__rec_scope_t;

typedef struct tinker__rec_pair_s {
  tinker__yaml_type_t type;
  const char *small; /* the key that must be smaller */
  size_t small_at;
  const char *big;
  size_t big_at;
  bool may_be_equal;
  const char *why;
} tinker__rec_pair_t;

#define AT(member) offsetof(tinker__rec_policy_t, member)

/* clang-format off */
static const tinker__rec_pair_t pairs[] = {
    {TINKER__YAML_DURATION,
     "detect.poll.suspect", AT(detect.poll.suspect_ms),
     "detect.poll.idle", AT(detect.poll.idle_ms), true,
     "a run that is suspect is not looked at less often"},
    {TINKER__YAML_DURATION,
     "detect.poll.suspect", AT(detect.poll.suspect_ms),
     "detect.confirm.within", AT(detect.confirm.within_ms), true,
     "two reads are so far apart"},
    {TINKER__YAML_INT,
     "detect.loss.spike.warmup", AT(detect.loss.spike.warmup),
     "detect.loss.spike.window", AT(detect.loss.spike.window), true,
     "the window never holds so many steps"},
    {TINKER__YAML_INT,
     "checkpoint.retain.min_validated", AT(checkpoint.retain.min_validated),
     "checkpoint.retain.last_validated", AT(checkpoint.retain.last_validated),
     true, "more must be kept than are kept"},
    {TINKER__YAML_DURATION,
     "attempts.backoff.base", AT(attempts.backoff.base_ms),
     "attempts.backoff.cap", AT(attempts.backoff.cap_ms), true,
     "the first wait is the shortest"}};
/* Only where the interval is a time. */
static const tinker__rec_pair_t time_pairs[] = {
    {TINKER__YAML_DURATION,
     "checkpoint.interval.min", AT(checkpoint.interval.min_ms),
     "checkpoint.interval.max", AT(checkpoint.interval.max_ms), true,
     "no interval is between them"}};
/* clang-format on */

static void full_key(const tinker__rec_scope_t *s, const char *key,
                     char out[200]) {
  snprintf(out, 200, "%s%s", s->prefix, key);
}

static bool is_set(const tinker__rec_scope_t *s, const char *key) {
  char full[200];
  full_key(s, key, full);
  return tinker__yaml_has(s->yaml, full);
}

/* True when the value of the key may not be what the file wanted to say. */
static bool is_bad(const tinker__rec_scope_t *s, const char *key) {
  const tinker__rec_scope_t defaults = {.prefix = "defaults."};
  char full[200];
  full_key(s, key, full);
  if (tinker__yaml_faulty(s->yaml, full)) return true;
  full_key(&defaults, key, full);
  return s->is_run && tinker__yaml_faulty(s->yaml, full);
}

/* True when a fault of this key is reported here. */
static bool is_here(const tinker__rec_scope_t *s, const char *key) {
  return !s->is_run || is_set(s, key);
}

static void check_pair(const tinker__rec_scope_t *s,
                       const tinker__rec_pair_t *p) {
  int64_t small, big;
  char key[200], text[2][48];
  memcpy(&small, (const char *)s->policy + p->small_at, sizeof small);
  memcpy(&big, (const char *)s->policy + p->big_at, sizeof big);
  if (small < big || (p->may_be_equal && small == big)) return;
  if (is_bad(s, p->small) || is_bad(s, p->big)) return;
  const bool at_small = is_set(s, p->small);
  if (!at_small && !is_here(s, p->big)) return;
  tinker__yaml_scalar_t v[2] = {{small, 0}, {big, 0}};
  for (int i = 0; i < 2; i++) {
    tinker__yaml_scalar_write(p->type, &v[i], text[i]);
  }
  full_key(s, at_small ? p->small : p->big, key);
  const char *must = at_small ? p->may_be_equal ? "not be more" : "be less"
                     : p->may_be_equal ? "not be less"
                                       : "be more";
  tinker__yaml_fault(s->yaml, key, "%s must %s than %s, which is %s: %s",
                     text[!at_small], must, at_small ? p->big : p->small,
                     text[at_small], p->why);
}

/* A fault at a key, if it is of this scope. */
#define REFUSE(s, key, ...)                                                    \
  do {                                                                         \
    char full_[200];                                                           \
    full_key(s, key, full_);                                                   \
    tinker__yaml_fault((s)->yaml, full_, __VA_ARGS__);                         \
  } while (0)

static void check_interval(const tinker__rec_scope_t *s) {
  if (s->policy->checkpoint.interval.mode == TINKER__REC_INTERVAL_STEPS ||
      is_bad(s, "checkpoint.interval.mode")) {
    return;
  }
  for (size_t i = 0; i < sizeof time_pairs / sizeof time_pairs[0]; i++) {
    check_pair(s, &time_pairs[i]);
  }
}

static void check_proof(const tinker__rec_scope_t *s) {
  const tinker__rec_policy_t *p = s->policy;
  const int64_t all = (2 << TINKER__REC_MATCH_PLAN_DIGEST) - 1;
  if (p->resume.match != all && is_here(s, "resume.match") &&
      !is_bad(s, "resume.match")) {
    REFUSE(s, "resume.match",
           "none may be left out: a checkpoint of another model, rank, train "
           "flag or plan is another run's; options.allow lets a plan change");
  }
  if (!p->checkpoint.del.two_phase && is_here(s, "checkpoint.delete")) {
    REFUSE(s, "checkpoint.delete.two_phase",
           "must be true: a crash between two deletions must not lose the "
           "last good one");
  }
  if (p->notify.stopped_code == p->notify.exhausted_code &&
      is_here(s, "notify.exit_codes") && !is_bad(s, "notify.exit_codes")) {
    REFUSE(s, "notify.exit_codes.exhausted",
           "%lld must differ from notify.exit_codes.stopped_do_not_retry",
           (long long)p->notify.exhausted_code);
  }
}

static void check_policy(const tinker__rec_scope_t *s) {
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    check_pair(s, &pairs[i]);
  }
  check_interval(s);
  check_proof(s);
}

/* --- Beside the policy ---------------------------------------------------- */

static bool is_name(tinker__str_t s) {
  static const char may[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "abcdefghijklmnopqrstuvwxyz_0123456789";
  if (!s.len || (s.ptr[0] >= '0' && s.ptr[0] <= '9')) return false;
  for (size_t i = 0; i < s.len; i++) {
    if (!s.ptr[i] || !strchr(may, s.ptr[i])) return false;
  }
  return true;
}

/* "/..." or "${NAME}...". */
static bool is_folder(const char *path) {
  if (path[0] == '/') return !strstr(path, "${");
  if (strncmp(path, "${", 2)) return false;
  const char *end = strchr(path, '}');
  return end && is_name((tinker__str_t){path + 2, (size_t)(end - path) - 2}) &&
         (end[1] == '/' || !end[1]) && !strstr(end, "${");
}

static void check_match(const tinker__rec_scope_t *s,
                        const tinker__yaml_named_t *match) {
  for (size_t i = 0; i < match->n; i++) {
    const char *name = match->items[i].name;
    bool meta = strncmp(name, "user_metadata.", 14) == 0 && name[14];
    if (!meta && strcmp(name, "name") && strcmp(name, "base_model")) {
      REFUSE(s, "match",
             "'%s' is not matched: name, base_model or user_metadata.KEY",
             name);
    }
  }
}

static bool has_pair(const tinker__yaml_named_t *m,
                     const tinker__yaml_pair_t *pair) {
  for (size_t i = 0; i < m->n; i++) {
    if (!strcmp(m->items[i].name, pair->name) &&
        !strcmp(m->items[i].text, pair->text)) {
      return true;
    }
  }
  return false;
}

/* True when every run that fits b fits a too. */
static bool covers(const tinker__yaml_named_t *a,
                   const tinker__yaml_named_t *b) {
  for (size_t i = 0; i < a->n; i++) {
    if (!has_pair(b, &a->items[i])) return false;
  }
  return true;
}

static void check_trainer(const tinker__rec_scope_t *s,
                          const tinker__rec_policy_run_t *run) {
  bool whole = !is_bad(s, "trainer.env_allow");
  for (size_t i = 0; whole && i < run->env_allow.n; i++) {
    char key[64];
    snprintf(key, sizeof key, "trainer.env_allow[%zu]", i);
    if (!is_name(tinker__str(run->env_allow.items[i]))) {
      REFUSE(s, key,
             "'%s' is not the name of a variable: letters, digits and _",
             run->env_allow.items[i]);
    }
  }
  if (run->argv.n && !run->argv.items[0][0] && !is_bad(s, "trainer.argv")) {
    REFUSE(s, "trainer.argv[0]", "is empty: it wants a program");
  }
}

static void check_run(const tinker__rec_policy_file_t *file, size_t i) {
  const tinker__rec_policy_run_t *runs = file->runs.items;
  char prefix[40];
  snprintf(prefix, sizeof prefix, "runs[%zu].", i);
  const tinker__rec_scope_t s = {file->yaml, &runs[i].policy, prefix, true};
  check_policy(&s);
  check_match(&s, &runs[i].match);
  check_trainer(&s, &runs[i]);
  const size_t before = is_bad(&s, "match") ? 0 : i;
  for (size_t k = 0; k < before; k++) {
    if (covers(&runs[k].match, &runs[i].match)) {
      REFUSE(&s, "match", "never used: what fits it fits runs[%zu] before it",
             k);
      break;
    }
  }
}

void tinker__rec_policy_rules(const tinker__rec_policy_file_t *file) {
  const tinker__rec_scope_t s = {file->yaml, &file->defaults, "defaults.",
                                 false};
  check_policy(&s);
  if (!is_folder(file->host.state_dir)) {
    tinker__yaml_fault(file->yaml, "defaults.state_dir",
                       "'%s' is not an absolute path, and does not begin with "
                       "a variable, as ${HOME}",
                       file->host.state_dir);
  }
  for (size_t i = 0; i < file->runs.n; i++) check_run(file, i);
}
