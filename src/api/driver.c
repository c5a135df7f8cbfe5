/* driver: ties the flow to loop, transport and session, and knows the order in
 * which a client ends: operations, session, transport, last callback. Loop's
 * thread but where it says otherwise. */
#include "api/core.h"
#include "api/job.h"
#include "base/error.h"
#include "wire/messages.h"

#define FINISH_MS 1000 /* for telling the service that we leave */
#define PAUSE_LOG_MS 60000

static void begin_close(tinker_client_t *core, bool clean);

static int64_t now_of(const tinker_client_t *core) {
  return tinker__loop_now(core->loop);
}

/* The phase does not tell: it changes before the calls that were accepted
 * last have come in. */
void tinker__driver_look(tinker_client_t *core) {
  if (core->draining && tinker__flow_live(&core->flow) == 0) {
    begin_close(core, true);
  }
}

static void on_reply(tinker__http_request_t *request,
                     tinker__http_reply_t *reply) {
  tinker__part_t *part = request->user;
  tinker_client_t *core = part->op->flow->user;
  /* A 410 to a submission says that the session has ended; a 410 to a poll says
   * that the result is lost. */
  if (request->lane == TINKER__LANE_SUBMIT &&
      tinker__http_refusal(reply) == 410) {
    tinker__session_set_ended(core->session);
  }
  tinker__flow_reply(&core->flow, request, reply, now_of(core));
  tinker__driver_look(core);
}

static int sink_send(void *user, tinker__http_request_t *request) {
  tinker_client_t *core = user;
  request->done = on_reply;
  return tinker__http_submit(core->http, request);
}

static void sink_cancel(void *user, tinker__http_request_t *request) {
  tinker_client_t *core = user;
  tinker__http_cancel(core->http, request);
}

static void sink_wake_at(void *user, int64_t at_ms) {
  tinker_client_t *core = user;
  if (at_ms < 0) {
    tinker__timer_stop(core->loop, &core->tick);
  } else {
    tinker__timer_start(core->loop, &core->tick, at_ms);
  }
}

static void on_tick(tinker__timer_t *timer) {
  tinker_client_t *core = TINKER__CONTAINER(timer, tinker_client_t, tick);
  tinker__flow_tick(&core->flow, now_of(core));
  tinker__driver_look(core);
}

static void sink_need(void *user, tinker__needs_t need) {
  tinker_client_t *core = user;
  tinker__session_need(core->session,
                       need == TINKER__NEEDS_SESSION ? TINKER__NEED_SESSION
                                                     : TINKER__NEED_CONFIG,
                       &core->waiters[need]);
}

static const char *sink_trouble(void *user) {
  tinker_client_t *core = user;
  return tinker__session_trouble(core->session);
}

/* One line a minute, however many operations wait. */
static void sink_paused(void *user, const char *name, const char *why) {
  tinker_client_t *core = user;
  int64_t now = now_of(core);
  if (core->paused_ms && now - core->paused_ms < PAUSE_LOG_MS) return;
  core->paused_ms = now;
  TINKER__LOG(core->log, TINKER_LOG_WARNING, "flow", "%s waits: %s", name, why);
}

static void sink_bug(void *user, const char *what) {
  tinker_client_t *core = user;
  TINKER__LOG(core->log, TINKER_LOG_ERROR, "flow", "%s", what);
}

static void deliver_run(tinker__task_t *task) {
  tinker_future_t *f = TINKER__CONTAINER(task, tinker_future_t, deliver);
  tinker_client_t *core = f->owner;
  tinker__loop_t *loop = core->loop;
  tinker__future_deliver(f);
  tinker__future_unref(f);
  tinker__loop_unhold(loop);
}

/* A future without callback goes to the list of tinker_client_next. The list
 * holds no reference: what nobody else holds can't be asked for. */
static void list_ended(tinker_client_t *core, tinker_future_t *f) {
  pthread_mutex_lock(&core->lock);
  tinker__list_push_back(&core->ended, &f->link);
  atomic_fetch_add(&core->ended_count, 1);
  atomic_fetch_sub(&core->quiet, 1);
  tinker__waiting_wake(&core->waiting);
  pthread_mutex_unlock(&core->lock);
}

static void sink_settled(void *user, tinker_future_t *f) {
  tinker_client_t *core = user;
  if (!f->cb) list_ended(core, f);
  if (f->cb) {
    tinker__task_init(&f->deliver, deliver_run);
    tinker__loop_hold(core->loop);
    tinker__loop_deliver(core->loop, &f->deliver);
  } else {
    tinker__future_unref(f);
  }
  tinker__loop_unhold(core->loop);
}

