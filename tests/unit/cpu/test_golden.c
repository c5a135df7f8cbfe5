/* Against PyTorch, for six tiny models: log-probabilities with and without an
 * adapter, through the training pass and through the cache; every loss, token
 * by token and as the sum, and the gradients of every A and B; ten steps of
 * AdamW with clip and decay. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json_read.h"
#include "cpu/tensors.h"
#include "cpu/train.h"
#include "model/peft.h"
#include "support.h"

/* Float32 noise of both sides; largest seen here is a tenth of it. */
#define TOLERANCE 1e-5

static const char *const models[] = {"llama_tied", "llama_untied",
                                     "qwen2_tied", "qwen2_untied",
                                     "qwen3_tied", "qwen3_untied"};
#define MODELS (sizeof models / sizeof *models)

typedef struct {
  sample_t *s;
  const tinker__engine_t *e;
  float *out;
} take_t;

static void take_row(void *user, size_t position, const float *row, size_t n) {
  take_t *t = user;
  t->out[position] = row[t->s->targets[position]] -
                     tinker__cpu_engine()->log_sum_exp(t->e, row, n);
}

/* Log-probs of a sample's targets through a slot. */
static void cached(rig_t *r, tinker__eng_adapter_t *a, sample_t *s,
                   float *out) {
  tinker__eng_slot_t *slot = NULL;
  take_t take = {.s = s, .e = r->engine, .out = out};
  tinker__eng_decode_item_t item = {
      .tokens = s->tokens,
      .n = s->n,
      .on_row = take_row,
      .user = &take,
  };
  cr_assert_eq(r->api->slot_new(r->base, a, s->n, &slot, NULL, 0), 0);
  item.slot = slot;
  cr_assert_eq(r->api->decode(r->engine, &item, 1, NULL, NULL, 0), 0);
  r->api->slot_free(slot);
}

static double worst(const float *got, const double *want, size_t n) {
  double w = 0;
  for (size_t i = 0; i < n; i++) {
    double d = fabs((double)got[i] - want[i]) / fmax(1, fabs(want[i]));
    if (!(d <= w)) w = d;
  }
  return w;
}

/* A train state with the golden adapter's weights: its rank is 2, alpha 32. */
static tinker__eng_train_t *golden_train(rig_t *r, const char *dir) {
  tinker__eng_lora_config_t c = {
      .rank = 2,
      .train_attn = true,
      .train_mlp = true,
      .train_unembed = true,
  };
  tinker__peft_config_t peft = {
      .rank = 2,
      .alpha = 32,
      .targets = (1u << TINKER__LORA_COUNT) - 1,
  };
  tinker__eng_train_t *t = NULL;
  char why[256] = "";
  cr_assert_eq(tinker__cpu_train_blank(r->base, &c, &t, why, sizeof why), 0,
               "%s", why);
  cr_assert_eq(tinker__cpu_tensors_load_peft(t->lora, t->current->w, &peft, dir,
                                             why, sizeof why),
               0, "%s", why);
  return t;
}

static void read_golden(rig_t *r, const char *name, tinker__buf_t *buf) {
  char why[256] = "";
  tinker__buf_init(buf, &r->mem, 1u << 20);
  cr_assert_eq(tinker__file_read(tinker__world_real(), golden_dir(name), buf,
                                 why, sizeof why),
               0, "%s", why);
}

/* Largest difference of a block, of gradients or weights, from a golden file,
 * by the largest entry of each tensor. */
static double block_error(rig_t *r, const tinker__cpu_lora_t *lora,
                          const float *block, const char *file) {
  tinker__buf_t buf;
  tinker__safetensors_t *st = NULL;
  char why[256] = "";
  double worst_error = 0;
  read_golden(r, file, &buf);
  cr_assert_eq(tinker__safetensors_parse(&st, &r->mem, buf.data, buf.len, why,
                                         sizeof why),
               0, "%s", why);
  cr_assert_eq(tinker__safetensors_len(st), 2 * lora->num_targets);
  for (size_t i = 0; i < 2 * lora->num_targets; i++) {
    char name[TINKER__PEFT_NAME_MAX];
    const tinker__cpu_target_t *target = &lora->targets[i / 2];
    tinker__lora_side_t side = i % 2 ? TINKER__LORA_B : TINKER__LORA_A;
    tinker__cpu_target_name(lora, i / 2, side, name);
    const tinker__tensor_t *want =
        tinker__safetensors_find(st, tinker__str(name));
    cr_assert_not_null(want, "%s", name);
    const float *got = block + (i % 2 ? target->b : target->a);
    const float *w = want->data;
    double top = 0, error = 0;
    for (size_t k = 0; k < want->count; k++) {
      top = fmax(top, fabs((double)w[k]));
      error = fmax(error, fabs((double)got[k] - (double)w[k]));
    }
    cr_assert_gt(top, 0, "%s", name);
    cr_assert_leq(error, TOLERANCE * top, "%s: %s: %g of %g", file, name, error,
                  top);
    worst_error = fmax(worst_error, error / top);
  }
  tinker__safetensors_free(st);
  tinker__buf_free(&buf);
  return worst_error;
}

