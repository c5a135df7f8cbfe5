/* exchange: see the header. The table in http/retry decides whether to try
 * again. The session's requests go one after another, so none of them needs the
 * flow's brake: the one that is tried again is the client's only probe. */
#include "session/exchange.h"

#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "session/session_internal.h"

/* Small JSON; this service does not answer more. */
#define REPLY_MAX (1u << 20)
#define BODY_MAX (1u << 20)
#define PATH_MAX_LEN 1024

static void submit(tinker__exchange_t *x);

static void on_again(tinker__timer_t *timer) {
  tinker__exchange_t *x = TINKER__CONTAINER(timer, tinker__exchange_t, again);
  submit(x);
}

/* ---- the end ---- */

/* "client/config: ..." */
static const char *name_of(const tinker__exchange_t *x) {
  const char *path = x->path.data ? x->path.data : "";
  return strncmp(path, "api/v1/", 7) == 0 ? path + 7 : path;
}

static void end(tinker__exchange_t *x, tinker__http_reply_t *reply,
                tinker_error_t *error) {
  tinker__session_t *s = x->session;
  TINKER__LOG(s->log, TINKER_LOG_DEBUG, "session", "%s%s",
              error ? tinker_error_message(error) : name_of(x),
              error ? "" : ": answered");
  tinker__timer_stop(s->loop, &x->again);
  x->state = TINKER__EXCHANGE_IDLE;
  x->trouble[0] = '\0';
  if (x->ticket) {
    s->door->ended(s->door->user, x->ticket, reply, error,
                   error && x->canceled);
  }
  x->ticket = 0;
  x->done(x, reply, error);
  tinker__error_release(error);
  tinker__session_exchange_ended(s);
}

/* Before anything has shown that the service is there, a page of somebody else
 * most likely means a wrong address. */
static const char *hint(const tinker__exchange_t *x, int code) {
  if (x->class_bit != TINKER__RETRY_START || code != TINKER_EPROTO) return "";
  return "; does the base URL name the service?";
}

static tinker_error_t *make_error(const tinker__exchange_t *x,
                                  const tinker__http_reply_t *reply,
                                  const tinker__verdict_t *v,
                                  const char *where) {
  char text[600];
  tinker__error_spec_t spec = {
      .code = v->code,
      .http_status = reply->status,
      .category = v->category,
      .advice = v->advice,
      .retry_after_ms = reply->retry_after_ms > 0 ? reply->retry_after_ms : 0,
      .request_id = reply->request_id,
      .where = where,
  };
  return tinker__error_new(x->session->mem, &spec, "%s: %s%s", name_of(x),
                           tinker__trouble_text(reply, text, sizeof(text)),
                           hint(x, v->code));
}

/* ---- the verdict ---- */

static void wait_and_repeat(tinker__exchange_t *x,
                            const tinker__http_reply_t *reply,
                            const tinker__verdict_t *v) {
  tinker__session_t *s = x->session;
  tinker_error_t *e = make_error(x, reply, v, NULL);
  tinker__why(x->trouble, sizeof(x->trouble), 0, "%s", tinker_error_message(e));
  tinker__error_release(e);
  if (x->retry.sends == 1) {
    tinker__session_say(s, TINKER__SESSION_TROUBLE, "%s; trying again",
                        x->trouble);
  }
  TINKER__LOG(s->log, TINKER_LOG_DEBUG, "session", "%s: tries again in %lld ms",
              name_of(x), (long long)v->delay_ms);
  x->state = TINKER__EXCHANGE_PAUSED;
  tinker__timer_start(s->loop, &x->again,
                      tinker__loop_now(s->loop) + v->delay_ms);
}

static void judge(tinker__exchange_t *x, tinker__http_reply_t *reply) {
  tinker__session_t *s = x->session;
  tinker__trouble_t trouble;
  tinker__trouble_read(&trouble, reply);
  tinker__verdict_t v =
      tinker__retry_judge(&x->retry, &x->limits, x->class_bit, &trouble,
                          tinker__loop_now(s->loop), &s->seed);
  if (v.kind == TINKER__VERDICT_AGAIN && !x->canceled) {
    wait_and_repeat(x, reply, &v);
  } else {
    end(x, reply, make_error(x, reply, &v, s->where));
  }
}

static void on_reply(tinker__http_request_t *request,
                     tinker__http_reply_t *reply) {
  tinker__exchange_t *x = request->user;
  tinker__verdict_t taken = {.code = TINKER_EREJECTED};
  if (!reply->error && x->taken && reply->status == x->taken) {
    end(x, reply, make_error(x, reply, &taken, NULL));
  } else if (tinker__http_failed(reply)) {
    judge(x, reply);
  } else {
    end(x, reply, NULL);
  }
}

/* ---- an attempt ---- */

static void on_refused(tinker__task_t *task) {
  tinker__exchange_t *x = TINKER__CONTAINER(task, tinker__exchange_t, refused);
  tinker__http_reply_t none = {
      .error = x->refused_code,
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
  };
  bool passes = none.error == TINKER_ENOMEM || none.error == TINKER_ECANCELED;
  tinker__verdict_t v = {
      .code = none.error,
      .advice = passes ? TINKER__ADVICE_RETRIABLE : 0,
  };
  tinker__buf_init(&none.body, x->session->mem, 0);
  end(x, &none, make_error(x, &none, &v, x->session->where));
}

