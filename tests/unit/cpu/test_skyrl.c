/* Traces recorded from another server (tests/golden/skyrl): from its first
 * adapter, four steps with its normalisation, number by number to its last
 * adapter, then its greedy sample. Its loss is the mean over sequences of
 * (sum over tokens / sum of weights), where ours is the plain sum: the inputs
 * are scaled accordingly. It has one A for q, k and v, and one for gate and
 * up: equal at first here, they stay equal once each gets the sum of their
 * gradients. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json_read.h"
#include "cpu/tensors.h"
#include "cpu/train.h"
#include "support.h"

#define STEPS 4
#define SEQS 2
#define LEN 16
#define TOLERANCE 1e-4
/* For the last gradient of trace d and what follows it: its ratios reach e^14
 * and its gradients 8e5, so that smaller entries are left with their rounding,
 * and AdamW makes every entry as large as the others. Noise of 1e-6 in the
 * gradients moves its last weights by 3.7e-3, those of trace a by 2.2e-5. In
 * float64 (skyrl/make_exact.py) it turns out that the trace is itself off by
 * 1.7e-3; we are held to float64, where we are off by 2.4e-4. */
#define LOOSE 3e-3
#define TO_EXACT 5e-4

typedef struct {
  double v[LEN];
  size_t n;
} row_t;

typedef struct {
  row_t logprobs[SEQS], elementwise[SEQS];
  double grad_norm;
} step_t;

typedef struct {
  tinker__eng_loss_config_t loss;
  double learning_rate;
  row_t tokens[SEQS], targets[SEQS], weights[SEQS], q[SEQS], adv[SEQS];
  step_t steps[STEPS];
  row_t last[SEQS], prompt, sampled, sampled_logprobs;
} trace_t;

static void read_row(tinker__json_t *j, row_t *r) {
  cr_assert(tinker__json_array(j));
  for (r->n = 0; tinker__json_more(j);) {
    cr_assert_lt(r->n, (size_t)LEN);
    cr_assert(tinker__json_f64(j, &r->v[r->n++]));
  }
}

static void read_rows(tinker__json_t *j, row_t rows[SEQS]) {
  size_t n = 0;
  cr_assert(tinker__json_array(j));
  while (tinker__json_more(j)) {
    cr_assert_lt(n, (size_t)SEQS);
    read_row(j, &rows[n++]);
  }
  cr_assert_eq(n, (size_t)SEQS);
}

static void read_step(tinker__json_t *j, step_t *s) {
  tinker__str_t key;
  cr_assert(tinker__json_object(j));
  while (tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "logprobs")) {
      read_rows(j, s->logprobs);
    } else if (tinker__str_eqs(key, "elementwise")) {
      read_rows(j, s->elementwise);
    } else {
      cr_assert(tinker__json_f64(j, &s->grad_norm));
    }
  }
}

static void read_datum(tinker__json_t *j, trace_t *t, size_t i) {
  tinker__str_t key;
  cr_assert_lt(i, (size_t)SEQS);
  cr_assert(tinker__json_object(j));
  while (tinker__json_key(j, &key)) {
    row_t *to = tinker__str_eqs(key, "tokens")     ? &t->tokens[i]
                : tinker__str_eqs(key, "targets")  ? &t->targets[i]
                : tinker__str_eqs(key, "weights")  ? &t->weights[i]
                : tinker__str_eqs(key, "logprobs") ? &t->q[i]
                                                   : &t->adv[i];
    read_row(j, to);
  }
}

static void read_loss(tinker__json_t *j, trace_t *t) {
  tinker__str_t name;
  cr_assert(tinker__json_string(j, &name));
  t->loss = (tinker__eng_loss_config_t){.clip_low = 0.8, .clip_high = 1.2};
  if (tinker__str_eqs(name, "ppo")) t->loss.kind = TINKER__LOSS_PPO;
  if (tinker__str_eqs(name, "importance_sampling")) {
    t->loss.kind = TINKER__LOSS_IMPORTANCE_SAMPLING;
  }
}

