/* decode: one batched round over slots. Engine thread; invariants in kv.h and
 * forward.h.
 *
 * Items with the same adapter lie next to each other in the batch. A long
 * prompt is fed in batches of bounded size. The lengths of slots change only
 * when the round has succeeded, so a round that fails leaves no trace. Workers
 * of the pool draw the tokens, each token from one row. */
#include <string.h>
#include <tinker/error.h>

#include "cpu/forward.h"
#include "cpu/loss.h"
#include "engine/pick.h"

#define BATCH_ROWS 512

/* A row whose logits are wanted. */
typedef struct {
  size_t item, row, position;
  bool handed; /* the row is handed over to the item's owner */
} want_t;

/* The row of an item's last token. */
typedef struct {
  bool wanted;      /* a token is drawn from the row */
  const float *row; /* its logits if they are in the present block, else NULL */
} last_t;

typedef struct {
  tinker__engine_t *e;
  tinker__eng_base_t *base;
  const tinker__eng_decode_item_t *items;
  size_t n;
  size_t *order;     /* items by adapter */
  size_t *done;      /* tokens of each item that have been in a batch */
  size_t rank;       /* largest */
  size_t rows, keys; /* most rows of a batch, most keys of a slot */

  tinker__cpu_batch_t batch;
  tinker__cpu_seq_t *seqs, *head_seqs; /* [n] */
  int32_t *tokens;                     /* [rows] */
  want_t *wants;                       /* [rows] */
  size_t num_wants, block;
  tinker__cpu_arena_t arena;
  tinker__cpu_acts_t acts;
  float *hf, *logits, *u;

  tinker__eng_pick_t *picks;
  size_t n_picks;
  last_t *last; /* [n] */
  float *noise; /* [threads][noise_floats]: scratch of a draw */
  size_t noise_floats;
} round_t;

static int refuse(char *why, size_t why_len, size_t i, const char *reason) {
  return tinker__why(why, why_len, TINKER_EINVAL, "items[%zu]: %s", i, reason);
}

static int check(const tinker__eng_decode_item_t *items, size_t n, char *why,
                 size_t why_len) {
  for (size_t i = 0; i < n; i++) {
    const tinker__eng_decode_item_t *t = &items[i];
    if (t->n == 0) return refuse(why, why_len, i, "no tokens");
    if (t->n > t->slot->max - t->slot->len) {
      return refuse(why, why_len, i, "more tokens than the slot has room for");
    }
    if (t->slot->base != items[0].slot->base) {
      return refuse(why, why_len, i, "another base than the first item's");
    }
    for (size_t j = 0; j < t->n; j++) {
      if (t->tokens[j] < 0 || (size_t)t->tokens[j] >= t->slot->base->d.vocab) {
        return refuse(why, why_len, i, "a token is not in the vocabulary");
      }
    }
    for (size_t j = 0; j < i; j++) {
      if (items[j].slot == t->slot) {
        return refuse(why, why_len, i, "its slot is there twice");
      }
    }
  }
  return 0;
}

/* Groups items by adapter, in the order of first appearance, so that each
 * adapter needs one product per matrix. */
static void sort_items(round_t *r) {
  size_t placed = 0;
  for (size_t i = 0; i < r->n; i++) {
    size_t at = placed;
    for (size_t j = 0; j < placed; j++) {
      if (r->items[r->order[j]].slot->adapter == r->items[i].slot->adapter) {
        at = j + 1;
      }
    }
    memmove(r->order + at + 1, r->order + at, (placed - at) * sizeof *r->order);
    r->order[at] = i;
    placed++;
  }
}

static void measure(round_t *r) {
  size_t total = 0;
  for (size_t i = 0; i < r->n; i++) {
    const tinker__eng_slot_t *s = r->items[i].slot;
    total += r->items[i].n;
    if (s->len + r->items[i].n > r->keys) r->keys = s->len + r->items[i].n;
    if (s->adapter && s->adapter->lora->rank > r->rank) {
      r->rank = s->adapter->lora->rank;
    }
  }
  r->rows = total < BATCH_ROWS ? total : BATCH_ROWS;
  r->block = tinker__cpu_head_block(r->base, r->rows);
}

