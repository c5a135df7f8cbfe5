/* Recovery: a training run that goes on, whatever ends in between.
 *
 * libtinker-recovery, a library of its own (static: CMake target
 * tinker::recovery, pkg-config package tinker-recovery, both with the client).
 * It uses nothing of the client but its public headers.
 *
 * A run is a training run as its user means it: it has a name, a plan, and a
 * folder with its journal. What the service has of it, session and model, may
 * be lost and replaced; the run goes on. A loop with a run:
 *
 *   tinker_run_t *run = NULL;
 *   check(tinker_run_open(&run, &options, &error));
 *   for (;;) {
 *     tinker_future_t *next = tinker_run_next(run, NULL);
 *     const tinker_run_step_t *step;          // which step, from where
 *     check(tinker_future_wait(next, -1));
 *     check(tinker_future_get_run_step(next, &step));
 *     if (step->done) break;
 *     ... the data of the step, from step->cursor on ...
 *     fb = tinker_run_forward_backward(run, data, n, NULL, NULL);
 *     optim = tinker_run_optim_step(run, NULL, NULL);
 *     commit = tinker_run_commit(run, cursor, cursor_len, NULL);
 *     ... wait for commit, or go on and look at it later ...
 *   }
 *
 * Promises. A process that dies, at whatever instruction, costs no step: the
 * next one that opens the run goes on with the same model, with what was under
 * way, and with the cursor of the last committed step. A model that is lost or
 * can't be trusted costs the steps since the last checkpoint: the run makes a
 * new model of a checkpoint, shows that it is what was saved, weights and
 * optimizer, and goes back to the step after it, or it stops and says why. On
 * the branch that counts each step is taken once, in order.
 *
 * How. Before a request leaves that changes something, the run has it in its
 * journal, on the disk; a request whose outcome is not known is asked for by
 * its id, or sent again, the same bytes under the same number. docs/recovery.md
 * has the whole story, and what is not promised.
 *
 * Order. The calls of a step are made in this order: next, forward_backward one
 * or several times, optim_step, commit. The next step may begin before the
 * futures of this one have ended. The calls of a step, these four and
 * tinker_run_checkpoint(), are made by one thread at a time; every other
 * function may be called on any thread.
 *
 * A failed step. Its futures end with the error, its commit too, and so do all
 * steps that were begun after it. The program gives them back and calls
 * tinker_run_next(), which recovers; a loop needs no other way to handle
 * errors. Until then the calls of a step are refused with TINKER_ESTATE.
 *
 * The run makes its clients itself, in background mode, and so its threads:
 * those of one client that belongs to the run and outlives its models, those of
 * the client of the present model, one of the run, one for each of its two
 * journal files, one that watches the model, and one for a strict gate. A
 * forked child has none of them: it may only give the run back, which leaves
 * everything to the parent. */
#ifndef TINKER_RECOVERY_H
#define TINKER_RECOVERY_H

#include "recovery_prove.h"
#include "tinker.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinker_run_s tinker_run_t;

/* What happens to data after a rollback. */
typedef enum {
  /* A step that is done again must have the same data: any other is refused. */
  TINKER_DATA_RECORDED = 0,
  /* It may have other data, as in reinforcement learning. */
  TINKER_DATA_FRESH = 1
} tinker_run_data_t;

/* When the weights may be moved by what a step has computed. */
typedef enum {
  /* At once: the fastest; a loss that is not finite is found afterwards, and
   * costs the steps since the last checkpoint. */
  TINKER_RUN_GATE_PIPELINED = 0,
  /* After the losses of the step are known and finite; else the weights are
   * saved as they were before the step, and the run goes on from there. Costs
   * about a round trip a step. */
  TINKER_RUN_GATE_STRICT = 1
} tinker_run_gate_t;

/* What is done if the service has more of the run than its journal: the folder
 * was lost, or put back from an older copy, or another folder trains a run of
 * the same name and base model. The first tinker_run_next() of each process
 * looks for that. */
typedef enum {
  /* tinker_run_next() ends with TINKER_ESTATE, and says what was found. */
  TINKER_RUN_BEHIND_REFUSE = 0,
  /* The run goes on from the newest checkpoint of it that the service has. Its
   * weights can't be compared with what was saved, since that stood in the
   * journal; it must be of the plan and have its optimizer
   * (recovery_prove.h). The cursor is lost: see tinker_run_step_t. */
  TINKER_RUN_BEHIND_REBUILD = 1,
  /* What the journal does not know is left alone, for good. A run without a
   * journal begins at step 1; one with an older journal goes back to a
   * checkpoint of that, since its model may be further than it knows. */
  TINKER_RUN_BEHIND_IGNORE = 2
} tinker_run_behind_t;

