/* engine: speed of the CPU engine on whole models.
 *
 *   bench_engine DEMO_MODEL_FOLDER [THREADS]
 *
 * Training: tokens/s of forward_backward and optim_step with rank-32 LoRA on
 * every matrix, of the demo's model and of a random one with the width of a
 * 0.5B model and few layers, which the line says. Decoding: of that model in
 * bf16, one sample and eight, against a plain read of the same weights by the
 * same threads, which no engine can beat with one sample ("share", 1 = as
 * fast as memory; "gain", tokens/s against one sample). The best of some
 * repeats counts. bench/engine_torch.py does the training with PyTorch. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/base.h"
#include "cpu/cpu.h"
#include "model/safetensors.h"

#define HIDDEN   896u
#define INTER    4864u
#define HEADS    14u
#define KV_HEADS 2u
#define HEAD_DIM 64u
#define VOCAB    8192u
#define LAYERS   4u
#define CONTEXT  1024u
#define TENSORS  (9 * LAYERS + 2)
#define WIDE     "0.5B width, 4 layers, vocabulary 8192"

#define REPEATS  5 /* of training, the first to warm up */
#define ROUNDS   96
#define PROMPT   16
#define SAMPLES  8
#define LENGTH   128 /* of a training sequence */
#define MAX_SEQS 8

typedef struct {
  tinker__mem_t mem;
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__base_t *base;
  const char *name;
  unsigned threads;
  char why[256];
} bench_t;

