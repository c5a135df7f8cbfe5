/* session: life, waiters, counters, finish and close. See the headers. */
#include "session/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/show.h"
#include "session/session_internal.h"

#define FINISH_TIMEOUT_MS 60000

/* ---- events and facts ---- */

void tinker__session_say(tinker__session_t *s, tinker__session_event_t event,
                         const char *fmt, ...) {
  char text[512];
  va_list args;
  if (!s->event) return;
  va_start(args, fmt);
  vsnprintf(text, sizeof(text), fmt, args);
  va_end(args);
  s->event(s->user, event, text);
}

const struct tinker__client_config_s *
tinker__session_config(const tinker__session_t *session) {
  return session->configured ? &session->config : NULL;
}

const char *tinker__session_id(const tinker__session_t *session) {
  return session->phase >= TINKER__PHASE_SESSION ? session->id : NULL;
}

const char *tinker__session_trouble(const tinker__session_t *session) {
  return session->startup.trouble;
}

bool tinker__session_ended(const tinker__session_t *session) {
  return session->phase == TINKER__PHASE_OVER;
}

int64_t tinker__session_next_model_seq(tinker__session_t *session) {
  return session->model_seq++;
}

int64_t tinker__session_next_sampling_seq(tinker__session_t *session) {
  return session->sampling_seq++;
}

void tinker__session_counters(const tinker__session_t *session,
                              int64_t *model_seq, int64_t *sampling_seq) {
  *model_seq = session->model_seq;
  *sampling_seq = session->sampling_seq;
}

/* The service has its time from now on, within that of the whole. */
static void time_finish(tinker__session_t *s) {
  int64_t end = tinker__loop_now(s->loop) + s->finish_ms;
  s->finish_deadline_ms = end < s->finish_end_ms ? end : s->finish_end_ms;
  tinker__timer_start(s->loop, &s->finish_timer, s->finish_deadline_ms);
}

void tinker__session_admitted(tinker__session_t *session, uint64_t ticket,
                              const tinker_error_t *error) {
  const tinker__exchange_t *finish = &session->finish;
  bool asked = finish->state == TINKER__EXCHANGE_ASKED;
  tinker__exchange_admitted(&session->startup, ticket, error);
  tinker__exchange_admitted(&session->finish, ticket, error);
  if (asked && finish->state == TINKER__EXCHANGE_SENT) time_finish(session);
}

void tinker__session_dump(const tinker__session_t *session, tinker__jsonw_t *w,
                          int64_t now_ms) {
  static const char *const phases[] = {
      [TINKER__PHASE_START] = "nothing asked for yet",
      [TINKER__PHASE_CONFIG] = "asks for client/config",
      [TINKER__PHASE_DYNAMIC] = "asks for client/dynamic_config",
      [TINKER__PHASE_CONFIGURED] = "configured",
      [TINKER__PHASE_CREATING] = "being created",
      [TINKER__PHASE_SESSION] = "live",
      [TINKER__PHASE_OVER] = "over"};
  char shown[sizeof session->startup.trouble];
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "state");
  tinker__jsonw_cstr(w, phases[session->phase]);
  tinker__jsonw_key(w, "id");
  tinker__jsonw_cstr(w, session->id);
  if (session->phase == TINKER__PHASE_SESSION) {
    tinker__jsonw_key(w, "heartbeat_confirmed_ms_ago");
    tinker__jsonw_i64(w, now_ms - session->confirmed_ms);
  }
  if (session->startup.trouble[0]) {
    tinker__show(shown, sizeof shown, tinker__str(session->startup.trouble));
    tinker__jsonw_key(w, "trouble");
    tinker__jsonw_cstr(w, shown);
  }
  tinker__jsonw_end_object(w);
}

/* ---- waiters ---- */

/* Answers everyone in the list; who asks meanwhile goes to the session's own
 * list. A waiter may be freed in its done, and forget others. */
static void answer_all(tinker__link_t *list, const tinker_error_t *error) {
  tinker__link_t *link;
  while ((link = tinker__list_pop_front(list))) {
    tinker__session_waiter_t *w =
        TINKER__CONTAINER(link, tinker__session_waiter_t, link);
    w->done(w, error);
  }
}

