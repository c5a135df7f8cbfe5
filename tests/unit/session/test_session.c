/* Start-up: the order of requests, what is sent, what each failure does. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "bench.h"
#include "support/fail_alloc.h"
#include "wire/messages.h"

static bench_t b;

/* ---- the good way ---- */

Test(session, config_then_dynamic_then_session_each_when_needed) {
  probe_t p[3];
  bench_open(&b, NULL);
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(script_count(b.script), 0); /* nothing by itself */
  cr_assert_null(tinker__session_config(b.session));
  bench_expect_config(&b);
  bench_need(&b, &p[0], TINKER__NEED_CONFIG);
  fake_loop_run(&b.fake);
  cr_assert_eq(p[0].times, 1);
  cr_assert_eq(p[0].code, 0, "%s", p[0].text);
  cr_assert_eq(script_count(b.script), 2);
  cr_assert_str_eq(script_request(b.script, 0)->path, CONFIG);
  cr_assert_str_eq(script_request(b.script, 0)->body,
                   "{\"sdk_version\":\"0.1.0\"}");
  cr_assert_str_eq(script_request(b.script, 1)->path, DYNAMIC);
  cr_assert_eq(script_request(b.script, 1)->timeout_ms, 10000);
  const tinker__client_config_t *c = tinker__session_config(b.session);
  cr_assert_eq(c->fwdbwd_max_chunk_len, 7);
  cr_assert_eq(c->fwdbwd_max_chunk_bytes, 5000000);
  cr_assert_null(tinker__session_id(b.session));
  fake_loop_advance(&b.fake, 100000);
  cr_assert_eq(script_count(b.script), 2); /* no heartbeat without session */

  script_expect(
      b.script, TINKER__HTTP_POST, CREATE,
      (script_reply_t){.body =
                           "{\"session_id\":\"s-1\",\"info_message\":\"hello\","
                           "\"warning_message\":null}"});
  bench_need(&b, &p[1], TINKER__NEED_SESSION);
  bench_need(&b, &p[2], TINKER__NEED_CONFIG);
  fake_loop_run(&b.fake);
  cr_assert_eq(p[1].times, 1);
  cr_assert_eq(p[2].times, 1);
  cr_assert_eq(p[1].code, 0, "%s", p[1].text);
  cr_assert_str_eq(tinker__session_id(b.session), "s-1");
  cr_assert_str_eq(b.events, "info of the service: hello\n");
  const script_request_t *r = script_request(b.script, 2);
  cr_assert_str_eq(r->path, CREATE);
  cr_assert_not(r->numbered);
  cr_assert_eq(r->lane, TINKER__LANE_CONTROL);
  cr_assert_not_null(strstr(r->body, "\"tags\":[\"one\",\"two\"]"));
  cr_assert_not_null(strstr(r->body, "\"user_metadata\":{}"));
  cr_assert_not_null(strstr(r->body, "\"project_id\":\"p\""));
  cr_assert_null(strstr(r->body, "display_name"));
  cr_assert_not_null(strstr(r->body, "\"type\":\"create_session\""));
  for (int64_t i = 0; i < 3; i++) {
    cr_assert_eq(tinker__session_next_model_seq(b.session), i);
    cr_assert_eq(tinker__session_next_sampling_seq(b.session), i);
  }
  bench_close(&b);
}

Test(session, many_who_wait_cost_one_start) {
  probe_t p[50];
  bench_open(&b, NULL);
  bench_expect_session(&b);
  for (int i = 0; i < 50; i++) {
    bench_need(&b, &p[i], i % 2 ? TINKER__NEED_SESSION : TINKER__NEED_CONFIG);
  }
  bench_forget(&b, &p[7]);
  fake_loop_run(&b.fake);
  for (int i = 0; i < 50; i++) {
    cr_assert_eq(p[i].times, i == 7 ? 0 : 1);
    cr_assert_eq(p[i].code, 0);
  }
  bench_forget(&b, &p[8]); /* harmless afterwards */
  bench_close(&b);
}

Test(session, a_server_without_dynamic_config_is_good_enough) {
  static const char *const bodies[] = {"{\"detail\":\"Not Found\"}",
                                       "404 page not found"};
  for (size_t i = 0; i < 2; i++) {
    probe_t p;
    bench_open(&b, NULL);
    script_expect(b.script, TINKER__HTTP_POST, CONFIG,
                  (script_reply_t){.body = "{}"});
    script_expect(b.script, TINKER__HTTP_POST, DYNAMIC,
                  (script_reply_t){.status = 404, .body = bodies[i]});
    bench_need(&b, &p, TINKER__NEED_CONFIG);
    fake_loop_run(&b.fake);
    cr_assert_eq(p.times, 1);
    cr_assert_eq(p.code, 0, "%s", p.text);
    bench_close(&b);
  }
}

