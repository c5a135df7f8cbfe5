/* script_transport: see the header. Everything runs on the loop's thread but
 * script_new, script_free and the questions, which a test asks when nothing
 * runs. What it needs for itself is malloc'ed, so that a sweep over failing
 * allocations meets the code under test alone; a reply's body comes from
 * the loop's memory, as it does from a real transport. */
#include "support/script_transport.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

typedef struct step_s {
  tinker__http_method_t method;
  char *path;
  script_reply_t reply;
  script_fn fn;
  void *user;
  bool used;
} step_t;

typedef struct exchange_s {
  tinker__link_t link;
  tinker__task_t task;
  tinker__timer_t timer;
  script_t *script;
  tinker__http_request_t *request;
  script_reply_t reply;
  char *owned; /* the body of the reply that was chosen */
} exchange_t;

struct script_s {
  tinker__http_t base;
  tinker__loop_t *loop;
  step_t *steps;
  size_t step_count;
  step_t *always;
  size_t always_count;
  script_fn meddle;
  void *meddle_user;
  bool forgets; /* keeps the last request only */
  script_request_t *requests;
  size_t request_count;
  tinker__link_t exchanges;
  tinker__task_t close_task;
  void (*closed)(void *user);
  void *closed_user;
  bool closing;
  size_t fail_in;
  char surprise[256];
};

static char *copy(const char *s) {
  if (!s) return NULL;
  size_t n = strlen(s) + 1;
  char *p = malloc(n);
  assert(p);
  memcpy(p, s, n);
  return p;
}

/* What a step's path is compared with. */
static const char *place_of(const tinker__http_request_t *r) {
  return r->url ? r->url : r->path;
}

static char *copy_headers(const tinker__http_request_t *r) {
  size_t n = 1;
  for (size_t i = 0; i < r->header_count; i++) {
    n += strlen(r->headers[i].name) + strlen(r->headers[i].value) + 3;
  }
  char *out = malloc(n), *at = out;
  assert(out);
  *at = '\0';
  for (size_t i = 0; i < r->header_count; i++) {
    at += snprintf(at, n - (size_t)(at - out), "%s: %s\n", r->headers[i].name,
                   r->headers[i].value);
  }
  return out;
}

static void free_request(script_request_t *q) {
  free(q->path);
  free(q->content_type);
  free(q->accept);
  free(q->headers);
  free(q->idempotency_key);
  free(q->body);
}

static size_t kept(const script_t *s) {
  return s->forgets && s->request_count ? 1 : s->request_count;
}

/* Room for one more request. */
static script_request_t *room(script_t *s) {
  size_t n = kept(s);
  s->request_count++;
  if (s->forgets && n) {
    free_request(&s->requests[0]);
    return &s->requests[0];
  }
  if ((n & (n - 1)) == 0) { /* it is full */
    s->requests = realloc(s->requests, (n ? 2 * n : 1) * sizeof(*s->requests));
    assert(s->requests);
  }
  return &s->requests[n];
}

static script_request_t *record(script_t *s, const tinker__http_request_t *r) {
  script_request_t *q = room(s);
  *q = (script_request_t){
      .lane = r->lane,
      .method = r->method,
      .path = copy(place_of(r)),
      .content_type = copy(r->content_type),
      .accept = copy(r->accept),
      .headers = copy_headers(r),
      .idempotency_key = copy(r->idempotency_key),
      .body = malloc(r->body.len + 1),
      .body_len = r->body.len,
      .numbered = r->numbered,
      .fresh = r->fresh,
      .timeout_ms = r->timeout_ms,
      .stall_ms = r->stall_ms,
      .at_ms = tinker__loop_now(s->loop),
  };
  assert(q->body);
  tinker__piece_t whole;
  tinker__place_t place = {0};
  tinker__pieces_t body = tinker__http_body(r, &whole);
  size_t len = tinker__pieces_read(&body, &place, q->body, r->body.len);
  assert(len == r->body.len);
  q->body[r->body.len] = '\0';
  return q;
}

static bool fits(const step_t *step, const tinker__http_request_t *r) {
  size_t n = strlen(step->path);
  if (step->used || step->method != r->method) return false;
  if (n && step->path[n - 1] == '*') {
    return strncmp(step->path, place_of(r), n - 1) == 0;
  }
  return strcmp(step->path, place_of(r)) == 0;
}

