/* chores: what the run's thread does beside the steps, as its fields in the
 * run: what is under way for checkpoints at the service (retain.c), and the
 * files of tinker-cookbook (cookbook.c). The run's thread alone. */
#ifndef TINKER_RECOVERY_RUN_CHORES_H
#define TINKER_RECOVERY_RUN_CHORES_H

#include <tinker/recovery.h>

#include "journal/state.h"
#include "keep/keep.h"

#define TINKER__REC_CHORES 4 /* under way at once */
#define TINKER__REC_LATER 8

/* What is under way for a checkpoint at the service. */
typedef struct tinker__rec_chore_s {
  tinker_future_t *future; /* NULL = it is free */
  tinker__rec_keep_kind_t kind;
  char name[TINKER__REC_MAX_NAME];
  int64_t expires_ms; /* of a new time to live */
} tinker__rec_chore_t;

/* A model that a checkpoint is loaded into to prove it, in a session of its
 * own. */
typedef struct tinker__rec_scratch_s {
  char name[TINKER__REC_MAX_NAME];
  tinker_client_t *client;   /* NULL = none is proven */
  tinker_trainer_t *trainer; /* NULL = it is not loaded */
  tinker_future_t *future;   /* what is waited for: load, probe, close */
  bool closing;
} tinker__rec_scratch_t;

/* The run's thread. */
typedef struct tinker__rec_retain_s {
  tinker__rec_chore_t chores[TINKER__REC_CHORES];
  tinker__rec_scratch_t scratch;
  /* Those whose proof has failed, and until when they are passed over. */
  struct {
    char name[TINKER__REC_MAX_NAME];
    int64_t until_ms; /* boot clock */
  } later[TINKER__REC_LATER];
  size_t later_at;
  int64_t failed[TINKER__REC_KEEP_DELETE + 1];   /* in a row, by kind */
  int64_t again_ms[TINKER__REC_KEEP_DELETE + 1]; /* boot clock: not before */
} tinker__rec_retain_t;

/* What the files of tinker-cookbook have. The run's thread. */
typedef struct tinker__rec_metrics_s {
  bool opened;         /* it was tried */
  int fd;              /* -1 = it can't be written */
  int64_t step, epoch; /* of the last line */
  uint64_t listed;     /* signature of the list of checkpoints; 0 = none */
} tinker__rec_metrics_t;

#endif
