/* Products: every kernel set that this machine can run, 1, 2 and 4 threads,
 * odd shapes, all types and strides, against the chain written out here. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/kernels/kernels.h"
#include "random.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* One product: where it runs and what a failure is called. */
typedef struct {
  tinker__mem_t mem;
  tinker__cpu_pool_t *pool;
  const tinker__cpu_kernels_t *ks;
  unsigned threads;
  uint64_t seed;
} bench_t;

static float *floats(bench_t *t, size_t n) {
  float *p = tinker__mem_alloc(&t->mem, n * sizeof *p + 1);
  cr_assert_not_null(p);
  for (size_t i = 0; i < n; i++) p[i] = random_float(&t->seed);
  return p;
}

static bool same_bits(float a, float b) {
  return memcmp(&a, &b, sizeof a) == 0;
}

static float chain(float c, const float *a, size_t as, const float *b,
                   size_t bs, size_t k) {
  for (size_t i = 0; i < k; i++) c = fmaf(a[i * as], b[i * bs], c);
  return c;
}

static void each_bench(void (*body)(bench_t *)) {
#ifdef KERNELS_FOUR_THREADS
  static const unsigned threads[] = {4};
#else
  static const unsigned threads[] = {1, 2, 4};
#endif
  for (size_t i = 0; i < COUNT(threads); i++) {
    bench_t t = {.threads = threads[i]};
    tinker__mem_init(&t.mem, NULL, 0);
    cr_assert_eq(tinker__cpu_pool_new(&t.pool, &t.mem, threads[i]), 0);
    for (size_t s = 0; (t.ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
      t.seed = 7; /* the same shapes for each */
      body(&t);
    }
    tinker__cpu_pool_free(t.pool);
    cr_assert_eq(t.mem.live_blocks, 0);
  }
}

static size_t row_length(const tinker__cpu_gemm_t *g, size_t i) {
  bool cut = g->shape == TINKER__GEMM_K_CAUSAL && g->diag + i + 1 < g->k;
  return cut ? g->diag + i + 1 : g->k;
}

/* got is what the product left where `before` was. */
static void check_gemm(bench_t *t, const tinker__cpu_gemm_t *g,
                       const float *before) {
  for (size_t i = 0; i < g->m; i++) {
    for (size_t j = 0; j < g->ldc; j++) {
      float old = before[i * g->ldc + j], got = g->c[i * g->ldc + j];
      float want = old;
      if (g->shape == TINKER__GEMM_N_CAUSAL && j > g->diag + i && j < g->n) {
        continue;
      }
      if (j < g->n) {
        want = chain(g->accumulate ? old : 0, g->a + i * g->a_rs, g->a_cs,
                     g->b + j * g->b_cs, g->b_rs, row_length(g, i));
      }
      cr_assert(same_bits(got, want),
                "%s, %u threads, %zu x %zu x %zu, shape %d, acc %d: [%zu][%zu] "
                "is %a, want %a",
                t->ks->name, t->threads, g->m, g->n, g->k, (int)g->shape,
                g->accumulate, i, j, (double)got, (double)want);
    }
  }
}

static void one_gemm(bench_t *t, size_t m, size_t n, size_t k, bool in_task) {
  size_t ldc = n + random_below(&t->seed, 3);
  bool ta = random_below(&t->seed, 2), tb = random_below(&t->seed, 2);
  bool odd = random_below(&t->seed, 4) == 0; /* no stride of one */
  size_t s = odd ? 2 : 1;
  float *a = floats(t, m * k * s), *b = floats(t, n * k * s);
  float *c = floats(t, m * ldc), *before = floats(t, m * ldc);
  memcpy(before, c, m * ldc * sizeof *c);
  tinker__cpu_gemm_t g = {
      .m = m,
      .n = n,
      .k = k,
      .a = a,
      .a_rs = ta ? s : k * s,
      .a_cs = ta ? m * s : s,
      .b = b,
      .b_rs = tb ? s : n * s,
      .b_cs = tb ? k * s : s,
      .c = c,
      .ldc = ldc,
      .accumulate = random_below(&t->seed, 2) == 1,
      .shape = (tinker__cpu_gemm_shape_t)random_below(&t->seed, 3),
      .diag = random_below(&t->seed, 40),
  };
  if (in_task) {
    tinker__cpu_gemm_task(t->ks, t->pool, t->threads - 1, &g);
  } else {
    tinker__cpu_gemm(t->ks, t->pool, &g);
  }
  check_gemm(t, &g, before);
  tinker__mem_free(&t->mem, a);
  tinker__mem_free(&t->mem, b);
  tinker__mem_free(&t->mem, c);
  tinker__mem_free(&t->mem, before);
}

static void gemm_body(bench_t *t) {
  static const size_t corner[][3] = {
      {1, 1, 0},
      {3, 17, 0},
      {1, 64, 300},
      {8, 48, 64},
      {9, 64, 700},
      {300, 33, 20},
      {5, 1100, 3},
      {64, 4, 257},
      /* large enough to be cut among threads, by columns, rows and both */
      {3, 1100, 150},
      {600, 20, 70},
      {90, 131, 70}};
  for (size_t i = 0; i < COUNT(corner); i++) {
    one_gemm(t, corner[i][0], corner[i][1], corner[i][2], false);
  }
  for (size_t i = 0; i < 60; i++) {
    size_t m = 1 + random_below(&t->seed, i % 2 ? 12 : 70);
    size_t n = 1 + random_below(&t->seed, 140);
    size_t k = 1 + random_below(&t->seed, i % 8 ? 70 : 600);
    one_gemm(t, m, n, k, i % 3 == 0);
  }
}

Test(gemm, every_set_and_thread_count_gives_the_chain) {
  each_bench(gemm_body);
}

/* Cutting k over calls, and rows or columns over calls, changes no bit. */
static void split_body(bench_t *t) {
  size_t m = 23, n = 70, k = 611;
  float *a = floats(t, m * k), *b = floats(t, n * k);
  float *whole = floats(t, m * n), *parts = floats(t, m * n);
  memcpy(parts, whole, m * n * sizeof *parts);
  tinker__cpu_gemm_t g = {
      .m = m,
      .n = n,
      .k = k,
      .a = a,
      .a_rs = 1,
      .a_cs = m,
      .b = b,
      .b_rs = n,
      .b_cs = 1,
      .c = whole,
      .ldc = n,
      .accumulate = true,
  };
  tinker__cpu_gemm(t->ks, t->pool, &g);
  g.c = parts;
  for (size_t k0 = 0, len; k0 < k; k0 += len) {
    len = 1 + random_below(&t->seed, 200);
    g.k = len < k - k0 ? len : k - k0;
    g.a = a + k0 * m;
    g.b = b + k0 * n;
    tinker__cpu_gemm(t->ks, t->pool, &g);
  }
  cr_assert_eq(memcmp(whole, parts, m * n * sizeof *whole), 0, "%s, %u threads",
               t->ks->name, t->threads);
  /* A sum in another order does differ, so equality says something. */
  memset(parts, 0, m * n * sizeof *parts);
  g.k = k / 2;
  g.a = a + (k - k / 2) * m;
  g.b = b + (k - k / 2) * n;
  tinker__cpu_gemm(t->ks, t->pool, &g);
  g.k = k - k / 2;
  g.a = a;
  g.b = b;
  tinker__cpu_gemm(t->ks, t->pool, &g);
  cr_assert_neq(memcmp(whole, parts, m * n * sizeof *whole), 0);
  tinker__mem_free(&t->mem, a);
  tinker__mem_free(&t->mem, b);
  tinker__mem_free(&t->mem, whole);
  tinker__mem_free(&t->mem, parts);
}

Test(gemm, cutting_the_sum_over_calls_changes_no_bit) {
  each_bench(split_body);
}

/* A weight of `type` in src, and the same widened in wide. */
static void weights(bench_t *t, tinker__cpu_elem_t type, size_t count,
                    void *src, float *wide) {
  for (size_t i = 0; i < count; i++) {
    uint16_t half = (uint16_t)random_u32(&t->seed);
    if (type == TINKER__F16 && (half & 0x7c00) == 0x7c00) {
      half ^= 0x4000; /* finite */
    }
    if (type == TINKER__BF16) half = tinker__cpu_f32_to_bf16(wide[i]);
    if (type == TINKER__F32) {
      memcpy((char *)src + i * 4, &wide[i], 4);
    } else {
      memcpy((char *)src + i * 2, &half, 2);
    }
    if (type == TINKER__F16) wide[i] = tinker__cpu_f16_to_f32(half);
    if (type == TINKER__BF16) wide[i] = tinker__cpu_bf16_to_f32(half);
  }
}

static void check_linear(bench_t *t, const tinker__cpu_packed_t *w,
                         const float *wide, size_t m, bool acc) {
  size_t n = w->n_out, k = w->k_in;
  float *x = floats(t, m * k), *y = floats(t, m * n), *y0 = floats(t, m * n);
  float *dx = floats(t, m * k), *dx0 = floats(t, m * k);
  memcpy(y0, y, m * n * sizeof *y);
  memcpy(dx0, dx, m * k * sizeof *dx);
  tinker__cpu_linear(t->ks, t->pool, w, x, k, m, y, n, acc);
  tinker__cpu_linear_back(t->ks, t->pool, w, y, n, m, dx, k, acc);
  for (size_t i = 0; i < m; i++) {
    for (size_t j = 0; j < n; j++) {
      cr_assert(
          same_bits(y[i * n + j], chain(acc ? y0[i * n + j] : 0, x + i * k, 1,
                                        wide + j * k, 1, k)),
          "forward: %s, %u threads, type %d, %zu x %zu x %zu", t->ks->name,
          t->threads, (int)w->type, m, n, k);
    }
    for (size_t j = 0; j < k; j++) {
      cr_assert(same_bits(dx[i * k + j], chain(acc ? dx0[i * k + j] : 0,
                                               y + i * n, 1, wide + j, k, n)),
                "backward: %s, %u threads, type %d, %zu x %zu x %zu",
                t->ks->name, t->threads, (int)w->type, m, n, k);
    }
  }
  tinker__mem_free(&t->mem, x);
  tinker__mem_free(&t->mem, y);
  tinker__mem_free(&t->mem, y0);
  tinker__mem_free(&t->mem, dx);
  tinker__mem_free(&t->mem, dx0);
}

static void one_weight(bench_t *t, tinker__cpu_elem_t type, size_t n,
                       size_t k) {
#ifdef KERNELS_FOUR_THREADS
  static const size_t tokens[] = {1, 24};
#else
  static const size_t tokens[] = {1, 3, 7, 8, 11, 40};
#endif
  float *wide = floats(t, n * k), *row = floats(t, k);
  char *src = tinker__mem_alloc(&t->mem, n * k * 4 + 1);
  tinker__cpu_packed_t *w = NULL;
  /* One byte off: a safetensors file promises no alignment. */
  weights(t, type, n * k, src + 1, wide);
  cr_assert_eq(tinker__cpu_packed_new(&w, &t->mem, src + 1, type, n, k), 0);
  for (size_t i = 0; i < n; i += 1 + n / 4) {
    tinker__cpu_packed_row(w, i, row);
    cr_assert_eq(memcmp(row, wide + i * k, k * sizeof *row), 0);
  }
  for (size_t i = 0; i < COUNT(tokens); i++) {
    check_linear(t, w, wide, tokens[i], i % 2 == 1);
  }
  tinker__cpu_packed_free(w);
  tinker__mem_free(&t->mem, src);
  tinker__mem_free(&t->mem, row);
  tinker__mem_free(&t->mem, wide);
}

static void linear_body(bench_t *t) {
  static const size_t shape[][2] = {{1, 1},    {16, 16},  {33, 70},
                                    {64, 300}, {131, 17}, {300, 60}};
#ifdef KERNELS_FOUR_THREADS
  static const int last = TINKER__F32; /* the pool cuts all types alike */
#else
  static const int last = TINKER__F16;
#endif
  for (int type = TINKER__F32; type <= last; type++) {
    for (size_t i = 0; i < COUNT(shape); i++) {
      one_weight(t, (tinker__cpu_elem_t)type, shape[i][0], shape[i][1]);
    }
  }
  one_weight(t, TINKER__BF16, 1500, 40); /* several blocks of outputs */
  one_weight(t, TINKER__BF16, 48, 1100); /* several blocks of the sum */
}

Test(linear, every_type_batch_and_set_gives_the_chain) {
  each_bench(linear_body);
}

/* Products of three matrices and two inputs, small and large together. */
static void group_body(bench_t *t) {
  static const size_t tokens[] = {1, 5, 16, 40};
  static const size_t shape[TINKER__LINEARS][2] = {
      {300, 200}, {20, 200}, {90, 70}};
  tinker__cpu_packed_t *w[TINKER__LINEARS];
  tinker__cpu_linear_t l[TINKER__LINEARS];
  float *want[TINKER__LINEARS];
  for (size_t c = 0; c < COUNT(tokens); c++) {
    size_t m = tokens[c];
    for (size_t i = 0; i < TINKER__LINEARS; i++) {
      size_t n = shape[i][0], k = shape[i][1];
      float *src = floats(t, n * k), *x = floats(t, m * k);
      cr_assert_eq(
          tinker__cpu_packed_new(&w[i], &t->mem, src, TINKER__F32, n, k), 0);
      tinker__mem_free(&t->mem, src);
      l[i] = (tinker__cpu_linear_t){w[i], x, k, floats(t, m * n), n};
      want[i] = tinker__mem_dup(&t->mem, l[i].y, m * n * sizeof(float));
      tinker__cpu_linear(t->ks, t->pool, w[i], x, k, m, want[i], n, c % 2);
    }
    tinker__cpu_linears(t->ks, t->pool, l, TINKER__LINEARS, m, c % 2);
    for (size_t i = 0; i < TINKER__LINEARS; i++) {
      cr_assert_eq(memcmp(l[i].y, want[i], m * l[i].ldy * sizeof(float)), 0,
                   "%s, %u threads, %zu rows: product %zu", t->ks->name,
                   t->threads, m, i);
      tinker__cpu_packed_free(w[i]);
      tinker__mem_free(&t->mem, (void *)(uintptr_t)l[i].x);
      tinker__mem_free(&t->mem, l[i].y);
      tinker__mem_free(&t->mem, want[i]);
    }
  }
  tinker__cpu_linears(t->ks, t->pool, NULL, 0, 4, false);
}

Test(linear, together_as_one_by_one) {
  each_bench(group_body);
}

Test(linear, inf_and_nan_stay_in_their_outputs) {
  tinker__mem_t mem;
  tinker__cpu_pool_t *pool;
  tinker__cpu_packed_t *w;
  const tinker__cpu_kernels_t *ks;
  float weight[20 * 3], x[2 * 3] = {1, 2, 3, INFINITY, 1, 1}, y[2 * 20];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 20 * 3; i++) weight[i] = 1;
  weight[19 * 3] = NAN;
  weight[18 * 3] = 0x1p-149f; /* subnormal */
  weight[18 * 3 + 1] = weight[18 * 3 + 2] = 0;
  cr_assert_eq(tinker__cpu_pool_new(&pool, &mem, 1), 0);
  cr_assert_eq(tinker__cpu_packed_new(&w, &mem, weight, TINKER__F32, 20, 3), 0);
  for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
    tinker__cpu_linear(ks, pool, w, x, 3, 2, y, 20, false);
    for (size_t j = 0; j < 18; j++) {
      cr_assert(y[j] == 6 && y[20 + j] == INFINITY, "%s", ks->name);
    }
    cr_assert(y[18] == 0x1p-149f && y[38] == INFINITY);
    cr_assert(isnan(y[19]) && isnan(y[39]));
  }
  tinker__cpu_packed_free(w);
  tinker__cpu_pool_free(pool);
}

