/* generate: see generate.h. A row callback only notes what it picked; the
 * token is appended when the whole round has succeeded, because a round that
 * fails is repeated for each request alone. */
#include "engine/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

#include "engine/claim.h"
#include "engine/prefill.h"

#define MAX_SEQUENCES 64 /* at once; a larger request runs alone */

/* --- Making and freeing --------------------------------------------------- */

static int by_id(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

static int copy_stop_tokens(tinker__eng_gen_t *g,
                            const tinker__eng_gen_spec_t *spec) {
  size_t n = spec->n_stop_tokens, size = sizeof *spec->stop_tokens;
  g->stop_tokens = tinker__mem_dup(g->mem, spec->stop_tokens, n * size);
  if (!g->stop_tokens) return TINKER_ENOMEM;
  qsort(g->stop_tokens, n, size, by_id);
  g->n_stop_tokens = n;
  return 0;
}

/* As many as the vocabulary has may be given, and this is asked per token. */
static bool is_stop_token(const tinker__eng_gen_t *g, int32_t id) {
  return g->n_stop_tokens && bsearch(&id, g->stop_tokens, g->n_stop_tokens,
                                     sizeof id, by_id) != NULL;
}

static int copy_stops(tinker__eng_gen_t *g,
                      const tinker__eng_gen_spec_t *spec) {
  size_t bytes = spec->n_stop_strings * sizeof *g->stop_strings;
  for (size_t i = 0; i < spec->n_stop_strings; i++) {
    size_t len = spec->stop_strings[i].len;
    bytes += len;
    if (len > g->longest_stop) g->longest_stop = len;
  }
  g->stop_strings = tinker__mem_alloc(g->mem, bytes);
  if (!g->stop_strings) return TINKER_ENOMEM;
  char *text = (char *)(g->stop_strings + spec->n_stop_strings);
  for (size_t i = 0; i < spec->n_stop_strings; i++) {
    size_t len = spec->stop_strings[i].len;
    memcpy(text, spec->stop_strings[i].ptr, len);
    g->stop_strings[i] = (tinker__str_t){text, len};
    text += len;
  }
  g->n_stop_strings = spec->n_stop_strings;
  return 0;
}

static size_t target_count(const tinker__eng_gen_t *g) {
  return g->target.starts ? (size_t)g->target.starts[g->n_prompt - 1] : 0;
}

static int alloc_scores(tinker__eng_gen_t *g) {
  size_t ids = target_count(g), draws = (g->n_prompt - 1) * g->draws;
  if (ids) {
    g->target_logprobs = tinker__mem_array(g->mem, ids, sizeof(float));
    if (!g->target_logprobs) return TINKER_ENOMEM;
  }
  if (draws) {
    g->draw_ids = tinker__mem_array(g->mem, draws, sizeof(int32_t));
    g->draw_logprobs = tinker__mem_array(g->mem, draws, sizeof(float));
    if (!g->draw_ids || !g->draw_logprobs) return TINKER_ENOMEM;
  }
  return 0;
}

static int alloc_outputs(tinker__eng_gen_t *g) {
  size_t top = g->n_prompt * g->top_prompt;
  if (g->want_prompt) {
    g->prompt_logprobs = tinker__mem_array(g->mem, g->n_prompt, sizeof(float));
    if (!g->prompt_logprobs) return TINKER_ENOMEM;
    for (size_t i = 0; i < g->prompt_from; i++) g->prompt_logprobs[i] = NAN;
  }
  if (top) {
    g->top_prompt_ids = tinker__mem_array(g->mem, top, sizeof(int32_t));
    g->top_prompt_logprobs = tinker__mem_array(g->mem, top, sizeof(float));
    if (!g->top_prompt_ids || !g->top_prompt_logprobs) return TINKER_ENOMEM;
  }
  g->seqs = tinker__mem_array(g->mem, g->num_samples, sizeof *g->seqs);
  if (!g->seqs) return TINKER_ENOMEM;
  for (size_t i = 0; i < g->num_samples; i++) {
    g->seqs[i].gen = g;
    g->seqs[i].next = -1;
    tinker__buf_init(&g->seqs[i].text, g->mem, (size_t)1 << 30);
  }
  return 0;
}

/* Rows [from, to) are needed, too. */
static void widen(tinker__eng_gen_t *g, size_t from, size_t to) {
  if (g->score_from == g->score_to) {
    g->score_from = from;
    g->score_to = to;
  }
  if (from < g->score_from) g->score_from = from;
  if (to > g->score_to) g->score_to = to;
}

/* The row of a prompt's token predicts the next one: the last row belongs to
 * the samples and is computed in any case. */
static void set_window(tinker__eng_gen_t *g) {
  size_t last = g->n_prompt - 1;
  g->score_from = g->score_to = g->n_prompt;
  if (!last) return;
  if (g->want_prompt || g->top_prompt) widen(g, g->prompt_from - 1, last);
  if (g->draws) widen(g, 0, last);
  for (size_t r = 0; g->target.starts && r < last; r++) {
    bool asked = false;
    for (int64_t i = g->target.starts[r]; i < g->target.starts[r + 1]; i++) {
      asked = asked || g->target.ids[i] >= 0;
    }
    if (asked) widen(g, r, r + 1);
  }
  if (g->score_to == last) g->score_to = g->n_prompt;
}

int tinker__eng_gen_new(tinker__eng_gen_t **out, tinker__mem_t *mem,
                        const tinker__eng_gen_spec_t *spec) {
  tinker__eng_gen_t *g = tinker__mem_zalloc(mem, sizeof *g);
  if (!g) return TINKER_ENOMEM;
  int rc = TINKER_ENOMEM;
  tinker__list_init(&g->link);
  g->mem = mem;
  atomic_init(&g->cancel, false);
  g->n_prompt = spec->n_prompt;
  g->num_samples = spec->num_samples;
  g->max_tokens = spec->max_tokens;
  g->sampling = spec->sampling;
  g->text = spec->text;
  g->top_prompt = spec->top_prompt;
  g->top_sample = spec->top_sample;
  g->want_prompt = spec->prompt_logprobs;
  g->prompt_from = spec->prompt_from ? spec->prompt_from : 1;
  g->target = spec->target;
  g->draws = spec->draws;
  set_window(g);
  g->prompt =
      tinker__mem_dup(mem, spec->prompt, spec->n_prompt * sizeof *spec->prompt);
  if (!g->prompt) goto out;
  if (spec->n_stop_tokens && (rc = copy_stop_tokens(g, spec)) != 0) goto out;
  if (spec->n_stop_strings && (rc = copy_stops(g, spec)) != 0) goto out;
  if ((rc = alloc_scores(g)) != 0) goto out;
  if ((rc = alloc_outputs(g)) != 0) goto out;
  *out = g;
  return 0;
out:
  tinker__eng_gen_free(g);
  return rc;
}

static void seq_stop(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  if (!q->slot) return;
  g->backend->api->slot_free(q->slot);
  q->slot = NULL;
  tinker__eng_claim_drop(g, 1);
}

static void release_slots(tinker__eng_gen_t *g) {
  for (size_t i = 0; g->seqs && i < g->num_samples; i++) {
    if (g->seqs[i].gen) seq_stop(&g->seqs[i]);
  }
  if (g->prefill) g->backend->api->slot_free(g->prefill);
  g->prefill = NULL;
}

void tinker__eng_gen_free(tinker__eng_gen_t *g) {
  if (!g) return;
  release_slots(g);
  for (size_t i = 0; g->seqs && i < g->num_samples; i++) {
    tinker__eng_gen_seq_t *q = &g->seqs[i];
    tinker__mem_free(g->mem, q->tokens);
    tinker__mem_free(g->mem, q->logprobs);
    tinker__mem_free(g->mem, q->top_ids);
    tinker__mem_free(g->mem, q->top_logprobs);
    if (q->gen) tinker__buf_free(&q->text);
  }
  tinker__mem_free(g->mem, g->seqs);
  tinker__mem_free(g->mem, g->prompt);
  tinker__mem_free(g->mem, g->stop_tokens);
  tinker__mem_free(g->mem, g->stop_strings);
  tinker__mem_free(g->mem, g->prompt_logprobs);
  tinker__mem_free(g->mem, g->top_prompt_ids);
  tinker__mem_free(g->mem, g->top_prompt_logprobs);
  tinker__mem_free(g->mem, g->target_logprobs);
  tinker__mem_free(g->mem, g->draw_ids);
  tinker__mem_free(g->mem, g->draw_logprobs);
  tinker__mem_free(g->mem, g);
}

/* --- Rows ----------------------------------------------------------------- */

static void gen_fail(tinker__eng_gen_t *g, int code, const char *text) {
  if (!g->error) {
    g->error = code;
    tinker__why(g->why, sizeof g->why, code, "%s", text);
  }
}

/* Log-probabilities of the k largest logits of a row. */
static void top_logprobs(tinker__eng_batch_t *b, const float *row, size_t n,
                         size_t k, float lse, int32_t *ids, float *out) {
  tinker__eng_pick_top(row, n, k, ids, out, b->scratch);
  for (size_t i = 0; i < k; i++) out[i] -= lse;
}

static int seq_reserve(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  if (q->n < q->cap) return 0;
  size_t cap = q->cap ? q->cap * 2 : 32, k = g->top_sample;
  int32_t *tokens = tinker__mem_realloc(g->mem, q->tokens, cap * 4);
  if (tokens) q->tokens = tokens;
  float *lp = tinker__mem_realloc(g->mem, q->logprobs, cap * 4);
  if (lp) q->logprobs = lp;
  if (!tokens || !lp) return TINKER_ENOMEM;
  if (k) {
    int32_t *ids = tinker__mem_realloc(g->mem, q->top_ids, cap * k * 4);
    if (ids) q->top_ids = ids;
    float *top = tinker__mem_realloc(g->mem, q->top_logprobs, cap * k * 4);
    if (top) q->top_logprobs = top;
    if (!ids || !top) return TINKER_ENOMEM;
  }
  q->cap = cap;
  return 0;
}

static const char not_finite[] =
    "NonFiniteInTensor: the model's logits are not finite";

/* Picks the next token of a sequence from its row and notes it. */
static void seq_pick(tinker__eng_gen_seq_t *q, const float *row, size_t n,
                     float lse) {
  tinker__eng_gen_t *g = q->gen;
  tinker__eng_batch_t *b = g->batch;
  if (seq_reserve(q) != 0) {
    gen_fail(g, TINKER_ENOMEM, "out of memory while sampling");
    return;
  }
  int32_t id = tinker__eng_pick(&g->sampling, (uint64_t)(q - g->seqs), q->n,
                                row, n, b->scratch);
  if (id < 0) {
    gen_fail(g, TINKER_EINVAL, not_finite);
    return;
  }
  q->next = id;
  q->next_logprob = row[id] - lse;
  if (g->top_sample) {
    top_logprobs(b, row, n, g->top_sample, lse,
                 q->top_ids + q->n * g->top_sample,
                 q->top_logprobs + q->n * g->top_sample);
  }
}

static void on_decode_row(void *user, size_t position, const float *row,
                          size_t n) {
  tinker__eng_gen_seq_t *q = user;
  (void)position;
  seq_pick(q, row, n,
           q->gen->backend->api->log_sum_exp(q->gen->backend->engine, row, n));
}

static void score_target(tinker__eng_gen_t *g, size_t position,
                         const float *row, float lse) {
  const tinker__eng_gen_target_t *t = &g->target;
  for (int64_t i = t->starts[position]; i < t->starts[position + 1]; i++) {
    if (t->ids[i] >= 0) g->target_logprobs[i] = row[t->ids[i]] - lse;
  }
}

static void draw_prompt(tinker__eng_gen_t *g, size_t position, const float *row,
                        size_t n, float lse) {
  int32_t *ids = g->draw_ids + position * g->draws;
  if (tinker__eng_pick_draws(&g->sampling, position + 1, row, n, g->draws, ids,
                             g->batch->scratch) != 0) {
    gen_fail(g, TINKER_EINVAL, not_finite);
    return;
  }
  for (size_t i = 0; i < g->draws; i++) {
    g->draw_logprobs[position * g->draws + i] = row[ids[i]] - lse;
  }
}

/* All that is asked about the token behind this one, which the prompt has. */
static void score_prompt(tinker__eng_gen_t *g, size_t position,
                         const float *row, size_t n, float lse) {
  size_t next = position + 1;
  bool scored = next >= g->prompt_from;
  if (g->want_prompt && scored) {
    g->prompt_logprobs[next] = row[g->prompt[next]] - lse;
  }
  if (g->top_prompt && scored) {
    top_logprobs(g->batch, row, n, g->top_prompt, lse,
                 g->top_prompt_ids + next * g->top_prompt,
                 g->top_prompt_logprobs + next * g->top_prompt);
  }
  if (g->target.starts) score_target(g, position, row, lse);
  if (g->draws) draw_prompt(g, position, row, n, lse);
}

static void on_prompt_row(void *user, size_t position, const float *row,
                          size_t n) {
  tinker__eng_gen_t *g = user;
  float lse = g->backend->api->log_sum_exp(g->backend->engine, row, n);
  if (position + 1 < g->n_prompt) {
    score_prompt(g, position, row, n, lse);
    return;
  }
  for (size_t i = 0; i < g->num_samples; i++) {
    seq_pick(&g->seqs[i], row, n, lse);
  }
}

/* --- After a round -------------------------------------------------------- */

/* True when a stop string ends in the text that this token added. Bytes will
 * do: no character's bytes begin inside another's. */
static bool hits_stop_string(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  const char *bytes;
  size_t n, before = q->text.len;
  if (!g->n_stop_strings) return false;
  if (g->text->bytes(g->text->user, q->tokens[q->n - 1], &bytes, &n) != 0 ||
      tinker__buf_add(&q->text, bytes, n) != 0) {
    gen_fail(g, TINKER_ENOMEM,
             "a token could not be compared with the stop strings");
    return false;
  }
  for (size_t s = 0; s < g->n_stop_strings; s++) {
    size_t len = g->stop_strings[s].len;
    size_t from = before >= len ? before - len + 1 : 0;
    for (size_t at = from; at + len <= q->text.len; at++) {
      if (!memcmp(q->text.data + at, g->stop_strings[s].ptr, len)) return true;
    }
  }
  return false;
}

static void seq_append(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  if (q->finished || q->next < 0) return;
  q->tokens[q->n] = q->next;
  q->logprobs[q->n++] = q->next_logprob;
  q->stopped = is_stop_token(g, q->next);
  if (!q->stopped) q->stopped = hits_stop_string(q);
  q->next = -1;
  q->finished = q->stopped || q->n >= g->max_tokens;
  if (q->finished) {
    seq_stop(q);
  } else if (g->n_prompt + q->n > g->room) {
    g->error = tinker__eng_claim_too_large(g);
  }
}

/* The prompt is in: gives each unfinished sequence a slot. The last one takes
 * the prompt's own. */
static void start_sequences(tinker__eng_gen_t *g) {
  const tinker__engine_api_t *api = g->backend->api;
  for (size_t i = g->num_samples; i-- > 0;) {
    tinker__eng_gen_seq_t *q = &g->seqs[i];
    if (q->finished || g->error) continue;
    if (i == 0) {
      q->slot = g->prefill;
      g->prefill = NULL;
    } else if (api->slot_fork(g->prefill, g->n_prompt, g->room, &q->slot,
                              g->why, sizeof g->why) != 0) {
      q->slot = NULL;
      g->error = TINKER_ENOMEM;
    }
  }
  if (g->prefill) api->slot_free(g->prefill);
  g->prefill = NULL;
  g->decoding = true;
}

static void gen_advance(tinker__eng_gen_t *g) {
  if (g->error) return;
  if (!g->decoding) {
    g->fed += g->piece;
    if (g->fed < g->n_prompt) return;
  }
  for (size_t i = 0; i < g->num_samples; i++) seq_append(&g->seqs[i]);
  if (!g->decoding && !g->error) start_sequences(g);
}

static bool gen_finished(const tinker__eng_gen_t *g) {
  if (g->error) return true;
  for (size_t i = 0; i < g->num_samples; i++) {
    if (!g->seqs[i].finished) return false;
  }
  return true;
}

static void gen_finish(tinker__eng_gen_t *g) {
  release_slots(g);
  tinker__eng_claim_drop(g, g->claims);
  tinker__list_remove(&g->link);
  if (g->started) g->batch->sequences -= g->num_samples;
  g->done(g, g->error, g->why);
}

/* --- The batch ------------------------------------------------------------ */

void tinker__eng_batch_init(tinker__eng_batch_t *b, tinker__mem_t *mem) {
  memset(b, 0, sizeof *b);
  b->mem = mem;
  tinker__list_init(&b->waiting);
  tinker__list_init(&b->running);
}

static void free_list(tinker__link_t *list) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(list)) != NULL) {
    tinker__eng_gen_free(TINKER__CONTAINER(l, tinker__eng_gen_t, link));
  }
}

