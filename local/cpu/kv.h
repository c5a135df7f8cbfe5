/* kv: slots, the key and value caches of sequences being sampled, and the
 * batched decode round.
 *
 * Runs on the engine thread. All memory of a slot is taken when the slot is
 * made or grows, a layer at a time. Keys lie transposed,
 * [kv_head][head_dim][cap], so that the scores of one query read them in order;
 * values lie as [kv_head][max][head_dim]. */
#ifndef TINKER_LOCAL_CPU_KV_H
#define TINKER_LOCAL_CPU_KV_H

#include "cpu/lora.h"

/* One layer's keys and values. */
typedef struct tinker__cpu_kv_s {
  float *k, *v;
  size_t max; /* tokens; at least the slot's */
  size_t cap; /* max rounded up to whole panels of keys */
} tinker__cpu_kv_t;

struct tinker__eng_slot_s {
  tinker__eng_base_t *base;       /* a reference */
  tinker__eng_adapter_t *adapter; /* a reference, or NULL */
  size_t len, max;                /* tokens */
  tinker__cpu_kv_t *layers;
};

int tinker__cpu_slot_new(tinker__eng_base_t *b, tinker__eng_adapter_t *a,
                         size_t max_tokens, tinker__eng_slot_t **out, char *why,
                         size_t why_len);
uint64_t tinker__cpu_slot_bytes(const tinker__eng_base_t *b, size_t max_tokens);
uint64_t tinker__cpu_slot_limit(const tinker__engine_t *e);
void tinker__cpu_slot_free(tinker__eng_slot_t *s);
size_t tinker__cpu_slot_len(const tinker__eng_slot_t *s);
int tinker__cpu_slot_fork(const tinker__eng_slot_t *s, size_t n,
                          size_t max_tokens, tinker__eng_slot_t **out,
                          char *why, size_t why_len);
int tinker__cpu_slot_grow(tinker__eng_slot_t *s, size_t max_tokens, char *why,
                          size_t why_len);
int tinker__cpu_decode(tinker__engine_t *e,
                       const tinker__eng_decode_item_t *items, size_t n,
                       const atomic_bool *cancel, char *why, size_t why_len);
int tinker__cpu_pick(tinker__engine_t *e,
                     const tinker__eng_decode_item_t *items, size_t n,
                     tinker__eng_pick_t *picks, size_t n_picks,
                     const atomic_bool *cancel, char *why, size_t why_len);

static inline float *tinker__cpu_slot_k(const tinker__eng_slot_t *s,
                                        size_t layer, size_t kv_head) {
  const tinker__cpu_kv_t *y = &s->layers[layer];
  return y->k + kv_head * s->base->d.head_dim * y->cap;
}

/* Floats from one element of a key to the next. */
static inline size_t tinker__cpu_slot_stride(const tinker__eng_slot_t *s,
                                             size_t layer) {
  return s->layers[layer].cap;
}

static inline float *tinker__cpu_slot_v(const tinker__eng_slot_t *s,
                                        size_t layer, size_t kv_head) {
  const tinker__cpu_kv_t *y = &s->layers[layer];
  return y->v + kv_head * y->max * s->base->d.head_dim;
}

#endif
