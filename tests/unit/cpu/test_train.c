/* Training: losses against their formulas, gradients against finite
 * differences, AdamW against a plain implementation in double, and what is
 * refused or taken back. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"
#include "support.h"

typedef struct {
  rig_t r;
  char dir[256];
  sample_t s[3];
} bench_t;

static void setup_shape(bench_t *b, const shape_t *shape, size_t n, size_t k) {
  temp_dir(b->dir);
  write_model(b->dir, shape);
  rig_open(&b->r, b->dir, 2, NULL);
  for (size_t i = 0; i < 3; i++) {
    sample_random(&b->s[i], n + 9 * i, k, shape->vocab, 40 + i);
  }
}

static void setup(bench_t *b, size_t k) {
  setup_shape(b, &tiny_shape, 11, k);
}

static void teardown(bench_t *b) {
  samples_free(b->s, 3);
  rig_close(&b->r);
  temp_remove(b->dir);
}

static const tinker__eng_loss_config_t losses[] = {
    {.kind = TINKER__LOSS_CROSS_ENTROPY},
    {.kind = TINKER__LOSS_IMPORTANCE_SAMPLING},
    {.kind = TINKER__LOSS_PPO, .clip_low = 0.8, .clip_high = 1.2},
    {.kind = TINKER__LOSS_CISPO, .clip_low = 0.5, .clip_high = 1.5},
    {.kind = TINKER__LOSS_DRO, .beta = 0.3},
    {.kind = TINKER__LOSS_GSPO, .clip_low = 0.9, .clip_high = 1.7}};
#define LOSSES (sizeof losses / sizeof *losses)

/* Mean of lp - q over the mask. */
static double sequence_mean(const sample_t *s, const float *lp) {
  double sum = 0, n = 0;
  for (size_t i = 0; i < s->n; i++) {
    if (s->mask[i] == 0) continue;
    sum += (double)lp[i] - (double)s->q[i];
    n++;
  }
  return sum / n;
}

/* Loss of one element by its formula. What the formula takes as a constant is
 * computed from the log-probabilities `held`. */
static double formula(const tinker__eng_loss_config_t *c, const sample_t *s,
                      const float *held, size_t i) {
  double lp = s->logprobs[i];
  if (c->kind == TINKER__LOSS_CROSS_ENTROPY) return -lp * s->weights[i];
  double a = s->advantages[i], r = exp(lp - s->q[i]);
  if (c->kind == TINKER__LOSS_IMPORTANCE_SAMPLING) return -r * a;
  if (c->kind == TINKER__LOSS_DRO) {
    return -(lp * a - 0.5 * c->beta * (lp - s->q[i]) * (lp - s->q[i]));
  }
  if (c->kind == TINKER__LOSS_CISPO) r = exp(held[i] - s->q[i]);
  if (c->kind == TINKER__LOSS_GSPO) {
    r = exp(sequence_mean(s, held) + lp - held[i]);
  }
  double clamped = fmin(fmax(r, c->clip_low), c->clip_high);
  if (c->kind == TINKER__LOSS_CISPO) return -clamped * lp * a;
  return -fmin(r * a, clamped * a);
}

static uint64_t outputs(const sample_t s[3]) {
  uint64_t h = HASH_START;
  for (size_t i = 0; i < 3; i++) {
    h = hash_bytes(h, s[i].logprobs, s[i].n * s[i].k * sizeof(float));
    h = hash_bytes(h, s[i].loss, s[i].n * s[i].k * sizeof(float));
  }
  return h;
}

static void check_formula(bench_t *b, tinker__eng_train_t *t,
                          const tinker__eng_loss_config_t *c) {
  double total = run_pass(t, b->s, 3, c, false), want = 0;
  for (size_t i = 0; i < 3; i++) {
    const sample_t *s = &b->s[i];
    for (size_t j = 0; j < s->n * s->k; j++) {
      double f = formula(c, s, s->logprobs, j);
      cr_assert_leq(fabs(f - s->loss[j]), 1e-5 * (1 + fabs(f)));
      want += s->loss[j];
    }
  }
  cr_assert_eq(total, want, "one chain in double");
  uint64_t h = outputs(b->s);
  cr_assert_eq(run_pass(t, b->s, 3, c, true), total, "forward alone");
  cr_assert_eq(outputs(b->s), h);
  cr_assert_eq(run_pass(t, b->s, 0, c, false), 0, "no data is no work");
}

