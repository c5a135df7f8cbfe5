/* fault_plan: see fault_plan.h. Pure. */
#include "service/fault/fault_plan.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include <tinker/error.h>

#include "base/json_read.h"
#include "base/map.h"

#define MAX_RULES 1000
#define MAX_MS (int64_t)1000000000

/* --- Acts and their arguments --------------------------------------------- */

/* The arguments of acts, as bits. */
enum {
  ARG_MS = 1,
  ARG_BYTES = 2,
  ARG_STATUS = 4,
  ARG_RETRY_AFTER = 8,
  ARG_BODY = 16,
  ARG_CONTENT_TYPE = 32,
  ARG_STATE = 64,
  ARG_REASON = 128,
  ARG_APPLIED = 256,
  ARG_FLAG = 512
};

/* An act on numbered calls may be for one or two endpoints only; NULL = for
 * every call that it can be given. */
static const struct {
  const char *name;
  unsigned needs, takes;
  const char *endpoint, *or_endpoint;
} acts[TINKER__FAULT_ACTS] = {
    [TINKER__FAULT_DELAY] = {"delay", ARG_MS, 0, NULL, NULL},
    [TINKER__FAULT_HANG] = {"hang", 0, 0, NULL, NULL},
    [TINKER__FAULT_DROP] = {"drop", 0, 0, NULL, NULL},
    [TINKER__FAULT_RESET] = {"reset", 0, 0, NULL, NULL},
    [TINKER__FAULT_STATUS] = {"status", ARG_STATUS,
                              ARG_BODY | ARG_CONTENT_TYPE | ARG_RETRY_AFTER,
                              NULL, NULL},
    [TINKER__FAULT_REORDER] = {"reorder", 0, 0, NULL, NULL},
    [TINKER__FAULT_DUPLICATE] = {"duplicate", 0, 0, NULL, NULL},
    [TINKER__FAULT_LOSE_REPLY] = {"lose_reply", 0, 0, NULL, NULL},
    [TINKER__FAULT_CUT] = {"cut", ARG_BYTES, 0, NULL, NULL},
    [TINKER__FAULT_TRICKLE] = {"trickle", ARG_MS | ARG_BYTES, 0, NULL, NULL},
    [TINKER__FAULT_CONTENT_TYPE] = {"content_type", ARG_CONTENT_TYPE, 0, NULL,
                                    NULL},
    [TINKER__FAULT_SESSION_GONE] = {"session_gone", 0, 0, NULL, NULL},
    [TINKER__FAULT_STALE_LIST] = {"stale_list", ARG_MS, 0, NULL, NULL},
    [TINKER__FAULT_SHOW_CORRUPTED] = {"show_corrupted", 0, 0, NULL, NULL},
    [TINKER__FAULT_PAUSE] = {"pause", ARG_MS, ARG_STATE | ARG_REASON, NULL,
                             NULL},
    [TINKER__FAULT_FORGET] = {"forget", 0, ARG_APPLIED, NULL, NULL},
    [TINKER__FAULT_CORRUPT] = {"corrupt", 0, ARG_FLAG, NULL, NULL},
    [TINKER__FAULT_CRASH] = {"crash", 0, 0, NULL, NULL},
    [TINKER__FAULT_DROP_OPTIMIZER] = {"drop_optimizer", 0, 0, "load_weights",
                                      NULL},
    [TINKER__FAULT_APPLY_TWICE] = {"apply_twice", 0, 0, "optim_step",
                                   "forward_backward"},
    [TINKER__FAULT_KEEP_GRADIENTS] = {"keep_gradients", 0, 0, "optim_step",
                                      NULL},
    [TINKER__FAULT_IGNORE] = {"ignore", 0, 0, "optim_step", NULL},
    [TINKER__FAULT_FLIP_BIT] = {"flip_bit", 0, 0, "save_weights",
                                "save_weights_for_sampler"},
    [TINKER__FAULT_SAVE_OLD] = {"save_old", 0, 0, "save_weights",
                                "save_weights_for_sampler"},
    [TINKER__FAULT_EXPIRE] = {"expire", ARG_MS, 0, "save_weights",
                              "save_weights_for_sampler"}};

