/* What goes wrong on the wire, and what follows from it. */
#include "faults.h"

static bool same_bytes(const script_request_t *a, const script_request_t *b) {
  return a && b && a->body_len == b->body_len &&
         !memcmp(a->body, b->body, a->body_len);
}

/* Whatever the failure: the same bytes again, later, and one result. */
Test(faults, numbered_again_byte_for_byte) {
  static const script_reply_t failures[] = {
      {.error = TINKER_ETRANSPORT, .sent = true},
      {.error = TINKER_ECONNECT},
      {.error = TINKER_ETIMEDOUT, .sent = true},
      {.status = 503, .body = "down"},
      {.status = 408},
      {.status = 429, .retry_after_ms = 3000},
      {.status = 400},
      {.status = 402},
      {.status = 402, .body = "{\"detail\":\"blocked\"}"},
      {.status = 403, .body = "<html>blocked by proxy</html>"},
      {.status = 404, .body = "404 page not found"},
      {.status = 407},
      {.status = 410, .body = "<html>gone</html>"},
      {.status = 418, .body = "[\"tea\"]"},
      {.status = 422, .body = "{\"errors\":[{\"code\":7}]}"},
      {.status = 451, .body = "{\"detail\":\"cut"},
      {.body = "<html>log in</html>", .content_type = "text/html"},
      {.status = 302},
      {.status = 409, .body = "{\"detail\":\"busy\"}"}};
  for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
    rig_t rig;
    tinker_trainer_t *t;
    seen_t seen = {.rig = &rig};
    start(&rig, &t);
    tinker_datum_t **batch = rig_batch(2, 5);
    script_expect(rig.script, TINKER__HTTP_POST, FB, failures[i]);
    cr_assert_eq(
        calls_begun(tinker_trainer_forward_backward(
                        t, batch, 2, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
                    NULL),
        0);
    rig_run(&rig);
    cr_assert(rig_count(&rig, FB) == 1 && seen.calls == 0, "%zu", i);
    fake_loop_advance(&rig.loop, 10000);
    cr_assert(seen.calls == 1 && seen.status == 0, "%zu: %d", i, seen.status);
    cr_assert(same_bytes(rig_request(&rig, FB, 0), rig_request(&rig, FB, 1)));
    cr_assert_geq(rig_request(&rig, FB, 1)->at_ms -
                      rig_request(&rig, FB, 0)->at_ms,
                  failures[i].retry_after_ms ? 3000 : 250);
    rig_batch_free(batch, 2);
    end(&rig, t);
  }
}

Test(faults, without_number_not_again) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_trainer_options_t o;
  tinker_future_t *f;
  start(&rig, &t);
  size_t before = rig_count(&rig, CREATE);
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  script_expect(rig.script, TINKER__HTTP_POST, CREATE,
                (script_reply_t){.error = TINKER_ETRANSPORT, .sent = true});
  calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f);
  const tinker_error_t *e = ended(&rig, f, TINKER_ETRANSPORT);
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert(!tinker_error_is_retriable(e));
  cr_assert_eq(rig_count(&rig, CREATE), before + 1);
  tinker_future_release(f);

  script_expect(rig.script, TINKER__HTTP_POST, CREATE,
                (script_reply_t){.status = 503, .body = "x"});
  calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f);
  e = ended(&rig, f, TINKER_ESERVER);
  cr_assert(tinker_error_outcome_is_unknown(e) &&
            tinker_error_http_status(e) == 503);
  cr_assert_eq(rig_count(&rig, CREATE), before + 2);
  tinker_future_release(f);

  script_expect(rig.script, TINKER__HTTP_POST, CREATE,
                (script_reply_t){.error = TINKER_ECONNECT});
  calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  cr_assert_eq(rig_count(&rig, CREATE), before + 4);
  tinker_future_release(f);
  end(&rig, t);
}

