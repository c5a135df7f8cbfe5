/* core: what the local service knows, in memory. Internal to local/service.
 *
 * One lock (service.lock) guards everything here unless a field says
 * otherwise. It is never held over a call of the engine or of SQLite. The
 * store is the durable copy: what a client was told is always in it.
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

/* The table of what the model is trained with. */
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
  _Atomic int64_t locked_ms; /* so long another process has locked the store */
  tinker__db_t *store;       /* its tables: service/store */
  char store_id[33];
  tinker__eng_scheduler_t *scheduler;
  /* Generates from the loaded base models without session, sampler, number or
   * row of the log. */
  tinker__eng_generator_t *generator;
  tinker__svc_listener_t *listeners[2];
  tinker__buf_t config_reply[2]; /* by tinker__svc_config_kind_t */

  struct tinker__svc_lines_s *log; /* NULL when nobody wants it */
  pthread_mutex_t lock;            /* by the functions of core/lock.h */
  tinker__svc_hold_t hold;
  bool stopping;
  atomic_bool fatal; /* the service must end: nothing is executed any more */
  atomic_bool ready; /* everything is loaded */
  _Atomic int64_t *doing;              /* see config.doing */
  _Atomic int64_t doing_here;          /* while there is no better place */
  struct tinker__svc_trying_s *trying; /* NULL = it could not be had */
  uint64_t beat;     /* of the scheduler, when the timer last looked */
  int64_t beat_ms;   /* since when it has been that */
  int64_t looked_ms; /* when the timer last looked for sessions to end */
  int64_t next_row;
  tinker__link_t sessions, models, samplers;
  tinker__link_t parked; /* models that wait for the end of their trouble */
  /* Samplers with their adapter in memory, the latest used last. Engine
   * thread. */
  tinker__link_t adapters;
  size_t n_adapters;
  tinker__map_t *session_by_id, *session_by_key, *model_by_id, *sampler_by_id;
  tinker__map_t *op_by_id;
  /* Calls whose failure had no memory; each names the next. */
  _Atomic(tinker__svc_op_t *) postponed;
  size_t live_requests;
  /* Bytes for the states and passes of training, all models together: written
   * by the engine thread when a base model comes or goes. */
  _Atomic uint64_t train_limit;
  uint64_t claimed;    /* of them: in use. Engine thread */
  atomic_bool pressed; /* a model waits for others to leave memory */
  /* Engine time that a restart repeats, of so many models; and what the last
   * snapshot took. Engine thread. */
  int64_t unsaved_ms, n_unsaved, snapshot_took_ms;
  size_t held, max_held; /* bytes of decoded bodies of waiting calls: what is
                            over the bound is read from the log again */
  struct tinker__svc_workers_s *workers;
  size_t large; /* bytes of a body or of a result from which on workers do it */
  _Atomic size_t body_bytes; /* of requests under way, tiny ones left out */
  _Atomic size_t max_bodies;
  tinker__svc_share_t logs;    /* bodies read from the log, until decoded */
  tinker__svc_share_t results; /* being made, and on their way to the store */
  tinker__svc_share_t replies; /* with large results */
  uint64_t reserved; /* what all this comes to. Engine thread after the start */
  size_t max_result; /* bytes of a sample's; set while the service starts */
  int64_t samples;   /* accepted and not done */

  pthread_t timer;
  pthread_cond_t timer_wake, idle;
  bool timer_started;
  tinker__link_t polls; /* of tinker__svc_req_t, by deadline */
  size_t parked_polls, max_polls;
  /* Which of n sockets have lost their peer. */
  void (*look_at_peers)(const int *fds, size_t n, bool *gone);
  size_t looked_polls; /* of them, in this round of looking for their clients */
  tinker__link_t streams; /* of tinker__svc_stream_t */

  const tinker__svc_runner_t *runner;
  const tinker__svc_observer_t *observer; /* NULL = nobody listens */
  tinker__svc_faults_t *faults;           /* NULL without a fault plan */

  char why[400]; /* of the engine thread's start */
};

int64_t tinker__svc_row(tinker__svc_t *s); /* under the lock */
/* One line of the log: {"time":...,"level":...,"event":..., fields}. Behind
 * event: pairs of key and value, both strings, and a NULL. Any thread, with or
 * without the lock: it never waits. */
void tinker__svc_log(tinker__svc_t *s, const char *level, const char *event,
                     ...);
/* A debug line about a call, if config.debug wants it. Any thread, with or
 * without the lock. */
void tinker__svc_debug_op(const tinker__svc_op_t *op, const char *event);
/* A failure after which going on could lie: logs it, stops executing numbered
 * calls and asks for the end. Any thread, with or without the lock. */
void tinker__svc_fatal(tinker__svc_t *s, const char *what);
/* It stops or must: nothing new is begun. Under the lock. */
bool tinker__svc_ends(tinker__svc_t *s);

#endif