void tinker__eng_batch_free(tinker__eng_batch_t *b) {
  free_list(&b->waiting);
  free_list(&b->running);
  tinker__mem_free(b->mem, b->scratch);
  tinker__mem_free(b->mem, b->items);
}

void tinker__eng_batch_add(tinker__eng_batch_t *b, tinker__eng_gen_t *gen) {
  gen->batch = b;
  tinker__list_push_back(&b->waiting, &gen->link);
}

static int ensure_scratch(tinker__eng_batch_t *b, size_t vocab) {
  size_t need = tinker__eng_pick_scratch(vocab);
  if (need <= b->scratch_len) return 0;
  void *p = tinker__mem_realloc(b->mem, b->scratch, need);
  if (!p) return TINKER_ENOMEM;
  b->scratch = p;
  b->scratch_len = need;
  return 0;
}

/* What it takes to run: model, scratch, the size of its slots. */
static int gen_prepare(tinker__eng_batch_t *b, tinker__eng_gen_t *g) {
  tinker__eng_base_info_t info;
  int rc = g->prepare ? g->prepare(g, g->why, sizeof g->why) : 0;
  if (rc != 0) return rc;
  g->backend->api->base_info(g->base, &info);
  rc = ensure_scratch(b, info.vocab_size);
  return rc != 0 ? rc : tinker__eng_claim_room(g);
}

