/* A deadline ends every operation, whatever the service does instead of its
 * work: to the millisecond of the virtual time, with the one code that says so
 * and, where nothing can have happened, with that. A service that fails in a
 * way that ends the call earlier ends it earlier. */
#include "faults.h"

enum { D = 7000, OPS = 17, READ = 15 };

static rig_t rig;
static tinker_trainer_t *trainer;
static tinker_sampler_t *sampler;
static tinker_input_t *prompt;
static tinker_datum_t **data;
static const script_reply_t *way;

static tinker_future_t *call(int i, const tinker_call_options_t *o) {
  tinker_trainer_options_t t = TINKER_TRAINER_OPTIONS_INIT;
  t.base_model = "tiny";
  switch (i) {
  case 0: return tinker_client_get_capabilities(rig.client, o);
  case 1: return tinker_client_create_trainer(rig.client, &t, o);
  case 2:
    return tinker_client_create_trainer_from_state(
        rig.client, "tinker://r/weights/a", 0, o);
  case 3: return tinker_client_create_sampler(rig.client, "tiny", o);
  case 4:
    return tinker_client_create_sampler_from_path(
        rig.client, "tinker://r/sampler_weights/a", o);
  case 5: return tinker_trainer_forward(trainer, data, 2, NULL, o);
  case 6: return tinker_trainer_forward_backward(trainer, data, 2, NULL, o);
  case 7: return tinker_trainer_optim_step(trainer, NULL, o);
  case 8: return tinker_trainer_save_state(trainer, "a", NULL, o);
  case 9: return tinker_trainer_save_weights_for_sampler(trainer, "a", NULL, o);
  case 10: return tinker_trainer_create_sampler(trainer, o);
  case 11: return tinker_trainer_load_state(trainer, "tinker://r/weights/a", o);
  case 12: return tinker_trainer_get_info(trainer, o);
  case 13:
    return tinker_client_set_checkpoint_ttl(rig.client, "tinker://r/weights/a",
                                            3600, o);
  case 14:
    return tinker_client_delete_checkpoint(rig.client, "tinker://r/weights/a",
                                           o);
  case READ: return tinker_client_get_run(rig.client, "r", o);
  default: return tinker_sampler_sample(sampler, prompt, NULL, o);
  }
}

static void misbehave(void *user, const script_request_t *q,
                      script_reply_t *reply) {
  (void)user;
  if (!way || strstr(q->path, "session_heartbeat")) return;
  *reply = *way;
}

static void begin(bool with_session) {
  way = NULL;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  script_meddle(rig.script, misbehave, NULL);
  trainer = NULL;
  sampler = NULL;
  if (!with_session) return;
  trainer = rig_trainer(&rig);
  sampler = rig_sampler(&rig);
}

static void finish(void) {
  way = NULL;
  tinker_sampler_release(sampler);
  tinker_trainer_release(trainer);
  rig_done(&rig); /* and no memory is left */
}

/* How it ends by itself: at the deadline, or before it. */
static void ends(int i, size_t n, bool alone) {
  seen_t seen = {.rig = &rig};
  tinker_call_options_t o = calls_with(CALLS_TIMEOUT(D), rig_seen, &seen);
  int64_t start_ms = rig.loop.now_ms;
  tinker_future_t *f = call(i, &o);
  fake_loop_advance(&rig.loop, 2 * D);
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert(seen.calls == 1 && seen.status < 0, "call %d, way %zu", i, n);
  cr_assert_leq(seen.at_ms - start_ms, (int64_t)D, "call %d, way %zu", i, n);
  if (seen.at_ms - start_ms == D) {
    cr_assert_eq(seen.status, TINKER_ETIMEDOUT, "call %d, way %zu", i, n);
  } else {
    cr_assert(seen.status == TINKER_ETRANSPORT || seen.status == TINKER_ESERVER,
              "call %d, way %zu: %s", i, n, tinker_error_message(e));
    cr_assert(tinker_error_outcome_is_unknown(e));
  }
  bool sent = n == 0 && !alone && i != 0 && i != 5 && i != 12 && i != READ &&
              i != OPS - 1;
  if (sent) cr_assert(tinker_error_outcome_is_unknown(e), "call %d", i);
  if (alone) cr_assert_not(tinker_error_outcome_is_unknown(e));
  tinker_future_release(f);
}

