#include "support/http_client.h"

#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

/* ---- the client ---- */

void http_client_open(http_client_t *c, const char *url) {
  http_client_open_on(c, url, tinker__loop_background);
}

void http_client_open_on(http_client_t *c, const char *url, http_loop_fn make) {
  char why[200] = "";
  tinker__curl_options_t options = {url, "tml-secret", "tinker-c/test"};
  tinker__mem_init(&c->mem, NULL, 0);
  atomic_init(&c->done, 0);
  atomic_init(&c->closed, 0);
  cr_assert_eq(make(&c->loop, &c->mem, tinker__world_real()), 0);
  cr_assert_eq(tinker__curl_new(&c->http, c->loop, &options, why, sizeof(why)),
               0, "%s", why);
}

static void on_closed(void *user) {
  http_client_t *c = user;
  atomic_fetch_add(&c->closed, 1);
  tinker__loop_notify(c->loop);
}

static void close_http(tinker__task_t *task) {
  http_client_t *c = TINKER__CONTAINER(task, http_client_t, close_task);
  tinker__http_close(c->http, on_closed, c);
}

static bool is_closed(void *user) {
  return atomic_load(&((http_client_t *)user)->closed) == 1;
}

void http_client_stop(http_client_t *c) {
  atomic_store(&c->closed, 0);
  tinker__task_init(&c->close_task, close_http);
  tinker__loop_post(c->loop, &c->close_task);
  cr_assert_eq(tinker__loop_wait(c->loop, is_closed, c, FAR_MS), 0);
}

void http_client_close(http_client_t *c) {
  http_client_stop(c);
  tinker__loop_close(c->loop, NULL, NULL);
  cr_assert_eq(atomic_load(&c->mem.live_blocks), 0);
}

/* ---- calls ---- */

void http_call_done(tinker__http_request_t *request,
                    tinker__http_reply_t *reply) {
  http_call_t *call = request->user;
  cr_assert_not(call->in_submit);
  cr_assert(tinker__loop_on_thread(call->client->loop));
  call->times++;
  call->reply = *reply;
  tinker__buf_init(&reply->body, reply->body.mem, reply->body.max); /* taken */
  atomic_fetch_add(&call->client->done, 1);
  atomic_store(&call->over, true);
  tinker__loop_notify(call->client->loop);
}

void http_call_submit(tinker__task_t *task) {
  http_call_t *call = TINKER__CONTAINER(task, http_call_t, submit);
  call->in_submit = true;
  call->submit_rc = tinker__http_submit(call->client->http, &call->request);
  call->in_submit = false;
  if (!call->submit_rc) return;
  atomic_store(&call->over, true);
  tinker__loop_notify(call->client->loop);
}

void http_call_cancel(tinker__task_t *task) {
  http_call_t *call = TINKER__CONTAINER(task, http_call_t, cancel);
  if (http_call_is_over(call)) return;
  tinker__http_cancel(call->client->http, &call->request);
}

void http_call_prepare(http_client_t *c, http_call_t *call,
                       tinker__http_request_t r) {
  memset(call, 0, sizeof(*call));
  call->client = c;
  call->request = r;
  call->request.user = call;
  call->request.done = http_call_done;
  if (!r.timeout_ms) call->request.timeout_ms = FAR_MS;
  if (!r.reply_max) call->request.reply_max = 1 << 20;
  tinker__task_init(&call->submit, http_call_submit);
  tinker__task_init(&call->cancel, http_call_cancel);
}

void http_call_begin(http_client_t *c, http_call_t *call,
                     tinker__http_request_t request) {
  http_call_prepare(c, call, request);
  tinker__loop_post(c->loop, &call->submit);
}

bool http_call_is_over(void *user) {
  return atomic_load(&((http_call_t *)user)->over);
}

typedef struct passing_s {
  tinker__task_t task;
  tinker__loop_t *loop;
  atomic_bool passed;
} passing_t;

static void on_passing(tinker__task_t *task) {
  passing_t *p = TINKER__CONTAINER(task, passing_t, task);
  tinker__loop_t *loop = p->loop;
  atomic_store(&p->passed, true); /* p may be gone now */
  tinker__loop_notify(loop);
}

static bool has_passed(void *user) {
  return atomic_load(&((passing_t *)user)->passed);
}

/* Waits until the loop's thread has run what was posted until now. */
static void let_pass(tinker__loop_t *loop) {
  passing_t p = {.loop = loop};
  tinker__task_init(&p.task, on_passing);
  tinker__loop_post(loop, &p.task);
  cr_assert_eq(tinker__loop_wait(loop, has_passed, &p, FAR_MS), 0);
}

void http_call_finish(http_call_t *call) {
  tinker__loop_t *loop = call->client->loop;
  cr_assert_eq(tinker__loop_wait(loop, http_call_is_over, call, FAR_MS), 0);
  let_pass(loop);
}

void http_call_end(http_call_t *call) {
  tinker__buf_free(&call->reply.body);
}

void http_expect(http_client_t *c, tinker__http_request_t request, int error,
                 int status, int sent) {
  http_call_t call;
  http_call_begin(c, &call, request);
  http_call_finish(&call);
  cr_assert_eq(call.submit_rc, 0);
  cr_assert_eq(call.times, 1);
  cr_assert_eq(call.reply.error, error, "%s: got %s, %s", request.path,
               tinker_code_name(call.reply.error), call.reply.detail);
  cr_assert_eq(call.reply.status, status, "%s", request.path);
  cr_assert_eq(call.reply.sent, sent, "%s", request.path);
  cr_assert_eq(error != 0, call.reply.detail[0] != '\0');
  http_call_end(&call);
}
