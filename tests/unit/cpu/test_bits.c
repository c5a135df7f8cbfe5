/* The same bits: whatever the number of threads, the kernel set, the cut of a
 * batch into requests, the memory for activations. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/train.h"
#include "support.h"

/* What ten steps on the tiny model end in, on any machine. */
#define COMMITTED 0xf4f7372d612cf402u

#define DATA 9

/* One of them `longest` tokens, one with soft targets. */
static void make_data(sample_t *s, size_t longest) {
  for (size_t i = 0; i < DATA; i++) {
    sample_random(&s[i], i == 3 ? longest : 5 + 17 * i, i == 4 ? 3 : 1,
                  tiny_shape.vocab, 50 + i);
  }
}

static const tinker__optim_params_t adam = {.learning_rate = 0.01,
                                            .beta1 = 0.9,
                                            .beta2 = 0.95,
                                            .eps = 1e-8,
                                            .weight_decay = 0.1,
                                            .grad_clip_norm = 1.0};

static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

static uint64_t hash_decode(rig_t *r, tinker__train_t *t, const sample_t *s,
                            uint64_t h) {
  tinker__adapter_t *a = NULL;
  tinker__slot_t *slot = NULL;
  cr_assert_eq(r->api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(r->api->slot_new(r->base, a, s->n, &slot, NULL, 0), 0);
  tinker__decode_item_t item = {.slot = slot,
                                .tokens = s->tokens,
                                .n = s->n,
                                .on_row = hash_row,
                                .user = &h};
  cr_assert_eq(r->api->decode(r->engine, &item, 1, NULL, NULL, 0), 0);
  r->api->slot_free(slot);
  r->api->adapter_release(a);
  return h;
}

/* Ten steps of mixed losses; a digest of everything that came out. */
static uint64_t ten_steps(const char *dir, unsigned threads,
                          const char *kernels) {
  rig_t r;
  sample_t s[DATA];
  uint64_t h = HASH_START;
  rig_open(&r, dir, threads, kernels);
  make_data(s, 70);
  tinker__train_t *t = random_train(&r, 8, 3);
  for (int step = 0; step < 10; step++) {
    tinker__loss_config_t loss = {
        .kind = TINKER__LOSS_CROSS_ENTROPY, .clip_low = 0.8, .clip_high = 1.2};
    if (step % 3 == 1) loss.kind = TINKER__LOSS_IMPORTANCE_SAMPLING;
    if (step % 3 == 2) loss.kind = TINKER__LOSS_PPO;
    size_t n = step % 3 ? 4 : 5;
    tinker__optim_metrics_t m;
    double total = run_pass(t, s, n, &loss, false);
    h = hash_bytes(h, &total, sizeof total);
    for (size_t i = 0; i < n; i++) {
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

Test(bits, threads_and_kernels) {
  char dir[256];
  temp_dir(dir);
  write_model(dir, &tiny_shape);
  for (size_t k = 0; tinker__kernels_at(k); k++) {
    const char *name = tinker__kernels_at(k)->name;
    for (unsigned threads = 1; threads <= 4; threads *= 2) {
      uint64_t h = ten_steps(dir, threads, name);
      cr_assert_eq(h, COMMITTED, "%s, %u threads: %#llx", name, threads,
                   (unsigned long long)h);
    }
  }
  temp_remove(dir);
}

/* The gradients of all data, given in requests of `each`. */
static void gradients(rig_t *r, sample_t *s, size_t each, float **out,
                      size_t *len) {
  tinker__train_t *t = random_train(r, 4, 9);
  for (size_t i = 0; i < DATA; i += each) {
    run_pass(t, s + i, DATA - i < each ? DATA - i : each, &cross_entropy,
             false);
  }
  *len = t->lora->floats * sizeof(float);
  *out = malloc(*len);
  cr_assert_not_null(*out);
  memcpy(*out, t->g, *len);
  r->api->train_free(t);
}

/* Requests of all, two, seven and one; then steps of 256 tokens with few
 * activations kept, and with none. */
Test(bits, splits_and_memory) {
  static const size_t sizes[] = {DATA, 2, 7, 1};
  char dir[256];
  rig_t r;
  sample_t s[DATA];
  float *want, *got;
  size_t len;
  temp_dir(dir);
  write_model(dir, &tiny_shape);
  rig_open(&r, dir, 2, NULL);
  make_data(s, 390);
  gradients(&r, s, DATA, &want, &len);
  for (size_t i = 1; i < 4; i++) {
    gradients(&r, s, sizes[i], &got, &len);
    cr_assert_eq(memcmp(want, got, len), 0, "requests of %zu", sizes[i]);
    free(got);
  }
  for (size_t budget = 400000; budget > 4000; budget /= 4) {
    r.engine->budget = budget;
    gradients(&r, s, DATA, &got, &len);
    cr_assert_eq(memcmp(want, got, len), 0, "budget %zu", budget);
    free(got);
  }
  free(want);
  samples_free(s, DATA);
  rig_close(&r);
  temp_remove(dir);
}