Test(packed, refuses_bad_sizes_and_survives_no_memory) {
  tinker__mem_t mem;
  float value = 1;
  tinker__cpu_packed_t *w = NULL;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__cpu_packed_new(&w, &mem, &value, TINKER__F32, 0, 1),
               TINKER_EINVAL);
  cr_assert_eq(tinker__cpu_packed_new(&w, &mem, &value, TINKER__F32, 1, 0),
               TINKER_EINVAL);
  cr_assert_eq(
      tinker__cpu_packed_new(&w, &mem, &value, TINKER__F32, SIZE_MAX, 2),
      TINKER_EINVAL);
  cr_assert_eq(
      tinker__cpu_packed_new(&w, &mem, &value, TINKER__F32, SIZE_MAX / 64, 64),
      TINKER_EINVAL);
  int rc = TINKER_ENOMEM;
  for (uint64_t n = 1; rc != 0; n++) {
    tinker__mem_init(&mem, NULL, 0);
    mem.fail_at = n;
    rc = tinker__cpu_packed_new(&w, &mem, &value, TINKER__F32, 1, 1);
    cr_assert(rc == 0 || (rc == TINKER_ENOMEM && w == NULL));
    if (rc != 0) cr_assert_eq(mem.live_blocks, 0);
    cr_assert_lt(n, 100u);
  }
  tinker__cpu_packed_free(w);
  tinker__cpu_packed_free(NULL);
  cr_assert_eq(mem.live_blocks, 0);
}

