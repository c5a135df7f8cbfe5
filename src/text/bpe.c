/* bpe: see bpe.h. Symbols are a linked list in an array; the heap holds pairs
 * that may have gone stale and are checked when they come out. One thread per
 * room. */
#include "text/bpe.h"

#include <tinker/error.h>

typedef struct tinker__symbol_s {
  uint32_t id;
  int32_t prev, next; /* -1 = none */
  bool gone;
} symbol_t;

typedef struct tinker__candidate_s {
  uint32_t rank;
  uint32_t at;          /* index of the left symbol */
  uint32_t left, right; /* what the pair was when it went in */
  uint32_t id;
} candidate_t;

int tinker__ids_reserve(tinker__ids_t *ids, size_t more) {
  if (ids->cap - ids->len >= more) return 0;
  size_t cap = ids->cap ? ids->cap * 2 : 64;
  while (cap - ids->len < more) cap *= 2;
  int32_t *at = tinker__mem_realloc(ids->mem, ids->at, cap * sizeof *at);
  if (!at) return TINKER_ENOMEM;
  ids->at = at;
  ids->cap = cap;
  return 0;
}

int tinker__ids_add(tinker__ids_t *ids, int32_t id) {
  if (tinker__ids_reserve(ids, 1) != 0) return TINKER_ENOMEM;
  ids->at[ids->len++] = id;
  return 0;
}

static bool before(const candidate_t *a, const candidate_t *b) {
  return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static int heap_push(tinker__bpe_room_t *r, candidate_t c) {
  if (r->heap_len == r->heap_cap) {
    size_t cap = r->heap_cap ? r->heap_cap * 2 : 64;
    candidate_t *heap =
        tinker__mem_realloc(r->mem, r->heap, cap * sizeof *heap);
    if (!heap) return TINKER_ENOMEM;
    r->heap = heap;
    r->heap_cap = cap;
  }
  size_t i = r->heap_len++;
  while (i > 0 && before(&c, &r->heap[(i - 1) / 2])) {
    r->heap[i] = r->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  r->heap[i] = c;
  return 0;
}

static candidate_t heap_pop(tinker__bpe_room_t *r) {
  candidate_t top = r->heap[0], last = r->heap[--r->heap_len];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= r->heap_len) break;
    if (child + 1 < r->heap_len &&
        before(&r->heap[child + 1], &r->heap[child])) {
      child++;
    }
    if (!before(&r->heap[child], &last)) break;
    r->heap[i] = r->heap[child];
    i = child;
  }
  r->heap[i] = last;
  return top;
}

/* Puts the pair that starts at symbol `at` into the heap if it merges. */
static int consider(const tinker__bpe_t *bpe, tinker__bpe_room_t *r,
                    int32_t at) {
  if (at < 0 || r->symbols[at].next < 0) return 0;
  const symbol_t *left = &r->symbols[at];
  uint32_t right = r->symbols[left->next].id;
  const tinker__merge_t *m = tinker__merges_find(&bpe->merges, left->id, right);
  if (!m) return 0;
  candidate_t c = {m->rank, (uint32_t)at, left->id, right, m->id};
  return heap_push(r, c);
}

static int start(const tinker__bpe_t *bpe, tinker__bpe_room_t *r,
                 tinker__str_t piece) {
  if (piece.len > r->num_symbols) {
    symbol_t *symbols =
        tinker__mem_realloc(r->mem, r->symbols, piece.len * sizeof *symbols);
    if (!symbols) return TINKER_ENOMEM;
    r->symbols = symbols;
    r->num_symbols = piece.len;
  }
  r->heap_len = 0;
  for (size_t i = 0; i < piece.len; i++) {
    symbol_t *s = &r->symbols[i];
    s->id = (uint32_t)bpe->byte_ids[(unsigned char)piece.ptr[i]];
    s->prev = (int32_t)i - 1;
    s->next = i + 1 < piece.len ? (int32_t)i + 1 : -1;
    s->gone = false;
  }
  for (size_t i = 0; i + 1 < piece.len; i++) {
    if (consider(bpe, r, (int32_t)i) != 0) return TINKER_ENOMEM;
  }
  return 0;
}

static int merge(const tinker__bpe_t *bpe, tinker__bpe_room_t *r,
                 const candidate_t *c) {
  symbol_t *left = &r->symbols[c->at];
  if (left->gone || left->id != c->left || left->next < 0) return 0;
  symbol_t *right = &r->symbols[left->next];
  if (right->id != c->right) return 0;
  left->id = c->id;
  left->next = right->next;
  right->gone = true;
  if (left->next >= 0) r->symbols[left->next].prev = (int32_t)c->at;
  if (consider(bpe, r, left->prev) != 0) return TINKER_ENOMEM;
  return consider(bpe, r, (int32_t)c->at);
}

int tinker__bpe_encode(const tinker__bpe_t *bpe, tinker__bpe_room_t *room,
                       tinker__str_t piece, tinker__ids_t *out) {
  if (piece.len == 0) return 0;
  if (start(bpe, room, piece) != 0) return TINKER_ENOMEM;
  while (room->heap_len) {
    candidate_t c = heap_pop(room);
    if (merge(bpe, room, &c) != 0) return TINKER_ENOMEM;
  }
  for (int32_t i = 0; i >= 0; i = room->symbols[i].next) {
    if (tinker__ids_add(out, (int32_t)room->symbols[i].id) != 0) {
      return TINKER_ENOMEM;
    }
  }
  return 0;
}

void tinker__bpe_room_free(tinker__bpe_room_t *room) {
  if (!room->mem) return;
  tinker__mem_free(room->mem, room->symbols);
  tinker__mem_free(room->mem, room->heap);
}
