/* kv: the life of slots. Engine thread; invariants in kv.h. */
#include "cpu/kv.h"

#include <string.h>
#include <tinker/error.h>

#define PANEL 16

static size_t panels(size_t tokens) {
  return (tokens + PANEL - 1) / PANEL * PANEL;
}

uint64_t tinker__cpu_slot_bytes(const tinker__eng_base_t *b,
                                size_t max_tokens) {
  uint64_t lanes = (uint64_t)b->d.layers * b->d.kv_dim;
  uint64_t tokens = (uint64_t)panels(max_tokens) + max_tokens;
  if (lanes > UINT64_MAX / sizeof(float) / tokens) return UINT64_MAX;
  return lanes * tokens * sizeof(float);
}

/* The machine's memory is the caller's to share out. */
uint64_t tinker__cpu_slot_limit(const tinker__engine_t *e) {
  (void)e;
  return UINT64_MAX;
}

static int allocate(tinker__eng_slot_t *s, size_t max_tokens) {
  const tinker__cpu_dims_t *d = &s->base->d;
  tinker__mem_t *mem = s->base->engine->mem;
  s->max = max_tokens;
  s->cap = panels(max_tokens);
  size_t lanes = d->layers * d->kv_dim;
  if (lanes > SIZE_MAX / sizeof(float) / s->cap) return TINKER_ENOMEM;
  s->k = tinker__mem_alloc(mem, lanes * s->cap * sizeof(float));
  s->v = tinker__mem_alloc(mem, lanes * s->max * sizeof(float));
  return s->k && s->v ? 0 : TINKER_ENOMEM;
}

int tinker__cpu_slot_new(tinker__eng_base_t *b, tinker__eng_adapter_t *a,
                         size_t max_tokens, tinker__eng_slot_t **out, char *why,
                         size_t why_len) {
  if (a && a->lora->base != b) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "adapter: belongs to another base model");
  }
  if (max_tokens == 0 || max_tokens > b->d.context) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "max_tokens: %zu is not in 1 to %zu, the context",
                       max_tokens, b->d.context);
  }
  tinker__eng_slot_t *s = tinker__mem_zalloc(b->engine->mem, sizeof *s);
  if (!s) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  s->base = tinker__cpu_base_retain(b);
  s->adapter = tinker__cpu_adapter_retain(a);
  int rc = a ? tinker__cpu_adapter_pack(a) : 0;
  if (!rc) rc = allocate(s, max_tokens);
  if (rc) {
    tinker__cpu_slot_free(s);
    return tinker__why(why, why_len, rc, "no memory for %zu tokens",
                       max_tokens);
  }
  *out = s;
  return 0;
}

void tinker__cpu_slot_free(tinker__eng_slot_t *s) {
  if (!s) return;
  tinker__eng_base_t *base = s->base;
  tinker__engine_t *e = base->engine;
  tinker__mem_free(e->mem, s->k);
  tinker__mem_free(e->mem, s->v);
  tinker__cpu_adapter_release(s->adapter);
  tinker__mem_free(e->mem, s);
  tinker__cpu_base_release(base);
}

size_t tinker__cpu_slot_len(const tinker__eng_slot_t *s) {
  return s->len;
}

static void copy_head(const tinker__eng_slot_t *from, tinker__eng_slot_t *to,
                      size_t n, size_t layer, size_t head) {
  size_t hd = from->base->d.head_dim;
  const float *k = tinker__cpu_slot_k(from, layer, head);
  float *k_to = tinker__cpu_slot_k(to, layer, head);
  for (size_t i = 0; i < hd; i++) {
    memcpy(k_to + i * to->cap, k + i * from->cap, n * sizeof *k);
  }
  memcpy(tinker__cpu_slot_v(to, layer, head),
         tinker__cpu_slot_v(from, layer, head), n * hd * sizeof *k);
}

int tinker__cpu_slot_fork(const tinker__eng_slot_t *s, size_t n,
                          size_t max_tokens, tinker__eng_slot_t **out,
                          char *why, size_t why_len) {
  tinker__eng_slot_t *copy = NULL;
  if (n > s->len || n > max_tokens) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "n: %zu tokens of a slot with %zu, into room for %zu", n,
                       s->len, max_tokens);
  }
  int rc = tinker__cpu_slot_new(s->base, s->adapter, max_tokens, &copy, why,
                                why_len);
  if (rc) return rc;
  for (size_t l = 0; l < s->base->d.layers; l++) {
    for (size_t h = 0; h < s->base->d.kv_heads; h++) {
      copy_head(s, copy, n, l, h);
    }
  }
  copy->len = n;
  *out = copy;
  return 0;
}