/* A rejected request consumes its number (protocol 20.2). */
Test(faults, rejected_number_is_used) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.status = 422, .body = "{\"detail\":\"bad beta1\"}"});
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  const tinker_error_t *e = ended(&rig, f, TINKER_EREJECTED);
  cr_assert(strstr(tinker_error_message(e), "optim_step (seq_id 1)"));
  cr_assert(strstr(tinker_error_message(e), "bad beta1"));
  cr_assert(!tinker_error_is_fatal(e) && !tinker_error_outcome_is_unknown(e));
  tinker_future_release(f);
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 1)), 2);
  tinker_future_release(f);
  end(&rig, t);
}

/* A proxy that refuses for longer than the budget: the number is not there, so
 * the trainer is done, and the error shows whose word that was. */
Test(faults, page_to_the_end) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  for (int i = 0; i < 60; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                  (script_reply_t){.status = 403,
                                   .body = "<html>blocked by proxy</html>"});
  }
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  const tinker_error_t *e = ended(&rig, f, TINKER_EPROTO);
  cr_assert(tinker_error_is_fatal(e) && tinker_error_outcome_is_unknown(e));
  cr_assert_eq(tinker_error_http_status(e), 403);
  cr_assert(strstr(tinker_error_message(e),
                   "something between here and the server answered 403: "
                   "<html>blocked by proxy</html>"),
            "%s", tinker_error_message(e));
  tinker_future_release(f);
  end(&rig, t);
}

/* Something in between speaks like the service: the number did not arrive, as
 * the service's next word shows. Who waits is told at once. */
Test(faults, refused_number_is_missed) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  seen_t seen = {0};
  start(&rig, &t);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.status = 403, .body = DETAIL("blocked")});
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  rig_run(&rig);
  cr_assert_eq(seen.status, TINKER_EREJECTED);
  expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("1")});
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  calls_begun(tinker_trainer_save_state(t, "a", NULL,
                                        CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("1")});
  rig_run(&rig); /* no time passes */
  const tinker_error_t *e = ended(&rig, f, TINKER_EFATAL);
  cr_assert(tinker_error_is_fatal(e) && tinker_error_needs_recovery(e));
  cr_assert(strstr(tinker_error_message(e),
                   "optim_step (seq_id 2): the server waits for seq_id 1, "
                   "whose request was refused"),
            "%s", tinker_error_message(e));
  cr_assert(seen.calls == 2 && seen.status == TINKER_EFATAL);
  tinker_future_release(f);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f),
               TINKER_EFATAL);
  end(&rig, t);
}

/* Numbers that are not given up, or that a result has passed, are waited for.
 */
Test(faults, number_on_its_way_is_no_gap) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.status = 422, .body = DETAIL("beta1")});
  cr_assert_eq(step(&rig, t, &f), TINKER_EREJECTED);
  tinker_future_release(f);
  expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("7")});
  expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("1 soon")});
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);
  expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("1")});
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);
  end(&rig, t);
}

/* A result that is there is not waited for, unless another reply has overtaken
 * the one that says so. */
Test(faults, server_that_loses_count) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);
  for (int i = 0; i < 3; i++) {
    expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("1")});
  }
  cr_assert_eq(step(&rig, t, &f), TINKER_EFATAL);
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert(tinker_error_needs_recovery(e) &&
            tinker_error_outcome_is_unknown(e));
  cr_assert(strstr(tinker_error_message(e), "waits for seq_id 1, which is not "
                                            "sent any more"),
            "%s", tinker_error_message(e));
  tinker_future_release(f);
  end(&rig, t);
}

static void expect_conflicts(rig_t *rig, const char *body, int n) {
  for (int i = 0; i < n; i++) {
    script_expect(rig->script, TINKER__HTTP_POST, OPTIM,
                  (script_reply_t){.status = 409, .body = body});
  }
}

