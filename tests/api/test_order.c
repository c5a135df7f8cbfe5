/* Order and numbers on the wire. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

static tinker_datum_t *const *view(tinker_datum_t **batch) {
  return (tinker_datum_t *const *)batch;
}

/* Four calls: numbers 1 to 4 in program order, each posted only when the one
 * before was answered; results are polled for meanwhile. */
Test(order, one_after_another) {
  rig_t rig;
  seen_t seen[4] = {{0}};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(2, 3);
  script_expect(
      rig.script, TINKER__HTTP_POST, FB,
      (script_reply_t){.delay_ms = 500,
                       .body = "{\"request_id\":\"forward_backward-1-2\"}"});
  cr_assert_eq(calls_begun(tinker_trainer_forward_backward(
                               t, view(batch), 2, NULL,
                               CALLS_WITH(NULL, rig_seen, &seen[0])),
                           NULL),
               0);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(
                               t, NULL, CALLS_WITH(NULL, rig_seen, &seen[1])),
                           NULL),
               0);
  cr_assert_eq(
      calls_begun(tinker_trainer_forward(t, view(batch), 2, NULL,
                                         CALLS_WITH(NULL, rig_seen, &seen[2])),
                  NULL),
      0);
  cr_assert_eq(
      calls_begun(tinker_trainer_save_state(
                      t, "a", NULL, CALLS_WITH(NULL, rig_seen, &seen[3])),
                  NULL),
      0);
  cr_assert_eq(seen[0].calls, 0); /* never before the call returns */
  rig_run(&rig);
  cr_assert(rig_count(&rig, FB) == 1 && rig_count(&rig, OPTIM) == 0);
  fake_loop_advance(&rig.loop, 500);
  for (int i = 0; i < 4; i++) {
    cr_assert(seen[i].calls == 1 && seen[i].status == 0, "%d", i);
  }
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 0)), 1);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 0)), 2);
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 1)), 3);
  cr_assert_eq(rig_seq(rig_request(&rig, SAVE, 0)), 4);
  cr_assert(rig_index(&rig, FB, 0) < rig_index(&rig, OPTIM, 0));
  cr_assert(rig_index(&rig, OPTIM, 0) < rig_index(&rig, FB, 1));
  cr_assert(rig_request(&rig, FB, 0)->numbered);
  cr_assert(!rig_request(&rig, CREATE, 0)->numbered);
  rig_batch_free(batch, 2);
  tinker_trainer_release(t);
  rig_done(&rig);
}

static void check_combined(tinker_future_t *f, size_t n, const float *want,
                           double sum) {
  const tinker_forward_result_t *result;
  tinker_tensor_view_t v;
  double loss;
  cr_assert_eq(tinker_future_get_forward(f, &result), 0);
  cr_assert_eq(tinker_forward_result_count(result), n);
  for (size_t i = 0; i < n; i++) {
    cr_assert_eq(tinker_forward_result_tensor(result, i, "logprobs", &v), 0);
    cr_assert(v.count == 1 && v.ndim == 1 && v.f32[0] == want[i], "%zu: %f", i,
              (double)v.f32[0]);
  }
  cr_assert_eq(tinker_forward_result_metric(result, "loss:sum", &loss), 0);
  cr_assert_eq(loss, sum);
  cr_assert_eq(tinker_forward_result_tensor(result, n, "logprobs", &v),
               TINKER_EINVAL);
  cr_assert_eq(tinker_forward_result_tensor(result, 0, "no", &v),
               TINKER_ENOENT);
}

/* Five examples, two per request: 1, 2, 3 are taken; 2 and 3 go at once and
 * are polled for before 1 goes, last; results come in order. */