/* The start goes on when the proxy in between has had its say. */
Test(session, a_page_with_a_refusal_is_not_the_services) {
  static const int pages[] = {401, 403, 404, 410};
  for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
    probe_t p;
    bench_open(&b, NULL);
    script_expect(
        b.script, TINKER__HTTP_POST, CONFIG,
        (script_reply_t){.status = pages[i], .body = "<html>blocked</html>"});
    bench_expect_session(&b);
    bench_need(&b, &p, TINKER__NEED_SESSION);
    fake_loop_advance(&b.fake, 5000);
    cr_assert(p.times == 1 && p.code == 0, "%d: %s", pages[i], p.text);
    cr_assert(strstr(b.events, "something between here and the server"));
    cr_assert(strstr(b.events, "<html>blocked</html>"));
    bench_close(&b);
  }
}

/* ---- failures of the configuration ---- */

typedef struct bad_s {
  script_reply_t reply;
  int code, status;
  const char *text;
} bad_t;

static const bad_t bad_configs[] = {
    {{.status = 401, .body = "{\"detail\":\"no such key\"}"},
     TINKER_EAUTH,
     401,
     "client/config: the server answered 401: no such key"},
    {{.status = 404, .body = "{\"detail\":\"Not Found\"}"},
     TINKER_ENOTSUP,
     404,
     "client/config"},
    {{.body = "[]"}, TINKER_EPROTO, 200, "client/config"},
    {{.body = "{\"fwdbwd_max_chunk_len\":0}"},
     TINKER_EPROTO,
     0,
     "fwdbwd_max_chunk_len: must be 1 to 9223372036854775807, not 0"},
    {{.body = "{\"fwdbwd_max_chunk_bytes_count\":-1}"},
     TINKER_EPROTO,
     0,
     "fwdbwd_max_chunk_bytes_count: must be 1 to"},
    {{.body = "{\"sample_dispatch_bytes_semaphore_size\":-2}"},
     TINKER_EPROTO,
     0,
     "sample_dispatch_bytes_semaphore_size: must be 0 to "
     "9223372036854775807, not -2"},
    {{.body = "{\"inflight_response_bytes_semaphore_size\":-2}"},
     TINKER_EPROTO,
     0,
     "inflight_response_bytes_semaphore_size: must be 0 to"},
    {{.body = "{\"fwdbwd_dispatch_bytes_semaphore_size\":-2}"},
     TINKER_EPROTO,
     0,
     "fwdbwd_dispatch_bytes_semaphore_size: must be 0 to"},
    {{.body = "{\"sample_max_concurrent_requests\":-2}"},
     TINKER_EPROTO,
     0,
     "sample_max_concurrent_requests: must be 0 to"},
    {{.body = "{\"fwdbwd_max_chunk_len\":\"a\"}"},
     TINKER_EPROTO,
     200,
     "fwdbwd_max_chunk_len"},
    {{.body = "{\"billing_exception_max_pause_duration_sec\":"
              "9223372036854775807}"},
     TINKER_EPROTO,
     0,
     "billing_exception_max_pause_duration_sec: must be 0 to "
     "9223372036854775, not 9223372036854775807"},
    {{.body = "{\"pjwt_auth_enabled\":true}"},
     TINKER_ENOTSUP,
     0,
     "pjwt_auth_enabled"},
    {{.error = TINKER_ETLS}, TINKER_ETLS, 0, "client/config"},
};

