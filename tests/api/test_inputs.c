/* What a call was given is what it sends, whatever happens to the inputs once
 * the call has returned. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "support/calls.h"

enum { LEN = 2000 };

static int32_t tokens[LEN + 1];
static float ones[LEN], halves[LEN];

static void setup(void) {
  for (int i = 0; i <= LEN; i++) tokens[i] = i * 31 % 100000;
  for (int i = 0; i < LEN; i++) ones[i] = 1, halves[i] = 0.5f;
}

TestSuite(inputs, .init = setup);

static void train(tinker_trainer_t *t, tinker_datum_t *d, seen_t *seen) {
  tinker_future_t *f = tinker_trainer_forward_backward(
      t, &d, 1, NULL, CALLS_WITH(NULL, rig_seen, seen));
  cr_assert_eq(calls_begun(f, NULL), 0);
}

/* Where the part behind model and number begins. */
static const char *tail(const script_request_t *q, size_t *len) {
  size_t at = 2 + (size_t)(unsigned char)q->body[1] + 2;
  *len = q->body_len - at;
  return (const char *)q->body + at;
}

Test(inputs, a_batch_that_changes_after_its_call) {
  rig_t rig;
  seen_t seen[3] = {{0}};
  tinker_datum_t *d, *same;
  size_t n[3];
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  cr_assert_eq(
      tinker_datum_new_supervised(&d, tokens, NULL, LEN + 1, NULL, NULL), 0);
  cr_assert_eq(
      tinker_datum_new_supervised(&same, tokens, NULL, LEN + 1, NULL, NULL), 0);
  train(t, d, &seen[0]);
  cr_assert_eq(tinker_datum_set_f32(d, "weights", halves, LEN, 0, NULL), 0);
  train(t, d, &seen[1]);
  tinker_datum_release(d);
  train(t, same, &seen[2]);
  tinker_datum_release(same);
  rig_run(&rig);
  const char *a = tail(rig_request(&rig, FB, 0), &n[0]);
  const char *b = tail(rig_request(&rig, FB, 1), &n[1]);
  const char *c = tail(rig_request(&rig, FB, 2), &n[2]);
  cr_assert(n[0] > 16 * LEN && n[0] == n[1] && n[0] == n[2]);
  cr_assert_eq(memcmp(a, c, n[0]), 0);
  cr_assert_neq(memcmp(a, b, n[0]), 0);
  for (int i = 0; i < 3; i++) cr_assert_eq(seen[i].status, 0);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(inputs, a_prompt_that_grows_after_its_call) {
  rig_t rig;
  seen_t seen[2] = {{0}};
  tinker_input_t *prompt;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_sampler_t *s = rig_sampler(&rig);
  cr_assert_eq(tinker_input_new(&prompt, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(prompt, tokens, 3, NULL), 0);
  for (int i = 0; i < 2; i++) {
    tinker_future_t *f = tinker_sampler_sample(
        s, prompt, NULL, CALLS_WITH(NULL, rig_seen, &seen[i]));
    cr_assert_eq(calls_begun(f, NULL), 0);
    cr_assert_eq(tinker_input_add_tokens(prompt, tokens + 3, LEN - 3, NULL), 0);
  }
  tinker_input_release(prompt);
  rig_run(&rig);
  const char *first = (const char *)rig_request(&rig, ASAMPLE, 0)->body;
  const char *second = (const char *)rig_request(&rig, ASAMPLE, 1)->body;
  cr_assert_not_null(strstr(first,
                            "{\"chunks\":[{\"tokens\":[0,31,62],\"type\":"
                            "\"encoded_text\"}]}"));
  cr_assert_not_null(strstr(second, "{\"chunks\":[{\"tokens\":[0,31,62],"
                                    "\"type\":\"encoded_text\"},"
                                    "{\"tokens\":[93,124,"));
  tinker_sampler_release(s);
  rig_done(&rig);
}