static void carve(round_t *r, tinker__cpu_arena_t *a) {
  const tinker__cpu_dims_t *d = &r->base->d;
  tinker__cpu_acts_carve(a, r->base, r->rows, r->rank, &r->acts);
  r->batch.attn_floats =
      tinker__cpu_attn_floats(r->base, r->rows, r->keys, false);
  r->batch.attn = tinker__cpu_carve(
      a, r->batch.attn_floats * tinker__cpu_pool_threads(r->e->pool));
  r->hf = tinker__cpu_carve(a, r->block * d->hidden);
  r->logits = tinker__cpu_carve(a, r->block * d->vocab);
  r->u = tinker__cpu_carve(a, r->block * r->rank);
  r->noise_floats =
      tinker__eng_pick_scratch(r->n_picks ? d->vocab : 0) / sizeof(float);
  r->noise = tinker__cpu_carve(a, r->noise_floats *
                                      tinker__cpu_pool_threads(r->e->pool));
}

static int allocate(round_t *r) {
  tinker__mem_t *mem = r->e->mem;
  r->order = tinker__mem_array(mem, r->n, sizeof *r->order);
  r->done = tinker__mem_array(mem, r->n, sizeof *r->done);
  r->seqs = tinker__mem_array(mem, r->n, sizeof *r->seqs);
  r->head_seqs = tinker__mem_array(mem, r->n, sizeof *r->head_seqs);
  r->last = tinker__mem_array(mem, r->n, sizeof *r->last);
  if (!r->order || !r->done || !r->seqs || !r->head_seqs || !r->last) {
    return TINKER_ENOMEM;
  }
  for (size_t i = 0; i < r->n_picks; i++) {
    r->last[r->picks[i].item].wanted = true;
  }
  measure(r);
  r->tokens = tinker__mem_array(mem, r->rows, sizeof *r->tokens);
  r->wants = tinker__mem_array(mem, r->rows, sizeof *r->wants);
  if (!r->tokens || !r->wants) return TINKER_ENOMEM;
  int rc = tinker__cpu_base_rope(r->base, r->keys);
  if (rc) return rc;
  tinker__cpu_arena_t count = {0};
  carve(r, &count);
  rc = tinker__cpu_arena_open(r->e, &r->arena, count.used);
  if (!rc) carve(r, &r->arena);
  return rc;
}

static void free_round(round_t *r) {
  tinker__mem_t *mem = r->e->mem;
  tinker__cpu_arena_close(r->e, &r->arena);
  tinker__mem_free(mem, r->wants);
  tinker__mem_free(mem, r->tokens);
  tinker__mem_free(mem, r->last);
  tinker__mem_free(mem, r->head_seqs);
  tinker__mem_free(mem, r->seqs);
  tinker__mem_free(mem, r->done);
  tinker__mem_free(mem, r->order);
}

/* Adds the next m tokens of an item as a sequence of the batch. */
static void add_seq(round_t *r, size_t item, size_t m) {
  const tinker__eng_decode_item_t *t = &r->items[item];
  size_t done = r->done[item], row0 = r->batch.rows;
  r->seqs[r->batch.num_seqs++] = (tinker__cpu_seq_t){
      .row0 = row0,
      .n = m,
      .pos0 = t->slot->len + done,
      .slot = t->slot,
      .adapter = t->slot->adapter,
  };
  memcpy(r->tokens + row0, t->tokens + done, m * sizeof *r->tokens);
  for (size_t j = 0; j < m; j++) {
    bool handed = done + j >= t->first_row;
    bool drawn = r->last[item].wanted && done + j + 1 == t->n;
    if (!handed && !drawn) continue;
    r->wants[r->num_wants++] = (want_t){
        .item = item,
        .row = row0 + j,
        .position = t->slot->len + done + j,
        .handed = handed,
    };
  }
  r->batch.rows += m;
  r->done[item] += m;
}

/* Fills the next batch. False when no item has tokens left. */
static bool next_batch(round_t *r) {
  r->batch.rows = 0;
  r->batch.num_seqs = 0;
  r->num_wants = 0;
  for (size_t i = 0; i < r->n && r->batch.rows < r->rows; i++) {
    size_t item = r->order[i], m = r->items[item].n - r->done[item];
    if (m > r->rows - r->batch.rows) m = r->rows - r->batch.rows;
    if (m > 0) add_seq(r, item, m);
  }
  return r->batch.rows > 0;
}

