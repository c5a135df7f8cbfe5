/* generate: one generation, see generate.h. A row callback only notes what it
 * picked; the token is appended when the whole round has succeeded, because a
 * round that fails is repeated for each request alone. */
#include "engine/generate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

#include "engine/claim.h"
#include "engine/prefill.h"

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

/* Searches sorted ids, since it is called for every token and there may be as
 * many stop tokens as the vocabulary has. */
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

/* Widens the window of rows that are needed by [from, to). */
static void widen(tinker__eng_gen_t *g, size_t from, size_t to) {
  if (g->score_from == g->score_to) {
    g->score_from = from;
    g->score_to = to;
  }
  if (from < g->score_from) g->score_from = from;
  if (to > g->score_to) g->score_to = to;
}

/* Finds the rows of the prompt that are needed. The row of a token predicts the
 * next token; the last row belongs to the samples and is computed anyway. */
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

/* from[to] has a bit for each state that may move to `to`. */
void tinker__eng_gen_move(tinker__eng_gen_t *g, tinker__eng_gen_state_t to) {
  static const unsigned from[] = {
      [TINKER__GEN_WAITS] = 1 << TINKER__GEN_NEW | 1 << TINKER__GEN_PREFILL |
                            1 << TINKER__GEN_DECODE | 1 << TINKER__GEN_STALLED,
      [TINKER__GEN_PREFILL] = 1 << TINKER__GEN_WAITS,
      [TINKER__GEN_DECODE] =
          1 << TINKER__GEN_PREFILL | 1 << TINKER__GEN_STALLED,
      [TINKER__GEN_STALLED] = 1 << TINKER__GEN_DECODE,
      [TINKER__GEN_ENDED] = ~0u,
  };
  bool there = to == g->state || from[to] & 1u << g->state;
  assert(there);
  if (!there) {
    tinker__eng_gen_fail(g, TINKER_ESTATE, "a move that there is not");
  }
  g->state = to;
}

static void seq_stop(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  q->fed = 0;
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
  g->fed = 0;
  tinker__eng_claim_drop(g, g->claims);
}

void tinker__eng_gen_stop(tinker__eng_gen_t *g, tinker__eng_gen_state_t to) {
  if (tinker__eng_gen_runs(g)) g->batch->sequences -= g->num_samples;
  release_slots(g);
  if (to == TINKER__GEN_ENDED && g->adapter && g->state != TINKER__GEN_NEW) {
    g->backend->api->adapter_release(g->adapter);
    g->adapter = NULL;
  }
  tinker__eng_gen_move(g, to);
}

void tinker__eng_gen_free(tinker__eng_gen_t *g) {
  if (!g) return;
  if (g->state != TINKER__GEN_ENDED) tinker__eng_gen_stop(g, TINKER__GEN_ENDED);
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

void tinker__eng_gen_fail(tinker__eng_gen_t *g, int code, const char *text) {
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
    tinker__eng_gen_fail(g, TINKER_ENOMEM, "out of memory while sampling");
    return;
  }
  int32_t id = tinker__eng_pick(&g->sampling, (uint64_t)(q - g->seqs), q->n,
                                row, n, b->scratch);
  if (id < 0) {
    tinker__eng_gen_fail(g, TINKER_EINVAL, not_finite);
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
    tinker__eng_gen_fail(g, TINKER_EINVAL, not_finite);
    return;
  }
  for (size_t i = 0; i < g->draws; i++) {
    g->draw_logprobs[position * g->draws + i] = row[ids[i]] - lse;
  }
}

/* Records the scores of the prompt's token after `position`, from the row that
 * predicts it. */
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

/* True when the engine draws the tokens, because nothing that is recorded needs
 * their rows. */
static bool engine_picks(const tinker__eng_gen_t *g) {
  return g->backend->api->pick && !g->top_sample;
}

static void on_prompt_row(void *user, size_t position, const float *row,
                          size_t n) {
  tinker__eng_gen_t *g = user;
  float lse = g->backend->api->log_sum_exp(g->backend->engine, row, n);
  if (position + 1 < g->n_prompt) {
    score_prompt(g, position, row, n, lse);
    return;
  }
  if (engine_picks(g)) return;
  for (size_t i = 0; i < g->num_samples; i++) {
    seq_pick(&g->seqs[i], row, n, lse);
  }
}

