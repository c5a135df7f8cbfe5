/* run: a run as its parts see it.
 *
 * Threads. The caller's make operations (calls.c) and wait for them. The run's
 * own thread does everything that takes time, one job after the other
 * (worker.c): it starts, attaches, recovers, commits. The client's thread for
 * its journal writes what leaves (seams.c). A thread of the journal's file
 * tells that a record is on the disk.
 *
 * The lock guards the fields under "the lock" below and the state; nothing that
 * waits is called under it, and no function of the client but those that never
 * block. Only the run's thread changes `epoch`, so it may read it without the
 * lock. */
#ifndef TINKER_RECOVERY_RUN_RUN_H
#define TINKER_RECOVERY_RUN_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <tinker/promise.h>
#include <tinker/recovery.h>

#include "base/ref.h"
#include "detect/detect.h"
#include "journal/bodies.h"
#include "journal/facts.h"
#include "journal/file.h"
#include "journal/load.h"
#include "journal/lock.h"
#include "keep/keep.h"
#include "prove/probe.h"
#include "run/chores.h"
#include "run/reserve.h"
#include "run/ruled.h"

#define TINKER__REC_WHY 512          /* bytes of a sentence */
#define TINKER__REC_ID_LEN 32        /* digits of a lineage and of a nonce */
#define TINKER__REC_PLAN_METADATA 64 /* entries */
#define TINKER__REC_PLAN_METADATA_BYTES 8192
#define TINKER__REC_STAMPS 8       /* entries of the run's own, at most */
#define TINKER__REC_ALLOW_ALL 127u /* all bits of TINKER_PLAN_* */
#define TINKER__REC_MOST_STEPS 1000000000000000 /* exclusive */
/* Of what the service shows; exclusive. The run goes on behind the highest, and
 * a start looks for the file of each epoch: a folder can have twice as many
 * (snapshot.c). */
#define TINKER__REC_MOST_EPOCHS (1 << 19)
/* Bodies up to this size are in the record itself. */
#define TINKER__REC_INLINE (16 << 10)
/* Name of the file of an operation's bodies: that of its step, which goes with
 * the step's commit. What belongs to no step has another one, because it is
 * called after its step was committed. */
#define TINKER__REC_BODIES_OF(slot, step)                                      \
  ((slot) == TINKER__REC_SLOT_OTHER ? -1 - (step) : (step))

/* Where a run is. Changed by tinker__rec_run_move() alone. */
typedef enum {
  TINKER__REC_RUN_NEW,    /* no model was made or found in this process */
  TINKER__REC_RUN_READY,  /* a step can be done */
  TINKER__REC_RUN_BROKEN, /* a step failed: the next one has to recover */
  TINKER__REC_RUN_STOPPED /* it needs somebody */
} tinker__rec_phase_t;

/* Why a step, or the model, failed. */
typedef struct tinker__rec_fault_s {
  int code; /* 0 = none */
  char why[TINKER__REC_WHY];
  bool unknown;  /* nothing is known of the service: no incident */
  bool model;    /* the model can't be trusted, or is gone */
  bool unproven; /* the model is not what its checkpoint was */
  bool resend;   /* results are gone: requests are sent again */
  bool unsure;   /* it may have been done, and left a model that nobody knows
                    of, or nothing could be shown: another attempt may */
  bool again;    /* nothing was applied: the step may be done again */
} tinker__rec_fault_t;

/* An operation that the program made, until its intent was written. */
typedef struct tinker__rec_made_s {
  tinker__link_t link;
  uint64_t op;
  int64_t step;
  tinker__rec_slot_t slot;
  bool again; /* the journal has it already */
  bool has_batch;
  unsigned char batch[TINKER__SHA256_LEN];
  char name[TINKER__REC_MAX_NAME];
} tinker__rec_made_t;