/* F09 */
Test(faults, server_that_expects_a_number_again) {
  static const struct {
    const char *body;
    int replies;
  } rows[] = {{DETAIL("expected 1, got 2"), 3},
              {DETAIL("expected 9, got 2"), 1}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    rig_t rig;
    tinker_trainer_t *t;
    tinker_future_t *f;
    start(&rig, &t);
    cr_assert_eq(step(&rig, t, &f), 0);
    tinker_future_release(f);
    expect_conflicts(&rig, rows[i].body, rows[i].replies);
    cr_assert_eq(step(&rig, t, &f), TINKER_EREJECTED);
    const tinker_error_t *e = tinker_future_error(f);
    cr_assert(tinker_error_is_fatal(e) && tinker_error_needs_recovery(e));
    tinker_future_release(f);
    end(&rig, t);
  }
}

/* A request that is overtaken by the next one is no loss. */
Test(faults, server_that_expects_a_number_that_is_on_its_way) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  tinker_datum_t **batch = rig_batch(2, 5);
  calls_begun(tinker_trainer_forward_backward(t, batch, 2, NULL, NULL), &f);
  expect_poll(&rig,
              (script_reply_t){.body = WAITS_FOR("0"), .delay_ms = 60000});
  tinker_future_t *next;
  expect_conflicts(&rig, DETAIL("expected 1, got 2"), 4);
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &next);
  cr_assert_eq(tinker_future_wait(next, 4000000), 0);
  cr_assert_eq(tinker_future_wait(f, 4000000), 0);
  tinker_future_release(next);
  tinker_future_release(f);
  rig_batch_free(batch, 2);
  end(&rig, t);
}

/* A number that can't be delivered ends the trainer: the queue fails, later
 * calls are refused, other trainers go on. */
Test(faults, fatal_trainer) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen[3] = {{0}};
  tinker_future_t *f;
  start(&rig, &t);
  for (int i = 0; i < 60; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, SAVE,
                  (script_reply_t){.status = 503, .body = "down"});
  }
  calls_begun(tinker_trainer_save_state(t, "a", NULL, NULL), &f);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen[0])),
      NULL);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen[1])),
      NULL);
  const tinker_error_t *e = ended(&rig, f, TINKER_ESERVER);
  cr_assert(tinker_error_is_fatal(e) && tinker_error_outcome_is_unknown(e));
  cr_assert(tinker_error_needs_recovery(e));
  rig_run(&rig);
  cr_assert(seen[0].calls == 1 && seen[0].status == TINKER_EFATAL);
  cr_assert(seen[1].calls == 1 && seen[1].status == TINKER_EFATAL);
  cr_assert_eq(rig_count(&rig, OPTIM), 0u);
  cr_assert_lt(rig_count(&rig, SAVE), 60u);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(
                               t, NULL, CALLS_WITH(NULL, rig_seen, &seen[2])),
                           NULL),
               TINKER_EFATAL);
  rig_run(&rig);
  cr_assert(seen[2].calls == 1 && seen[2].status == TINKER_EFATAL);
  tinker_future_release(f);
  tinker_trainer_t *u = rig_trainer(&rig);
  calls_begun(
      tinker_trainer_optim_step(u, NULL, CALLS_WITH(NULL, rig_seen, &seen[2])),
      NULL);
  rig_run(&rig);
  cr_assert(seen[2].calls == 2 && seen[2].status == 0);
  tinker_trainer_release(u);
  end(&rig, t);
}

/* One of three chunks is rejected: the others are still sent, the error says
 * that part of it may have been applied, and which examples are meant. */
Test(faults, one_chunk_rejected) {
  rig_t rig;
  tinker_future_t *f;
  rig_init(&rig, "{\"fwdbwd_max_chunk_len\":1}");
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(3, 3);
  script_expect(rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.status = 422, .body = DETAIL("no")});
  calls_begun(tinker_trainer_forward_backward(t, batch, 3, NULL, NULL), &f);
  const tinker_error_t *e = ended(&rig, f, TINKER_EREJECTED);
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert_str_eq(tinker_error_message(e),
                   "forward_backward (seq_id 2, whose data[0] is data[1] of "
                   "the call): the server answered 422: no");
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, FB), 3u);
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 2)), 1);
  tinker_future_release(f);
  /* A part of the step is summed: nothing moves the weights by it. */
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  e = ended(&rig, f, TINKER_ESTATE);
  cr_assert(tinker_error_needs_recovery(e));
  cr_assert_eq(rig_count(&rig, OPTIM), 0u);
  tinker_future_release(f);
  calls_begun(tinker_trainer_create_sampler(t, NULL), &f);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  tinker_future_release(f);
  rig_batch_free(batch, 3);
  end(&rig, t);
}

