/* state: what the local service knows, in memory. Internal to local/service.
 *
 * One lock (service.lock) guards everything here unless a field says
 * otherwise. It is never held over a call of the engine or of SQLite. The
 * store is the durable copy: what a client was told is always in it.
 *
 *   session -> models -> ops (numbered calls)      -> checkpoints
 *           -> samplers -> ops (samples)
 */
#ifndef TINKER_SERVICE_STATE_H
#define TINKER_SERVICE_STATE_H

#include <pthread.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/world.h"
#include "engine/engine.h"
#include "engine/scheduler.h"
#include "service/boot/service.h"
#include "service/store/store.h"

typedef struct tinker__svc_req_s tinker__svc_req_t;
typedef struct tinker__svc_work_s tinker__svc_work_t;
typedef struct tinker__svc_listener_s tinker__svc_listener_t;
typedef struct tinker__svc_faults_s tinker__svc_faults_t;
struct tinker__svc_fault_rule_s;

/* Something that becomes durable; requests wait in it with their replies
 * ready. */
typedef struct tinker__svc_ack_s {
  bool durable;
  tinker__link_t waiters; /* of tinker__svc_req_t */
} tinker__svc_ack_t;

typedef struct tinker__svc_base_model_s {
  const char *name;         /* what clients ask for */
  char *dir;                /* absolute */
  tinker__eng_base_t *base; /* set on the engine thread before anyone asks */
  tinker__eng_base_info_t info;
  struct tinker_tokenizer_s *tokenizer; /* NULL without tokenizer.json */
  tinker__eng_gen_text_t text;
} tinker__svc_base_model_t;

typedef struct tinker__svc_session_s {
  tinker__link_t link; /* service.sessions, by creation */
  tinker__svc_t *service;
  int64_t row;
  char id[37];
  int64_t created_ms; /* wall */
  int64_t seen_ms;    /* monotonic, last sign of life */
  int64_t ended_ms;   /* wall; 0 = live */
  char *end_reason;
  bool purged;                   /* results are gone */
  char *idem_key;                /* NULL = none */
  char *metadata, *display_name; /* an object as JSON, text; NULL = none */
  char *project;                 /* id, the same */
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_ack_t ack;
  tinker__link_t models, samplers;
} tinker__svc_session_t;

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

typedef struct tinker__svc_model_s tinker__svc_model_t;
typedef struct tinker__svc_sampler_s tinker__svc_sampler_t;

/* config.doing while the log is executed again: never -1, a decode round. */
#define TINKER__REDOING(row) (-1 - (row))

/* A numbered call and its future. Lives until its session is purged. */
typedef struct tinker__svc_op_s {
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
  /* Restart: the result is known, execution only restores the model. */
  bool replay;
  bool traceless;   /* and that it failed by the service's fault, undone */
  int crash_signal; /* the engine crashed in it; 0 = it did not */
  char *log_body;   /* as logged, until executed; NULL when it is decoded */
  size_t log_len;
  int log_format;
  unsigned char result_digest[TINKER__SHA256_LEN];
  tinker__svc_work_t *work;   /* decoded body; NULL once executed */
  tinker__eng_gen_t *running; /* a sample with the scheduler, to be canceled */
  /* Fault plan. */
  struct tinker__svc_fault_rule_s *fault; /* NULL = none */
  bool repeated;                          /* apply_twice: once already */
  tinker__link_t paused;                  /* faults.paused */
  int64_t paused_until_ms;                /* monotonic, 0 = it may run */
  bool noted, noted_end; /* at the start: the ledger has it, and its result */
} tinker__svc_op_t;

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
  bool durable;      /* its row is committed; nobody sees it before */
  bool busy;         /* its task is with the scheduler or being executed */
  char *broken;      /* why later calls fail, NULL = well */
  bool hides_broken; /* and the run does not show it: a fault plan's doing */
  tinker__link_t checkpoints;
  int64_t snapshot, snapshot_seq; /* folder (0 = none), first number after */
  /* Engine thread only. */
  tinker__eng_task_t task;
  tinker__svc_op_t *current; /* written under the lock */
  tinker__eng_train_t *train;
  tinker__eng_pass_t *pass;
  int64_t unsaved_ms; /* engine time since the snapshot */
};