/* A client, a model, and the file of what is done with them. */
typedef struct tinker__rec_epoch_s {
  tinker_run_t *run;
  int64_t number;
  char nonce[TINKER__REC_ID_LEN + 1];
  char prefix[TINKER__REC_PATH_ROOM]; /* of the files of its bodies */
  tinker__rec_file_t *file;           /* the lock; NULL = the epoch is over */
  tinker__rec_bodies_t bodies;        /* the client's journal thread */
  tinker__rec_bodies_t drops;         /* the run's thread */
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  tinker__link_t made;    /* the lock */
  int64_t next_seq_id;    /* the lock: free, before the epoch is active */
  tinker__link_t tickets; /* the lock */
  tinker__link_t link;    /* of the run's epochs, those in use or those over */
  /* Files of what belongs to no step are erased up to this step. The run's
   * thread. */
  int64_t bodies_from;
  atomic_bool fenced;     /* nothing leaves any more */
  atomic_bool may_finish; /* its session may be finished */
} tinker__rec_epoch_t;

/* A step that was begun and is not committed. */
typedef struct tinker__rec_step_s {
  tinker__link_t link;
  int64_t number;
  tinker_future_t **forward; /* references */
  unsigned char (*batches)[TINKER__SHA256_LEN];
  size_t forward_count, forward_cap;
  tinker_future_t *optim; /* NULL = not called */
  /* Of an earlier process: the first `adopted` of forward, and optim. The
   * program may ask for each once more, and gets it. */
  size_t adopted;
  uint64_t claimed; /* bits: of forward, those that were asked for again */
  bool optim_adopted;
  double rate;     /* of learning, of its optim_step */
  bool committing; /* commit was called */
  char *cursor;
  size_t cursor_len;
  /* A checkpoint that goes with it; "" = none. */
  char ckpt[TINKER__REC_MAX_NAME];
  uint64_t save_op, probe_op;
  tinker_future_t *save, *probe, *probe_again; /* NULL = none */
  int64_t save_ms; /* boot clock: when it was submitted; 0 = by another */
} tinker__rec_step_t;

typedef enum {
  TINKER__REC_JOB_NEXT,
  TINKER__REC_JOB_COMMIT,
  TINKER__REC_JOB_CHECKPOINT
} tinker__rec_job_kind_t;

typedef struct tinker__rec_job_s {
  tinker__link_t link;
  tinker__rec_job_kind_t kind;
  tinker_promise_t *promise; /* NULL = nobody waits */
  tinker__rec_step_t *step;  /* of COMMIT; of CHECKPOINT: the job's own */
} tinker__rec_job_t;

/* What reads the journal again (reread.c). The run's thread, but for `noted`
 * and `over`. */
typedef struct tinker__rec_reread_s {
  pthread_t thread;
  bool begun;         /* it is to be joined */
  bool unread;        /* the start has not read everything */
  atomic_bool over;   /* it reads no more, and rc and why are there */
  atomic_llong noted; /* records since the last snapshot */
  int rc;
  char why[TINKER__REC_WHY];
} tinker__rec_reread_t;

struct tinker_run_s {
  tinker__ref_t ref;
  tinker__ref_t memory_users; /* the run, and results that it has handed out */
  tinker__mem_t mem;
  const tinker__world_t *world;
  tinker_run_options_t options; /* strings are below */
  tinker__rec_ruled_t ruled;
  tinker_run_plan_t plan;
  tinker_adam_params_t adam;
  tinker_client_options_t client_options;
  tinker_allocator_t allocator; /* of client_options, if they have one */
  tinker__arena_t strings;      /* of options and plan */
  char dir[TINKER__REC_PATH_ROOM];
  char plan8[9]; /* digits of the plan's digest, for names */
  char plan_digest[2 * TINKER__SHA256_LEN + 1];
  char lineage[TINKER__REC_ID_LEN + 1];
  /* The run's thread: was it looked what the service has of the run? The
   * highest epoch there, while the run is rebuilt; 0 = it is not. An attempt
   * has failed since, and may have left a model. */
  bool surveyed;
  int64_t seen_epoch;
  bool orphans_due;
  tinker__rec_lock_t lock_file;
  char lock_path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_t *supervisor;
  tinker__rec_reserve_t reserve;
  tinker_client_t *home; /* its futures outlive every model */
  pid_t pid;             /* of the process that opened it */
  pthread_t thread, gate_thread, watch_thread;
  bool threaded, gated, watched; /* they run */
  atomic_bool closing;
  /* A record could not be written, so the state has what the disk lacks: only
   * another process, or this one with the run opened again, can go on. */
  atomic_bool unwritten;
  atomic_bool damaged; /* what was written has not stayed (reread.c) */
  tinker__rec_reread_t reread;
  tinker__rec_marks_t marks; /* how far the start has read */
  /* The run's thread: when a service was last seen to restore an optimizer. */
  bool optimizer_proven;
  int64_t optimizer_proven_ms; /* of the boot clock */

