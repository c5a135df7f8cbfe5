/* ending: how a client ends, by drain, close or its last release, and in which
 * order: operations, session, transport, the futures of drain and close,
 * threads. Loop's thread but where it says otherwise. */
#include "api/call.h"
#include "api/hook.h"
#include "base/error.h"
#include "loop/step.h"

#define FINISH_MS 1000 /* for telling the service that we leave */
#define WHOLE_MS 1900  /* for that, and before it the journal's answer */

const tinker__kind_t tinker__kind_drain = {
    .id = TINKER_KIND_DRAIN, .name = "drain", .local = true};
const tinker__kind_t tinker__kind_close = {
    .id = TINKER_KIND_CLOSE, .name = "close", .local = true};

static void begin_close(tinker_client_t *core, bool clean);

/* The phase does not tell: it changes before the calls that were accepted
 * last have come in. */
void tinker__ending_look(tinker_client_t *core) {
  if (core->draining && tinker__flow_live(&core->flow) == 0 &&
      tinker__list_empty(&core->compounds)) {
    begin_close(core, true);
  }
}

/* --- the end: the delivery thread --- */

static void end_future(tinker_client_t *core, tinker_future_t *f, int code,
                       const char *why) {
  tinker_error_t *error = NULL;
  if (!f) return;
  if (code) {
    error = tinker__error_new(
        core->mem, &(tinker__error_spec_t){.code = code, .where = core->where},
        "%s", why);
  }
  tinker__future_settle(f, error);
  if (f->cb) {
    tinker__future_deliver(f);
    tinker__future_unref(f);
  } else {
    tinker__next_put(core, f);
  }
}

/* Nothing of this client runs after it. */
static void closed_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, closed_task);
  tinker__notices_run(core);
  const int cut = core->drain_cut;
  end_future(core, core->drain_future, cut,
             cut == TINKER_ETIMEDOUT
                 ? "drain: its deadline passed, the operations that were left "
                   "were ended"
                 : "drain: the client was closed meanwhile");
  end_future(core, core->close_future, 0, "");
  pthread_mutex_lock(&core->lock);
  atomic_store(&core->phase, TINKER__CLIENT_CLOSED);
  bool abandoned = core->abandoned;
  tinker__waiting_wake(&core->waiting);
  pthread_mutex_unlock(&core->lock);
  tinker__loop_unhold(core->loop);
  if (!abandoned) return;
  tinker__next_drop(core);
  tinker__core_leave(core);
}

static void all_told(tinker_client_t *core) {
  pthread_mutex_lock(&core->lock);
  core->ended_for_good = true;
  tinker__loop_deliver(core->loop, &core->closed_task);
  pthread_mutex_unlock(&core->lock);
}

static void http_closed(void *user) {
  tinker_client_t *core = user;
  core->http = NULL;
  tinker__hook_close(core, all_told);
}

/* --- the way there --- */

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
  TINKER__LIST_EACH(l, next, &core->compounds) {
    tinker__compound_stop(TINKER__CONTAINER(l, tinker__compound_t, link),
                          TINKER_ECLOSED, "the client was closed");
  }
  tinker__flow_close(&core->flow, tinker__loop_now(core->loop));
  tinker__timer_stop(core->loop, &core->tick);
  tinker__timer_stop(core->loop, &core->drain_timer);
  tinker__session_finish(core->session,
                         clean ? TINKER__FINISH_SUCCESS
                               : TINKER__FINISH_INTERRUPTED,
                         NULL, FINISH_MS, WHOLE_MS, &core->finish_waiter);
}

static void close_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, close_task);
  if (!core->finishing) core->drain_cut = TINKER_ECLOSED;
  begin_close(core, tinker__flow_live(&core->flow) == 0);
}

static void on_drain_timer(tinker__timer_t *timer) {
  tinker_client_t *core =
      TINKER__CONTAINER(timer, tinker_client_t, drain_timer);
  if (!core->finishing) core->drain_cut = TINKER_ETIMEDOUT;
  begin_close(core, false);
}

static void drain_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, drain_task);
  if (core->finishing) return;
  core->draining = true;
  if (core->drain_until_ms >= 0) {
    tinker__timer_start(core->loop, &core->drain_timer, core->drain_until_ms);
  }
  tinker__ending_look(core);
}

