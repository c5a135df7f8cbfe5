/* What a server says that is large, late, ill meant or not its own. */
#include <stdio.h>

#include "faults.h"

/* --- large results --- */

/* A large result is announced first, then asked for in full. */
Test(replies, metadata_only) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  size_t at = rig_count(&rig, RETRIEVE);
  expect_poll(&rig,
              (script_reply_t){.body = "{\"status\":\"complete_metadata\","
                                       "\"response_payload_size\":999999999}"});
  cr_assert_eq(step(&rig, t, &f), 0);
  cr_assert_eq(rig_count(&rig, RETRIEVE), at + 2);
  cr_assert(strstr(rig_request(&rig, RETRIEVE, at + 1)->body,
                   "\"allow_metadata_only\":false"));
  tinker_future_release(f);
  cr_assert_eq(step(&rig, t, &f), 0); /* the bytes were given back */
  tinker_future_release(f);
  end(&rig, t);
}

#define LARGE(n)                                                               \
  "{\"status\":\"complete_metadata\",\"response_payload_size\":" n "}"

/* The bytes of a large result are given back when it is here, when it is not
 * wanted any more, and when it failed: the next one is not kept waiting. */
Test(replies, large_results_one_after_another) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  expect_poll(&rig, (script_reply_t){.body = LARGE("999999999")});
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);

  expect_poll(&rig, (script_reply_t){.body = LARGE("999999998")});
  expect_poll(&rig, (script_reply_t){.status = 404, .body = DETAIL("x")});
  cr_assert_eq(step(&rig, t, &f), TINKER_ELOST);
  tinker_future_release(f);

  expect_poll(&rig, (script_reply_t){.body = LARGE("999999997")});
  expect_poll(&rig, (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  rig_run(&rig);
  tinker_future_cancel(f);
  ended(&rig, f, TINKER_ECANCELED);
  tinker_future_release(f);

  expect_poll(&rig, (script_reply_t){.body = LARGE("999999996")});
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);
  end(&rig, t);
}

/* Two at once are fetched one after the other. */
Test(replies, large_results_wait_for_each_other) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen[2] = {{0}};
  start(&rig, &t);
  size_t at = rig_count(&rig, RETRIEVE);
  expect_poll(&rig, (script_reply_t){.body = LARGE("999999999")});
  expect_poll(&rig,
              (script_reply_t){.body = "{\"metrics\":{}}", .delay_ms = 1000});
  expect_poll(&rig, (script_reply_t){.body = LARGE("999999999")});
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen[0])),
      NULL);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen[1])),
      NULL);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, RETRIEVE), at + 3);
  fake_loop_advance(&rig.loop, 1000);
  cr_assert_eq(rig_count(&rig, RETRIEVE), at + 4);
  cr_assert(seen[0].calls == 1 && seen[1].calls == 1);
  cr_assert(seen[0].status == 0 && seen[1].status == 0);
  end(&rig, t);
}

/* What is longer than it was said to be, or than anything may be, is not
 * taken. */
Test(replies, too_large_results) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  size_t n = (2u << 20);
  char *body = malloc(n);
  cr_assert_not_null(body);
  memset(body, ' ', n);
  memcpy(body, "{}", 2);
  start(&rig, &t);
  expect_poll(&rig, (script_reply_t){.body = LARGE("1000")});
  expect_poll(&rig, (script_reply_t){.body = body, .body_len = n});
  cr_assert_eq(step(&rig, t, &f), TINKER_EOVERFLOW);
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert(tinker_error_outcome_is_unknown(e) && !tinker_error_is_fatal(e));
  cr_assert(strstr(tinker_error_message(e), "announced 1000 bytes"));
  tinker_future_release(f);

  expect_poll(&rig, (script_reply_t){.body = LARGE("1000000")}); /* slack */
  expect_poll(&rig, (script_reply_t){.body = body, .body_len = n});
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);

  expect_poll(&rig, (script_reply_t){.body = LARGE("0")}); /* not stated */
  expect_poll(&rig, (script_reply_t){.body = body, .body_len = n});
  cr_assert_eq(step(&rig, t, &f), 0);
  tinker_future_release(f);

  for (int i = 0; i < 2; i++) {
    expect_poll(&rig, (script_reply_t){.body = LARGE("8000000000000000")});
    cr_assert_eq(step(&rig, t, &f), TINKER_EOVERFLOW);
    cr_assert(strstr(tinker_error_message(tinker_future_error(f)),
                     "8000000000000000 bytes, at most 1073741824"));
    tinker_future_release(f);
  }
  end(&rig, t);
  free(body);
}