/* Fields of a plan, for tinker_run_options_t.allow. */
#define TINKER_PLAN_RANK 1u
#define TINKER_PLAN_FREEZE 2u
#define TINKER_PLAN_SEED 4u
#define TINKER_PLAN_DATA 8u
#define TINKER_PLAN_DATA_ID 16u
#define TINKER_PLAN_STEPS 32u
#define TINKER_PLAN_ADAM 64u

/* What the run is. It is journaled when the run is new; whoever opens the run
 * later with another plan is refused (TINKER_ESTATE), with the field that
 * differs, unless `allow` has it. */
typedef struct tinker_run_plan_s {
  size_t size;
  const char *base_model; /* required; can't be changed */
  uint32_t rank;          /* default 32 */
  uint32_t freeze;        /* bits of TINKER_FREEZE_*; default 0 */
  int64_t seed;           /* default TINKER_NO_SEED */
  int32_t data;           /* a tinker_run_data_t; default RECORDED */
  int32_t reserved0;      /* 0 */
  /* The caller's name for data and schedule, a digest say, up to 256 bytes of
   * UTF-8; NULL (default) = "". The run compares it, and nothing more. */
  const char *data_id;
  /* Steps of the whole run, 1 or more; default -1 = until the program stops. */
  int64_t steps;
  /* Settings that the optimizer has in every step that brings none of its own;
   * NULL (default) = the defaults. Copied. */
  const tinker_adam_params_t *adam;
  /* Attached to all that the run makes at the service, its sessions, models and
   * checkpoints: metadata_count entries (types.h), at most 64 and 8,192 bytes
   * of names and values; default none. They are for people and other programs:
   * no two processes need have the same. Names that begin with "tinker_" are
   * the run's own, which docs/recovery.md lists. Copied. */
  const tinker_metadata_t *metadata;
  size_t metadata_count;
} tinker_run_plan_t;

#define TINKER_RUN_PLAN_INIT                                                   \
  {                                                                            \
    sizeof(tinker_run_plan_t), NULL, 32, 0, TINKER_NO_SEED,                    \
        TINKER_DATA_RECORDED, 0, NULL, -1, NULL, NULL, 0                       \
  }

/* What a run has decided or met: one line for people and programs. line: one
 * JSON object of len bytes, no line end, no NUL; valid during the call. Runs on
 * the run's thread; it may block, and holds the run up meanwhile; it must call
 * no function that ends the run or waits for it. docs/recovery.md lists the
 * events. */
typedef void (*tinker_run_event_cb)(void *user, const char *line, size_t len);