/* The loss with the weights moved. */
static double moved_loss(bench_t *b, tinker__eng_train_t *t,
                         const tinker__eng_loss_config_t *c, float *held[3]) {
  double total = 0;
  run_pass(t, b->s, 3, c, true);
  for (size_t i = 0; i < 3; i++) {
    for (size_t j = 0; j < b->s[i].n * b->s[i].k; j++) {
      total += formula(c, &b->s[i], held[i], j);
    }
  }
  return total;
}

/* The slope of the loss along a direction, by two forward passes and by the
 * gradient. */
static void check_slope(bench_t *b, tinker__eng_train_t *t,
                        const tinker__eng_loss_config_t *c, uint64_t seed) {
  size_t n = t->lora->floats;
  float *w = malloc(n * sizeof *w), *d = malloc(n * sizeof *d);
  const float h = 3e-4f;
  double slope = 0;
  float *held[3];
  cr_assert(w && d);
  for (size_t i = 0; i < 3; i++) {
    size_t bytes = b->s[i].n * b->s[i].k * sizeof(float);
    held[i] = malloc(bytes);
    cr_assert_not_null(held[i]);
    memcpy(held[i], b->s[i].logprobs, bytes);
  }
  memcpy(w, t->current->w, n * sizeof *w);
  for (size_t i = 0; i < n; i++) {
    uint32_t r[4];
    tinker__cpu_philox(seed, 1, i, r);
    /* Along the gradient for the most part: a slope far above the noise. */
    d[i] = (t->g[i] > 0 ? 1.0f : -1.0f) * (float)(r[0] >> 8) * 0x1p-24f *
           (r[1] % 4 ? 1.0f : -1.0f);
    slope += (double)d[i] * (double)t->g[i];
  }
  move_weights(t, w, d, h);
  double up = moved_loss(b, t, c, held);
  move_weights(t, w, d, -h);
  double down = moved_loss(b, t, c, held);
  move_weights(t, w, d, 0);
  double measured = (up - down) / (2 * (double)h);
  cr_assert_leq(fabs(measured - slope), 2e-3 * fabs(slope),
                "loss %d: slope %g, measured %g", (int)c->kind, slope,
                measured);
  for (size_t i = 0; i < 3; i++) free(held[i]);
  free(w);
  free(d);
}

/* All losses; with k > 1 cross_entropy alone, which soft targets are for. */
static void check_losses(const shape_t *shape, size_t k) {
  bench_t b;
  setup_shape(&b, shape, 11, k);
  for (size_t l = 0; l < (k == 1 ? LOSSES : 1); l++) {
    tinker__eng_train_t *t = random_train(&b.r, 4, 5);
    check_formula(&b, t, &losses[l]);
    check_slope(&b, t, &losses[l], 100 + l);
    b.r.api->train_free(t);
  }
  teardown(&b);
}

Test(train, losses_and_slopes) {
  static const char *const archs[] = {"Qwen3ForCausalLM", "Qwen2ForCausalLM",
                                      "LlamaForCausalLM"};
  for (size_t i = 0; i < 6; i++) {
    shape_t shape = tiny_shape;
    shape.arch = archs[i / 2];
    shape.tied = i % 2;
    check_losses(&shape, 1);
  }
  check_losses(&tiny_shape, 3);
}

/* A vocabulary so large that each sequence lies in several blocks of logits:
 * what belongs to the whole sequence must not start anew with a block. */
Test(train, sequence_over_blocks) {
  bench_t b;
  shape_t wide = tiny_shape;
  wide.vocab = 9000;
  setup_shape(&b, &wide, 190, 1);
  const tinker__eng_loss_config_t *gspo = &losses[LOSSES - 1];
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  check_formula(&b, t, gspo);
  check_slope(&b, t, gspo, 3);
  b.r.api->train_free(t);
  teardown(&b);
}

/* --- AdamW ------------------------------------------------------------- */

typedef struct {
  double *w, *m, *v;
} plain_t;

static double *widened(const float *v, size_t n) {
  double *out = malloc(n * sizeof *out);
  cr_assert_not_null(out);
  for (size_t i = 0; i < n; i++) out[i] = v[i];
  return out;
}

