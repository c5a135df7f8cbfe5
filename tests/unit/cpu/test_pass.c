/* Passes: what one leaves alone, beside another or beside an optimizer step,
 * without memory, and how much memory and work it takes. Their bits are in
 * test_bits.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/steps.h"
#include "cpu/train.h"

static uint64_t hash_grad(const tinker__eng_train_t *t) {
  return hash_bytes(HASH_START, t->g, t->lora->floats * sizeof(float));
}

static uint64_t hash_out(const sample_t *s) {
  uint64_t h = hash_bytes(HASH_START, s->logprobs, s->n * sizeof(float));
  return hash_bytes(h, s->loss, s->n * sizeof(float));
}

static tinker__eng_pass_t *begin(tiny_t *b, tinker__eng_train_t *t,
                                 const tinker__eng_train_datum_t *data,
                                 size_t n, bool forward_only) {
  tinker__eng_pass_t *p = NULL;
  char why[256] = "";
  cr_assert_eq(b->r.api->pass_begin(t, data, n, &cross_entropy, forward_only,
                                    &p, why, sizeof why),
               0, "%s", why);
  return p;
}

static void finish(tiny_t *b, tinker__eng_pass_t *p) {
  int rc;
  while ((rc = b->r.api->pass_step(p, NULL, NULL, 0)) == 1) {
  }
  cr_assert_eq(rc, 0);
  b->r.api->pass_end(p);
}

/* The sizes that engine.h names. */
Test(pass, steps_have_the_size_that_is_promised) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  cr_assert_eq(b.r.engine->piece, (uint64_t)1 << 28);
  cr_assert_eq(b.r.engine->window, 256u);
  tiny_close(&b);
}

Test(pass, forward_leaves_gradients_alone) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  uint64_t none = hash_grad(t);
  for (size_t i = 0; i < LOSSES; i++) run_pass(t, b.s, 2, &losses[i], true);
  cr_assert_not(b.r.api->train_has_grad(t));
  cr_assert_eq(hash_grad(t), none);
  run_pass(t, b.s, 2, &cross_entropy, false);
  uint64_t some = hash_grad(t);
  cr_assert_neq(some, none);
  for (size_t i = 0; i < LOSSES; i++) run_pass(t, b.s, 2, &losses[i], true);
  cr_assert(b.r.api->train_has_grad(t));
  cr_assert_eq(hash_grad(t), some);
  b.r.api->train_free(t);
  tiny_close(&b);
}

/* Between the steps of a pass that collects gradients another may look at the
 * state; when that ends, the first is still the only one to collect. */
Test(pass, forward_beside_one_that_collects) {
  tiny_t b;
  tinker__eng_pass_t *none = NULL;
  tinker__eng_optim_metrics_t m;
  tiny_open(&b, &tiny_shape);
  b.r.engine->piece = b.r.engine->window = 1;
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  tinker__eng_train_t *twin = random_train(&b.r, 4, 5);
  tinker__eng_train_datum_t d[2];
  for (size_t i = 0; i < 2; i++) {
    d[i] = sample_datum(&b.s[i], TINKER__LOSS_CROSS_ENTROPY);
  }
  run_pass(twin, b.s, 1, &cross_entropy, false);
  tinker__eng_pass_t *p = begin(&b, t, d, 1, false);
  cr_assert_eq(b.r.api->pass_step(p, NULL, NULL, 0), 1);
  finish(&b, begin(&b, t, &d[1], 1, true));
  b.r.api->pass_end(begin(&b, t, &d[1], 1, true));
  cr_assert_eq(
      b.r.api->pass_begin(t, d, 1, &cross_entropy, false, &none, NULL, 0),
      TINKER_ESTATE);
  cr_assert_eq(b.r.api->optim_step(t, &adam, &m, NULL, 0), TINKER_ESTATE);
  cr_assert_eq(b.r.api->train_keep(t, b.dir, NULL, 0), TINKER_ESTATE);
  finish(&b, p);
  cr_assert_eq(hash_grad(t), hash_grad(twin));
  b.r.api->train_free(t);
  b.r.api->train_free(twin);
  tiny_close(&b);
}

/* While an optimizer step is under way the state still computes with the
 * version before it, and a pass goes on with the version that it began with. */