typedef struct tinker_run_options_s {
  size_t size;
  /* Folder of all runs; required; made, with mode 0700, if its parent is there.
   * What a run has is in "<state_dir>/runs/<name>". */
  const char *state_dir;
  const char *name; /* of the run: 1 to 64 of [A-Za-z0-9_-]; required */
  const tinker_run_plan_t *plan; /* required */
  /* For the clients of the run; NULL (default) = all defaults. mode must be
   * background, seams and adopt NULL, metadata empty. Its allocator is the
   * run's too. What its callbacks use must live as long as the run. */
  const tinker_client_options_t *client;
  uint32_t allow;    /* bits of TINKER_PLAN_*; default 0 */
  int32_t reserved0; /* 0 */
  /* A checkpoint after each so many steps, 1 or more; 0 = only by
   * tinker_run_checkpoint(); -1 = by time: after the root of 2 * the time that
   * a save takes * 1 hour, between 2 and 30 minutes. Default 50. */
  int64_t checkpoint_every;
  /* Attempts to go back to a checkpoint without a step committed in between
   * before the run stops, 1 or more; default 3. */
  int32_t attempts;
  /* 1: a run that is lost before its first checkpoint begins again at step 1.
   * Default 0: it stops. */
  int32_t allow_step_zero;
  tinker_run_event_cb event_cb; /* NULL (default) = none */
  void *event_user;
  int32_t gate;      /* a tinker_run_gate_t; default PIPELINED */
  int32_t reserved1; /* 0 */
  /* Newest checkpoints that stay once each was proven by a load into a model
   * of its own, 2 or more; 0 (default) = nothing is deleted. Beside them stay
   * the first one, that of the last step, the first of each eighth of the
   * plan's steps, and the one that the present model was loaded from. The
   * others are deleted, none while the run is being recovered. What was refused
   * by a proof, or belongs to steps that were rolled back, is left alone. */
  int64_t keep_last;
  /* Milliseconds, 0 or more, from when a checkpoint is found to be needed no
   * more, which is journaled, to its deletion. Default 900,000. */
  int64_t delete_delay_ms;
  /* Time to live of a checkpoint, in seconds, 3,600 to 315,360,000; the run
   * renews it before half of it is over, and takes the limit off that of the
   * last step. Default TINKER_NO_TTL: checkpoints do not expire. */
  int64_t ttl_seconds;
  /* Milliseconds between two looks at the service's record of the model (each
   * of them a fifth earlier or later), 0 to 3,600,000; default 10,000. While
   * something is suspicious it is looked at every two seconds. A model that is
   * shown as corrupted twice, or whose record is gone twice while the service
   * shows other runs, is not trusted any more: tinker_run_next() goes back to a
   * checkpoint. It does not end what is under way: a loop that waits for a
   * future finds out with its next step. No answer, or one that says nothing of
   * the model, changes nothing. 0 = it is not looked at. */
  int64_t watch_ms;
  int32_t behind;    /* a tinker_run_behind_t; default REFUSE */
  int32_t reserved2; /* 0 */
  /* Milliseconds without any result of a step's calls, while one is waited for
   * and nothing is known that holds it up (a paused queue, a blocked account, a
   * service that is not heard, a machine that sleeps: such time does not
   * count), 1 or more: the model is suspect, and its record is looked at
   * closely. Default 1,200,000 (20 minutes). */
  int64_t result_soft_ms;
  /* The same, more than result_soft_ms: the model is not trusted any more, what
   * is waited for ends with TINKER_ECANCELED, and tinker_run_next() goes back
   * to a checkpoint. Neither happens before ten times the time that 99 of 100
   * of the last 128 waits took. Default 7,200,000 (2 hours); 0 = never. */
  int64_t result_hard_ms;
} tinker_run_options_t;

#define TINKER_RUN_OPTIONS_INIT                                                \
  {                                                                            \
    sizeof(tinker_run_options_t), NULL, NULL, NULL, NULL, 0, 0, 50, 3, 0,      \
        NULL, NULL, TINKER_RUN_GATE_PIPELINED, 0, 0, 900000, TINKER_NO_TTL,    \
        10000, TINKER_RUN_BEHIND_REFUSE, 0, 1200000, 7200000                   \
  }

/* The init functions write the same defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_run_plan_init(tinker_run_plan_t *o) {
  const tinker_run_plan_t init = TINKER_RUN_PLAN_INIT;
  *o = init;
}
static inline void tinker_run_options_init(tinker_run_options_t *o) {
  const tinker_run_options_t init = TINKER_RUN_OPTIONS_INIT;
  *o = init;
}

/* The step that is to be done. It and all that it points at are owned by the
 * future of tinker_run_next(), futures included: whoever needs one of these
 * longer retains it. */
typedef struct tinker_run_step_s {
  int64_t step; /* from 1 on; the number after the last step if done */
  int32_t done; /* 1: the run has all its steps; nothing is to be done */
  /* 1: the run has gone back to a checkpoint since the step before. This one
   * and what follows may have been handed out before; what the program has of
   * that is void. */
  int32_t rolled_back;
  /* What the program gave to the commit of the step before; cursor_len bytes,
   * none for a new run. */
  const void *cursor;
  size_t cursor_len;
  /* What an earlier process has sent of this step already: forward_count
   * futures of forward_backward and that of optim_step, or NULL. They count as
   * this process's own: the program makes the calls that are missing, then
   * commits. A program may also make all calls of the step as ever: one with
   * the same data gives that future once more, and nothing is sent. A step
   * whose commit was called already is not handed out: the run commits it. */
  tinker_future_t *const *forward;
  size_t forward_count;
  tinker_future_t *optim;
  /* 1: the run was rebuilt (TINKER_RUN_BEHIND_REBUILD) from the checkpoint of
   * the step before, and its cursor went with the journal: cursor_len is 0, and
   * the program finds out by the number of the step where its data go on. It
   * stays 1 until a step has been committed. */
  int32_t cursor_lost;
  int32_t reserved0;
} tinker_run_step_t;