static void read_field(tinker__json_t *j, tinker__str_t key, trace_t *t) {
  size_t i = 0;
  if (tinker__str_eqs(key, "loss")) {
    read_loss(j, t);
  } else if (tinker__str_eqs(key, "learning_rate")) {
    cr_assert(tinker__json_f64(j, &t->learning_rate));
  } else if (tinker__str_eqs(key, "last_logprobs")) {
    read_rows(j, t->last);
  } else if (tinker__str_eqs(key, "prompt")) {
    read_row(j, &t->prompt);
  } else if (tinker__str_eqs(key, "sampled")) {
    read_row(j, &t->sampled);
  } else if (tinker__str_eqs(key, "sampled_logprobs")) {
    read_row(j, &t->sampled_logprobs);
  } else {
    bool steps = tinker__str_eqs(key, "steps");
    cr_assert(tinker__json_array(j));
    while (tinker__json_more(j)) {
      if (steps) {
        read_step(j, &t->steps[i++]);
      } else {
        read_datum(j, t, i++);
      }
    }
    cr_assert_eq(i, (size_t)(steps ? STEPS : SEQS));
  }
}

static void read_trace(const char *name, trace_t *t) {
  tinker__mem_t mem;
  tinker__buf_t buf;
  tinker__json_t j;
  tinker__str_t key;
  char path[600];
  memset(t, 0, sizeof *t);
  snprintf(path, sizeof path, "%s/%s/trace.json", golden_dir("skyrl"), name);
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1u << 20);
  cr_assert_eq(tinker__file_read(tinker__world_real(), path, &buf, NULL, 0), 0,
               "%s", path);
  tinker__json_init(&j, &mem, buf.data, buf.len);
  cr_assert(tinker__json_object(&j));
  while (tinker__json_key(&j, &key)) read_field(&j, key, t);
  cr_assert_eq(tinker__json_end(&j), 0);
  tinker__json_done(&j);
  tinker__buf_free(&buf);
}

/* The datums with its normalisation; scale[i] undoes it. */
static void make_samples(const trace_t *t, sample_t s[SEQS],
                         double scale[SEQS]) {
  for (size_t i = 0; i < SEQS; i++) {
    size_t n = t->tokens[i].n;
    double sum = 0;
    sample_random(&s[i], n, 1, 320, 1);
    for (size_t j = 0; j < n; j++) {
      sum += t->weights[i].n ? t->weights[i].v[j] : 1;
    }
    scale[i] = sum * SEQS;
    for (size_t j = 0; j < n; j++) {
      s[i].tokens[j] = (int32_t)t->tokens[i].v[j];
      s[i].targets[j] = (int64_t)t->targets[i].v[j];
      s[i].weights[j] = (float)(t->weights[i].v[j] / scale[i]);
      s[i].q[j] = (float)t->q[i].v[j];
      s[i].advantages[j] = (float)(t->adv[i].v[j] / scale[i]);
    }
  }
}

/* Largest difference, relative where the number is above 1. */
static double far(const row_t *want, const float *got, double scale) {
  double worst = 0;
  for (size_t i = 0; i < want->n; i++) {
    double d = fabs(want->v[i] - (double)got[i] * scale);
    worst = fmax(worst, d / fmax(1, fabs(want->v[i])));
  }
  return worst;
}

static tinker__eng_train_t *first_state(rig_t *r, const char *name,
                                        const char *which) {
  tinker__eng_lora_config_t c = {
      .rank = 4,
      .train_attn = true,
      .train_mlp = true,
  };
  tinker__peft_config_t peft = {
      .rank = 4,
      .alpha = 32,
      .targets = TINKER__LORA_ATTN | TINKER__LORA_MLP,
  };
  tinker__eng_train_t *t = NULL;
  char dir[600], why[256] = "";
  snprintf(dir, sizeof dir, "%s/%s/%s", golden_dir("skyrl"), name, which);
  cr_assert_eq(tinker__cpu_train_blank(r->base, &c, &t, why, sizeof why), 0);
  cr_assert_eq(tinker__cpu_tensors_load_peft(t->lora, t->current->w, &peft, dir,
                                             why, sizeof why),
               0, "%s", why);
  return t;
}

