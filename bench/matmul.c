/* matmul: the CPU engine's products against OpenBLAS, and decoding against a
 * plain read of the same bytes.
 *
 *   bench_matmul [KERNEL_SET [THREADS]]
 *
 * Both sides run in turn in the same process on the same data; the least time
 * of each counts. A line's "share" is ours over theirs, 1 = equal speed. The
 * last line has the least and the mean (geometric) share of all products, and
 * the name of OpenBLAS's kernels. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/kernels/kernels.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define TURN 0.08      /* seconds of one side */
#define TURNS 5        /* of each, for a line */
#define DECODE_MATS 16 /* together larger than any cache */

typedef struct {
  tinker__mem_t mem;
  tinker__cpu_pool_t *pool;
  const tinker__cpu_kernels_t *ks;
  unsigned threads;
  size_t m, n, k;
  float *x, *w, *y, *g; /* [m][k], [n][k], [m][n], [n][k] */
  tinker__cpu_packed_t *packed[2];
  double least, log_sum;
  unsigned lines;
} bench_t;

typedef void (*run_fn)(bench_t *b);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double lesser(double a, double b) {
  return a < b ? a : b;
}

/* Least seconds of fn within a turn. The first part of the turn does not
 * count: the other side's threads may still be spinning on a core. */
static double turn(bench_t *b, run_fn fn) {
  double start = now(), best = INFINITY, t, end;
  do {
    t = now();
    fn(b);
    end = now();
    if (t - start > TURN / 2) best = lesser(best, end - t);
  } while (end - start < TURN || best == INFINITY);
  return best;
}

/* Least seconds of each, turn by turn. */
static void race(bench_t *b, run_fn ours, run_fn theirs, double best[2]) {
  best[0] = best[1] = INFINITY;
  for (int i = 0; i < TURNS; i++) {
    best[1] = lesser(best[1], turn(b, theirs));
    best[0] = lesser(best[0], turn(b, ours));
  }
}

static void blas(bench_t *b, CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m,
                 size_t n, size_t k, const float *a, const float *o, float beta,
                 float *c) {
  cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, 1, a,
              (int)(ta == CblasTrans ? m : k), o,
              (int)(tb == CblasTrans ? k : n), beta, c, (int)n);
  (void)b;
}

static void blas_forward(bench_t *b) {
  blas(b, CblasNoTrans, CblasTrans, b->m, b->n, b->k, b->x, b->w, 0, b->y);
}

static void blas_back(bench_t *b) {
  blas(b, CblasNoTrans, CblasNoTrans, b->m, b->k, b->n, b->y, b->w, 0, b->x);
}

static void blas_grad(bench_t *b) {
  blas(b, CblasTrans, CblasNoTrans, b->n, b->k, b->m, b->y, b->x, 1, b->g);
}

static void forward_f32(bench_t *b) {
  tinker__cpu_linear(b->ks, b->pool, b->packed[0], b->x, b->k, b->m, b->y, b->n,
                     false);
}

static void forward_bf16(bench_t *b) {
  tinker__cpu_linear(b->ks, b->pool, b->packed[1], b->x, b->k, b->m, b->y, b->n,
                     false);
}

static void back_bf16(bench_t *b) {
  tinker__cpu_linear_back(b->ks, b->pool, b->packed[1], b->y, b->n, b->m, b->x,
                          b->k, false);
}

static void grad(bench_t *b) {
  tinker__cpu_gemm_t g = {
      .m = b->n,
      .n = b->k,
      .k = b->m,
      .a = b->y,
      .a_rs = 1,
      .a_cs = b->n,
      .b = b->x,
      .b_rs = b->k,
      .b_cs = 1,
      .c = b->g,
      .ldc = b->k,
      .accumulate = true,
  };
  tinker__cpu_gemm(b->ks, b->pool, &g);
}

static float *noise(bench_t *b, size_t n) {
  float *p = tinker__mem_alloc(&b->mem, n * sizeof *p);
  uint32_t s = 1;
  for (size_t i = 0; p != NULL && i < n; i++) {
    s = s * 1664525u + 1013904223u;
    p[i] = (float)(int32_t)s * 0x1p-31f;
  }
  return p;
}

static void close_shape(bench_t *b) {
  tinker__cpu_packed_free(b->packed[0]);
  tinker__cpu_packed_free(b->packed[1]);
  tinker__mem_free(&b->mem, b->x);
  tinker__mem_free(&b->mem, b->w);
  tinker__mem_free(&b->mem, b->y);
  tinker__mem_free(&b->mem, b->g);
}

