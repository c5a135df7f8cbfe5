/* service: starts and stops everything, and runs the timer thread. */
#include "service/boot/service.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

#include <tinker/error.h>

#include "service/boot/replay.h"
#include "service/boot/state_dir.h"
#include "service/core/log.h"
#include "service/core/trying.h"
#include "service/fault/fault.h"
#include "service/http/conns.h"
#include "service/http/stream.h"
#include "service/http/workers.h"
#include "service/run/bases.h"
#include "service/run/exec.h"
#include "service/tinker/client_config.h"
#include "service/tinker/handlers.h"

#define TICK_MS 1000
#define PURGE_MS 20 /* so that others get the lock between two parts */
#define STOP_SECONDS 5
#define LOG_QUEUE ((size_t)1 << 20)
#define LARGE ((size_t)64 << 10)
#define WORKERS 2
#define MAX_JOBS 1024
#define MAX_POLLS 3072 /* a listener may have fewer connections */

/* --- Timer ---------------------------------------------------------------- */

/* Waits on a condition for ms at most. If requests were answered under the
 * lock, it releases the lock instead, which resumes them, and takes it again.
 */
static void timer_wait(tinker__svc_t *s, pthread_cond_t *cond, int64_t ms) {
  struct timespec t;
  if (!tinker__list_empty(&s->answered)) {
    tinker__svc_unlock(s);
    tinker__svc_lock(s);
    return;
  }
  tinker__svc_hold_end(s);
#ifdef __APPLE__
  t = (struct timespec){ms / 1000, (ms % 1000) * 1000000};
  pthread_cond_timedwait_relative_np(cond, &s->lock, &t);
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += ms / 1000;
  t.tv_nsec += (ms % 1000) * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_nsec -= 1000000000;
    t.tv_sec++;
  }
  pthread_cond_timedwait(cond, &s->lock, &t);
#endif
  tinker__svc_hold_begin(s, __func__);
}

/* Milliseconds until the first poll is due, or `due`, but at most a tick. */
static int64_t next_wait(tinker__svc_t *s, int64_t now, int64_t due) {
  tinker__link_t *l = tinker__list_first(&s->polls);
  if (l) {
    int64_t poll =
        TINKER__CONTAINER(l, tinker__svc_req_t, timer_link)->deadline_ms;
    if (poll < due) due = poll;
  }
  int64_t ms = due > now ? due - now : 1;
  return ms < TICK_MS ? ms : TICK_MS;
}

/* Notes since when the engine has been in the same step. */
static void watch_engine(tinker__svc_t *s, int64_t now) {
  uint64_t beat = tinker__eng_scheduler_beat(s->scheduler);
  if (beat == s->beat && beat % 2) return;
  s->beat = beat;
  s->beat_ms = now;
}

/* Does the timer's work that need not be exact to the millisecond. */
static void sweep(tinker__svc_t *s, int64_t now) {
  tinker__svc_listener_look(s->listeners[0], now);
  tinker__svc_listener_look(s->listeners[1], now);
  tinker__svc_session_look(s, now);
  tinker__svc_checkpoints_expire(s);
  tinker__svc_ops_retry(s);
  tinker__svc_models_look(s, now);
}

static void *timer_thread(void *user) {
  tinker__svc_t *s = user;
  int64_t swept = INT64_MIN / 2;
  bool looks = false;  /* a search for clients that are gone is under way */
  bool purges = false; /* sessions may be left to purge */
  tinker__svc_lock(s);
  while (!s->stopping) {
    int64_t now = s->world->now_ms(s->world->user);
    tinker__svc_polls_expire(s, now);
    if (now - swept >= TICK_MS) {
      sweep(s, now);
      swept = now;
      looks = purges = true;
    }
    purges = purges && tinker__svc_session_purge(s);
    looks = looks && tinker__svc_polls_look(s);
    int64_t due = tinker__svc_faults_tick(s, now);
    if (purges && due > now + PURGE_MS) due = now + PURGE_MS;
    watch_engine(s, now);
    timer_wait(s, &s->timer_wake, looks ? 1 : next_wait(s, now, due));
  }
  tinker__svc_unlock(s);
  return NULL;
}

/* --- Engine thread: start and stop ---------------------------------------- */