const char *tinker__svc_fault_act_name(tinker__svc_fault_act_t act) {
  return acts[act].name;
}

/* --- Reading -------------------------------------------------------------- */

typedef enum { KEY_TEXT, KEY_INT, KEY_BOOL, KEY_RATE, KEY_ACT } key_type_t;

#define AT(member) offsetof(tinker__svc_fault_rule_t, member)

static const struct key {
  const char *name;
  key_type_t type;
  size_t at;
  int64_t min, max;
  unsigned arg; /* the bit of an act's argument; 0 = a condition */
} keys[] = {
    {"act", KEY_ACT, AT(act), 0, 0, 0},
    {"endpoint", KEY_TEXT, AT(endpoint), 0, 0, 0},
    {"id", KEY_TEXT, AT(id), 0, 0, 0},
    {"of", KEY_TEXT, AT(of), 0, 0, 0},
    {"seq_id", KEY_INT, AT(seq), 0, INT32_MAX, 0},
    {"nth", KEY_INT, AT(nth), 1, MAX_MS, 0},
    {"after", KEY_INT, AT(after), 0, MAX_MS, 0},
    {"times", KEY_INT, AT(times), 1, MAX_MS, 0},
    {"for_ms", KEY_INT, AT(for_ms), 1, MAX_MS, 0},
    {"probability", KEY_RATE, AT(probability), 0, 0, 0},
    {"ms", KEY_INT, AT(ms), 0, MAX_MS, ARG_MS},
    {"bytes", KEY_INT, AT(bytes), 0, MAX_MS, ARG_BYTES},
    {"status", KEY_INT, AT(status), 200, 599, ARG_STATUS},
    {"retry_after", KEY_INT, AT(retry_after), 0, 86400, ARG_RETRY_AFTER},
    {"body", KEY_TEXT, AT(body), 0, 0, ARG_BODY},
    {"content_type", KEY_TEXT, AT(content_type), 0, 0, ARG_CONTENT_TYPE},
    {"state", KEY_TEXT, AT(state), 0, 0, ARG_STATE},
    {"reason", KEY_TEXT, AT(reason), 0, 0, ARG_REASON},
    {"applied", KEY_BOOL, AT(applied), 0, 0, ARG_APPLIED},
    {"flag", KEY_BOOL, AT(flag), 0, 0, ARG_FLAG}};

typedef struct {
  tinker__json_t json;
  tinker__svc_fault_plan_t *plan;
  size_t cap;
  char *why;
  size_t why_len;
} read_t;

static int wrong(read_t *r, const char *key, const char *text) {
  return tinker__why(r->why, r->why_len, TINKER_EINVAL, "rules[%zu].%s: %s",
                     r->plan->n - 1, key, text);
}

static bool take_act(tinker__json_t *j, tinker__svc_fault_act_t *out) {
  tinker__str_t s;
  if (!tinker__json_string(j, &s)) return false;
  for (int i = 0; i < TINKER__FAULT_ACTS; i++) {
    if (!tinker__str_eqs(s, acts[i].name)) continue;
    *out = (tinker__svc_fault_act_t)i;
    return true;
  }
  return false;
}

/* Reads a value into `at`. 0 or a code; then *wanted says how the value must
 * be. */
static int take_value(read_t *r, const struct key *k, void *at,
                      const char **wanted) {
  tinker__json_t *j = &r->json;
  tinker__str_t s;
  int64_t n;
  double rate;
  switch (k->type) {
  case KEY_TEXT:
    *wanted = "must be a string, without NUL";
    if (!tinker__json_string(j, &s) || memchr(s.ptr, 0, s.len)) break;
    *(char **)at = tinker__mem_strndup(r->plan->mem, s.ptr, s.len);
    return *(char **)at ? 0 : TINKER_ENOMEM;
  case KEY_INT:
    *wanted = "must be an integer in its range (docs/faults.md)";
    if (!tinker__json_i64(j, &n) || n < k->min || n > k->max) break;
    *(int64_t *)at = n;
    return 0;
  case KEY_BOOL:
    *wanted = "must be true or false";
    return tinker__json_bool(j, at) ? 0 : TINKER_EINVAL;
  case KEY_RATE:
    *wanted = "must be a number above 0, at most 1";
    if (!tinker__json_f64(j, &rate) || !(rate > 0 && rate <= 1)) break;
    *(double *)at = rate;
    return 0;
  default:
    *wanted = "is not an act that docs/faults.md lists";
    return take_act(j, at) ? 0 : TINKER_EINVAL;
  }
  return j->error == TINKER_ENOMEM ? TINKER_ENOMEM : TINKER_EINVAL;
}

