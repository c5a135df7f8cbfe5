/* op: a numbered call and its future. Under the service's lock unless a field
 * says otherwise. */
#ifndef TINKER_SERVICE_CORE_OP_H
#define TINKER_SERVICE_CORE_OP_H

#include "base/digest.h"
#include "engine/generate.h"
#include "service/core/types.h"

/* Numbers are stored: never reuse one. */
typedef enum {
  TINKER__SVC_OP_CREATE = 0,
  TINKER__SVC_OP_LOAD_NEW = 1, /* load_weights that makes the model */
  TINKER__SVC_OP_LOAD = 2,
  TINKER__SVC_OP_FORWARD_BACKWARD = 3,
  TINKER__SVC_OP_OPTIM = 4,
  TINKER__SVC_OP_SAVE = 5,
  TINKER__SVC_OP_SAVE_SAMPLER = 6,
  TINKER__SVC_OP_SAMPLE = 7,
  TINKER__SVC_OP_SAVE_EXTERNAL = 8 /* always rejected */
} tinker__svc_op_kind_t;

typedef enum {
  TINKER__SVC_OP_PENDING = 0,
  TINKER__SVC_OP_DONE = 1,
  TINKER__SVC_OP_FAILED = 2,  /* result holds the error reply */
  TINKER__SVC_OP_REJECTED = 3 /* a 4xx that consumed its number */
} tinker__svc_op_state_t;

enum { TINKER__FORMAT_JSON = 0, TINKER__FORMAT_PROTO = 1 };

/* What is done to a call on purpose where it is executed or asked for, to test
 * its caller (docs/faults.md). */
typedef enum {
  TINKER__ACT_APPLY_TWICE = 1 << 0, /* until it was applied once */
  TINKER__ACT_KEEP_GRADIENTS = 1 << 1,
  TINKER__ACT_DROP_OPTIMIZER = 1 << 2,
  TINKER__ACT_SAVE_OLD = 1 << 3,
  TINKER__ACT_FLIP_BIT = 1 << 4,
  TINKER__ACT_EXPIRE = 1 << 5,
  TINKER__ACT_CRASH = 1 << 6,
  TINKER__ACT_FORGET = 1 << 7, /* its result is never told */
  TINKER__ACT_LOSE = 1 << 8,   /* and it is not carried out */
  TINKER__ACT_CORRUPT = 1 << 9,
  TINKER__ACT_HIDE = 1 << 10 /* that the model is corrupted is not shown */
} tinker__svc_act_t;

/* config.doing while the log is executed again: never -1, a decode round. */
#define TINKER__REDOING(row) (-1 - (row))

#define TINKER__MAX_ROW (INT64_MAX / 2) /* numbers of rows and folders */

/* A lock on the store that is held as long is no matter of patience. */
#define TINKER__STUCK_MS 10000

/* A numbered call and its future. Lives until its session is purged. */
struct tinker__svc_op_s {
  tinker__link_t link; /* model.pending until executed */
  tinker__link_t all;  /* session-wide, model.ops or sampler.ops */
  tinker__svc_t *service;
  tinker__svc_model_t *model; /* one of the two */
  tinker__svc_sampler_t *sampler;
  int64_t row, seq, seed;
  tinker__svc_op_kind_t kind;
  tinker__svc_op_state_t state;
  char *request_id;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_ack_t ack;
  tinker__link_t polls; /* of tinker__svc_req_t */
  size_t result_size;   /* once done or failed */
  int result_format;
  /* The result is known, execution only restores the model: after a restart, or
   * when the model goes through its log again. */
  bool replay;
  bool traceless;   /* and that it failed by the service's fault, undone */
  int crash_signal; /* the engine crashed in it; 0 = it did not */
  bool deadly;      /* the process was killed in it, too often to try again */
  bool in_log;      /* its body is in the store alone: read when executed */
  bool storing;     /* its result is on its way into the store */
  size_t log_size;  /* bytes of it there; 0 = a call that left no trace */
  char *log_body;   /* as read from there, until it is decoded */
  size_t log_len;
  int log_format;
  unsigned char result_digest[TINKER__SHA256_LEN];
  tinker__svc_work_t *work;       /* decoded body; NULL once executed */
  size_t held;                    /* bytes of it that service.held counts */
  uint64_t log_held, result_held; /* of service.logs, of service.results */
  tinker__eng_gen_t *running;  /* a sample with the scheduler, to be canceled */
  bool holds;                  /* the base model, while that is so */
  tinker__svc_op_t *postponed; /* the next of service.postponed */
  /* Of a fault plan. */
  unsigned acts;      /* bits of tinker__svc_act_t */
  int64_t expires_ms; /* TINKER__ACT_EXPIRE: life of what it saves */
  const char *pause_state, *pause_reason; /* told to polls; NULL = the usual */
  tinker__link_t paused;                  /* of whoever paused it */
  int64_t paused_until_ms;                /* monotonic, 0 = it may run */
};

/* Last part of the path of the calls of that kind: "optim_step". */
const char *tinker__svc_op_endpoint(tinker__svc_op_kind_t kind);

#endif
