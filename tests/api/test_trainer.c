/* Numbers that a trainer is given reach the wire as they are, or are refused
 * before they take a number. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "rig.h"

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

TestSuite(trainer, .init = setup, .fini = teardown);

static int step(const tinker_adam_params_t *params) {
  tinker_future_t *f = NULL;
  int rc = calls_begun(tinker_trainer_optim_step(trainer, params, NULL), &f);
  if (!rc) cr_assert_eq(tinker_future_wait(f, 1000), 0);
  tinker_future_release(f);
  return rc;
}

/* The n-th step carries these fields. */
static void carries(size_t n, const char *fields) {
  const script_request_t *q = rig_request(&rig, OPTIM, n);
  cr_assert_not_null(q);
  cr_assert_not_null(strstr(q->body, fields), "%s", q->body);
}

Test(trainer, a_learning_rate_of_zero_stays_zero) {
  tinker_adam_params_t o;
  cr_assert_eq(step(NULL), 0);
  carries(0, "\"adam_params\":{\"learning_rate\":0.0001,\"beta1\":0.9,"
             "\"beta2\":0.95,\"eps\":1e-12,\"weight_decay\":0.0,"
             "\"grad_clip_norm\":0.0}");
  tinker_adam_params_init(&o);
  cr_assert_eq(step(&o), 0);
  carries(1, "\"learning_rate\":0.0001,");
  o.learning_rate = 0; /* a schedule that has come to its end */
  cr_assert_eq(step(&o), 0);
  carries(2, "\"learning_rate\":0.0,");
}

Test(trainer, every_parameter_of_a_step_is_sent) {
  tinker_adam_params_t o;
  tinker_adam_params_init(&o);
  o.learning_rate = 0.25;
  o.beta1 = 0.5;
  o.beta2 = 0.75;
  o.eps = 0.125;
  o.weight_decay = 0.0625;
  o.grad_clip_norm = 3;
  cr_assert_eq(step(&o), 0);
  carries(0, "\"adam_params\":{\"learning_rate\":0.25,\"beta1\":0.5,"
             "\"beta2\":0.75,\"eps\":0.125,\"weight_decay\":0.0625,"
             "\"grad_clip_norm\":3.0}");
}

static void refused(size_t offset, double value) {
  tinker_adam_params_t o;
  tinker_adam_params_init(&o);
  memcpy((char *)&o + offset, &value, sizeof value);
  cr_assert_eq(step(&o), TINKER_EINVAL, "byte %zu: %g", offset, value);
}

Test(trainer, a_parameter_out_of_range_takes_no_number) {
  static const size_t offsets[] = {
      offsetof(tinker_adam_params_t, learning_rate),
      offsetof(tinker_adam_params_t, beta1),
      offsetof(tinker_adam_params_t, beta2),
      offsetof(tinker_adam_params_t, eps),
      offsetof(tinker_adam_params_t, weight_decay),
      offsetof(tinker_adam_params_t, grad_clip_norm)};
  for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
    refused(offsets[i], NAN);
    refused(offsets[i], HUGE_VAL);
    refused(offsets[i], -HUGE_VAL);
    refused(offsets[i], -1e-9);
  }
  refused(offsets[1], 1);
  refused(offsets[2], 1);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, OPTIM), 0u);
  cr_assert_eq(step(NULL), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 0)), 1);
}

static int forward(tinker_datum_t *d, int32_t kind) {
  tinker_datum_t *batch[1] = {d};
  tinker_future_t *f = NULL;
  tinker_loss_t loss;
  tinker_loss_init(&loss);
  loss.kind = kind;
  int rc =
      calls_begun(tinker_trainer_forward(trainer, batch, 1, &loss, NULL), &f);
  tinker_future_release(f);
  return rc;
}

/* A tensor has one row for each token of the input: with one more, each value
 * would stand at another token than the caller meant. */
Test(trainer, one_row_for_each_token) {
  static const char *const names[] = {"target_tokens", "logprobs",
                                      "advantages"};
  static const int64_t ids[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  static const float ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  tinker_datum_t **batch = rig_batch(1, 4);
  for (int i = 1; i < 3; i++) {
    cr_assert_eq(tinker_datum_set_f32(batch[0], names[i], ones, 4, 0, NULL), 0);
  }
  cr_assert_eq(forward(batch[0], TINKER_LOSS_PPO), 0);
  for (int i = 0; i < 3; i++) {
    for (size_t rows = 3; rows < 6; rows++) {
      int rc = i ? tinker_datum_set_f32(batch[0], names[i], ones, rows, 0, NULL)
                 : tinker_datum_set_i64(batch[0], names[i], ids, rows, 0, NULL);
      cr_assert_eq(rc, 0);
      rc = forward(batch[0], TINKER_LOSS_PPO);
      cr_assert_eq(rc, rows == 4 ? 0 : TINKER_EINVAL, "%s: %zu rows", names[i],
                   rows);
      if (rows == 5 && i) { /* and good again */
        tinker_datum_set_f32(batch[0], names[i], ones, 4, 0, NULL);
      }
      if (rows == 5 && !i)
        tinker_datum_set_i64(batch[0], names[i], ids, 4, 0, NULL);
    }
  }
  cr_assert_eq(tinker_datum_set_f32(batch[0], "advantages", ones, 4, 2, NULL),
               0);
  cr_assert_eq(forward(batch[0], TINKER_LOSS_PPO), TINKER_EINVAL);
  rig_batch_free(batch, 1);
}

/* A checkpoint that would live a minute, or for ever by a slip of zeros. */
Test(trainer, life_of_a_checkpoint) {
  static const int64_t bad[] = {-2, 0, 3599, 315360001, INT64_MAX};
  static const int64_t good[] = {TINKER_NO_TTL, 3600, 315360000};
  tinker_save_options_t o;
  for (int i = 0; i < 8; i++) {
    tinker_future_t *f = NULL;
    tinker_save_options_init(&o);
    o.ttl_seconds = i < 5 ? bad[i] : good[i - 5];
    cr_assert_eq(
        calls_begun(tinker_trainer_save_state(trainer, "a", &o, NULL), &f),
        i < 5 ? TINKER_EINVAL : 0, "%d", i);
    tinker_future_release(f);
  }
}

/* A path that no message can carry is refused as it is for a new trainer. */
Test(trainer, path_of_a_state) {
  static char large[(1 << 20) + 64] = "tinker://";
  const char *bad[] = {NULL, "", "tinker://", "http://a", "tinker://\xff",
                       large};
  memset(large + 9, 'a', sizeof large - 10);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    tinker_future_t *f = NULL;
    cr_assert_eq(
        calls_begun(tinker_trainer_load_state(trainer, bad[i], NULL), &f),
        TINKER_EINVAL, "%zu", i);
    cr_assert_eq(calls_begun(tinker_client_create_trainer_from_state(
                                 rig.client, bad[i], 0, NULL),
                             &f),
                 TINKER_EINVAL, "%zu", i);
  }
  cr_assert_eq(step(NULL), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 0)), 1);
}