struct tinker__svc_sampler_s {
  tinker__link_t link, by_session;
  int64_t row, seq;
  char *id;
  tinker__svc_t *service;
  tinker__svc_session_t *session;
  tinker__svc_base_model_t *base;
  char *path;         /* as asked for, NULL = base model or ephemeral */
  int64_t checkpoint; /* row, 0 = the base alone */
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_ack_t ack;
  tinker__link_t ops;
  tinker__eng_adapter_t *adapter; /* engine thread; NULL = not loaded */
  tinker__link_t loaded;          /* service.adapters, the same */
};

typedef enum {
  TINKER__CKPT_TRAINING = 0,
  TINKER__CKPT_SAMPLER = 1,
  TINKER__CKPT_EPHEMERAL = 2
} tinker__svc_ckpt_kind_t;

typedef struct tinker__svc_checkpoint_s {
  tinker__link_t link; /* model.checkpoints, by creation */
  tinker__svc_model_t *model;
  int64_t row; /* names its folder */
  tinker__svc_ckpt_kind_t kind;
  char *name;                           /* NULL when ephemeral */
  int64_t created_ms, size, expires_ms; /* expires 0 = never */
  char *metadata;
  bool pending_grad;
  bool published;
  bool durable; /* its row is committed; nobody sees it before */
  bool leaving; /* it has expired, which is being stored */
} tinker__svc_checkpoint_t;

struct tinker__svc_s {
  tinker__svc_config_t config;
  tinker__mem_t *mem;
  const tinker__world_t *world;
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__mem_t slot_mem; /* of mem: the caches of samples */
  tinker__svc_base_model_t *bases;
  size_t n_bases;
  char *state_dir;
  int lock_fd;
  tinker__svc_store_t *store;
  tinker__eng_scheduler_t *scheduler;
  tinker__svc_listener_t *listeners[2];
  tinker__buf_t config_reply[2]; /* by tinker__svc_config_kind_t */

  pthread_mutex_t lock, log_lock;
  bool stopping;
  atomic_bool fatal; /* the service must end: nothing is executed any more */
  atomic_bool ready; /* everything is loaded */
  _Atomic int64_t doing; /* for whoever gave no other place */
  uint64_t beat;         /* of the scheduler, when the timer last looked */
  int64_t beat_ms;       /* since when it has been that */
  int64_t next_row;
  tinker__link_t sessions, models, samplers;
  /* Samplers with their adapter in memory, the latest used last. Engine
   * thread. */
  tinker__link_t adapters;
  size_t n_adapters;
  tinker__map_t *session_by_id, *session_by_key, *model_by_id, *sampler_by_id;
  tinker__map_t *op_by_id;
  size_t live_requests;
  size_t max_result; /* bytes of a sample's; the store takes a little more */
  int64_t samples;   /* accepted and not done */

  pthread_t timer;
  pthread_cond_t timer_wake, idle;
  bool timer_started;
  tinker__link_t polls; /* of tinker__svc_req_t, by deadline */

  tinker__svc_faults_t *faults; /* NULL without a fault plan */

  char why[400]; /* of the engine thread's start */
};

/* --- service.c --- */
int64_t tinker__svc_row(tinker__svc_t *s); /* under the lock */
/* One line of the log: {"time":...,"level":...,"event":..., fields}. Behind
 * event: pairs of key and value, both strings, and a NULL. Any thread. */
void tinker__svc_log(tinker__svc_t *s, const char *level, const char *event,
                     ...);
/* A failure after which going on could lie: logs it, stops executing numbered
 * calls and asks for the end. Any thread, with or without the lock. */
void tinker__svc_fatal(tinker__svc_t *s, const char *what);
/* It stops or must: nothing new is begun. Under the lock. */
bool tinker__svc_ends(tinker__svc_t *s);
tinker__svc_base_model_t *tinker__svc_base_find(tinker__svc_t *s,
                                                tinker__str_t name);

