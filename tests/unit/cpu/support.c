/* support: see support.h. */
#include "cpu/support.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json_read.h"
#include "cpu/train.h"
#include "model/safetensors.h"

const tinker__eng_loss_config_t cross_entropy = {
    .kind = TINKER__LOSS_CROSS_ENTROPY,
};
const shape_t tiny_shape = {
    .arch = "Qwen3ForCausalLM",
    .vocab = 61,
    .hidden = 24,
    .layers = 2,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 10,
    .inter = 36,
    .context = 400,
    .tied = true,
    .dtype = "F32",
};

/* Of the rig that was opened last. */
static const tinker__engine_api_t *rig_api;

void rig_open(rig_t *r, const char *dir, unsigned threads,
              const char *kernels) {
  rig_open_engine(r, tinker__cpu_engine(), dir, threads, kernels);
}

void rig_open_engine(rig_t *r, const tinker__engine_api_t *api, const char *dir,
                     unsigned threads, const char *kernels) {
  char why[256] = "";
  tinker__mem_init(&r->mem, NULL, 0);
  r->api = rig_api = api;
  tinker__engine_options_t o = {
      .mem = tinker__mem_allocator(&r->mem),
      .threads = threads,
      .kernels = kernels,
  };
  cr_assert_eq(r->api->open(&r->engine, &o, why, sizeof why), 0, "%s", why);
  cr_assert_eq(tinker__eng_backend_load(r->api, r->engine, dir, &r->base, why,
                                        sizeof why),
               0, "%s", why);
}

void rig_close(rig_t *r) {
  r->api->base_release(r->base);
  r->api->close(r->engine);
  cr_assert_eq(atomic_load(&r->mem.live_blocks), 0, "%zu blocks left",
               (size_t)atomic_load(&r->mem.live_blocks));
}

const char *golden_dir(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, "%s/golden/%s", TINKER_TEST_DIR, name);
  return path;
}

static void *need(void *p) {
  cr_assert_not_null(p);
  return p;
}

static size_t read_numbers(tinker__json_t *j, double *out, size_t max) {
  size_t n = 0;
  cr_assert(tinker__json_array(j));
  while (tinker__json_more(j)) {
    cr_assert_lt(n, max);
    cr_assert(tinker__json_f64(j, &out[n++]));
  }
  return n;
}

static void sample_alloc(sample_t *s, size_t n, size_t k) {
  *s = (sample_t){.n = n, .k = k};
  s->tokens = need(calloc(n, sizeof *s->tokens));
  s->targets = need(calloc(n * k, sizeof *s->targets));
  s->weights = need(calloc(n * k, sizeof(float)));
  s->q = need(calloc(n, sizeof(float)));
  s->advantages = need(calloc(n, sizeof(float)));
  s->mask = need(calloc(n, sizeof(float)));
  s->logprobs = need(calloc(n * k, sizeof(float)));
  s->loss = need(calloc(n * k, sizeof(float)));
  s->base_want = need(calloc(n, sizeof(double)));
  s->adapter_want = need(calloc(n, sizeof(double)));
  s->loss_want = need(calloc(n, sizeof(double)));
}

void samples_free(sample_t *s, size_t n) {
  for (size_t i = 0; i < n; i++) {
    free(s[i].tokens);
    free(s[i].targets);
    free(s[i].weights);
    free(s[i].q);
    free(s[i].advantages);
    free(s[i].mask);
    free(s[i].logprobs);
    free(s[i].loss);
    free(s[i].base_want);
    free(s[i].adapter_want);
    free(s[i].loss_want);
  }
}

static void golden_field(sample_t *s, tinker__str_t key, const double *v,
                         size_t n) {
  if (!s->tokens) sample_alloc(s, n, 1);
  cr_assert_eq(s->n, n);
  for (size_t i = 0; i < n; i++) {
    if (tinker__str_eqs(key, "tokens")) s->tokens[i] = (int32_t)v[i];
    if (tinker__str_eqs(key, "targets")) s->targets[i] = (int64_t)v[i];
    if (tinker__str_eqs(key, "weights")) s->weights[i] = (float)v[i];
    if (tinker__str_eqs(key, "logprobs")) s->q[i] = (float)v[i];
    if (tinker__str_eqs(key, "advantages")) s->advantages[i] = (float)v[i];
    if (tinker__str_eqs(key, "sequence_ratio_mask")) s->mask[i] = (float)v[i];
    if (tinker__str_eqs(key, "elementwise_loss")) s->loss_want[i] = v[i];
    if (tinker__str_eqs(key, "base_logprobs")) s->base_want[i] = v[i];
    if (tinker__str_eqs(key, "adapter_logprobs")) s->adapter_want[i] = v[i];
  }
}