/* Opens a run, or makes it: reads its journal, and locks its folder. Nothing is
 * sent before tinker_run_next(). A run that was stopped or has all its steps
 * opens too: tinker_run_next() says so.
 *
 * The environment variable TINKER_RUN_POLICY is an operator's word, which goes
 * before the options: the text of a policy file (docs/recovery-policy.md),
 * whose `defaults` hold for the run. tinker-recoverd sets it for its trainers.
 * What stands in for an option (gate, watch_ms, checkpoint_every, ttl_seconds,
 * keep_last, delete_delay_ms, allow_step_zero, attempts) does so only if the
 * text has the key; what is the daemon's is not looked at. A text with a fault,
 * or a key that is not honoured, is refused (TINKER_EINVAL, with its place).
 *
 * The run keeps a file `reserve` of 1 MiB in its folder, or as large as
 * limits.disk_reserve says. When a record finds no room on the disk it is given
 * up: what is under way ends and is journaled, and tinker_run_next() ends with
 * TINKER_EIO until there is room for it again.
 * out: receives a reference owned by the caller; untouched on failure. options:
 * borrowed, copied. error: receives the reason, see tinker_error_t; may be
 * NULL. Returns 0, TINKER_EINVAL (an option, of the plan or a client too),
 * TINKER_ENOTSUP (one that this library does not know), TINKER_EOVERFLOW
 * (state_dir is too long), TINKER_ESTATE (another plan), TINKER_EBUSY (it is
 * open already, in another process or this one), TINKER_EFORMAT (its journal is
 * damaged: the sentence says where; nothing was changed), TINKER_EIO (the disk,
 * or a client's threads), TINKER_EAUTH (no usable credential), TINKER_ERANDOM
 * or TINKER_ENOMEM (a thread too). Any thread; waits for the disk. */
TINKER_API int tinker_run_open(tinker_run_t **out,
                               const tinker_run_options_t *options,
                               tinker_error_t **error);

/* Adds a reference.
 * run: may be NULL. Returns run. Any thread. */
TINKER_API tinker_run_t *tinker_run_retain(tinker_run_t *run);

/* Gives a reference back. The last one ends what is under way (TINKER_ECLOSED),
 * the run's clients and threads, and closes its journal, within some seconds.
 * The session is left, unless the run has all its steps, so that the run can be
 * opened again: nothing that was sent is lost by that. Results that the program
 * holds stay valid.
 * run: may be NULL. Returns NULL. Any thread but those of a callback. */
TINKER_API tinker_run_t *tinker_run_release(tinker_run_t *run);

/* Asks which step is to be done. The first call makes or finds the model. After
 * a failure it is what recovers: it ends when a step can be done, with a new
 * model if need be, however long that takes. A step that was handed out and
 * that nothing was called for is handed out again.
 * run, call: see future.h; a deadline ends the waiting, not what is done.
 * Returns a future owned by the caller; result: tinker_future_get_run_step().
 * Beside the codes of future.h:
 * - TINKER_ESTATE: calls of the present step are missing; or the run was
 *   stopped, and the sentence says why: see tinker_run_resume(); or the service
 *   has more of the run than its journal: see tinker_run_behind_t;
 * - TINKER_EIO: its journal can't be written, or there is no room on the disk
 *   for the file `reserve`;
 * - TINKER_EFORMAT: its journal does not say any more what was written, as a
 *   thread of the run has found out; no step is handed out any more;
 * - one that says nothing of the model (TINKER_ECONNECT, TINKER_ETRANSPORT,
 *   TINKER_ETLS, TINKER_EAUTH, TINKER_EBILLING ...): nothing was decided, and
 *   the next call of this function tries again.
 * On the one thread that makes the calls of a step. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_run_next(tinker_run_t *run, const tinker_call_options_t *call);

/* Result of tinker_run_next().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(); TINKER_EINVAL also for the
 * future of another operation. Any thread. */
TINKER_API int tinker_future_get_run_step(tinker_future_t *future,
                                          const tinker_run_step_t **out);