/* One step in double by the textbook; returns the norm before clipping. */
static double plain_step(plain_t *p, const float *g, size_t n, int step,
                         const tinker__eng_optim_params_t *o) {
  double norm = 0;
  for (size_t i = 0; i < n; i++) norm += (double)g[i] * g[i];
  norm = sqrt(norm);
  double clip =
      o->grad_clip_norm > 0 ? fmin(1, o->grad_clip_norm / (norm + 1e-6)) : 1;
  double c1 = 1 - pow(o->beta1, step), c2 = 1 - pow(o->beta2, step);
  for (size_t i = 0; i < n; i++) {
    double x = g[i] * clip;
    p->w[i] -= o->learning_rate * o->weight_decay * p->w[i];
    p->m[i] = o->beta1 * p->m[i] + (1 - o->beta1) * x;
    p->v[i] = o->beta2 * p->v[i] + (1 - o->beta2) * x * x;
    p->w[i] -=
        o->learning_rate * (p->m[i] / c1) / (sqrt(p->v[i] / c2) + o->eps);
  }
  return norm;
}

/* Ten steps with clip and decay, one of them without gradients, one with
 * another learning rate. */
Test(train, adamw) {
  bench_t b;
  setup(&b, 1);
  tinker__eng_train_t *t = random_train(&b.r, 8, 5);
  size_t n = t->lora->floats;
  plain_t p = {widened(t->current->w, n), widened(t->m, n), widened(t->v, n)};
  float *g = malloc(n * sizeof *g);
  for (int step = 1; step <= 10; step++) {
    tinker__eng_optim_params_t o = {
        .learning_rate = step == 6 ? 3e-3 : 1e-2,
        .beta1 = 0.9,
        .beta2 = 0.95,
        .eps = 1e-8,
        .weight_decay = 0.1,
        .grad_clip_norm = step == 3 ? 0 : 2.0,
    };
    tinker__eng_optim_metrics_t m;
    if (step != 7) run_pass(t, b.s, 3, &cross_entropy, false);
    cr_assert_eq(b.r.api->train_has_grad(t), step != 7);
    memcpy(g, t->g, n * sizeof *g);
    double norm = plain_step(&p, g, n, step, &o);
    cr_assert_eq(b.r.api->optim_step(t, &o, &m, NULL, 0), 0);
    cr_assert_eq(m.step, (uint64_t)step);
    cr_assert_leq(fabs(m.grad_norm - norm), 1e-5 * norm);
    cr_assert_not(b.r.api->train_has_grad(t));
    double top = 0, error = 0;
    for (size_t i = 0; i < n; i++) {
      top = fmax(top, fabs(p.w[i]));
      error = fmax(error, fabs(t->current->w[i] - p.w[i]));
    }
    cr_assert_leq(error, 1e-5 * top, "step %d: %g of %g", step, error, top);
  }
  free(g);
  free(p.w);
  free(p.m);
  free(p.v);
  b.r.api->train_free(t);
  teardown(&b);
}

/* --- Failures ---------------------------------------------------------- */

static void non_finite(bench_t *b, tinker__eng_train_t *t) {
  size_t bytes = t->lora->floats * sizeof(float);
  tinker__eng_optim_params_t o = {
      .learning_rate = 1,
      .beta1 = 0.9,
      .beta2 = 0.9,
      .eps = 1e-8,
  };
  tinker__eng_optim_metrics_t m = {.step = 77};
  char why[256] = "";
  float *w = malloc(bytes), *v = malloc(bytes);
  run_pass(t, b->s, 3, &cross_entropy, false);
  memcpy(w, t->current->w, bytes);
  memcpy(v, t->v, bytes);
  t->g[5] = INFINITY;
  b->r.engine->piece = 1; /* in several calls */
  cr_assert_eq(b->r.api->optim_step(t, &o, &m, why, sizeof why), 1);
  b->r.engine->piece = UINT64_MAX;
  cr_assert_eq(b->r.api->optim_step(t, &o, &m, why, sizeof why), TINKER_EINVAL);
  cr_assert_str_eq(why, "NonFiniteInTensor: gradient: not finite; weights "
                        "unchanged, gradients cleared");
  cr_assert_eq(m.step, 77u);
  cr_assert_eq(memcmp(w, t->current->w, bytes), 0);
  cr_assert_eq(memcmp(v, t->v, bytes), 0);
  cr_assert_not(t->has_grad);
  /* Finite, though their squares are not. */
  t->g[5] = 1e30f;
  cr_assert_eq(b->r.api->optim_step(t, &o, &m, why, sizeof why), 0, "%s", why);
  cr_assert_lt(fabs(m.grad_norm / 1e30 - 1), 1e-6);
  o.beta2 = 1;
  cr_assert_eq(b->r.api->optim_step(t, &o, &m, why, sizeof why), TINKER_EINVAL);
  cr_assert_str_eq(why, "beta2: out of range");
  o.beta2 = 0.9;
  o.eps = 1e-60;
  cr_assert_eq(b->r.api->optim_step(t, &o, &m, why, sizeof why), TINKER_EINVAL);
  cr_assert_str_eq(why, "eps: must be above zero in float32");
  free(w);
  free(v);
}

