/* model: a model that is trained, its calls in order. Under the service's lock
 * unless a field says otherwise. */
#ifndef TINKER_SERVICE_CORE_MODEL_H
#define TINKER_SERVICE_CORE_MODEL_H

#include "engine/engine.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

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
  bool holds;        /* the base model */
  bool durable;      /* its row is committed; nobody sees it before */
  bool busy;         /* its task is with the scheduler or being executed */
  char *broken;      /* why later calls fail, NULL = well */
  bool hides_broken; /* and the run does not show it: a fault plan's doing */
  tinker__link_t checkpoints;
  int64_t snapshot, snapshot_seq; /* folder (0 = none), first number after */
  tinker__link_t parked;          /* service.parked while retry_ms is set */
  int64_t retry_ms; /* monotonic: nothing is executed before; 0 = at any time */
  int64_t pause_ms; /* the last pause, 0 after a call that went well */
  char trouble[240]; /* why it is parked */
  bool waits;        /* for memory, which is no trouble of its own */
  int64_t rests_ms; /* monotonic: no call since, and its state is in memory; 0 =
                       it is not */
  bool leaves;      /* its task is pushed for the state to leave memory */
  bool saving;      /* a snapshot is on its way into the store */
  /* Engine thread only. */
  tinker__eng_task_t task;
  tinker__svc_op_t *current; /* written under the lock */
  tinker__eng_train_t *train;
  tinker__eng_pass_t *pass;
  uint64_t claimed;     /* bytes of training memory */
  bool is_short;        /* stuck, until others have left memory */
  int64_t unsaved_ms;   /* engine time that a restart repeats */
  size_t unsaved_bytes; /* of the log, the same */
  bool changed;         /* by calls since the snapshot */
  bool worked;          /* the step has changed its state, or tried to */
  bool stuck;           /* the call can't be executed now: trouble says why */
  bool rewinds; /* its state is not what was told, and goes through the log
                   again from its snapshot; under the lock while it is parked */
};

#endif