/* Takes a prepared generation into the rounds. */
static int gen_start(tinker__eng_batch_t *b, tinker__eng_gen_t *g) {
  b->sequences += g->num_samples;
  g->started = true;
  tinker__eng_claim_take(g);
  return g->backend->api->slot_new(g->base, g->adapter, g->room, &g->prefill,
                                   g->why, sizeof g->why);
}

/* In the order they came: a large one is not overtaken until it is there no
 * more. */
static void admit(tinker__eng_batch_t *b) {
  tinker__link_t *l;
  while ((l = tinker__list_first(&b->waiting)) != NULL) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (b->sequences && b->sequences + g->num_samples > MAX_SEQUENCES) return;
    g->error = gen_prepare(b, g);
    if (!g->error && !tinker__eng_claim_now(g)) return;
    tinker__list_remove(l);
    tinker__list_push_back(&b->running, l);
    if (!g->error) g->error = gen_start(b, g);
    if (g->error) gen_finish(g);
  }
}

static tinker__eng_decode_item_t prompt_item(tinker__eng_gen_t *g) {
  size_t n = g->piece, first = n;
  if (g->fed < g->score_to) {
    first = g->score_from > g->fed ? g->score_from - g->fed : 0;
    if (first > n) first = n;
  }
  if (g->fed + n == g->n_prompt && first == n) first = n - 1;
  return (tinker__eng_decode_item_t){g->prefill, g->prompt + g->fed, n,
                                     first,      on_prompt_row,      g};
}

