/* row_engine: see row_engine.h. */
#include "row_engine.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <tinker/error.h>

struct tinker__eng_slot_s {
  tinker__mem_t *mem;
  size_t len, max;
  uint64_t hash;
};

tinker__mem_t *slot_mem;
size_t decode_calls, largest_round, most_tokens, rows_made, slots_made,
    slots_grown;

tinker__eng_slots_t slots = {.limit = UINT64_MAX};
uint64_t slots_live;

static uint64_t slot_bytes(const tinker__eng_base_t *b, size_t max) {
  (void)b;
  return 10 * max;
}

static int slot_new(tinker__eng_base_t *b, tinker__eng_adapter_t *a, size_t max,
                    tinker__eng_slot_t **out, char *why, size_t why_len) {
  (void)b;
  (void)a;
  (void)why;
  (void)why_len;
  tinker__eng_slot_t *s = tinker__mem_zalloc(slot_mem, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  *s = (tinker__eng_slot_t){slot_mem, 0, max, 1469598103934665603ull};
  *out = s;
  slots_made++;
  slots_live += slot_bytes(b, max);
  cr_assert_leq(slots_live, slots.limit);
  return 0;
}

static void slot_free(tinker__eng_slot_t *s) {
  slots_live -= slot_bytes(NULL, s->max);
  tinker__mem_free(s->mem, s);
}

static int slot_fork(const tinker__eng_slot_t *s, size_t n, size_t max,
                     tinker__eng_slot_t **out, char *why, size_t why_len) {
  int rc = slot_new(NULL, NULL, max, out, why, why_len);
  if (rc != 0) return rc;
  cr_assert_eq(n, s->len);
  (*out)->hash = s->hash;
  (*out)->len = n;
  return 0;
}

static int slot_grow(tinker__eng_slot_t *s, size_t max, char *why,
                     size_t why_len) {
  (void)why;
  (void)why_len;
  cr_assert_gt(max, s->max);
  slots_live += slot_bytes(NULL, max) - slot_bytes(NULL, s->max);
  cr_assert_leq(slots_live, slots.limit);
  s->max = max;
  slots_grown++;
  return 0;
}

static void make_row(uint64_t hash, float *row) {
  for (int i = 0; i < VOCAB; i++) {
    hash = hash * 6364136223846793005ull + 1442695040888963407ull;
    row[i] = (float)(hash >> 40) / 4194304.0f;
  }
  row[POISON] = -INFINITY;
}

static void feed(const tinker__eng_decode_item_t *item) {
  float row[VOCAB];
  for (size_t i = 0; i < item->n; i++) {
    item->slot->hash =
        (item->slot->hash ^ (uint64_t)item->tokens[i]) * 1099511628211ull;
    item->slot->len++;
    if (i < item->first_row) continue;
    make_row(item->slot->hash, row);
    rows_made++;
    item->on_row(item->user, item->slot->len - 1, row, VOCAB);
  }
}

/* A prompt that begins with POISON makes its round fail. */
static int decode(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                  size_t n, const atomic_bool *cancel, char *why,
                  size_t why_len) {
  (void)e;
  (void)cancel;
  size_t tokens = 0;
  decode_calls++;
  if (n > largest_round) largest_round = n;
  for (size_t i = 0; i < n; i++) {
    tokens += items[i].n;
    cr_assert_leq(items[i].slot->len + items[i].n, items[i].slot->max);
    if (items[i].tokens[0] == POISON) {
      return tinker__why(why, why_len, TINKER_EINVAL, "poisoned");
    }
  }
  if (tokens > most_tokens) most_tokens = tokens;
  for (size_t i = 0; i < n; i++) feed(&items[i]);
  return 0;
}

static float log_sum_exp(const tinker__engine_t *e, const float *row,
                         size_t n) {
  double sum = 0;
  (void)e;
  for (size_t i = 0; i < n; i++) sum += exp((double)row[i]);
  return (float)log(sum);
}

static void base_info(const tinker__eng_base_t *b,
                      tinker__eng_base_info_t *out) {
  (void)b;
  *out = (tinker__eng_base_info_t){.vocab_size = VOCAB};
}

int adapter_refs;

struct tinker__eng_adapter_s {
  int *refs;
};

tinker__eng_adapter_t *the_adapter(void) {
  static tinker__eng_adapter_t a = {&adapter_refs};
  return &a;
}

static tinker__eng_adapter_t *adapter_retain(tinker__eng_adapter_t *a) {
  ++*a->refs;
  return a;
}

static void adapter_release(tinker__eng_adapter_t *a) {
  --*a->refs;
}

const tinker__engine_api_t row_api = {
    .adapter_retain = adapter_retain,
    .adapter_release = adapter_release,
    .slot_new = slot_new,
    .slot_bytes = slot_bytes,
    .slot_free = slot_free,
    .slot_fork = slot_fork,
    .slot_grow = slot_grow,
    .base_info = base_info,
    .decode = decode,
    .log_sum_exp = log_sum_exp,
};

static int pick(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                size_t n, tinker__eng_pick_t *picks, size_t n_picks,
                const atomic_bool *cancel, char *why, size_t why_len) {
  float row[VOCAB];
  char scratch[VOCAB * 16];
  int rc = decode(e, items, n, cancel, why, why_len);
  for (size_t i = 0; rc == 0 && i < n_picks; i++) {
    tinker__eng_pick_t *p = &picks[i];
    tinker__eng_sampling_t sampling = {p->temperature, p->top_k, p->top_p,
                                       p->seed};
    make_row(items[p->item].slot->hash, row);
    p->token = tinker__eng_pick(&sampling, p->sample, p->position, row, VOCAB,
                                scratch);
    p->logprob = row[p->token] - log_sum_exp(e, row, VOCAB);
  }
  return rc;
}

const tinker__engine_api_t picking_api = {
    .slot_new = slot_new,
    .slot_bytes = slot_bytes,
    .slot_free = slot_free,
    .slot_fork = slot_fork,
    .slot_grow = slot_grow,
    .base_info = base_info,
    .decode = decode,
    .log_sum_exp = log_sum_exp,
    .pick = pick,
};

/* Token t stands for the two letters of 'a' + t. */
static int token_bytes(void *user, int32_t t, const char **bytes, size_t *n) {
  static char letters[2];
  (void)user;
  letters[0] = letters[1] = (char)('a' + t);
  *bytes = letters;
  *n = 2;
  return 0;
}

const tinker__eng_gen_text_t text = {token_bytes, NULL};
int finished, failed, last_rc;

void on_done(tinker__eng_gen_t *g, int rc, const char *why) {
  cr_assert_neq(why, NULL);
  cr_assert_eq(g->prefill, NULL);
  finished++;
  if (rc != 0) failed++;
  last_rc = rc;
}

tinker__eng_gen_t *make(tinker__mem_t *mem, uint64_t seed, size_t prompt,
                        size_t samples, size_t tokens) {
  static int32_t ids[2000];
  for (size_t i = 0; i < prompt; i++) ids[i] = (int32_t)((seed + i) % 16);
  tinker__eng_gen_spec_t spec = {
      .prompt = ids,
      .n_prompt = prompt,
      .num_samples = samples,
      .max_tokens = tokens,
      .sampling = {1.0f, -1, 1.0, seed},
      .prompt_logprobs = true,
      .top_prompt = 2,
      .top_sample = 3,
  };
  tinker__eng_gen_t *g;
  if (tinker__eng_gen_new(&g, mem, &spec) != 0) return NULL;
  g->done = on_done;
  return g;
}

tinker__eng_backend_t backend = {.api = &row_api, .slots = &slots};
tinker__eng_backend_t picking = {.api = &picking_api, .slots = &slots};

void add(tinker__eng_batch_t *b, tinker__eng_gen_t *gen) {
  if (!gen->backend) gen->backend = &backend;
  tinker__eng_batch_add(b, gen);
}

void run(tinker__mem_t *mem, tinker__eng_gen_t **gens, size_t n) {
  tinker__eng_batch_t b;
  slot_mem = mem;
  tinker__eng_batch_init(&b, mem);
  for (size_t i = 0; i < n; i++) add(&b, gens[i]);
  while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  cr_assert_eq(b.sequences, 0);
  cr_assert_eq(slots.claimed, 0);
  cr_assert_eq(slots_live, 0);
  tinker__eng_batch_free(&b);
}

void assert_same(const tinker__eng_gen_t *a, const tinker__eng_gen_t *b) {
  size_t n = a->n_prompt;
  cr_assert_arr_eq(a->prompt_logprobs + 1, b->prompt_logprobs + 1,
                   (n - 1) * sizeof(float));
  cr_assert_arr_eq(a->top_prompt_ids + 2, b->top_prompt_ids + 2,
                   (n - 1) * 2 * sizeof(int32_t));
  for (size_t i = 0; i < a->num_samples; i++) {
    const tinker__eng_gen_seq_t *x = &a->seqs[i], *y = &b->seqs[i];
    cr_assert_eq(x->n, y->n);
    cr_assert_eq(x->stopped, y->stopped);
    cr_assert_arr_eq(x->tokens, y->tokens, x->n * sizeof *x->tokens);
    cr_assert_arr_eq(x->logprobs, y->logprobs, x->n * sizeof(float));
    cr_assert_arr_eq(x->top_ids, y->top_ids, x->n * 3 * sizeof(int32_t));
  }
}
