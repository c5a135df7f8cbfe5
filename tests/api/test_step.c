/* tinker_trainer_step: forward_backward and optim_step as one operation. */
#include "faults.h"

#define FAILED(category)                                                       \
  "{\"error\":\"no gradient\",\"category\":\"" category "\"}"

typedef struct scene_s {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_datum_t **batch;
} scene_t;

static void open_scene(scene_t *s, const char *config) {
  rig_init(&s->rig, config);
  cr_assert_eq(rig_client(&s->rig), 0);
  s->t = rig_trainer(&s->rig);
  s->batch = rig_batch(3, 3);
}

static void close_scene(scene_t *s) {
  rig_batch_free(s->batch, 3);
  end(&s->rig, s->t);
}

static tinker_future_t *begin(scene_t *s, size_t n,
                              const tinker_call_options_t *call) {
  return tinker_trainer_step(s->t, s->batch, n, NULL, NULL, call);
}

static void reply(scene_t *s, const char *path, script_reply_t reply) {
  script_expect(s->rig.script, TINKER__HTTP_POST, path, reply);
}

/* A step that goes well, with these numbers. */
static void check_goes_on(scene_t *s, long seq) {
  size_t fbs = rig_count(&s->rig, FB), optims = rig_count(&s->rig, OPTIM);
  tinker_future_t *f = begin(s, 1, NULL);
  cr_assert_eq(tinker_future_wait(f, 400000), 0, "%s",
               tinker_error_message(tinker_future_error(f)));
  cr_assert_eq(rig_seq(rig_request(&s->rig, FB, fbs)), seq);
  cr_assert_eq(rig_seq(rig_request(&s->rig, OPTIM, optims)), seq + 1);
  tinker_future_release(f);
}

/* Both results are on the one future; what it has not is refused. */
static void check_results(tinker_future_t *f) {
  const tinker_forward_result_t *forward;
  const tinker_optim_result_t *optim;
  const tinker_sample_result_t *sample;
  size_t n;
  double loss;
  cr_assert_eq(tinker_future_get_forward(f, &forward), 0);
  cr_assert_eq(tinker_forward_result_count(forward), 2u);
  cr_assert_eq(tinker_future_loss(f, &loss), 0);
  cr_assert_eq(loss, 1);
  cr_assert_eq(tinker_future_get_optim(f, &optim), 0);
  const tinker_metric_t *m = tinker_optim_result_metrics(optim, &n);
  cr_assert(n == 1 && m[0].value == 2);
  cr_assert_eq(tinker_future_get_sample(f, &sample), TINKER_EINVAL);
}

/* The optim_step leaves while the result of the forward_backward is awaited. */
Test(step, one_future_two_requests) {
  scene_t s;
  seen_t seen = {0};
  open_scene(&s, NULL);
  reply(&s, RETRIEVE, (script_reply_t){.delay_ms = 500, .status = 408});
  tinker_future_t *f = begin(&s, 2, CALLS_WITH(NULL, rig_seen, &seen));
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_STEP);
  cr_assert_str_eq(tinker_kind_name(TINKER_KIND_STEP), "step");
  cr_assert_eq(tinker_future_user(f), &seen);
  rig_run(&s.rig);
  cr_assert_eq(rig_count(&s.rig, OPTIM), 1u);
  cr_assert(rig_polls(&s.rig, 1) == 1 && seen.calls == 0);
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  tinker_progress_t p = TINKER_PROGRESS_INIT;
  cr_assert_eq(tinker_future_progress(f, &p), 0);
  cr_assert(p.stage == TINKER_STAGE_RUNNING && p.id > 0 && p.accepted == 1);
  fake_loop_advance(&s.rig.loop, 60000);
  cr_assert_eq(tinker_future_progress(f, &p), 0);
  cr_assert_eq(p.stage, TINKER_STAGE_ENDED);
  cr_assert(seen.calls == 1 && seen.status == 0);
  cr_assert_eq(rig_seq(rig_request(&s.rig, FB, 0)), 1);
  cr_assert_eq(rig_seq(rig_request(&s.rig, OPTIM, 0)), 2);
  check_results(f);
  tinker_future_release(f);
  check_goes_on(&s, 3);
  close_scene(&s);
}