/* Items of one generation for this round, appended at b->items + n. */
static size_t gen_items(tinker__eng_gen_t *g, tinker__eng_decode_item_t *items,
                        tinker__eng_prefill_t *left) {
  if (!g->decoding) {
    g->piece = tinker__eng_prefill_take(left, g);
    items[0] = prompt_item(g);
    return 1;
  }
  size_t count = 0;
  for (size_t i = 0; i < g->num_samples; i++) {
    tinker__eng_gen_seq_t *q = &g->seqs[i];
    if (q->finished) continue;
    items[count++] = (tinker__eng_decode_item_t){
        q->slot, &q->tokens[q->n - 1], 1, 0, on_decode_row, q};
  }
  return count;
}

static int ensure_items(tinker__eng_batch_t *b, size_t n) {
  if (n <= b->cap_items) return 0;
  void *p = tinker__mem_realloc(b->mem, b->items, n * sizeof *b->items);
  if (!p) return TINKER_ENOMEM;
  b->items = p;
  b->cap_items = n;
  return 0;
}

/* One call of the engine for a generation alone: who fails, fails alone. */
static void round_alone(tinker__eng_batch_t *b, tinker__eng_gen_t *g) {
  tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 1};
  size_t n = gen_items(g, b->items, &left);
  int rc = g->backend->api->decode(g->backend->engine, b->items, n, b->halt,
                                   g->why, sizeof g->why);
  if (rc == TINKER_ECANCELED) return;
  if (rc != 0 && !g->error) g->error = rc;
  gen_advance(g);
}

