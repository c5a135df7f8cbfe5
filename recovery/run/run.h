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

#define TINKER__REC_WHY 512 /* bytes of a sentence */
/* Bodies up to this size are in the record itself. */
#define TINKER__REC_INLINE (16 << 10)
/* Name of the file of an operation's bodies: that of its step, which goes with
 * the step's commit. What belongs to no step has another one, because it is
 * called after its step was committed. */
#define TINKER__REC_BODIES_OF(slot, step)                                      \
  ((slot) == TINKER__REC_SLOT_OTHER ? -1 - (step) : (step))
#define TINKER__REC_PROBE_ITEMS 4
#define TINKER__REC_PROBE_TOKENS 16

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
  bool unsure; /* it may have been done: a model that nobody knows of is left */
  bool again;  /* nothing was applied: the step may be done again */
} tinker__rec_fault_t;

/* An operation that the program made, until its intent was written. */
typedef struct tinker__rec_made_s {
  tinker__link_t link;
  uint64_t op;
  int64_t step;
  tinker__rec_slot_t slot;
  bool has_batch;
  unsigned char batch[TINKER__SHA256_LEN];
  char name[TINKER__REC_MAX_NAME];
} tinker__rec_made_t;

/* A client, a model, and the file of what is done with them. */
typedef struct tinker__rec_epoch_s {
  tinker_run_t *run;
  int64_t number;
  char prefix[TINKER__REC_PATH_ROOM]; /* of the files of its bodies */
  tinker__rec_file_t *file;           /* the lock; NULL = the epoch is over */
  tinker__rec_bodies_t bodies;        /* the client's journal thread */
  tinker__rec_bodies_t drops;         /* the run's thread */
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  tinker__link_t made;    /* the lock */
  int64_t next_seq_id;    /* the lock: free, before the epoch is active */
  tinker__link_t tickets; /* the lock */
  tinker__link_t link;    /* of the run's epochs that are over */
  int64_t bodies_from; /* files of what belongs to no step are erased up to this
                          step. The run's thread */
  atomic_bool fenced;  /* nothing leaves any more */
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
  bool committing;        /* commit was called */
  char *cursor;
  size_t cursor_len;
  /* A checkpoint that goes with it; "" = none. */
  char ckpt[TINKER__REC_MAX_NAME];
  uint64_t save_op, probe_op;
  tinker_future_t *save, *probe, *probe_again; /* NULL = none */
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
  tinker__rec_step_t *step;  /* of COMMIT */
} tinker__rec_job_t;

struct tinker_run_s {
  tinker__ref_t ref;
  tinker__ref_t memory_users; /* the run, and results that it has handed out */
  tinker__mem_t mem;
  const tinker__world_t *world;
  tinker_run_options_t options; /* strings are below */
  tinker_run_plan_t plan;
  tinker_adam_params_t adam;
  tinker_client_options_t client_options;
  tinker__arena_t strings; /* of options and plan */
  char dir[TINKER__REC_PATH_ROOM];
  char plan8[9]; /* digits of the plan's digest, for names */
  tinker__rec_lock_t lock_file;
  char lock_path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_t *supervisor;
  tinker_client_t *home; /* its futures outlive every model */
  pid_t pid;             /* of the process that opened it */
  pthread_t thread, gate_thread;
  bool threaded, gated; /* they run */
  atomic_bool closing;
  /* A record could not be written, so the state has what the disk lacks: only
   * another process, or this one with the run opened again, can go on. */
  atomic_bool unwritten;

