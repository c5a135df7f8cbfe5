/* fault_plan: what shall go wrong, and when: `--faults plan.json`.
 *
 *   {"seed": 1, "rules": [{"endpoint": "optim_step", "nth": 3,
 *                          "act": "lose_reply"}]}
 *
 * For every request (or numbered call) the rules are tried in order; the first
 * that matches and is due fires. docs/faults.md lists the acts. Pure; whoever
 * holds the service's lock owns the counters. */
#ifndef TINKER_SERVICE_FAULT_PLAN_H
#define TINKER_SERVICE_FAULT_PLAN_H

#include "base/mem.h"
#include "base/str.h"

typedef enum {
  /* Of a request, whatever it asks. */
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
  /* Of a numbered call: decided when it is accepted. */
  TINKER__FAULT_PAUSE,
  TINKER__FAULT_FORGET,
  TINKER__FAULT_CORRUPT,
  TINKER__FAULT_CRASH,
  TINKER__FAULT_DROP_OPTIMIZER,
  TINKER__FAULT_APPLY_TWICE,
  TINKER__FAULT_KEEP_GRADIENTS,
  TINKER__FAULT_FLIP_BIT,
  TINKER__FAULT_SAVE_OLD,
  TINKER__FAULT_EXPIRE,
  TINKER__FAULT_ACTS
} tinker__svc_fault_act_t;

typedef struct tinker__svc_fault_rule_s {
  /* Match. Text NULL, seq -1: anything. */
  char *endpoint; /* a path of routes.c without "api/v1/" */
  char *id;       /* of the model, sampler or session: whole, or its end */
  char *of;       /* polls: endpoint of the call whose future is asked for */
  int64_t seq;
  int64_t nth;    /* only the nth match, 0 = any */
  int64_t after;  /* not the first `after` matches */
  int64_t times;  /* fires so often, 0 = without end */
  int64_t for_ms; /* fires for so long since it first did, 0 = without end */
  double probability;
  /* Act. */
  tinker__svc_fault_act_t act;
  int64_t ms, bytes, status, retry_after;
  char *body, *content_type; /* status, content_type */
  char *state, *reason;      /* pause: queue_state and its reason */
  bool applied;              /* forget: the call is carried out all the same */
  bool flag;                 /* corrupt: the run shows it */
  /* So far. */
  int64_t matched, fired, first_ms;
} tinker__svc_fault_rule_t;

typedef struct tinker__svc_fault_plan_s {
  tinker__mem_t *mem;
  uint64_t seed;
  tinker__svc_fault_rule_t *rules;
  size_t n;
} tinker__svc_fault_plan_t;

/* What a request is about, as far as it is known; or, with `accepted`, a
 * numbered call that is just being accepted: the first is for the acts of a
 * request, the second for those of a call. */
typedef struct tinker__svc_fault_call_s {
  tinker__str_t endpoint;
  tinker__str_t id, of; /* empty = none */
  int64_t seq;          /* -1 = none */
  bool accepted;
} tinker__svc_fault_call_t;

/* Unknown keys, acts, missing or superfluous arguments: TINKER_EINVAL, with the
 * rule's index and the key's name in why. */
int tinker__svc_fault_plan_read(tinker__svc_fault_plan_t **out,
                                tinker__mem_t *mem, tinker__str_t text,
                                char *why, size_t why_len);
void tinker__svc_fault_plan_free(
    tinker__svc_fault_plan_t *p); /* NULL allowed */

/* The rule that fires for this call, counted, or NULL. Whether a rule with a
 * probability does depends on the plan's seed, the rule and how many calls it
 * matched, so a plan repeats itself. */
tinker__svc_fault_rule_t *
tinker__svc_fault_plan_next(tinker__svc_fault_plan_t *p,
                            const tinker__svc_fault_call_t *call,
                            int64_t now_ms);
const char *tinker__svc_fault_act_name(tinker__svc_fault_act_t act);

#endif