  pthread_mutex_t lock;
  pthread_cond_t wake;
  /* Under the lock: */
  tinker__rec_state_t state;
  tinker__rec_phase_t phase;
  tinker__rec_epoch_t *epoch; /* NULL = none */
  tinker__link_t live;        /* epochs in use: `epoch`, and one on trial */
  tinker__link_t old;         /* epochs that are over */
  tinker_client_t *prover;    /* of a proof that is waited for; NULL = none */
  tinker__link_t jobs;
  tinker__link_t questions; /* of the gate */
  tinker__link_t steps;     /* in order */
  uint64_t next_op;
  int64_t handed;            /* the highest step that was handed out */
  bool lame;                 /* the state lacks a record: no memory */
  bool rolled_back;          /* to be said by the next step */
  bool save_due;             /* a checkpoint could not be made */
  int64_t saved_ms;          /* boot clock: when the last save was submitted */
  int64_t save_cost_ms;      /* how long the last one took; 0 = not known */
  tinker__rec_step_t *late;  /* a checkpoint of the last committed step that an
                                earlier process has begun; NULL = none */
  tinker__rec_step_t *clean; /* a save that the gate has made; NULL = none */
  tinker__rec_detect_t *detect; /* the run's thread */
  tinker__rec_retain_t retain;
  int64_t saves_failed; /* in a row; the run's thread */
  /* The first checkpoint of those whose fingerprint is the last one's, "" =
   * none is known, and steps since that have to move it. The run's thread. */
  struct {
    char name[TINKER__REC_MAX_NAME];
    int64_t moves;
    double moved; /* the sum of their rates of learning */
  } still;
  tinker__rec_metrics_t metrics;
  int64_t opened_wall_ms, opened_boot_ms;
  bool noise_known;
  double noise;
  tinker__rec_fault_t fault;    /* what broke it */
  int64_t failed;               /* calls that the service has failed */
  atomic_int_least64_t results; /* that the service has given */
  tinker_future_t *question;    /* of the watch; NULL = none */
  tinker_future_t *asked;       /* of a survey; NULL = none */
  int again, reattached;        /* times that was tried since the last commit */
  char distrust[TINKER__REC_WHY]; /* the operator's word; "" = none */
};

/* --- plan.c: what the run is ---------------------------------------------- */

/* Checks a plan and copies it. 0 or a code with `why`. */
int tinker__rec_plan_take(tinker_run_t *run, const tinker_run_plan_t *plan,
                          char *why, size_t why_len);
/* The plan as JSON. */
int tinker__rec_plan_write(const tinker_run_t *run, tinker__buf_t *out);
/* Compares it with the journal's. changed: receives whether there is an allowed
 * difference. TINKER_ESTATE names the first field that may not differ. */
int tinker__rec_plan_check(const tinker_run_t *run, tinker__str_t before,
                           bool *changed, char *why, size_t why_len);

/* --- stamp.c: what the run attaches to what it makes ---------------------- */

typedef struct tinker__rec_stamps_s {
  tinker_metadata_t list[TINKER__REC_STAMPS + TINKER__REC_PLAN_METADATA];
  size_t count;
  char epoch[24], step[24], from[24];
} tinker__rec_stamps_t;

/* What something at the service says of itself. */
typedef struct tinker__rec_found_s {
  bool is_model;
  bool same_plan8; /* of a checkpoint: its plan is the run's */
  bool tried;
  int64_t epoch;
  int64_t step;      /* of a checkpoint */
  int64_t from_step; /* after which its epoch began; -1 = not known */
  int64_t expires_ms;
  const char *path;         /* of the checkpoint; or the model's id */
  const char *name;         /* of the checkpoint, in `path` */
  const char *nonce, *plan; /* "" = it does not say */
} tinker__rec_found_t;