/* Children are not seen: next returns the step alone, once, also when nobody
 * holds it. */
Test(step, next_returns_it_once) {
  scene_t s;
  tinker_future_t *f, *got;
  open_scene(&s, NULL);
  f = begin(&s, 2, NULL);
  cr_assert_eq(tinker_client_next(s.rig.client, 1000, &got), 0);
  cr_assert_eq(got, f);
  check_results(got);
  tinker_future_release(got);
  tinker_future_release(f);
  cr_assert_eq(tinker_client_next(s.rig.client, 0, &got), TINKER_ENOENT);
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.detached = 1;
  f = begin(&s, 1, &call);
  tinker_future_release(f);
  cr_assert_eq(tinker_client_next(s.rig.client, 1000, &got), 0);
  cr_assert_eq(tinker_future_kind(got), TINKER_KIND_STEP);
  tinker_future_release(got);
  cr_assert_eq(tinker_client_next(s.rig.client, 0, &got), TINKER_ENOENT);
  close_scene(&s);
}

static void check_refused(scene_t *s, tinker_future_t *f, const char *text) {
  cr_assert_eq(tinker_future_status(f), TINKER_EINVAL);
  cr_assert_str_eq(tinker_error_message(tinker_future_error(f)), text);
  tinker_future_release(f);
  rig_run(&s->rig);
  cr_assert(rig_count(&s->rig, FB) == 0 && rig_count(&s->rig, OPTIM) == 0);
}

/* Whatever half is refused: nothing is numbered, and the next step is as any
 * other. */
Test(step, a_refusal_of_either_half_refuses_both) {
  scene_t s;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  adam.beta1 = 1;
  open_scene(&s, NULL);
  check_refused(&s, begin(&s, 0, NULL), "step: n is 0: want examples");
  check_refused(&s, tinker_trainer_step(s.t, s.batch, 1, NULL, &adam, NULL),
                "step: beta1 is 1: want 0 or more, below 1");
  check_refused(&s, begin(&s, 1, CALLS_TIMEOUT(-7)),
                "step: timeout_ms is -7: want milliseconds, -1 or -2");
  cr_assert_eq(tinker_future_status(
                   tinker_trainer_step(NULL, s.batch, 1, NULL, NULL, NULL)),
               TINKER_EINVAL);
  check_goes_on(&s, 1);
  close_scene(&s);
}

/* A step that was refused lacks in its order: what was summed before it was
 * meant to be used with it. */
Test(step, a_refused_step_leaves_no_part_of_it_behind) {
  scene_t s;
  open_scene(&s, NULL);
  tinker_future_release(
      tinker_trainer_forward_backward(s.t, s.batch, 1, NULL, NULL));
  tinker_future_release(begin(&s, 0, NULL));
  tinker_future_t *f = tinker_trainer_optim_step(s.t, NULL, NULL);
  const tinker_error_t *e = ended(&s.rig, f, TINKER_ESTATE);
  cr_assert(tinker_error_needs_recovery(e));
  cr_assert(rig_count(&s.rig, FB) == 1 && rig_count(&s.rig, OPTIM) == 0);
  tinker_future_release(f);
  close_scene(&s);
}

/* The service refuses the forward_backward: the optim_step is not sent. */
Test(step, a_rejected_half_holds_the_other_back) {
  scene_t s;
  open_scene(&s, NULL);
  reply(&s, FB, (script_reply_t){.status = 422, .body = DETAIL("no")});
  tinker_future_t *f = begin(&s, 1, NULL);
  const tinker_error_t *e = ended(&s.rig, f, TINKER_EREJECTED);
  cr_assert_str_eq(tinker_error_message(e),
                   "step: forward_backward (seq_id 1): the server answered "
                   "422: no; its optim_step was not sent");
  cr_assert_eq(tinker_error_http_status(e), 422);
  cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_USER);
  cr_assert(!tinker_error_outcome_is_unknown(e));
  cr_assert(!tinker_error_needs_recovery(e));
  cr_assert_eq(rig_count(&s.rig, OPTIM), 0u);
  tinker_future_release(f);
  check_goes_on(&s, 2);
  close_scene(&s);
}