static int take_key(read_t *r, tinker__svc_fault_rule_t *f, tinker__str_t key,
                    uint64_t *seen) {
  char name[80];
  const char *wanted = "";
  size_t i = 0, n = sizeof keys / sizeof *keys;
  while (i < n && !tinker__str_eqs(key, keys[i].name)) i++;
  if (i == n) {
    size_t len = key.len < sizeof name ? key.len : sizeof name - 1;
    memcpy(name, key.ptr, len);
    name[len] = 0;
    return wrong(r, name, "is not a key of a rule");
  }
  if (*seen & (1ull << i)) return wrong(r, keys[i].name, "is there twice");
  *seen |= 1ull << i;
  int rc = take_value(r, &keys[i], (char *)f + keys[i].at, &wanted);
  return rc == TINKER_EINVAL ? wrong(r, keys[i].name, wanted) : rc;
}

/* Checks that the arguments fit the act and that the act fits the endpoint. */
static int check_rule(read_t *r, const tinker__svc_fault_rule_t *f,
                      uint64_t seen) {
  unsigned needs = acts[f->act].needs;
  unsigned known = needs | acts[f->act].takes;
  if (!(seen & 1)) return wrong(r, "act", "is required");
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    unsigned arg = keys[i].arg;
    bool given = (seen & (1ull << i)) != 0;
    if (arg && given && !(arg & known)) {
      return wrong(r, keys[i].name, "is not an argument of this act");
    }
    if (arg && !given && (arg & needs)) {
      return wrong(r, keys[i].name, "is required by this act");
    }
  }
  const char *one = acts[f->act].endpoint, *other = acts[f->act].or_endpoint;
  if (one && (!f->endpoint || (strcmp(f->endpoint, one) != 0 &&
                               (!other || strcmp(f->endpoint, other) != 0)))) {
    return wrong(r, "endpoint", "does not fit this act");
  }
  if (f->act == TINKER__FAULT_TRICKLE && f->bytes == 0) {
    return wrong(r, "bytes", "must be 1 or more");
  }
  return 0;
}

static int read_rule(read_t *r) {
  tinker__str_t key;
  uint64_t seen = 0;
  tinker__svc_fault_plan_t *p = r->plan;
  if (p->n == MAX_RULES) {
    return tinker__why(r->why, r->why_len, TINKER_EINVAL, "rules: more than %d",
                       MAX_RULES);
  }
  if (p->n == r->cap) {
    size_t cap = r->cap ? 2 * r->cap : 8;
    void *grown = tinker__mem_realloc(p->mem, p->rules, cap * sizeof *p->rules);
    if (!grown) return TINKER_ENOMEM;
    p->rules = grown;
    r->cap = cap;
  }
  tinker__svc_fault_rule_t *f = &p->rules[p->n++];
  *f = (tinker__svc_fault_rule_t){
      .seq = -1,
      .probability = 1,
      .applied = true,
      .flag = true,
      .retry_after = -1,
  };
  if (!tinker__json_object(&r->json)) return 0; /* json.error is set */
  while (tinker__json_key(&r->json, &key)) {
    int rc = take_key(r, f, key, &seen);
    if (rc != 0) return rc;
  }
  return r->json.error ? 0 : check_rule(r, f, seen);
}

static int read_rules(read_t *r) {
  int rc = 0;
  if (!tinker__json_array(&r->json)) return 0;
  while (rc == 0 && tinker__json_more(&r->json)) rc = read_rule(r);
  return rc;
}