static void pick_task(void *arg, size_t task, unsigned worker) {
  const round_t *r = arg;
  tinker__eng_pick_t *p = &r->picks[task];
  const float *row = r->last[p->item].row;
  size_t vocab = r->base->d.vocab;
  if (!row) return;
  tinker__eng_sampling_t how = {p->temperature, p->top_k, p->top_p, p->seed};
  p->token = tinker__eng_pick(&how, p->sample, p->position, row, vocab,
                              r->noise + worker * r->noise_floats);
  if (p->token >= 0) p->logprob = row[p->token] - r->e->ks->lse(row, vocab);
}

/* Draws from the rows of wants[first .. first + n). */
static void draw(round_t *r, size_t first, size_t n) {
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    const want_t *w = &r->wants[first + i];
    last_t *last = &r->last[w->item];
    if (!last->wanted ||
        w->position + 1 < r->items[w->item].slot->len + r->items[w->item].n) {
      continue;
    }
    last->row = r->logits + i * r->base->d.vocab;
    any = true;
  }
  if (any) tinker__cpu_pool_run(r->e->pool, pick_task, r, r->n_picks);
  for (size_t i = 0; i < n; i++) r->last[r->wants[first + i].item].row = NULL;
}

/* Computes the logits of wants[first .. first + n), n <= block, and hands them
 * to their items. */
static void give_rows(round_t *r, size_t first, size_t n) {
  const tinker__cpu_dims_t *d = &r->base->d;
  tinker__cpu_batch_t b = {.base = r->base, .rows = n, .seqs = r->head_seqs};
  for (size_t i = 0; i < n; i++) {
    const want_t *w = &r->wants[first + i];
    if (i == 0 || w->item != w[-1].item) {
      r->head_seqs[b.num_seqs++] = (tinker__cpu_seq_t){
          .row0 = i,
          .adapter = r->items[w->item].slot->adapter,
      };
    }
    r->head_seqs[b.num_seqs - 1].n++;
    r->e->ks->rmsnorm(r->hf + i * d->hidden, r->acts.x + w->row * d->hidden,
                      r->base->norm, d->hidden, d->eps);
  }
  tinker__cpu_proj_t head = {TINKER__LORA_LM_HEAD, r->hf, r->u, r->logits};
  tinker__cpu_project(&b, 0, &head, 1, false);
  for (size_t i = 0; i < n; i++) {
    const want_t *w = &r->wants[first + i];
    const tinker__eng_decode_item_t *t = &r->items[w->item];
    if (!w->handed) continue;
    t->on_row(t->user, w->position, r->logits + i * d->vocab, d->vocab);
  }
  draw(r, first, n);
}

static int run(round_t *r, const atomic_bool *cancel) {
  while (next_batch(r)) {
    tinker__cpu_embed(r->base, r->tokens, r->batch.rows, r->acts.x);
    for (size_t l = 0; l < r->base->d.layers; l++) {
      if (cancel && atomic_load(cancel)) return TINKER_ECANCELED;
      tinker__cpu_layer_forward(&r->batch, l, &r->acts, r->acts.x);
    }
    for (size_t i = 0; i < r->num_wants; i += r->block) {
      size_t n = r->num_wants - i;
      give_rows(r, i, n < r->block ? n : r->block);
    }
  }
  return 0;
}

int tinker__cpu_pick(tinker__engine_t *e,
                     const tinker__eng_decode_item_t *items, size_t n,
                     tinker__eng_pick_t *picks, size_t n_picks,
                     const atomic_bool *cancel, char *why, size_t why_len) {
  if (n == 0) return 0;
  int rc = check(items, n, why, why_len);
  if (rc) return rc;
  round_t r = {
      .e = e,
      .base = items[0].slot->base,
      .items = items,
      .n = n,
      .picks = picks,
      .n_picks = n_picks,
  };
  r.batch.base = r.base;
  rc = allocate(&r);
  if (!rc) {
    r.batch.seqs = r.seqs;
    sort_items(&r);
    rc = run(&r, cancel);
  }
  for (size_t i = 0; !rc && i < n; i++) items[i].slot->len += items[i].n;
  free_round(&r);
  if (!rc) return 0;
  return tinker__why(why, why_len, rc,
                     rc == TINKER_ECANCELED ? "canceled"
                                            : "no memory for the batch");
}

int tinker__cpu_decode(tinker__engine_t *e,
                       const tinker__eng_decode_item_t *items, size_t n,
                       const atomic_bool *cancel, char *why, size_t why_len) {
  return tinker__cpu_pick(e, items, n, NULL, 0, cancel, why, why_len);
}