/* Sets run->lineage. 0 or TINKER_ENOMEM. */
int tinker__rec_lineage(tinker_run_t *run);
/* 0 or TINKER_ERANDOM. */
int tinker__rec_nonce(const tinker_run_t *run,
                      char out[TINKER__REC_ID_LEN + 1]);
/* For what is made in the epoch; step, from_step: may be TINKER__REC_NO_STEP.
 * The list is valid as long as s, the run and the epoch. */
void tinker__rec_stamps(const tinker_run_t *run, const tinker__rec_epoch_t *e,
                        int64_t step, int64_t from_step,
                        tinker__rec_stamps_t *s);
/* Checks that of a plan. 0 or TINKER_EINVAL. */
int tinker__rec_metadata_check(const tinker_metadata_t *list, size_t count,
                               char *why, size_t why_len);
/* By metadata, or by the name of a checkpoint: is it of the run's lineage?
 * out->path and name are left to the caller, other texts are views. */
bool tinker__rec_stamped(const tinker_run_t *run, const tinker_metadata_t *list,
                         size_t count, tinker__rec_found_t *out);
bool tinker__rec_named(const tinker_run_t *run, const char *name,
                       tinker__rec_found_t *out);

/* --- survey.c, rebuild.c. The run's thread -------------------------------- */

typedef struct tinker__rec_survey_s {
  tinker_run_t *run;
  tinker__arena_t arena; /* of all that is found */
  tinker__rec_found_t *found;
  size_t count, cap;
  int64_t timeout_ms; /* of a question */
  int finished;       /* sessions */
} tinker__rec_survey_t;

/* Looks at what the service has of the run, and does what the owner has allowed
 * to do about it. 0: the run goes on where its state is now. Else f says
 * why not; the next call looks again. */
int tinker__rec_survey(tinker_run_t *run, tinker__rec_fault_t *f);
/* Waits for a question to the home client; the run's end cancels it. */
int tinker__rec_ask(tinker_run_t *run, tinker_future_t *future,
                    tinker__rec_fault_t *f);
/* Looks for what attempts of this process have left, if any has failed. */
void tinker__rec_orphans(tinker_run_t *run);
/* Does the journal not know of it? */
bool tinker__rec_is_unknown(const tinker__rec_state_t *s,
                            const tinker__rec_found_t *f);
bool tinker__rec_is_newer(const tinker__rec_found_t *a,
                          const tinker__rec_found_t *b);
/* A model of the newest checkpoint that can be used, and activated. */
int tinker__rec_rebuild(tinker__rec_survey_t *s, tinker__rec_fault_t *f);

/* --- note.c: records ------------------------------------------------------ */

/* Adds a record to the supervisor's file (epoch NULL) or an epoch's, and folds
 * it. done: may be NULL. 0 or a code, then `done` is not called. Any thread,
 * without the lock. */
int tinker__rec_note_add(tinker_run_t *run, tinker__rec_epoch_t *epoch,
                         tinker__rec_type_t type, int64_t step,
                         const tinker__rec_facts_t *facts, tinker__str_t bytes,
                         tinker__rec_done_cb done, void *user);
/* The same, and waits until it is on the disk. Not on a thread of the
 * journal. */
int tinker__rec_note(tinker_run_t *run, tinker__rec_epoch_t *epoch,
                     tinker__rec_type_t type, int64_t step,
                     const tinker__rec_facts_t *facts, tinker__str_t bytes);
/* An event for the program: a name and fields of the facts. The run's
 * thread. */
void tinker__rec_say(tinker_run_t *run, const char *event, int64_t step,
                     const tinker__rec_facts_t *facts);

/* --- seams.c, epoch.c: a client with its journal -------------------------- */

extern const tinker_seams_t tinker__rec_seams; /* user = the epoch */

/* A new epoch with its file and client. session: to be adopted; NULL = the
 * client makes its own. 0 or a code; TINKER_ECLOSED: the run ends. The run's
 * thread. */