Test(pass, forward_beside_an_optimizer_step) {
  tiny_t b;
  tinker__eng_optim_metrics_t m;
  int rc;
  tiny_open(&b, &tiny_shape);
  b.r.engine->piece = b.r.engine->window = 1;
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  tinker__eng_train_datum_t d =
      sample_datum(&b.s[0], TINKER__LOSS_CROSS_ENTROPY);
  run_pass(t, &b.s[1], 1, &cross_entropy, false);
  run_pass(t, b.s, 1, &cross_entropy, true);
  uint64_t old = hash_out(&b.s[0]);
  tinker__eng_pass_t *p = begin(&b, t, &d, 1, true);
  while ((rc = b.r.api->optim_step(t, &adam, &m, NULL, 0)) == 1) {
    memset(b.s[0].logprobs, 0, b.s[0].n * sizeof(float));
    finish(&b, begin(&b, t, &d, 1, true));
    cr_assert(hash_out(&b.s[0]) == old || !t->optim.next);
  }
  cr_assert_eq(rc, 0);
  finish(&b, p);
  cr_assert_eq(hash_out(&b.s[0]), old);
  run_pass(t, b.s, 1, &cross_entropy, true);
  cr_assert_neq(hash_out(&b.s[0]), old);
  b.r.api->train_free(t);
  tiny_close(&b);
}

/* A pass for which there is no memory has changed nothing. */
Test(pass, no_memory) {
  tiny_t b;
  char why[256] = "";
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  tinker__eng_train_t *twin = random_train(&b.r, 4, 5);
  tinker__eng_train_datum_t d =
      sample_datum(&b.s[0], TINKER__LOSS_CROSS_ENTROPY);
  for (int had = 0; had < 2; had++) {
    tinker__eng_pass_t *p = NULL;
    uint64_t before = hash_grad(t), n = 0;
    int rc = TINKER_ENOMEM;
    while (rc) {
      b.r.mem.fail_at = b.r.mem.count + ++n;
      rc = b.r.api->pass_begin(t, &d, 1, &cross_entropy, false, &p, why,
                               sizeof why);
      b.r.mem.fail_at = 0;
      cr_assert(rc == 0 || (rc == TINKER_ENOMEM && !p));
      cr_assert_eq(hash_grad(t), before);
      cr_assert_eq(b.r.api->train_has_grad(t), had == 1);
    }
    cr_assert_gt(n, 3u);
    finish(&b, p);
    run_pass(twin, b.s, 1, &cross_entropy, false);
    cr_assert_eq(hash_grad(t), hash_grad(twin));
  }
  b.r.api->train_free(t);
  b.r.api->train_free(twin);
  tiny_close(&b);
}

/* On the way the loss is that of the first data, and no other number. */
Test(pass, loss_so_far) {
  enum { MANY = 4 };
  tiny_t b;
  sample_t s[MANY];
  tinker__eng_train_datum_t d[MANY];
  size_t seen = 0;
  int rc;
  tiny_open(&b, &tiny_shape);
  b.r.engine->budget = b.r.engine->piece = b.r.engine->window = 1;
  for (size_t i = 0; i < MANY; i++) {
    sample_random(&s[i], 200, 1, tiny_shape.vocab, i);
    d[i] = sample_datum(&s[i], TINKER__LOSS_CROSS_ENTROPY);
  }
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  tinker__eng_pass_t *p = begin(&b, t, d, MANY, false);
  do {
    double sum = 0;
    rc = b.r.api->pass_step(p, NULL, NULL, 0);
    if (b.r.api->pass_loss(p) != 0 && seen == 0) seen = 1;
    for (size_t k = 0; k < seen * 200; k++) sum += s[k / 200].loss[k % 200];
    if (b.r.api->pass_loss(p) != sum && seen < MANY) {
      for (size_t k = 0; k < 200; k++) sum += s[seen].loss[k];
      seen++;
    }
    cr_assert_eq(b.r.api->pass_loss(p), sum, "%zu data", seen);
  } while (rc == 1);
  cr_assert_eq(rc, 0);
  cr_assert_eq(seen, (size_t)MANY);
  b.r.api->pass_end(p);
  b.r.api->train_free(t);
  samples_free(s, MANY);
  tiny_close(&b);
}

