/* train: the life of a train state. Engine thread; invariants in train.h. */
#include "cpu/train.h"

#include <string.h>
#include <tinker/error.h>

#define RANK_MAX 128u

int tinker__cpu_lora_check(const tinker__eng_lora_config_t *config, char *why,
                           size_t why_len) {
  if (config->rank == 0 || config->rank > RANK_MAX ||
      (config->rank & (config->rank - 1))) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "rank: %u is not a power of two from 1 to %u",
                       (unsigned)config->rank, RANK_MAX);
  }
  if (!config->train_attn && !config->train_mlp && !config->train_unembed) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "train_attn, train_mlp, train_unembed: one must be on");
  }
  return 0;
}

static int allocate(tinker__eng_train_t *t,
                    const tinker__eng_lora_config_t *config) {
  tinker__mem_t *mem = t->base->engine->mem;
  bool on[TINKER__LORA_COUNT];
  tinker__cpu_lora_on(config, on);
  int rc =
      tinker__cpu_lora_new(&t->lora, t->base, config, TINKER__LORA_ALPHA, on);
  if (rc) return rc;
  size_t n = t->lora->floats;
  t->g = tinker__mem_array(mem, n, sizeof(float));
  t->m = tinker__mem_array(mem, n, sizeof(float));
  t->v = tinker__mem_array(mem, n, sizeof(float));
  if (!t->g || !t->m || !t->v) return TINKER_ENOMEM;
  return tinker__cpu_adapter_new(&t->current, t->lora);
}

/* A state has w, g, m and v. While its file is read, the file's four arrays are
 * in memory too. Writing and a step need less: a step adds the next w and both
 * packed forms. */
#define STATE_ARRAYS 8

uint64_t tinker__cpu_train_bytes(const tinker__eng_base_t *b,
                                 const tinker__eng_lora_config_t *config) {
  uint64_t floats = tinker__cpu_lora_floats(b, config);
  return floats > UINT64_MAX / sizeof(float) / STATE_ARRAYS
             ? UINT64_MAX
             : floats * sizeof(float) * STATE_ARRAYS;
}

int tinker__cpu_train_blank(tinker__eng_base_t *b,
                            const tinker__eng_lora_config_t *config,
                            tinker__eng_train_t **out, char *why,
                            size_t why_len) {
  int rc = tinker__cpu_lora_check(config, why, why_len);
  if (rc) return rc;
  tinker__eng_train_t *t = tinker__mem_zalloc(b->engine->mem, sizeof *t);
  if (t) {
    t->base = tinker__cpu_base_retain(b);
    rc = allocate(t, config);
  } else {
    rc = TINKER_ENOMEM;
  }
  if (rc) {
    tinker__cpu_train_free(t);
    return tinker__why(why, why_len, rc, "no memory for the adapter");
  }
  *out = t;
  return 0;
}

int tinker__cpu_train_new(tinker__eng_base_t *b,
                          const tinker__eng_lora_config_t *config,
                          tinker__eng_train_t **out, char *why,
                          size_t why_len) {
  int rc = tinker__cpu_train_blank(b, config, out, why, why_len);
  if (!rc) tinker__cpu_adapter_init((*out)->current);
  return rc;
}

void tinker__cpu_train_free(tinker__eng_train_t *t) {
  if (!t) return;
  tinker__eng_base_t *base = t->base;
  tinker__mem_t *mem = base->engine->mem;
  tinker__cpu_adapter_release(t->optim.next);
  tinker__cpu_adapter_release(t->current);
  tinker__mem_free(mem, t->g);
  tinker__mem_free(mem, t->m);
  tinker__mem_free(mem, t->v);
  tinker__cpu_lora_release(t->lora);
  tinker__mem_free(mem, t);
  tinker__cpu_base_release(base);
}

void tinker__cpu_train_config(const tinker__eng_train_t *t,
                              tinker__eng_lora_config_t *out) {
  *out = t->lora->config;
}

bool tinker__cpu_train_has_grad(const tinker__eng_train_t *t) {
  return t->has_grad;
}
