/* engine: speed of the CPU engine on whole models.
 *
 *   bench_engine DEMO_MODEL_FOLDER [THREADS [KERNEL_SET]]
 *   bench_engine decode MODEL [THREADS [KERNEL_SET]]
 *   bench_engine serve MODEL [DTYPE [THREADS]]
 *   bench_engine write MODEL DTYPE FOLDER
 *
 * MODEL is a folder, or a random model of a real shape: qwen2-0.5b,
 * qwen3-0.6b. KERNEL_SET is avx512, avx2, neon or scalar; the best if it is not
 * given.
 *
 * The first form prints lines for training and decoding. Training makes steps
 * with rank-32 LoRA on every matrix, of the demo's model and of the 0.5B shape,
 * in float32. Decoding has 1, 8 and 16 samples of the same models in bf16. A
 * line of decoding compares a round with a plain read of the same weights by
 * the same threads ("share", 1 = as fast as memory) and with the round's matrix
 * products alone ("product_share", "product_gflops"). "gain" is tokens/s over
 * those of one sample, and "gain_limit" would be the gain if a round had only
 * the products. All measurements take turns, so that they see the same machine.
 * Figures are of the least time, or of the median if the name says so. The
 * second form prints the lines of decoding, for a MODEL in bf16.
 *
 * The third form is for scripts that let somebody else take turns
 * (engine_torch.py, engine_llama.py): it does what each line of its input
 * says and answers with the seconds: "train SEQUENCES", "prefill TOKENS",
 * "decode SAMPLES TOKENS". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/base.h"
#include "cpu/cpu.h"
#include "engine/backend.h"
#include "shape.h"

#define SHAPE "qwen2-0.5b"
#define STEPS 5 /* of training, the first to warm up */
#define ROUNDS 60
#define PROMPT 16
#define SAMPLES 16 /* at most */
#define LENGTH 128 /* of a training sequence */
#define MAX_SEQS 8
#define MAX_KEYS 512

typedef struct {
  tinker__mem_t mem;
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__eng_base_t *base;
  tinker__eng_train_t *train;     /* from the first step on */
  const char *name, *dtype, *set; /* set NULL: the best */
  unsigned threads;
  char why[256];
} bench_t;

static void check(const bench_t *b, int rc) {
  if (rc < 0) die("%s", b->why);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- Samples of a time ---------------------------------------------------- */

typedef struct {
  double s[ROUNDS];
  size_t n;
} times_t;

static void note(times_t *t, double seconds) {
  t->s[t->n++] = seconds;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* After these, s is sorted. */
static double least(times_t *t) {
  qsort(t->s, t->n, sizeof *t->s, by_size);
  return t->s[0];
}

static double median(times_t *t) {
  qsort(t->s, t->n, sizeof *t->s, by_size);
  return t->s[t->n / 2];
}

/* --- Training ------------------------------------------------------------- */

typedef struct {
  int32_t tokens[MAX_SEQS][LENGTH];
  int64_t targets[MAX_SEQS][LENGTH];
  float weights[LENGTH], logprobs[MAX_SEQS][LENGTH], loss[MAX_SEQS][LENGTH];
  tinker__eng_train_datum_t data[MAX_SEQS];
} batch_t;

static void make_batch(batch_t *x, size_t n, size_t vocab) {
  uint32_t s = 7;
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < LENGTH; k++) {
      s = s * 1664525u + 1013904223u;
      x->tokens[i][k] = (int32_t)((s >> 8) % vocab);
      x->targets[i][k] = (int64_t)((s >> 9) % vocab);
      x->weights[k] = 1;
    }
    x->data[i] = (tinker__eng_train_datum_t){
        .tokens = x->tokens[i],
        .n = LENGTH,
        .targets = x->targets[i],
        .k = 1,
        .weights = x->weights,
        .out_logprobs = x->logprobs[i],
        .out_loss = x->loss[i],
    };
  }
}