static int on_engine_start(void *user) {
  return tinker__svc_bases_start(user);
}

/* The store's thread still runs and frees models and samplers that could not be
 * stored. So the lock is held during the engine's frees here. */
static void release_engine(tinker__svc_t *s) {
  tinker__svc_lock(s);
  TINKER__LIST_EACH(l, tmp, &s->models) {
    tinker__svc_exec_model_free(
        TINKER__CONTAINER(l, tinker__svc_model_t, link));
  }
  TINKER__LIST_EACH(l, tmp, &s->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(l, tinker__svc_sampler_t, link);
    if (p->adapter) p->base->backend->api->adapter_release(p->adapter);
    p->adapter = NULL;
    tinker__list_remove(&p->loaded);
  }
  tinker__svc_unlock(s);
  tinker__svc_bases_stop(s);
}

static void on_engine_stop(void *user) {
  tinker__svc_keep_all(user);
  release_engine(user);
}

/* --- State folder --------------------------------------------------------- */

static int open_state(tinker__svc_t *s, tinker__svc_stage_t *stage) {
  char path[PATH_MAX + 32];
  int rc = tinker__svc_state_dir_open(s, stage);
  if (rc != 0) return rc;
  snprintf(path, sizeof path, "%s/store.db", s->state_dir);
  rc = tinker__svc_store_open(&s->store, s->store_id, s->mem, path, s->why,
                              sizeof s->why);
  if (rc == 0) rc = tinker__svc_state_dir_settle(s);
  if (rc != 0) return rc;
  *stage = TINKER__STAGE_CONFIG;
  rc = tinker__svc_faults_open(s, s->why, sizeof s->why);
  if (s->faults) s->observer = &tinker__svc_fault_observer;
  if (rc != 0) return rc;
  *stage = TINKER__STAGE_STATE;
  rc = tinker__svc_replay_load(s, s->why, sizeof s->why);
  if (rc == 0) rc = tinker__svc_state_dir_tidy(s);
  if (rc == 0) rc = tinker__svc_faults_restore(s, s->why, sizeof s->why);
  if (rc != 0) return rc;
  tinker__svc_trying_open(s);
  if (s->config.doing) atomic_store(s->config.doing, s->doing);
  tinker__svc_replay_crashed(s);
  tinker__svc_replay_killed(s);
  return 0;
}

/* --- Start ---------------------------------------------------------------- */

static void set_defaults(tinker__svc_config_t *c) {
  if (!c->max_body) c->max_body = 64 << 20;
  if (!c->max_tokens) c->max_tokens = 1 << 20;
  if (!c->max_models) c->max_models = 1024;
  if (!c->max_samples) c->max_samples = 2000;
  if (!c->inline_result) c->inline_result = 1 << 20;
  if (!c->poll_ms) c->poll_ms = 30000;
  if (!c->keep_ms) c->keep_ms = 3600000;
  if (!c->forget_ms) c->forget_ms = 86400000;
  if (!c->session_ms) c->session_ms = 600000;
  if (!c->snapshot_ms) c->snapshot_ms = 5000;
  if (!c->idle_ms) c->idle_ms = 300000;
  if (!c->sample_share) c->sample_share = 50;
}

static void init_conditions(tinker__svc_t *s) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
#ifndef __APPLE__
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
  pthread_cond_init(&s->timer_wake, &attr);
  pthread_cond_init(&s->idle, &attr);
  pthread_condattr_destroy(&attr);
  pthread_mutex_init(&s->lock, NULL);
}