/* --- Between two steps ---------------------------------------------------- */

static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

/* Other work of the engine: a round for a longer sequence each time, and a
 * whole pass over another state. */
static uint64_t other_work(tiny_t *b, tinker__eng_train_t *other, size_t n,
                           sample_t *s) {
  uint64_t h = HASH_START;
  tinker__eng_slot_t *slot = NULL;
  cr_assert_eq(b->r.api->slot_new(b->r.base, other->current, n, &slot, NULL, 0),
               0);
  tinker__eng_decode_item_t item = {
      .slot = slot,
      .tokens = s->tokens,
      .n = n,
      .first_row = n - 1,
      .on_row = hash_row,
      .user = &h,
  };
  cr_assert_eq(b->r.api->decode(b->r.engine, &item, 1, NULL, NULL, 0), 0);
  b->r.api->slot_free(slot);
  run_pass(other, b->s, 2, &cross_entropy, false);
  return hash_bytes(h, other->g, other->lora->floats * sizeof(float));
}

/* Between two steps the engine does anything but train the same state: the
 * pass, and what was done meanwhile, are as without the other. */
Test(pass, other_work_between_two_steps) {
  enum { TOKENS = 390, TIMES = 60 };
  tiny_t b;
  sample_t s;
  tinker__eng_pass_t *p = NULL;
  uint64_t want[TIMES], alone = 0;
  tiny_open(&b, &tiny_shape);
  sample_random(&s, TOKENS, 1, tiny_shape.vocab, 8);
  tinker__eng_train_datum_t d = sample_datum(&s, TINKER__LOSS_CROSS_ENTROPY);
  for (int busy = 0; busy < 2; busy++) {
    tinker__eng_train_t *t = random_train(&b.r, 4, 5);
    tinker__eng_train_t *other = random_train(&b.r, 16, 6);
    int rc = 1;
    tinker__cpu_base_rope(b.r.base, 1);
    if (busy) {
      b.r.engine->piece = b.r.engine->window = 1;
      p = begin(&b, t, &d, 1, false);
    }
    for (size_t i = 0; i < TIMES; i++) {
      uint64_t h = other_work(&b, other, 20 + i * 6, &s);
      if (!busy) want[i] = h;
      cr_assert_eq(h, want[i], "other work %zu", i);
      if (busy && rc == 1) rc = b.r.api->pass_step(p, NULL, NULL, 0);
    }
    if (busy) finish(&b, p);
    if (!busy) run_pass(t, &s, 1, &cross_entropy, false);
    uint64_t h = hash_grad(t) ^ hash_out(&s);
    if (!busy) alone = h;
    cr_assert_eq(h, alone);
    b.r.api->train_free(t);
    b.r.api->train_free(other);
  }
  samples_free(&s, 1);
  tiny_close(&b);
}

/* How many steps a pass over a short datum has, a piece each. */
static size_t steps_of(unsigned vocab) {
  tiny_t b;
  shape_t shape = tiny_shape;
  size_t steps = 1;
  shape.vocab = vocab;
  tiny_open(&b, &shape);
  b.r.engine->piece = b.r.engine->window = 1;
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  tinker__eng_train_datum_t d =
      sample_datum(&b.s[0], TINKER__LOSS_CROSS_ENTROPY);
  tinker__eng_pass_t *p = begin(&b, t, &d, 1, false);
  while (b.r.api->pass_step(p, NULL, NULL, 0) == 1) steps++;
  b.r.api->pass_end(p);
  b.r.api->train_free(t);
  tiny_close(&b);
  return steps;
}

/* A large vocabulary is many steps, there and back. */
Test(pass, a_large_head_is_not_one_step) {
  cr_assert_geq(steps_of(8 * 1024), steps_of(1024) + 7);
}

/* --- Memory --------------------------------------------------------------- */

/* The most that is taken while the pass is run, with nothing kept from before
 * it. */
