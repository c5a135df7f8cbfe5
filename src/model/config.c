/* config: see config.h. The object is read once into a table of raw values of
 * the keys we know; typed getters then take them one by one, so that every
 * error can name key and value. Pure, any thread. */
#include "model/config.h"

#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "base/json_table.h"
#include "model/fields.h"

#define MAX_SIZE (1u << 24)

enum {
  K_MODEL_TYPE,
  K_ARCHITECTURES,
  K_VOCAB,
  K_HIDDEN,
  K_LAYERS,
  K_HEADS,
  K_KV_HEADS,
  K_HEAD_DIM,
  K_INTERMEDIATE,
  K_POSITIONS,
  K_EPS,
  K_THETA,
  K_ROPE_SCALING,
  K_ROPE_PARAMETERS,
  K_TIED,
  K_ATTENTION_BIAS,
  K_MLP_BIAS,
  K_ACT,
  K_USE_SLIDING,
  K_SLIDING,
  K_LAYER_TYPES,
  K_DROPOUT,
  K_QUANTIZATION,
  K_PARTIAL_ROTARY,
  K_AUTO_MAP,
  K_EOS,
  K_COUNT
};

static const char *const config_keys[K_COUNT] = {
    [K_MODEL_TYPE] = "model_type",
    [K_ARCHITECTURES] = "architectures",
    [K_VOCAB] = "vocab_size",
    [K_HIDDEN] = "hidden_size",
    [K_LAYERS] = "num_hidden_layers",
    [K_HEADS] = "num_attention_heads",
    [K_KV_HEADS] = "num_key_value_heads",
    [K_HEAD_DIM] = "head_dim",
    [K_INTERMEDIATE] = "intermediate_size",
    [K_POSITIONS] = "max_position_embeddings",
    [K_EPS] = "rms_norm_eps",
    [K_THETA] = "rope_theta",
    [K_ROPE_SCALING] = "rope_scaling",
    [K_ROPE_PARAMETERS] = "rope_parameters",
    [K_TIED] = "tie_word_embeddings",
    [K_ATTENTION_BIAS] = "attention_bias",
    [K_MLP_BIAS] = "mlp_bias",
    [K_ACT] = "hidden_act",
    [K_USE_SLIDING] = "use_sliding_window",
    [K_SLIDING] = "sliding_window",
    [K_LAYER_TYPES] = "layer_types",
    [K_DROPOUT] = "attention_dropout",
    [K_QUANTIZATION] = "quantization_config",
    [K_PARTIAL_ROTARY] = "partial_rotary_factor",
    [K_AUTO_MAP] = "auto_map",
    [K_EOS] = "eos_token_id",
};

enum {
  R_TYPE,
  R_OLD_TYPE,
  R_THETA,
  R_FACTOR,
  R_LOW,
  R_HIGH,
  R_ORIGINAL,
  R_PARTIAL,
  R_COUNT
};

static const char *const rope_keys[R_COUNT] = {
    [R_TYPE] = "rope_type",
    [R_OLD_TYPE] = "type",
    [R_THETA] = "rope_theta",
    [R_FACTOR] = "factor",
    [R_LOW] = "low_freq_factor",
    [R_HIGH] = "high_freq_factor",
    [R_ORIGINAL] = "original_max_position_embeddings",
    [R_PARTIAL] = "partial_rotary_factor",
};

/* A model_type, and what it says where its config.json is silent. */
typedef struct arch_s {
  const char *name;
  const char *class_name;
  tinker__arch_t arch;
  uint32_t positions;
  uint32_t head_dim; /* 0 = hidden_size / num_attention_heads */
  uint32_t window;   /* of a file without sliding_window; 0 = none */
  bool qk_norm;
} arch_t;

/* The first of each architecture is in the order of tinker__arch_t. */
static const arch_t archs[] = {
    {"llama", "LlamaForCausalLM", TINKER__ARCH_LLAMA, 2048, 0, 0, false},
    {"qwen2", "Qwen2ForCausalLM", TINKER__ARCH_QWEN2, 32768, 0, 0, false},
    {"qwen3", "Qwen3ForCausalLM", TINKER__ARCH_QWEN3, 32768, 128, 0, true},
    /* A llama with a window. */
    {"mistral", "MistralForCausalLM", TINKER__ARCH_LLAMA, 131072, 0, 4096,
     false},
};

const char *tinker__arch_name(tinker__arch_t arch) {
  return archs[arch].name;
}

static int read_arch(tinker__fields_t *f, tinker__model_config_t *c,
                     const arch_t **out) {
  char type[32] = "";
  char class_name[64] = "";
  tinker__field_text(f, K_MODEL_TYPE, type, sizeof type, NULL);
  tinker__field_first_text(f, K_ARCHITECTURES, class_name, sizeof class_name);
  if (f->rc) return f->rc;
  for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
    if (strcmp(type, archs[i].name) != 0) continue;
    *out = &archs[i];
    c->arch = archs[i].arch;
    if (class_name[0] && strcmp(class_name, archs[i].class_name) != 0) {
      return tinker__field_refuse(f, K_ARCHITECTURES, archs[i].class_name);
    }
    return 0;
  }
  return tinker__field_refuse(f, K_MODEL_TYPE,
                              "llama, mistral, qwen2 or qwen3");
}