/* tinker_trainer_forward_backward() of the present step. What an earlier
 * process has sent of it, with the same data, is not sent again: its future is
 * returned, which takes no callback. Refused with TINKER_ESTATE if no step was
 * begun, if a step has failed, if this one has its optim_step already, or,
 * where it is done again with recorded data, if these are not the data that it
 * had; with fresh data also if an earlier process has sent others for it, which
 * step->forward has. run: not NULL. call: see future.h; its `tag` is the run's,
 * and not read. data, n, loss: as for that function. Returns a future owned by
 * the caller; results and codes as there. A call that is refused for its
 * arguments is no part of the step. On the one thread that makes the calls of a
 * step. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_run_forward_backward(tinker_run_t *run, tinker_datum_t *const *data,
                            size_t n, const tinker_loss_t *loss,
                            const tinker_call_options_t *call);

/* tinker_trainer_optim_step() of the present step; that of an earlier process,
 * as tinker_run_forward_backward(). Refused with TINKER_ESTATE as that one, and
 * if the step has no forward_backward.
 * run: not NULL. call: see future.h; its `tag` is not read. params: borrowed;
 * NULL = the plan's. Returns a future owned by the caller; result and codes as
 * there. On the one thread that makes the calls of a step. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_run_optim_step(tinker_run_t *run, const tinker_adam_params_t *params,
                      const tinker_call_options_t *call);

/* Commits the present step, after its optim_step was called: it counts as soon
 * as the service has carried that out. A checkpoint that is due is saved after
 * it, and ends before this future does; one that fails is an event and not a
 * failure of the step.
 * run, call: see future.h. cursor: cursor_len bytes, copied, which
 * tinker_run_next() hands back with the step after this one: where the data go
 * on, the state of random numbers; NULL only if there are none. cursor_len: at
 * most 65,536, else TINKER_EINVAL. Returns a future owned by the caller,
 * without a result: it ends with 0 when the step is committed on the disk, else
 * with the error that the step failed with, with TINKER_ESTATE (no step was
 * begun, it has no optim_step, a step before it has failed, its loss is not
 * finite, or not what it was before a rollback) or TINKER_EIO (the journal). It
 * may be given back without waiting: the next failure is tinker_run_next()'s
 * to report. On the one thread that makes the calls of a step. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_run_commit(tinker_run_t *run, const void *cursor, size_t cursor_len,
                  const tinker_call_options_t *call);

/* Saves a checkpoint that the run can go back to, of the step whose commit was
 * called last; nothing that is called afterwards is in it. A step may have
 * several.
 * run, call: see future.h. Returns a future owned by the caller; result:
 * tinker_future_get_checkpoint(). It may end as
 * tinker_trainer_save_state(), with TINKER_EIO (the journal), with the error
 * that its step failed with, or with TINKER_ESTATE: there is no model, calls of
 * a step have been made and its commit was not, or none was committed since the
 * model was made. On the one thread that makes the calls of a step. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_run_checkpoint(tinker_run_t *run, const tinker_call_options_t *call);

/* Result of tinker_run_checkpoint(): its path, "tinker://...".
 * future: not NULL. out: receives a NUL-terminated string owned by the future;
 * untouched on failure. Returns as tinker_future_get_trainer(); TINKER_EINVAL
 * also for the future of another operation. Any thread. */
TINKER_API int tinker_future_get_checkpoint(tinker_future_t *future,
                                            const char **out);

/* The present model, for what changes no weights: samplers, forward, saves for
 * sampling. Through it, forward_backward, optim_step, step and loads end with
 * TINKER_ESTATE, unsent, since the run would not know of them. The `tag` of
 * calls through it must be 0: other numbers are the run's. After a rollback
 * there is another model, and this one takes no calls any more.
 * run: not NULL. out: receives a new reference owned by the caller; untouched
 * on failure. Returns 0, TINKER_EINVAL, TINKER_ESTATE (there is none: before
 * the first tinker_run_next(), after a failure, in a stopped run) or
 * TINKER_EFORKED. Any thread. */
TINKER_API int tinker_run_get_trainer(tinker_run_t *run,
                                      tinker_trainer_t **out);

/* The operator's word that the model can't be trusted: the next
 * tinker_run_next() goes back to a checkpoint. It is not on the disk before
 * that: a process that dies in between has forgotten it.
 * run: not NULL. why: a sentence for the journal, UTF-8, not empty; copied, up
 * to 511 bytes. Returns 0, TINKER_EINVAL or TINKER_EFORKED. Any thread. */
TINKER_API int tinker_run_distrust(tinker_run_t *run, const char *why);

/* The operator's word that a run which has stopped may try again: attempts
 * count from 0, and the next tinker_run_next() goes back to the newest
 * checkpoint that is not refused.
 * run: not NULL. why: a sentence for the journal, UTF-8, not empty; copied.
 * Returns 0, TINKER_EINVAL, TINKER_ESTATE (it has not stopped),
 * TINKER_EOVERFLOW (`why` is longer than a record), TINKER_EIO, TINKER_ENOMEM
 * or TINKER_EFORKED. Any thread but the run's; waits for the disk. */
TINKER_API int tinker_run_resume(tinker_run_t *run, const char *why);

#ifdef __cplusplus
}
#endif

#endif
