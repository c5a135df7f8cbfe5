/* job: what an operation is about, from its call to its result. It belongs to
 * the future and is used by one thread at a time: the caller's while the call
 * lasts, the loop's while it runs, then whoever decodes. */
#ifndef TINKER_API_JOB_H
#define TINKER_API_JOB_H

#include "api/core.h"
#include "base/arena.h"
#include "wire/messages.h"

typedef struct tinker__job_s {
  tinker_client_t *core; /* the future's hold */
  tinker__arena_t arena; /* strings of the request, then the result */
  /* The message of a request that is built on the loop's thread. */
  union {
    struct { /* both where a new model needs two calls */
      tinker__create_model_t create;
      tinker__load_weights_t load;
    };
    tinker__create_sampling_t sampling;
  } request;
  const char *model_id;      /* of a trainer's calls, or of the new model */
  const char *sampler_id;    /* of one that is adopted */
  int64_t used_seq;          /* numbers taken before the handle is there */
  tinker_trainer_t *trainer; /* made by decoding; the job's reference */
  tinker_sampler_t *sampler; /* the same */
  struct tinker__compound_s *compound; /* of several operations; else NULL */
} tinker__job_t;

static inline tinker__job_t *tinker__job_of(const tinker_future_t *future) {
  return future->subject;
}

/* One of these per kind of result: they tell futures apart. */
extern const tinker__future_ops_t tinker__result_none; /* no reply at all */
extern const tinker__future_ops_t tinker__result_done; /* nothing to be read */
extern const tinker__future_ops_t tinker__result_trainer;
extern const tinker__future_ops_t tinker__result_sampler;
extern const tinker__future_ops_t tinker__result_ephemeral; /* a sampler */
extern const tinker__future_ops_t tinker__result_forward;
extern const tinker__future_ops_t tinker__result_optim;
extern const tinker__future_ops_t tinker__result_path;
extern const tinker__future_ops_t tinker__result_sample;
extern const tinker__future_ops_t tinker__result_info;
extern const tinker__future_ops_t tinker__result_capabilities;
extern const tinker__future_ops_t tinker__result_dump;
extern const tinker__future_ops_t tinker__result_run;
extern const tinker__future_ops_t tinker__result_run_list;
extern const tinker__future_ops_t tinker__result_checkpoint_list;
extern const tinker__future_ops_t tinker__result_weights_info;
extern const tinker__future_ops_t tinker__result_session_list;
extern const tinker__future_ops_t tinker__result_session;

/* dump.c: answers tinker__kind_dump. Loop's thread. */
extern const tinker__kind_t tinker__kind_dump;
void tinker__dump_run(tinker__task_t *task);

/* ending.c: drain and close, which the client ends itself. */
extern const tinker__kind_t tinker__kind_drain;
extern const tinker__kind_t tinker__kind_close;

/* kinds.c: what goes over the wire. */
extern const tinker__kind_t tinker__kind_capabilities;
extern const tinker__kind_t tinker__kind_create_model;
extern const tinker__kind_t tinker__kind_load_new; /* a model from a state */
extern const tinker__kind_t tinker__kind_get_info;
extern const tinker__kind_t tinker__kind_adopt_trainer;
extern const tinker__kind_t tinker__kind_adopt_sampler;
extern const tinker__kind_t tinker__kind_finish;
extern const tinker__kind_t tinker__kind_create_sampling;
extern const tinker__kind_t tinker__kind_forward;
extern const tinker__kind_t tinker__kind_forward_backward;
extern const tinker__kind_t tinker__kind_optim_step;
extern const tinker__kind_t tinker__kind_save_weights;
extern const tinker__kind_t tinker__kind_load_weights;
extern const tinker__kind_t tinker__kind_save_sampler;
extern const tinker__kind_t tinker__kind_save_ephemeral;
extern const tinker__kind_t tinker__kind_sample;

static inline tinker__job_t *tinker__op_job(const tinker__op_t *op) {
  return op->future->subject;
}

/* A future of core with a job. 0 or TINKER_ENOMEM. */
int tinker__job_new(tinker_future_t **out, tinker_client_t *core,
                    const tinker__kind_t *kind,
                    const tinker__future_ops_t *result, size_t parts);
/* The operation of such a future, counted with its kind. 0 or
 * TINKER_ENOMEM. */
int tinker__job_op(tinker__op_t **out, tinker_future_t *f,
                   const tinker__kind_t *kind, size_t parts);
/* Frees the job of a future. */
void tinker__job_free(tinker_future_t *f);
/* A copy in the job's arena; NULL without memory, or of NULL. */
const char *tinker__job_str(tinker__job_t *job, const char *s);

#endif
