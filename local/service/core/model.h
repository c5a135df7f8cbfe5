/* model: a model that is trained, its calls in order. Under the service's lock
 * unless a field says otherwise.
 *
 * Its state is moved by tinker__svc_model_move alone (core/states.c has the
 * table). `current` is set while it is READING or RUNNING, and the model is in
 * service.parked while it is PARKED or YIELDING. Whether its training state is
 * in memory is another matter: rests_ms. */
#ifndef TINKER_SERVICE_CORE_MODEL_H
#define TINKER_SERVICE_CORE_MODEL_H

#include "engine/engine.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

typedef enum {
  TINKER__SVC_MODEL_STORING,  /* its row is on its way; nobody sees it */
  TINKER__SVC_MODEL_IDLE,     /* nothing of it can be executed */
  TINKER__SVC_MODEL_QUEUED,   /* its task is with the scheduler */
  TINKER__SVC_MODEL_READING,  /* a call's body is on its way from the log */
  TINKER__SVC_MODEL_RUNNING,  /* a call is executed */
  TINKER__SVC_MODEL_PARKED,   /* can't be executed now: again at retry_ms */
  TINKER__SVC_MODEL_LEAVING,  /* was IDLE; its task takes it out of memory */
  TINKER__SVC_MODEL_YIELDING, /* was PARKED, the same */
  TINKER__SVC_MODEL_OVER      /* its session has ended and all is executed */
} tinker__svc_model_state_t;

enum { TINKER__SVC_MODEL_STATES = TINKER__SVC_MODEL_OVER + 1 };

/* Why a call can't be executed now. Set by a step; while the model is PARKED it
 * is why. */
typedef enum {
  TINKER__SVC_NOT_STUCK,
  TINKER__SVC_STUCK_TROUBLE, /* model.trouble says what */
  TINKER__SVC_STUCK_SHORT /* of memory, until others have left it: no trouble */
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
  bool holds;        /* the base model */
  char *broken;      /* why later calls fail, NULL = well */
  bool hides_broken; /* and the run does not show it: a fault plan's doing */
  tinker__link_t checkpoints;
  int64_t snapshot, snapshot_seq; /* folder (0 = none), first number after */
  tinker__link_t parked;          /* service.parked */
  int64_t retry_ms;               /* monotonic; of a parked one */
  int64_t pause_ms;  /* the last pause, 0 after a call that went well */
  char trouble[240]; /* why it is parked */
  int64_t rests_ms; /* monotonic: no call since, and its state is in memory; 0 =
                       it is not */
  bool saving;      /* a snapshot is on its way into the store */
  /* Engine thread only. */
  tinker__eng_task_t task;
  tinker__svc_op_t *current; /* written under the lock */
  tinker__eng_train_t *train;
  tinker__eng_pass_t *pass;
  uint64_t claimed;          /* bytes of training memory */
  int64_t unsaved_ms;        /* engine time that a restart repeats */
  size_t unsaved_bytes;      /* of the log, the same */
  bool changed;              /* by calls since the snapshot */
  bool worked;               /* the step has changed its state, or tried to */
  tinker__svc_stuck_t stuck; /* others read it while the model is parked */
};

/* It waits until it can be executed: its calls have to, too. */
static inline bool tinker__svc_model_parked(const tinker__svc_model_t *m) {
  return m->state == TINKER__SVC_MODEL_PARKED ||
         m->state == TINKER__SVC_MODEL_YIELDING;
}

bool tinker__svc_model_may(tinker__svc_model_state_t from,
                           tinker__svc_model_state_t to);
const char *tinker__svc_model_state_name(tinker__svc_model_state_t state);
/* False for a move that there is not: a bug, which ends the service. */
bool tinker__svc_model_move(tinker__svc_model_t *m,
                            tinker__svc_model_state_t to);

#endif
