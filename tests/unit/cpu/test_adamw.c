/* The optimizer step: what its options mean at their edges, and what a step
 * that fails leaves behind. Its numbers are in test_train.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/steps.h"
#include "cpu/train.h"

static uint64_t hash_state(const tinker__eng_train_t *t) {
  size_t bytes = t->lora->floats * sizeof(float);
  uint64_t h = hash_bytes(HASH_START, &t->step, sizeof t->step);
  h = hash_bytes(h, &t->has_grad, sizeof t->has_grad);
  h = hash_bytes(h, t->current->w, bytes);
  h = hash_bytes(h, t->g, bytes);
  h = hash_bytes(h, t->m, bytes);
  return hash_bytes(h, t->v, bytes);
}

static tinker__eng_train_t *with_gradient(tiny_t *b) {
  tinker__eng_train_t *t = random_train(&b->r, 4, 5);
  run_pass(t, b->s, 2, &cross_entropy, false);
  return t;
}

static uint64_t step(tiny_t *b, tinker__eng_train_t *t,
                     const tinker__eng_optim_params_t *p) {
  tinker__eng_optim_metrics_t m;
  char why[256] = "";
  cr_assert_eq(b->r.api->optim_step(t, p, &m, why, sizeof why), 0, "%s", why);
  return hash_state(t);
}

/* Zero and less are off: the step of a bound that no norm reaches. */
Test(adamw, no_clip) {
  static const double bounds[] = {1e30, 0, -0.0, -1, -INFINITY};
  tiny_t b;
  uint64_t want = 0;
  tiny_open(&b, &tiny_shape);
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    tinker__eng_train_t *t = with_gradient(&b);
    tinker__eng_optim_params_t p = adam;
    p.grad_clip_norm = bounds[i];
    uint64_t h = step(&b, t, &p);
    if (i == 0) want = h;
    cr_assert_eq(h, want, "bound %g", bounds[i]);
    b.r.api->train_free(t);
  }
  tiny_close(&b);
}

/* Kept gradients are those of the next step: as if the pass had been run
 * again with the weights of then. */
Test(adamw, kept_gradients) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = with_gradient(&b), *twin = with_gradient(&b);
  size_t bytes = t->lora->floats * sizeof(float);
  tinker__eng_optim_params_t keep = adam;
  keep.keep_grad = true;
  step(&b, t, &keep);
  cr_assert(b.r.api->train_has_grad(t));
  cr_assert_eq(memcmp(t->g, twin->g, bytes), 0);
  step(&b, twin, &adam);
  memcpy(twin->g, t->g, bytes);
  twin->has_grad = true;
  cr_assert_eq(step(&b, t, &adam), step(&b, twin, &adam));
  cr_assert_not(b.r.api->train_has_grad(t));
  b.r.api->train_free(t);
  b.r.api->train_free(twin);
  tiny_close(&b);
}

/* Refused gradients are gone, and nothing else: the next pass and step are
 * those of a state that never had them. */
Test(adamw, bad_gradients_are_cleared) {
  static const float values[] = {NAN, INFINITY, -INFINITY};
  tiny_t b;
  tinker__eng_optim_metrics_t m = {.grad_norm = -7, .step = 77};
  tiny_open(&b, &tiny_shape);
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    tinker__eng_train_t *t = with_gradient(&b), *twin = with_gradient(&b);
    cr_assert_eq(step(&b, t, &adam), step(&b, twin, &adam));
    uint64_t before = hash_state(t);
    run_pass(t, b.s, 1, &cross_entropy, false);
    t->g[t->lora->floats - 1] = values[i];
    cr_assert_eq(b.r.api->optim_step(t, &adam, &m, NULL, 0), TINKER_EINVAL);
    cr_assert(m.grad_norm == -7 && m.step == 77);
    cr_assert_eq(hash_state(t), before, "weights, moments or gradients");
    run_pass(t, b.s, 2, &cross_entropy, false);
    run_pass(twin, b.s, 2, &cross_entropy, false);
    cr_assert_eq(step(&b, t, &adam), step(&b, twin, &adam));
    b.r.api->train_free(t);
    b.r.api->train_free(twin);
  }
  tiny_close(&b);
}