static int open_shape(bench_t *b, size_t m, size_t n, size_t k) {
  int rc = 0;
  b->m = m, b->n = n, b->k = k;
  b->x = noise(b, m * k), b->w = noise(b, n * k);
  b->y = noise(b, m * n), b->g = noise(b, n * k);
  uint16_t *half = tinker__mem_array(&b->mem, n * k, sizeof *half);
  b->packed[0] = b->packed[1] = NULL;
  if (!b->x || !b->w || !b->y || !b->g || !half) rc = -1;
  for (size_t i = 0; rc == 0 && i < n * k; i++) {
    half[i] = tinker__cpu_f32_to_bf16(b->w[i]);
  }
  if (rc == 0) {
    rc =
        tinker__cpu_packed_new(&b->packed[0], &b->mem, b->w, TINKER__F32, n, k);
  }
  if (rc == 0) {
    rc = tinker__cpu_packed_new(&b->packed[1], &b->mem, half, TINKER__BF16, n,
                                k);
  }
  tinker__mem_free(&b->mem, half);
  if (rc != 0) close_shape(b);
  return rc;
}

static void line(bench_t *b, const char *op, run_fn ours, run_fn theirs) {
  double best[2], flops = 2.0 * (double)b->m * (double)b->n * (double)b->k;
  race(b, ours, theirs, best);
  double share = best[1] / best[0];
  b->least = lesser(b->least, share);
  b->log_sum += log(share);
  b->lines++;
  printf("{\"bench\":\"matmul\",\"op\":\"%s\",\"set\":\"%s\",\"threads\":%u,"
         "\"m\":%zu,\"n\":%zu,\"k\":%zu,\"gflops\":%.1f,"
         "\"openblas_gflops\":%.1f,\"share\":%.2f}\n",
         op, b->ks->name, b->threads, b->m, b->n, b->k, flops / best[0] * 1e-9,
         flops / best[1] * 1e-9, share);
}

static int products(bench_t *b) {
  static const size_t shape[][3] = {/* tokens, out, in */
                                    {512, 192, 512},  {512, 512, 192},
                                    {2048, 256, 768}, {512, 1024, 3072},
                                    {512, 896, 4864}, {512, 4864, 896}};
  /* Adapters of rank 16: thin in one direction. */
  static const size_t thin[][3] = {{2048, 16, 896}, {2048, 896, 16}};
  for (size_t i = 0; i < COUNT(shape); i++) {
    if (open_shape(b, shape[i][0], shape[i][1], shape[i][2]) != 0) return -1;
    line(b, "forward_f32", forward_f32, blas_forward);
    line(b, "forward_bf16", forward_bf16, blas_forward);
    line(b, "back_bf16", back_bf16, blas_back);
    line(b, "grad", grad, blas_grad);
    close_shape(b);
  }
  for (size_t i = 0; i < COUNT(thin); i++) {
    if (open_shape(b, thin[i][0], thin[i][1], thin[i][2]) != 0) return -1;
    line(b, "adapter_forward", forward_f32, blas_forward);
    line(b, "adapter_grad", grad, blas_grad);
    close_shape(b);
  }
  return 0;
}

/* A plain read of the same bytes by the same workers. */
typedef struct {
  const uint64_t *words;
  size_t n; /* per task */
  uint64_t sum[64];
} read_t;

