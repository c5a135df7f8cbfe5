/* What a client as a whole does about a reply or the time: the end of the
 * session, and that nothing hangs much longer than it may. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

#define BEAT "api/v1/session_heartbeat"

static rig_t rig;
static tinker_trainer_t *trainer;

static void setup(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
}

static void teardown(void) {
  tinker_trainer_release(trainer);
  rig_done(&rig);
}

TestSuite(driver, .init = setup, .fini = teardown);

static int new_trainer(void) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  cr_assert_eq(
      calls_begun(tinker_client_create_trainer(rig.client, &o, NULL), &f), 0);
  int rc = tinker_future_wait(f, 600000);
  tinker_future_release(f);
  return rc;
}

/* 410 to a submission of a trainer or a sampler: the session is over. No
 * heartbeat keeps a dead one alive, nothing is asked of it, and a new trainer
 * is refused with the reason instead of being made in another session. */
Test(driver, gone_ends_the_session) {
  tinker_future_t *f;
  fake_loop_advance(&rig.loop, 15000);
  size_t beats = rig_count(&rig, BEAT), made = rig_count(&rig, CREATE);
  size_t sessions = rig_count(&rig, "api/v1/create_session");
  cr_assert_geq(beats, 1u);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.status = 410, .body = "{\"detail\":\"it has ended\"}"});
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(trainer, NULL, NULL), &f),
               0);
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_ESESSION);
  tinker_future_release(f);
  fake_loop_advance(&rig.loop, 60000);
  cr_assert_eq(rig_count(&rig, BEAT), beats);
  cr_assert_eq(new_trainer(), TINKER_ESESSION);
  cr_assert_eq(rig_count(&rig, CREATE), made);
  cr_assert_eq(rig_count(&rig, "api/v1/create_session"), sessions);
}

/* 410 to a poll is one lost result: the session goes on. */
Test(driver, a_lost_result_does_not) {
  tinker_future_t *f;
  script_expect(
      rig.script, TINKER__HTTP_POST, RETRIEVE,
      (script_reply_t){.status = 410, .body = "{\"detail\":\"gone\"}"});
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(trainer, NULL, NULL), &f),
               0);
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_ELOST);
  tinker_future_release(f);
  size_t beats = rig_count(&rig, BEAT);
  fake_loop_advance(&rig.loop, 30000);
  cr_assert_gt(rig_count(&rig, BEAT), beats);
  cr_assert_eq(new_trainer(), 0);
}

