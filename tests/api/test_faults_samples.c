/* Samples whose results are lost, or that the service can't take now. */
#include "faults.h"

static tinker_input_t *prompt(void) {
  static const int32_t tokens[2] = {1, 2};
  tinker_input_t *input = NULL;
  cr_assert_eq(tinker_input_new(&input, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(input, tokens, 2, NULL), 0);
  return input;
}

Test(faults, lost_sample_is_drawn_again) {
  rig_t rig;
  tinker_future_t *f;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_sampler_t *s = rig_sampler(&rig);
  tinker_input_t *p = prompt();
  expect_poll(&rig, (script_reply_t){.status = 410, .body = DETAIL("gone")});
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, NULL, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  cr_assert_eq(rig_count(&rig, ASAMPLE), 2u);
  cr_assert_eq(rig_seq(rig_request(&rig, ASAMPLE, 0)), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, ASAMPLE, 1)), 1);
  const tinker_sample_result_t *r;
  size_t n;
  cr_assert_eq(tinker_future_get_sample(f, &r), 0);
  const tinker_sequence_t *seq = tinker_sample_result_sequences(r, &n);
  cr_assert(n == 1 && seq->count == 2 && seq->tokens[1] == 6);
  cr_assert_str_eq(seq->sequence_id, "q2"); /* of the attempt that counts */
  tinker_future_release(f);
  tinker_input_release(p);
  tinker_sampler_release(s);
  rig_done(&rig);
}

/* One 429 rests all samples for a second. */
Test(faults, backpressure) {
  rig_t rig;
  seen_t seen[3] = {{0}};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_sampler_t *s = rig_sampler(&rig);
  tinker_input_t *p = prompt();
  script_expect(rig.script, TINKER__HTTP_POST, ASAMPLE,
                (script_reply_t){.status = 429, .body = "slow down"});
  calls_begun(
      tinker_sampler_sample(s, p, NULL, CALLS_WITH(NULL, rig_seen, &seen[0])),
      NULL);
  rig_run(&rig);
  calls_begun(
      tinker_sampler_sample(s, p, NULL, CALLS_WITH(NULL, rig_seen, &seen[1])),
      NULL);
  calls_begun(
      tinker_sampler_sample(s, p, NULL, CALLS_WITH(NULL, rig_seen, &seen[2])),
      NULL);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, ASAMPLE), 1u);
  fake_loop_advance(&rig.loop, 990);
  cr_assert_eq(rig_count(&rig, ASAMPLE), 1u);
  fake_loop_advance(&rig.loop, 5000);
  for (int i = 0; i < 3; i++) {
    cr_assert(seen[i].calls == 1 && seen[i].status == 0);
  }
  cr_assert_eq(rig_count(&rig, ASAMPLE), 4u);
  cr_assert(strstr(rig_request(&rig, ASAMPLE, 0)->headers,
                   "X-Tinker-Sampling-Backpressure: 1\n"));
  tinker_input_release(p);
  tinker_sampler_release(s);
  rig_done(&rig);
}
