/* Values of training examples that are none. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "rig.h"
#include "wire/fb_request.h"

static const float none[3] = {NAN, HUGE_VALF, -HUGE_VALF};

static tinker_datum_t *example(void) {
  static const int32_t tokens[5] = {1, 2, 3, 4, 5};
  static const float weights[5] = {1, 2, 3, 4, 5};
  tinker_datum_t *d = NULL;
  cr_assert_eq(tinker_datum_new_supervised(&d, tokens, weights, 5, NULL, NULL),
               0);
  return d;
}

/* Wherever it stands, in a vector or a matrix. */
Test(data, what_is_not_finite_is_refused) {
  tinker_datum_t *d = example();
  for (size_t kind = 0; kind < 3; kind++) {
    for (size_t at = 0; at < 12; at++) {
      float values[12] = {0};
      values[at] = none[kind];
      cr_assert_eq(tinker_datum_set_f32(d, "weights", values, 12, 0, NULL),
                   TINKER_EINVAL);
      cr_assert_eq(tinker_datum_set_f32(d, "weights", values, 4, 3, NULL),
                   TINKER_EINVAL);
      cr_assert_eq(tinker_datum_set_f32(d, "other", values, at, 0, NULL),
                   at ? 0 : TINKER_EINVAL); /* it is not among them */
    }
  }
  tinker_datum_release(d);
}

Test(data, nor_among_the_weights_of_a_supervised_one) {
  static const int32_t tokens[4] = {1, 2, 3, 4};
  for (size_t kind = 0; kind < 3; kind++) {
    for (size_t at = 1; at < 4; at++) {
      float weights[4] = {1, 1, 1, 1};
      tinker_datum_t *d = NULL;
      weights[at] = none[kind];
      cr_assert_eq(
          tinker_datum_new_supervised(&d, tokens, weights, 4, NULL, NULL),
          TINKER_EINVAL);
      cr_assert_null(d);
    }
  }
}

static void check_sent(const script_request_t *q) {
  static const float want[4] = {2, 3, 4, 5};
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__fb_request_t r;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  cr_assert_eq(tinker__fb_request_decode(
                   &r, &arena, (tinker__str_t){q->body, q->body_len},
                   TINKER__FB_PROTO, false, 1 << 20, NULL, 0),
               0);
  const tinker__named_tensor_t *w = &r.view.datums[0].inputs[1];
  cr_assert(tinker__str_eqs(w->name, "weights") && w->tensor.count == 4);
  cr_assert_arr_eq(w->tensor.data, want, sizeof want);
  tinker__arena_free(&arena);
}

/* A refused tensor leaves the one that was there. */
Test(data, unchanged_on_failure) {
  rig_t rig;
  tinker_future_t *f;
  const float bad[4] = {9, 9, 9, NAN};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t *d = example();
  cr_assert_eq(tinker_datum_set_f32(d, "weights", bad, 4, 0, NULL),
               TINKER_EINVAL);
  cr_assert_eq(tinker_datum_set_f32(d, "weights", bad, SIZE_MAX / 2, 4, NULL),
               TINKER_EOVERFLOW);
  cr_assert_eq(tinker_datum_set_f32(d, "weights", bad, 0, 0, NULL),
               TINKER_EINVAL);
  tinker_datum_t *batch[1] = {d};
  cr_assert_eq(
      calls_begun(tinker_trainer_forward_backward(t, batch, 1, NULL, NULL), &f),
      0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  check_sent(rig_request(&rig, FB, 0));
  tinker_future_release(f);
  tinker_datum_release(d);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* Thresholds of a loss too; zero is "not given". */
Test(data, losses) {
  rig_t rig;
  tinker_future_t *f = NULL;
  tinker_loss_t loss;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t *d = example();
  tinker_datum_t *batch[1] = {d};
  static const float ones[4] = {1, 1, 1, 1};
  cr_assert_eq(tinker_datum_set_f32(d, "logprobs", ones, 4, 0, NULL), 0);
  cr_assert_eq(tinker_datum_set_f32(d, "advantages", ones, 4, 0, NULL), 0);
  for (int i = 0; i < 9; i++) {
    tinker_loss_init(&loss);
    loss.kind = i < 6 ? TINKER_LOSS_PPO : TINKER_LOSS_DRO;
    double value = (double)none[i % 3];
    if (i < 3) {
      loss.clip_low_threshold = value;
    } else if (i < 6) {
      loss.clip_high_threshold = value;
    } else {
      loss.beta = value;
    }
    cr_assert_eq(
        calls_begun(tinker_trainer_forward_backward(t, batch, 1, &loss, NULL),
                    &f),
        TINKER_EINVAL, "%d", i);
  }
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, FB), 0u);
  tinker_datum_release(d);
  tinker_trainer_release(t);
  rig_done(&rig);
}
