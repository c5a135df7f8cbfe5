/* config.json and generation_config.json: what is read, what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/buf.h"
#include "model/config.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(config, .init = setup, .fini = teardown);

typedef struct pair_s {
  const char *key, *value;
} pair_t;

static const pair_t base[] = {
    {"model_type", "\"llama\""},  {"vocab_size", "128"},
    {"hidden_size", "64"},        {"num_hidden_layers", "2"},
    {"num_attention_heads", "4"}, {"intermediate_size", "96"},
};

/* The base file with one key set (value NULL: taken out). */
static const char *file(tinker__buf_t *b, const char *key, const char *value) {
  bool done = value == NULL;
  tinker__buf_clear(b);
  tinker__buf_addc(b, '{');
  for (size_t i = 0; i < sizeof base / sizeof base[0]; i++) {
    bool here = strcmp(key, base[i].key) == 0;
    if (here && !value) continue;
    done = done || here;
    tinker__buf_addf(b, "%s\"%s\": %s", b->len > 1 ? ", " : "", base[i].key,
                     here ? value : base[i].value);
  }
  if (!done) tinker__buf_addf(b, ", \"%s\": %s", key, value);
  tinker__buf_addc(b, '}');
  return tinker__buf_cstr(b);
}

Test(config, reads_defaults_of_each_architecture) {
  static const struct {
    const char *type;
    uint32_t head_dim;
    bool qkv_bias, qk_norm;
  } rows[] = {{"\"llama\"", 16, false, false},
              {"\"qwen2\"", 16, true, false},
              {"\"qwen3\"", 128, false, true}};
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  for (int i = 0; i < 3; i++) {
    tinker__model_config_t c;
    char why[256] = "";
    file(&b, "model_type", rows[i].type);
    cr_assert_eq(
        tinker__config_parse(&c, &mem, tinker__buf_str(&b), why, sizeof why), 0,
        "%s", why);
    cr_assert_eq(c.arch, (tinker__arch_t)i);
    cr_assert_eq(c.head_dim, rows[i].head_dim);
    cr_assert_eq(c.qkv_bias, rows[i].qkv_bias);
    cr_assert_eq(c.qk_norm, rows[i].qk_norm);
    cr_assert(!c.o_bias && !c.tied);
    cr_assert_eq(c.num_kv_heads, 4);
    cr_assert_eq(c.rms_norm_eps, 1e-6);
    cr_assert_eq(c.rope.theta, 10000);
    cr_assert_eq(c.rope.kind, TINKER__ROPE_PLAIN);
    cr_assert_eq(c.max_positions, i == 0 ? 2048 : 32768);
    cr_assert_eq(c.num_eos, 0);
  }
  tinker__buf_free(&b);
}

#define LLAMA3                                                                 \
  "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "     \
  "\"original_max_position_embeddings\": 8192"

Test(config, reads_rope_in_both_spellings) {
  static const pair_t rows[] = {
      {"rope_scaling", "{\"rope_type\": \"llama3\", " LLAMA3 "}"},
      {"rope_scaling", "{\"type\": \"llama3\", " LLAMA3 "}"},
      {"rope_parameters",
       "{\"rope_type\": \"llama3\", \"rope_theta\": 10000, " LLAMA3 "}"},
  };
  tinker__model_config_t c;
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  for (int i = 0; i < 3; i++) {
    file(&b, rows[i].key, rows[i].value);
    cr_assert_eq(tinker__config_parse(&c, &mem, tinker__buf_str(&b), NULL, 0),
                 0);
    cr_assert_eq(c.rope.kind, TINKER__ROPE_LLAMA3);
    cr_assert_eq(c.rope.theta, 10000);
    cr_assert_eq(c.rope.factor, 8);
    cr_assert_eq(c.rope.low_freq_factor, 1);
    cr_assert_eq(c.rope.high_freq_factor, 4);
    cr_assert_eq(c.rope.original_max_positions, 8192);
  }
  file(&b, "rope_parameters",
       "{\"rope_type\": \"default\", \"rope_theta\": 500000.0}");
  cr_assert_eq(tinker__config_parse(&c, &mem, tinker__buf_str(&b), NULL, 0), 0);
  cr_assert_eq(c.rope.theta, 500000);
  cr_assert_eq(c.rope.kind, TINKER__ROPE_PLAIN);
  tinker__buf_free(&b);
}