/* A forward_backward that was refused at once lacks in its step, too: a program
 * that looks at its futures later moves no weight by momentum alone. */
Test(faults, a_refused_call_lacks_in_its_step) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  tinker_datum_t **batch = rig_batch(1, 3);
  calls_begun(tinker_trainer_forward_backward(t, batch, 0, NULL, NULL), &f);
  tinker_future_release(f);
  for (int good = 0; good < 2; good++) {
    calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
    if (good) {
      cr_assert_eq(tinker_future_wait(f, 60000), 0);
    } else {
      ended(&rig, f, TINKER_ESTATE);
      cr_assert_eq(rig_count(&rig, OPTIM), 0u);
    }
    tinker_future_release(f);
    calls_begun(tinker_trainer_forward_backward(t, batch, 1, NULL, NULL), &f);
    cr_assert_eq(tinker_future_wait(f, 60000), 0);
    tinker_future_release(f);
  }
  cr_assert_eq(rig_count(&rig, OPTIM), 1u);
  rig_batch_free(batch, 1);
  end(&rig, t);
}

Test(faults, polls_that_go_on) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  size_t at = rig_count(&rig, RETRIEVE);
  static const script_reply_t replies[] = {
      {.body = "{\"type\":\"try_again\",\"request_id\":\"x\","
               "\"queue_state\":\"active\"}"},
      {.body = "{\"type\":\"try_again\",\"request_id\":\"x\"}",
       .delay_ms = 30000},
      {.status = 408},
      {.status = 500, .body = "x"},
      {.status = 429, .body = "x"},
      {.status = 402, .body = DETAIL("x")},
      {.status = 400, .body = DETAIL("x")},
      {.status = 400, .body = "x"},
      {.status = 403, .body = "<html>blocked</html>"},
      {.status = 404},
      {.status = 410, .body = "<html>gone</html>"},
      {.error = TINKER_ETRANSPORT, .sent = true},
      {.error = TINKER_ECONNECT},
      {.delay_ms = -1}};
  size_t n = sizeof replies / sizeof replies[0];
  for (size_t i = 0; i < n; i++) expect_poll(&rig, replies[i]);
  cr_assert_eq(step(&rig, t, &f), 0);
  cr_assert_eq(rig_count(&rig, RETRIEVE), at + n + 1);
  for (size_t i = 0; i < n; i++) {
    int64_t gap = rig_request(&rig, RETRIEVE, at + i + 1)->at_ms -
                  rig_request(&rig, RETRIEVE, at + i)->at_ms;
    cr_assert_geq(gap, 100, "%zu: %lld", i, (long long)gap);
  }
  cr_assert_eq(rig_request(&rig, RETRIEVE, at + 2)->at_ms -
                   rig_request(&rig, RETRIEVE, at + 1)->at_ms,
               30000); /* a poll that was held is repeated at once */
  const script_request_t *q = rig_request(&rig, RETRIEVE, at + 3);
  cr_assert(strstr(q->headers, "X-Tinker-Request-Type: OptimStep\n"));
  cr_assert(strstr(q->headers, "X-Tinker-Request-Iteration: 3\n"));
  cr_assert(strstr(q->body, "\"allow_metadata_only\":true"));
  tinker_future_release(f);
  end(&rig, t);
}

