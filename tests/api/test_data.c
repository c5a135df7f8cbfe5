/* Values of training examples that are none. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "api/data.h"
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

/* --- what is wrong, and with which value --- */

static void wrong(int rc, tinker_error_t *error, const char *text) {
  cr_assert_eq(rc, TINKER_EINVAL, "%s", text);
  cr_assert_str_eq(tinker_error_message(error), text);
  tinker_error_release(error);
}

Test(data, refusals_name_the_value) {
  const int32_t ids[3] = {1, 2, -7};
  const float odd[3] = {0, INFINITY, 0};
  tinker_error_t *e = NULL;
  tinker_input_t *input = NULL;
  tinker_datum_t *datum = NULL;
  int rc = tinker_input_from_tokens(&input, ids, 3, NULL, &e);
  wrong(rc, e, "tokens[2] is -7: want 0 or more");
  rc = tinker_input_from_tokens(&input, ids, 0, NULL, &e);
  wrong(rc, e, "n is 0: want tokens");
  rc = tinker_datum_new_supervised(&datum, ids, NULL, 3, NULL, &e);
  wrong(rc, e, "tokens[2] is -7: want 0 or more");
  rc = tinker_datum_new_supervised(&datum, ids, NULL, 1, NULL, &e);
  wrong(rc, e, "n is 1: want 2 to 268435456 tokens");
  rc = tinker_datum_new_supervised(&datum, (const int32_t[]){1, 2, 3}, odd, 3,
                                   NULL, &e);
  wrong(rc, e, "weights[1] is inf: want a finite number");
  rc = tinker_datum_new_supervised(&datum, (const int32_t[]){1, 2}, odd + 1, 2,
                                   NULL, &e);
  wrong(rc, e, "weights[0] is inf: want a finite number");
  cr_assert_null(input);
  cr_assert_null(datum);
  cr_assert_eq(tinker_input_from_tokens(&input, ids, 2, NULL, NULL), 0);
  cr_assert_eq(tinker_datum_new(&datum, input, NULL, NULL), 0);
  rc = tinker_datum_set_f32(datum, "Weights", odd, 2, 0, &e);
  wrong(rc, e, "name is \"Weights\": want 1 to 64 bytes of [a-z0-9_]");
  rc = tinker_datum_set_f32(datum, "weights", odd, 2, 0, &e);
  wrong(rc, e, "weights[1] is inf: want a finite number");
  rc = tinker_datum_set_i64(datum, "target_tokens", NULL, 2, 0, &e);
  wrong(rc, e, "target_tokens is NULL");
  tinker_datum_release(datum);
  tinker_input_release(input);
}

/* A rollout: targets are shifted by one, the prompt has no advantage. */
Test(data, an_example_of_reinforcement_learning) {
  const int32_t prompt[2] = {5, 6}, drawn[3] = {7, 8, 9};
  const float logprobs[3] = {-1, -2, -3};
  const int64_t targets[4] = {6, 7, 8, 9};
  const float q[4] = {0, -1, -2, -3}, a[4] = {0, 0.5f, 0.5f, 0.5f};
  tinker_datum_t *d = NULL;
  tinker_error_t *e = NULL;
  cr_assert_eq(
      tinker_datum_new_rl(&d, prompt, 2, drawn, logprobs, 3, 0.5f, NULL, NULL),
      0);
  cr_assert_eq(tinker_input_length(d->input), 4u);
  cr_assert_eq(memcmp(tinker__datum_tensor(d, "target_tokens")->data, targets,
                      sizeof targets),
               0);
  cr_assert_eq(memcmp(tinker__datum_tensor(d, "logprobs")->data, q, sizeof q),
               0);
  cr_assert_eq(memcmp(tinker__datum_tensor(d, "advantages")->data, a, sizeof a),
               0);
  tinker_datum_release(d);
  int rc =
      tinker_datum_new_rl(&d, prompt, 2, drawn, logprobs, 3, NAN, NULL, &e);
  wrong(rc, e, "advantage is nan: want a finite number");
  rc = tinker_datum_new_rl(&d, prompt, 0, drawn, logprobs, 3, 1, NULL, &e);
  wrong(rc, e, "prompt_len is 0");
  rc = tinker_datum_new_rl(&d, prompt, 2, drawn, NULL, 3, 1, NULL, &e);
  wrong(rc, e, "logprobs is NULL");
}