int tinker__rec_epoch_open(tinker_run_t *run, int64_t number,
                           const char *session, int64_t incarnation,
                           tinker__rec_epoch_t **out, char *why,
                           size_t why_len);
/* Nothing leaves it any more; its client ends. It stays in the run's list until
 * the run ends, because the client may still ask. NULL allowed. */
void tinker__rec_epoch_end(tinker__rec_epoch_t *e);
void tinker__rec_epoch_free(tinker__rec_epoch_t *e);
void tinker__rec_tickets_free(tinker__rec_epoch_t *e);
/* Erases the bodies of a step that is committed, and of what was called between
 * steps and has ended. The run's thread. */
void tinker__rec_bodies_done(tinker__rec_epoch_t *e, int64_t step);
/* Operations up to the step need no description any more. Under the lock. */
void tinker__rec_epoch_forget(tinker__rec_epoch_t *e, int64_t step);
/* Announces an operation: its number, for the call's tag. 0 = no memory. */
uint64_t tinker__rec_epoch_made(tinker__rec_epoch_t *e, int64_t step,
                                tinker__rec_slot_t slot,
                                const unsigned char *batch, const char *name);

/* --- attach.c, fault.c, recover.c: ways to a model. The run's thread ------ */

/* What a failed future says of the model. */
void tinker__rec_fault_of(tinker__rec_fault_t *f, const tinker_error_t *error);
/* Nobody has answered, or only somebody before the service, or it lets the
 * account in no more: it may not know of the request, and nothing is known of
 * the model. */
bool tinker__rec_is_blind(const tinker_error_t *error);
/* Is the lock another's? Then this process decides nothing more, and f says so.
 */
bool tinker__rec_is_elsewhere(const tinker_run_t *run, tinker__rec_fault_t *f);
/* Says in the journal that the run goes back to this step, and why. */
int tinker__rec_note_rollback(tinker_run_t *run, int64_t to,
                              tinker__rec_fault_t *f);
/* Waits for an operation of the client. 0 or f is filled. Releases nothing. */
int tinker__rec_await(tinker_future_t *future, tinker__rec_fault_t *f);

/* How exactly the service repeats itself, by the checkpoints of the journal.
 * Under the lock. */
void tinker__rec_take_noise(tinker_run_t *run);
/* 0 = the phase may have changed: look again. Else `f` says why nothing can be
 * done now. So are the two below. */
int tinker__rec_start(tinker_run_t *run, tinker__rec_fault_t *f);
/* Has a part of it failed, whoever has said so, and how? Under the lock. */
bool tinker__rec_op_has_failed(const tinker__rec_op_t *op);
/* Has an optim_step gone without all the forward_backward that the program has
 * called before it? The step's operations have ended. */
bool tinker__rec_step_is_torn(tinker_run_t *run, const tinker__rec_step_t *s);
int tinker__rec_attach(tinker_run_t *run, tinker__rec_fault_t *f);
/* The model of a run that begins at step 1, in a new epoch, and activated. */
int tinker__rec_begin(tinker_run_t *run, tinker__rec_epoch_t *e,
                      tinker__rec_fault_t *f);
/* The epoch is the run's from now on. from: NULL = it was loaded from
 * nothing. */
int tinker__rec_activate(tinker_run_t *run, tinker__rec_epoch_t *e,
                         const tinker__rec_ckpt_t *from,
                         tinker__rec_fault_t *f);
/* Is the service heard? Asked before an attempt, which takes a number and makes
 * a file: where the key is refused for days that must not add up. 0 also when
 * it has answered with an error that says something of the model. */
int tinker__rec_heard(tinker_run_t *run, tinker__rec_fault_t *f);
/* A number for an epoch that was never used, whatever becomes of it. */
int tinker__rec_next_epoch(tinker_run_t *run, int64_t *number,
                           tinker__rec_fault_t *f);
int tinker__rec_recover(tinker_run_t *run, tinker__rec_fault_t *f);
/* The epoch's model, of the checkpoint with its optimizer. */
int tinker__rec_load_model(tinker_run_t *run, tinker__rec_epoch_t *e,
                           const tinker__rec_ckpt_t *c, tinker__rec_fault_t *f);
