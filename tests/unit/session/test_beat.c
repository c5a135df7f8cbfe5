/* Heartbeats, in virtual time. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "bench.h"

static bench_t b;

typedef struct server_s {
  int beats;
  int from, to; /* beats in between fail */
  script_reply_t failure;
} server_t;

static server_t server;

static void beat(void *user, const script_request_t *request,
                 script_reply_t *reply) {
  server_t *s = user;
  int n = s->beats++;
  cr_assert_str_eq(request->body,
                   "{\"session_id\":\"s-1\",\"type\":\"session_heartbeat\"}");
  cr_assert_eq(request->lane, TINKER__LANE_CONTROL);
  if (n >= s->from && n < s->to) {
    *reply = s->failure;
  } else {
    reply->body = "{\"type\":\"session_heartbeat\"}";
  }
}

static void open_with(server_t s) {
  server = s;
  bench_open(&b, NULL);
  script_always(b.script, TINKER__HTTP_POST, BEAT, beat, &server);
  bench_start(&b);
}

Test(beat, it_beats_every_ten_seconds_after_the_first_ten) {
  open_with((server_t){0});
  int64_t born = b.fake.now_ms;
  fake_loop_advance(&b.fake, 9999);
  cr_assert_eq(server.beats, 0);
  fake_loop_advance(&b.fake, 100001);
  cr_assert_eq(server.beats, 11);
  for (size_t i = 0; i < 11; i++) {
    cr_assert_eq(script_request(b.script, 3 + i)->at_ms,
                 born + 10000 * (int64_t)(i + 1));
  }
  cr_assert_str_empty(b.events);
  bench_close(&b);
}

/* A reply that takes its time does not shift the beats after it. */
Test(beat, a_slow_answer_keeps_the_rhythm) {
  open_with((server_t){
      .from = 0, .to = 3, .failure = {.delay_ms = 4000, .body = "{}"}});
  fake_loop_advance(&b.fake, 60000);
  cr_assert_eq(server.beats, 6);
  bench_close(&b);
}

Test(beat, silence_of_two_minutes_is_said_once_and_its_end_too) {
  static const script_reply_t failures[] = {
      {.error = TINKER_ECONNECT},
      {.delay_ms = -1}, /* runs into the timeout of ten seconds */
      {.status = 500},
      {.status = 404},
      {.status = 410, .body = "<html>gone</html>"},   /* not the service's */
      {.status = 200, .body = "<html>log in</html>"}, /* a portal's */
  };
  for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
    open_with((server_t){.from = 2, .to = 30, .failure = failures[i]});
    /* The last confirmed beat is that of second 20. */
    fake_loop_advance(&b.fake, 140000);
    cr_assert_str_empty(b.events);
    fake_loop_advance(&b.fake, 20000);
    cr_assert_str_eq(b.events, "silent\n", "case %zu", i);
    fake_loop_advance(&b.fake, 200000);
    cr_assert_str_eq(b.events, "silent\nback\n", "case %zu", i);
    cr_assert_eq(server.beats, 36, "case %zu: %d", i, server.beats);
    cr_assert_not(tinker__session_ended(b.session));
    bench_close(&b);
  }
}

Test(beat, gone_means_ended) {
  probe_t p[2];
  open_with((server_t){
      .from = 1,
      .to = 9,
      .failure = {.status = 410, .body = "{\"detail\":\"finished\"}"}});
  fake_loop_advance(&b.fake, 20000);
  cr_assert_str_eq(b.events, "ended\n");
  cr_assert(tinker__session_ended(b.session));
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(server.beats, 2);
  bench_need(&b, &p[0], TINKER__NEED_SESSION);
  fake_loop_run(&b.fake);
  cr_assert_eq(p[0].times, 1);
  cr_assert_eq(p[0].code, TINKER_ESESSION);
  bench_need(&b, &p[1], TINKER__NEED_CONFIG);
  fake_loop_run(&b.fake);
  cr_assert_eq(p[1].code, 0); /* that is still known */
  bench_finish(&b, &p[0], NULL, 5000);
  fake_loop_run(&b.fake);
  cr_assert_eq(p[0].code, 0); /* nothing to tell any more */
  bench_close(&b);
}

/* The service's own 404, in a row or with silence in between, for two minutes.
 */
Test(beat, unknown_for_two_minutes_means_ended) {
  static const script_reply_t unknown = {
      .status = 404, .body = "{\"detail\":\"session not found\"}"};
  open_with((server_t){.from = 2, .to = 99, .failure = unknown});
  fake_loop_advance(&b.fake, 149999); /* the first is that of second 30 */
  cr_assert_not(tinker__session_ended(b.session));
  fake_loop_advance(&b.fake, 1);
  cr_assert(tinker__session_ended(b.session));
  cr_assert_str_eq(b.events, "unknown\nended\n");
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(server.beats, 15);
  bench_close(&b);
  open_with((server_t){.from = 2, .to = 14, .failure = unknown});
  fake_loop_advance(&b.fake, 30000); /* with the first one, and only once */
  cr_assert_str_eq(b.events, "unknown\n");
  fake_loop_advance(&b.fake, 600000);
  cr_assert_str_eq(b.events, "unknown\nback\n");
  cr_assert_not(tinker__session_ended(b.session));
  bench_close(&b);
}

static void say_ended(void *user) {
  tinker__session_set_ended(user);
}

Test(beat, whoever_learns_of_the_end_first_may_say_so) {
  open_with((server_t){0});
  fake_loop_advance(&b.fake, 10000);
  fake_loop_call(&b.fake, say_ended, b.session);
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(server.beats, 1);
  cr_assert_str_eq(b.events, "ended\n");
  bench_close(&b);
}

Test(beat, close_ends_a_beat_that_is_out) {
  open_with((server_t){.from = 0, .to = 9, .failure = {.delay_ms = -1}});
  fake_loop_advance(&b.fake, 15000);
  cr_assert_eq(script_parked(b.script), 1);
  bench_close(&b);
  cr_assert_str_empty(b.events);
}
