/* bench: see the header. */
#include "bench.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

static void on_event(void *user, tinker__session_event_t event,
                     const char *text) {
  static const char *const names[] = {"silent", "unknown", "back", "ended"};
  bench_t *b = user;
  size_t used = strlen(b->events);
  cr_assert(tinker__loop_on_thread(&b->fake.base));
  snprintf(b->events + used, sizeof(b->events) - used, "%s\n",
           event >= TINKER__SESSION_TROUBLE ? text : names[event]);
}

int bench_open(bench_t *b, tinker__mem_t *mem) {
  static const char *const tags[] = {"one", "two"};
  memset(b, 0, sizeof(*b));
  tinker__mem_init(&b->own, NULL, 0);
  b->mem = mem ? mem : &b->own;
  fake_loop_init(&b->fake, b->mem);
  script_new(&b->script, &b->fake.base);
  tinker__session_options_t options = {
      .loop = &b->fake.base,
      .http = script_http(b->script),
      .mem = b->mem,
      .sdk_version = "0.1.0",
      .tags = tags,
      .tag_count = 2,
      .project_id = "p",
      .event = on_event,
      .user = b,
  };
  int rc = tinker__session_new(&b->session, &options);
  if (rc) script_free(b->script);
  return rc;
}

static void on_transport_closed(void *user) {
  ((bench_t *)user)->closed++;
}

static void on_session_closed(void *user) {
  bench_t *b = user;
  b->closed++;
  tinker__http_close(script_http(b->script), on_transport_closed, b);
}

static void close_session(void *user) {
  bench_t *b = user;
  tinker__session_close(b->session, on_session_closed, b);
}

void bench_close_quietly(bench_t *b) {
  fake_loop_call(&b->fake, close_session, b);
  fake_loop_run(&b->fake);
  cr_assert_eq(b->closed, 2);
  cr_assert(fake_loop_idle(&b->fake));
  script_free(b->script);
}

void bench_close(bench_t *b) {
  const char *surprise = script_surprise(b->script);
  cr_assert_null(surprise, "%s", surprise);
  cr_assert_eq(script_unused(b->script), 0);
  bench_close_quietly(b);
  cr_assert_eq(atomic_load(&b->own.live_blocks), 0);
}

void bench_expect_config(bench_t *b) {
  script_expect(b->script, TINKER__HTTP_POST, CONFIG,
                (script_reply_t){.body = "{\"fwdbwd_max_chunk_len\":7}"});
  script_expect(b->script, TINKER__HTTP_POST, DYNAMIC,
                (script_reply_t){.body = "{}"});
}

void bench_expect_session(bench_t *b) {
  bench_expect_config(b);
  script_expect(
      b->script, TINKER__HTTP_POST, CREATE,
      (script_reply_t){
          .body = "{\"type\":\"create_session\",\"session_id\":\"s-1\"}"});
}

/* ---- waiters ---- */

static void on_done(tinker__session_waiter_t *waiter,
                    const tinker_error_t *error) {
  probe_t *p = TINKER__CONTAINER(waiter, probe_t, waiter);
  cr_assert(tinker__loop_on_thread(&p->bench->fake.base));
  p->times++;
  p->code = tinker_error_code(error);
  p->status = tinker_error_http_status(error);
  p->unknown = (unsigned)tinker_error_outcome_is_unknown(error);
  snprintf(p->text, sizeof(p->text), "%s", tinker_error_message(error));
}

typedef struct order_s {
  bench_t *bench;
  probe_t *probe;
  tinker__session_need_t need;
  const char *detail;
  int64_t timeout_ms;
} order_t;

static void do_need(void *user) {
  order_t *o = user;
  tinker__session_need(o->bench->session, o->need, &o->probe->waiter);
}

static void do_forget(void *user) {
  order_t *o = user;
  tinker__session_forget(o->bench->session, &o->probe->waiter);
}

static void do_finish(void *user) {
  order_t *o = user;
  tinker__session_finish(o->bench->session, TINKER__FINISH_ERRORED, o->detail,
                         o->timeout_ms, o->timeout_ms, &o->probe->waiter);
}

static void prepare(bench_t *b, probe_t *p) {
  *p = (probe_t){.bench = b};
  tinker__session_waiter_init(&p->waiter, on_done);
}

void bench_need(bench_t *b, probe_t *p, tinker__session_need_t need) {
  order_t order = {.bench = b, .probe = p, .need = need};
  prepare(b, p);
  fake_loop_call(&b->fake, do_need, &order);
  cr_assert_eq(p->times, 0); /* never inside the call */
}

void bench_forget(bench_t *b, probe_t *p) {
  order_t order = {.bench = b, .probe = p};
  fake_loop_call(&b->fake, do_forget, &order);
}

void bench_finish(bench_t *b, probe_t *p, const char *detail,
                  int64_t timeout_ms) {
  order_t order = {
      .bench = b,
      .probe = p,
      .detail = detail,
      .timeout_ms = timeout_ms,
  };
  prepare(b, p);
  fake_loop_call(&b->fake, do_finish, &order);
  cr_assert_eq(p->times, 0);
}

void bench_start(bench_t *b) {
  probe_t p;
  bench_expect_session(b);
  bench_need(b, &p, TINKER__NEED_SESSION);
  fake_loop_run(&b->fake);
  cr_assert_eq(p.times, 1);
  cr_assert_eq(p.code, 0, "%s", p.text);
}