void tinker__ending_init(tinker_client_t *core) {
  tinker__list_init(&core->compounds);
  tinker__timer_init(&core->drain_timer, on_drain_timer);
  tinker__task_init(&core->close_task, close_run);
  tinker__task_init(&core->drain_task, drain_run);
  tinker__task_init(&core->closed_task, closed_run);
  tinker__session_waiter_init(&core->finish_waiter, on_finished);
}

/* --- the calls: any thread --- */

/* The future gets a reference for who ends it. Under the lock. */
static tinker_future_t *keep(tinker_client_t *core, tinker_future_t *f) {
  tinker__future_ref(f);
  if (!f->cb) atomic_fetch_add(&core->quiet, 1);
  return f;
}

/* False when the client drains already. */
static bool start_drain(tinker_client_t *core, tinker_future_t *f,
                        int64_t until_ms) {
  pthread_mutex_lock(&core->lock);
  bool first = tinker__core_phase(core) < TINKER__CLIENT_DRAINING;
  if (first) {
    tinker__loop_hold(core->loop); /* until closed_run */
    atomic_store(&core->phase, TINKER__CLIENT_DRAINING);
    core->drain_until_ms = until_ms;
    core->drain_future = keep(core, f);
    tinker__loop_post(core->loop, &core->drain_task);
  }
  pthread_mutex_unlock(&core->lock);
  return first;
}

/* False when it closes already. f: NULL for a release. */
static bool start_close(tinker_client_t *core, tinker_future_t *f) {
  pthread_mutex_lock(&core->lock);
  bool first = tinker__core_phase(core) < TINKER__CLIENT_CLOSING;
  if (first) {
    if (tinker__core_phase(core) == TINKER__CLIENT_OPEN) {
      tinker__loop_hold(core->loop); /* until closed_run */
    }
    atomic_store(&core->phase, TINKER__CLIENT_CLOSING);
    if (f) core->close_future = keep(core, f);
    tinker__loop_post(core->loop, &core->close_task);
  }
  pthread_mutex_unlock(&core->lock);
  return first;
}

tinker_future_t *tinker_client_drain(tinker_client_t *client,
                                     const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_drain, call);
  if (tinker__core_is_here(client) &&
      tinker__core_phase(client) >= TINKER__CLIENT_DRAINING) {
    tinker__call_refuse(&c, TINKER_ECLOSED, "the client drains already");
  }
  if (tinker__call_open_local(&c, &tinker__result_done, 0)) {
    if (start_drain(client, c.future, c.deadline_ms)) {
      return tinker__call_hand_out(&c);
    }
    tinker__call_refuse(&c, TINKER_ECLOSED, "the client drains already");
  }
  return tinker__call_end(&c);
}

tinker_future_t *tinker_client_close(tinker_client_t *client,
                                     const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_close, call);
  if (!c.rc && c.options.timeout_ms != TINKER_TIMEOUT_DEFAULT) {
    tinker__call_refuse(&c, TINKER_EINVAL,
                        "timeout_ms is set: a close takes two seconds at most");
  }
  if (tinker__call_open_local(&c, &tinker__result_done, 0)) {
    if (start_close(client, c.future)) {
      return tinker__call_hand_out(&c);
    }
    tinker__call_refuse(&c, TINKER_ECLOSED, "the client is closed already");
  }
  return tinker__call_end(&c);
}

/* --- the last release --- */

/* Where nothing can be waited for, on a thread of the client itself, the task
 * that ends the client lets the loop go. */
static bool abandon(tinker_client_t *core) {
  pthread_mutex_lock(&core->lock);
  bool later = tinker__core_phase(core) != TINKER__CLIENT_CLOSED;
  core->abandoned = later;
  pthread_mutex_unlock(&core->lock);
  return later;
}

/* A drain that has begun goes on: what was accepted is not cut short. In step
 * mode another thread may step in a wait that only the close ends, so it is
 * under way before the owner's place is waited for. */
bool tinker__ending_release(tinker_client_t *core) {
  if (tinker__core_phase(core) == TINKER__CLIENT_OPEN) {
    start_close(core, NULL);
  }
  if (core->mode == TINKER_RUN_STEP) tinker__step_adopt(core->loop);
  if (tinker__core_await_end(core) && abandon(core)) return false;
  tinker__next_drop(core);
  return true;
}