/* A pass ended early, one cancelled, one while another is open. */
static void taken_back(bench_t *b, tinker__eng_train_t *t) {
  size_t bytes = t->lora->floats * sizeof(float);
  const tinker__engine_api_t *api = b->r.api;
  tinker__eng_train_datum_t d[3];
  tinker__eng_pass_t *p = NULL, *second = NULL;
  atomic_bool cancel = true;
  tinker__eng_optim_params_t o = {.eps = 1e-8};
  tinker__eng_optim_metrics_t m;
  float *g = malloc(bytes);
  for (size_t i = 0; i < 3; i++) {
    d[i] = sample_datum(&b->s[i], TINKER__LOSS_CROSS_ENTROPY);
  }
  for (int had = 0; had < 2; had++) {
    if (had) run_pass(t, b->s, 1, &cross_entropy, false);
    memcpy(g, t->g, bytes);
    cr_assert_eq(api->pass_begin(t, d, 3, &cross_entropy, false, &p, NULL, 0),
                 0);
    cr_assert_eq(
        api->pass_begin(t, d, 3, &cross_entropy, false, &second, NULL, 0),
        TINKER_ESTATE);
    cr_assert_eq(api->optim_step(t, &o, &m, NULL, 0), TINKER_ESTATE);
    cr_assert_eq(api->pass_step(p, &cancel, NULL, 0), TINKER_ECANCELED);
    cr_assert_eq(api->pass_step(p, NULL, NULL, 0), TINKER_ESTATE);
    api->pass_end(p);
    cr_assert_eq(memcmp(g, t->g, bytes), 0);
    cr_assert_eq(api->train_has_grad(t), had == 1);
  }
  free(g);
}

#define MANY 7

/* Ends a pass when it has changed gradients, and one by a cancel. */
static void ended_early(bench_t *b, tinker__eng_train_t *t) {
  size_t bytes = t->lora->floats * sizeof(float);
  const tinker__engine_api_t *api = b->r.api;
  sample_t many[MANY];
  tinker__eng_train_datum_t d[MANY];
  tinker__eng_pass_t *p = NULL;
  float *g = malloc(bytes);
  run_pass(t, b->s, 1, &cross_entropy, false);
  memcpy(g, t->g, bytes);
  for (size_t i = 0; i < MANY; i++) {
    sample_random(&many[i], 350, 1, tiny_shape.vocab, i);
    d[i] = sample_datum(&many[i], TINKER__LOSS_CROSS_ENTROPY);
  }
  b->r.engine->piece = 1;
  b->r.engine->window = 1;
  for (int way = 0; way < 2; way++) {
    atomic_bool cancel = true;
    cr_assert_eq(
        api->pass_begin(t, d, MANY, &cross_entropy, false, &p, NULL, 0), 0);
    while (memcmp(g, t->g, bytes) == 0) {
      cr_assert_eq(api->pass_step(p, NULL, NULL, 0), 1);
    }
    if (way) {
      cr_assert_eq(api->pass_step(p, &cancel, NULL, 0), TINKER_ECANCELED);
    }
    api->pass_end(p);
    cr_assert_eq(memcmp(g, t->g, bytes), 0);
  }
  samples_free(many, MANY);
  free(g);
}