/* A call does a small piece: the norm, the update and the clearing of a few
 * hundred elements each, and the bits of one call. Between them the state is in
 * no file. */
Test(adamw, a_step_is_many_calls) {
  tiny_t b;
  tinker__eng_optim_metrics_t m;
  size_t calls = 1;
  int rc;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = with_gradient(&b), *twin = with_gradient(&b);
  step(&b, twin, &adam);
  b.r.engine->piece = 1;
  while ((rc = b.r.api->optim_step(t, &adam, &m, NULL, 0)) == 1) {
    calls++;
    cr_assert_eq(b.r.api->train_save(t, b.dir, NULL, 0), TINKER_ESTATE);
    cr_assert_eq(b.r.api->train_keep(t, b.dir, NULL, 0), TINKER_ESTATE);
  }
  cr_assert_eq(rc, 0);
  cr_assert_geq(calls, 3 * (t->lora->floats / 256));
  cr_assert_eq(hash_state(t), hash_state(twin));
  b.r.api->train_free(t);
  b.r.api->train_free(twin);
  tiny_close(&b);
}

/* Without memory a step has not begun: it can be tried again, to the same
 * bits. */
Test(adamw, no_memory) {
  tiny_t b;
  tinker__eng_optim_metrics_t m = {.step = 77};
  char why[256] = "";
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = with_gradient(&b), *twin = with_gradient(&b);
  uint64_t before = hash_state(t), n = 0;
  int rc = TINKER_ENOMEM;
  while (rc) {
    b.r.mem.fail_at = b.r.mem.count + ++n;
    rc = b.r.api->optim_step(t, &adam, &m, why, sizeof why);
    b.r.mem.fail_at = 0;
    cr_assert(rc == 0 || rc == TINKER_ENOMEM);
    if (rc) cr_assert(hash_state(t) == before && m.step == 77);
  }
  cr_assert_gt(n, 1u);
  cr_assert_str_eq(why, "no memory for the weights");
  cr_assert_eq(hash_state(t), step(&b, twin, &adam));
  b.r.api->train_free(t);
  b.r.api->train_free(twin);
  tiny_close(&b);
}

/* Each option at both ends of its range, by name; what is refused has changed
 * nothing. */
Test(adamw, refuses_options) {
#define OPTION(name) offsetof(tinker__eng_optim_params_t, name)
  static const struct {
    size_t at;
    double value;
    const char *why;
  } rows[] = {{OPTION(learning_rate), -1e-9, "learning_rate: out of range"},
              {OPTION(learning_rate), NAN, "learning_rate: out of range"},
              {OPTION(learning_rate), INFINITY, "learning_rate: out of range"},
              {OPTION(beta1), -0.1, "beta1: out of range"},
              {OPTION(beta1), 1, "beta1: out of range"},
              {OPTION(beta1), NAN, "beta1: out of range"},
              {OPTION(beta2), -0.1, "beta2: out of range"},
              {OPTION(beta2), 1, "beta2: out of range"},
              {OPTION(beta2), NAN, "beta2: out of range"},
              {OPTION(eps), -1e-8, "eps: out of range"},
              {OPTION(eps), INFINITY, "eps: out of range"},
              {OPTION(eps), 0, "eps: must be above zero in float32"},
              {OPTION(weight_decay), -1e-9, "weight_decay: out of range"},
              {OPTION(weight_decay), NAN, "weight_decay: out of range"},
              {OPTION(weight_decay), INFINITY, "weight_decay: out of range"},
              {OPTION(grad_clip_norm), NAN, "grad_clip_norm: not a number"}};
#undef OPTION
  tiny_t b;
  tinker__eng_optim_metrics_t m;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = with_gradient(&b);
  uint64_t before = hash_state(t);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tinker__eng_optim_params_t p = adam;
    char why[256] = "";
    memcpy((char *)&p + rows[i].at, &rows[i].value, sizeof(double));
    cr_assert_eq(b.r.api->optim_step(t, &p, &m, why, sizeof why), TINKER_EINVAL,
                 "row %zu", i);
    cr_assert_str_eq(why, rows[i].why);
    cr_assert_eq(hash_state(t), before, "row %zu", i);
  }
  b.r.api->train_free(t);
  tiny_close(&b);
}
