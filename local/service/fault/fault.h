/* fault: a fault plan at work on a running service, and its ledger.
 *
 * s->faults is NULL without --faults, and then nothing here runs. Rules that
 * are about a request act in http.c around its handler; rules that are about a
 * numbered call are attached to it when it is accepted, and act where it is
 * executed. The ledger tells a restart which calls those were, so that the log
 * is executed again as it was the first time. Under the service's lock unless
 * told otherwise. */
#ifndef TINKER_SERVICE_FAULT_H
#define TINKER_SERVICE_FAULT_H

#include "service/calls/calls.h"
#include "service/fault/fault_plan.h"
#include "service/fault/ledger.h"
#include "service/http/http.h"

struct tinker__svc_faults_s {
  tinker__svc_fault_plan_t *plan;
  tinker__svc_ledger_t *ledger;
  tinker__link_t held;   /* of tinker__svc_req_t.timer_link */
  tinker__link_t paused; /* of tinker__svc_op_t.paused */
};

/* Reads the plan and opens the ledger in the state folder. */
int tinker__svc_faults_open(tinker__svc_t *s, char *why, size_t why_len);
/* After the state was loaded: what fired before stays fired. */
int tinker__svc_faults_restore(tinker__svc_t *s, char *why, size_t why_len);
void tinker__svc_faults_free(tinker__svc_t *s);
/* Lets go what has waited long enough; the time of the next one, INT64_MAX for
 * none. */
int64_t tinker__svc_faults_tick(tinker__svc_t *s, int64_t now_ms);
/* The service stops: everything held goes on. */
void tinker__svc_faults_release(tinker__svc_t *s);

/* --- Requests: HTTP thread, without the lock --- */
typedef enum {
  TINKER__FAULT_GO,       /* as if there were none */
  TINKER__FAULT_WAIT,     /* suspended; the HTTP thread comes back */
  TINKER__FAULT_ANSWERED, /* r has its answer; it is not handled */
  TINKER__FAULT_CLOSE     /* the connection ends here */
} tinker__svc_fault_next_t;
/* A request is about to be handled. */
tinker__svc_fault_next_t tinker__svc_fault_arrive(tinker__svc_req_t *r);
/* It was held and comes back. */
tinker__svc_fault_next_t tinker__svc_fault_return(tinker__svc_req_t *r);
/* It is about to be answered. TINKER__FAULT_WAIT: handle it once more. */
tinker__svc_fault_next_t tinker__svc_fault_leave(tinker__svc_req_t *r);
/* The answer in another form; NULL = the usual one. */
struct MHD_Response *tinker__svc_fault_response(tinker__svc_req_t *r,
                                                tinker__str_t body);

/* --- Calls --- */
/* Attaches the rule that fires for an op that is being accepted. */
void tinker__svc_fault_attach(tinker__svc_op_t *op);
static inline bool tinker__svc_op_has(const tinker__svc_op_t *op,
                                      tinker__svc_fault_act_t act) {
  return op->fault && op->fault->act == act;
}
/* One line of the ledger about it; nothing without a plan. Any thread, with or
 * without the lock. */
void tinker__svc_ledger_op(const tinker__svc_op_t *op, const char *event);
void tinker__svc_ledger_other(tinker__svc_t *s, const char *endpoint,
                              const char *id);

#endif