static int read_sizes(tinker__fields_t *f, const arch_t *a,
                      tinker__model_config_t *c) {
  tinker__field_u32(f, K_VOCAB, 1, MAX_SIZE, NULL, &c->vocab_size);
  tinker__field_u32(f, K_HIDDEN, 1, MAX_SIZE, NULL, &c->hidden_size);
  tinker__field_u32(f, K_LAYERS, 1, 4096, NULL, &c->num_layers);
  tinker__field_u32(f, K_HEADS, 1, 65536, NULL, &c->num_heads);
  tinker__field_u32(f, K_KV_HEADS, 1, 65536, &c->num_heads, &c->num_kv_heads);
  tinker__field_u32(f, K_INTERMEDIATE, 1, MAX_SIZE, NULL,
                    &c->intermediate_size);
  tinker__field_u32(f, K_POSITIONS, 1, MAX_SIZE, &a->positions,
                    &c->max_positions);
  if (f->rc) return f->rc;
  if (c->num_heads % c->num_kv_heads != 0) {
    return tinker__field_bad(f, K_KV_HEADS, "a divisor of num_attention_heads");
  }
  uint32_t head_dim = a->head_dim;
  if (head_dim == 0 && !tinker__field_has(f, K_HEAD_DIM)) {
    if (c->hidden_size % c->num_heads != 0) {
      return tinker__field_bad(f, K_HIDDEN,
                               "a multiple of num_attention_heads");
    }
    head_dim = c->hidden_size / c->num_heads;
  }
  tinker__field_u32(f, K_HEAD_DIM, 2, 65536, &head_dim, &c->head_dim);
  if (f->rc == 0 && c->head_dim % 2 != 0) {
    return tinker__field_bad(f, K_HEAD_DIM, "an even number");
  }
  return f->rc;
}

static int read_llama3(tinker__fields_t *f, tinker__rope_t *r) {
  r->kind = TINKER__ROPE_LLAMA3;
  tinker__field_f64(f, R_FACTOR, 1, 1e6, NULL, &r->factor);
  tinker__field_f64(f, R_LOW, 1e-6, 1e6, NULL, &r->low_freq_factor);
  tinker__field_f64(f, R_HIGH, 1e-6, 1e6, NULL, &r->high_freq_factor);
  tinker__field_u32(f, R_ORIGINAL, 1, MAX_SIZE, NULL,
                    &r->original_max_positions);
  if (f->rc == 0 && r->high_freq_factor <= r->low_freq_factor) {
    return tinker__field_bad(f, R_HIGH, "more than low_freq_factor");
  }
  return f->rc;
}

/* `raw` is the object of rope_scaling or of rope_parameters. */
static int read_rope_object(tinker__fields_t *top, int key, tinker__rope_t *r) {
  tinker__fields_t f;
  tinker__str_t raw[R_COUNT];
  char type[32] = "";
  const double one = 1, theta = r->theta;
  double partial = 1;
  tinker__fields_sub(&f, top, key, rope_keys, raw, R_COUNT);
  int type_key = tinker__field_has(&f, R_TYPE) ? R_TYPE : R_OLD_TYPE;
  tinker__field_text(&f, type_key, type, sizeof type, "default");
  tinker__field_f64(&f, R_THETA, 1, 1e12, &theta, &r->theta);
  tinker__field_f64(&f, R_PARTIAL, 0, 1, &one, &partial);
  if (f.rc == 0 && partial != 1) tinker__field_refuse(&f, R_PARTIAL, "1");
  if (f.rc == 0 && strcmp(type, "llama3") == 0) {
    read_llama3(&f, r);
  } else if (f.rc == 0 && strcmp(type, "default") != 0) {
    tinker__field_refuse(&f, type_key, "default or llama3");
  }
  top->rc = f.rc;
  return f.rc;
}

static int read_rope(tinker__fields_t *f, tinker__model_config_t *c) {
  const double ten_thousand = 10000, one = 1;
  double partial = 1;
  tinker__field_f64(f, K_THETA, 1, 1e12, &ten_thousand, &c->rope.theta);
  tinker__field_f64(f, K_PARTIAL_ROTARY, 0, 1, &one, &partial);
  if (f->rc) return f->rc;
  if (partial != 1) return tinker__field_refuse(f, K_PARTIAL_ROTARY, "1");
  bool scaling = tinker__field_has(f, K_ROPE_SCALING);
  if (tinker__field_has(f, K_ROPE_PARAMETERS)) {
    if (scaling) {
      return tinker__field_bad(f, K_ROPE_SCALING,
                               "absent beside rope_parameters");
    }
    return read_rope_object(f, K_ROPE_PARAMETERS, &c->rope);
  }
  return scaling ? read_rope_object(f, K_ROPE_SCALING, &c->rope) : 0;
}