typedef struct {
  int32_t token;
  float logprob;
  const tinker__engine_t *e;
} greedy_t;

static void best_token(void *user, size_t position, const float *row,
                       size_t n) {
  greedy_t *g = user;
  (void)position;
  g->token = 0;
  for (size_t i = 1; i < n; i++) {
    if (row[i] > row[g->token]) g->token = (int32_t)i;
  }
  g->logprob = row[g->token] - tinker__cpu_engine()->log_sum_exp(g->e, row, n);
}

static double check_greedy(rig_t *r, tinker__eng_train_t *t,
                           const trace_t *tr) {
  tinker__eng_adapter_t *a = NULL;
  tinker__eng_slot_t *slot = NULL;
  greedy_t g = {.e = r->engine};
  int32_t tokens[LEN];
  double worst = 0;
  cr_assert_eq(r->api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(r->api->slot_new(r->base, a, 2 * LEN, &slot, NULL, 0), 0);
  for (size_t i = 0; i < tr->prompt.n; i++) {
    tokens[i] = (int32_t)tr->prompt.v[i];
  }
  tinker__eng_decode_item_t item = {
      .slot = slot,
      .tokens = tokens,
      .n = tr->prompt.n,
      .first_row = tr->prompt.n - 1,
      .on_row = best_token,
      .user = &g,
  };
  for (size_t i = 0; i < tr->sampled.n; i++) {
    cr_assert_eq(r->api->decode(r->engine, &item, 1, NULL, NULL, 0), 0);
    cr_assert_eq(g.token, (int32_t)tr->sampled.v[i], "token %zu", i);
    worst = fmax(worst, fabs(g.logprob - tr->sampled_logprobs.v[i]));
    tokens[0] = g.token;
    item.n = 1;
    item.first_row = 0;
  }
  r->api->slot_free(slot);
  r->api->adapter_release(a);
  return worst;
}

/* Gives the A of targets first .. last, which are one there, the sum of their
 * gradients; returns how much too often its square is counted then. */
static double share(tinker__eng_train_t *t, size_t first, size_t last) {
  const tinker__cpu_target_t *x = t->lora->targets;
  double extra = 0;
  for (size_t i = 0; i < x[first].in * t->lora->rank; i++) {
    float sum = 0;
    for (size_t k = first; k <= last; k++) sum += t->g[x[k].a + i];
    for (size_t k = first; k <= last; k++) t->g[x[k].a + i] = sum;
    extra += (double)(last - first) * (double)sum * (double)sum;
  }
  return extra;
}

/* An optimizer step its way; returns its gradient norm. */
static double their_step(rig_t *r, tinker__eng_train_t *t,
                         const tinker__eng_optim_params_t *o) {
  tinker__eng_optim_metrics_t m;
  double extra = 0;
  for (size_t l = 0; l < t->base->d.layers; l++) {
    size_t at = l * TINKER__PROJS;
    extra += share(t, at + TINKER__LORA_Q, at + TINKER__LORA_V);
    extra += share(t, at + TINKER__LORA_GATE, at + TINKER__LORA_UP);
  }
  cr_assert_eq(r->api->optim_step(t, o, &m, NULL, 0), 0);
  return sqrt(m.grad_norm * m.grad_norm - extra);
}

/* How far the weights are from stored ones, by the largest of those. */
static double weights_off(rig_t *r, const tinker__eng_train_t *t,
                          const char *name, const char *which) {
  tinker__eng_train_t *want = first_state(r, name, which);
  double top = 0, off = 0;
  for (size_t i = 0; i < t->lora->floats; i++) {
    top = fmax(top, fabs(want->current->w[i]));
    off = fmax(off, fabs(want->current->w[i] - t->current->w[i]));
  }
  r->api->train_free(want);
  return off / top;
}

/* All steps of a trace; its last norm, its weights and what is sampled are
 * held to `loose`. The train state it ends in is the caller's. */
static tinker__eng_train_t *check_trace(rig_t *r, const char *name,
                                        double loose, double norms[STEPS]) {
  trace_t tr;
  sample_t s[SEQS];
  double scale[SEQS], lp = 0, loss = 0, norm = 0;
  read_trace(name, &tr);
  make_samples(&tr, s, scale);
  tinker__eng_train_t *t = first_state(r, name, "first");
  tinker__eng_optim_params_t o = {
      .learning_rate = tr.learning_rate,
      .beta1 = 0.9,
      .beta2 = 0.95,
      .eps = 1e-12,
  };
  for (size_t i = 0; i < STEPS; i++) {
    const step_t *want = &tr.steps[i];
    run_pass(t, s, SEQS, &tr.loss, false);
    for (size_t j = 0; j < SEQS; j++) {
      lp = fmax(lp, far(&want->logprobs[j], s[j].logprobs, 1));
      loss = fmax(loss, far(&want->elementwise[j], s[j].loss, scale[j]));
    }
    norms[i] = their_step(r, t, &o);
    norm = fabs(norms[i] - want->grad_norm) / fmax(1, want->grad_norm);
    cr_assert_leq(norm, i + 1 < STEPS ? TOLERANCE : loose, "step %zu", i);
  }
  run_pass(t, s, SEQS, &tr.loss, true);
  for (size_t j = 0; j < SEQS; j++) {
    lp = fmax(lp, far(&tr.last[j], s[j].logprobs, 1));
  }
  double weights = weights_off(r, t, name, "last");
  double greedy = check_greedy(r, t, &tr);
  cr_log_info("%s: log-probs %.2g losses %.2g last norm %.2g weights %.2g "
              "samples %.2g",
              name, lp, loss, norm, weights, greedy);
  cr_assert_leq(lp, TOLERANCE);
  cr_assert_leq(loss, TOLERANCE);
  cr_assert_leq(weights, loose);
  cr_assert_leq(greedy, loose);
  samples_free(s, SEQS);
  return t;
}

/* d/exact/norms.json. */
static void read_exact(double out[STEPS]) {
  row_t row;
  tinker__mem_t mem;
  tinker__buf_t buf;
  tinker__json_t j;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1u << 20);
  cr_assert_eq(tinker__file_read(tinker__world_real(),
                                 golden_dir("skyrl/d/exact/norms.json"), &buf,
                                 NULL, 0),
               0);
  tinker__json_init(&j, &mem, buf.data, buf.len);
  read_row(&j, &row);
  cr_assert_eq(tinker__json_end(&j), 0);
  cr_assert_eq(row.n, (size_t)STEPS);
  memcpy(out, row.v, STEPS * sizeof *out);
  tinker__json_done(&j);
  tinker__buf_free(&buf);
}

Test(skyrl, traces) {
  rig_t r;
  double norms[STEPS], exact[STEPS];
  rig_open(&r, golden_dir("skyrl/model"), 2, NULL);
  r.api->train_free(check_trace(&r, "a", TOLERANCE, norms));
  r.api->train_free(check_trace(&r, "b", TOLERANCE, norms));
  tinker__eng_train_t *t = check_trace(&r, "d", LOOSE, norms);
  read_exact(exact);
  for (size_t i = 0; i < STEPS; i++) {
    double off = fabs(norms[i] - exact[i]) / exact[i];
    cr_log_info("d: norm %zu is off float64's by %.2g", i, off);
    cr_assert_leq(off, TOLERANCE, "step %zu: %g", i, off);
  }
  double weights = weights_off(&r, t, "d", "exact");
  cr_log_info("d: weights are off float64's by %.2g", weights);
  cr_assert_leq(weights, TO_EXACT);
  r.api->train_free(t);
  rig_close(&r);
}
