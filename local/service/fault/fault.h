/* fault: a fault plan at work on a running service, and its ledger.
 *
 * s->faults is NULL without --faults, and then nothing here runs. Rules that
 * are about a request act as the filter of the listeners around its handler;
 * rules that are about a numbered call become acts of its op when it is
 * accepted, and act where it is executed. The ledger tells a restart which
 * calls those were, so that the log is executed again as it was the first time.
 * Under the service's lock unless told otherwise. */
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

/* What boot gives the listeners and the core while there is a plan. */
extern const tinker__svc_route_t tinker__svc_fault_routes[];
extern const tinker__svc_filter_t tinker__svc_fault_filter;
extern const tinker__svc_observer_t tinker__svc_fault_observer;

#endif
