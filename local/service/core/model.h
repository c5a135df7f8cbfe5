/* model: a model that is trained, with its calls in order. Under the service's
 * lock unless a field says otherwise.
 *
 * Only tinker__svc_model_move changes its state; core/states.c has the table.
 * `current` is set while it is READING or RUNNING, and the model is in
 * service.parked while it is PARKED or YIELDING. The state does not say whether
 * the training state is in memory: see rests_ms. */
#ifndef TINKER_SERVICE_CORE_MODEL_H
#define TINKER_SERVICE_CORE_MODEL_H

#include "engine/engine.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

typedef enum {
  TINKER__SVC_MODEL_STORING,  /* its row is being stored; nobody sees it */
  TINKER__SVC_MODEL_IDLE,     /* it has no call that can be executed */
  TINKER__SVC_MODEL_QUEUED,   /* its task is with the scheduler */
  TINKER__SVC_MODEL_READING,  /* a call's body is being read from the log */
  TINKER__SVC_MODEL_RUNNING,  /* a call is being executed */
  TINKER__SVC_MODEL_PARKED,   /* its call is tried again at retry_ms */
  TINKER__SVC_MODEL_LEAVING,  /* was IDLE; its task takes it out of memory */
  TINKER__SVC_MODEL_YIELDING, /* was PARKED; its task takes it out of memory */
  TINKER__SVC_MODEL_OVER /* its session has ended, its calls are executed */
} tinker__svc_model_state_t;

enum { TINKER__SVC_MODEL_STATES = TINKER__SVC_MODEL_OVER + 1 };

/* Why a call can't be executed now. A step sets it; it stays while the model is
 * PARKED. */
typedef enum {
  TINKER__SVC_NOT_STUCK,
  TINKER__SVC_STUCK_TROUBLE, /* model.trouble says why */
  TINKER__SVC_STUCK_SHORT    /* it waits until others have left memory */
} tinker__svc_stuck_t;

struct tinker__svc_model_s {
  tinker__link_t link, by_session;
  int64_t row, seq;
  char *id;
  tinker__svc_t *service;
  tinker__svc_session_t *session;
  tinker__svc_base_model_t *base;
  tinker__eng_lora_config_t lora;
  char *metadata;              /* JSON object or NULL */
  int64_t created_ms, used_ms; /* wall */
  tinker__link_t pending, ops; /* pending: by number */
  int64_t next_seq;
  tinker__svc_model_state_t state;
  bool holds;        /* a reference to the base model */
  char *broken;      /* why later calls fail, NULL = well */
  bool hides_broken; /* a fault plan's: the run does not show it */
  tinker__link_t checkpoints;
  int64_t snapshot, snapshot_seq; /* folder (0 = none), first number after */
  tinker__link_t parked;          /* service.parked */
  int64_t retry_ms;               /* monotonic; valid while it is parked */
  int64_t pause_ms;  /* the last pause, 0 after a call that went well */
  char trouble[240]; /* why it is parked */
  int64_t rests_ms;  /* monotonic; no call has run since; 0 = the training state
                        is not in memory */
  bool saving;       /* a snapshot is being stored */
  /* Engine thread only. */
  tinker__eng_task_t task;
  tinker__svc_op_t *current; /* written under the lock */
  tinker__eng_train_t *train;
  tinker__eng_pass_t *pass;
  uint64_t claimed;          /* bytes of training memory */
  int64_t unsaved_ms;        /* engine time that a restart repeats */
  size_t unsaved_bytes;      /* bytes of the log that a restart repeats */
  bool changed;              /* by calls since the snapshot */
  bool worked;               /* the step has changed its state, or tried to */
  tinker__svc_stuck_t stuck; /* others read it while the model is parked */
  bool rewinds; /* its training state was dropped, since it was ahead of what is
                   stored: before the next try it goes back to its snapshot.
                   Under the lock while the model is parked */
};

/* True when the model waits until its call can be executed. */
static inline bool tinker__svc_model_parked(const tinker__svc_model_t *m) {
  return m->state == TINKER__SVC_MODEL_PARKED ||
         m->state == TINKER__SVC_MODEL_YIELDING;
}

bool tinker__svc_model_may(tinker__svc_model_state_t from,
                           tinker__svc_model_state_t to);
const char *tinker__svc_model_state_name(tinker__svc_model_state_t state);
/* Changes the state. A move that the table does not have is a bug: it ends the
 * service and returns false. */
bool tinker__svc_model_move(tinker__svc_model_t *m,
                            tinker__svc_model_state_t to);

#endif