/* The most that a request of each kind may take, in milliseconds. */
Test(driver, no_request_waits_for_ever) {
  static const struct {
    const char *path;
    int64_t most_ms;
  } rows[] = {{"api/v1/client/config", 60000},
              {"api/v1/client/dynamic_config", 10000},
              {"api/v1/create_session", 60000},
              {CREATE, 60000},
              {"api/v1/get_info", 60000},
              {OPTIM, 60000},
              {FB, 60000},
              {ASAMPLE, 60000},
              {RETRIEVE, 90000},
              {BEAT, 10000}};
  tinker_datum_t **batch = rig_batch(1, 3);
  tinker_input_t *p = NULL;
  tinker_sampler_t *s = rig_sampler(&rig);
  seen_t seen = {0};
  tinker_input_new(&p, NULL, NULL);
  tinker_input_add_tokens(p, (const int32_t[]){1}, 1, NULL);
  calls_begun(tinker_trainer_forward_backward(
                  trainer, batch, 1, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  calls_begun(tinker_trainer_optim_step(trainer, NULL,
                                        CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  calls_begun(
      tinker_sampler_sample(s, p, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  fake_loop_advance(&rig.loop, 15000);
  cr_assert_eq(seen.calls, 3);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const script_request_t *q = rig_request(&rig, rows[i].path, 0);
    cr_assert_not_null(q, "%s", rows[i].path);
    cr_assert_leq(q->timeout_ms, rows[i].most_ms, "%s", rows[i].path);
    cr_assert_geq(q->timeout_ms, 1000, "%s", rows[i].path);
  }
  tinker_sampler_release(s);
  tinker_input_release(p);
  rig_batch_free(batch, 1);
}

/* F85: a body of a megabyte may take as long as a slow line needs for it; one
 * that does not move at all is given up as any other. */
Test(driver, a_large_body_has_more_time) {
  tinker_datum_t **batch = rig_batch(2, 100000);
  seen_t seen = {0};
  calls_begun(tinker_trainer_forward_backward(
                  trainer, batch, 2, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  fake_loop_advance(&rig.loop, 15000);
  cr_assert_eq(seen.calls, 1);
  for (size_t i = 0; i < rig_count(&rig, FB); i++) {
    const script_request_t *q = rig_request(&rig, FB, i);
    int64_t body_ms = (int64_t)q->body_len / 16; /* at 16 kB a second */
    cr_assert_geq(body_ms, 1000, "%zu bytes", q->body_len);
    cr_assert_geq(q->timeout_ms, body_ms);
    cr_assert_leq(q->timeout_ms, 60000 + body_ms);
    cr_assert_eq(q->stall_ms, 60000);
  }
  rig_batch_free(batch, 2);
}

/* A service that takes a request and never answers: it is sent again each
 * minute, and after five of them the call ends. */
Test(driver, a_service_that_never_answers) {
  seen_t seen = {.rig = &rig};
  int64_t start = rig.loop.now_ms;
  for (int i = 0; i < 60; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                  (script_reply_t){.delay_ms = -1});
  }
  calls_begun(tinker_trainer_optim_step(trainer, NULL,
                                        CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  fake_loop_advance(&rig.loop, 61000);
  cr_assert_geq(rig_count(&rig, OPTIM), 2u);
  fake_loop_advance(&rig.loop, 360000);
  cr_assert(seen.calls == 1 && seen.status < 0);
  cr_assert_geq(seen.at_ms - start, 300000);
  cr_assert_leq(seen.at_ms - start, 380000);
}

/* The service's own limits are the ones that hold. */
Test(driver, limits_of_the_service) {
  rig_t other;
  rig_init(&other, "{\"sample_dispatch_bytes_semaphore_size\":1,"
                   "\"inflight_response_bytes_semaphore_size\":77,"
                   "\"fwdbwd_dispatch_bytes_semaphore_size\":33,"
                   "\"billing_exception_max_pause_duration_sec\":5}");
  cr_assert_eq(rig_client(&other), 0);
  tinker_trainer_t *t = rig_trainer(&other);
  const tinker__flow_t *flow = &other.client->flow;
  cr_assert_eq(flow->sample_bytes.left, 1);
  cr_assert_eq(flow->replies.left, 77);
  cr_assert_eq(flow->fb.left, 33);
  cr_assert_eq(flow->limits.retry.billing_ms, 5000);
  tinker_trainer_release(t);
  rig_done(&other);
}

/* Close ends within two seconds although nobody answers any more. */
Test(driver, close_ends_in_time) {
  seen_t closed = {.rig = &rig}, seen = {.rig = &rig};
  script_expect(rig.script, TINKER__HTTP_POST, "api/v1/sessions/s1/finish",
                (script_reply_t){.delay_ms = -1});
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_trainer_optim_step(trainer, NULL,
                                        CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  rig_run(&rig);
  int64_t start = rig.loop.now_ms;
  cr_assert_eq(calls_begun(tinker_client_close(
                               rig.client, CALLS_WITH(NULL, rig_seen, &closed)),
                           NULL),
               0);
  fake_loop_advance(&rig.loop, 60000);
  cr_assert(seen.calls == 1 && seen.status == TINKER_ECLOSED);
  cr_assert_eq(closed.calls, 1);
  cr_assert_leq(closed.at_ms - start, 2000);
}