static void check_model(const char *name) {
  rig_t r;
  char model[64], grads[128];
  sample_t s[GOLDEN_DATA_MAX];
  char dir[600], why[256] = "";
  float lp[512];
  tinker__eng_adapter_t *a = NULL;
  snprintf(model, sizeof model, "models/%s", name);
  snprintf(grads, sizeof grads, "models/%s/grads.safetensors", name);
  size_t n = golden_data(model, s);
  cr_assert_gt(n, 0);
  rig_open(&r, golden_dir(model), 2, NULL);
  snprintf(dir, sizeof dir, "%s/adapter", golden_dir(model));
  cr_assert_eq(r.api->adapter_load(r.base, dir, &a, why, sizeof why), 0, "%s",
               why);
  tinker__eng_train_t *t = golden_train(&r, dir);
  run_pass(t, s, n, &cross_entropy, false);
  double lp_error = 0, base_error = 0, grad_error;
  for (size_t i = 0; i < n; i++) {
    cached(&r, NULL, &s[i], lp);
    base_error = fmax(base_error, worst(lp, s[i].base_want, s[i].n));
    lp_error = fmax(lp_error, worst(s[i].logprobs, s[i].adapter_want, s[i].n));
    cached(&r, a, &s[i], lp);
    cr_assert_eq(memcmp(lp, s[i].logprobs, s[i].n * sizeof *lp), 0,
                 "%s: cached log-probs differ from the pass's", model);
  }
  grad_error = block_error(&r, t->lora, t->g, grads);
  cr_log_info("%s: base %.2g adapter %.2g gradient %.2g", model, base_error,
              lp_error, grad_error);
  cr_assert_leq(base_error, TOLERANCE, "%s: %g", model, base_error);
  cr_assert_leq(lp_error, TOLERANCE, "%s: %g", model, lp_error);
  r.api->train_free(t);
  r.api->adapter_release(a);
  samples_free(s, n);
  rig_close(&r);
}

Test(golden, torch) {
  for (size_t i = 0; i < MODELS; i++) check_model(models[i]);
}

/* Names and options as in make_losses.py. */
static const struct {
  const char *name;
  tinker__eng_loss_config_t config;
} losses[] = {
    {"cross_entropy", {.kind = TINKER__LOSS_CROSS_ENTROPY}},
    {"importance_sampling", {.kind = TINKER__LOSS_IMPORTANCE_SAMPLING}},
    {"ppo", {TINKER__LOSS_PPO, 0.8, 1.2, 0}},
    {"cispo", {TINKER__LOSS_CISPO, 0.7, 1.4, 0}},
    {"dro", {.kind = TINKER__LOSS_DRO, .beta = 0.3}},
    {"gspo", {TINKER__LOSS_GSPO, 0.9, 1.1, 0}}};

/* A model and its train state, for the numbers that are in double on
 * PyTorch's side. */
static tinker__eng_train_t *open_case(rig_t *r, const char *model) {
  char name[64], adapter[600];
  snprintf(name, sizeof name, "models/%s", model);
  rig_open(r, golden_dir(name), 2, NULL);
  snprintf(adapter, sizeof adapter, "%s/adapter", golden_dir(name));
  return golden_train(r, adapter);
}

static void check_loss(const char *model, const char *name,
                       const tinker__eng_loss_config_t *config) {
  rig_t r;
  sample_t s[GOLDEN_DATA_MAX];
  char dir[64], grads[128];
  double lp = 0, loss = 0, want = 0, size = 0;
  snprintf(dir, sizeof dir, "losses/%s/%s", model, name);
  snprintf(grads, sizeof grads, "%s/grads.safetensors", dir);
  size_t n = golden_data(dir, s);
  cr_assert_eq(n, 2);
  tinker__eng_train_t *t = open_case(&r, model);
  double total = run_pass(t, s, n, config, false);
  for (size_t k = 0; k < n; k++) {
    lp = fmax(lp, worst(s[k].logprobs, s[k].adapter_want, s[k].n));
    loss = fmax(loss, worst(s[k].loss, s[k].loss_want, s[k].n));
    for (size_t j = 0; j < s[k].n; j++) {
      want += s[k].loss_want[j];
      size += fabs(s[k].loss_want[j]);
    }
  }
  double grad = block_error(&r, t->lora, t->g, grads);
  cr_log_info("%s: log-prob %.2g loss %.2g sum %.2g gradient %.2g", dir, lp,
              loss, fabs(total - want) / size, grad);
  cr_assert_leq(lp, TOLERANCE, "%s: %g", dir, lp);
  cr_assert_leq(loss, TOLERANCE, "%s: %g", dir, loss);
  cr_assert_leq(fabs(total - want), TOLERANCE * size, "%s: %.9g of %.9g", dir,
                total, want);
  r.api->train_free(t);
  samples_free(s, n);
  rig_close(&r);
}