static void golden_one(tinker__json_t *j, sample_t *s) {
  tinker__str_t key;
  double v[512];
  memset(s, 0, sizeof *s);
  cr_assert(tinker__json_object(j));
  while (tinker__json_key(j, &key)) {
    if (tinker__json_peek(j) == TINKER__JSON_ARRAY) {
      golden_field(s, key, v, read_numbers(j, v, 512));
    } else {
      tinker__json_skip(j);
    }
  }
}

size_t golden_data(const char *model, sample_t out[GOLDEN_DATA_MAX]) {
  tinker__mem_t mem;
  tinker__buf_t buf;
  tinker__json_t j;
  tinker__str_t key;
  char path[600], why[256];
  size_t n = 0;
  snprintf(path, sizeof path, "%s/logprobs.json", golden_dir(model));
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1u << 20);
  cr_assert_eq(
      tinker__file_read(tinker__world_real(), path, &buf, why, sizeof why), 0,
      "%s", why);
  tinker__json_init(&j, &mem, buf.data, buf.len);
  cr_assert(tinker__json_object(&j));
  while (tinker__json_key(&j, &key)) {
    if (!tinker__str_eqs(key, "data")) {
      tinker__json_skip(&j);
      continue;
    }
    cr_assert(tinker__json_array(&j));
    while (tinker__json_more(&j)) {
      cr_assert_lt(n, GOLDEN_DATA_MAX);
      golden_one(&j, &out[n++]);
    }
  }
  cr_assert_eq(tinker__json_end(&j), 0);
  tinker__json_done(&j);
  tinker__buf_free(&buf);
  return n;
}

/* Uniform in [0, 1). */
static double uniform(uint64_t seed, uint64_t i) {
  uint32_t r[4];
  tinker__cpu_philox(seed, 7, i, r);
  return r[0] * 0x1p-32;
}

void sample_random(sample_t *s, size_t n, size_t k, size_t vocab,
                   uint64_t seed) {
  sample_alloc(s, n, k);
  for (size_t i = 0; i < n; i++) {
    s->tokens[i] = (int32_t)(uniform(seed, i) * (double)vocab);
    s->q[i] = (float)(-4.5 + uniform(seed, 1000 + i));
    s->advantages[i] = i % 5 == 4 ? 0 : (float)uniform(seed, 2000 + i) - 0.4f;
    s->mask[i] = i >= n / 3 && i % 7 != 6 ? 1 : 0;
  }
  /* The shortest have one token, and that counts. */
  s->mask[n / 3] = 1;
  for (size_t i = 0; i < n * k; i++) {
    s->targets[i] = (int64_t)(uniform(seed, 3000 + i) * (double)vocab);
    s->weights[i] = i % 5 == 4 ? 0 : (float)uniform(seed, 9000 + i);
  }
}

tinker__eng_train_datum_t sample_datum(const sample_t *s,
                                       tinker__eng_loss_kind_t kind) {
  bool ce = kind == TINKER__LOSS_CROSS_ENTROPY;
  bool gspo = kind == TINKER__LOSS_GSPO;
  return (tinker__eng_train_datum_t){
      .tokens = s->tokens,
      .n = s->n,
      .targets = s->targets,
      .k = s->k,
      .weights = ce ? s->weights : NULL,
      .logprobs = ce ? NULL : s->q,
      .advantages = ce ? NULL : s->advantages,
      .ratio_mask = gspo ? s->mask : NULL,
      .out_logprobs = s->logprobs,
      .out_loss = s->loss,
  };
}

