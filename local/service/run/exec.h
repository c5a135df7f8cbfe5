/* exec: the functions that the files of this folder share. Engine thread unless
 * a function says otherwise. */
#ifndef TINKER_SERVICE_EXEC_H
#define TINKER_SERVICE_EXEC_H

#include "service/calls/calls.h"
#include "service/parse/work.h"

/* The call can't be executed now, for the reason of rc: it is tried again. */
void tinker__svc_exec_stick(tinker__svc_model_t *m, int rc);
/* Completes op as failed with the code and sentence, "" = the code's own. If it
 * can't be executed now, its model is stuck instead, and op is tried again. */
void tinker__svc_exec_fail(tinker__svc_op_t *op, int rc, const char *why);
/* Loads the model's training state from its snapshot if it is not in memory. 0,
 * or a code, after which the model may be stuck. */
int tinker__svc_exec_train(tinker__svc_model_t *m, char *why, size_t why_len);

/* --- claim.c: memory for training --- */
/* Claims the memory of the model's state and of a pass (NULL = none). 0, or
 * TINKER_ENOMEM when the model has to wait; then it is stuck. */
int tinker__svc_claim(tinker__svc_model_t *m, const tinker__svc_work_t *pass);
/* Claims the memory of an op's body that is read from the log, in the same way.
 */
int tinker__svc_claim_log(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Gives back the memory that the model does not use any more. */
void tinker__svc_claim_settle(tinker__svc_model_t *m);

/* --- keep.c: decides when a state is written to a snapshot --- */
/* True when the state can be stored now, since no gradients wait, or the engine
 * can store them. */
bool tinker__svc_keep_can(const tinker__svc_model_t *m);
/* Called after a call that has changed the model. Makes a snapshot if one is
 * due. */
void tinker__svc_keep_due(tinker__svc_model_t *m, const tinker__svc_op_t *op);
/* Counts the time of a step that began at start_ms and changed the model. */
void tinker__svc_keep_worked(tinker__svc_model_t *m, int64_t start_ms);
/* Called when a restart would repeat no call of the model any more, or when a
 * snapshot for that has failed: counts its calls from zero again. */
void tinker__svc_keep_settled(tinker__svc_model_t *m);
/* Writes a model that rests to a snapshot, and then takes it out of memory. */
void tinker__svc_keep_resting(tinker__svc_model_t *m);
/* The service stops: makes snapshots of the models that have changed, for a few
 * seconds at most. */
void tinker__svc_keep_all(tinker__svc_t *s);

/* Writes the model's state to a snapshot and drops the bodies of its calls
 * before `next` from the log. A failure is logged and leaves the older
 * snapshot. */
void tinker__svc_exec_snapshot(tinker__svc_model_t *m, int64_t next);
/* Execute a save or load, up to its result or failure. */
void tinker__svc_exec_save(tinker__svc_model_t *m, tinker__svc_op_t *op);
void tinker__svc_exec_save_sampler(tinker__svc_model_t *m,
                                   tinker__svc_op_t *op);
void tinker__svc_exec_load(tinker__svc_model_t *m, tinker__svc_op_t *op);

/* --- exec_fault.c: the fault plan's acts --- */
/* Does the acts of op that come before its execution. True when op is completed
 * by that. */
bool tinker__svc_exec_suffer(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Flips one stored bit of a tensor. */
int tinker__svc_exec_flip_bit(const char *dir, const char *file, char *why,
                              size_t why_len);
/* Links the files of the model's latest checkpoint of that kind into `to`. */
int tinker__svc_exec_link_old(tinker__svc_model_t *m,
                              tinker__svc_ckpt_kind_t kind, const char *to,
                              char *why, size_t why_len);

/* --- exec.c --- */
/* The runner that boot gives to the service. */
extern const tinker__svc_runner_t tinker__svc_runner;
/* Gives the model's pass up if there is one. Engine thread. */
void tinker__svc_exec_pass_end(tinker__svc_model_t *m);
/* Takes the model's training state and pass out of memory. */
void tinker__svc_exec_model_free(tinker__svc_model_t *m);

/* --- generate_op.c --- */
/* The runner's `sample`: hands a generation to the scheduler. Any thread, under
 * the lock. */
void tinker__svc_generate(tinker__svc_op_t *op, tinker__eng_gen_t *gen);
/* Notes that a sampler uses its adapter, whose reference is taken if it is new.
 * The sampler that has not been used for longest loses its adapter if there are
 * too many; it is in a file. */
void tinker__svc_sampler_keep(tinker__svc_sampler_t *p,
                              tinker__eng_adapter_t *adapter);
/* Takes the sampler's adapter out of memory. */
void tinker__svc_sampler_unload(tinker__svc_sampler_t *p);
/* The runner's `leave`: takes the adapters of a session's samplers out of
 * memory, and has the session's rows deleted. */
bool tinker__svc_leave(tinker__eng_task_t *task);

#endif
