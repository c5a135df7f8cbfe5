/* exec: what exec.c and exec_state.c share. Engine thread. */
#ifndef TINKER_SERVICE_EXEC_H
#define TINKER_SERVICE_EXEC_H

#include "service/calls/calls.h"
#include "service/parse/work.h"

/* The call can't be executed now: it is tried again. */
void tinker__svc_exec_stick(tinker__svc_model_t *m, int rc);
void tinker__svc_exec_fail(tinker__svc_op_t *op, int rc, const char *why);
int tinker__svc_exec_train(tinker__svc_model_t *m, char *why, size_t why_len);
/* --- claim.c: memory for training --- */
/* Claims what the model takes, and that pass (NULL = none). TINKER_ENOMEM when
 * it has to wait: the model is stuck then. */
int tinker__svc_claim(tinker__svc_model_t *m, const tinker__svc_work_t *pass);
/* The same for reading its body from the log. */
int tinker__svc_claim_log(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Gives back what is not used any more. */
void tinker__svc_claim_settle(tinker__svc_model_t *m);

/* --- keep.c: when a state goes into a snapshot --- */
/* After an optim_step: a snapshot if it is time for one. */
void tinker__svc_keep_due(tinker__svc_model_t *m, int64_t next);
/* A step that began then has changed the model. */
void tinker__svc_keep_worked(tinker__svc_model_t *m, int64_t start_ms);
/* Nothing of the model would be repeated any more. */
void tinker__svc_keep_settled(tinker__svc_model_t *m);
/* A model that rests: into a snapshot, and then out of memory. */
void tinker__svc_keep_resting(tinker__svc_model_t *m);
/* The service stops: snapshots of all that have changed, within seconds. */
void tinker__svc_keep_all(tinker__svc_t *s);

/* Writes the model's state and lets the log before `next` go. A failure is
 * logged and leaves the older snapshot. */
void tinker__svc_exec_snapshot(tinker__svc_model_t *m, int64_t next);
void tinker__svc_exec_save(tinker__svc_model_t *m, tinker__svc_op_t *op);
void tinker__svc_exec_save_sampler(tinker__svc_model_t *m,
                                   tinker__svc_op_t *op);
void tinker__svc_exec_load(tinker__svc_model_t *m, tinker__svc_op_t *op);

/* exec_fault.c: the fault plan's part. True when the call is over by that. */
bool tinker__svc_exec_suffer(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Flips one stored bit of a tensor. */
int tinker__svc_exec_flip_bit(const char *dir, const char *file, char *why,
                              size_t why_len);
/* The files of the model's latest checkpoint of that kind, elsewhere. */
int tinker__svc_exec_link_old(tinker__svc_model_t *m,
                              tinker__svc_ckpt_kind_t kind, const char *to,
                              char *why, size_t why_len);

/* --- exec.c: what the scheduler runs --- */
/* The table that boot hands to the service. */
extern const tinker__svc_runner_t tinker__svc_runner;
void tinker__svc_exec_model_free(tinker__svc_model_t *m);

/* --- generate_op.c --- */
/* The runner's sample: hands it to the scheduler. Under the lock. */
void tinker__svc_generate(tinker__svc_op_t *op, tinker__eng_gen_t *gen);
/* The sampler has its adapter (takes the reference) or uses it again; those not
 * used for long lose theirs, which is in a file. Engine thread. */
void tinker__svc_sampler_keep(tinker__svc_sampler_t *p,
                              tinker__eng_adapter_t *adapter);
/* Its adapter is no longer in memory. Engine thread. */
void tinker__svc_sampler_unload(tinker__svc_sampler_t *p);
/* The runner's leave: no adapter of a session's samplers is in memory any more,
 * and its rows go. */
bool tinker__svc_leave(tinker__eng_task_t *task);

#endif