const tinker__sink_t tinker__driver_sink = {
    .send = sink_send,
    .cancel = sink_cancel,
    .settled = sink_settled,
    .wake_at = sink_wake_at,
    .trouble = sink_trouble,
    .paused = sink_paused,
    .bug = sink_bug,
    .need = sink_need,
};

/* In a forked child nobody looks at the list. */
void tinker__driver_forget(tinker_client_t *core, tinker_future_t *f) {
  if (!tinker__core_is_here(core)) return;
  pthread_mutex_lock(&core->lock);
  if (!tinker__list_empty(&f->link)) {
    tinker__list_remove(&f->link);
    atomic_fetch_sub(&core->ended_count, 1);
  }
  pthread_mutex_unlock(&core->lock);
}

static void take_config(tinker_client_t *core) {
  const tinker__client_config_t *c = tinker__session_config(core->session);
  tinker__flow_limits_t limits = core->flow.limits;
  limits.fb_bytes = c->fwdbwd_dispatch_bytes;
  limits.sample_bytes = c->sample_dispatch_bytes;
  limits.reply_bytes = c->inflight_response_bytes;
  limits.retry.billing_ms = c->billing_max_pause_s * 1000;
  tinker__flow_set_limits(&core->flow, &limits);
  core->parallel_chunks = c->parallel_fwdbwd_chunks;
  core->chunks = (tinker__chunk_limits_t){
      .max_len = (size_t)c->fwdbwd_max_chunk_len,
      .max_bytes = (uint64_t)c->fwdbwd_max_chunk_bytes,
  };
}

static void take_session(tinker_client_t *core) {
  pthread_mutex_lock(&core->lock);
  tinker__why(core->session_id, sizeof core->session_id, 0, "%s",
              tinker__session_id(core->session));
  pthread_mutex_unlock(&core->lock);
}

static void ready(tinker_client_t *core, tinker__needs_t need,
                  const tinker_error_t *error) {
  if (!error && !core->flow.ready[TINKER__NEEDS_CONFIG]) take_config(core);
  if (!error && need == TINKER__NEEDS_SESSION) take_session(core);
  tinker__flow_ready(&core->flow, need, error, now_of(core));
  tinker__driver_look(core);
}

static void on_config(tinker__session_waiter_t *waiter,
                      const tinker_error_t *error) {
  ready(
      TINKER__CONTAINER(waiter, tinker_client_t, waiters[TINKER__NEEDS_CONFIG]),
      TINKER__NEEDS_CONFIG, error);
}

static void on_session(tinker__session_waiter_t *waiter,
                       const tinker_error_t *error) {
  ready(TINKER__CONTAINER(waiter, tinker_client_t,
                          waiters[TINKER__NEEDS_SESSION]),
        TINKER__NEEDS_SESSION, error);
}

void tinker__driver_event(void *user, tinker__session_event_t event,
                          const char *text) {
  tinker_client_t *core = user;
  static const tinker_log_level_t levels[] = {
      [TINKER__SESSION_SILENT] = TINKER_LOG_WARNING,
      [TINKER__SESSION_BACK] = TINKER_LOG_INFO,
      [TINKER__SESSION_ENDED] = TINKER_LOG_ERROR,
      [TINKER__SESSION_TROUBLE] = TINKER_LOG_WARNING,
      [TINKER__SESSION_MESSAGE] = TINKER_LOG_INFO,
  };
  /* Later calls get the session's own refusal, not whatever the service says
   * to a request of a dead one. */
  if (event == TINKER__SESSION_ENDED) {
    tinker__flow_unready(&core->flow, TINKER__NEEDS_SESSION);
  }
  TINKER__LOG(core->log, levels[event], "session", "%s", text);
}

/* --- submitting: any thread --- */

static void submit_run(tinker__task_t *task) {
  tinker__op_t *op = TINKER__CONTAINER(task, tinker__op_t, submit);
  tinker_client_t *core = op->future->owner;
  tinker__flow_submit(&core->flow, op, now_of(core));
  tinker__driver_look(core);
}

