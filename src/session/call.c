/* call: see the header. Whether to try again is the table's decision
 * (flow/retry); here is only what makes an attempt hopeless: no memory, no
 * trust in the server's certificate, a transport that is closed. */
#include "session/call.h"

#include <string.h>

#include "base/digest.h"
#include "flow/flow.h"
#include "session/session_internal.h"

/* Small JSON; more is no answer of this service. */
#define REPLY_MAX (1u << 20)
#define BODY_MAX (1u << 20)
#define PATH_MAX_LEN 1024

static void submit(tinker__call_t *call);

static void on_again(tinker__timer_t *timer) {
  tinker__call_t *call = TINKER__CONTAINER(timer, tinker__call_t, again);
  submit(call);
}

/* ---- the end ---- */

static void end(tinker__call_t *call, tinker__http_reply_t *reply,
                tinker_error_t *error) {
  tinker__session_t *s = call->session;
  tinker__timer_stop(s->loop, &call->again);
  call->state = TINKER__CALL_IDLE;
  call->trouble[0] = '\0';
  call->done(call, reply, error);
  tinker__error_release(error);
  tinker__session_call_ended(s);
}

/* "client/config: ..." */
static const char *name_of(const tinker__call_t *call) {
  const char *path = call->path.data ? call->path.data : "";
  return strncmp(path, "api/v1/", 7) == 0 ? path + 7 : path;
}

static tinker_error_t *make_error(const tinker__call_t *call,
                                  const tinker__http_reply_t *reply, int code,
                                  unsigned advice) {
  tinker__mem_t *mem = call->session->mem;
  tinker__error_spec_t spec = {.code = code, .advice = advice};
  char text[512];
  if (reply->retry_after_ms > 0) spec.retry_after_ms = reply->retry_after_ms;
  spec.http_status = reply->status;
  if (reply->error || !reply->status) {
    return tinker__error_new(mem, &spec, "%s: %s%s%s", name_of(call),
                             tinker_code_text(code),
                             reply->detail[0] ? ": " : "", reply->detail);
  }
  tinker__error_body_text(mem, tinker__buf_str(&reply->body), text,
                          sizeof(text));
  return tinker__error_new(mem, &spec, "%s: %s answered %d%s%s", name_of(call),
                           tinker__http_foreign(reply)
                               ? "something between here and the service"
                               : "the service",
                           reply->status, text[0] ? ": " : "", text);
}

/* ---- the verdict ---- */

static bool is_hopeless(int error) {
  return error == TINKER_ENOMEM || error == TINKER_ERANDOM ||
         error == TINKER_EINVAL || error == TINKER_ECLOSED ||
         error == TINKER_ETLS || error == TINKER_ECANCELED;
}

static void wait_and_repeat(tinker__call_t *call,
                            const tinker__http_reply_t *reply,
                            int64_t delay_ms) {
  tinker__session_t *s = call->session;
  tinker_error_t *e = make_error(call, reply, reply->error, 0);
  tinker__why(call->trouble, sizeof(call->trouble), 0, "%s",
              tinker_error_message(e));
  tinker__error_release(e);
  if (call->retry.sends == 1) {
    tinker__session_say(s, TINKER__SESSION_TROUBLE, "%s; trying again",
                        call->trouble);
  }
  call->state = TINKER__CALL_PAUSED;
  tinker__timer_start(s->loop, &call->again,
                      tinker__loop_now(s->loop) + delay_ms);
}

static void judge(tinker__call_t *call, tinker__http_reply_t *reply) {
  tinker__session_t *s = call->session;
  tinker__trouble_t trouble = {
      .error = reply->error,
      .sent = reply->sent,
      .status = reply->status,
      .foreign = tinker__http_foreign(reply),
  };
  if (reply->retry_after_ms > 0) trouble.retry_after_ms = reply->retry_after_ms;
  tinker__verdict_t v =
      tinker__retry_judge(&call->retry, &call->limits, call->class_bit,
                          &trouble, tinker__loop_now(s->loop), &s->seed);
  if (v.kind == TINKER__VERDICT_AGAIN && !call->canceled) {
    wait_and_repeat(call, reply, v.delay_ms);
  } else {
    end(call, reply, make_error(call, reply, v.code, v.advice));
  }
}