Test(session, a_bad_configuration_fails_all_and_the_next_one_tries_again) {
  for (size_t i = 0; i < sizeof(bad_configs) / sizeof(*bad_configs); i++) {
    const bad_t *bad = &bad_configs[i];
    probe_t p[3];
    bench_open(&b, NULL);
    script_expect(b.script, TINKER__HTTP_POST, CONFIG, bad->reply);
    bench_need(&b, &p[0], TINKER__NEED_SESSION);
    bench_need(&b, &p[1], TINKER__NEED_CONFIG);
    fake_loop_run(&b.fake);
    for (int k = 0; k < 2; k++) {
      cr_assert_eq(p[k].times, 1, "case %zu", i);
      cr_assert_eq(p[k].code, bad->code, "case %zu: %s", i, p[k].text);
      cr_assert_eq(p[k].status, bad->status, "case %zu", i);
      cr_assert_not_null(strstr(p[k].text, bad->text), "%s", p[k].text);
    }
    cr_assert_null(tinker__session_config(b.session));
    bench_expect_session(&b);
    bench_need(&b, &p[2], TINKER__NEED_SESSION);
    fake_loop_run(&b.fake);
    cr_assert_eq(p[2].code, 0, "%s", p[2].text);
    bench_close(&b);
  }
}

static void always_down(void *user, const script_request_t *request,
                        script_reply_t *reply) {
  (void)user;
  (void)request;
  reply->status = 503;
}

/* The official loop gives up after 300 seconds; so do we, with pauses that
 * never shrink below 250 ms. */
Test(session, a_server_that_is_down_is_asked_for_five_minutes) {
  probe_t p;
  bench_open(&b, NULL);
  script_always(b.script, TINKER__HTTP_POST, CONFIG, always_down, NULL);
  bench_need(&b, &p, TINKER__NEED_CONFIG);
  fake_loop_advance(&b.fake, 299000);
  cr_assert_eq(p.times, 0);
  fake_loop_advance(&b.fake, 21000);
  cr_assert_eq(p.times, 1);
  cr_assert_eq(p.code, TINKER_ESERVER);
  cr_assert_eq(p.status, 503);
  size_t n = script_count(b.script);
  cr_assert(n > 15 && n < 40, "%zu attempts", n);
  for (size_t i = 1; i < n; i++) {
    int64_t pause = script_request(b.script, i)->at_ms -
                    script_request(b.script, i - 1)->at_ms;
    cr_assert_geq(pause, 250);
  }
  cr_assert_not_null(strstr(b.events, "trying again"));
  cr_assert_eq(strchr(b.events, '\n')[1], '\0'); /* said once */
  bench_close(&b);
}

static void always_a_page(void *user, const script_request_t *request,
                          script_reply_t *reply) {
  (void)request;
  reply->status = *(const int *)user;
  reply->body = "<html>nothing here</html>";
  reply->content_type = "text/html";
}

/* Whoever answers there is not the service, and a wrong address does not heal:
 * ten seconds, not five minutes. */
Test(session, a_wrong_address_is_not_waited_for) {
  static const int statuses[] = {200, 302, 403, 404, 405};
  for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
    probe_t p;
    int status = statuses[i];
    bench_open(&b, NULL);
    script_always(b.script, TINKER__HTTP_POST, CONFIG, always_a_page, &status);
    bench_need(&b, &p, TINKER__NEED_SESSION);
    fake_loop_advance(&b.fake, 9000);
    cr_assert_eq(p.times, 0);
    fake_loop_advance(&b.fake, 21000);
    cr_assert_eq(p.times, 1);
    cr_assert(p.code == TINKER_EPROTO && p.status == status, "%s", p.text);
    cr_assert(strstr(p.text, "does the base URL name the service?"));
    bench_close(&b);
  }
}

/* At the first contact the certificate is wrong for good. Once the service was
 * there, it is being replaced. */
Test(session, trust_is_waited_for_only_after_the_first_contact) {
  probe_t p;
  bench_open(&b, NULL);
  bench_expect_config(&b);
  for (int i = 0; i < 3; i++) {
    script_expect(b.script, TINKER__HTTP_POST, CREATE,
                  (script_reply_t){.error = TINKER_ETLS});
  }
  script_expect(b.script, TINKER__HTTP_POST, CREATE,
                (script_reply_t){.body = "{\"session_id\":\"s-1\"}"});
  bench_need(&b, &p, TINKER__NEED_SESSION);
  fake_loop_run(&b.fake);
  cr_assert_eq(p.times, 0);
  fake_loop_advance(&b.fake, 9000);
  cr_assert(p.times == 1 && p.code == 0, "%s", p.text);
  bench_close(&b);
}

/* ---- create_session carries no number ---- */