static int service_new(tinker__svc_t **out,
                       const tinker__svc_config_t *config) {
  tinker__svc_t *s = tinker__mem_zalloc(config->mem, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  s->config = *config;
  set_defaults(&s->config);
  s->doing = &s->doing_here;
  s->mem = config->mem;
  s->world = config->world ? config->world : tinker__world_real();
  s->next_row = 1;
  s->runner = &tinker__svc_runner;
  atomic_store(&s->train_limit, UINT64_MAX);
  s->large = LARGE;
  s->max_polls = MAX_POLLS;
  s->look_at_peers = tinker__svc_peers_look;
  tinker__list_init(&s->answered);
  s->resume = tinker__svc_reqs_resume;
  tinker__list_init(&s->sessions);
  tinker__list_init(&s->models);
  tinker__list_init(&s->parked);
  tinker__list_init(&s->samplers);
  tinker__list_init(&s->adapters);
  tinker__list_init(&s->polls);
  tinker__list_init(&s->streams);
  init_conditions(s);
  tinker__svc_budget_plan(s, UINT64_MAX); /* until models are known */
  *out = s;
  tinker__map_t **maps[] = {&s->session_by_id, &s->session_by_key,
                            &s->model_by_id, &s->sampler_by_id, &s->op_by_id};
  for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
    int rc = tinker__map_new(maps[i], s->mem);
    if (rc != 0) return rc;
  }
  int rc = tinker__svc_workers_new(&s->workers, s->mem, WORKERS, MAX_JOBS);
  if (rc != 0 || !s->config.log) return rc;
  return tinker__svc_lines_new(&s->log, s->mem, s->world, LOG_QUEUE,
                               TINKER__LINES_DROP, s->config.log,
                               s->config.user);
}

/* The routes. A fault plan adds a filter and an endpoint of its own. */
static tinker__svc_site_t site_of(const tinker__svc_t *s) {
  tinker__svc_site_t site = {.tables = {tinker__svc_tinker_routes}};
  if (s->faults) {
    site.tables[1] = tinker__svc_fault_routes;
    site.filter = &tinker__svc_fault_filter;
  }
  return site;
}

static int listen_all(tinker__svc_t *s) {
  tinker__svc_site_t site = site_of(s);
  int rc = 0;
  if (s->config.socket_path) {
    rc = tinker__svc_listen_unix(&s->listeners[0], s, &site,
                                 s->config.socket_path, s->why, sizeof s->why);
  }
  if (rc == 0 && s->config.listen) {
    rc = tinker__svc_listen_tcp(&s->listeners[1], s, &site, s->config.listen,
                                s->why, sizeof s->why);
  }
  return rc;
}

static int make_replies(tinker__svc_t *s) {
  const char *texts[2] = {
      [TINKER__CONFIG_CLIENT] = s->config.client_config,
      [TINKER__CONFIG_DYNAMIC] = s->config.dynamic_config,
  };
  int rc = 0;
  for (int kind = 0; rc == 0 && kind < 2; kind++) {
    tinker__buf_init(&s->config_reply[kind], s->mem, 65536);
    rc = tinker__svc_client_config_write(&s->config_reply[kind],
                                         (tinker__svc_config_kind_t)kind,
                                         texts[kind], s->why, sizeof s->why);
  }
  return rc;
}

/* Listens before the models are loaded, so that the calls for health are
 * answered meanwhile; all others are answered 503 until the service is ready.
 */
static int start_all(tinker__svc_t *s, tinker__svc_stage_t *stage) {
  *stage = TINKER__STAGE_CONFIG;
  int rc = make_replies(s);
  if (rc != 0) return rc;
  *stage = TINKER__STAGE_MODEL;
  rc = tinker__svc_bases_open(s);
  if (rc == 0) rc = open_state(s, stage);
  if (rc != 0) return rc;
  *stage = TINKER__STAGE_LISTEN;
  rc = listen_all(s);
  if (rc != 0) return rc;
  *stage = TINKER__STAGE_MODEL;
  rc = tinker__eng_scheduler_new(
      &s->scheduler, s->mem,
      &(tinker__eng_scheduler_policy_t){s->world, s->config.sample_share},
      s->doing, on_engine_start, on_engine_stop, s);
  if (rc != 0) return rc;
  *stage = TINKER__STAGE_OTHER;
  rc = tinker__svc_bases_generator(s);
  if (rc == 0) rc = tinker__db_start(s->store);
  if (rc != 0) return rc;
  tinker__svc_replay_start(s);
  if (pthread_create(&s->timer, NULL, timer_thread, s) != 0) {
    return TINKER_ENOMEM;
  }
  s->timer_started = true;
  tinker__svc_lock(s); /* holds before now kept nobody waiting */
  s->hold = (tinker__svc_hold_t){0};
  tinker__svc_unlock(s);
  atomic_store(&s->ready, true);
  return 0;
}