#define SIXTEEN_IDS "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"

Test(config, ids_of_generation_config_win) {
  tinker__model_config_t c;
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  file(&b, "eos_token_id", "[7, 9]");
  cr_assert_eq(tinker__config_parse(&c, &mem, tinker__buf_str(&b), NULL, 0), 0);
  cr_assert_eq(c.num_eos, 2);
  cr_assert_eq(c.eos[1], 9);
  cr_assert_eq(
      tinker__config_parse_generation(
          &c, &mem, tinker__str("{\"eos_token_id\": 127, \"x\": 1}"), NULL, 0),
      0);
  cr_assert_eq(c.num_eos, 1);
  cr_assert_eq(c.eos[0], 127);
  cr_assert_eq(
      tinker__config_parse_generation(
          &c, &mem, tinker__str("{\"eos_token_id\": [1, 128]}"), NULL, 0),
      TINKER_EFORMAT);
  cr_assert_eq(c.num_eos, 1, "untouched on failure");
  cr_assert_eq(c.eos[0], 127, "untouched on failure");
  cr_assert_eq(tinker__config_parse_generation(
                   &c, &mem, tinker__str("{\"eos_token_id\": null}"), NULL, 0),
               0);
  cr_assert(c.num_eos == 1 && c.eos[0] == 127, "null names none");
  file(&b, "eos_token_id", "[" SIXTEEN_IDS "]");
  cr_assert_eq(tinker__config_parse(&c, &mem, tinker__buf_str(&b), NULL, 0), 0);
  cr_assert(c.num_eos == 16 && c.eos[15] == 16);
  tinker__buf_free(&b);
}

Test(config, biases_are_of_the_architecture) {
  static const struct {
    const char *type;
    bool qkv, o;
  } rows[] = {{"\"llama\"", true, true},
              {"\"qwen2\"", true, false},
              {"\"qwen3\"", true, true}};
  tinker__buf_t b;
  char value[80];
  tinker__buf_init(&b, &mem, 1 << 16);
  for (int i = 0; i < 3; i++) {
    tinker__model_config_t c;
    snprintf(value, sizeof value, "%s, \"attention_bias\": true", rows[i].type);
    file(&b, "model_type", value);
    cr_assert_eq(tinker__config_parse(&c, &mem, tinker__buf_str(&b), NULL, 0),
                 0);
    cr_expect(c.qkv_bias == rows[i].qkv && c.o_bias == rows[i].o, "%s",
              rows[i].type);
  }
  tinker__buf_free(&b);
}

Test(config, has_a_largest_file) {
  tinker__model_config_t c;
  tinker__buf_t b;
  char why[256] = "";
  tinker__buf_init(&b, &mem, 8u << 20);
  file(&b, "intermediate_size", "16777216");
  while (b.len < TINKER__CONFIG_MAX_BYTES) tinker__buf_addc(&b, ' ');
  cr_assert_eq(b.len, 4u << 20);
  cr_assert_eq(
      tinker__config_parse(&c, &mem, tinker__buf_str(&b), why, sizeof why), 0,
      "%s", why);
  cr_assert_eq(c.intermediate_size, 1u << 24);
  tinker__buf_addc(&b, ' ');
  cr_assert_eq(
      tinker__config_parse(&c, &mem, tinker__buf_str(&b), why, sizeof why),
      TINKER_EOVERFLOW);
  cr_assert_not_null(strstr(why, "4194305 bytes, more than 4194304"), "%s",
                     why);
  tinker__buf_free(&b);
}