/* --- a deadline says what kept the call --- */

static const tinker_call_options_t soon = {.size = sizeof soon,
                                           .timeout_ms = 5000};

static void late(tinker_future_t *f, const char *why) {
  cr_assert_eq(tinker_future_wait(f, 60000), TINKER_ETIMEDOUT);
  const char *text = tinker_error_message(tinker_future_error(f));
  const char *cause = strstr(text, "; last trouble: ");
  cr_assert(why ? cause && strstr(cause, why) : !cause, "%s", text);
  tinker_future_release(f);
}

static void expect_many(rig_t *rig, const char *path, script_reply_t reply) {
  for (int i = 0; i < 30; i++) {
    script_expect(rig->script, TINKER__HTTP_POST, path, reply);
  }
}

Test(replies, deadline_while_nothing_could_be_reached) {
  rig_t rig;
  tinker_future_t *f;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  expect_many(&rig, "api/v1/client/config",
              (script_reply_t){.error = TINKER_ECONNECT});
  calls_begun(tinker_client_get_capabilities(rig.client, &soon), &f);
  late(f, "client/config: could not connect: nothing was sent: scripted "
          "failure TINKER_ECONNECT");
  rig_done(&rig);
}

Test(replies, deadline_of_what_was_sent) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f, *g;
  start(&rig, &t);
  expect_many(&rig, OPTIM, (script_reply_t){.status = 503, .body = "down"});
  calls_begun(tinker_trainer_optim_step(t, NULL, &soon), &f);
  calls_begun(tinker_trainer_save_state(t, "a", NULL, &soon), &g);
  late(f, "the server answered 503: down");
  late(g, "the server answered 503: down"); /* it waits for the one before */
  end(&rig, t);
}

