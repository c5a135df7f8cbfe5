/* The end of a session that the client brings about. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "bench.h"

static bench_t b;

Test(finish, without_a_session_nothing_is_sent) {
  probe_t p, late;
  bench_open(&b, NULL);
  bench_finish(&b, &p, NULL, 5000);
  fake_loop_advance(&b.fake, 0);
  cr_assert_eq(p.times, 1);
  cr_assert_eq(p.code, 0);
  bench_need(&b, &late, TINKER__NEED_SESSION);
  fake_loop_run(&b.fake);
  cr_assert_eq(late.code, TINKER_ESESSION);
  cr_assert_eq(script_count(b.script), 0);
  bench_close(&b);
}

Test(finish, the_service_is_told_once_and_heartbeats_stop) {
  probe_t p;
  bench_open(&b, NULL);
  bench_start(&b);
  script_expect(b.script, TINKER__HTTP_POST, FINISH,
                (script_reply_t){.body = ""});
  bench_finish(&b, &p, "it \"broke\"", 5000);
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(p.times, 1);
  cr_assert_eq(p.code, 0, "%s", p.text);
  cr_assert_eq(script_count(b.script), 4);
  const script_request_t *r = script_request(b.script, 3);
  cr_assert_str_eq(r->body, "{\"reason\":{\"type\":\"errored\"},"
                            "\"detail\":\"it \\\"broke\\\"\"}");
  cr_assert_not(r->numbered);
  cr_assert_eq(r->timeout_ms, 5000);
  cr_assert(tinker__session_ended(b.session));
  bench_close(&b);
}

Test(finish, detail_is_null_without_one_and_gone_is_good_enough) {
  probe_t p;
  bench_open(&b, NULL);
  bench_start(&b);
  script_expect(
      b.script, TINKER__HTTP_POST, FINISH,
      (script_reply_t){.status = 410, .body = "{\"detail\":\"finished\"}"});
  bench_finish(&b, &p, NULL, 5000);
  fake_loop_advance(&b.fake, 0);
  cr_assert_eq(p.code, 0, "%s", p.text);
  cr_assert_str_eq(script_request(b.script, 3)->body,
                   "{\"reason\":{\"type\":\"errored\"},\"detail\":null}");
  bench_close(&b);
}

Test(finish, it_waits_for_a_session_that_is_being_created) {
  probe_t p, waiting;
  bench_open(&b, NULL);
  bench_expect_config(&b);
  script_expect(
      b.script, TINKER__HTTP_POST, CREATE,
      (script_reply_t){.body = "{\"session_id\":\"s-1\"}", .delay_ms = 300});
  script_expect(b.script, TINKER__HTTP_POST, FINISH,
                (script_reply_t){.body = ""});
  bench_need(&b, &waiting, TINKER__NEED_SESSION);
  fake_loop_run(&b.fake);
  bench_finish(&b, &p, NULL, 5000);
  fake_loop_advance(&b.fake, 299);
  cr_assert_eq(p.times, 0);
  cr_assert_eq(waiting.code, TINKER_ESESSION);
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(p.times, 1);
  cr_assert_eq(p.code, 0, "%s", p.text);
  bench_close(&b);
}

Test(finish, it_ends_in_time_whatever_the_service_does) {
  static const script_reply_t silent = {.delay_ms = -1};
  for (int creating = 0; creating < 2; creating++) {
    probe_t p, waiting;
    bench_open(&b, NULL);
    if (creating) {
      bench_expect_config(&b);
      script_expect(b.script, TINKER__HTTP_POST, CREATE, silent);
      bench_need(&b, &waiting, TINKER__NEED_SESSION);
      fake_loop_run(&b.fake);
    } else {
      bench_start(&b);
      script_expect(b.script, TINKER__HTTP_POST, FINISH, silent);
    }
    bench_finish(&b, &p, NULL, 1500);
    fake_loop_advance(&b.fake, 1499);
    cr_assert_eq(p.times, 0);
    fake_loop_advance(&b.fake, 1);
    cr_assert_eq(p.times, 1);
    cr_assert_neq(p.code, 0);
    bench_close(&b);
  }
}

static void down(void *user, const script_request_t *request,
                 script_reply_t *reply) {
  (void)user;
  (void)request;
  reply->error = TINKER_ECONNECT;
}

Test(finish, attempts_stop_at_the_deadline) {
  probe_t p;
  bench_open(&b, NULL);
  bench_start(&b);
  script_always(b.script, TINKER__HTTP_POST, FINISH, down, NULL);
  bench_finish(&b, &p, NULL, 3000);
  fake_loop_advance(&b.fake, 3000);
  cr_assert_eq(p.times, 1);
  cr_assert_neq(p.code, 0);
  cr_assert_geq(script_count(b.script), 5); /* some attempts there were */
  bench_close(&b);
}