/* One of three chunks: the others are summed, and nothing uses them. */
Test(step, a_rejected_chunk_leaves_a_dirty_trainer) {
  scene_t s;
  open_scene(&s, "{\"fwdbwd_max_chunk_len\":1}");
  reply(&s, FB, (script_reply_t){.status = 422, .body = DETAIL("no")});
  tinker_future_t *f = begin(&s, 3, NULL);
  const tinker_error_t *e = ended(&s.rig, f, TINKER_EREJECTED);
  cr_assert(strstr(tinker_error_message(e), "its optim_step was not sent"));
  cr_assert(tinker_error_needs_recovery(e));
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert(rig_count(&s.rig, FB) == 3 && rig_count(&s.rig, OPTIM) == 0);
  tinker_future_release(f);
  close_scene(&s);
}

/* It fails when it is carried out, while another chunk is still on its way: in
 * time for the optim_step. */
Test(step, a_failure_that_is_known_in_time_ends_the_other_unsent) {
  scene_t s;
  open_scene(&s, "{\"fwdbwd_max_chunk_len\":1,"
                 "\"parallel_fwdbwd_chunks\":false}");
  reply(&s, FB,
        (script_reply_t){.body = "{\"request_id\":\"forward_backward-1-1\"}"});
  reply(&s, FB,
        (script_reply_t){.delay_ms = 5000,
                         .body = "{\"request_id\":\"forward_backward-2-1\"}"});
  reply(&s, RETRIEVE, (script_reply_t){.body = FAILED("user")});
  tinker_future_t *f = begin(&s, 2, NULL);
  const tinker_error_t *e = ended(&s.rig, f, TINKER_ESERVER);
  cr_assert(strstr(tinker_error_message(e), "no gradient; its optim_step was "
                                            "not sent"),
            "%s", tinker_error_message(e));
  cr_assert(tinker_error_needs_recovery(e)); /* the second chunk is summed */
  cr_assert(rig_count(&s.rig, FB) == 2 && rig_count(&s.rig, OPTIM) == 0);
  tinker_future_release(f);
  close_scene(&s);
}

/* The same after the optim_step has left. */
Test(step, a_failure_that_comes_late_says_that_the_weights_have_moved) {
  static const char *const categories[] = {FAILED("user"), FAILED("server")};
  for (int i = 0; i < 2; i++) {
    scene_t s;
    open_scene(&s, NULL);
    reply(&s, RETRIEVE, (script_reply_t){.body = categories[i]});
    tinker_future_t *f = begin(&s, 1, NULL);
    const tinker_error_t *e = ended(&s.rig, f, TINKER_ESERVER);
    cr_assert(strstr(tinker_error_message(e),
                     "no gradient; the optim_step after it had been sent "
                     "before this was known, and moves the weights without it; "
                     "its optim_step was carried out"),
              "%s", tinker_error_message(e));
    cr_assert(tinker_error_needs_recovery(e));
    cr_assert(!tinker_error_is_retriable(e));
    cr_assert(tinker_error_outcome_is_unknown(e));
    cr_assert_eq(rig_count(&s.rig, OPTIM), 1u);
    tinker_future_release(f);
    check_goes_on(&s, 3);
    close_scene(&s);
  }
}

/* Only the optim_step fails: its gradients are not added to the next. */
Test(step, a_failure_of_the_second_half_keeps_the_first) {
  scene_t s;
  open_scene(&s, NULL);
  reply(&s, OPTIM, (script_reply_t){.status = 422, .body = DETAIL("no")});
  tinker_future_t *f = begin(&s, 1, NULL);
  const tinker_error_t *e = ended(&s.rig, f, TINKER_EREJECTED);
  cr_assert_str_eq(tinker_error_message(e),
                   "step: its forward_backward was carried out; optim_step "
                   "(seq_id 2): the server answered 422: no");
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert(!tinker_error_is_retriable(e));
  tinker_future_release(f);
  calls_begun(tinker_trainer_optim_step(s.t, NULL, NULL), &f);
  ended(&s.rig, f, 0);
  tinker_future_release(f);
  check_goes_on(&s, 4);
  close_scene(&s);
}