/* No recovery uses the checkpoint any more. 0 or f is filled. */
int tinker__rec_quarantine(tinker_run_t *run, const char *name, const char *why,
                           tinker__rec_fault_t *f);

/* --- retired.c: the run's thread ------------------------------------------ */

/* The service offers other models, and not the plan's. Asks it. */
bool tinker__rec_retired(tinker_run_t *run);

/* --- proof.c -------------------------------------------------------------- */

bool tinker__rec_proof_due(const tinker_run_t *run,
                           const tinker__rec_ckpt_t *c);
/* V4 of the checkpoint. 0 with a sentence in `evidence`, or f is filled: it is
 * unproven if the checkpoint is refuted, else nothing is known of it. The run's
 * thread. */
int tinker__rec_prove_optimizer(tinker_run_t *run, const tinker__rec_ckpt_t *c,
                                tinker__rec_fault_t *f, char *evidence,
                                size_t len);

/* --- checkpoint.c --------------------------------------------------------- */

/* Why a checkpoint is made. */
typedef enum {
  TINKER__REC_SAVE_DUE,   /* it is time for one */
  TINKER__REC_SAVE_ASKED, /* the program wants one */
  TINKER__REC_SAVE_CLEAN  /* a bad step is held up: it goes ahead of that */
} tinker__rec_save_t;

/* Submits save and fingerprint, ahead of or behind what was submitted. Any
 * thread, without the lock. */
void tinker__rec_ckpt_submit(tinker_run_t *run, tinker__rec_epoch_t *e,
                             tinker__rec_step_t *step, tinker__rec_save_t why);
/* Waits for them and journals what they gave. The run's thread. path: receives
 * a copy in the run's memory; may be NULL. 0 or f is filled. */
int tinker__rec_ckpt_settle(tinker_run_t *run, tinker__rec_step_t *step,
                            char **path, tinker__rec_fault_t *f);
/* A checkpoint of the step whose commit was called last, for SAVE_ASKED; else
 * NULL, and `no` says why. Under the lock. */
tinker__rec_step_t *tinker__rec_ckpt_last(tinker_run_t *run, const char **no);
/* The same for the program, which may have called next already. */
tinker__rec_step_t *tinker__rec_ckpt_ask(tinker_run_t *run, const char **no);
/* Settles one that was asked for, if its step was committed. As above. */
int tinker__rec_ckpt_asked(tinker_run_t *run, tinker__rec_step_t *step,
                           char **path, tinker__rec_fault_t *f);
bool tinker__rec_ckpt_due(const tinker_run_t *run, int64_t step);

/* --- retain.c: which checkpoints stay. The run's thread ------------------- */

/* Looks at what is under way, and begins what is to be done next. Waits for the
 * disk alone. */
void tinker__rec_retain(tinker_run_t *run);
/* The run has all its steps: waits for what is left to do, 30 s at most. */
void tinker__rec_retain_finish(tinker_run_t *run);
/* The run stops, and nobody will renew what it needs to go on: the newest
 * checkpoints do not expire any more. Waits for the service. */
void tinker__rec_retain_hold(tinker_run_t *run);
void tinker__rec_retain_end(tinker_run_t *run);
/* A recovery may load it. */
bool tinker__rec_usable(const tinker_run_t *run, const tinker__rec_ckpt_t *c);
/* When something with so many seconds to live expires, in milliseconds of the
 * wall clock as it was when the run was opened. Any thread. */
int64_t tinker__rec_expiry(const tinker_run_t *run, int64_t seconds);

/* --- cookbook.c. The run's thread ----------------------------------------- */

/* Brings the files up to what the journal has. */
void tinker__rec_cookbook(tinker_run_t *run);
void tinker__rec_cookbook_end(tinker_run_t *run);

/* --- steps.c: steps that are not committed. Under the lock ---------------- */

tinker__rec_step_t *tinker__rec_step_new(tinker_run_t *run, int64_t number);
void tinker__rec_step_free(tinker_run_t *run, tinker__rec_step_t *s);
/* The last one, NULL = none. */
tinker__rec_step_t *tinker__rec_step_last(const tinker_run_t *run);
/* Adds a reference to the future of a forward_backward. */
int tinker__rec_step_add(tinker_run_t *run, tinker__rec_step_t *s,
                         tinker_future_t *future, const unsigned char *batch);
