/* hooks: functions that lower folders call without including the folder that
 * has them. boot sets the tables before the first request arrives; they do not
 * change after that. */
#ifndef TINKER_SERVICE_CORE_HOOKS_H
#define TINKER_SERVICE_CORE_HOOKS_H

#include "engine/generate.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

/* The events in the life of a numbered call. */
typedef enum {
  TINKER__SVC_ACCEPTED,
  TINKER__SVC_REJECTED,
  TINKER__SVC_APPLIED,
  TINKER__SVC_FAILED
} tinker__svc_event_t;

/* An observer is called when something happens to a call. The fault plan's is
 * the only one: it writes the ledger. Any thread, with or without the lock,
 * unless a function says otherwise; only settle waits. */
typedef struct tinker__svc_observer_s {
  /* An op is being accepted and is not logged yet, so its acts may be set.
   * Under the lock. */
  void (*accepting)(tinker__svc_op_t *op);
  void (*heard)(const tinker__svc_op_t *op, tinker__svc_event_t event);
  /* A call without a number was carried out. */
  void (*other)(tinker__svc_t *s, const char *endpoint, const char *id);
  /* Waits until all events that were reported to the observer are in its file.
   * It is called before a client gets a result, and before a group of writes is
   * committed to the store. Without the lock. */
  void (*settle)(tinker__svc_t *s);
} tinker__svc_observer_t;

/* The runner executes calls. */
typedef struct tinker__svc_runner_s {
  /* Runs a step of a model's task; true while there is more. Engine thread. */
  bool (*step)(tinker__eng_task_t *task);
  /* Executes the sample op by gen, which it takes over. Under the lock. */
  void (*sample)(tinker__svc_op_t *op, tinker__eng_gen_t *gen);
  /* The only step of the task of a session that leaves. Engine thread. */
  bool (*leave)(tinker__eng_task_t *task);
} tinker__svc_runner_t;

/* These call the observer, if there is one. */
void tinker__svc_accepting(tinker__svc_op_t *op);
void tinker__svc_heard(const tinker__svc_op_t *op, tinker__svc_event_t event);
void tinker__svc_other(tinker__svc_t *s, const char *endpoint, const char *id);
void tinker__svc_settle(tinker__svc_t *s);

#endif