  pthread_mutex_t lock;
  pthread_cond_t wake;
  /* Under the lock: */
  tinker__rec_state_t state;
  tinker__rec_phase_t phase;
  tinker__rec_epoch_t *epoch; /* NULL = none */
  tinker__link_t old;         /* epochs that are over */
  tinker__link_t jobs;
  tinker__link_t questions; /* of the gate */
  tinker__link_t steps;     /* in order */
  uint64_t next_op;
  int64_t handed;            /* the highest step that was handed out */
  bool lame;                 /* the state lacks a record: no memory */
  bool rolled_back;          /* to be said by the next step */
  bool save_due;             /* a checkpoint could not be made */
  tinker__rec_step_t *late;  /* a checkpoint of the last committed step that an
                                earlier process has begun; NULL = none */
  tinker__rec_step_t *clean; /* a save that the gate has made; NULL = none */
  tinker__rec_detect_t *detect; /* the run's thread */
  bool noise_known;
  double noise;
  tinker__rec_fault_t fault; /* what broke it */
  int again, reattached;     /* times that was tried since the last commit */
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
 * client makes its own. 0 or a code; *error may be set. The run's thread. */
int tinker__rec_epoch_open(tinker_run_t *run, int64_t number,
                           const char *session, int64_t incarnation,
                           tinker__rec_epoch_t **out, char *why,
                           size_t why_len);
/* Nothing leaves it any more; its client ends. It stays in the run's list until
 * the run ends, because the client may still ask. NULL allowed. */
void tinker__rec_epoch_end(tinker__rec_epoch_t *e);
void tinker__rec_epoch_free(tinker__rec_epoch_t *e);
/* Announces an operation: its number, for the tag of the call. 0 = no
 * memory. */
void tinker__rec_tickets_free(tinker__rec_epoch_t *e);
/* Erases the bodies of a step that is committed, and of what was called between
 * steps and has ended. The run's thread. */
void tinker__rec_bodies_done(tinker__rec_epoch_t *e, int64_t step);
/* Operations up to the step need no description any more. Under the lock. */
void tinker__rec_epoch_forget(tinker__rec_epoch_t *e, int64_t step);
uint64_t tinker__rec_epoch_made(tinker__rec_epoch_t *e, int64_t step,
                                tinker__rec_slot_t slot,
                                const unsigned char *batch, const char *name);

/* --- attach.c, recover.c, start.c: ways to a model. The run's thread ------ */

/* What a failed future says of the model. */
void tinker__rec_fault_of(tinker__rec_fault_t *f, const tinker_error_t *error);
/* Waits for an operation of the client. 0 or f is filled. Releases nothing. */
int tinker__rec_await(tinker_future_t *future, tinker__rec_fault_t *f);

/* 0 = the phase may have changed: look again. Else `f` says why nothing can be
 * done now. */
/* How exactly the service repeats itself, by the checkpoints of the journal.
 * Under the lock. */
void tinker__rec_take_noise(tinker_run_t *run);
int tinker__rec_start(tinker_run_t *run, tinker__rec_fault_t *f);
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
/* A number for an epoch that was never used, whatever becomes of it. */
int tinker__rec_next_epoch(tinker_run_t *run, int64_t *number,
                           tinker__rec_fault_t *f);
int tinker__rec_recover(tinker_run_t *run, tinker__rec_fault_t *f);

/* --- checkpoint.c, probe.c ------------------------------------------------ */

/* Submits save and fingerprint, ahead of or behind what was submitted. Any
 * thread, with the lock held by nobody. */
void tinker__rec_ckpt_submit(tinker_run_t *run, tinker__rec_epoch_t *e,
                             tinker__rec_step_t *step, bool ahead);
/* Waits for them and journals what they gave. The run's thread. path: receives
 * a copy in the run's memory; may be NULL. 0 or f is filled. */
int tinker__rec_ckpt_settle(tinker_run_t *run, tinker__rec_step_t *step,
                            char **path, tinker__rec_fault_t *f);
/* A checkpoint of the step that was committed last. The run's thread. path: as
 * above. */
int tinker__rec_ckpt_now(tinker_run_t *run, char **path,
                         tinker__rec_fault_t *f);
bool tinker__rec_ckpt_due(const tinker_run_t *run, int64_t step);

/* The forward of the fixed probe set. Returns its future. */
tinker_future_t *tinker__rec_probe(tinker_trainer_t *trainer, uint64_t op,
                                   bool ahead);
/* Its numbers, appended to out as float32. 0 or TINKER_ENOENT, TINKER_ENOMEM.
 */
int tinker__rec_probe_read(tinker_future_t *future, tinker__buf_t *out);
/* The largest difference of two; infinity if they are not of one kind. */
double tinker__rec_probe_differ(const float *a, size_t na, const float *b,
                                size_t nb);

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

/* --- worker.c: the run's thread ------------------------------------------- */

int tinker__rec_worker_start(tinker_run_t *run);
void tinker__rec_worker_end(tinker_run_t *run);
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
