/* core: the state of the local service in memory. Internal to local/service.
 *
 * One lock (service.lock) guards everything here unless a field says
 * otherwise. It is not held while an engine computes or SQLite works; only an
 * engine's size functions are called under it, and its frees at the stop. The
 * store is the durable copy: everything that a client has an answer for is in
 * it.
 *
 *   session -> models -> ops (numbered calls)      -> checkpoints
 *           -> samplers -> ops (samples) */
#ifndef TINKER_SERVICE_CORE_CORE_H
#define TINKER_SERVICE_CORE_CORE_H

#include <pthread.h>

#include "base/buf.h"
#include "base/map.h"
#include "engine/generator.h"
#include "engine/scheduler.h"
#include "service/core/base_model.h"
#include "service/core/budget.h"
#include "service/core/checkpoint.h"
#include "service/core/config.h"
#include "service/core/hooks.h"
#include "service/core/lock.h"
#include "service/core/model.h"
#include "service/core/op.h"
#include "service/core/sampler.h"
#include "service/core/session.h"
#include "service/store/store.h"

/* The table of the engine that trains the model. */
static inline const tinker__engine_api_t *
tinker__svc_model_api(const tinker__svc_model_t *m) {
  return m->base->backend->api;
}

struct tinker__svc_s {
  tinker__svc_config_t config;
  tinker__mem_t *mem;
  const tinker__world_t *world;
  tinker__eng_slots_t slots;       /* the caches of samples, of all engines */
  tinker__eng_backend_t *backends; /* one per engine that a base model names */
  size_t n_backends;
  tinker__svc_base_model_t *bases;
  size_t n_bases;
  char *state_dir;
  struct tinker__svc_state_dir_s *home;
  _Atomic int64_t locked_ms; /* how long another process locks store.db */
  tinker__db_t *store;       /* its tables: service/store */
  char store_id[33];
  tinker__eng_scheduler_t *scheduler;
  /* Generates from the loaded base models for callers that have no session. */
  tinker__eng_generator_t *generator;
  tinker__svc_listener_t *listeners[2];
  tinker__buf_t config_reply[2]; /* by tinker__svc_config_kind_t */

  struct tinker__svc_lines_s *log; /* NULL when nobody reads a log */
  pthread_mutex_t lock;            /* taken with tinker__svc_lock only */
  tinker__svc_hold_t hold;
  /* Requests (by link) that were answered under the lock. The thread that
   * releases the lock calls resume, so that the HTTP threads send the answers.
   */
  tinker__link_t answered;
  void (*resume)(tinker__link_t *requests);
  bool stopping;
  atomic_bool fatal; /* the service must end; models execute nothing more */
  atomic_bool ready; /* everything is loaded */
  _Atomic int64_t *doing;              /* see config.doing */
  _Atomic int64_t doing_here;          /* used when `trying` is NULL */
  struct tinker__svc_trying_s *trying; /* NULL = the file can't be mapped */
  uint64_t beat;     /* the scheduler's, when the timer last looked */
  int64_t beat_ms;   /* since when the beat has this value */
  int64_t looked_ms; /* when the timer last looked for sessions to end */
  int64_t next_row;
  tinker__link_t sessions, models, samplers;
  tinker__link_t parked; /* models with retry_ms set, see calls/trouble.c */
  /* Samplers whose adapter is in memory, the latest used last. Engine thread.
   */
  tinker__link_t adapters;
  size_t n_adapters;
  tinker__map_t *session_by_id, *session_by_key, *model_by_id, *sampler_by_id;
  tinker__map_t *op_by_id;
  /* Calls whose failure waits for memory; each names the next one. */
  _Atomic(tinker__svc_op_t *) postponed;
  size_t live_requests;
  /* Bytes for the train states and passes of all models together. The engine
   * thread writes it when a base model is loaded or unloaded. */
  _Atomic uint64_t train_limit;
  uint64_t claimed;    /* bytes of train_limit in use. Engine thread */
  atomic_bool pressed; /* since the timer's last look a model had to wait for
                          others to leave memory */
  /* Milliseconds of engine time that a restart repeats, from how many models,
   * and milliseconds that the last snapshot took. Engine thread. */
  int64_t unsaved_ms, n_unsaved, snapshot_took_ms;
  size_t held, max_held; /* bytes of decoded bodies of waiting calls; a body
                            that has no room is read from the log again */
  struct tinker__svc_workers_s *workers;
  size_t large; /* workers take bodies and results with more bytes than this */
  _Atomic size_t
      body_bytes; /* of bodies of requests under way, but tiny ones */
  _Atomic size_t max_bodies;
  tinker__svc_share_t logs;    /* bodies read from the log, until decoded */
  tinker__svc_share_t results; /* results being made and being stored */
  tinker__svc_share_t replies; /* replies with large results */
  uint64_t reserved; /* the sum of these parts. Engine thread after the start */
  size_t max_result; /* bytes of a sample's result; set during the start */
  int64_t samples;   /* accepted and not done */

  pthread_t timer;
  pthread_cond_t timer_wake, idle;
  bool timer_started;
  tinker__link_t polls; /* of tinker__svc_req_t, by deadline */
  size_t parked_polls, max_polls;
  /* Sets gone[i] for sockets that have lost their peer. */
  void (*look_at_peers)(const int *fds, size_t n, bool *gone);
  size_t looked_polls;    /* polls already looked at in this round */
  tinker__link_t streams; /* of tinker__svc_stream_t */

  const tinker__svc_runner_t *runner;
  const tinker__svc_observer_t *observer; /* NULL = none */
  tinker__svc_faults_t *faults;           /* NULL without a fault plan */

  char why[400]; /* why the start failed */
};

int64_t tinker__svc_row(tinker__svc_t *s); /* under the lock */
/* Writes a line of the log: {"time":...,"level":...,"event":..., fields}. After
 * event follow pairs of key and value, both strings, and a NULL. Any thread,
 * with or without the lock; it does not wait for whoever reads the log. */
void tinker__svc_log(tinker__svc_t *s, const char *level, const char *event,
                     ...);
/* Writes a debug line about a call if config.debug is set. Any thread, with or
 * without the lock. */
void tinker__svc_debug_op(const tinker__svc_op_t *op, const char *event);
/* Called for a failure after which the service could answer wrongly. Logs it,
 * stops the execution of models' calls, and asks the owner to end the service.
 * Any thread, with or without the lock. */
void tinker__svc_fatal(tinker__svc_t *s, const char *what);
/* True when the service stops or must stop, so that nothing new is begun. Under
 * the lock. */
bool tinker__svc_ends(tinker__svc_t *s);

#endif
