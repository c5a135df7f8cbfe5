/* lora: layouts, adapter versions, and one adapted matrix forward and back.
 * Engine thread; invariants in lora.h. */
#include "cpu/lora.h"

#include <math.h>
#include <string.h>
#include <tinker/error.h>

void tinker__cpu_lora_on(const tinker__eng_lora_config_t *config,
                         bool on[TINKER__LORA_COUNT]) {
  for (size_t p = 0; p < TINKER__PROJS; p++) {
    on[p] =
        p <= (size_t)TINKER__LORA_O ? config->train_attn : config->train_mlp;
  }
  on[TINKER__LORA_LM_HEAD] = config->train_unembed;
}

static void place(tinker__cpu_lora_t *l, size_t target,
                  tinker__lora_target_t proj, bool on) {
  tinker__cpu_target_t *t = &l->targets[target];
  tinker__cpu_base_shape(l->base, proj, &t->in, &t->out);
  t->on = on;
  if (!on) return;
  t->a = l->floats;
  l->floats += t->in * l->rank;
  t->b = l->floats;
  l->floats += t->out * l->rank;
}

uint64_t tinker__cpu_lora_floats(const tinker__eng_base_t *base,
                                 const tinker__eng_lora_config_t *config) {
  bool on[TINKER__LORA_COUNT];
  uint64_t layer = 0, head = 0;
  size_t in, out;
  tinker__cpu_lora_on(config, on);
  for (size_t p = 0; p < TINKER__PROJS; p++) {
    tinker__cpu_base_shape(base, (tinker__lora_target_t)p, &in, &out);
    if (on[p]) layer += in + out;
  }
  tinker__cpu_base_shape(base, TINKER__LORA_LM_HEAD, &in, &out);
  if (on[TINKER__LORA_LM_HEAD]) head = in + out;
  return (layer * base->d.layers + head) * config->rank;
}

int tinker__cpu_lora_new(tinker__cpu_lora_t **out, tinker__eng_base_t *base,
                         const tinker__eng_lora_config_t *config, double alpha,
                         const bool on[TINKER__LORA_COUNT]) {
  size_t num = base->d.layers * TINKER__PROJS + 1;
  tinker__cpu_lora_t *l = tinker__mem_zalloc(
      base->engine->mem, sizeof *l + num * sizeof l->targets[0]);
  if (!l) return TINKER_ENOMEM;
  l->base = tinker__cpu_base_retain(base);
  l->refs = 1;
  l->config = *config;
  l->alpha = alpha;
  l->rank = config->rank;
  l->scale = (float)(alpha / (double)config->rank);
  l->num_targets = num;
  for (size_t i = 0; i + 1 < num; i++) {
    tinker__lora_target_t proj = (tinker__lora_target_t)(i % TINKER__PROJS);
    place(l, i, proj, on[proj]);
  }
  place(l, num - 1, TINKER__LORA_LM_HEAD, on[TINKER__LORA_LM_HEAD]);
  *out = l;
  return 0;
}

tinker__cpu_lora_t *tinker__cpu_lora_retain(tinker__cpu_lora_t *l) {
  l->refs++;
  return l;
}

void tinker__cpu_lora_release(tinker__cpu_lora_t *l) {
  if (!l || --l->refs) return;
  tinker__eng_base_t *base = l->base;
  tinker__mem_free(base->engine->mem, l);
  tinker__cpu_base_release(base);
}

void tinker__cpu_target_name(const tinker__cpu_lora_t *l, size_t target,
                             tinker__lora_side_t side,
                             char out[TINKER__PEFT_NAME_MAX]) {
  bool head = target + 1 == l->num_targets;
  tinker__peft_tensor_name(
      out,
      head ? TINKER__LORA_LM_HEAD
           : (tinker__lora_target_t)(target % TINKER__PROJS),
      head ? 0 : (uint32_t)(target / TINKER__PROJS), side);
}

int tinker__cpu_adapter_new(tinker__eng_adapter_t **out,
                            tinker__cpu_lora_t *lora) {
  tinker__mem_t *mem = lora->base->engine->mem;
  tinker__eng_adapter_t *a = tinker__mem_zalloc(mem, sizeof *a);
  if (!a) return TINKER_ENOMEM;
  if (lora->floats <= SIZE_MAX / sizeof(float)) {
    a->w = tinker__mem_alloc(mem, lora->floats * sizeof(float));
  }
  if (!a->w) {
    tinker__mem_free(mem, a);
    return TINKER_ENOMEM;
  }
  a->refs = 1;
  a->lora = tinker__cpu_lora_retain(lora);
  *out = a;
  return 0;
}

tinker__eng_adapter_t *tinker__cpu_adapter_retain(tinker__eng_adapter_t *a) {
  if (a) a->refs++;
  return a;
}

static void free_packed(tinker__mem_t *mem, tinker__cpu_packed_t **packed,
                        size_t n) {
  if (!packed) return;
  for (size_t i = 0; i < n; i++) tinker__cpu_packed_free(packed[i]);
  tinker__mem_free(mem, packed);
}

void tinker__cpu_adapter_release(tinker__eng_adapter_t *a) {
  if (!a || --a->refs) return;
  tinker__cpu_lora_t *lora = a->lora;
  tinker__mem_t *mem = lora->base->engine->mem;
  free_packed(mem, a->packed, 2 * lora->num_targets);
  tinker__mem_free(mem, a->w);
  tinker__mem_free(mem, a);
  tinker__cpu_lora_release(lora);
}

/* Fills w uniformly in +-1/sqrt(inputs), with 24 random bits each. Every step
 * is exact except the last product. */