static void read_task(void *arg, size_t task, unsigned worker) {
  read_t *r = arg;
  const uint64_t *p = r->words + task * r->n;
  uint64_t s[8] = {0};
  (void)worker;
  for (size_t i = 0; i + 8 <= r->n; i += 8) {
    for (size_t j = 0; j < 8; j++) s[j] += p[i + j];
  }
  r->sum[task] = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static double time_reads(bench_t *b, tinker__cpu_packed_t **w, read_t *r) {
  double t = now();
  for (size_t i = 0; i < DECODE_MATS; i++) {
    r->words = w[i]->panels;
    r->n = tinker__cpu_packed_bytes(w[i]) / 8 / 16;
    tinker__cpu_pool_run(b->pool, read_task, r, 16);
  }
  return now() - t;
}

static double time_decode(bench_t *b, tinker__cpu_packed_t **w, size_t m) {
  double t = now();
  for (size_t i = 0; i < DECODE_MATS; i++) {
    tinker__cpu_linear(b->ks, b->pool, w[i], b->x, b->k, m, b->y, b->n, false);
  }
  return now() - t;
}

static void decode_line(bench_t *b, tinker__cpu_packed_t **w, size_t m) {
  read_t r = {0};
  double bytes = (double)tinker__cpu_packed_bytes(w[0]) * DECODE_MATS;
  double read = INFINITY, ours = INFINITY;
  for (int i = 0; i < 7; i++) {
    read = lesser(read, time_reads(b, w, &r));
    ours = lesser(ours, time_decode(b, w, m));
  }
  printf("{\"bench\":\"decode\",\"set\":\"%s\",\"threads\":%u,\"samples\":%zu,"
         "\"out\":%zu,\"in\":%zu,\"gb_per_s\":%.1f,\"read_gb_per_s\":%.1f,"
         "\"share\":%.2f,\"check\":%u}\n",
         b->ks->name, b->threads, m, b->n, b->k, bytes / ours * 1e-9,
         bytes / read * 1e-9, read / ours, (unsigned)(r.sum[0] & 1));
}

static int decode(bench_t *b) {
  tinker__cpu_packed_t *w[DECODE_MATS] = {NULL};
  int rc = open_shape(b, 8, 4864, 896);
  if (rc != 0) return rc;
  /* Floats read as halves would be infinite here and subnormal
   * there, which no processor is fast at. */
  uint16_t *half = tinker__mem_array(&b->mem, b->n * b->k, sizeof *half);
  if (!half) rc = -1;
  for (size_t i = 0; rc == 0 && i < b->n * b->k; i++) {
    half[i] = tinker__cpu_f32_to_bf16(b->w[i]);
  }
  for (size_t i = 0; rc == 0 && i < DECODE_MATS; i++) {
    rc = tinker__cpu_packed_new(&w[i], &b->mem, half, TINKER__BF16, b->n, b->k);
  }
  for (size_t m = 1; rc == 0 && m <= 8; m *= 2) decode_line(b, w, m);
  for (size_t i = 0; i < DECODE_MATS; i++) tinker__cpu_packed_free(w[i]);
  tinker__mem_free(&b->mem, half);
  close_shape(b);
  return rc;
}

static int on_threads(bench_t *b, unsigned threads) {
  b->threads = threads;
  b->least = INFINITY;
  b->log_sum = b->lines = 0;
  openblas_set_num_threads((int)threads);
  int rc = tinker__cpu_pool_new(&b->pool, &b->mem, threads);
  if (rc == 0) {
    rc = products(b);
    if (rc == 0) rc = decode(b);
    tinker__cpu_pool_free(b->pool);
  }
  if (rc == 0) {
    printf("{\"bench\":\"matmul\",\"set\":\"%s\",\"threads\":%u,"
           "\"openblas_core\":\"%s\",\"least_share\":%.2f,"
           "\"mean_share\":%.2f}\n",
           b->ks->name, threads, openblas_get_corename(), b->least,
           exp(b->log_sum / b->lines));
  }
  return rc;
}

/* OpenBLAS takes its slowest kernels on a processor whose model it does not
 * know. It reads the name of others when it is loaded: so once more. */
static void choose_blas(const tinker__cpu_kernels_t *ks, char **argv) {
  const char *core = strcmp(ks->name, "avx512") == 0 ? "SkylakeX"
                     : strcmp(ks->name, "avx2") == 0 ? "Haswell"
                                                     : NULL;
  if (!core || getenv("OPENBLAS_CORETYPE")) return;
  if (setenv("OPENBLAS_CORETYPE", core, 1) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
  bench_t b = {0};
  tinker__mem_init(&b.mem, NULL, 0);
  b.ks = argc > 1 ? tinker__cpu_kernels_by_name(argv[1])
                  : tinker__cpu_kernels_get();
  unsigned asked = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
  if (b.ks == NULL) {
    fprintf(stderr, "bench_matmul: no kernel set '%s' here\n", argv[1]);
    return 2;
  }
  choose_blas(b.ks, argv);
  for (unsigned t = asked ? asked : 1; t <= (asked ? asked : 2); t++) {
    if (on_threads(&b, t) != 0) {
      fprintf(stderr, "bench_matmul: out of memory\n");
      return 1;
    }
  }
  return 0;
}