/* --- session.c --- */
/* NULL and a reply in r (404 or 410) when there is no live session. */
tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id);
int tinker__svc_session_add(tinker__svc_t *s, tinker__svc_session_t *n);
/* What the body of create_session tells about n. 0, TINKER_ENOMEM, or
 * TINKER_EINVAL with why. */
int tinker__svc_session_describe(tinker__svc_t *s, tinker__svc_session_t *n,
                                 tinker__str_t body, char *why, size_t why_len);
/* Drops the results of sessions that ended long ago. Under the lock. */
void tinker__svc_session_purge(tinker__svc_t *s);
/* Ends the sessions that showed no sign of life for long. Under the lock. */
void tinker__svc_session_expire(tinker__svc_t *s, int64_t now_ms);
/* Ends a session and what waits behind gaps, if that can be stored. A reason
 * that can't be copied is not kept in memory. Under the lock. */
int tinker__svc_session_end(tinker__svc_t *s, tinker__svc_session_t *n,
                            const char *reason);
void tinker__svc_session_free(tinker__svc_t *s, tinker__svc_session_t *n);
void tinker__svc_ack_init(tinker__svc_ack_t *a);
/* Answers (or drops with 503) all that wait, under the lock. */
void tinker__svc_ack_commit(tinker__svc_t *s, tinker__svc_ack_t *a);
void tinker__svc_ack_fail(tinker__svc_t *s, tinker__svc_ack_t *a);

/* --- model.c: numbered calls and their order --- */
/* Without base, configuration and row. NULL without memory. */
tinker__svc_model_t *tinker__svc_model_new(tinker__svc_t *s,
                                           tinker__svc_session_t *session,
                                           int64_t seq);
int tinker__svc_model_add(tinker__svc_t *s, tinker__svc_model_t *m);
/* The durable one of that id or NULL. Under the lock. */
tinker__svc_model_t *tinker__svc_model_find(tinker__svc_t *s, tinker__str_t id);
/* One that could not be stored: takes it out and frees it. Under the lock. */
void tinker__svc_model_forget(tinker__svc_t *s, tinker__svc_model_t *m);
void tinker__svc_model_free(tinker__svc_t *s, tinker__svc_model_t *m);
/* Puts an op in its place of the model's order. Under the lock. */
void tinker__svc_model_enqueue(tinker__svc_model_t *m, tinker__svc_op_t *op);
/* Gives the model to the scheduler if its next number is there. Under the
 * lock. */
void tinker__svc_model_kick(tinker__svc_model_t *m);
/* True when there is no room for one more; r is answered then. Under the
 * lock. */
bool tinker__svc_model_refused(tinker__svc_t *s, tinker__svc_req_t *r);
/* Takes the op to execute now, NULL = none. Under the lock. */
tinker__svc_op_t *tinker__svc_model_begin(tinker__svc_model_t *m);
/* Its execution is over; again = look for the next. Under the lock. */
void tinker__svc_model_done(tinker__svc_model_t *m, bool again);
/* True when somebody waits for a result of it. Under the lock. */
bool tinker__svc_model_awaited(const tinker__svc_model_t *m);
/* The session has ended: calls behind a gap fail. Under the lock. */
void tinker__svc_model_end(tinker__svc_model_t *m);
/* Later calls fail with that reason, after a restart too. The first reason
 * stays. Under the lock. */
void tinker__svc_model_break(tinker__svc_model_t *m, const char *why);

/* --- sampling.c --- */
/* Without base and row. TINKER_EEXIST when the session's number is taken. */
int tinker__svc_sampler_new(tinker__svc_sampler_t **out, tinker__svc_t *s,
                            tinker__svc_session_t *session, int64_t seq,
                            char *why, size_t why_len);