/* --- arrays that are handed over --- */

#define MANY 20000 /* small ones are copied into the body */

static int given_back;

static void give_back(void *user) {
  cr_assert_eq(user, &given_back);
  given_back++;
}

/* They are read where they are, and given back once, when neither their datum
 * nor a call needs them. */
Test(data, handed_over_arrays_are_given_back_once) {
  static const int32_t ids[MANY];
  static const int64_t targets[MANY];
  static const float ones[MANY];
  rig_t rig;
  tinker_input_t *input = NULL;
  tinker_datum_t *d = NULL;
  given_back = 0;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  cr_assert_eq(tinker_input_new(&input, NULL, NULL), 0);
  cr_assert_eq(
      tinker_input_take_tokens(input, ids, MANY, give_back, &given_back, NULL),
      0);
  cr_assert_eq(input->tokens, ids);
  cr_assert_eq(tinker_datum_new(&d, input, NULL, NULL), 0);
  cr_assert_eq(tinker_datum_take_i64(d, "target_tokens", targets, MANY, 0,
                                     give_back, &given_back, NULL),
               0);
  cr_assert_eq(tinker_datum_take_f32(d, "weights", ones, MANY, 0, give_back,
                                     &given_back, NULL),
               0);
  cr_assert_eq(tinker__datum_tensor(d, "weights")->data, ones);
  tinker_input_release(input);
  tinker_future_t *f = tinker_trainer_forward(t, &d, 1, NULL, NULL);
  tinker_datum_release(d);
  cr_assert_eq(given_back, 0); /* the call reads them when it is sent */
  rig_run(&rig);
  cr_assert_eq(tinker_future_status(f), 0);
  tinker_future_release(f);
  cr_assert_eq(given_back, 3);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(data, what_is_refused_stays_the_callers) {
  static const int32_t ids[2] = {1, -2}, good[2] = {1, 2};
  static const float odd[2] = {1, NAN};
  tinker_error_t *e = NULL;
  tinker_input_t *input = NULL;
  tinker_datum_t *d = NULL;
  given_back = 0;
  tinker_input_new(&input, NULL, NULL);
  int rc = tinker_input_take_tokens(input, ids, 2, give_back, NULL, &e);
  wrong(rc, e, "tokens[1] is -2: want 0 or more");
  rc = tinker_input_take_tokens(input, good, 2, NULL, NULL, &e);
  wrong(rc, e, "free_cb is NULL");
  tinker_input_add_tokens(input, good, 2, NULL);
  rc = tinker_input_take_tokens(input, good, 2, give_back, NULL, &e);
  wrong(rc, e, "input has 2 tokens: want an empty one");
  tinker_datum_new(&d, input, NULL, NULL);
  rc = tinker_datum_take_f32(d, "weights", odd, 2, 0, give_back, NULL, &e);
  wrong(rc, e, "weights[1] is nan: want a finite number");
  char name[] = "a0";
  for (int i = 0; i < 16; i++, name[1]++) {
    if (name[1] > '9') name[0]++, name[1] = '0';
    cr_assert_eq(tinker_datum_set_f32(d, name, (float[]){1}, 1, 0, NULL), 0);
  }
  cr_assert_eq(
      tinker_datum_take_f32(d, "z", (float[]){1}, 1, 0, give_back, NULL, NULL),
      TINKER_EOVERFLOW);
  cr_assert_eq(given_back, 0);
  tinker_datum_release(d);
  tinker_input_release(input);
}

/* Tokens that are added later make a copy of those that were handed over. */
Test(data, a_handed_over_input_can_grow) {
  static const int32_t ids[2] = {7, 8};
  tinker_input_t *input = NULL;
  given_back = 0;
  tinker_input_new(&input, NULL, NULL);
  cr_assert_eq(
      tinker_input_take_tokens(input, ids, 2, give_back, &given_back, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(input, ids, 1, NULL), 0);
  cr_assert_eq(given_back, 1);
  cr_assert_eq(tinker_input_length(input), 3u);
  cr_assert(input->tokens[0] == 7 && input->tokens[2] == 7);
  tinker_input_release(input);
  cr_assert_eq(given_back, 1);
}