Test(golden, losses) {
  for (size_t i = 0; i < MODELS; i++) {
    for (size_t k = 0; k < sizeof losses / sizeof *losses; k++) {
      check_loss(models[i], losses[k].name, &losses[k].config);
    }
  }
}

/* Ten steps, with the options of make_losses.py. */
#define STEPS 10
static const tinker__eng_optim_params_t adamw = {
    .learning_rate = 0.001,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .eps = 1e-8,
    .weight_decay = 0.1,
    .grad_clip_norm = 120.0,
};

static void read_norms(rig_t *r, const char *file, double out[STEPS]) {
  tinker__buf_t buf;
  tinker__json_t j;
  tinker__str_t key;
  size_t n = 0;
  read_golden(r, file, &buf);
  tinker__json_init(&j, &r->mem, buf.data, buf.len);
  cr_assert(tinker__json_object(&j));
  while (tinker__json_key(&j, &key)) {
    if (!tinker__str_eqs(key, "grad_norm")) {
      tinker__json_skip(&j);
      continue;
    }
    cr_assert(tinker__json_array(&j));
    while (tinker__json_more(&j)) {
      cr_assert_lt(n, (size_t)STEPS);
      cr_assert(tinker__json_f64(&j, &out[n++]));
    }
  }
  cr_assert_eq(tinker__json_end(&j), 0);
  cr_assert_eq(n, (size_t)STEPS);
  tinker__json_done(&j);
  tinker__buf_free(&buf);
}

static void check_steps(const char *model) {
  rig_t r;
  sample_t s[GOLDEN_DATA_MAX];
  char dir[64], file[128];
  double norms[STEPS], norm = 0, lp = 0;
  snprintf(dir, sizeof dir, "losses/%s/adamw", model);
  size_t n = golden_data(dir, s);
  cr_assert_eq(n, 2);
  tinker__eng_train_t *t = open_case(&r, model);
  snprintf(file, sizeof file, "%s/steps.json", dir);
  read_norms(&r, file, norms);
  for (size_t i = 0; i < STEPS; i++) {
    tinker__eng_optim_metrics_t m;
    run_pass(t, s, n, &cross_entropy, false);
    cr_assert_eq(r.api->optim_step(t, &adamw, &m, NULL, 0), 0);
    norm = fmax(norm, fabs(m.grad_norm - norms[i]) / norms[i]);
  }
  run_pass(t, s, n, &cross_entropy, true);
  for (size_t k = 0; k < n; k++) {
    lp = fmax(lp, worst(s[k].logprobs, s[k].adapter_want, s[k].n));
  }
  snprintf(file, sizeof file, "%s/last.safetensors", dir);
  double weights = block_error(&r, t->lora, t->current->w, file);
  cr_log_info("%s: norm %.2g weights %.2g log-prob %.2g", dir, norm, weights,
              lp);

  cr_assert_leq(norm, TOLERANCE, "%s: %g", dir, norm);
  cr_assert_leq(lp, TOLERANCE, "%s: %g", dir, lp);
  r.api->train_free(t);
  samples_free(s, n);
  rig_close(&r);
}

Test(golden, ten_steps) {
  for (size_t i = 0; i < MODELS; i++) check_steps(models[i]);
}

/* The demo's model, bf16 in the file, against what transformers computed. */
Test(golden, demo_model) {
  rig_t r;
  sample_t s[GOLDEN_DATA_MAX];
  float lp[512];
  size_t n = golden_data("tiny-kjv", s);
  cr_assert_eq(n, 1);
  rig_open(&r, TINKER_SOURCE_DIR "/demo/model/tiny-kjv", 2, NULL);
  cached(&r, NULL, &s[0], lp);
  double error = worst(lp, s[0].base_want, s[0].n);
  cr_log_info("tiny-kjv: %.2g", error);
  cr_assert_leq(error, TOLERANCE, "%g", error);
  samples_free(s, n);
  rig_close(&r);
}