Test(replies, deadline_of_a_poll) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  expect_many(&rig, RETRIEVE,
              (script_reply_t){.error = TINKER_ETRANSPORT, .sent = true});
  calls_begun(tinker_trainer_optim_step(t, NULL, &soon), &f);
  late(f, "scripted failure TINKER_ETRANSPORT");
  end(&rig, t);

  start(&rig, &t);
  expect_poll(&rig, (script_reply_t){.status = 500, .body = "oh"});
  expect_poll(&rig, (script_reply_t){.body = WAITS_FOR("1"), .delay_ms = 1});
  expect_poll(&rig, (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_trainer_optim_step(t, NULL, &soon), &f);
  late(f, "waiting for seq_id 1");
  end(&rig, t);

  start(&rig, &t); /* what is over is not named */
  expect_poll(&rig, (script_reply_t){.status = 500, .body = "oh"});
  expect_poll(&rig,
              (script_reply_t){
                  .body = "{\"type\":\"try_again\",\"request_id\":\"x\"}"});
  expect_poll(&rig, (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_trainer_optim_step(t, NULL, &soon), &f);
  late(f, NULL);
  end(&rig, t);
}

/* --- ids and words of a server that means ill --- */

static void unusable(rig_t *rig, tinker_future_t *f, const char *text) {
  const tinker_error_t *e = ended(rig, f, TINKER_EPROTO);
  cr_assert(strstr(tinker_error_message(e), text), "%s",
            tinker_error_message(e));
  cr_assert(tinker_error_outcome_is_unknown(e));
  tinker_future_release(f);
}

Test(replies, ids_that_are_no_part_of_a_path) {
  static const char *const ids[] = {"..", "a/b", "a\\u000d\\u000ab", "a?b",
                                    "x y"};
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
    char model[64], sampler[64], save[80];
    rig_t rig;
    tinker_future_t *f;
    tinker_trainer_t *t;
    tinker_trainer_options_t o;
    tinker_trainer_options_init(&o);
    o.base_model = "tiny";
    snprintf(model, sizeof model, "{\"model_id\":\"%s\"}", ids[i]);
    snprintf(sampler, sizeof sampler, "{\"sampling_session_id\":\"%s\"}",
             ids[i]);
    snprintf(save, sizeof save,
             "{\"path\":null,\"sampling_session_id\":\"%s\"}", ids[i]);
    start(&rig, &t);
    expect_poll(&rig, (script_reply_t){.body = model});
    calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f);
    unusable(&rig, f, "model_id \"");
    expect_poll(&rig, (script_reply_t){.body = model});
    calls_begun(tinker_client_create_trainer_from_state(
                    rig.client, "tinker://a/weights/b", 1, NULL),
                &f);
    unusable(&rig, f, "model_id \"");
    script_expect(rig.script, TINKER__HTTP_POST,
                  "api/v1/create_sampling_session",
                  (script_reply_t){.body = sampler});
    calls_begun(tinker_client_create_sampler(rig.client, "tiny", NULL), &f);
    unusable(&rig, f, "sampling_session_id \"");
    expect_poll(&rig, (script_reply_t){.body = save});
    calls_begun(tinker_trainer_create_sampler(t, NULL), &f);
    unusable(&rig, f, "sampling_session_id \"");
    end(&rig, t);
  }
}

/* A server's malformed field is not an invalid argument of the caller. */
Test(replies, a_field_of_another_type) {
  rig_t rig;
  tinker_future_t *f;
  tinker_trainer_t *t;
  tinker_trainer_options_t o;
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  start(&rig, &t);
  expect_poll(&rig, (script_reply_t){.body = "{\"model_id\":7}"});
  calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f);
  unusable(&rig, f, "model_id: ");
  end(&rig, t);
}

/* The id of a request is the server's own; only what can't be printed is
 * refused. A numbered request is sent again: something in between may have
 * answered. */
Test(replies, request_ids) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.body = "{\"request_id\":\"a\\\"\\r\\nX: y\"}"});
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.body = "{\"request_id\":\"a/b+c==\"}"});
  expect_poll(&rig, (script_reply_t){.body = "{\"metrics\":{}}"});
  cr_assert_eq(step(&rig, t, &f), 0);
  cr_assert_eq(rig_count(&rig, OPTIM), 2u);
  tinker_future_release(f);
  end(&rig, t);
}

Test(replies, words_of_a_server_are_escaped) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  expect_poll(
      &rig, (script_reply_t){.body = "{\"error\":\"a\\n\\u001b[2J\\u202e\"}"});
  cr_assert_eq(step(&rig, t, &f), TINKER_ESERVER);
  const char *text = tinker_error_message(tinker_future_error(f));
  cr_assert(strstr(text, "the server says: a\\u000a\\u001b[2J\\u202e"), "%s",
            text);
  tinker_future_release(f);
  expect_poll(&rig,
              (script_reply_t){
                  .body = "{\"type\":\"try_again\",\"request_id\":\"x\","
                          "\"queue_state\":\"paused\",\"queue_state_reason\":"
                          "\"x\\r\\nERROR y\"}"});
  expect_poll(&rig,
              (script_reply_t){.delay_ms = 2000, .body = "{\"error\":\"a\"}"});
  cr_assert_eq(step(&rig, t, &f), TINKER_ESERVER);
  cr_assert(strstr(rig.log_line, "x\\u000d\\u000aERROR y"), "%s", rig.log_line);
  tinker_future_release(f);
  end(&rig, t);
}