static void *dirty_malloc(size_t size, void *user) {
  (void)user;
  void *p = malloc(size);
  return p ? memset(p, 0x7f, size) : NULL;
}

static void *plain_calloc(size_t count, size_t size, void *user) {
  (void)user;
  return calloc(count, size);
}

static void *plain_realloc(void *p, size_t size, void *user) {
  (void)user;
  return realloc(p, size);
}

static void plain_free(void *p, void *user) {
  (void)user;
  free(p);
}

/* Panels are on their boundary, and the lanes of the last one that no output
 * has are zero, in memory that was used before. */
Test(packed, surplus_lanes_are_zero) {
  static const tinker_allocator_t dirty = {dirty_malloc, plain_calloc,
                                           plain_realloc, plain_free, NULL};
  enum { OUT = 35, IN = 7 };
  float src[OUT * IN];
  tinker__mem_t mem;
  tinker__mem_init(&mem, &dirty, 0);
  for (size_t i = 0; i < OUT * IN; i++) src[i] = 1;
  for (int type = TINKER__F32; type <= TINKER__F16; type++) {
    tinker__cpu_packed_t *w = NULL;
    size_t size = type == TINKER__F32 ? 4 : 2;
    static const char zero[4];
    cr_assert_eq(tinker__cpu_packed_new(&w, &mem, src, (tinker__cpu_elem_t)type,
                                        OUT, IN),
                 0);
    cr_assert_eq((uintptr_t)w->panels & 63, 0u);
    cr_assert_eq(tinker__cpu_packed_bytes(w), 48 * IN * size);
    for (size_t n = OUT; n < 48; n++) {
      for (size_t k = 0; k < IN; k++) {
        size_t at = (n / 16 * IN + k) * 16 + n % 16;
        cr_assert_eq(memcmp((char *)w->panels + at * size, zero, size), 0);
      }
    }
    tinker__cpu_packed_free(w);
  }
}