int tinker__svc_start(tinker__svc_t **out, const tinker__svc_config_t *config,
                      tinker__svc_stage_t *stage, char *why, size_t why_len) {
  tinker__svc_t *s = NULL;
  *stage = TINKER__STAGE_OTHER;
  int rc = service_new(&s, config);
  if (rc == 0) rc = start_all(s, stage);
  if (rc != 0) {
    const char *text = s && *s->why ? s->why : tinker_code_text(rc);
    tinker__why(why, why_len, rc, "%s", text);
    tinker__svc_stop(s);
    return rc;
  }
  *out = s;
  return 0;
}

int tinker__svc_port(const tinker__svc_t *s) {
  return s->listeners[1] ? tinker__svc_listener_port(s->listeners[1]) : 0;
}

/* --- Stop ----------------------------------------------------------------- */

static void free_state(tinker__svc_t *s) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&s->models)) != NULL) {
    tinker__svc_model_free(s, TINKER__CONTAINER(l, tinker__svc_model_t, link));
  }
  while ((l = tinker__list_pop_front(&s->samplers)) != NULL) {
    tinker__svc_sampler_free(s,
                             TINKER__CONTAINER(l, tinker__svc_sampler_t, link));
  }
  while ((l = tinker__list_pop_front(&s->sessions)) != NULL) {
    tinker__svc_session_free(s,
                             TINKER__CONTAINER(l, tinker__svc_session_t, link));
  }
  tinker__map_free(s->session_by_id);
  tinker__map_free(s->session_by_key);
  tinker__map_free(s->model_by_id);
  tinker__map_free(s->sampler_by_id);
  tinker__map_free(s->op_by_id);
  tinker__svc_bases_free(s);
  for (int i = 0; i < 2; i++) {
    if (s->config_reply[i].mem) tinker__buf_free(&s->config_reply[i]);
  }
}

/* Answers all parked requests, which must be done before libmicrohttpd is
 * stopped. */
static void close_doors(tinker__svc_t *s) {
  tinker__svc_listener_quiesce(s->listeners[0]);
  tinker__svc_listener_quiesce(s->listeners[1]);
  tinker__svc_lock(s);
  s->stopping = true;
  pthread_cond_signal(&s->timer_wake);
  tinker__svc_polls_release(s);
  tinker__svc_streams_release(s);
  tinker__svc_faults_release(s);
  tinker__svc_unlock(s);
  if (s->timer_started) pthread_join(s->timer, NULL);
}

static void wait_idle(tinker__svc_t *s) {
  tinker__svc_lock(s);
  for (int i = 0; i < STOP_SECONDS && s->live_requests; i++) {
    timer_wait(s, &s->idle, 1000);
  }
  tinker__svc_unlock(s);
}

/* Logs the longest hold of the service's lock, which kept all others waiting.
 */
static void log_longest_hold(tinker__svc_t *s) {
  char us[24];
  tinker__svc_lock(s);
  const tinker__svc_hold_t h = s->hold;
  tinker__svc_unlock(s);
  if (!h.longest_who) return;
  snprintf(us, sizeof us, "%lld", (long long)(h.longest_ns / 1000));
  tinker__svc_log(s, "info", "longest_hold", "microseconds", us, "by",
                  h.longest_who, NULL);
}

void tinker__svc_stop(tinker__svc_t *s) {
  if (!s) return;
  if (s->timer_started) log_longest_hold(s);
  close_doors(s);
  /* Workers submit writes, so they stop before the store. */
  tinker__svc_workers_stop(s->workers);
  tinker__eng_scheduler_free(s->scheduler, NULL);
  if (s->generator) s->generator->api->close(s->generator);
  release_engine(s); /* needed after a start that failed half way */
  tinker__db_free(s->store);
  if (s->config.doing) atomic_store(s->config.doing, NULL);
  tinker__svc_trying_close(s);
  wait_idle(s);
  tinker__svc_listener_free(s->listeners[0]);
  tinker__svc_listener_free(s->listeners[1]);
  tinker__svc_workers_free(s->workers);
  free_state(s);
  tinker__svc_faults_free(s);
  tinker__svc_state_dir_free(s, s->home);
  tinker__svc_lines_free(s->log);
  tinker__mem_free(s->mem, s->state_dir);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->timer_wake);
  pthread_cond_destroy(&s->idle);
  tinker__mem_free(s->mem, s);
}