static bool is_there(const tinker__session_t *s, tinker__session_need_t need) {
  if (need == TINKER__NEED_CONFIG) return s->configured;
  return s->phase == TINKER__PHASE_SESSION;
}

static void take_ready(tinker__session_t *s, tinker__link_t *out) {
  tinker__list_init(out);
  TINKER__LIST_EACH(it, tmp, &s->waiters) {
    tinker__session_waiter_t *w =
        TINKER__CONTAINER(it, tinker__session_waiter_t, link);
    if (!is_there(s, w->need)) continue;
    tinker__list_remove(it);
    tinker__list_push_back(out, it);
  }
}

static void fail_all(tinker__session_t *s, const tinker_error_t *error) {
  tinker__link_t list;
  tinker__list_init(&list);
  while (!tinker__list_empty(&s->waiters)) {
    tinker__list_push_back(&list, tinker__list_pop_front(&s->waiters));
  }
  answer_all(&list, error);
}

static void fail_all_with(tinker__session_t *s, int code, const char *text) {
  tinker__error_spec_t spec = {.code = code, .where = s->where};
  const char *cause = s->startup.trouble;
  if (tinker__list_empty(&s->waiters)) return;
  tinker_error_t *e = tinker__error_new(
      s->mem, &spec, "%s%s%s", text, cause[0] ? "; last trouble: " : "", cause);
  fail_all(s, e);
  tinker__error_release(e);
}

/* Answers who can be answered and sends what the others need. */
static void settle(tinker__session_t *s) {
  tinker__link_t ready;
  if (s->closing) return;
  take_ready(s, &ready);
  answer_all(&ready, NULL);
  if (s->phase == TINKER__PHASE_OVER || s->finishing) {
    fail_all_with(s, TINKER_ESESSION, "the session has ended");
  }
  tinker__startup_go_on(s);
}

static void on_settle(tinker__task_t *task) {
  settle(TINKER__CONTAINER(task, tinker__session_t, settle));
}

void tinker__session_need(tinker__session_t *session,
                          tinker__session_need_t need,
                          tinker__session_waiter_t *waiter) {
  if (!tinker__list_empty(&waiter->link)) return; /* it waits already */
  waiter->need = need;
  tinker__list_push_back(&session->waiters, &waiter->link);
  if (!session->closing) tinker__loop_post(session->loop, &session->settle);
}

void tinker__session_forget(tinker__session_t *session,
                            tinker__session_waiter_t *waiter) {
  tinker__list_remove(&waiter->link);
  if (session->finish_waiter == waiter) session->finish_waiter = NULL;
}

/* ---- finish ---- */

static void finish_done(tinker__session_t *s, const tinker_error_t *error) {
  tinker__session_waiter_t *w = s->finish_waiter;
  s->finish_waiter = NULL;
  tinker__timer_stop(s->loop, &s->finish_timer);
  if (s->phase == TINKER__PHASE_SESSION) s->phase = TINKER__PHASE_OVER;
  if (w) w->done(w, error);
}

static void on_finished(tinker__exchange_t *x, tinker__http_reply_t *reply,
                        const tinker_error_t *error) {
  /* 410: somebody finished it before. */
  finish_done(x->session, tinker__http_refusal(reply) == 410 ? NULL : error);
}

static int encode_finish(tinker__session_t *s) {
  static const char *const reasons[] = {"success", "errored", "interrupted"};
  tinker__finish_t m = {
      .has_reason = true,
      .reason = {reasons[s->finish_reason]},
      .detail = s->finish_detail,
  };
  return tinker__message_encode(&s->finish.body, &tinker__finish_msg, &m);
}

static void send_finish(tinker__session_t *s) {
  char path[320];
  int64_t left = s->finish_deadline_ms - tinker__loop_now(s->loop);
  tinker__exchange_spec_t spec = {TINKER__RETRY_ONCE, left, left, on_finished,
                                  0};
  if (spec.timeout_ms > FINISH_TIMEOUT_MS) {
    spec.timeout_ms = FINISH_TIMEOUT_MS;
  }
  snprintf(path, sizeof(path), "sessions/%s/finish", s->id);
  tinker__exchange_begin(&s->finish, path);
  tinker__exchange_start(&s->finish, &spec, encode_finish(s));
}