static uint64_t taken(tiny_t *b, tinker__eng_train_t *t,
                      const tinker__eng_train_datum_t *d, size_t n,
                      bool forward_only) {
  tinker__cpu_arena_t a;
  /* An arena that no block is large enough for frees the blocks. */
  cr_assert_eq(tinker__cpu_arena_open(b->r.engine, &a, SIZE_MAX / 4),
               TINKER_ENOMEM);
  size_t before = atomic_load(&b->r.mem.live_bytes);
  tinker__eng_pass_t *p = begin(b, t, d, n, forward_only);
  size_t now = atomic_load(&b->r.mem.live_bytes);
  finish(b, p);
  return now - before;
}

enum { BIG = 6 };

/* What a pass is priced at is what it takes: not less, and not much more. */
Test(pass, priced_at_what_it_takes) {
  tiny_t b;
  sample_t s[BIG];
  tinker__eng_train_datum_t d[BIG];
  tiny_open(&b, &tiny_shape);
  tinker__eng_lora_config_t c = {
      .rank = 64, .train_attn = true, .train_mlp = true, .train_unembed = true};
  tinker__eng_train_t *t = NULL;
  cr_assert_eq(b.r.api->train_new(b.r.base, &c, &t, NULL, 0), 0);
  for (size_t i = 0; i < BIG; i++) {
    sample_random(&s[i], 380, 1, tiny_shape.vocab, i);
    d[i] = sample_datum(&s[i], TINKER__LOSS_CROSS_ENTROPY);
  }
  run_pass(t, s, 1, &cross_entropy, false); /* gradients, packed matrices */
  for (int i = 0; i < 8; i++) {
    bool forward_only = i & 1;
    size_t n = i & 2 ? BIG : 1;
    b.r.engine->budget = i & 4 ? 1 : (size_t)1 << 28;
    uint64_t price = b.r.api->pass_bytes(b.r.base, &c, d, n, forward_only);
    uint64_t bytes = taken(&b, t, d, n, forward_only);
    cr_assert_leq(bytes, price, "%d: %zu of %zu", i, (size_t)bytes,
                  (size_t)price);
    cr_assert_geq(bytes, price * 3 / 4, "%d: %zu of %zu", i, (size_t)bytes,
                  (size_t)price);
  }
  b.r.api->train_free(t);
  samples_free(s, BIG);
  tiny_close(&b);
}

/* Only the lengths count. */
Test(pass, priced_by_lengths_alone) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_lora_config_t c = {.rank = 4, .train_mlp = true};
  tinker__eng_train_datum_t d[2] = {{.n = 300, .k = 1}, {.n = 350, .k = 1}};
  uint64_t price = b.r.api->pass_bytes(b.r.base, &c, d, 2, false);
  cr_assert_gt(price, b.r.api->pass_bytes(b.r.base, &c, d, 1, false));
  cr_assert_gt(price, b.r.api->pass_bytes(b.r.base, &c, d, 2, true));
  tiny_close(&b);
}

/* Without a budget no layer's activations are kept, and a batch has no more
 * data than 256 tokens; with one the pass takes so much more at most. */
Test(pass, takes_its_budget) {
  enum { MANY = 6, REST = 1 << 16 };
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_lora_config_t c = {.rank = 4, .train_mlp = true};
  tinker__eng_train_datum_t one = {.n = 300, .k = 1}, many[MANY];
  for (size_t i = 0; i < MANY; i++) {
    many[i] = (tinker__eng_train_datum_t){.n = 100, .k = 1};
  }
  uint64_t all = b.r.api->pass_bytes(b.r.base, &c, &one, 1, false);
  b.r.engine->budget = 1;
  uint64_t least = b.r.api->pass_bytes(b.r.base, &c, &one, 1, false);
  cr_assert_lt(least, all * 3 / 4);
  cr_assert_eq(b.r.api->pass_bytes(b.r.base, &c, many, MANY, false),
               b.r.api->pass_bytes(b.r.base, &c, many, 2, false));
  for (size_t budget = 1000; budget < 1 << 22; budget *= 3) {
    b.r.engine->budget = budget;
    uint64_t price = b.r.api->pass_bytes(b.r.base, &c, &one, 1, false);
    cr_assert_geq(price, least);
    cr_assert_leq(price, least + budget * sizeof(float) * 9 / 8 + REST);
  }
  tiny_close(&b);
}