static void run_step(bench_t *b, const batch_t *x, size_t n) {
  static const tinker__eng_loss_config_t loss = {
      .kind = TINKER__LOSS_CROSS_ENTROPY,
  };
  static const tinker__eng_optim_params_t adam = {
      .learning_rate = 1e-4,
      .beta1 = 0.9,
      .beta2 = 0.95,
      .eps = 1e-8,
  };
  tinker__eng_optim_metrics_t m;
  tinker__eng_pass_t *p = NULL;
  int rc;
  check(b, b->api->pass_begin(b->train, x->data, n, &loss, false, &p, b->why,
                              sizeof b->why));
  do {
    rc = b->api->pass_step(p, NULL, b->why, sizeof b->why);
    check(b, rc);
  } while (rc == 1);
  b->api->pass_end(p);
  check(b, b->api->optim_step(b->train, &adam, &m, b->why, sizeof b->why));
}

/* Seconds of one forward_backward and optim_step. */
static double train_step(bench_t *b, size_t sequences) {
  static const tinker__eng_lora_config_t c = {
      .rank = 32,
      .seed = 1,
      .train_attn = true,
      .train_mlp = true,
      .train_unembed = true,
  };
  batch_t *x = need(tinker__mem_zalloc(&b->mem, sizeof *x));
  make_batch(x, sequences, b->base->d.vocab);
  if (!b->train) {
    check(b, b->api->train_new(b->base, &c, &b->train, b->why, sizeof b->why));
  }
  double start = now();
  run_step(b, x, sequences);
  double took = now() - start;
  tinker__mem_free(&b->mem, x);
  return took;
}

static void train(bench_t *b, size_t sequences) {
  times_t t = {.n = 0};
  double tokens = (double)sequences * LENGTH;
  train_step(b, sequences);
  for (int i = 1; i < STEPS; i++) note(&t, train_step(b, sequences));
  printf("{\"bench\":\"engine\",\"op\":\"train\",\"model\":\"%s\","
         "\"dtype\":\"%s\",\"set\":\"%s\",\"threads\":%u,\"rank\":32,"
         "\"sequences\":%zu,\"length\":%d,\"tokens_per_s\":%.0f,"
         "\"median_tokens_per_s\":%.0f}\n",
         b->name, b->dtype, b->engine->ks->name, b->threads, sequences, LENGTH,
         tokens / least(&t), tokens / median(&t));
  fflush(stdout);
}

/* --- A plain read --------------------------------------------------------- */

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
    __builtin_prefetch(p + i + 512);
    for (size_t j = 0; j < 8; j++) s[j] += p[i + j];
  }
  r->sum[task] += s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static size_t read_matrix(bench_t *b, const tinker__cpu_packed_t *w,
                          read_t *r) {
  r->words = w->panels;
  r->n = tinker__cpu_packed_bytes(w) / 8 / 16;
  tinker__cpu_pool_run(b->engine->pool, read_task, r, 16);
  return tinker__cpu_packed_bytes(w);
}

/* Every matrix once, as a token needs them; returns the bytes. */
static size_t read_weights(bench_t *b, read_t *r) {
  size_t bytes = read_matrix(b, b->base->head, r);
  for (size_t l = 0; l < b->base->d.layers; l++) {
    for (size_t p = 0; p < TINKER__PROJS; p++) {
      bytes += read_matrix(b, b->base->layers[l].w[p], r);
    }
  }
  return bytes;
}

/* --- Decoding ------------------------------------------------------------- */

typedef struct {
  size_t samples;
  tinker__eng_slot_t *slots[SAMPLES];
  tinker__eng_decode_item_t items[SAMPLES];
  int32_t tokens[MAX_KEYS];
  float sum; /* so that the rows are used */
} decode_t;

static void take_row(void *user, size_t position, const float *row,
                     size_t vocab) {
  float *sum = user;
  *sum += row[position % vocab];
}