static void init_a(float *w, size_t n, size_t in, uint64_t seed,
                   uint64_t name) {
  float bound = (float)(1.0 / sqrt((double)in));
  for (size_t i = 0; i < n; i += 4) {
    uint32_t r[4];
    tinker__cpu_philox(seed, name, i / 4, r);
    for (size_t j = 0; j < 4 && i + j < n; j++) {
      int32_t centred = (int32_t)(r[j] >> 8) - (1 << 23);
      w[i + j] = (float)centred * 0x1p-23f * bound;
    }
  }
}

void tinker__cpu_adapter_init(tinker__eng_adapter_t *a) {
  const tinker__cpu_lora_t *l = a->lora;
  for (size_t i = 0; i < l->num_targets; i++) {
    const tinker__cpu_target_t *t = &l->targets[i];
    if (!t->on) continue;
    char name[TINKER__PEFT_NAME_MAX];
    tinker__cpu_target_name(l, i, TINKER__LORA_A, name);
    init_a(a->w + t->a, t->in * l->rank, t->in, l->config.seed,
           tinker__cpu_name_hash(name));
    memset(a->w + t->b, 0, t->out * l->rank * sizeof(float));
  }
}

int tinker__cpu_adapter_pack(tinker__eng_adapter_t *a) {
  const tinker__cpu_lora_t *l = a->lora;
  tinker__mem_t *mem = l->base->engine->mem;
  if (a->packed) return 0;
  tinker__cpu_packed_t **p = tinker__mem_array(mem, 2 * l->num_targets,
                                               sizeof(tinker__cpu_packed_t *));
  int rc = p ? 0 : TINKER_ENOMEM;
  for (size_t i = 0; !rc && i < l->num_targets; i++) {
    const tinker__cpu_target_t *t = &l->targets[i];
    if (!t->on) continue;
    rc = tinker__cpu_packed_new(&p[2 * i], mem, a->w + t->a, TINKER__F32,
                                l->rank, t->in);
    if (rc) break;
    rc = tinker__cpu_packed_new(&p[2 * i + 1], mem, a->w + t->b, TINKER__F32,
                                t->out, l->rank);
  }
  if (rc) {
    free_packed(mem, p, 2 * l->num_targets);
    return rc;
  }
  a->packed = p;
  return 0;
}

typedef struct {
  const tinker__cpu_kernels_t *ks;
  float *x;
  size_t width;
  float by;
} scale_job_t;

static void scale_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const scale_job_t *j = arg;
  (void)worker;
  j->ks->scale(j->x + row0 * j->width, j->by, n * j->width);
}

static void scale(const tinker__cpu_lora_t *l, float *x, size_t m) {
  tinker__engine_t *e = l->base->engine;
  scale_job_t job = {.ks = e->ks, .x = x, .width = l->rank, .by = l->scale};
  if (l->scale != 1.0f) tinker__cpu_rows_run(e, m, l->rank, scale_rows, &job);
}

void tinker__cpu_lora_apply(const tinker__eng_adapter_t *a,
                            const tinker__cpu_adapted_t *all, size_t n,
                            size_t m) {
  const tinker__cpu_lora_t *l = a->lora;
  tinker__engine_t *e = l->base->engine;
  tinker__cpu_linear_t down[TINKER__LINEARS] = {{0}}, up[TINKER__LINEARS];
  size_t on = 0;
  for (size_t i = 0; i < n; i++) {
    const tinker__cpu_adapted_t *t = &all[i];
    tinker__cpu_packed_t **w = a->packed + 2 * t->target;
    if (!l->targets[t->target].on) continue;
    down[on] = (tinker__cpu_linear_t){w[0], t->x, t->ldx, t->u, l->rank};
    up[on++] = (tinker__cpu_linear_t){w[1], t->u, l->rank, t->y, t->ldy};
  }
  tinker__cpu_linears(e->ks, e->pool, down, on, m, false);
  for (size_t i = 0; i < on; i++) scale(l, down[i].y, m);
  tinker__cpu_linears(e->ks, e->pool, up, on, m, true);
}

/* g [rows][cols] += p^T q over m tokens, one chain per element. */
static void add_outer(tinker__engine_t *e, float *g, const float *p, size_t ldp,
                      size_t rows, const float *q, size_t ldq, size_t cols,
                      size_t m) {
  tinker__cpu_gemm_t gemm = {
      .m = rows,
      .n = cols,
      .k = m,
      .a = p,
      .a_rs = 1,
      .a_cs = ldp,
      .b = q,
      .b_rs = ldq,
      .b_cs = 1,
      .c = g,
      .ldc = cols,
      .accumulate = true,
  };
  tinker__cpu_gemm(e->ks, e->pool, &gemm);
}

void tinker__cpu_lora_back(const tinker__eng_adapter_t *a, size_t target,
                           const float *x, size_t ldx, const float *u,
                           const float *dy, size_t ldy, size_t m, float *du,
                           float *dx, size_t lddx, float *g) {
  const tinker__cpu_lora_t *l = a->lora;
  const tinker__cpu_target_t *t = &l->targets[target];
  tinker__engine_t *e = l->base->engine;
  if (!t->on) return;
  add_outer(e, g + t->b, dy, ldy, t->out, u, l->rank, l->rank, m);
  tinker__cpu_linear_back(e->ks, e->pool, a->packed[2 * target + 1], dy, ldy, m,
                          du, l->rank, false);
  scale(l, du, m);
  add_outer(e, g + t->a, du, l->rank, l->rank, x, ldx, t->in, m);
  if (dx) {
    tinker__cpu_linear_back(e->ks, e->pool, a->packed[2 * target], du, l->rank,
                            m, dx, lddx, true);
  }
}