Test(config, names_what_it_refuses) {
  static const struct {
    const char *key, *value;
    int code;
    const char *said;
  } rows[] = {
      {"model_type", "\"gemma2\"", TINKER_ENOTSUP, "model_type is \"gemma2\""},
      {"model_type", "\"mistral\"", TINKER_ENOTSUP,
       "sliding_window is missing: supported is null, or at least 131072"},
      {"model_type", "\"mistral\", \"sliding_window\": 4096", TINKER_ENOTSUP,
       "sliding_window is 4096"},
      {"model_type", "\"mistral\", \"sliding_window\": 0", TINKER_EFORMAT,
       "sliding_window is 0"},
      {"model_type", "\"mistral\", \"architectures\": [\"LlamaForCausalLM\"]",
       TINKER_ENOTSUP, "MistralForCausalLM"},
      {"model_type", "\"qwen2\", \"use_sliding_window\": true", TINKER_ENOTSUP,
       "use_sliding_window"},
      {"model_type", NULL, TINKER_EFORMAT, "model_type is missing"},
      {"architectures", "[\"LlamaForTokenClassification\"]", TINKER_ENOTSUP,
       "architectures"},
      {"vocab_size", NULL, TINKER_EFORMAT, "vocab_size"},
      {"vocab_size", "0", TINKER_EFORMAT, "vocab_size is 0"},
      {"vocab_size", "1e3", TINKER_EFORMAT, "vocab_size"},
      {"vocab_size", "99999999", TINKER_EFORMAT, "vocab_size"},
      {"intermediate_size", "16777217", TINKER_EFORMAT, "from 1 to 16777216"},
      {"hidden_size", "-1", TINKER_EFORMAT, "hidden_size"},
      {"hidden_size", "66", TINKER_EFORMAT, "hidden_size"},
      {"num_key_value_heads", "3", TINKER_EFORMAT, "num_key_value_heads"},
      {"head_dim", "15", TINKER_EFORMAT, "head_dim is 15"},
      {"hidden_act", "\"gelu\"", TINKER_ENOTSUP, "hidden_act is \"gelu\""},
      {"attention_dropout", "0.1", TINKER_ENOTSUP, "attention_dropout"},
      {"mlp_bias", "true", TINKER_ENOTSUP, "mlp_bias"},
      {"sliding_window", "1024", TINKER_ENOTSUP, "sliding_window is 1024"},
      {"layer_types", "[\"full_attention\", \"sliding_attention\"]",
       TINKER_ENOTSUP, "layer_types"},
      {"quantization_config", "{\"bits\": 4}", TINKER_ENOTSUP,
       "quantization_config"},
      {"auto_map", "{\"AutoModel\": \"m.M\"}", TINKER_ENOTSUP, "auto_map"},
      {"partial_rotary_factor", "0.5", TINKER_ENOTSUP, "partial_rotary_factor"},
      {"rope_scaling", "{\"rope_type\": \"yarn\"}", TINKER_ENOTSUP, "yarn"},
      {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0}",
       TINKER_ENOTSUP, "linear"},
      {"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8}",
       TINKER_EFORMAT, "low_freq_factor is missing"},
      {"rope_scaling", "{\"rope_type\": \"default\", \"beta_fast\": 32}",
       TINKER_ENOTSUP, "beta_fast"},
      {"rope_scaling", "7", TINKER_EFORMAT, "config.json"},
      {"rope_parameters", "{}, \"rope_scaling\": {\"type\": \"default\"}",
       TINKER_EFORMAT, "absent beside rope_parameters"},
      {"rope_scaling",
       "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
       "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8}",
       TINKER_EFORMAT, "more than low_freq_factor"},
      {"rms_norm_eps", "\"x\"", TINKER_EFORMAT, "rms_norm_eps"},
      {"tie_word_embeddings", "1", TINKER_EFORMAT, "tie_word_embeddings"},
      {"eos_token_id", "128", TINKER_EFORMAT, "eos_token_id is 128"},
      {"eos_token_id", "[1, \"x\"]", TINKER_EFORMAT, "eos_token_id"},
      {"eos_token_id", "[" SIXTEEN_IDS ",1]", TINKER_EFORMAT, "up to 16"},
      {"hidden_act", "\"silu\\u0000x\"", TINKER_EFORMAT, "a short string"},
      {"hidden_act", "\"0123456789abcdef0123456789abcdef\"", TINKER_EFORMAT,
       "a short string"},
      {"rms_norm_eps", "NaN", TINKER_EFORMAT, "rms_norm_eps is NaN"},
      {"rope_scaling", "{\"factor\": Infinity}", TINKER_EFORMAT,
       "factor is Infinity"},
      {"sliding_window\": null, \"sliding_window", "1", TINKER_EFORMAT,
       "twice"},
      {"vocab_size\": 5, \"vocab_size", "6", TINKER_EFORMAT, "twice"},
      {"x", "01", TINKER_EFORMAT, "byte"},
  };
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__model_config_t c, before;
    char why[256] = "";
    memset(&c, 7, sizeof c);
    memset(&before, 7, sizeof before);
    file(&b, rows[i].key, rows[i].value);
    int rc =
        tinker__config_parse(&c, &mem, tinker__buf_str(&b), why, sizeof why);
    cr_expect_eq(rc, rows[i].code, "%s: %s", tinker__buf_cstr(&b), why);
    cr_expect_eq(memcmp(&c, &before, sizeof c), 0, "untouched");
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", rows[i].key, why);
  }
  tinker__buf_free(&b);
}