void tinker__rec_steps_drop(tinker_run_t *run);
/* Where the data of the next step go on. */
tinker__str_t tinker__rec_step_cursor(const tinker_run_t *run);

/* --- gate.c --------------------------------------------------------------- */

void tinker__rec_on_gate(void *user, const tinker_gate_question_t *asked);
/* Starts the gate's thread if there is a gate. 0 or TINKER_ENOMEM. */
int tinker__rec_gate_start(tinker_run_t *run);
void tinker__rec_gate_end(tinker_run_t *run);

/* --- reread.c ------------------------------------------------------------- */

/* Reads the journal as the run begins. 0 or a code of tinker__rec_load(). */
int tinker__rec_reread_load(tinker_run_t *run, char *why, size_t why_len);
/* Begins what is due, and takes up what has ended. The run's thread, or before
 * there is one. */
void tinker__rec_reread(tinker_run_t *run);
void tinker__rec_reread_end(tinker_run_t *run);

/* --- losses.c ------------------------------------------------------------- */

/* Of a step whose calls have all ended. 0 or f is filled. */
int tinker__rec_losses(tinker_run_t *run, const tinker__rec_step_t *s,
                       double loss, tinker__rec_fault_t *f);

/* --- still.c. The run's thread -------------------------------------------- */

/* Another model, of this checkpoint; NULL = of nothing, or not known. */
void tinker__rec_still_begin(tinker_run_t *run, const tinker__rec_ckpt_t *from);
/* The step was committed. */
void tinker__rec_still_step(tinker_run_t *run, const tinker__rec_step_t *s,
                            double loss);
/* Its checkpoint has a fingerprint. */
void tinker__rec_still_look(tinker_run_t *run, const tinker__rec_step_t *s);

/* --- turn.c --------------------------------------------------------------- */

/* Waits until this run may go back to a checkpoint. 0 or f is filled; also 0 if
 * the run ends. */
int tinker__rec_turn_take(tinker_run_t *run, tinker__rec_lock_t *turn,
                          tinker__rec_fault_t *f);
void tinker__rec_turn_end(tinker__rec_lock_t *turn);

/* --- watch.c -------------------------------------------------------------- */

/* Starts the watch's thread if there is a watch. 0 or TINKER_ENOMEM. */
int tinker__rec_watch_start(tinker_run_t *run);
/* Waits for so long, or until somebody is woken. Under the lock. */
void tinker__rec_wait_ms(tinker_run_t *run, int64_t ms);
/* The run is closing already. */
void tinker__rec_watch_end(tinker_run_t *run);

/* --- worker.c: the run's thread ------------------------------------------- */

int tinker__rec_worker_start(tinker_run_t *run);
void tinker__rec_worker_end(tinker_run_t *run);
/* The run's thread waits for this client from now on, until it says NULL: a run
 * that ends closes it. The caller keeps it alive. The run's thread. */
void tinker__rec_prover(tinker_run_t *run, tinker_client_t *client);
/* Has a tinker_run_next() not ended? It may have been given up by its caller;
 * until then the steps are the run's thread's. Under the lock. */
bool tinker__rec_next_waits(const tinker_run_t *run);
/* Queues a job; takes promise over. 0 or TINKER_ENOMEM: nothing has changed. */
int tinker__rec_worker_add(tinker_run_t *run, tinker__rec_job_kind_t kind,
                           tinker_promise_t *promise, tinker__rec_step_t *step);
/* The result of next, for the step that was begun last. Under the lock. */
int tinker__rec_hand_out(tinker_run_t *run, tinker_promise_t *promise);
/* The run's memory goes with its last user. */
void tinker__rec_run_unref(tinker_run_t *run);
/* Where the journal says that a run without a model is. Under the lock. */
void tinker__rec_settle_phase(tinker_run_t *run);
/* Changes the phase. Under the lock. */
void tinker__rec_run_move(tinker_run_t *run, tinker__rec_phase_t to);
void tinker__rec_reject(tinker_promise_t *p, int code, const char *why);

#endif