Test(faults, polls_that_end) {
  static const struct {
    script_reply_t reply;
    int times, code, unknown;
    tinker_category_t category;
    const char *text;
  } cases[] = {
      {{.status = 410, .body = DETAIL("gone")}, 1, TINKER_ELOST, 1, 2, "gone"},
      {{.status = 404, .body = DETAIL("x")}, 1, TINKER_ELOST, 1, 2, "404"},
      {{.status = 401, .body = DETAIL("x")}, 1, TINKER_EAUTH, 1, 1, "401"},
      {{.status = 400, .body = DETAIL("bad")},
       4,
       TINKER_EREJECTED,
       1,
       1,
       "bad"},
      {{.body = "no json"}, 1, TINKER_EPROTO, 1, 0, ""},
      {{.body = "{\"error\":\"NaN in q\",\"category\":\"user\"}"},
       1,
       TINKER_ESERVER,
       0,
       TINKER_CATEGORY_USER,
       "NaN in q"},
      {{.body = "{\"error\":\"boom\",\"category\":\"server\"}"},
       1,
       TINKER_ESERVER,
       0,
       TINKER_CATEGORY_SERVER,
       "boom"},
      {{.body = "{\"error\":\"?\"}"},
       1,
       TINKER_ESERVER,
       0,
       TINKER_CATEGORY_UNKNOWN,
       "?"},
      {{.body = "{\"metrics\":5}"}, 1, TINKER_EPROTO, 1, 0, "metrics"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    rig_t rig;
    tinker_trainer_t *t;
    tinker_future_t *f;
    start(&rig, &t);
    for (int k = 0; k < cases[i].times; k++) expect_poll(&rig, cases[i].reply);
    cr_assert_eq(step(&rig, t, &f), cases[i].code, "%zu", i);
    const tinker_error_t *e = tinker_future_error(f);
    cr_assert_eq(tinker_error_outcome_is_unknown(e), cases[i].unknown, "%zu",
                 i);
    cr_assert_eq(tinker_error_category(e), cases[i].category);
    cr_assert(strstr(tinker_error_message(e), cases[i].text), "%s",
              tinker_error_message(e));
    cr_assert_eq(script_unused(rig.script), 0u);
    tinker_future_release(f);
    cr_assert_eq(step(&rig, t, &f), 0); /* the trainer goes on */
    tinker_future_release(f);
    end(&rig, t);
  }
}

/* 402: pauses of 5 s within the window, then a failure that is fatal, because
 * the number was not delivered. */
Test(faults, billing) {
  rig_t rig;
  tinker_future_t *f;
  rig_init(&rig, "{\"billing_exception_max_pause_duration_sec\":12}");
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  for (int i = 0; i < 4; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                  (script_reply_t){.status = 402, .body = DETAIL("blocked")});
  }
  cr_assert_eq(step(&rig, t, &f), TINKER_EBILLING);
  cr_assert(tinker_error_is_fatal(tinker_future_error(f)));
  cr_assert(rig_count(&rig, OPTIM) >= 3);
  cr_assert_geq(rig_request(&rig, OPTIM, 1)->at_ms -
                    rig_request(&rig, OPTIM, 0)->at_ms,
                5000);
  tinker_future_release(f);
  end(&rig, t);
}

/* The session is over: the trainer is done, and everybody learns why. */
Test(faults, session_ended) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.status = 410, .body = DETAIL("it has ended")});
  cr_assert_eq(step(&rig, t, &f), TINKER_ESESSION);
  cr_assert(tinker_error_is_fatal(tinker_future_error(f)));
  tinker_future_release(f);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f),
               TINKER_EFATAL);
  end(&rig, t);
}

/* The model is made, but nothing is known of it: trying again would make a
 * second one. */
Test(faults, second_step_fails) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_trainer_options_t o;
  tinker_future_t *f;
  start(&rig, &t);
  script_expect(rig.script, TINKER__HTTP_POST, "api/v1/get_info",
                (script_reply_t){.status = 404, .body = DETAIL("no model")});
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f);
  const tinker_error_t *e = ended(&rig, f, TINKER_ENOENT);
  cr_assert(tinker_error_outcome_is_unknown(e) &&
            !tinker_error_is_retriable(e));
  tinker_future_release(f);
  end(&rig, t);
}
