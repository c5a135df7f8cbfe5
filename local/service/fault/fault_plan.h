/* fault_plan: reads the file of `--faults` and decides which rule fires when.
 *
 *   {"seed": 1, "rules": [{"endpoint": "optim_step", "nth": 3,
 *                          "act": "lose_reply"}]}
 *
 * For every request (or numbered call) the rules are tried in order; the first
 * that matches and is due fires. docs/faults.md lists the acts. Pure; the
 * counters are guarded by the service's lock. */
#ifndef TINKER_SERVICE_FAULT_PLAN_H
#define TINKER_SERVICE_FAULT_PLAN_H

#include "base/mem.h"
#include "base/str.h"

typedef enum {
  /* Acts on a request, whatever it asks. */
  TINKER__FAULT_DELAY,
  TINKER__FAULT_HANG,
  TINKER__FAULT_DROP,
  TINKER__FAULT_RESET,
  TINKER__FAULT_STATUS,
  TINKER__FAULT_REORDER,
  TINKER__FAULT_DUPLICATE,
  TINKER__FAULT_LOSE_REPLY,
  TINKER__FAULT_CUT,
  TINKER__FAULT_TRICKLE,
  TINKER__FAULT_CONTENT_TYPE,
  TINKER__FAULT_SESSION_GONE,
  TINKER__FAULT_STALE_LIST,
  TINKER__FAULT_SHOW_CORRUPTED,
  /* Acts on a numbered call, decided when it is accepted. */
  TINKER__FAULT_PAUSE,
  TINKER__FAULT_FORGET,
  TINKER__FAULT_CORRUPT,
  TINKER__FAULT_CRASH,
  TINKER__FAULT_DROP_OPTIMIZER,
  TINKER__FAULT_APPLY_TWICE,
  TINKER__FAULT_KEEP_GRADIENTS,
  TINKER__FAULT_IGNORE,
  TINKER__FAULT_FLIP_BIT,
  TINKER__FAULT_SAVE_OLD,
  TINKER__FAULT_EXPIRE,
  TINKER__FAULT_ACTS
} tinker__svc_fault_act_t;

typedef struct tinker__svc_fault_rule_s {
  /* The conditions. A text that is NULL and a seq of -1 match anything. */
  char *endpoint; /* a path of routes.c without "api/v1/" */
  char *id;       /* the end of the model's, sampler's or session's id */
  char *of;       /* polls only: endpoint of the call that is polled for */
  int64_t seq;
  int64_t nth;    /* fires at the nth match only, 0 = at any */
  int64_t after;  /* does not fire at the first `after` matches */
  int64_t times;  /* fires so often, 0 = without end */
  int64_t for_ms; /* fires so long after its first time, 0 = without end */
  double probability;
  /* The act and its arguments. */
  tinker__svc_fault_act_t act;
  int64_t ms, bytes, status, retry_after;
  char *body, *content_type; /* status, content_type */
  char *state, *reason;      /* pause: queue_state and its reason */
  bool applied;              /* forget: the call is carried out nevertheless */
  bool flag;                 /* corrupt: the run shows it */
  /* Counters. */
  int64_t matched, fired, first_ms;
} tinker__svc_fault_rule_t;

typedef struct tinker__svc_fault_plan_s {
  tinker__mem_t *mem;
  uint64_t seed;
  tinker__svc_fault_rule_t *rules;
  size_t n;
} tinker__svc_fault_plan_t;

/* A request, as far as its subject is known, or, with `accepted`, a numbered
 * call that is being accepted. Only rules whose act is on a request match the
 * first, only rules whose act is on a call match the second. */
typedef struct tinker__svc_fault_call_s {
  tinker__str_t endpoint;
  tinker__str_t id, of; /* empty = none */
  int64_t seq;          /* -1 = none */
  bool accepted;
} tinker__svc_fault_call_t;

/* Reads a plan. An unknown key or act, and a missing or superfluous argument,
 * is TINKER_EINVAL with the rule's index and the key's name in why. */
int tinker__svc_fault_plan_read(tinker__svc_fault_plan_t **out,
                                tinker__mem_t *mem, tinker__str_t text,
                                char *why, size_t why_len);
void tinker__svc_fault_plan_free(
    tinker__svc_fault_plan_t *p); /* NULL allowed */

/* Returns the rule that fires for this call, and counts it, or NULL. Whether a
 * rule with a probability fires depends on the plan's seed, the rule and how
 * many calls it has matched, so the same calls meet the same faults again. */
tinker__svc_fault_rule_t *
tinker__svc_fault_plan_next(tinker__svc_fault_plan_t *p,
                            const tinker__svc_fault_call_t *call,
                            int64_t now_ms);
const char *tinker__svc_fault_act_name(tinker__svc_fault_act_t act);

#endif