/* A session that is being created has to be there first. */
static void go_on_finishing(tinker__session_t *s) {
  if (tinker__exchange_is_active(&s->finish) || !s->finish_waiter) return;
  if (s->phase == TINKER__PHASE_CREATING) return;
  if (s->phase == TINKER__PHASE_SESSION && !s->adopted) {
    send_finish(s);
  } else {
    finish_done(s, NULL);
  }
}

/* The deadline, or the first turn of a finish. */
static void on_finish_timer(tinker__timer_t *timer) {
  tinker__session_t *s =
      TINKER__CONTAINER(timer, tinker__session_t, finish_timer);
  int64_t now = tinker__loop_now(s->loop);
  if (now < s->finish_deadline_ms) {
    tinker__timer_start(s->loop, timer, s->finish_deadline_ms);
    go_on_finishing(s);
  } else if (s->finish.state == TINKER__EXCHANGE_ASKED &&
             now < s->finish_end_ms) {
    tinker__timer_start(s->loop, timer, s->finish_end_ms);
  } else if (tinker__exchange_is_active(&s->finish)) {
    tinker__exchange_cancel(&s->finish);
  } else {
    tinker__error_spec_t spec = {.code = TINKER_ETIMEDOUT, .where = s->where};
    const char *cause = s->startup.trouble;
    tinker_error_t *e = tinker__error_new(
        s->mem, &spec, "finish: the session was still being created%s%s",
        cause[0] ? "; last trouble: " : "", cause);
    finish_done(s, e);
    tinker__error_release(e);
  }
}

void tinker__session_finish(tinker__session_t *session,
                            tinker__finish_reason_t reason, const char *detail,
                            int64_t timeout_ms, int64_t whole_ms,
                            tinker__session_waiter_t *waiter) {
  int64_t now = tinker__loop_now(session->loop);
  session->finishing = true;
  session->finish_reason = reason;
  session->finish_waiter = waiter;
  session->finish_ms = timeout_ms > 0 ? timeout_ms : 1;
  session->finish_deadline_ms = now + session->finish_ms;
  session->finish_end_ms = now + whole_ms;
  /* Without memory the reason is sent without the detail. */
  if (detail) session->finish_detail = tinker__mem_strdup(session->mem, detail);
  tinker__timer_init(&session->finish_timer, on_finish_timer);
  tinker__timer_start(session->loop, &session->finish_timer, now);
  tinker__beat_end(session);
  tinker__loop_post(session->loop, &session->settle);
}

/* ---- what the other files report ---- */

void tinker__session_reached(tinker__session_t *s) {
  settle(s);
  if (s->finishing) go_on_finishing(s);
}

void tinker__session_failed(tinker__session_t *s, const tinker_error_t *error) {
  fail_all(s, error);
  if (s->finishing) go_on_finishing(s);
}

void tinker__session_set_ended(tinker__session_t *session) {
  if (session->phase != TINKER__PHASE_SESSION || session->closing) return;
  session->phase = TINKER__PHASE_OVER;
  tinker__beat_end(session);
  tinker__session_say(session, TINKER__SESSION_ENDED,
                      "session %s: the service has ended it", session->id);
  tinker__loop_post(session->loop, &session->settle);
}

void tinker__session_set_finished(tinker__session_t *session) {
  if (session->phase != TINKER__PHASE_SESSION) return;
  session->phase = TINKER__PHASE_OVER;
  tinker__beat_end(session);
}

/* ---- close ---- */

static void free_session(tinker__session_t *s) {
  tinker__exchange_free(&s->startup);
  tinker__exchange_free(&s->beat);
  tinker__exchange_free(&s->finish);
  tinker__mem_free(s->mem, s->finish_detail);
  tinker__arena_free(&s->arena);
  tinker__mem_free(s->mem, s);
}

