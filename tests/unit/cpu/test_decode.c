/* Decoding: in pieces, in batches of mixed adapters, from forks: always the
 * rows of one sequence run at once; and what is refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/base.h"
#include "engine/pick.h"
#include "support.h"

#define TOKENS 150
#define SEQS 5

typedef struct {
  float *rows; /* [TOKENS][vocab] */
  size_t vocab, count;
} sink_t;

static void take(void *user, size_t position, const float *row, size_t n) {
  sink_t *s = user;
  cr_assert_lt(position, (size_t)TOKENS);
  cr_assert_eq(n, s->vocab);
  memcpy(s->rows + position * n, row, n * sizeof *row);
  s->count++;
}

typedef struct {
  rig_t r;
  char dir[256];
  sample_t s[SEQS];
  tinker__eng_train_t *train[2];
  tinker__eng_adapter_t *adapter[SEQS];
  sink_t want[SEQS], got[SEQS];
} bench_t;

static void decode(bench_t *b, tinker__eng_decode_item_t *items, size_t n) {
  char why[256] = "";
  int rc = b->r.api->decode(b->r.engine, items, n, NULL, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
}

static tinker__eng_slot_t *slot(bench_t *b, size_t i, size_t max) {
  tinker__eng_slot_t *s = NULL;
  cr_assert_eq(b->r.api->slot_new(b->r.base, b->adapter[i], max, &s, NULL, 0),
               0);
  return s;
}

static tinker__eng_decode_item_t
item(bench_t *b, size_t i, tinker__eng_slot_t *s, size_t from, size_t n) {
  return (tinker__eng_decode_item_t){
      .slot = s,
      .tokens = b->s[i].tokens + from,
      .n = n,
      .on_row = take,
      .user = &b->got[i],
  };
}

static void setup(bench_t *b) {
  memset(b, 0, sizeof *b);
  temp_dir(b->dir);
  write_model(b->dir, &tiny_shape);
  rig_open(&b->r, b->dir, 2, NULL);
  for (size_t i = 0; i < 2; i++) {
    b->train[i] = random_train(&b->r, i ? 16 : 4, 21 + i);
  }
  for (size_t i = 0; i < SEQS; i++) {
    sample_random(&b->s[i], TOKENS, 1, tiny_shape.vocab, 70 + i);
    /* Adapters 0, 1, none, 0, 1: mixed up on purpose. */
    if (i != 2) {
      cr_assert_eq(
          b->r.api->adapter_current(b->train[i % 3], &b->adapter[i], NULL, 0),
          0);
    }
    size_t bytes = TOKENS * tiny_shape.vocab * sizeof(float);
    b->want[i] = (sink_t){.rows = malloc(bytes), .vocab = tiny_shape.vocab};
    b->got[i] = (sink_t){.rows = malloc(bytes), .vocab = tiny_shape.vocab};
    tinker__eng_slot_t *s = slot(b, i, TOKENS);
    tinker__eng_decode_item_t all = item(b, i, s, 0, TOKENS);
    all.user = &b->want[i];
    decode(b, &all, 1);
    cr_assert_eq(b->want[i].count, (size_t)TOKENS);
    b->r.api->slot_free(s);
  }
}

static void forget(bench_t *b) {
  for (size_t i = 0; i < SEQS; i++) {
    b->got[i].count = 0;
    memset(b->got[i].rows, 0, TOKENS * tiny_shape.vocab * sizeof(float));
  }
}

static void check(bench_t *b, size_t i, size_t from, const char *what) {
  size_t v = tiny_shape.vocab;
  cr_assert_eq(memcmp(b->want[i].rows + from * v, b->got[i].rows + from * v,
                      (TOKENS - from) * v * sizeof(float)),
               0, "%s: sequence %zu", what, i);
}

static void teardown(bench_t *b) {
  for (size_t i = 0; i < SEQS; i++) {
    b->r.api->adapter_release(b->adapter[i]);
    free(b->want[i].rows);
    free(b->got[i].rows);
  }
  for (size_t i = 0; i < 2; i++) b->r.api->train_free(b->train[i]);
  samples_free(b->s, SEQS);
  rig_close(&b->r);
  temp_remove(b->dir);
}

/* All sequences in one batch, piece by piece of different sizes. */
static void pieces(bench_t *b, const size_t *sizes) {
  tinker__eng_slot_t *slots[SEQS];
  size_t at[SEQS] = {0};
  forget(b);
  for (size_t i = 0; i < SEQS; i++) slots[i] = slot(b, i, TOKENS);
  for (size_t left = SEQS; left > 0;) {
    tinker__eng_decode_item_t items[SEQS];
    size_t n = 0;
    for (size_t i = 0; i < SEQS; i++) {
      size_t m = TOKENS - at[i] < sizes[i] ? TOKENS - at[i] : sizes[i];
      if (m == 0) continue;
      items[n++] = item(b, i, slots[i], at[i], m);
      at[i] += m;
      left -= at[i] == TOKENS;
    }
    decode(b, items, n);
  }
  for (size_t i = 0; i < SEQS; i++) {
    check(b, i, 0, "pieces");
    cr_assert_eq(b->r.api->slot_len(slots[i]), (size_t)TOKENS);
    b->r.api->slot_free(slots[i]);
  }
}

static void forks(bench_t *b) {
  tinker__eng_slot_t *first = slot(b, 1, TOKENS), *copy = NULL;
  forget(b);
  tinker__eng_decode_item_t head = item(b, 1, first, 0, 100);
  head.first_row = 100;
  decode(b, &head, 1);
  cr_assert_eq(b->got[1].count, 0u);
  cr_assert_eq(b->r.api->slot_fork(first, 70, TOKENS, &copy, NULL, 0), 0);
  cr_assert_eq(b->r.api->slot_len(copy), 70u);
  b->r.api->slot_free(first);
  tinker__eng_decode_item_t rest = item(b, 1, copy, 70, TOKENS - 70);
  rest.first_row = 30;
  decode(b, &rest, 1);
  cr_assert_eq(b->got[1].count, TOKENS - 100u);
  check(b, 1, 100, "fork");
  cr_assert_eq(b->r.api->slot_fork(copy, TOKENS + 1, 200, &first, NULL, 0),
               TINKER_EINVAL);
  b->r.api->slot_free(copy);
}

static void refusals(bench_t *b) {
  tinker__eng_slot_t *s = slot(b, 0, 20), *none = NULL;
  tinker__eng_decode_item_t good = item(b, 0, s, 0, 10), bad[2];
  int32_t wild[2] = {1, (int32_t)tiny_shape.vocab};
  atomic_bool cancel = true;
  char why[256] = "";
  bad[0] = bad[1] = good;
  forget(b);
  cr_assert_eq(b->r.api->decode(b->r.engine, bad, 2, NULL, why, 256),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "items[1]: its slot is there twice");
  bad[0].n = 21;
  cr_assert_eq(b->r.api->decode(b->r.engine, bad, 1, NULL, why, 256),
               TINKER_EINVAL);
  bad[0].n = 2;
  bad[0].tokens = wild;
  cr_assert_eq(b->r.api->decode(b->r.engine, bad, 1, NULL, why, 256),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "items[0]: a token is not in the vocabulary");
  cr_assert_eq(b->r.api->decode(b->r.engine, &good, 1, &cancel, why, 256),
               TINKER_ECANCELED);
  cr_assert_eq(b->r.api->slot_len(s), 0u, "a failed round has not happened");
  cr_assert_eq(b->r.api->slot_new(b->r.base, NULL, 401, &none, why, 256),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "max_tokens: 401 is not in 1 to 400, the context");
  b->r.api->slot_free(s);
}

Test(decode, everything) {
  static const size_t single[SEQS] = {1, 1, 1, 1, 1};
  static const size_t mixed[SEQS] = {1, 64, 7, 150, 33};
  bench_t b;
  setup(&b);
  pieces(&b, single);
  pieces(&b, mixed);
  forks(&b);
  refusals(&b);
  teardown(&b);
}

/* A slot that grows token by token, or that a failed growth has left half way,
 * gives the rows of one that had the room at once. */
Test(decode, slots_that_grow) {
  bench_t b;
  char why[256] = "";
  setup(&b);
  tinker__eng_slot_t *s = slot(&b, 1, 1);
  for (size_t done = 0, n; done < TOKENS; done += n) {
    n = done % 7 + 1 < TOKENS - done ? done % 7 + 1 : TOKENS - done;
    b.r.mem.fail_at = b.r.mem.count + 3; /* within the second layer */
    cr_assert_eq(b.r.api->slot_grow(s, done + n + 1, why, sizeof why),
                 TINKER_ENOMEM);
    b.r.mem.fail_at = 0;
    cr_assert_eq(b.r.api->slot_grow(s, done + n, why, sizeof why), 0, "%s",
                 why);
    cr_assert_eq(b.r.api->slot_len(s), done);
    tinker__eng_decode_item_t next = item(&b, 1, s, done, n);
    decode(&b, &next, 1);
  }
  check(&b, 1, 0, "grown");
  cr_assert_eq(b.r.api->slot_grow(s, tiny_shape.context + 1, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "max_tokens: 401 is not in 1 to 400, the context");
  b.r.api->slot_free(s);
  teardown(&b);
}

/* How each sequence is drawn from; the fourth is not. */
static const tinker__eng_sampling_t draws[SEQS] = {
    {.temperature = 1, .top_p = 1, .seed = 3},
    {.temperature = 0.7f, .top_k = 5, .top_p = 0.8, .seed = 4},
    {.temperature = 0, .top_p = 1},
    {.temperature = 0},
    {.temperature = 2, .top_p = 0.9, .seed = 5},
};

static tinker__eng_pick_t pick_of(size_t seq, uint64_t number) {
  return (tinker__eng_pick_t){
      .item = seq,
      .temperature = draws[seq].temperature,
      .top_k = draws[seq].top_k,
      .top_p = draws[seq].top_p,
      .seed = draws[seq].seed,
      .sample = number,
      .position = 9,
  };
}

/* The token that the caller would draw from the sequence's last row. */
static void check_pick(bench_t *b, const tinker__eng_pick_t *p) {
  size_t v = tiny_shape.vocab;
  const float *row = b->want[p->item].rows + (TOKENS - 1) * v;
  void *scratch = malloc(tinker__eng_pick_scratch(v));
  cr_assert_eq(p->token, tinker__eng_pick(&draws[p->item], p->sample,
                                          p->position, row, v, scratch));
  float want = row[p->token] - b->r.api->log_sum_exp(b->r.engine, row, v);
  cr_assert_eq(memcmp(&p->logprob, &want, sizeof want), 0);
  free(scratch);
}

static int pick_all(bench_t *b, tinker__eng_pick_t *picks, size_t n_picks) {
  tinker__eng_decode_item_t items[SEQS];
  for (size_t i = 0; i < SEQS; i++) {
    items[i] = item(b, i, slot(b, i, TOKENS), 0, TOKENS);
    /* No row, but of the third the last, and of the fourth some. */
    items[i].first_row = i == 2 ? TOKENS - 1 : i == 3 ? TOKENS - 20 : TOKENS;
  }
  forget(b);
  int rc =
      b->r.api->pick(b->r.engine, items, SEQS, picks, n_picks, NULL, NULL, 0);
  for (size_t i = 0; i < SEQS; i++) b->r.api->slot_free(items[i].slot);
  return rc;
}

/* More rows than a batch has; workers draw what the caller would. */
Test(decode, draws) {
  bench_t b;
  setup(&b);
  tinker__eng_pick_t picks[] = {pick_of(0, 0), pick_of(1, 0), pick_of(1, 1),
                                pick_of(1, 2), pick_of(2, 0), pick_of(4, 7)};
  size_t n = sizeof picks / sizeof *picks;
  cr_assert_eq(pick_all(&b, picks, n), 0);
  for (size_t i = 0; i < n; i++) check_pick(&b, &picks[i]);
  for (size_t i = 0; i < SEQS; i++) {
    cr_assert_eq(b.got[i].count, i == 2 ? 1u : i == 3 ? 20u : 0u, "%zu", i);
  }
  check(&b, 2, TOKENS - 1, "also handed over");
  check(&b, 3, TOKENS - 20, "not drawn from");
  b.r.base->norm[0] = NAN;
  cr_assert_eq(pick_all(&b, picks, n), 0);
  for (size_t i = 0; i < n; i++) cr_assert_eq(picks[i].token, -1);
  teardown(&b);
}

Test(decode, draws_with_little_memory) {
  bench_t b;
  setup(&b);
  tinker__eng_slot_t *s = slot(&b, 0, TOKENS);
  tinker__eng_decode_item_t all = item(&b, 0, s, 0, TOKENS);
  tinker__eng_pick_t p = pick_of(0, 0);
  int rc = TINKER_ENOMEM;
  all.first_row = TOKENS;
  for (uint64_t n = 1; rc; n++) {
    b.r.mem.fail_at = b.r.mem.count + n;
    rc = b.r.api->pick(b.r.engine, &all, 1, &p, 1, NULL, NULL, 0);
    b.r.mem.fail_at = 0;
    cr_assert(rc == 0 || rc == TINKER_ENOMEM);
    cr_assert_eq(b.r.api->slot_len(s), rc ? 0u : (size_t)TOKENS);
  }
  check_pick(&b, &p);
  b.r.api->slot_free(s);
  teardown(&b);
}

/* --- Several blocks of logits --------------------------------------------- */

enum { WIDE = 9000, LONG = 150 };

typedef struct {
  uint64_t rows[LONG];
  size_t next; /* position of the next row */
} hashes_t;

static void hash_row(void *user, size_t position, const float *row, size_t n) {
  hashes_t *h = user;
  cr_assert_eq(position, h->next++, "rows are handed over in order");
  h->rows[position] = hash_bytes(HASH_START, row, n * sizeof *row);
}

static tinker__eng_pick_t any_pick(size_t item, uint64_t number) {
  return (tinker__eng_pick_t){.item = item,
                              .temperature = 1,
                              .top_p = 1,
                              .seed = 6,
                              .sample = number,
                              .position = number};
}

/* Feeds both sequences, `piece` tokens each in a round; the last round draws.
 */
static void feed_wide(tiny_t *b, sample_t *s, size_t piece, hashes_t out[2],
                      tinker__eng_pick_t picks[3]) {
  tinker__eng_decode_item_t items[2];
  memset(out, 0, 2 * sizeof *out);
  for (size_t i = 0; i < 2; i++) {
    items[i] = (tinker__eng_decode_item_t){.on_row = hash_row, .user = &out[i]};
    cr_assert_eq(
        b->r.api->slot_new(b->r.base, NULL, LONG, &items[i].slot, NULL, 0), 0);
  }
  for (size_t done = 0; done < LONG; done += piece) {
    size_t n = LONG - done < piece ? LONG - done : piece;
    for (size_t i = 0; i < 2; i++) {
      items[i].tokens = s[i].tokens + done;
      items[i].n = n;
    }
    size_t n_picks = done + n == LONG ? 3 : 0;
    cr_assert_eq(
        b->r.api->pick(b->r.engine, items, 2, picks, n_picks, NULL, NULL, 0),
        0);
  }
  for (size_t i = 0; i < 2; i++) b->r.api->slot_free(items[i].slot);
}

/* With a vocabulary so large that a round's logits are made in several blocks,
 * each row is the one of a round for its token alone, and so is each draw. */
Test(decode, rows_of_several_blocks) {
  static hashes_t want[2], got[2];
  shape_t wide = tiny_shape;
  tiny_t b;
  sample_t s[2];
  wide.vocab = WIDE;
  tiny_open(&b, &wide);
  for (size_t i = 0; i < 2; i++) sample_random(&s[i], LONG, 1, WIDE, i);
  tinker__eng_pick_t one[3] = {any_pick(0, 1), any_pick(1, 2), any_pick(1, 3)};
  tinker__eng_pick_t all[3] = {one[0], one[1], one[2]};
  feed_wide(&b, s, 1, want, one);
  feed_wide(&b, s, LONG, got, all);
  cr_assert_eq(memcmp(want, got, sizeof want), 0);
  for (size_t i = 0; i < 3; i++) {
    cr_assert_eq(one[i].token, all[i].token);
    cr_assert_eq(one[i].logprob, all[i].logprob);
  }
  samples_free(s, 2);
  tiny_close(&b);
}