static int read_plan(read_t *r) {
  tinker__str_t key;
  int rc = 0;
  if (!tinker__json_object(&r->json)) return 0;
  while (rc == 0 && tinker__json_key(&r->json, &key)) {
    if (tinker__str_eqs(key, "rules") && !r->plan->rules) {
      rc = read_rules(r);
    } else if (tinker__str_eqs(key, "seed")) {
      tinker__json_u64(&r->json, &r->plan->seed);
    } else {
      rc = tinker__why(r->why, r->why_len, TINKER_EINVAL,
                       "'%.*s' is not a key of a fault plan (seed, rules), or "
                       "is there twice",
                       (int)(key.len < 60 ? key.len : 60), key.ptr);
    }
  }
  return rc;
}

int tinker__svc_fault_plan_read(tinker__svc_fault_plan_t **out,
                                tinker__mem_t *mem, tinker__str_t text,
                                char *why, size_t why_len) {
  read_t r = {.why = why, .why_len = why_len};
  r.plan = tinker__mem_zalloc(mem, sizeof *r.plan);
  if (!r.plan) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  r.plan->mem = mem;
  tinker__json_init(&r.json, mem, text.ptr, text.len);
  int rc = read_plan(&r);
  if (rc == 0 && tinker__json_end(&r.json) != 0) {
    rc = tinker__why(why, why_len,
                     r.json.error == TINKER_ENOMEM ? TINKER_ENOMEM
                                                   : TINKER_EINVAL,
                     "malformed JSON at byte %zu: %s", r.json.error_at,
                     r.json.reason ? r.json.reason : "");
  } else if (rc == TINKER_ENOMEM) {
    tinker__why(why, why_len, rc, "out of memory");
  }
  tinker__json_done(&r.json);
  if (rc != 0) {
    tinker__svc_fault_plan_free(r.plan);
    return rc;
  }
  *out = r.plan;
  return 0;
}

void tinker__svc_fault_plan_free(tinker__svc_fault_plan_t *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n; i++) {
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
      if (keys[k].type != KEY_TEXT) continue;
      tinker__mem_free(p->mem, *(char **)((char *)&p->rules[i] + keys[k].at));
    }
  }
  tinker__mem_free(p->mem, p->rules);
  tinker__mem_free(p->mem, p);
}

/* --- Matching ------------------------------------------------------------- */

static bool matches(const tinker__svc_fault_rule_t *f,
                    const tinker__svc_fault_call_t *c) {
  if ((f->act >= TINKER__FAULT_PAUSE) != c->accepted) return false;
  if (f->endpoint && !tinker__str_eqs(c->endpoint, f->endpoint)) return false;
  if (f->id && !tinker__str_ends(c->id, f->id)) return false;
  if (f->of && !tinker__str_eqs(c->of, f->of)) return false;
  return f->seq < 0 || f->seq == c->seq;
}

/* Uniform in [0, 1) from (seed, rule, match). */
static double draw(const tinker__svc_fault_plan_t *p, size_t rule,
                   int64_t match) {
  uint64_t at[2] = {rule, (uint64_t)match};
  return ldexp((double)(tinker__siphash(p->seed, 0, at, sizeof at) >> 11), -53);
}

/* True when the rule fires at this match, which is counted already. */
static bool is_due(const tinker__svc_fault_plan_t *p, size_t rule,
                   int64_t now_ms) {
  const tinker__svc_fault_rule_t *f = &p->rules[rule];
  if (f->nth && (f->matched != f->nth || f->fired)) return false;
  if (f->matched <= f->after || (f->times && f->fired >= f->times)) {
    return false;
  }
  if (f->for_ms && f->fired && now_ms - f->first_ms >= f->for_ms) return false;
  return f->probability >= 1 || draw(p, rule, f->matched) < f->probability;
}

tinker__svc_fault_rule_t *
tinker__svc_fault_plan_next(tinker__svc_fault_plan_t *p,
                            const tinker__svc_fault_call_t *call,
                            int64_t now_ms) {
  for (size_t i = 0; i < p->n; i++) {
    tinker__svc_fault_rule_t *f = &p->rules[i];
    if (!matches(f, call)) continue;
    f->matched++;
    if (!is_due(p, i, now_ms)) continue;
    if (f->fired++ == 0) f->first_ms = now_ms;
    return f;
  }
  return NULL;
}
