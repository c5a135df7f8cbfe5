/* kv: slots, the key and value caches of sequences being sampled, and the
 * batched decode round.
 *
 * Runs on the engine thread. All memory of a slot is taken when it is made;
 * keys lie transposed, [layer][kv_head][head_dim][cap], so that scores of one
 * query read them in order; values [layer][kv_head][pos][head_dim]. */
#ifndef TINKER_LOCAL_CPU_KV_H
#define TINKER_LOCAL_CPU_KV_H

#include "cpu/lora.h"

struct tinker__slot_s {
  tinker__base_t *base;       /* a reference */
  tinker__adapter_t *adapter; /* a reference, or NULL */
  size_t len, max;            /* tokens */
  size_t cap;                 /* max rounded up to whole panels of keys */
  float *k, *v;
};

int tinker__slot_new(tinker__base_t *b, tinker__adapter_t *a, size_t max_tokens,
                     tinker__slot_t **out, char *why, size_t why_len);
uint64_t tinker__slot_bytes(const tinker__base_t *b, size_t max_tokens);
uint64_t tinker__slot_limit(const tinker__engine_t *e);
void tinker__slot_free(tinker__slot_t *s);
size_t tinker__slot_len(const tinker__slot_t *s);
int tinker__slot_fork(const tinker__slot_t *s, size_t n, size_t max_tokens,
                      tinker__slot_t **out, char *why, size_t why_len);
int tinker__decode(tinker__engine_t *e, const tinker__decode_item_t *items,
                   size_t n, const atomic_bool *cancel, char *why,
                   size_t why_len);

static inline float *tinker__slot_k(const tinker__slot_t *s, size_t layer,
                                    size_t kv_head) {
  return s->k +
         (layer * s->base->d.kv_heads + kv_head) * s->base->d.head_dim * s->cap;
}

static inline float *tinker__slot_v(const tinker__slot_t *s, size_t layer,
                                    size_t kv_head) {
  return s->v +
         (layer * s->base->d.kv_heads + kv_head) * s->max * s->base->d.head_dim;
}

#endif