/* A result that can't be read is no gradient that is missing. */
Test(step, an_unreadable_result_says_what_was_carried_out) {
  scene_t s;
  open_scene(&s, NULL);
  reply(&s, RETRIEVE, (script_reply_t){.body = "{\"loss_fn_outputs\":7}"});
  tinker_future_t *f = begin(&s, 1, NULL);
  const tinker_error_t *e = ended(&s.rig, f, TINKER_EPROTO);
  cr_assert(strstr(tinker_error_message(e), "its optim_step was carried out"));
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert(!tinker_error_needs_recovery(e));
  tinker_future_release(f);
  check_goes_on(&s, 3);
  close_scene(&s);
}

/* --- cancel, deadline, close: both halves or none --- */

/* Ends a step by cancel or by its deadline of 100 ms. */
static void end_early(scene_t *s, tinker_future_t *f, bool by_deadline) {
  if (by_deadline) {
    fake_loop_advance(&s->rig.loop, 100);
  } else {
    tinker_future_cancel(f);
    rig_run(&s->rig);
  }
  cr_assert_eq(tinker_future_status(f),
               by_deadline ? TINKER_ETIMEDOUT : TINKER_ECANCELED);
}

static tinker_future_t *begin_short(scene_t *s, bool by_deadline,
                                    seen_t *seen) {
  return begin(
      s, 1,
      CALLS_WITH(by_deadline ? CALLS_TIMEOUT(100) : NULL, rig_seen, seen));
}

/* Before it was its turn: it costs no number. */
Test(step, nothing_is_sent_of_one_that_ends_in_the_queue) {
  for (int deadline = 0; deadline < 2; deadline++) {
    scene_t s;
    seen_t seen = {0};
    tinker_future_t *g;
    open_scene(&s, NULL);
    reply(&s, SAVE,
          (script_reply_t){.delay_ms = 1000,
                           .body = "{\"request_id\":\"save_weights-1-0\"}"});
    calls_begun(tinker_trainer_save_state(s.t, "a", NULL, NULL), &g);
    tinker_future_t *f = begin_short(&s, deadline, &seen);
    rig_run(&s.rig);
    end_early(&s, f, deadline);
    const tinker_error_t *e = tinker_future_error(f);
    cr_assert(tinker_error_is_retriable(e));
    cr_assert(!tinker_error_outcome_is_unknown(e));
    cr_assert(strstr(tinker_error_message(e), "nothing of it was carried out"));
    cr_assert_eq(seen.calls, 1);
    cr_assert_eq(tinker_future_wait(g, 60000), 0);
    tinker_future_release(g);
    tinker_future_release(f);
    check_goes_on(&s, 2);
    cr_assert(rig_count(&s.rig, FB) == 1 && seen.calls == 1);
    close_scene(&s);
  }
}

/* The forward_backward has left: the optim_step follows it, though the caller
 * has gone, and the next step is added to an empty sum. */
Test(step, a_half_that_was_sent_is_followed_by_the_other) {
  for (int deadline = 0; deadline < 2; deadline++) {
    scene_t s;
    seen_t seen = {0};
    open_scene(&s, NULL);
    reply(
        &s, FB,
        (script_reply_t){.delay_ms = 1000,
                         .body = "{\"request_id\":\"forward_backward-1-1\"}"});
    tinker_future_t *f = begin_short(&s, deadline, &seen);
    rig_run(&s.rig);
    end_early(&s, f, deadline);
    cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
    cr_assert(!tinker_error_is_retriable(tinker_future_error(f)));
    cr_assert(strstr(tinker_error_message(tinker_future_error(f)),
                     "its optim_step is sent after it"));
    cr_assert_eq(rig_count(&s.rig, OPTIM), 0u);
    fake_loop_advance(&s.rig.loop, 1000);
    cr_assert_eq(rig_seq(rig_request(&s.rig, OPTIM, 0)), 2);
    cr_assert(rig_polls(&s.rig, 1) == 0 && rig_polls(&s.rig, 2) == 0);
    check_goes_on(&s, 3);
    cr_assert_eq(seen.calls, 1);
    tinker_future_release(f);
    close_scene(&s);
  }
}

