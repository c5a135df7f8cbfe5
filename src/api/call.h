/* call: one call of a public operation, from its arguments to its future. It
 * lives on the caller's stack, on the caller's thread.
 *
 * A call is begun, given what it needs, and ended; the first refusal is kept
 * and makes the rest of them do nothing, so that a function of the API is a
 * list of steps without branches. */
#ifndef TINKER_API_CALL_H
#define TINKER_API_CALL_H

#include "api/compound.h"

#define TINKER__CALL_WHY 512

typedef struct tinker__call_s {
  tinker_client_t *core;
  tinker__turn_t *turn; /* NULL = of no trainer or sampler */
  const tinker__kind_t *kind;
  tinker_call_options_t options;
  int64_t timeout_ms;      /* -1 = none */
  int64_t deadline_ms;     /* -1 = none */
  tinker_future_t *future; /* a reference, with the parts */
  tinker__op_t *op;
  tinker__compound_t *compound; /* of a call that is several operations */
  bool partial; /* of an optim_step: tinker_adam_params_t.allow_partial */
  int rc;
  char why[TINKER__CALL_WHY];
} tinker__call_t;

/* The future of a call for a handle that is NULL. */
static inline tinker_future_t *tinker__call_no_handle(void) {
  return tinker__future_constant(TINKER_EINVAL);
}

/* Takes the options, refuses what is plain already. */
void tinker__call_begin(tinker__call_t *call, tinker_client_t *core,
                        tinker__turn_t *turn, const tinker__kind_t *kind,
                        const tinker_call_options_t *options);
/* Takes an option struct of the call: `known` bytes into out. */
void tinker__call_take(tinker__call_t *call, void *out, size_t known,
                       const void *defaults, const void *given,
                       const char *name);
/* Refuses the call; the sentence follows its name. */
void tinker__call_refuse(tinker__call_t *call, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Refuses it unless rc is 0, with the code's own text. */
void tinker__call_check(tinker__call_t *call, int rc);
/* Refuses it unless ok; "<name> is <value>: want <want>". */
void tinker__call_want(tinker__call_t *call, bool ok, const char *name,
                       double value, const char *want);
/* A flag is 0 or 1. */
void tinker__call_flag(tinker__call_t *call, const char *name, int32_t value);
/* Refuses what a later version may give a meaning: name: of the struct. */
void tinker__call_reserved(tinker__call_t *call, const char *name,
                           int32_t value);
/* Seconds that a checkpoint may live. */
void tinker__call_ttl(tinker__call_t *call, int64_t ttl_seconds);
/* A text that a message can carry, and a path of saved weights. */
void tinker__call_text(tinker__call_t *call, const char *name, const char *s);
void tinker__call_path(tinker__call_t *call, const char *name, const char *s);
/* Makes future and operation of `parts` requests; false when it is refused. */
bool tinker__call_open(tinker__call_t *call, const tinker__future_ops_t *result,
                       size_t parts);
/* Makes the future of several operations, which tinker__call_op adds; false
 * when it is refused. */
bool tinker__call_open_compound(tinker__call_t *call,
                                const tinker__future_ops_t *result,
                                const tinker__compound_ops_t *ops,
                                size_t children);
/* Makes an operation: the only one, of the call's kind, with its future, or the
 * next one of several, of this client. NULL when it is refused. */
tinker__op_t *tinker__call_op_of(tinker__call_t *call, tinker_client_t *core,
                                 tinker__turn_t *turn,
                                 const tinker__kind_t *kind,
                                 const tinker__future_ops_t *result,
                                 size_t parts);
static inline tinker__op_t *tinker__call_op(tinker__call_t *call,
                                            const tinker__kind_t *kind,
                                            const tinker__future_ops_t *result,
                                            size_t parts) {
  return tinker__call_op_of(call, call->core, call->turn, kind, result, parts);
}
/* Makes the future alone, for what is not an operation of the flow. */
bool tinker__call_open_local(tinker__call_t *call,
                             const tinker__future_ops_t *result, size_t parts);
static inline tinker__job_t *tinker__call_job(const tinker__call_t *call) {
  return tinker__job_of(call->future);
}
/* Sends the operation, or drops it and reports the refusal. Returns what the
 * caller of the API gets. */
tinker_future_t *tinker__call_end(tinker__call_t *call);
/* The two halves of a training step, as operations of a call: batch.c checks
 * and encodes the examples, trainer.c the optimizer's parameters, which are
 * taken first. */
void tinker__call_batch(tinker__call_t *call, const tinker__kind_t *kind,
                        tinker_datum_t *const *data, size_t n,
                        const tinker_loss_t *loss);
void tinker__call_take_adam(tinker__call_t *call, tinker__optim_step_t *out,
                            const tinker_adam_params_t *given);
void tinker__call_optim(tinker__call_t *call, const tinker__optim_step_t *step);
/* sampler.c: the same for a sample. */
void tinker__call_take_sample(tinker__call_t *call,
                              tinker_sampling_params_t *out,
                              const tinker_input_t *prompt,
                              const tinker_sampling_params_t *given);
void tinker__call_sample(tinker__call_t *call, tinker_sampler_t *sampler,
                         const tinker_input_t *prompt,
                         const tinker_sampling_params_t *params);
/* What the caller gets for a future that somebody else ends. */
tinker_future_t *tinker__call_hand_out(tinker__call_t *call);

#endif
