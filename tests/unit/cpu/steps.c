/* steps: see steps.h. */
#include "cpu/steps.h"

#include <criterion/criterion.h>

#include "cpu/train.h"

#define STEPS 50

void make_data(sample_t s[DATA], size_t longest) {
  for (size_t i = 0; i < DATA; i++) {
    sample_random(&s[i], i == 3 ? longest : 5 + 17 * i, i == 4 ? 3 : 1,
                  tiny_shape.vocab, 50 + i);
  }
}

const tinker__eng_optim_params_t adam = {
    .learning_rate = 0.01,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .eps = 1e-8,
    .weight_decay = 0.1,
    .grad_clip_norm = 1.0,
};

static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

static uint64_t hash_decode(rig_t *r, tinker__eng_train_t *t, const sample_t *s,
                            uint64_t h) {
  tinker__eng_adapter_t *a = NULL;
  tinker__eng_slot_t *slot = NULL;
  cr_assert_eq(r->api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(r->api->slot_new(r->base, a, s->n, &slot, NULL, 0), 0);
  tinker__eng_decode_item_t item = {
      .slot = slot,
      .tokens = s->tokens,
      .n = s->n,
      .on_row = hash_row,
      .user = &h,
  };
  cr_assert_eq(r->api->decode(r->engine, &item, 1, NULL, NULL, 0), 0);
  r->api->slot_free(slot);
  r->api->adapter_release(a);
  return h;
}

const tinker__eng_loss_config_t losses[LOSSES] = {
    {.kind = TINKER__LOSS_CROSS_ENTROPY},
    {.kind = TINKER__LOSS_IMPORTANCE_SAMPLING},
    {TINKER__LOSS_PPO, 0.8, 1.2, 0},
    {TINKER__LOSS_CISPO, 0.0, 4.0, 0},
    {.kind = TINKER__LOSS_DRO, .beta = 0.05},
    {TINKER__LOSS_GSPO, 0.8, 1.2, 0}};

uint64_t many_steps(const tinker__engine_api_t *api, const char *dir,
                    unsigned threads, const char *kernels) {
  rig_t r;
  sample_t s[DATA];
  uint64_t h = HASH_START;
  rig_open_engine(&r, api, dir, threads, kernels);
  make_data(s, 70);
  tinker__eng_train_t *t = random_train(&r, 8, 3);
  for (size_t step = 0; step < STEPS; step++) {
    /* Two sequences; soft targets are cross_entropy's alone. */
    size_t from = step % LOSSES ? step / LOSSES % 2 * 2 : 3;
    tinker__eng_optim_metrics_t m;
    double total = run_pass(t, s + from, 2, &losses[step % LOSSES], false);
    h = hash_bytes(h, &total, sizeof total);
    for (size_t i = from; i < from + 2; i++) {
      h = hash_bytes(h, s[i].logprobs, s[i].n * s[i].k * sizeof(float));
    }
    cr_assert_eq(r.api->optim_step(t, &adam, &m, NULL, 0), 0);
    h = hash_bytes(h, &m.grad_norm, sizeof m.grad_norm);
  }
  h = hash_bytes(h, t->current->w, t->lora->floats * sizeof(float));
  h = hash_bytes(h, t->v, t->lora->floats * sizeof(float));
  h = hash_decode(&r, t, &s[3], h);
  r.api->train_free(t);
  samples_free(s, DATA);
  rig_close(&r);
  return h;
}