/* --- After a round -------------------------------------------------------- */

/* True when a stop string ends in the text that the last token added. Comparing
 * bytes is enough for UTF-8, where no character begins inside another. */
static bool hits_stop_string(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  const char *bytes;
  size_t n, before = q->text.len;
  if (!g->n_stop_strings) return false;
  if (g->text->bytes(g->text->user, q->tokens[q->n - 1], &bytes, &n) != 0 ||
      tinker__buf_add(&q->text, bytes, n) != 0) {
    tinker__eng_gen_fail(g, TINKER_ENOMEM,
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

/* Appends the token that this round has picked. */
static void seq_append(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  if (q->finished || q->next < 0) return;
  q->tokens[q->n] = q->next;
  q->logprobs[q->n++] = q->next_logprob;
  q->stopped = is_stop_token(g, q->next);
  if (!q->stopped) q->stopped = hits_stop_string(q);
  q->next = -1;
  q->finished = q->stopped || q->n >= g->max_tokens;
  if (q->finished) seq_stop(q);
  int rc = g->on_token ? g->on_token(g, (size_t)(q - g->seqs)) : 0;
  if (rc) tinker__eng_gen_fail(g, rc, "given up by who reads it");
}

static void take_pick(tinker__eng_gen_seq_t *q) {
  tinker__eng_gen_t *g = q->gen;
  if (q->pick == SIZE_MAX) return;
  const tinker__eng_pick_t *p = &g->batch->picks[q->pick];
  q->pick = SIZE_MAX;
  if (seq_reserve(q) != 0) {
    tinker__eng_gen_fail(g, TINKER_ENOMEM, "out of memory while sampling");
  } else if (p->token < 0) {
    tinker__eng_gen_fail(g, TINKER_EINVAL, not_finite);
  } else {
    q->next = p->token;
    q->next_logprob = p->logprob;
  }
}

/* The whole prompt is fed: gives each unfinished sequence a slot. The first of
 * them takes the prompt's own slot, the others get copies. */
static void start_sequences(tinker__eng_gen_t *g) {
  const tinker__engine_api_t *api = g->backend->api;
  tinker__eng_gen_seq_t *heir = NULL;
  size_t slots = 0;
  for (size_t i = g->num_samples; i-- > 0;) {
    if (g->seqs[i].finished) continue;
    heir = &g->seqs[i];
    slots++;
  }
  for (size_t i = g->num_samples; i-- > 0;) {
    tinker__eng_gen_seq_t *q = &g->seqs[i];
    if (q->finished || g->error || q == heir) continue;
    if (api->slot_fork(g->prefill, g->n_prompt, g->room, &q->slot, g->why,
                       sizeof g->why) != 0) {
      q->slot = NULL;
      g->error = TINKER_ENOMEM;
    }
  }
  if (heir && !g->error) {
    heir->slot = g->prefill;
    g->prefill = NULL;
  }
  if (g->prefill) api->slot_free(g->prefill);
  g->prefill = NULL;
  tinker__eng_claim_drop(g, g->claims - slots);
  tinker__eng_gen_move(g, TINKER__GEN_DECODE);
}

/* --- In a round ----------------------------------------------------------- */

int tinker__eng_gen_start(tinker__eng_gen_t *g) {
  g->batch->sequences += g->num_samples;
  tinker__eng_gen_move(g, TINKER__GEN_PREFILL);
  return g->backend->api->slot_new(g->base, g->adapter, g->room, &g->prefill,
                                   g->why, sizeof g->why);
}

size_t tinker__eng_gen_made(const tinker__eng_gen_t *g) {
  for (size_t i = 0; i < g->num_samples; i++) {
    if (!g->seqs[i].finished) return g->seqs[i].n;
  }
  return 0;
}

static void pick_for(tinker__eng_gen_seq_t *q, size_t item,
                     tinker__eng_pick_t *picks, size_t *n_picks) {
  const tinker__eng_gen_t *g = q->gen;
  q->pick = *n_picks;
  picks[(*n_picks)++] = (tinker__eng_pick_t){
      .item = item,
      .temperature = g->sampling.temperature,
      .top_k = g->sampling.top_k,
      .top_p = g->sampling.top_p,
      .seed = g->sampling.seed,
      .sample = (uint64_t)(q - g->seqs),
      .position = q->n,
      .token = -1,
  };
}

/* The next piece of the prompt. Rows that were used before its caches were
 * given up are not asked for again. */
static tinker__eng_decode_item_t prompt_item(tinker__eng_gen_t *g, size_t item,
                                             tinker__eng_pick_t *picks,
                                             size_t *n_picks) {
  size_t n = g->piece, first = n;
  size_t from = g->score_from > g->scored ? g->score_from : g->scored;
  if (g->fed < g->score_to) {
    first = from > g->fed ? from - g->fed : 0;
    if (first > n) first = n;
  }
  if (g->fed + n == g->n_prompt && g->scored < g->n_prompt) {
    if (!engine_picks(g)) {
      if (first == n) first = n - 1;
    } else {
      for (size_t i = 0; i < g->num_samples; i++) {
        pick_for(&g->seqs[i], item, picks, n_picks);
      }
    }
  }
  return (tinker__eng_decode_item_t){g->prefill, g->prompt + g->fed, n,
                                     first,      on_prompt_row,      g};
}

/* The next tokens of a sequence: its last token, or, after its caches were
 * given up, a piece of all its tokens. */
static tinker__eng_decode_item_t seq_item(tinker__eng_gen_seq_t *q, size_t item,
                                          tinker__eng_pick_t *picks,
                                          size_t *n_picks) {
  size_t n = q->piece;
  bool last = q->fed + n == q->n, picked = last && engine_picks(q->gen);
  if (picked) pick_for(q, item, picks, n_picks);
  return (tinker__eng_decode_item_t){q->slot,
                                     q->tokens + q->fed,
                                     n,
                                     last && !picked ? n - 1 : n,
                                     on_decode_row,
                                     q};
}

size_t tinker__eng_gen_items(tinker__eng_gen_t *g,
                             tinker__eng_decode_item_t *items, size_t first,
                             tinker__eng_pick_t *picks, size_t *n_picks,
                             tinker__eng_prefill_t *left) {
  size_t n = first, most;
  for (size_t i = 0; i < g->num_samples; i++) g->seqs[i].pick = SIZE_MAX;
  if (g->state == TINKER__GEN_STALLED) return 0;
  if (g->state == TINKER__GEN_PREFILL) {
    g->piece = tinker__eng_prefill_take(left, g);
    items[n] = prompt_item(g, n, picks, n_picks);
    return 1;
  }
  most = tinker__eng_prefill_again(left, g);
  for (size_t i = 0; i < g->num_samples; i++) {
    tinker__eng_gen_seq_t *q = &g->seqs[i];
    if (q->finished) continue;
    q->piece = q->n - q->fed < most ? q->n - q->fed : most;
    items[n] = seq_item(q, n, picks, n_picks);
    n++;
  }
  return n - first;
}

void tinker__eng_gen_advance(tinker__eng_gen_t *g) {
  bool prefill = g->state == TINKER__GEN_PREFILL;
  if (g->error || g->state == TINKER__GEN_STALLED) return;
  if (prefill) {
    g->fed += g->piece;
    if (g->fed > g->scored) g->scored = g->fed;
    if (g->fed < g->n_prompt) return;
  }
  for (size_t i = 0; i < g->num_samples; i++) {
    tinker__eng_gen_seq_t *q = &g->seqs[i];
    if (!prefill && !q->finished) q->fed += q->piece;
    take_pick(q);
    if (!g->error) seq_append(q);
  }
  if (prefill && !g->error) start_sequences(g);
}

bool tinker__eng_gen_finished(const tinker__eng_gen_t *g) {
  if (g->error) return true;
  for (size_t i = 0; i < g->num_samples; i++) {
    if (!g->seqs[i].finished) return false;
  }
  return true;
}