/* A part of the outputs is the rows of those, in every type. */
Test(packed, parts_are_rows) {
  enum { OUT = 70, IN = 9 };
  bench_t t = {.seed = 5};
  tinker__mem_init(&t.mem, NULL, 0);
  float *wide = floats(&t, OUT * IN), a[IN], b[IN];
  char *src = tinker__mem_alloc(&t.mem, OUT * IN * 4);
  for (int type = TINKER__F32; type <= TINKER__F16; type++) {
    tinker__cpu_packed_t *w = NULL;
    weights(&t, (tinker__cpu_elem_t)type, OUT * IN, src, wide);
    cr_assert_eq(tinker__cpu_packed_new(&w, &t.mem, src,
                                        (tinker__cpu_elem_t)type, OUT, IN),
                 0);
    for (size_t n0 = 0; n0 < OUT; n0 += 16) {
      tinker__cpu_packed_t part = tinker__cpu_packed_part(w, n0, OUT - n0);
      for (size_t n = n0; n < OUT; n++) {
        tinker__cpu_packed_row(w, n, a);
        tinker__cpu_packed_row(&part, n - n0, b);
        cr_assert_eq(memcmp(a, b, sizeof a), 0, "type %d", type);
      }
    }
    tinker__cpu_packed_free(w);
  }
  tinker__mem_free(&t.mem, src);
  tinker__mem_free(&t.mem, wide);
  cr_assert_eq(t.mem.live_blocks, 0);
}