/* Cancel ends it at once, whatever it is at. */
static void cancels(int i, size_t n) {
  seen_t seen = {.rig = &rig};
  tinker_call_options_t o = calls_with(CALLS_TIMEOUT(10 * D), rig_seen, &seen);
  tinker_future_t *f = call(i, &o);
  fake_loop_advance(&rig.loop, 100);
  int64_t now_ms = rig.loop.now_ms;
  tinker_future_cancel(f);
  rig_run(&rig);
  cr_assert_eq(seen.calls, 1, "call %d, way %zu", i, n);
  cr_assert(seen.status == TINKER_ECANCELED || seen.at_ms < now_ms,
            "call %d, way %zu", i, n);
  tinker_future_release(f);
}

static const script_reply_t ways[] = {
    {.delay_ms = -1},                           /* never */
    {.error = TINKER_ETRANSPORT, .sent = true}, /* reset after it was sent */
    {.error = TINKER_ETRANSPORT, .sent = true, .delay_ms = 3000},
    {.error = TINKER_ECONNECT}, /* nothing listens */
    {.status = 503, .body = "down"},
};
#define WAYS (sizeof ways / sizeof ways[0])

static void make_arguments(void) {
  data = rig_batch(2, 3);
  must(!tinker_input_from_tokens(&prompt, (const int32_t[]){1}, 1, NULL, NULL));
}

static void drop_arguments(void) {
  rig_batch_free(data, 2);
  tinker_input_release(prompt);
}

TestSuite(deadline, .init = make_arguments, .fini = drop_arguments);

Test(deadline, of_every_call) {
  for (size_t n = 0; n < WAYS; n++) {
    for (int i = 0; i < OPS; i++) {
      begin(true);
      way = &ways[n];
      ends(i, n, false);
      finish();
    }
  }
}

/* The client waits for its first contact: nothing was sent for the call. */
Test(deadline, of_every_call_before_there_is_a_session) {
  for (int i = 0; i < 5; i++) {
    begin(false);
    way = &ways[0];
    ends(i, 0, true);
    finish();
  }
}

Test(deadline, is_not_needed_to_cancel) {
  for (size_t n = 0; n < WAYS; n++) {
    for (int i = 0; i < OPS; i++) {
      begin(true);
      way = &ways[n];
      cancels(i, n);
      finish();
    }
  }
}

/* Accepted, and then nothing: the polls hang, or say "not yet" for ever. */
Test(deadline, of_every_call_that_is_polled_for) {
  static const script_reply_t polls[] = {
      {.delay_ms = -1},
      {.body = "{\"type\":\"try_again\",\"request_id\":\"x\","
               "\"queue_state\":\"active\"}",
       .delay_ms = 10}};
  for (size_t n = 0; n < 2; n++) {
    for (int i = 0; i < OPS; i++) {
      bool direct = i == 0 || i == 3 || i == 4 || (i >= 12 && i <= READ);
      if (direct) continue; /* not polled for */
      begin(true);
      seen_t seen = {.rig = &rig};
      for (int k = 0; k < 800; k++) expect_poll(&rig, polls[n]);
      int64_t start_ms = rig.loop.now_ms;
      tinker_call_options_t o = calls_with(CALLS_TIMEOUT(D), rig_seen, &seen);
      tinker_future_t *f = call(i, &o);
      fake_loop_advance(&rig.loop, 2 * D);
      cr_assert(seen.calls == 1 && seen.status == TINKER_ETIMEDOUT,
                "call %d, way %zu: %d", i, n, seen.status);
      cr_assert_eq(seen.at_ms - start_ms, (int64_t)D);
      cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)) ||
                i == 5 || i == OPS - 1); /* forward and sample change nothing */
      tinker_future_release(f);
      finish();
    }
  }
}

/* Drain ends at its deadline, close within two seconds, with a service that
 * answers nothing. */
Test(deadline, of_drain_and_close) {
  for (int drain = 0; drain < 2; drain++) {
    begin(true);
    way = &ways[0];
    seen_t op = {.rig = &rig}, end_ = {.rig = &rig};
    int64_t start_ms = rig.loop.now_ms;
    tinker_future_release(tinker_trainer_optim_step(
        trainer, NULL, CALLS_WITH(NULL, rig_seen, &op)));
    tinker_future_release(
        drain ? tinker_client_drain(
                    rig.client, CALLS_WITH(CALLS_TIMEOUT(D), rig_seen, &end_))
              : tinker_client_close(rig.client,
                                    CALLS_WITH(NULL, rig_seen, &end_)));
    fake_loop_advance(&rig.loop, 10 * D);
    cr_assert(op.calls == 1 && end_.calls == 1);
    cr_assert_eq(end_.status, drain ? TINKER_ETIMEDOUT : 0);
    cr_assert_leq(end_.at_ms - start_ms, (drain ? D : 0) + 2000);
    finish();
  }
}