static void on_reply(tinker__http_request_t *request,
                     tinker__http_reply_t *reply) {
  tinker__call_t *call = request->user;
  bool once = call->class_bit == TINKER__RETRY_ONCE;
  if (is_hopeless(reply->error)) {
    unsigned advice = once && reply->sent ? TINKER__ADVICE_UNKNOWN : 0;
    end(call, reply, make_error(call, reply, reply->error, advice));
  } else if (!reply->error && call->taken && reply->status == call->taken) {
    end(call, reply, make_error(call, reply, TINKER_EREJECTED, 0));
  } else if (tinker__http_failed(reply)) {
    judge(call, reply);
  } else {
    end(call, reply, NULL);
  }
}

/* ---- an attempt ---- */

static void on_refused(tinker__task_t *task) {
  tinker__call_t *call = TINKER__CONTAINER(task, tinker__call_t, refused);
  tinker__http_reply_t none = {
      .error = call->refused_code,
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
  };
  tinker__buf_init(&none.body, call->session->mem, 0);
  end(call, &none, make_error(call, &none, call->refused_code, 0));
}

static void refuse(tinker__call_t *call, int code) {
  call->refused_code = code;
  call->state = TINKER__CALL_REFUSED;
  tinker__loop_post(call->session->loop, &call->refused);
}

static void submit(tinker__call_t *call) {
  tinker__session_t *s = call->session;
  tinker__retry_sent(&call->retry, tinker__loop_now(s->loop));
  call->state = TINKER__CALL_SENT;
  int rc = tinker__http_submit(s->http, &call->request);
  if (rc) refuse(call, rc);
}

void tinker__call_init(tinker__call_t *call, tinker__session_t *s) {
  *call = (tinker__call_t){.session = s};
  tinker__buf_init(&call->body, s->mem, BODY_MAX);
  tinker__buf_init(&call->path, s->mem, PATH_MAX_LEN);
  tinker__timer_init(&call->again, on_again);
  tinker__task_init(&call->refused, on_refused);
}

void tinker__call_free(tinker__call_t *call) {
  tinker__buf_free(&call->body);
  tinker__buf_free(&call->path);
}

void tinker__call_begin(tinker__call_t *call, const char *path) {
  tinker__buf_clear(&call->body);
  tinker__buf_clear(&call->path);
  tinker__buf_adds(&call->path, "api/v1/");
  tinker__buf_adds(&call->path, path);
}

/* A mutation keeps one key over all its attempts, so that a server which knows
 * keys knows the second copy. */
static int draw_key(tinker__call_t *call) {
  call->key[0] = '\0';
  if (call->class_bit != TINKER__RETRY_ONCE) return 0;
  return tinker__uuid4(call->session->loop->world, call->key);
}

void tinker__call_start(tinker__call_t *call, const tinker__call_spec_t *spec,
                        int encode_rc) {
  tinker__flow_limits_t limits;
  tinker__flow_default_limits(&limits);
  call->limits = limits.retry;
  if (call->limits.send_ms > spec->budget_ms) {
    call->limits.send_ms = spec->budget_ms;
  }
  if (call->limits.conflict_ms > spec->budget_ms) {
    call->limits.conflict_ms = spec->budget_ms;
  }
  if (!spec->budget_ms) call->limits.billing_ms = 0;
  call->retry = (tinker__retry_t){0};
  call->class_bit = spec->class_bit;
  call->taken = spec->taken;
  call->done = spec->done;
  call->canceled = false;
  int rc = encode_rc ? encode_rc : draw_key(call);
  const char *path = tinker__buf_cstr(&call->path);
  if (!rc && !path) rc = tinker__buf_error(&call->path);
  if (!rc && !path) rc = TINKER_ENOMEM;
  call->request = (tinker__http_request_t){
      .lane = TINKER__LANE_CONTROL,
      .method = TINKER__HTTP_POST,
      .path = path,
      .idempotency_key = call->key[0] ? call->key : NULL,
      .body = tinker__buf_str(&call->body),
      .numbered = spec->class_bit != TINKER__RETRY_ONCE,
      .timeout_ms = spec->timeout_ms,
      .reply_max = REPLY_MAX,
      .done = on_reply,
      .user = call,
  };
  if (rc) {
    refuse(call, rc);
  } else {
    submit(call);
  }
}

void tinker__call_cancel(tinker__call_t *call) {
  if (!tinker__call_is_active(call) || call->canceled) return;
  call->canceled = true;
  if (call->state == TINKER__CALL_PAUSED) {
    tinker__timer_stop(call->session->loop, &call->again);
    refuse(call, TINKER_ECANCELED);
  } else if (call->state == TINKER__CALL_SENT) {
    tinker__http_cancel(call->session->http, &call->request);
  }
}