/* A state that goes in the middle of an optimizer step takes all with it. */
static void abandoned(bench_t *b) {
  tinker__eng_train_t *t = random_train(&b->r, 4, 5);
  tinker__eng_optim_params_t o = {.eps = 1e-8};
  tinker__eng_optim_metrics_t m;
  b->r.engine->piece = 1;
  while (!t->optim.next) {
    cr_assert_eq(b->r.api->optim_step(t, &o, &m, NULL, 0), 1);
  }
  b->r.api->train_free(t);
}

typedef struct {
  const char *why;
  tinker__eng_train_datum_t d;
  tinker__eng_loss_config_t loss;
} bad_t;

static void refusals(bench_t *b, tinker__eng_train_t *t) {
  static const int32_t wild[2] = {3, 61}, below[2] = {-1, 0};
  static const int64_t far_target[2] = {3, INT64_MAX}, ok_target[2] = {1, 2};
  static const float ok[2] = {1, 2}, nan_at_1[2] = {1, NAN};
  static const int32_t tokens[2] = {1, 2};
  float out[2] = {7, 7};
  tinker__eng_train_datum_t good = {
      .tokens = tokens,
      .n = 2,
      .targets = ok_target,
      .k = 1,
      .weights = ok,
      .logprobs = ok,
      .advantages = ok,
      .out_logprobs = out,
      .out_loss = out,
  };
  bad_t bad[11];
  for (size_t i = 0; i < 11; i++) bad[i] = (bad_t){.d = good};
  bad[0].why = "data[1]: no tokens";
  bad[0].d.n = 0;
  bad[1].why = "data[1]: longer than the context of the model";
  bad[1].d.n = 401;
  bad[2].why = "data[1].tokens[1]: not in the vocabulary";
  bad[2].d.tokens = wild;
  bad[3].why = "data[1].tokens[0]: not in the vocabulary";
  bad[3].d.tokens = below;
  bad[4].why = "data[1].targets[1]: not in the vocabulary";
  bad[4].d.targets = far_target;
  bad[5].why = "data[1].weights[1]: not finite";
  bad[5].d.weights = nan_at_1;
  bad[6].why = "data[1].weights: missing";
  bad[6].d.weights = NULL;
  bad[7].why = "data[1].advantages: missing";
  bad[7].d.advantages = NULL;
  bad[7].loss.kind = TINKER__LOSS_PPO;
  bad[8].why = "data[1]: this loss takes one target per position";
  bad[8].d.k = 2;
  bad[8].loss.kind = TINKER__LOSS_IMPORTANCE_SAMPLING;
  bad[9].why = "clip thresholds: not finite, or low above high";
  bad[9].loss = (tinker__eng_loss_config_t){TINKER__LOSS_PPO, 1.2, 0.8, 0};
  bad[10].why = "data[1]: target candidates per position must be 1 to the "
                "vocabulary's size";
  bad[10].d.k = 0;
  for (size_t i = 0; i < 11; i++) {
    tinker__eng_train_datum_t d[2] = {good, bad[i].d};
    tinker__eng_pass_t *p = NULL;
    char why[256] = "";
    cr_assert_eq(
        b->r.api->pass_begin(t, d, 2, &bad[i].loss, false, &p, why, sizeof why),
        TINKER_EINVAL);
    cr_assert_str_eq(why, bad[i].why);
    cr_assert_null(p);
  }
  cr_assert_eq(out[0], 7);
}

static void bad_configs(bench_t *b) {
  tinker__eng_train_t *t = NULL;
  char why[256] = "";
  tinker__eng_lora_config_t c = {.rank = 24, .train_attn = true};
  cr_assert_eq(b->r.api->train_new(b->r.base, &c, &t, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "rank: 24 is not a power of two from 1 to 128");
  c = (tinker__eng_lora_config_t){.rank = 32};
  cr_assert_eq(b->r.api->train_new(b->r.base, &c, &t, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_null(t);
}

Test(train, failures) {
  bench_t b;
  setup(&b, 1);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  taken_back(&b, t);
  b.r.api->train_free(t);
  t = random_train(&b.r, 4, 5);
  ended_early(&b, t);
  abandoned(&b);
  refusals(&b, t);
  non_finite(&b, t);
  bad_configs(&b);
  b.r.api->train_free(t);
  teardown(&b);
}