Test(order, chunk_one_last) {
  static const float want[5] = {-100, -101, -200, -201, -300};
  rig_t rig;
  tinker_future_t *f, *g;
  rig_init(&rig, "{\"fwdbwd_max_chunk_len\":2}");
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(5, 3);
  script_expect(
      rig.script, TINKER__HTTP_POST, FB,
      (script_reply_t){.delay_ms = 70,
                       .body = "{\"request_id\":\"forward_backward-2-2\"}"});
  cr_assert_eq(
      calls_begun(
          tinker_trainer_forward_backward(t, view(batch), 5, NULL, NULL), &f),
      0);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &g), 0);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, FB), 2u);
  cr_assert_eq(rig_polls(&rig, 3), 1u); /* chunk 2 is not answered yet */
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 0)), 2);
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 1)), 3);
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 2)), 1);
  cr_assert_null(rig_request(&rig, FB, 3));
  check_combined(f, 5, want, 6);
  cr_assert_eq(tinker_future_wait(g, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 0)), 4);
  tinker_future_release(f);
  tinker_future_release(g);
  rig_batch_free(batch, 5);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(order, chunks_one_after_another) {
  rig_t rig;
  tinker_future_t *f;
  rig_init(&rig, "{\"fwdbwd_max_chunk_bytes_count\":40,"
                 "\"parallel_fwdbwd_chunks\":false,"
                 "\"fwdbwd_dispatch_bytes_semaphore_size\":1}");
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(3, 3); /* 48 bytes each */
  cr_assert_eq(
      calls_begun(
          tinker_trainer_forward_backward(t, view(batch), 3, NULL, NULL), &f),
      0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(rig_seq(rig_request(&rig, FB, (size_t)i)), i + 1);
  }
  tinker_future_release(f);
  rig_batch_free(batch, 3);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* A batch that fills the byte quota waits for room, and loses no place. */
Test(order, byte_quota) {
  rig_t rig;
  tinker_future_t *f;
  rig_init(&rig, "{\"fwdbwd_max_chunk_len\":1,"
                 "\"fwdbwd_dispatch_bytes_semaphore_size\":50}");
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(5, 3);
  for (int i = 0; i < 5; i++) {
    static const char *const bodies[5] = {
        "{\"request_id\":\"forward_backward-2-1\"}",
        "{\"request_id\":\"forward_backward-3-1\"}",
        "{\"request_id\":\"forward_backward-4-1\"}",
        "{\"request_id\":\"forward_backward-5-1\"}",
        "{\"request_id\":\"forward_backward-1-1\"}"};
    script_expect(rig.script, TINKER__HTTP_POST, FB,
                  (script_reply_t){.delay_ms = 100, .body = bodies[i]});
  }
  cr_assert_eq(
      calls_begun(
          tinker_trainer_forward_backward(t, view(batch), 5, NULL, NULL), &f),
      0);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, FB), 2u); /* 48 of 50, then below zero */
  fake_loop_advance(&rig.loop, 100);
  cr_assert_eq(rig_count(&rig, FB), 4u);
  cr_assert_eq(tinker_future_wait(f, 10000), 0);
  cr_assert_eq(rig_count(&rig, FB), 5u);
  tinker_future_release(f);
  rig_batch_free(batch, 5);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* Twelve results outstanding: the eight oldest are polled for. */
Test(order, eight_polls) {
  rig_t rig;
  seen_t seen = {0};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  for (int i = 0; i < 8; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, RETRIEVE,
                  (script_reply_t){.delay_ms = -1});
  }
  for (int i = 0; i < 12; i++) {
    cr_assert_eq(calls_begun(tinker_trainer_optim_step(
                                 t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
                             NULL),
                 0);
  }
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, OPTIM), 12u);
  cr_assert_eq(script_parked(rig.script), 8u);
  cr_assert(rig_polls(&rig, 8) == 1 && rig_polls(&rig, 9) == 0);
  tinker_trainer_release(t);
  rig_done(&rig); /* close answers all twelve */
  cr_assert_eq(seen.calls, 12);
  cr_assert_eq(seen.status, TINKER_ECLOSED);
}

/* Two trainers don't wait for each other. */
Test(order, trainers_are_independent) {
  rig_t rig;
  seen_t seen[2] = {{0}};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *a = rig_trainer(&rig), *b = rig_trainer(&rig);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.delay_ms = 5000, .status = 503});
  calls_begun(
      tinker_trainer_optim_step(a, NULL, CALLS_WITH(NULL, rig_seen, &seen[0])),
      NULL);
  calls_begun(
      tinker_trainer_optim_step(b, NULL, CALLS_WITH(NULL, rig_seen, &seen[1])),
      NULL);
  rig_run(&rig);
  cr_assert(seen[0].calls == 0 && seen[1].calls == 1);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 1)), 1);
  tinker_trainer_release(a);
  tinker_trainer_release(b);
  rig_done(&rig);
  cr_assert_eq(seen[0].calls, 1);
}