static step_t *find(step_t *steps, size_t n, const tinker__http_request_t *r) {
  for (size_t i = 0; i < n; i++) {
    if (fits(&steps[i], r)) return &steps[i];
  }
  return NULL;
}

static script_reply_t answer(script_t *s, const tinker__http_request_t *r,
                             const script_request_t *recorded) {
  script_reply_t reply = {0};
  step_t *step = find(s->steps, s->step_count, r);
  if (step) {
    step->used = true;
    return step->reply;
  }
  step = find(s->always, s->always_count, r);
  if (step) {
    step->fn(step->user, recorded, &reply);
    return reply;
  }
  if (!s->surprise[0]) {
    snprintf(s->surprise, sizeof(s->surprise),
             "request %zu was not expected: method %d, path %s",
             s->request_count - 1, (int)r->method, place_of(r));
  }
  reply.error = TINKER_ECONNECT;
  return reply;
}

static script_reply_t choose(script_t *s, const tinker__http_request_t *r,
                             const script_request_t *recorded) {
  script_reply_t reply = answer(s, r, recorded);
  char *owned = reply.owned ? (char *)(uintptr_t)reply.body : NULL;
  if (!s->meddle) return reply;
  s->meddle(s->meddle_user, recorded, &reply);
  if (owned && reply.body != owned) free(owned);
  if (owned && reply.body != owned) reply.owned = false;
  return reply;
}

static void fill(const script_reply_t *in, tinker__http_reply_t *out,
                 size_t max) {
  out->error = in->error;
  out->sent = in->error ? in->sent : true;
  if (in->error) {
    snprintf(out->detail, sizeof(out->detail), "scripted failure %s",
             tinker_code_name(in->error));
    return;
  }
  size_t len = in->body_len ? in->body_len : in->body ? strlen(in->body) : 0;
  out->status = in->status ? in->status : 200;
  snprintf(out->content_type, sizeof(out->content_type), "%s",
           in->content_type ? in->content_type : "application/json");
  out->content_length = (int64_t)len;
  if (in->retry_after_ms) out->retry_after_ms = in->retry_after_ms;
  if (in->log_id) {
    snprintf(out->request_id, sizeof(out->request_id), "%s", in->log_id);
  }
  if (in->should_retry) out->should_retry = in->should_retry > 0;
  if (len > max) {
    out->error = TINKER_EOVERFLOW;
  } else if (tinker__buf_add(&out->body, in->body, len)) {
    out->error = TINKER_ENOMEM;
  }
}

static void finish(exchange_t *x, const script_reply_t *in) {
  tinker__http_request_t *request = x->request;
  tinker__http_reply_t reply = {
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
  };
  tinker__buf_init(&reply.body, x->script->loop->mem, request->reply_max);
  fill(in, &reply, request->reply_max);
  tinker__timer_stop(x->script->loop, &x->timer);
  tinker__list_remove(&x->link);
  if (x->owned) free(x->owned);
  free(x);
  request->transport_private = NULL;
  request->done(request, &reply);
  tinker__buf_free(&reply.body);
}

static void on_task(tinker__task_t *task) {
  exchange_t *x = TINKER__CONTAINER(task, exchange_t, task);
  finish(x, &x->reply);
}

static void on_timer(tinker__timer_t *timer) {
  exchange_t *x = TINKER__CONTAINER(timer, exchange_t, timer);
  finish(x, &x->reply);
}

static void schedule(exchange_t *x) {
  int64_t delay = x->reply.delay_ms;
  int64_t limit = x->request->timeout_ms;
  if (delay < 0 || delay > limit) {
    x->reply = (script_reply_t){.error = TINKER_ETIMEDOUT, .sent = true};
    delay = limit;
  }
  if (delay == 0) {
    tinker__loop_post(x->script->loop, &x->task);
  } else {
    tinker__timer_start(x->script->loop, &x->timer,
                        tinker__loop_now(x->script->loop) + delay);
  }
}

static int script_submit(tinker__http_t *http, tinker__http_request_t *r) {
  script_t *s = TINKER__CONTAINER(http, script_t, base);
  assert(tinker__loop_on_thread(s->loop));
  assert(r->timeout_ms > 0 && r->done);
  if (s->closing) return TINKER_ECLOSED;
  if (s->fail_in && --s->fail_in == 0) return TINKER_ENOMEM;
  exchange_t *x = calloc(1, sizeof(*x));
  assert(x);
  x->script = s;
  x->request = r;
  tinker__task_init(&x->task, on_task);
  tinker__timer_init(&x->timer, on_timer);
  tinker__list_push_back(&s->exchanges, &x->link);
  r->transport_private = x;
  x->reply = choose(s, r, record(s, r));
  if (x->reply.owned) x->owned = (char *)(uintptr_t)x->reply.body;
  schedule(x);
  return 0;
}