Test(session, create_session_is_repeated_only_if_nothing_was_sent) {
  static const script_reply_t lost[] = {
      {.error = TINKER_ETRANSPORT, .sent = true},
      {.error = TINKER_ETIMEDOUT, .sent = true},
      {.status = 500},
      {.status = 408},
  };
  for (size_t i = 0; i < sizeof(lost) / sizeof(*lost); i++) {
    probe_t p;
    bench_open(&b, NULL);
    bench_expect_config(&b);
    script_expect(b.script, TINKER__HTTP_POST, CREATE,
                  (script_reply_t){.error = TINKER_ECONNECT});
    script_expect(b.script, TINKER__HTTP_POST, CREATE, lost[i]);
    bench_need(&b, &p, TINKER__NEED_SESSION);
    fake_loop_advance(&b.fake, 60000);
    cr_assert_eq(p.times, 1);
    cr_assert_neq(p.code, 0);
    cr_assert(p.unknown, "case %zu: %s", i, p.text);
    cr_assert_eq(script_count(b.script), 4);
    cr_assert_str_eq(script_request(b.script, 2)->idempotency_key,
                     script_request(b.script, 3)->idempotency_key);
    /* Whoever comes next tries anew, under another key. */
    script_expect(b.script, TINKER__HTTP_POST, CREATE,
                  (script_reply_t){.body = "{\"session_id\":\"s-1\"}"});
    bench_need(&b, &p, TINKER__NEED_SESSION);
    fake_loop_run(&b.fake);
    cr_assert_eq(p.code, 0, "%s", p.text);
    cr_assert_str_neq(script_request(b.script, 3)->idempotency_key,
                      script_request(b.script, 4)->idempotency_key);
    bench_close(&b);
  }
}

Test(session, an_id_that_no_path_may_hold_is_refused) {
  static const char *const bodies[] = {
      "{}",
      "{\"session_id\":\"\"}",
      "{\"session_id\":\"a/b\"}",
      "{\"session_id\":\"..\"}",
      "{\"session_id\":\".\"}",
      "{\"session_id\":\"a b\"}",
      "{\"session_id\":\"caf\303\251\"}",
      "{\"session_id\":\"a%2f\"}",
      "{\"session_id\":17}",
  };
  for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
    probe_t p;
    bench_open(&b, NULL);
    bench_expect_config(&b);
    script_expect(b.script, TINKER__HTTP_POST, CREATE,
                  (script_reply_t){.body = bodies[i]});
    bench_need(&b, &p, TINKER__NEED_SESSION);
    fake_loop_run(&b.fake);
    cr_assert_eq(p.code, TINKER_EPROTO, "%s", bodies[i]);
    cr_assert_not_null(strstr(p.text, "session_id"), "%s", p.text);
    bench_close(&b);
  }
}

/* ---- close at every moment ---- */

Test(session, close_ends_all_who_wait_at_any_moment) {
  for (int moment = 0; moment < 4; moment++) {
    static const char *const stuck[] = {CONFIG, DYNAMIC, CREATE};
    probe_t p;
    bench_open(&b, NULL);
    for (int i = 0; i < 3; i++) {
      script_reply_t reply = {.body = "{}"};
      if (i == moment) reply.delay_ms = -1;
      if (i <= moment) {
        script_expect(b.script, TINKER__HTTP_POST, stuck[i], reply);
      }
    }
    if (moment == 3) { /* between two attempts */
      script_expect(b.script, TINKER__HTTP_POST, CONFIG,
                    (script_reply_t){.status = 500});
      script_expect(b.script, TINKER__HTTP_POST, CONFIG,
                    (script_reply_t){.status = 500});
    }
    bench_need(&b, &p, TINKER__NEED_SESSION);
    if (moment < 3) {
      fake_loop_run(&b.fake);
      cr_assert_eq(script_parked(b.script), 1);
    }
    bench_close_quietly(&b);
    cr_assert_eq(p.times, 1);
    cr_assert(p.code == TINKER_ECLOSED || p.code == TINKER_ECANCELED);
    cr_assert_eq(atomic_load(&b.own.live_blocks), 0);
  }
}

/* ---- memory ---- */

static int start_once(tinker__mem_t *mem, void *user) {
  probe_t p;
  (void)user;
  int rc = bench_open(&b, mem);
  if (rc) return rc;
  bench_expect_session(&b);
  bench_need(&b, &p, TINKER__NEED_SESSION);
  fake_loop_advance(&b.fake, 5000);
  rc = p.times == 1 ? p.code : TINKER_ESTATE;
  bench_close_quietly(&b);
  return rc;
}

Test(session, every_failed_allocation_is_survived) {
  cr_assert_geq(tinker__fail_sweep(start_once, NULL, TINKER_ENOMEM), 8);
}
