/* kv: makes, grows, copies and frees slots. Engine thread; invariants in kv.h.
 */
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

/* Slots lie in the machine's memory, which the caller shares out. */
uint64_t tinker__cpu_slot_limit(const tinker__engine_t *e) {
  (void)e;
  return UINT64_MAX;
}

static int kv_new(const tinker__eng_slot_t *s, size_t max,
                  tinker__cpu_kv_t *out) {
  tinker__mem_t *mem = s->base->engine->mem;
  size_t lanes = s->base->d.kv_dim;
  tinker__cpu_kv_t y = {.max = max, .cap = panels(max)};
  if (lanes > SIZE_MAX / sizeof(float) / y.cap) return TINKER_ENOMEM;
  y.k = tinker__mem_alloc(mem, lanes * y.cap * sizeof(float));
  y.v = tinker__mem_alloc(mem, lanes * y.max * sizeof(float));
  if (y.k && y.v) {
    *out = y;
    return 0;
  }
  tinker__mem_free(mem, y.k);
  tinker__mem_free(mem, y.v);
  return TINKER_ENOMEM;
}

static void kv_free(const tinker__eng_slot_t *s, tinker__cpu_kv_t *y) {
  tinker__mem_free(s->base->engine->mem, y->k);
  tinker__mem_free(s->base->engine->mem, y->v);
}

static int allocate(tinker__eng_slot_t *s, size_t max_tokens) {
  size_t layers = s->base->d.layers;
  s->layers =
      tinker__mem_array(s->base->engine->mem, layers, sizeof *s->layers);
  if (!s->layers) return TINKER_ENOMEM;
  for (size_t i = 0; i < layers; i++) {
    int rc = kv_new(s, max_tokens, &s->layers[i]);
    if (rc) return rc;
  }
  s->max = max_tokens;
  return 0;
}

static int check_max(const tinker__eng_base_t *b, size_t max_tokens, char *why,
                     size_t why_len) {
  if (max_tokens > 0 && max_tokens <= b->d.context) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "max_tokens: %zu is not in 1 to %zu, the context",
                     max_tokens, b->d.context);
}

int tinker__cpu_slot_new(tinker__eng_base_t *b, tinker__eng_adapter_t *a,
                         size_t max_tokens, tinker__eng_slot_t **out, char *why,
                         size_t why_len) {
  if (a && a->lora->base != b) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "adapter: belongs to another base model");
  }
  int rc = check_max(b, max_tokens, why, why_len);
  if (rc) return rc;
  tinker__eng_slot_t *s = tinker__mem_zalloc(b->engine->mem, sizeof *s);
  if (!s) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  s->base = tinker__cpu_base_retain(b);
  s->adapter = tinker__cpu_adapter_retain(a);
  rc = a ? tinker__cpu_adapter_pack(a) : 0;
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
  for (size_t i = 0; s->layers && i < base->d.layers; i++) {
    kv_free(s, &s->layers[i]);
  }
  tinker__mem_free(e->mem, s->layers);
  tinker__cpu_adapter_release(s->adapter);
  tinker__mem_free(e->mem, s);
  tinker__cpu_base_release(base);
}

size_t tinker__cpu_slot_len(const tinker__eng_slot_t *s) {
  return s->len;
}

/* Copies the first n tokens of a layer to another that has room for them. */
static void copy_layer(const tinker__cpu_dims_t *d,
                       const tinker__cpu_kv_t *from, const tinker__cpu_kv_t *to,
                       size_t n) {
  size_t hd = d->head_dim;
  for (size_t i = 0; i < d->kv_dim; i++) {
    memcpy(to->k + i * to->cap, from->k + i * from->cap, n * sizeof *to->k);
  }
  for (size_t h = 0; h < d->kv_heads; h++) {
    memcpy(to->v + h * to->max * hd, from->v + h * from->max * hd,
           n * hd * sizeof *to->v);
  }
}

/* When a layer can't grow, the layers before it stay grown, and the next try
 * goes on from there. */
int tinker__cpu_slot_grow(tinker__eng_slot_t *s, size_t max_tokens, char *why,
                          size_t why_len) {
  const tinker__cpu_dims_t *d = &s->base->d;
  int rc = check_max(s->base, max_tokens, why, why_len);
  for (size_t i = 0; !rc && i < d->layers; i++) {
    tinker__cpu_kv_t y;
    if (s->layers[i].max >= max_tokens) continue;
    rc = kv_new(s, max_tokens, &y);
    if (rc) {
      return tinker__why(why, why_len, rc, "no memory for %zu tokens",
                         max_tokens);
    }
    copy_layer(d, &s->layers[i], &y, s->len);
    kv_free(s, &s->layers[i]);
    s->layers[i] = y;
  }
  if (!rc && s->max < max_tokens) s->max = max_tokens;
  return rc;
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
    copy_layer(&s->base->d, &s->layers[l], &copy->layers[l], n);
  }
  copy->len = n;
  *out = copy;
  return 0;
}