/* The same, and then the service refuses the first: the second is not sent. */
Test(step, the_sum_counts_for_one_that_nobody_waits_for) {
  scene_t s;
  seen_t seen = {0};
  open_scene(&s, NULL);
  reply(
      &s, FB,
      (script_reply_t){.delay_ms = 1000, .status = 422, .body = DETAIL("no")});
  tinker_future_t *f = begin_short(&s, false, &seen);
  rig_run(&s.rig);
  end_early(&s, f, false);
  tinker_future_release(f);
  fake_loop_advance(&s.rig.loop, 2000);
  cr_assert_eq(rig_count(&s.rig, OPTIM), 0u);
  check_goes_on(&s, 2);
  close_scene(&s);
}

/* Both have left: only the waiting ends. */
Test(step, cancel_after_both_have_left) {
  scene_t s;
  seen_t seen = {0};
  open_scene(&s, NULL);
  reply(&s, RETRIEVE, (script_reply_t){.delay_ms = -1});
  reply(&s, RETRIEVE, (script_reply_t){.delay_ms = -1});
  tinker_future_t *f = begin_short(&s, false, &seen);
  rig_run(&s.rig);
  cr_assert_eq(script_parked(s.rig.script), 2u);
  end_early(&s, f, false);
  cr_assert_eq(script_parked(s.rig.script), 0u);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  tinker_future_cancel(f); /* nothing happens any more */
  rig_run(&s.rig);
  cr_assert_eq(seen.calls, 1);
  tinker_future_release(f);
  check_goes_on(&s, 3);
  close_scene(&s);
}

/* Released at once, in any state: it goes on, and close ends it once. */
Test(step, close_ends_it_once) {
  static const char *const paths[] = {FB, OPTIM, RETRIEVE};
  for (int i = 0; i < 3; i++) {
    scene_t s;
    seen_t seen = {0};
    open_scene(&s, NULL);
    reply(&s, paths[i], (script_reply_t){.delay_ms = -1});
    tinker_future_release(begin(&s, 2, CALLS_WITH(NULL, rig_seen, &seen)));
    rig_run(&s.rig);
    cr_assert_eq(seen.calls, 0);
    close_scene(&s);
    cr_assert(seen.calls == 1 && seen.status == TINKER_ECLOSED, "%d: %d", i,
              seen.status);
  }
}

/* A drain waits for both halves. */
Test(step, a_drain_waits_for_it) {
  scene_t s;
  seen_t seen = {0};
  open_scene(&s, NULL);
  reply(&s, FB,
        (script_reply_t){.delay_ms = 1000,
                         .body = "{\"request_id\":\"forward_backward-1-1\"}"});
  tinker_future_release(begin(&s, 1, CALLS_WITH(NULL, rig_seen, &seen)));
  tinker_future_t *d = tinker_client_drain(s.rig.client, NULL);
  tinker_future_t *late = begin(&s, 1, NULL);
  cr_assert_eq(tinker_future_status(late), TINKER_ECLOSED);
  tinker_future_release(late);
  cr_assert_eq(tinker_future_wait(d, 60000), 0);
  cr_assert(seen.calls == 1 && seen.status == 0);
  tinker_future_release(d);
  close_scene(&s);
}

/* --- memory --- */

/* One allocation fails, of the call or of what follows: the step ends once, and
 * the trainer goes on with a whole step or says why it can't. */
Test(step, memory_sweep, .timeout = 60) {
  bool more = true;
  for (uint64_t n = 1; more; n++) {
    scene_t s;
    seen_t seen = {0};
    open_scene(&s, "{\"fwdbwd_max_chunk_len\":2}");
    s.rig.mem.fail_at = atomic_load(&s.rig.mem.count) + n;
    tinker_future_t *f = begin(&s, 3, CALLS_WITH(NULL, rig_seen, &seen));
    fake_loop_advance(&s.rig.loop, 400000);
    more = atomic_load(&s.rig.mem.count) >= s.rig.mem.fail_at;
    s.rig.mem.fail_at = 0;
    cr_assert_eq(seen.calls, tinker_future_runs_callback(f), "round %d",
                 (int)n);
    int rc = tinker_future_status(f);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM || rc == TINKER_EFATAL ||
                  rc == TINKER_ESTATE,
              "round %d: %d", (int)n, rc);
    cr_assert(more || rc == 0);
    size_t fbs = rig_count(&s.rig, FB), optims = rig_count(&s.rig, OPTIM);
    cr_assert(optims == 0 || fbs >= 2, "round %d", (int)n);
    tinker_future_release(f);
    close_scene(&s);
  }
}