/* The prompt's tokens, their last row wanted. */
static void open_slots(bench_t *b, decode_t *d, size_t samples, size_t prompt,
                       size_t room) {
  *d = (decode_t){.samples = samples};
  for (size_t i = 0; i < prompt; i++) {
    d->tokens[i] = (int32_t)(i * 13 % b->base->d.vocab);
  }
  for (size_t i = 0; i < samples; i++) {
    check(b, b->api->slot_new(b->base, NULL, prompt + room, &d->slots[i],
                              b->why, sizeof b->why));
    d->items[i] = (tinker__eng_decode_item_t){
        .slot = d->slots[i],
        .tokens = d->tokens,
        .n = prompt,
        .first_row = prompt - 1,
        .on_row = take_row,
        .user = &d->sum,
    };
  }
}

static void close_slots(bench_t *b, decode_t *d) {
  for (size_t i = 0; i < d->samples; i++) b->api->slot_free(d->slots[i]);
}

static double decode_round(bench_t *b, decode_t *d) {
  double start = now();
  check(b, b->api->decode(b->engine, d->items, d->samples, NULL, b->why,
                          sizeof b->why));
  return now() - start;
}

static void start_decoding(bench_t *b, decode_t *d, size_t samples,
                           size_t prompt, size_t room) {
  open_slots(b, d, samples, prompt, room);
  decode_round(b, d);
  for (size_t i = 0; i < samples; i++) {
    d->items[i].n = 1;
    d->items[i].first_row = 0;
  }
}

/* The matrix products of a round alone. */
typedef struct {
  float *x, *y; /* of the widest matrices */
  double flops;
} products_t;

static void multiply(bench_t *b, products_t *p, const tinker__cpu_packed_t *w,
                     size_t samples) {
  tinker__cpu_linear(b->engine->ks, b->engine->pool, w, p->x, w->k_in, samples,
                     p->y, w->n_out, false);
  p->flops += 2.0 * (double)(samples * w->n_out * w->k_in);
}

static double products(bench_t *b, products_t *p, size_t samples) {
  double start = now();
  p->flops = 0;
  for (size_t l = 0; l < b->base->d.layers; l++) {
    for (size_t i = 0; i < TINKER__PROJS; i++) {
      multiply(b, p, b->base->layers[l].w[i], samples);
    }
  }
  multiply(b, p, b->base->head, samples);
  return now() - start;
}

static void open_products(bench_t *b, products_t *p) {
  const tinker__cpu_dims_t *d = &b->base->d;
  size_t in = d->inter > d->q_dim ? d->inter : d->q_dim;
  size_t out = d->vocab > d->inter ? d->vocab : d->inter;
  if (in < d->hidden) in = d->hidden;
  p->x = need(tinker__mem_array(&b->mem, SAMPLES * in, sizeof(float)));
  p->y = need(tinker__mem_array(&b->mem, SAMPLES * out, sizeof(float)));
}

static void close_products(bench_t *b, products_t *p) {
  tinker__mem_free(&b->mem, p->x);
  tinker__mem_free(&b->mem, p->y);
}

typedef struct {
  /* Seconds of the read, of a round of one sample, of a round of these samples,
   * and of its products. */
  double read, one, ours, products;
} decode_times_t;