int tinker__driver_submit(tinker_client_t *core, tinker__op_t *op,
                          tinker_future_t **out) {
  int rc = 0;
  bool quiet = !op->future->cb;
  tinker__task_init(&op->submit,
                    op->kind->local ? tinker__dump_run : submit_run);
  if (out) {
    tinker__future_ref(op->future);
    *out = op->future;
  }
  pthread_mutex_lock(&core->lock);
  if (!tinker__core_takes(core, op->kind)) rc = TINKER_ECLOSED;
  if (!rc && op->turn && atomic_load(&op->turn->fatal)) rc = TINKER_EFATAL;
  if (!rc) {
    if (quiet) atomic_fetch_add(&core->quiet, 1);
    tinker__loop_hold(core->loop); /* until sink_settled */
    tinker__loop_post(core->loop, &op->submit);
  }
  pthread_mutex_unlock(&core->lock);
  if (rc) {
    if (out) {
      tinker__future_unref(*out);
      *out = NULL;
    }
    tinker__op_free(op);
  }
  return rc;
}

/* --- ending --- */

/* The delivery thread; nothing of this client runs after it. */
static void closed_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, closed_task);
  tinker__ending_t endings[2] = {core->drain_cb, core->close_cb};
  if (core->log_cb) tinker__log_drain(core->log, core->log_cb, core->log_user);
  for (int i = 0; i < 2; i++) {
    if (endings[i].cb) endings[i].cb(NULL, 0, endings[i].user);
  }
  pthread_mutex_lock(&core->lock);
  atomic_store(&core->phase, TINKER__CLIENT_CLOSED);
  bool abandoned = core->abandoned;
  tinker__waiting_wake(&core->waiting);
  pthread_mutex_unlock(&core->lock);
  tinker__loop_unhold(core->loop);
  if (abandoned) tinker__core_leave(core);
}

static void http_closed(void *user) {
  tinker_client_t *core = user;
  core->http = NULL;
  tinker__loop_deliver(core->loop, &core->closed_task);
}

static void session_closed(void *user) {
  tinker_client_t *core = user;
  core->session = NULL;
  tinker__http_close(core->http, http_closed, core);
}

static void on_finished(tinker__session_waiter_t *waiter,
                        const tinker_error_t *error) {
  tinker_client_t *core =
      TINKER__CONTAINER(waiter, tinker_client_t, finish_waiter);
  if (error) {
    TINKER__LOG(core->log, TINKER_LOG_WARNING, "session",
                "the session could not be finished: %s",
                tinker_error_message(error));
  }
  for (int i = 0; i < TINKER__NEEDS_COUNT; i++) {
    tinker__session_forget(core->session, &core->waiters[i]);
  }
  tinker__session_close(core->session, session_closed, core);
}

static void begin_close(tinker_client_t *core, bool clean) {
  if (core->finishing) return;
  core->finishing = true;
  pthread_mutex_lock(&core->lock);
  atomic_store(&core->phase, TINKER__CLIENT_CLOSING);
  pthread_mutex_unlock(&core->lock);
  tinker__flow_close(&core->flow, now_of(core));
  tinker__timer_stop(core->loop, &core->tick);
  tinker__timer_stop(core->loop, &core->drain_timer);
  tinker__session_finish(core->session,
                         clean ? TINKER__FINISH_SUCCESS
                               : TINKER__FINISH_INTERRUPTED,
                         NULL, FINISH_MS, &core->finish_waiter);
}

static void close_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, close_task);
  begin_close(core, tinker__flow_live(&core->flow) == 0);
}

static void on_drain_timer(tinker__timer_t *timer) {
  begin_close(TINKER__CONTAINER(timer, tinker_client_t, drain_timer), false);
}

static void drain_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, drain_task);
  if (core->finishing) return;
  core->draining = true;
  if (core->drain_ms >= 0) {
    tinker__timer_start(core->loop, &core->drain_timer,
                        tinker__loop_after(core->loop, core->drain_ms));
  }
  tinker__driver_look(core);
}

static void log_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, log_task);
  if (core->log_cb) tinker__log_drain(core->log, core->log_cb, core->log_user);
}

void tinker__driver_init(tinker_client_t *core) {
  tinker__timer_init(&core->tick, on_tick);
  tinker__timer_init(&core->drain_timer, on_drain_timer);
  tinker__task_init(&core->close_task, close_run);
  tinker__task_init(&core->drain_task, drain_run);
  tinker__task_init(&core->closed_task, closed_run);
  tinker__task_init(&core->log_task, log_run);
  tinker__session_waiter_init(&core->waiters[TINKER__NEEDS_NOTHING], on_config);
  tinker__session_waiter_init(&core->waiters[TINKER__NEEDS_CONFIG], on_config);
  tinker__session_waiter_init(&core->waiters[TINKER__NEEDS_SESSION],
                              on_session);
  tinker__session_waiter_init(&core->finish_waiter, on_finished);
}