static void cancel_exchange(exchange_t *x) {
  x->reply = (script_reply_t){.error = TINKER_ECANCELED, .sent = true};
  tinker__timer_stop(x->script->loop, &x->timer);
  tinker__loop_post(x->script->loop, &x->task);
}

static void script_cancel(tinker__http_t *http, tinker__http_request_t *r) {
  (void)http;
  assert(r->transport_private);
  cancel_exchange(r->transport_private);
}

/* Comes again until the last canceled request has run its done. */
static void on_close(tinker__task_t *task) {
  script_t *s = TINKER__CONTAINER(task, script_t, close_task);
  if (!tinker__list_empty(&s->exchanges)) {
    TINKER__LIST_EACH(it, tmp, &s->exchanges) {
      cancel_exchange(TINKER__CONTAINER(it, exchange_t, link));
    }
    tinker__loop_post(s->loop, task);
    return;
  }
  if (s->closed) s->closed(s->closed_user);
}

static void script_close(tinker__http_t *http, void (*closed)(void *user),
                         void *user) {
  script_t *s = TINKER__CONTAINER(http, script_t, base);
  assert(!s->closing);
  s->closing = true;
  s->closed = closed;
  s->closed_user = user;
  tinker__loop_post(s->loop, &s->close_task);
}

/* Nothing is given to a sink here, so nothing pauses. */
static void script_resume(tinker__http_t *http, tinker__http_request_t *r) {
  (void)http;
  assert(!r->sink);
}

static const tinker__http_ops_t script_ops = {script_submit, script_cancel,
                                              script_close, script_resume};

int script_new(script_t **out, tinker__loop_t *loop) {
  script_t *s = calloc(1, sizeof(*s));
  assert(s);
  s->base.ops = &script_ops;
  s->loop = loop;
  tinker__list_init(&s->exchanges);
  tinker__task_init(&s->close_task, on_close);
  *out = s;
  return 0;
}

tinker__http_t *script_http(script_t *script) {
  return &script->base;
}

/* Room for one more step. */
static step_t *more(step_t **steps, size_t *count) {
  if ((*count & (*count - 1)) == 0) { /* it is full */
    *steps = realloc(*steps, (*count ? 2 * *count : 1) * sizeof(**steps));
    assert(*steps);
  }
  return &(*steps)[(*count)++];
}

void script_meddle(script_t *script, script_fn fn, void *user) {
  script->meddle = fn;
  script->meddle_user = user;
}

void script_forget(script_t *script) {
  assert(script->request_count == 0);
  script->forgets = true;
}

void script_expect(script_t *script, tinker__http_method_t method,
                   const char *path, script_reply_t reply) {
  *more(&script->steps, &script->step_count) =
      (step_t){.method = method, .path = copy(path), .reply = reply};
}

void script_always(script_t *script, tinker__http_method_t method,
                   const char *path, script_fn fn, void *user) {
  *more(&script->always, &script->always_count) = (step_t){
      .method = method,
      .path = copy(path),
      .fn = fn,
      .user = user,
  };
}

size_t script_count(const script_t *script) {
  return script->request_count;
}

const script_request_t *script_request(const script_t *script, size_t i) {
  assert(i < script->request_count);
  return &script->requests[i];
}

size_t script_unused(const script_t *script) {
  size_t n = 0;
  for (size_t i = 0; i < script->step_count; i++) n += !script->steps[i].used;
  return n;
}

size_t script_parked(const script_t *script) {
  size_t n = 0;
  TINKER__LIST_EACH(it, tmp, &script->exchanges) n++;
  return n;
}

const char *script_surprise(const script_t *script) {
  return script->surprise[0] ? script->surprise : NULL;
}

void script_fail_submit(script_t *script, size_t n) {
  script->fail_in = n;
}

void script_free(script_t *script) {
  size_t n = kept(script);
  for (size_t i = 0; i < n; i++) free_request(&script->requests[i]);
  for (size_t i = 0; i < script->step_count; i++) free(script->steps[i].path);
  for (size_t i = 0; i < script->always_count; i++) {
    free(script->always[i].path);
  }
  free(script->requests);
  free(script->steps);
  free(script->always);
  free(script);
}