static void decode_line(const bench_t *b, const decode_t *d, double bytes,
                        double flops, decode_times_t best, decode_times_t mid) {
  double n = (double)d->samples;
  printf("{\"bench\":\"engine\",\"op\":\"decode\",\"model\":\"%s\","
         "\"dtype\":\"%s\",\"set\":\"%s\",\"threads\":%u,\"samples\":%zu,"
         "\"tokens_per_s\":%.1f,\"gb_per_s\":%.1f,\"read_gb_per_s\":%.1f,"
         "\"product_gflops\":%.1f,\"share\":%.2f,\"gain\":%.2f,"
         "\"product_share\":%.2f,\"gain_limit\":%.2f,",
         b->name, b->dtype, b->engine->ks->name, b->threads, d->samples,
         n / best.ours, bytes / best.ours * 1e-9, bytes / best.read * 1e-9,
         flops / best.products * 1e-9, best.read / best.ours,
         n * best.one / best.ours, best.products / best.ours,
         n * best.one / best.products);
  printf("\"median_tokens_per_s\":%.1f,\"median_share\":%.2f,"
         "\"median_gain\":%.2f,\"median_product_share\":%.2f,"
         "\"median_gain_limit\":%.2f,\"finite\":%s}\n",
         n / mid.ours, mid.read / mid.ours, n * mid.one / mid.ours,
         mid.products / mid.ours, n * mid.one / mid.products,
         isfinite(d->sum) ? "true" : "false");
  fflush(stdout);
}

static void decode(bench_t *b) {
  static const size_t samples[] = {1, 8, SAMPLES};
  enum { COUNTS = sizeof samples / sizeof *samples };
  decode_t d[COUNTS];
  times_t reads = {.n = 0}, rounds[COUNTS] = {{.n = 0}},
          alone[COUNTS] = {{.n = 0}};
  read_t r = {0};
  products_t p;
  double bytes = 0, flops[COUNTS];
  open_products(b, &p);
  for (int c = 0; c < COUNTS; c++) {
    start_decoding(b, &d[c], samples[c], PROMPT, ROUNDS);
  }
  for (int i = 0; i < ROUNDS; i++) {
    double start = now();
    bytes = (double)read_weights(b, &r);
    note(&reads, now() - start);
    for (int c = 0; c < COUNTS; c++) {
      note(&rounds[c], decode_round(b, &d[c]));
      note(&alone[c], products(b, &p, samples[c]));
      flops[c] = p.flops;
    }
  }
  decode_times_t best = {.read = least(&reads), .one = least(&rounds[0])};
  decode_times_t mid = {.read = median(&reads), .one = median(&rounds[0])};
  for (int c = 0; c < COUNTS; c++) {
    best.ours = least(&rounds[c]);
    best.products = least(&alone[c]);
    mid.ours = median(&rounds[c]);
    mid.products = median(&alone[c]);
    decode_line(b, &d[c], bytes, flops[c], best, mid);
    close_slots(b, &d[c]);
  }
  close_products(b, &p);
}

/* --- Runs ----------------------------------------------------------------- */

static void open_folder(bench_t *b, const char *dir) {
  tinker__engine_options_t o = {
      .mem = tinker__mem_allocator(&b->mem),
      .threads = b->threads,
      .kernels = b->set,
  };
  check(b, b->api->open(&b->engine, &o, b->why, sizeof b->why));
  check(b, tinker__eng_backend_load(b->api, b->engine, dir, &b->base, b->why,
                                    sizeof b->why));
  b->threads = tinker__cpu_pool_threads(b->engine->pool);
}

static tinker__weight_type_t dtype_named(const char *name) {
  if (strcmp(name, "f32") == 0) return TINKER__WEIGHT_F32;
  if (strcmp(name, "bf16") != 0) die("no type '%s': f32 or bf16", name);
  return TINKER__WEIGHT_BF16;
}

/* A shape's name, or a folder. */
static void open_base(bench_t *b, const char *model, const char *dtype) {
  const shape_t *s = shape_named(model);
  const char *tmp = getenv("TMPDIR");
  char dir[200];
  b->name = model;
  b->dtype = dtype;
  b->train = NULL;
  if (!s) {
    open_folder(b, model);
    return;
  }
  snprintf(dir, sizeof dir, "%s/tinker-bench-XXXXXX", tmp ? tmp : "/tmp");
  if (!mkdtemp(dir)) die("no temporary folder");
  shape_write(s, dtype_named(dtype), &b->mem, dir);
  open_folder(b, dir);
  shape_remove(dir);
}