static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("bench_engine: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

static void *need(void *p) {
  if (!p) die("out of memory");
  return p;
}

static void check(const bench_t *b, int rc) {
  if (rc < 0) die("%s", b->why);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- A random model ------------------------------------------------------- */

typedef struct {
  tinker__tensor_t tensors[TENSORS];
  char names[TENSORS][64];
  size_t n;
  tinker__dtype_t dtype;
  const void *noise, *ones; /* of the largest tensor; shared by all */
} wide_t;

static void add(wide_t *w, unsigned layer, const char *name, unsigned rows,
                unsigned cols) {
  char *full = w->names[w->n];
  if (layer < LAYERS)
    snprintf(full, sizeof w->names[0], "model.layers.%u.%s.weight", layer,
             name);
  else
    snprintf(full, sizeof w->names[0], "model.%s.weight", name);
  w->tensors[w->n++] =
      (tinker__tensor_t){.name = tinker__str(full),
                         .dtype = w->dtype,
                         .rank = cols ? 2 : 1,
                         .shape = {rows, cols},
                         .data = cols ? w->noise : w->ones};
}

static void add_all(wide_t *w) {
  add(w, LAYERS, "embed_tokens", VOCAB, HIDDEN);
  add(w, LAYERS, "norm", HIDDEN, 0);
  for (unsigned l = 0; l < LAYERS; l++) {
    add(w, l, "self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN);
    add(w, l, "self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN);
    add(w, l, "self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN);
    add(w, l, "self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM);
    add(w, l, "mlp.gate_proj", INTER, HIDDEN);
    add(w, l, "mlp.up_proj", INTER, HIDDEN);
    add(w, l, "mlp.down_proj", HIDDEN, INTER);
    add(w, l, "input_layernorm", HIDDEN, 0);
    add(w, l, "post_attention_layernorm", HIDDEN, 0);
  }
}

static void write_file(const char *dir, const char *name, const void *data,
                       size_t len) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
    die("%s can't be written", path);
}

static void write_config(const char *dir) {
  char text[600];
  int n = snprintf(
      text, sizeof text,
      "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
      "\"vocab_size\":%u,\"hidden_size\":%u,\"num_hidden_layers\":%u,"
      "\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
      "\"head_dim\":%u,\"intermediate_size\":%u,"
      "\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-6,"
      "\"rope_theta\":10000.0,\"hidden_act\":\"silu\","
      "\"tie_word_embeddings\":true,\"eos_token_id\":0}",
      VOCAB, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, INTER, CONTEXT);
  write_file(dir, "config.json", text, (size_t)n);
}

/* What every matrix holds: uniform noise, as wide as fits the width. */
static void fill(void *out, size_t n, tinker__dtype_t dtype, float centre,
                 float width) {
  uint32_t s = 1;
  for (size_t i = 0; i < n; i++) {
    s = s * 1664525u + 1013904223u;
    float x = centre + width * (float)(int32_t)s * 0x1p-31f;
    if (dtype == TINKER__DTYPE_F32) ((float *)out)[i] = x;
    if (dtype != TINKER__DTYPE_F32)
      ((uint16_t *)out)[i] = tinker__f32_to_bf16(x);
  }
}

static void write_wide(bench_t *b, const char *dir, tinker__dtype_t dtype) {
  size_t most = (size_t)VOCAB * HIDDEN;
  float *noise = need(tinker__mem_array(&b->mem, most, sizeof *noise));
  float *ones = need(tinker__mem_array(&b->mem, HIDDEN, sizeof *ones));
  wide_t *w = need(tinker__mem_zalloc(&b->mem, sizeof *w));
  tinker__buf_t buf;
  fill(noise, most, dtype, 0, 0.05f);
  fill(ones, HIDDEN, dtype, 1, 0);
  w->dtype = dtype;
  w->noise = noise;
  w->ones = ones;
  add_all(w);
  tinker__buf_init(&buf, &b->mem, (size_t)1 << 31);
  check(b, tinker__safetensors_write(&buf, &b->mem, w->tensors, w->n, NULL, 0,
                                     b->why, sizeof b->why));
  write_file(dir, "model.safetensors", buf.data, buf.len);
  write_config(dir);
  tinker__buf_free(&buf);
  tinker__mem_free(&b->mem, w);
  tinker__mem_free(&b->mem, ones);
  tinker__mem_free(&b->mem, noise);
}

/* --- Training ------------------------------------------------------------- */

typedef struct {
  int32_t tokens[MAX_SEQS][LENGTH];
  int64_t targets[MAX_SEQS][LENGTH];
  float weights[LENGTH], logprobs[MAX_SEQS][LENGTH], loss[MAX_SEQS][LENGTH];
  tinker__train_datum_t data[MAX_SEQS];
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
    x->data[i] = (tinker__train_datum_t){.tokens = x->tokens[i],
                                         .n = LENGTH,
                                         .targets = x->targets[i],
                                         .k = 1,
                                         .weights = x->weights,
                                         .out_logprobs = x->logprobs[i],
                                         .out_loss = x->loss[i]};
  }
}

static void train_step(bench_t *b, tinker__train_t *t, const batch_t *x,
                       size_t n) {
  static const tinker__loss_config_t loss = {.kind =
                                                 TINKER__LOSS_CROSS_ENTROPY};
  static const tinker__optim_params_t adam = {
      .learning_rate = 1e-4, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8};
  tinker__optim_metrics_t m;
  tinker__pass_t *p = NULL;
  int rc;
  check(b, b->api->pass_begin(t, x->data, n, &loss, false, &p, b->why,
                              sizeof b->why));
  do {
    rc = b->api->pass_step(p, NULL, b->why, sizeof b->why);
    check(b, rc);
  } while (rc == 1);
  b->api->pass_end(p);
  check(b, b->api->optim_step(t, &adam, &m, b->why, sizeof b->why));
}

static void train(bench_t *b, size_t sequences, const char *dtype) {
  tinker__lora_config_t c = {.rank = 32,
                             .seed = 1,
                             .train_attn = true,
                             .train_mlp = true,
                             .train_unembed = true};
  batch_t *x = need(tinker__mem_zalloc(&b->mem, sizeof *x));
  tinker__train_t *t = NULL;
  double best = INFINITY;
  make_batch(x, sequences, b->base->d.vocab);
  check(b, b->api->train_new(b->base, &c, &t, b->why, sizeof b->why));
  for (int i = 0; i < REPEATS; i++) {
    double start = now();
    train_step(b, t, x, sequences);
    if (i > 0) best = fmin(best, now() - start);
  }
  printf("{\"bench\":\"engine\",\"op\":\"train\",\"model\":\"%s\","
         "\"dtype\":\"%s\",\"set\":\"%s\",\"threads\":%u,\"rank\":32,"
         "\"sequences\":%zu,\"length\":%d,\"tokens_per_s\":%.0f}\n",
         b->name, dtype, b->engine->ks->name, b->threads, sequences, LENGTH,
         (double)sequences * LENGTH / best);
  fflush(stdout);
  b->api->train_free(t);
  tinker__mem_free(&b->mem, x);
}

/* --- Decoding ------------------------------------------------------------- */

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
  for (size_t i = 0; i + 8 <= r->n; i += 8)
    for (size_t j = 0; j < 8; j++)
      s[j] += p[i + j];
  r->sum[task] += s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

static size_t read_matrix(bench_t *b, const tinker__packed_t *w, read_t *r) {
  r->words = w->panels;
  r->n = tinker__packed_bytes(w) / 8 / 16;
  tinker__pool_run(b->engine->pool, read_task, r, 16);
  return tinker__packed_bytes(w);
}

/* Every matrix once, as a token needs them; returns the bytes. */
static size_t read_weights(bench_t *b, read_t *r) {
  size_t bytes = read_matrix(b, b->base->head, r);
  for (size_t l = 0; l < b->base->d.layers; l++)
    for (size_t p = 0; p < TINKER__PROJS; p++)
      bytes += read_matrix(b, b->base->layers[l].w[p], r);
  return bytes;
}

static void take_row(void *user, size_t position, const float *row,
                     size_t vocab) {
  float *sum = user;
  *sum += row[position % vocab];
}

typedef struct {
  tinker__slot_t *slots[SAMPLES];
  tinker__decode_item_t items[SAMPLES];
  int32_t tokens[PROMPT];
  float sum; /* so that the rows are used */
} decode_t;

static void open_slots(bench_t *b, decode_t *d, size_t samples) {
  for (size_t i = 0; i < PROMPT; i++)
    d->tokens[i] = (int32_t)(i * 13 % VOCAB);
  for (size_t i = 0; i < samples; i++) {
    check(b, b->api->slot_new(b->base, NULL, PROMPT + ROUNDS, &d->slots[i],
                              b->why, sizeof b->why));
    d->items[i] = (tinker__decode_item_t){.slot = d->slots[i],
                                          .tokens = d->tokens,
                                          .n = PROMPT,
                                          .first_row = PROMPT - 1,
                                          .on_row = take_row,
                                          .user = &d->sum};
  }
  check(b, b->api->decode(b->engine, d->items, samples, NULL, b->why,
                          sizeof b->why));
  for (size_t i = 0; i < samples; i++) {
    d->items[i].n = 1;
    d->items[i].first_row = 0;
  }
}

/* Tokens/s; reads and rounds take turns, so that both see the same machine. */
static double decode(bench_t *b, size_t samples, double single) {
  decode_t d = {0};
  read_t r = {0};
  double best = INFINITY, read = INFINITY;
  size_t bytes = 0;
  open_slots(b, &d, samples);
  for (int i = 0; i < ROUNDS; i++) {
    double t0 = now();
    bytes = read_weights(b, &r);
    double t1 = now();
    check(b, b->api->decode(b->engine, d.items, samples, NULL, b->why,
                            sizeof b->why));
    read = fmin(read, t1 - t0);
    best = fmin(best, now() - t1);
  }
  double speed = (double)samples / best;
  printf("{\"bench\":\"engine\",\"op\":\"decode\",\"model\":\"%s\","
         "\"dtype\":\"bf16\",\"set\":\"%s\",\"threads\":%u,\"samples\":%zu,"
         "\"tokens_per_s\":%.1f,\"gb_per_s\":%.1f,\"read_gb_per_s\":%.1f,"
         "\"share\":%.2f,\"gain\":%.2f,\"check\":%u}\n",
         b->name, b->engine->ks->name, b->threads, samples, speed,
         (double)bytes / best * 1e-9, (double)bytes / read * 1e-9, read / best,
         single > 0 ? speed / single : 1.0,
         (unsigned)(r.sum[0] & 1) + (isnan(d.sum) ? 2u : 0u));
  fflush(stdout);
  for (size_t i = 0; i < samples; i++)
    b->api->slot_free(d.slots[i]);
  return speed;
}

/* --- Runs ----------------------------------------------------------------- */

static void open_base(bench_t *b, const char *dir, const char *name) {
  tinker__engine_options_t o = {.mem = &b->mem, .threads = b->threads};
  check(b, b->api->open(&b->engine, &o, b->why, sizeof b->why));
  check(b, b->api->base_load(b->engine, dir, &b->base, b->why, sizeof b->why));
  b->threads = tinker__pool_threads(b->engine->pool);
  b->name = name;
}

static void close_base(bench_t *b) {
  b->api->base_release(b->base);
  b->api->close(b->engine);
}

static void wide(bench_t *b, tinker__dtype_t dtype) {
  const char *tmp = getenv("TMPDIR");
  char dir[200], path[300];
  snprintf(dir, sizeof dir, "%s/tinker-bench-XXXXXX", tmp ? tmp : "/tmp");
  if (!mkdtemp(dir)) die("no temporary folder");
  write_wide(b, dir, dtype);
  open_base(b, dir, WIDE);
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  unlink(path);
  snprintf(path, sizeof path, "%s/config.json", dir);
  unlink(path);
  rmdir(dir);
  if (dtype == TINKER__DTYPE_F32) {
    train(b, 4, "f32");
  } else {
    decode(b, SAMPLES, decode(b, 1, 0));
  }
  close_base(b);
}

int main(int argc, char **argv) {
  bench_t b = {.api = tinker__engine_cpu()};
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: bench_engine DEMO_MODEL_FOLDER [THREADS]\n");
    return 2;
  }
  tinker__mem_init(&b.mem, NULL, 0);
  b.threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
  open_base(&b, argv[1], "tiny-kjv");
  train(&b, 8, "bf16");
  close_base(&b);
  wide(&b, TINKER__DTYPE_F32);
  wide(&b, TINKER__DTYPE_BF16);
  return 0;
}