static bool same_base(const tinker__eng_gen_t *a, const tinker__eng_gen_t *b) {
  return a->backend == b->backend && a->base == b->base;
}

/* One call of the engine for all that sample from the base of `first`. */
static void round_of_base(tinker__eng_batch_t *b,
                          const tinker__eng_gen_t *first) {
  const tinker__eng_backend_t *e = first->backend;
  tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 0};
  size_t n = 0;
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    left.prompts += same_base(g, first) && !g->error && !g->decoding;
  }
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (same_base(g, first) && !g->error) {
      n += gen_items(g, b->items + n, &left);
    }
  }
  if (!n) return;
  int rc = e->api->decode(e->engine, b->items, n, b->halt, NULL, 0);
  if (rc == TINKER_ECANCELED) return; /* nobody is any further */
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (!same_base(g, first) || g->error) continue;
    if (rc == 0) {
      gen_advance(g);
    } else {
      round_alone(b, g);
    }
  }
}

static bool first_of_base(const tinker__eng_batch_t *b,
                          const tinker__eng_gen_t *gen) {
  TINKER__LIST_EACH(l, tmp, &b->running) {
    const tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (same_base(g, gen)) return g == gen;
  }
  return false;
}

static void drop_cancelled(tinker__eng_batch_t *b) {
  TINKER__LIST_EACH(l, tmp, &b->waiting) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (!atomic_load(&g->cancel)) continue;
    gen_fail(g, TINKER_ECANCELED, "canceled");
    gen_finish(g);
  }
}

void tinker__eng_batch_round(tinker__eng_batch_t *b) {
  drop_cancelled(b);
  admit(b);
  int rc = ensure_items(b, b->sequences + 1);
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (rc != 0) gen_fail(g, rc, "out of memory while sampling");
    if (atomic_load(&g->cancel)) gen_fail(g, TINKER_ECANCELED, "canceled");
  }
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (first_of_base(b, g)) round_of_base(b, g);
  }
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (gen_finished(g)) gen_finish(g);
  }
}