static void close_base(bench_t *b) {
  if (b->train) b->api->train_free(b->train);
  b->api->base_release(b->base);
  b->api->close(b->engine);
}

static int print_decode(bench_t *b, const char *model) {
  open_base(b, model, "bf16");
  decode(b);
  close_base(b);
  return 0;
}

static int print_all(bench_t *b, const char *demo) {
  open_base(b, demo, "bf16");
  b->name = "tiny-kjv";
  train(b, 8);
  decode(b);
  close_base(b);
  open_base(b, SHAPE, "f32");
  train(b, 4);
  close_base(b);
  return print_decode(b, SHAPE);
}

/* Seconds for n tokens of each sample, after one token of prompt. */
static double decode_many(bench_t *b, size_t samples, size_t n) {
  decode_t d;
  double sum = 0;
  start_decoding(b, &d, samples, 1, n);
  for (size_t i = 0; i < n; i++) sum += decode_round(b, &d);
  close_slots(b, &d);
  return sum;
}

static double prefill(bench_t *b, size_t n) {
  decode_t d;
  open_slots(b, &d, 1, n, 1);
  double took = decode_round(b, &d);
  close_slots(b, &d);
  return took;
}

static double obey(bench_t *b, const char *line) {
  unsigned n = 0, m = 0;
  if (sscanf(line, "train %u", &n) == 1 && n >= 1 && n <= MAX_SEQS) {
    return train_step(b, n);
  }
  if (sscanf(line, "prefill %u", &n) == 1 && n >= 1 && n <= MAX_KEYS) {
    return prefill(b, n);
  }
  if (sscanf(line, "decode %u %u", &n, &m) == 2 && n >= 1 && n <= SAMPLES &&
      m >= 1 && m < MAX_KEYS) {
    return decode_many(b, n, m);
  }
  die("can't do: %s", line);
  return 0;
}

static int serve(bench_t *b, const char *model, const char *dtype) {
  char line[80];
  open_base(b, model, dtype);
  printf("{\"ready\":true,\"set\":\"%s\",\"threads\":%u}\n",
         b->engine->ks->name, b->threads);
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    printf("%.6f\n", obey(b, line));
    fflush(stdout);
  }
  close_base(b);
  return 0;
}

static int usage(void) {
  fputs("usage: bench_engine DEMO_MODEL_FOLDER [THREADS [KERNEL_SET]]\n"
        "       bench_engine decode MODEL [THREADS [KERNEL_SET]]\n"
        "       bench_engine serve MODEL [DTYPE [THREADS]]\n"
        "       bench_engine write MODEL DTYPE FOLDER\n",
        stderr);
  return 2;
}

int main(int argc, char **argv) {
  bench_t b = {.api = tinker__cpu_engine()};
  tinker__mem_init(&b.mem, NULL, 0);
  if (argc >= 3 && argc <= 5 && strcmp(argv[1], "serve") == 0) {
    b.threads = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    return serve(&b, argv[2], argc > 3 ? argv[3] : "bf16");
  }
  if (argc == 5 && strcmp(argv[1], "write") == 0) {
    const shape_t *s = shape_named(argv[2]);
    if (!s) die("no shape '%s'", argv[2]);
    shape_write(s, dtype_named(argv[3]), &b.mem, argv[4]);
    return 0;
  }
  bool one_op = argc > 2 && strcmp(argv[1], "decode") == 0;
  char **rest = argv + (one_op ? 3 : 2), **end = argv + argc;
  if (argc < 2 || end - rest > 2) return usage();
  if (rest < end) b.threads = (unsigned)strtoul(rest[0], NULL, 10);
  if (rest + 1 < end) b.set = rest[1];
  return one_op ? print_decode(&b, argv[2]) : print_all(&b, argv[1]);
}