static void on_close(tinker__task_t *task) {
  tinker__session_t *s = TINKER__CONTAINER(task, tinker__session_t, close_task);
  tinker__exchange_cancel(&s->startup);
  tinker__exchange_cancel(&s->finish);
  tinker__beat_end(s);
  bool wards_gone = tinker__wards_end(s);
  if (!wards_gone || tinker__exchange_is_active(&s->startup) ||
      tinker__exchange_is_active(&s->beat) ||
      tinker__exchange_is_active(&s->finish)) {
    return; /* the last of them calls this again */
  }
  tinker__timer_stop(s->loop, &s->finish_timer);
  fail_all_with(s, TINKER_ECLOSED, "the client is closed");
  if (s->finish_waiter) {
    tinker__error_spec_t spec = {.code = TINKER_ECLOSED, .where = s->where};
    tinker_error_t *e = tinker__error_new(s->mem, &spec, "finish: closed");
    finish_done(s, e);
    tinker__error_release(e);
  }
  void (*closed)(void *user) = s->closed;
  void *user = s->closed_user;
  free_session(s);
  if (closed) closed(user);
}

void tinker__session_exchange_ended(tinker__session_t *s) {
  if (s->closing) tinker__loop_post(s->loop, &s->close_task);
}

/* The close is posted, so it runs after a settle that may be queued already. */
void tinker__session_close(tinker__session_t *session,
                           void (*closed)(void *user), void *user) {
  session->closing = true;
  session->closed = closed;
  session->closed_user = user;
  tinker__loop_post(session->loop, &session->close_task);
}

/* ---- birth ---- */

/* NULL stays NULL; false without memory. */
static bool keep(tinker__session_t *s, const char **to, const char *from) {
  if (!from) return true;
  *to = tinker__arena_str(&s->arena, tinker__str(from));
  return *to != NULL;
}

static bool keep_tags(tinker__session_t *s,
                      const tinker__session_options_t *o) {
  if (o->tag_count == 0) return true;
  const char **tags =
      tinker__arena_array(&s->arena, o->tag_count, sizeof(*tags));
  if (!tags) return false;
  for (size_t i = 0; i < o->tag_count; i++) {
    if (!keep(s, &tags[i], o->tags[i])) return false;
  }
  s->tags = (tinker__strs_t){tags, o->tag_count};
  return true;
}

int tinker__session_new(tinker__session_t **out,
                        const tinker__session_options_t *options) {
  tinker__session_t *s = tinker__mem_zalloc(options->mem, sizeof(*s));
  if (!s) return TINKER_ENOMEM;
  s->loop = options->loop;
  s->http = options->http;
  s->mem = options->mem;
  s->event = options->event;
  s->user = options->user;
  s->log = options->log;
  s->door = options->door;
  s->adopted = options->adopt_id != NULL;
  s->adopt_silent = options->adopt_silent;
  s->model_seq = options->model_seq;
  s->sampling_seq = options->sampling_seq;
  const tinker__world_t *world = s->loop->world;
  if (world->random(world->user, &s->seed, sizeof(s->seed))) {
    s->seed = (uint64_t)tinker__loop_now(s->loop); /* only jitter */
  }
  tinker__list_init(&s->waiters);
  tinker__list_init(&s->wards);
  tinker__task_init(&s->settle, on_settle);
  tinker__task_init(&s->close_task, on_close);
  tinker__arena_init(&s->arena, s->mem);
  tinker__exchange_init(&s->startup, s);
  tinker__exchange_init(&s->beat, s);
  tinker__exchange_init(&s->finish, s);
  if (!keep(s, &s->sdk_version, options->sdk_version) ||
      !keep(s, &s->project_id, options->project_id) ||
      !keep(s, &s->display_name, options->display_name) ||
      !keep(s, &s->metadata, options->metadata) ||
      !keep(s, &s->id, options->adopt_id) ||
      !keep(s, &s->where, options->where) || !keep_tags(s, options)) {
    free_session(s);
    return TINKER_ENOMEM;
  }
  *out = s;
  return 0;
}
