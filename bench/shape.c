/* shape: see shape.h. All matrices hold the start of one block of noise: what
 * a weight is makes no product faster. */
#include "shape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/kernels/kernels.h"

#define MAX_TENSORS 512
#define CONTEXT 1024u

static const shape_t shapes[] = {
    {"qwen2-0.5b", "Qwen2ForCausalLM", "qwen2", 896, 4864, 14, 2, 64, 151936,
     24, true, false},
    {"qwen3-0.6b", "Qwen3ForCausalLM", "qwen3", 1024, 3072, 16, 8, 128, 151936,
     28, false, true},
};

void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("bench_engine: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

void *need(void *p) {
  if (!p) die("out of memory");
  return p;
}

const shape_t *shape_named(const char *name) {
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    if (strcmp(shapes[i].name, name) == 0) return &shapes[i];
  }
  return NULL;
}

typedef struct {
  tinker__tensor_t tensors[MAX_TENSORS];
  char names[MAX_TENSORS][64];
  size_t n;
  tinker__weight_type_t dtype;
  const void *noise, *ones; /* of the largest tensor of each kind */
} model_t;

/* cols 0 = a vector; layer < 0 = outside the layers. */
static void add(model_t *w, int layer, const char *name, unsigned rows,
                unsigned cols) {
  if (w->n == MAX_TENSORS) die("too many tensors");
  char *full = w->names[w->n];
  if (layer >= 0) {
    snprintf(full, sizeof w->names[0], "model.layers.%d.%s", layer, name);
  } else {
    snprintf(full, sizeof w->names[0], "model.%s", name);
  }
  w->tensors[w->n++] = (tinker__tensor_t){
      .name = tinker__str(full),
      .dtype = w->dtype,
      .rank = cols ? 2 : 1,
      .shape = {rows, cols},
      .data = cols ? w->noise : w->ones,
  };
}

static void add_layer(model_t *w, const shape_t *s, int i) {
  unsigned q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  add(w, i, "self_attn.q_proj.weight", q, s->hidden);
  add(w, i, "self_attn.k_proj.weight", kv, s->hidden);
  add(w, i, "self_attn.v_proj.weight", kv, s->hidden);
  add(w, i, "self_attn.o_proj.weight", s->hidden, q);
  add(w, i, "mlp.gate_proj.weight", s->inter, s->hidden);
  add(w, i, "mlp.up_proj.weight", s->inter, s->hidden);
  add(w, i, "mlp.down_proj.weight", s->hidden, s->inter);
  add(w, i, "input_layernorm.weight", s->hidden, 0);
  add(w, i, "post_attention_layernorm.weight", s->hidden, 0);
  if (s->bias) {
    add(w, i, "self_attn.q_proj.bias", q, 0);
    add(w, i, "self_attn.k_proj.bias", kv, 0);
    add(w, i, "self_attn.v_proj.bias", kv, 0);
  }
  if (s->qk_norm) {
    add(w, i, "self_attn.q_norm.weight", s->head_dim, 0);
    add(w, i, "self_attn.k_norm.weight", s->head_dim, 0);
  }
}

static void write_file(const char *dir, const char *name, const void *data,
                       size_t len) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0) {
    die("%s can't be written", path);
  }
}

static void write_config(const shape_t *s, const char *dir) {
  char text[800];
  int n =
      snprintf(text, sizeof text,
               "{\"architectures\":[\"%s\"],\"model_type\":\"%s\","
               "\"vocab_size\":%u,\"hidden_size\":%u,\"num_hidden_layers\":%u,"
               "\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
               "\"head_dim\":%u,\"intermediate_size\":%u,"
               "\"max_position_embeddings\":%u,\"rms_norm_eps\":1e-6,"
               "\"rope_theta\":1000000.0,\"hidden_act\":\"silu\","
               "\"tie_word_embeddings\":true,\"eos_token_id\":0}",
               s->arch, s->type, s->vocab, s->hidden, s->layers, s->heads,
               s->kv_heads, s->head_dim, s->inter, CONTEXT);
  write_file(dir, "config.json", text, (size_t)n);
}

/* Uniform around a centre. */
static void *fill(tinker__mem_t *mem, size_t n, tinker__weight_type_t dtype,
                  float centre, float width) {
  size_t size = dtype == TINKER__WEIGHT_F32 ? 4 : 2;
  void *out = need(tinker__mem_array(mem, n, size));
  uint32_t s = 1;
  for (size_t i = 0; i < n; i++) {
    s = s * 1664525u + 1013904223u;
    float x = centre + width * (float)(int32_t)s * 0x1p-31f;
    if (dtype == TINKER__WEIGHT_F32) {
      ((float *)out)[i] = x;
    } else {
      ((uint16_t *)out)[i] = tinker__cpu_f32_to_bf16(x);
    }
  }
  return out;
}

void shape_write(const shape_t *s, tinker__weight_type_t dtype,
                 tinker__mem_t *mem, const char *dir) {
  char why[256];
  void *noise = fill(mem, (size_t)s->vocab * s->hidden, dtype, 0, 0.05f);
  void *ones = fill(mem, (size_t)s->heads * s->head_dim, dtype, 1, 0);
  model_t *w = need(tinker__mem_zalloc(mem, sizeof *w));
  tinker__buf_t buf;
  w->dtype = dtype;
  w->noise = noise;
  w->ones = ones;
  add(w, -1, "embed_tokens.weight", s->vocab, s->hidden);
  add(w, -1, "norm.weight", s->hidden, 0);
  for (unsigned i = 0; i < s->layers; i++) add_layer(w, s, (int)i);
  tinker__buf_init(&buf, mem, (size_t)1 << 31);
  if (tinker__safetensors_write(&buf, mem, w->tensors, w->n, NULL, 0, why,
                                sizeof why) != 0) {
    die("%s", why);
  }
  write_file(dir, "model.safetensors", buf.data, buf.len);
  write_config(s, dir);
  tinker__buf_free(&buf);
  tinker__mem_free(mem, w);
  tinker__mem_free(mem, ones);
  tinker__mem_free(mem, noise);
}

void shape_remove(const char *dir) {
  static const char *const files[] = {"model.safetensors", "config.json"};
  char path[300];
  for (size_t i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, files[i]);
    unlink(path);
  }
  rmdir(dir);
}