double run_pass(tinker__eng_train_t *t, sample_t *s, size_t n,
                const tinker__eng_loss_config_t *loss, bool forward_only) {
  const tinker__engine_api_t *api = rig_api;
  tinker__eng_train_datum_t *data = need(calloc(n + 1, sizeof *data));
  tinker__eng_pass_t *p = NULL;
  char why[256] = "";
  int rc;
  for (size_t i = 0; i < n; i++) data[i] = sample_datum(&s[i], loss->kind);
  rc = api->pass_begin(t, data, n, loss, forward_only, &p, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  do {
    rc = api->pass_step(p, NULL, why, sizeof why);
  } while (rc == 1);
  cr_assert_eq(rc, 0, "%s", why);
  double total = api->pass_loss(p);
  api->pass_end(p);
  free(data);
  return total;
}

void move_weights(tinker__eng_train_t *t, const float *w,
                  const float *direction, float h) {
  tinker__eng_adapter_t *a = NULL;
  cr_assert_eq(tinker__cpu_adapter_new(&a, t->lora), 0);
  for (size_t i = 0; i < t->lora->floats; i++) {
    a->w[i] = w[i] + h * direction[i];
  }
  tinker__cpu_adapter_release(t->current);
  t->current = a;
}

tinker__eng_train_t *random_train(rig_t *r, uint32_t rank, uint64_t seed) {
  tinker__eng_lora_config_t c = {
      .rank = rank,
      .seed = seed,
      .train_attn = true,
      .train_mlp = true,
      .train_unembed = true,
  };
  tinker__eng_train_t *t = NULL;
  char why[256] = "";
  cr_assert_eq(r->api->train_new(r->base, &c, &t, why, sizeof why), 0, "%s",
               why);
  float *noise = need(calloc(t->lora->floats, sizeof *noise));
  for (size_t i = 0; i < t->lora->num_targets; i++) {
    const tinker__cpu_target_t *x = &t->lora->targets[i];
    for (size_t j = 0; j < x->out * rank; j++) {
      noise[x->b + j] = (float)uniform(seed + i, j) - 0.5f;
    }
  }
  float *w = need(malloc(t->lora->floats * sizeof *w));
  memcpy(w, t->current->w, t->lora->floats * sizeof *w);
  move_weights(t, w, noise, 0.2f * (float)rank / 32);
  free(w);
  free(noise);
  return t;
}

void temp_dir(char out[256]) {
  const char *tmp = getenv("TMPDIR");
  snprintf(out, 256, "%s/tinker-cpu-XXXXXX", tmp ? tmp : "/tmp");
  cr_assert_not_null(mkdtemp(out));
}

void temp_remove(const char *dir) {
  char path[600];
  DIR *d = opendir(dir);
  cr_assert_not_null(d);
  for (struct dirent *e; (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    cr_assert_eq(unlink(path), 0);
  }
  closedir(d);
  cr_assert_eq(rmdir(dir), 0);
}

char *slurp(const char *dir, const char *name, size_t *len) {
  char path[300];
  char *text = malloc(1u << 20);
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  cr_assert(f && text);
  *len = fread(text, 1, (1u << 20) - 1, f);
  text[*len] = '\0';
  fclose(f);
  return text;
}

void spew(const char *dir, const char *name, const char *data, size_t len) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  cr_assert_not_null(f);
  cr_assert_eq(fwrite(data, 1, len, f), len);
  cr_assert_eq(fclose(f), 0);
}

uint64_t hash_bytes(uint64_t h, const void *data, size_t len) {
  const unsigned char *p = data;
  for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * 0x100000001b3u;
  return h;
}

/* --- Random models ---------------------------------------------------- */

typedef struct {
  const shape_t *shape;
  tinker__tensor_t tensors[1024];
  char names[1024][64];
  size_t n;
} model_t;

static void add(model_t *m, const char *name, uint64_t rows, uint64_t cols) {
  bool f32 = strcmp(m->shape->dtype, "F32") == 0;
  bool norm = cols == 0;
  size_t count = (size_t)(rows * (cols ? cols : 1));
  float *v = need(malloc(count * sizeof *v));
  uint16_t *h = (uint16_t *)v;
  double width = norm ? 0.2 : 1.7 / sqrt((double)cols);
  cr_assert_lt(m->n, 1024);
  snprintf(m->names[m->n], sizeof m->names[0], "%s", name);
  for (size_t i = 0; i < count; i++) {
    double u = (uniform(tinker__cpu_name_hash(name), i) - 0.5) * 2 * width;
    float x = (float)(norm ? 1 + u : u);
    /* In place from the front: the half is never ahead of the float. */
    if (f32) v[i] = x;
    if (!f32) h[i] = tinker__cpu_f32_to_bf16(x);
  }
  m->tensors[m->n] = (tinker__tensor_t){
      .name = tinker__str(m->names[m->n]),
      .dtype = f32 ? TINKER__WEIGHT_F32 : TINKER__WEIGHT_BF16,
      .rank = norm ? 1 : 2,
      .shape = {rows, cols},
      .data = v,
  };
  m->n++;
}

static void add_layer(model_t *m, unsigned layer) {
  const shape_t *s = m->shape;
  unsigned q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  bool qwen2 = strncmp(s->arch, "Qwen2", 5) == 0;
  const struct {
    const char *name;
    unsigned rows, cols;
    bool on;
  } all[] = {{"self_attn.q_proj.weight", q, s->hidden, true},
             {"self_attn.k_proj.weight", kv, s->hidden, true},
             {"self_attn.v_proj.weight", kv, s->hidden, true},
             {"self_attn.o_proj.weight", s->hidden, q, true},
             {"self_attn.q_proj.bias", q, 0, qwen2 || s->biases},
             {"self_attn.k_proj.bias", kv, 0, qwen2 || s->biases},
             {"self_attn.v_proj.bias", kv, 0, qwen2 || s->biases},
             {"self_attn.o_proj.bias", s->hidden, 0, s->biases},
             {"self_attn.q_norm.weight", s->head_dim, 0, s->arch[4] == '3'},
             {"self_attn.k_norm.weight", s->head_dim, 0, s->arch[4] == '3'},
             {"mlp.gate_proj.weight", s->inter, s->hidden, true},
             {"mlp.up_proj.weight", s->inter, s->hidden, true},
             {"mlp.down_proj.weight", s->hidden, s->inter, true},
             {"input_layernorm.weight", s->hidden, 0, true},
             {"post_attention_layernorm.weight", s->hidden, 0, true}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    char name[64];
    snprintf(name, sizeof name, "model.layers.%u.%s", layer, all[i].name);
    if (all[i].on) add(m, name, all[i].rows, all[i].cols);
  }
}

static void write_config(const char *dir, const shape_t *s) {
  char path[300];
  const char *type = strncmp(s->arch, "Llama", 5) == 0   ? "llama"
                     : strncmp(s->arch, "Qwen2", 5) == 0 ? "qwen2"
                                                         : "qwen3";
  snprintf(path, sizeof path, "%s/config.json", dir);
  FILE *f = need(fopen(path, "w"));
  fprintf(
      f,
      "{\"architectures\":[\"%s\"],\"model_type\":\"%s\","
      "\"vocab_size\":%u,\"hidden_size\":%u,\"num_hidden_layers\":%u,"
      "\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
      "\"head_dim\":%u,\"intermediate_size\":%u,"
      "\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-6,"
      "\"rope_theta\":10000.0,\"hidden_act\":\"silu\","
      "\"attention_bias\":%s,\"tie_word_embeddings\":%s,\"eos_token_id\":0}",
      s->arch, type, s->vocab, s->hidden, s->layers, s->heads, s->kv_heads,
      s->head_dim, s->inter, s->context, s->biases ? "true" : "false",
      s->tied ? "true" : "false");
  cr_assert_eq(fclose(f), 0);
}

void write_model(const char *dir, const shape_t *shape) {
  model_t *m = need(calloc(1, sizeof *m));
  tinker__mem_t mem;
  tinker__buf_t buf;
  char path[300], why[256] = "";
  m->shape = shape;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, (size_t)1 << 31);
  add(m, "model.embed_tokens.weight", shape->vocab, shape->hidden);
  for (unsigned i = 0; i < shape->layers; i++) add_layer(m, i);
  add(m, "model.norm.weight", shape->hidden, 0);
  if (!shape->tied) add(m, "lm_head.weight", shape->vocab, shape->hidden);
  cr_assert_eq(tinker__safetensors_write(&buf, &mem, m->tensors, m->n, NULL, 0,
                                         why, sizeof why),
               0, "%s", why);
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  FILE *f = need(fopen(path, "wb"));
  cr_assert_eq(fwrite(buf.data, 1, buf.len, f), buf.len);
  cr_assert_eq(fclose(f), 0);
  write_config(dir, shape);
  for (size_t i = 0; i < m->n; i++) free((void *)(uintptr_t)m->tensors[i].data);
  tinker__buf_free(&buf);
  free(m);
}

void tiny_open(tiny_t *b, const shape_t *shape) {
  temp_dir(b->model);
  temp_dir(b->dir);
  write_model(b->model, shape);
  rig_open(&b->r, b->model, 2, NULL);
  for (size_t i = 0; i < 2; i++) {
    sample_random(&b->s[i], 12 + i, 1, shape->vocab, 80 + i);
  }
}

void tiny_close(tiny_t *b) {
  samples_free(b->s, 2);
  rig_close(&b->r);
  temp_remove(b->model);
  temp_remove(b->dir);
}
