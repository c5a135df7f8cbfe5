/* The same bits: whatever the number of threads, the kernel set, the cut of a
 * batch into requests, the memory for activations. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/steps.h"
#include "cpu/train.h"

/* Every kernel set with one, two and four threads. */
Test(bits, threads_and_kernels) {
  char dir[256];
  temp_dir(dir);
  write_model(dir, &tiny_shape);
  for (size_t k = 0; tinker__cpu_kernels_at(k); k++) {
    const char *name = tinker__cpu_kernels_at(k)->name;
    for (unsigned threads = 1; threads <= 4; threads *= 2) {
#ifdef CPU_FEW_RUNS
      if (threads != 1u << (k + 1) % 3) continue;
#endif
      uint64_t h = many_steps(tinker__cpu_engine(), dir, threads, name);
      cr_assert_eq(h, COMMITTED, "%s, %u threads: %#llx", name, threads,
                   (unsigned long long)h);
    }
  }
  temp_remove(dir);
}

/* The gradients of all data, given in requests of `each`. */
static void gradients(rig_t *r, sample_t *s, size_t each, float **out,
                      size_t *len) {
  tinker__eng_train_t *t = random_train(r, 4, 9);
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

#define MANY 100

/* A hundred sequences as 1, 2, 7 and 100 requests, of each loss. */
static void check_splits(rig_t *r, sample_t *s,
                         const tinker__eng_loss_config_t *loss) {
  static const size_t requests[] = {1, 2, 7, MANY};
  uint64_t want = 0;
  for (size_t i = 0; i < 4; i++) {
    tinker__eng_train_t *t = random_train(r, 4, 9);
    size_t parts = requests[i];
    for (size_t p = 0; p < parts; p++) {
      size_t from = MANY * p / parts, to = MANY * (p + 1) / parts;
      run_pass(t, s + from, to - from, loss, false);
    }
    uint64_t h = hash_bytes(HASH_START, t->g, t->lora->floats * sizeof(float));
    for (size_t k = 0; k < MANY; k++) {
      h = hash_bytes(h, s[k].logprobs, s[k].n * sizeof(float));
      h = hash_bytes(h, s[k].loss, s[k].n * sizeof(float));
    }
    if (i == 0) want = h;
    cr_assert_eq(h, want, "loss %d in %zu requests", (int)loss->kind, parts);
    r->api->train_free(t);
  }
}

Test(bits, requests_of_each_loss) {
  char dir[256];
  rig_t r;
  sample_t s[MANY];
  temp_dir(dir);
  write_model(dir, &tiny_shape);
  rig_open(&r, dir, 2, NULL);
  for (size_t i = 0; i < MANY; i++) {
    sample_random(&s[i], 1 + i % 13, 1, tiny_shape.vocab, 500 + i);
  }
  for (size_t i = 0; i < LOSSES; i++) check_splits(&r, s, &losses[i]);
  samples_free(s, MANY);
  rig_close(&r);
  temp_remove(dir);
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

/* --- Pieces --------------------------------------------------------------- */

/* An optimizer step; the state is nobody else's while it is under way. */
static uint64_t optim_in_pieces(rig_t *r, tinker__eng_train_t *t, uint64_t h) {
  size_t bytes = t->lora->floats * sizeof(float);
  tinker__eng_optim_metrics_t m;
  tinker__eng_pass_t *p = NULL;
  int rc;
  while ((rc = r->api->optim_step(t, &adam, &m, NULL, 0)) == 1) {
    cr_assert_eq(r->api->train_save(t, "/nowhere", NULL, 0), TINKER_ESTATE);
    cr_assert_eq(
        r->api->pass_begin(t, NULL, 0, &cross_entropy, false, &p, NULL, 0),
        TINKER_ESTATE);
  }
  cr_assert_eq(rc, 0);
  cr_assert_not(r->api->train_has_grad(t));
  h = hash_bytes(h, &m, sizeof m);
  h = hash_bytes(h, t->g, bytes);
  h = hash_bytes(h, t->m, bytes);
  h = hash_bytes(h, t->v, bytes);
  return hash_bytes(h, t->current->w, bytes);
}

/* One pass over the data in steps of about `piece` multiply-adds; how many
 * steps. Then a step of the optimizer. *h gets a digest of what came out. */
static size_t pass_in_pieces(rig_t *r, sample_t *s, size_t n,
                             const tinker__eng_loss_config_t *loss,
                             uint64_t piece, uint64_t *h) {
  tinker__eng_train_t *t = random_train(r, 4, 9);
  tinker__eng_train_datum_t data[DATA];
  tinker__eng_pass_t *p = NULL;
  size_t steps = 1;
  int rc;
  r->engine->piece = piece;
  r->engine->window = piece % 2; /* one or none */
  for (size_t i = 0; i < n; i++) data[i] = sample_datum(&s[i], loss->kind);
  cr_assert_eq(r->api->pass_begin(t, data, n, loss, false, &p, NULL, 0), 0);
  while ((rc = r->api->pass_step(p, NULL, NULL, 0)) == 1) steps++;
  cr_assert_eq(rc, 0);
  double total = r->api->pass_loss(p);
  r->api->pass_end(p);
  *h = hash_bytes(HASH_START, &total, sizeof total);
  *h = hash_bytes(*h, t->g, t->lora->floats * sizeof(float));
  for (size_t i = 0; i < n; i++) {
    *h = hash_bytes(*h, s[i].logprobs, s[i].n * s[i].k * sizeof(float));
    *h = hash_bytes(*h, s[i].loss, s[i].n * s[i].k * sizeof(float));
  }
  *h = optim_in_pieces(r, t, *h);
  r->api->train_free(t);
  return steps;
}

/* A vocabulary that the head takes in several pieces; heads in groups. */
static void open_wide(rig_t *r, char dir[256], const char *dtype) {
  shape_t wide = tiny_shape;
  wide.vocab = 2500;
  wide.dtype = dtype;
  temp_dir(dir);
  write_model(dir, &wide);
  rig_open(r, dir, 2, NULL);
}

/* Wherever a step ends, of every loss, with layers kept and computed again. */
Test(bits, pieces) {
  static const uint64_t pieces[] = {UINT64_MAX, 20000000, 300000, 1};
  char dir[256];
  rig_t r;
  sample_t s[DATA];
  open_wide(&r, dir, "F32");
  make_data(s, 390);
  for (size_t i = 0; i < LOSSES; i++) {
    size_t skip = i == 0 ? 0 : 5, few = i == 0 ? DATA : 4;
    uint64_t want = 0, h;
    r.engine->budget = i % 2 ? 4000 : (size_t)1 << 28;
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
      pass_in_pieces(&r, s + skip, few, &losses[i], pieces[k], &h);
      if (k == 0) want = h;
      cr_assert_eq(h, want, "loss %zu, pieces of %llu", i,
                   (unsigned long long)pieces[k]);
    }
  }
  samples_free(s, DATA);
  rig_close(&r);
  temp_remove(dir);
}

/* The same with weights of 16 bits, of which a piece takes a part of the
 * columns. */
Test(bits, pieces_of_half_weights) {
  char dir[256];
  rig_t r;
  sample_t s[DATA];
  uint64_t whole, parts;
  open_wide(&r, dir, "BF16");
  make_data(s, 390);
  for (size_t i = 0; i < LOSSES; i += LOSSES - 1) {
    pass_in_pieces(&r, s + 5, 2, &losses[i], UINT64_MAX, &whole);
    pass_in_pieces(&r, s + 5, 2, &losses[i], 1, &parts);
    cr_assert_eq(whole, parts, "loss %zu", i);
  }
  samples_free(s, DATA);
  rig_close(&r);
  temp_remove(dir);
}

/* One datum is many steps: 390 tokens are seven windows of a layer, there and
 * back. All of them count, so the head goes back in one run. */
Test(bits, a_datum_is_not_one_step) {
  char dir[256];
  rig_t r;
  sample_t s;
  uint64_t h;
  size_t windows = (390 + 63) / 64, layers = tiny_shape.layers;
  open_wide(&r, dir, "F32");
  sample_random(&s, 390, 1, tiny_shape.vocab, 3);
  for (size_t i = 0; i < s.n; i++) s.weights[i] = 1;
  size_t steps = pass_in_pieces(&r, &s, 1, &cross_entropy, 1, &h);
  cr_assert_geq(steps, 3 * windows * layers, "%zu", steps);
  samples_free(&s, 1);
  rig_close(&r);
  temp_remove(dir);
}