int tinker__svc_sampler_add(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* The sampler has its adapter (takes the reference) or uses it again; those not
 * used for long lose theirs, which is in a file. Engine thread. */
void tinker__svc_sampler_keep(tinker__svc_sampler_t *p,
                              tinker__eng_adapter_t *adapter);
void tinker__svc_sampler_write(tinker__svc_write_t *w,
                               const tinker__svc_sampler_t *p);
void tinker__svc_sampler_free(tinker__svc_t *s, tinker__svc_sampler_t *p);
/* Hands a logged sample to the scheduler, or fails it when its session has
 * ended. Under the lock. */
void tinker__svc_sampler_kick(tinker__svc_op_t *op);
/* The session has ended: what is being sampled stops. Under the lock. */
void tinker__svc_sampler_end(tinker__svc_sampler_t *p);

/* --- future.c --- */
tinker__svc_op_t *tinker__svc_op_new(tinker__svc_t *s, const char *owner_id,
                                     int64_t seq, tinker__svc_op_kind_t kind);
void tinker__svc_op_free(tinker__svc_op_t *op);
/* Result of an op, any thread, without the lock. Takes data (may be NULL: the
 * service then ends as out of memory). extra may hold statements that must
 * become durable with it (NULL = none); committed(user) runs on the store
 * thread under the lock when they are. user is taken too: NULL or a block of
 * the service's memory, which is freed whatever happens. */
void tinker__svc_op_complete(tinker__svc_op_t *op, tinker__svc_op_state_t state,
                             int format, tinker__buf_t *data,
                             void (*extra)(tinker__svc_write_t *w, void *user),
                             void (*committed)(void *user), void *user);
/* Failure with a sentence. */
void tinker__svc_op_fail(tinker__svc_op_t *op, const char *category,
                         const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Answers the polls whose time is over with try_again. Under the lock. */
void tinker__svc_polls_expire(tinker__svc_t *s, int64_t now_ms);
/* All of them. */
void tinker__svc_polls_release(tinker__svc_t *s);

/* --- exec.c: what runs on the engine thread --- */
bool tinker__svc_exec_step(tinker__eng_task_t *task);
void tinker__svc_exec_model_free(tinker__svc_model_t *m);
int tinker__svc_exec_prepare_sampler(tinker__eng_gen_t *gen, char *why,
                                     size_t why_len);

/* --- checkpoint.c --- */
/* The newest of that name, durable or not. Under the lock. */
tinker__svc_checkpoint_t *
tinker__svc_checkpoint_find(tinker__svc_model_t *m,
                            tinker__svc_ckpt_kind_t kind, tinker__str_t name);
tinker__svc_checkpoint_t *tinker__svc_checkpoint_by_row(tinker__svc_t *s,
                                                        int64_t row);
/* Looks a tinker:// path up. TINKER_EINVAL = not such a path, TINKER_ENOENT,
 * with a sentence in why. Under the lock. */
int tinker__svc_checkpoint_lookup(tinker__svc_t *s, tinker__str_t path,
                                  tinker__svc_checkpoint_t **out, char *why,
                                  size_t why_len);
/* Takes away what has expired. Under the lock. */
void tinker__svc_checkpoints_expire(tinker__svc_t *s);
void tinker__svc_checkpoint_free(tinker__svc_t *s, tinker__svc_checkpoint_t *c);
/* <state>/<kind>/<row>, in a buffer of the caller. */
void tinker__svc_checkpoint_dir(tinker__svc_t *s, const char *kind, int64_t row,
                                char *out, size_t len);
/* Folder for something new: makes <dir>.tmp, empty. */
int tinker__svc_folder_begin(tinker__svc_t *s, const char *dir, char *tmp,
                             size_t len, char *why, size_t why_len);
/* Publishes it: fsync, rename to dir, fsync of the parent. */
int tinker__svc_folder_commit(tinker__svc_t *s, const char *tmp,
                              const char *dir, char *why, size_t why_len);
void tinker__svc_folder_remove(const char *dir);
int64_t tinker__svc_folder_size(const char *dir); /* bytes of its files */

/* --- replay.c --- */
int tinker__svc_replay_load(tinker__svc_t *s, char *why, size_t why_len);
/* The call that the engine crashed in will fail instead of being executed. */
void tinker__svc_replay_crashed(tinker__svc_t *s);
/* Starts what was under way. Called once, before the service is ready. */
void tinker__svc_replay_start(tinker__svc_t *s);

#endif