/* What nobody reads may say anything; two names may mean the same. */
Test(config, takes_what_changes_nothing) {
  static const pair_t rows[] = {
      {"bos_token_id", "128000"},
      {"bos_token_id", "-2"},
      {"bos_token_id", "[1, 2]"},
      {"pad_token_id", "99999999"},
      {"eos_token_id", "null"},
      {"eos_token_id", "[]"},
      {"torch_dtype", "\"float8_e4m3fn\""},
      {"dtype", "\"bfloat16\""},
      {"initializer_range", "\"none\""},
      {"head_dim", "null"},
      {"num_key_value_heads", "null"},
      {"rope_scaling", "null"},
      {"rope_scaling", "{\"type\": \"default\", \"factor\": 8.0}"},
      {"quantization_config", "null"},
      {"layer_types", "[\"full_attention\", \"full_attention\"]"},
      {"use_sliding_window", "true"}, /* a key of Qwen's */
      {"sliding_window", "null"},
      {"sliding_window", "2048"},
      {"model_type", "\"mistral\", \"sliding_window\": null"},
      {"model_type", "\"mistral\", \"sliding_window\": 4096, "
                     "\"max_position_embeddings\": 4096"},
      {"model_type", "\"mistral\", \"max_position_embeddings\": 2048"},
      {"model_type", "\"qwen2\", \"sliding_window\": 7, "
                     "\"use_sliding_window\": false"},
      {"hidden_act", "\"swish\""},
      {"hidden_act", "\"silu\""},
  };
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__model_config_t c;
    char why[256] = "";
    file(&b, rows[i].key, rows[i].value);
    int rc =
        tinker__config_parse(&c, &mem, tinker__buf_str(&b), why, sizeof why);
    cr_expect_eq(rc, 0, "%s: %s", tinker__buf_cstr(&b), why);
    cr_expect_eq(c.arch, strstr(rows[i].value, "qwen2") ? TINKER__ARCH_QWEN2
                                                        : TINKER__ARCH_LLAMA);
    cr_expect_eq(c.num_eos, 0);
    cr_expect_eq(c.num_kv_heads, 4);
    cr_expect_eq(c.head_dim, 16);
    const char *generation = "{\"bos_token_id\": -7, \"eos_token_id\": null, "
                             "\"pad_token_id\": [1]}";
    cr_expect_eq(tinker__config_parse_generation(
                     &c, &mem, tinker__str(generation), why, sizeof why),
                 0, "%s", why);
  }
  tinker__buf_free(&b);
}

Test(config, survives_every_cut) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  file(&b, "rope_scaling", "{\"rope_type\": \"llama3\", " LLAMA3 "}");
  for (size_t n = 0; n < b.len; n++) {
    tinker__model_config_t c;
    tinker__str_t cut = {b.data, n};
    cr_assert_eq(tinker__config_parse(&c, &mem, cut, NULL, 0), TINKER_EFORMAT,
                 "cut at %zu", n);
  }
  tinker__buf_free(&b);
}

static int parse_escaped(tinker__mem_t *m, void *user) {
  tinker__model_config_t c;
  return tinker__config_parse(&c, m, tinker__str(user), NULL, 0);
}

Test(config, survives_lack_of_memory) {
  /* Escapes make the reader allocate. */
  char text[] = "{\"model_type\": \"ll\\u0061ma\", \"vocab_size\": 8, "
                "\"hidden_size\": 8, \"num_hidden_layers\": 1, "
                "\"num_attention_heads\": 2, \"intermediate_size\": 4, "
                "\"hidden_act\": \"sil\\u0075\", "
                "\"layer_types\": [\"full\\u005fattention\"]}";
  cr_assert_geq(tinker__fail_sweep(parse_escaped, text, TINKER_ENOMEM), 3);
}
