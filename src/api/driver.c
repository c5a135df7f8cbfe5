/* driver: ties the flow to loop, transport and session, and reports the end of
 * operations. Loop's thread but where it says otherwise. */
#include "api/compound.h"
#include "base/error.h"
#include "base/show.h"
#include "wire/messages.h"

static int64_t now_of(const tinker_client_t *core) {
  return tinker__loop_now(core->loop);
}

static void on_reply(tinker__http_request_t *request,
                     tinker__http_reply_t *reply) {
  tinker__part_t *part = request->user;
  tinker_client_t *core = part->op->flow->user;
  tinker__flow_reply(&core->flow, request, reply, now_of(core));
  tinker__ending_look(core);
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
  tinker__ending_look(core);
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

/* The event that follows touches a flag of the flow, none of its queues. */
static void sink_over(void *user) {
  tinker_client_t *core = user;
  tinker__session_set_ended(core->session);
}

static void sink_event(void *user, const tinker_event_t *event) {
  tinker__notices_event(user, event);
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

static void deliver(tinker_client_t *core, tinker_future_t *f) {
  tinker__task_init(&f->deliver, deliver_run);
  tinker__loop_hold(core->loop); /* until deliver_run */
  tinker__loop_deliver(core->loop, &f->deliver);
}

void tinker__driver_report(tinker_client_t *core, tinker_future_t *f) {
  if (f->cb) {
    deliver(core, f);
  } else {
    tinker__next_put(core, f);
  }
}

static void sink_settled(void *user, tinker_future_t *f) {
  tinker_client_t *core = user;
  if (f->parent) {
    tinker__compound_child_ended(f);
  } else {
    tinker__driver_report(core, f);
  }
  tinker__loop_unhold(core->loop);
}

const tinker__sink_t tinker__driver_sink = {
    .send = sink_send,
    .cancel = sink_cancel,
    .settled = sink_settled,
    .wake_at = sink_wake_at,
    .trouble = sink_trouble,
    .event = sink_event,
    .bug = sink_bug,
    .over = sink_over,
    .need = sink_need,
};

static void take_config(tinker_client_t *core) {
  const tinker__client_config_t *c = tinker__session_config(core->session);
  tinker__flow_limits_t limits = core->flow.limits;
  limits.fb_bytes = c->fwdbwd_dispatch_bytes;
  limits.sample_bytes = c->sample_dispatch_bytes;
  limits.reply_bytes = c->inflight_response_bytes;
  limits.retry.billing_ms = c->billing_max_pause_s * 1000;
  tinker__flow_set_limits(&core->flow, &limits);
  pthread_mutex_lock(&core->lock);
  core->parallel_chunks = c->parallel_fwdbwd_chunks;
  core->chunks = (tinker__chunk_limits_t){
      .max_len = (size_t)c->fwdbwd_max_chunk_len,
      .max_bytes = (uint64_t)c->fwdbwd_max_chunk_bytes,
  };
  pthread_mutex_unlock(&core->lock);
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
  tinker__ending_look(core);
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
      [TINKER__SESSION_UNKNOWN] = TINKER_LOG_WARNING,
      [TINKER__SESSION_BACK] = TINKER_LOG_INFO,
      [TINKER__SESSION_ENDED] = TINKER_LOG_ERROR,
      [TINKER__SESSION_TROUBLE] = TINKER_LOG_WARNING,
      [TINKER__SESSION_MESSAGE] = TINKER_LOG_INFO,
  };
  static const tinker_event_kind_t kinds[] = {
      [TINKER__SESSION_SILENT] = TINKER_EVENT_SESSION_SILENT,
      [TINKER__SESSION_UNKNOWN] = TINKER_EVENT_SESSION_UNKNOWN,
      [TINKER__SESSION_BACK] = TINKER_EVENT_SESSION_BACK,
      [TINKER__SESSION_ENDED] = TINKER_EVENT_SESSION_ENDED,
      [TINKER__SESSION_TROUBLE] = 0, /* a line of the log */
      [TINKER__SESSION_MESSAGE] = 0,
  };
  /* Later calls get the session's own refusal, not whatever the service says
   * to a request of a dead one. */
  if (event == TINKER__SESSION_ENDED) {
    tinker__flow_unready(&core->flow, TINKER__NEEDS_SESSION);
  }
  TINKER__LOG(core->log, levels[event], "session", "%s", text);
  if (!core->events || !kinds[event]) return;
  char shown[TINKER__LOG_MESSAGE_LEN];
  tinker__show(shown, sizeof shown, tinker__str(text));
  tinker__notices_event(core,
                        &(tinker_event_t){.kind = kinds[event], .text = shown});
}

/* --- submitting: any thread --- */

static void submit_run(tinker__task_t *task) {
  tinker__op_t *op = TINKER__CONTAINER(task, tinker__op_t, submit);
  tinker_client_t *core = op->future->owner;
  tinker__flow_submit(&core->flow, op, now_of(core));
  tinker__ending_look(core);
}

/* Why it may not begin. Under the lock. */
static int refused(const tinker_client_t *core, const tinker__kind_t *kind,
                   const tinker__turn_t *turn) {
  if (!tinker__core_takes(core, kind)) return TINKER_ECLOSED;
  return turn && atomic_load(&turn->fatal) ? TINKER_EFATAL : 0;
}

/* Under the lock. */
static void post_op(tinker_client_t *core, tinker__op_t *op) {
  tinker__task_init(&op->submit,
                    op->kind->local ? tinker__dump_run : submit_run);
  tinker__loop_hold(core->loop); /* until sink_settled */
  tinker__loop_post(core->loop, &op->submit);
}

int tinker__driver_submit(tinker_client_t *core, tinker__op_t *op) {
  bool quiet = !op->future->cb && !op->future->parent;
  pthread_mutex_lock(&core->lock);
  int rc = refused(core, op->kind, op->turn);
  if (!rc) {
    if (quiet) atomic_fetch_add(&core->quiet, 1);
    post_op(core, op);
  }
  pthread_mutex_unlock(&core->lock);
  return rc;
}

/* Under the lock. */
static void post_children(tinker_client_t *core, tinker__compound_t *compound) {
  for (size_t i = 0; i < compound->count; i++) {
    tinker__op_t *op = compound->children[i].op;
    compound->children[i].op = NULL;
    tinker__future_ref(compound->future); /* until child_ended */
    post_op(core, op);
  }
}

int tinker__driver_submit_all(tinker__compound_t *compound,
                              const tinker__kind_t *kind,
                              tinker__turn_t *turn) {
  tinker_future_t *f = compound->future;
  tinker_client_t *core = f->owner;
  pthread_mutex_lock(&core->lock);
  int rc = refused(core, kind, turn);
  if (!rc) {
    if (!f->cb) atomic_fetch_add(&core->quiet, 1);
    tinker__future_ref(f);         /* until compound_settle, */
    tinker__loop_hold(core->loop); /* and so is this */
    tinker__loop_post(core->loop, &compound->begin);
    if (compound->ops->together) post_children(core, compound);
  }
  pthread_mutex_unlock(&core->lock);
  return rc;
}

/* What is delivered before the last callback is queued comes before it. */
bool tinker__driver_refused(tinker_client_t *core, tinker_future_t *f) {
  bool calls_back = f->cb != NULL;
  if (!tinker__core_enter(core)) return false;
  pthread_mutex_lock(&core->lock);
  bool reported = !core->ended_for_good;
  if (reported && calls_back) {
    deliver(core, f);
  } else if (reported) {
    atomic_fetch_add(&core->quiet, 1);
  }
  pthread_mutex_unlock(&core->lock);
  if (reported && !calls_back) tinker__driver_report(core, f);
  tinker__core_leave(core);
  return reported;
}

void tinker__driver_init(tinker_client_t *core) {
  tinker__timer_init(&core->tick, on_tick);
  tinker__ending_init(core);
  tinker__session_waiter_init(&core->waiters[TINKER__NEEDS_NOTHING], on_config);
  tinker__session_waiter_init(&core->waiters[TINKER__NEEDS_CONFIG], on_config);
  tinker__session_waiter_init(&core->waiters[TINKER__NEEDS_SESSION],
                              on_session);
}