static void refuse(tinker__exchange_t *x, int code) {
  x->refused_code = code;
  x->state = TINKER__EXCHANGE_REFUSED;
  tinker__loop_post(x->session->loop, &x->refused);
}

static void submit(tinker__exchange_t *x) {
  tinker__session_t *s = x->session;
  tinker__retry_sent(&x->retry, tinker__loop_now(s->loop));
  x->state = TINKER__EXCHANGE_SENT;
  TINKER__LOG(s->log, TINKER_LOG_DEBUG, "session", "%s: sent, attempt %u",
              name_of(x), x->retry.sends);
  int rc = tinker__http_submit(s->http, &x->request);
  if (rc) refuse(x, rc);
}

/* --- the door --- */

/* A mutation asks before it goes; false: it may, at once. */
static bool ask(tinker__exchange_t *x) {
  const tinker__session_door_t *door = x->session->door;
  if (x->class_bit != TINKER__RETRY_ONCE || !door || !door->ask) return false;
  x->ticket = door->ask(door->user, x->request.path, x->request.body);
  x->state = TINKER__EXCHANGE_ASKED;
  if (!x->ticket) refuse(x, TINKER_ENOMEM);
  return true;
}

static void withdraw(tinker__exchange_t *x) {
  const tinker__session_door_t *door = x->session->door;
  door->withdrawn(door->user, x->ticket);
  x->ticket = 0;
}

void tinker__exchange_admitted(tinker__exchange_t *x, uint64_t ticket,
                               const tinker_error_t *error) {
  tinker__http_reply_t none = {.retry_after_ms = -1};
  if (x->state != TINKER__EXCHANGE_ASKED || x->ticket != ticket) return;
  if (!error) {
    submit(x);
    return;
  }
  withdraw(x);
  tinker__buf_init(&none.body, x->session->mem, 0);
  end(x, &none, tinker__error_retain(error));
}

void tinker__exchange_init(tinker__exchange_t *x, tinker__session_t *s) {
  *x = (tinker__exchange_t){.session = s};
  tinker__buf_init(&x->body, s->mem, BODY_MAX);
  tinker__buf_init(&x->path, s->mem, PATH_MAX_LEN);
  tinker__timer_init(&x->again, on_again);
  tinker__task_init(&x->refused, on_refused);
}

void tinker__exchange_free(tinker__exchange_t *x) {
  tinker__buf_free(&x->body);
  tinker__buf_free(&x->path);
}

void tinker__exchange_begin(tinker__exchange_t *x, const char *path) {
  tinker__buf_clear(&x->body);
  tinker__buf_clear(&x->path);
  tinker__buf_adds(&x->path, "api/v1/");
  tinker__buf_adds(&x->path, path);
}

/* A mutation keeps one key over all its attempts, so that a server which knows
 * keys knows the second copy. */
static int draw_key(tinker__exchange_t *x) {
  x->key[0] = '\0';
  if (x->class_bit != TINKER__RETRY_ONCE) return 0;
  return tinker__uuid4(x->session->loop->world, x->key);
}

void tinker__exchange_start(tinker__exchange_t *x,
                            const tinker__exchange_spec_t *spec,
                            int encode_rc) {
  tinker__retry_default_limits(&x->limits);
  if (x->limits.send_ms > spec->budget_ms) {
    x->limits.send_ms = spec->budget_ms;
  }
  if (x->limits.conflict_ms > spec->budget_ms) {
    x->limits.conflict_ms = spec->budget_ms;
  }
  if (x->limits.page_ms > spec->budget_ms) x->limits.page_ms = spec->budget_ms;
  if (!spec->budget_ms) x->limits.billing_ms = 0;
  x->retry = (tinker__retry_t){0};
  x->class_bit = spec->class_bit;
  x->taken = spec->taken;
  x->done = spec->done;
  x->canceled = false;
  int rc = encode_rc ? encode_rc : draw_key(x);
  const char *path = tinker__buf_cstr(&x->path);
  if (!rc && !path) rc = tinker__buf_error(&x->path);
  if (!rc && !path) rc = TINKER_ENOMEM;
  x->request = (tinker__http_request_t){
      .lane = TINKER__LANE_CONTROL,
      .method = TINKER__HTTP_POST,
      .path = path,
      .idempotency_key = x->key[0] ? x->key : NULL,
      .body = tinker__buf_str(&x->body),
      .numbered = spec->class_bit != TINKER__RETRY_ONCE,
      .timeout_ms = spec->timeout_ms,
      .reply_max = REPLY_MAX,
      .done = on_reply,
      .user = x,
  };
  if (rc) {
    refuse(x, rc);
  } else if (!ask(x)) {
    submit(x);
  }
}

void tinker__exchange_cancel(tinker__exchange_t *x) {
  if (!tinker__exchange_is_active(x) || x->canceled) return;
  x->canceled = true;
  if (x->state == TINKER__EXCHANGE_PAUSED) {
    tinker__timer_stop(x->session->loop, &x->again);
    refuse(x, TINKER_ECANCELED);
  } else if (x->state == TINKER__EXCHANGE_ASKED) {
    withdraw(x);
    refuse(x, TINKER_ECANCELED);
  } else if (x->state == TINKER__EXCHANGE_SENT) {
    tinker__http_cancel(x->session->http, &x->request);
  }
}