/* Attention looks back over the whole context, so a window must be as long as
 * that. Qwen files name one that use_sliding_window leaves off. */
static int check_window(tinker__fields_t *f, const arch_t *a,
                        const tinker__model_config_t *c) {
  char want[64];
  bool used = false;
  bool silent = !tinker__field_has(f, K_SLIDING) &&
                !tinker__json_is_null(f->raw[K_SLIDING]);
  uint32_t window = 0;
  tinker__field_bool(f, K_USE_SLIDING, false, &used);
  if (f->rc) return f->rc;
  if (c->arch != TINKER__ARCH_LLAMA) {
    return used ? tinker__field_refuse(f, K_USE_SLIDING, "false") : 0;
  }
  if (silent ? a->window == 0 : !tinker__field_has(f, K_SLIDING)) return 0;
  tinker__field_u32(f, K_SLIDING, 1, UINT32_MAX, &a->window, &window);
  if (f->rc || window >= c->max_positions) return f->rc;
  tinker__why(want, sizeof want, 0, "null, or at least %u: the whole context",
              c->max_positions);
  return tinker__field_refuse(f, K_SLIDING, want);
}

static int read_switches(tinker__fields_t *f, const arch_t *a,
                         tinker__model_config_t *c) {
  bool bias = false, mlp_bias = false;
  char act[32];
  double dropout;
  const double eps = 1e-6, zero = 0;
  tinker__field_bool(f, K_TIED, false, &c->tied);
  tinker__field_bool(f, K_ATTENTION_BIAS, false, &bias);
  tinker__field_bool(f, K_MLP_BIAS, false, &mlp_bias);
  tinker__field_text(f, K_ACT, act, sizeof act, "silu");
  tinker__field_f64(f, K_EPS, 1e-30, 1, &eps, &c->rms_norm_eps);
  tinker__field_f64(f, K_DROPOUT, 0, 1, &zero, &dropout);
  if (f->rc) return f->rc;
  if (mlp_bias) return tinker__field_refuse(f, K_MLP_BIAS, "false");
  if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0) {
    return tinker__field_refuse(f, K_ACT, "silu (or swish, its other name)");
  }
  if (dropout != 0) return tinker__field_refuse(f, K_DROPOUT, "0");
  if (tinker__field_has(f, K_QUANTIZATION)) {
    return tinker__field_refuse(f, K_QUANTIZATION, "no quantisation");
  }
  if (tinker__field_has(f, K_AUTO_MAP)) {
    return tinker__field_refuse(f, K_AUTO_MAP, "no code of its own");
  }
  if (check_window(f, a, c) != 0) return f->rc;
  c->qkv_bias = c->arch == TINKER__ARCH_QWEN2 || bias;
  c->o_bias = c->arch != TINKER__ARCH_QWEN2 && bias;
  c->qk_norm = a->qk_norm;
  return tinker__field_all_text(f, K_LAYER_TYPES, "full_attention");
}

static int read_eos(tinker__fields_t *f, int key, tinker__model_config_t *c) {
  if (tinker__field_has(f, key)) {
    tinker__field_ids(f, key, c->vocab_size, c->eos, TINKER__CONFIG_MAX_EOS,
                      &c->num_eos);
  }
  return f->rc;
}

int tinker__config_parse(tinker__model_config_t *out, tinker__mem_t *mem,
                         tinker__str_t text, char *why, size_t why_len) {
  tinker__fields_t f;
  tinker__str_t raw[K_COUNT];
  tinker__model_config_t c;
  const arch_t *a = NULL;
  memset(&c, 0, sizeof c);
  tinker__fields_init(&f, mem, "config.json", why, why_len);
  int rc = tinker__fields_file(&f, text, TINKER__CONFIG_MAX_BYTES, config_keys,
                               raw, K_COUNT, false);
  if (rc == 0) rc = read_arch(&f, &c, &a);
  if (rc == 0) rc = read_sizes(&f, a, &c);
  if (rc == 0) rc = read_rope(&f, &c);
  if (rc == 0) rc = read_switches(&f, a, &c);
  if (rc == 0) rc = read_eos(&f, K_EOS, &c);
  if (rc == 0) *out = c;
  return rc;
}

int tinker__config_parse_generation(tinker__model_config_t *config,
                                    tinker__mem_t *mem, tinker__str_t text,
                                    char *why, size_t why_len) {
  static const char *const keys[1] = {"eos_token_id"};
  tinker__fields_t f;
  tinker__str_t raw[1];
  tinker__model_config_t c = *config;
  tinker__fields_init(&f, mem, "generation_config.json", why, why_len);
  int rc = tinker__fields_file(&f, text, TINKER__CONFIG_MAX_BYTES, keys, raw, 1,
                               false);
  if (rc == 0) rc = read_eos(&f, 0, &c);
  if (rc == 0) *config = c;
  return rc;
}
