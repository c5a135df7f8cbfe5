/* fault: carries out a fault plan in a running service, and keeps its ledger.
 *
 * s->faults is NULL without --faults, and then nothing here runs. A rule about
 * a request acts before or after its handler, through the filter of the
 * listeners. A rule about a numbered call becomes an act of the op when the
 * call is accepted, and acts where the call is executed. A restart reads from
 * the ledger which calls had which act, so it executes the log as it was
 * executed the first time. The service's lock guards both lists and the plan's
 * counters; the ledger has a lock of its own. */
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
/* Called when the state has been loaded. Rules that fired before the restart
 * count as fired, and calls get their acts back. */
int tinker__svc_faults_restore(tinker__svc_t *s, char *why, size_t why_len);
void tinker__svc_faults_free(tinker__svc_t *s);
/* Lets requests and calls go on whose time is over. Returns when the next one
 * is due, INT64_MAX if none waits. */
int64_t tinker__svc_faults_tick(tinker__svc_t *s, int64_t now_ms);
/* The service stops: all held requests go on. */
void tinker__svc_faults_release(tinker__svc_t *s);

/* While there is a plan, boot gives these to the listeners and to the core. */
extern const tinker__svc_route_t tinker__svc_fault_routes[];
extern const tinker__svc_filter_t tinker__svc_fault_filter;
extern const tinker__svc_observer_t tinker__svc_fault_observer;

#endif
