/* PEFT adapters: names both ways, what is read, what is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/file.h"
#include "model/peft.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(peft, .init = setup, .fini = teardown);

Test(peft, names_go_both_ways) {
  for (int i = 0; i < 4 * TINKER__LORA_COUNT; i++) {
    tinker__lora_target_t target = (tinker__lora_target_t)(i / 4), t;
    tinker__lora_side_t side = i % 2 ? TINKER__LORA_B : TINKER__LORA_A, s;
    uint32_t layer = target == TINKER__LORA_LM_HEAD ? 0 : i % 4 < 2 ? 0 : 31, l;
    char name[TINKER__PEFT_NAME_MAX];
    tinker__peft_tensor_name(name, target, layer, side);
    cr_assert(tinker__peft_tensor_parse(tinker__str(name), &t, &l, &s), "%s",
              name);
    cr_assert(t == target && l == layer && s == side, "%s", name);
  }
  static const char *const bad[] = {
      "",
      "base_model.model.model.layers.0.self_attn.q_proj.weight",
      "base_model.model.model.layers.00.self_attn.q_proj.lora_A.weight",
      "base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight",
      "base_model.model.model.layers.4294967296.mlp.up_proj.lora_A.weight",
      "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight.x",
      "base_model.model.lm_head.lora_C.weight"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    tinker__lora_target_t t;
    tinker__lora_side_t s;
    uint32_t l;
    cr_assert(!tinker__peft_tensor_parse(tinker__str(bad[i]), &t, &l, &s), "%s",
              bad[i]);
  }
  char name[TINKER__PEFT_NAME_MAX];
  tinker__peft_tensor_name(name, TINKER__LORA_DOWN, 7, TINKER__LORA_B);
  cr_assert_str_eq(name, "base_model.model.model.layers.7.mlp.down_proj."
                         "lora_B.weight");
  tinker__peft_tensor_name(name, TINKER__LORA_LM_HEAD, 0, TINKER__LORA_A);
  cr_assert_str_eq(name, "base_model.model.lm_head.lora_A.weight");
}

static void write_and_parse(tinker__peft_config_t *c, char *why, size_t len) {
  tinker__peft_config_t again;
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  tinker__peft_config_write(&b, c);
  cr_assert_eq(tinker__buf_error(&b), 0);
  cr_assert_eq(
      tinker__peft_config_parse(&again, &mem, tinker__buf_str(&b), why, len), 0,
      "%s", why);
  cr_assert_eq(again.rank, c->rank);
  cr_assert_eq(again.alpha, c->alpha);
  cr_assert_eq(again.targets, c->targets);
  cr_assert((again.base_model == NULL) == (c->base_model == NULL));
  if (c->base_model) cr_assert_str_eq(again.base_model, c->base_model);
  tinker__mem_free(&mem, again.base_model);
  tinker__buf_free(&b);
}

Test(peft, config_goes_both_ways) {
  char why[256] = "", base[] = "Qwen/Qwen3 \"x\"";
  for (unsigned targets = 1; targets < 256; targets += 3) {
    tinker__peft_config_t c = {8, 32.5, targets, targets % 2 ? base : NULL};
    write_and_parse(&c, why, sizeof why);
  }
}

Test(peft, silence_means_what_it_does_there) {
  tinker__peft_config_t c;
  const char *text =
      "{\"peft_type\": \"LORA\", \"target_modules\": \"all-linear\"}";
  cr_assert_eq(tinker__peft_config_parse(&c, &mem, tinker__str(text), NULL, 0),
               0);
  cr_assert_eq(c.rank, 8);
  cr_assert_eq(c.alpha, 8);
  cr_assert_eq(c.targets, 0x7f); /* every linear layer but the head */
  cr_assert_null(c.base_model);
}

Test(peft, writes_a_whole_alpha_as_an_integer) {
  tinker__peft_config_t c = {8, 32, 1, NULL};
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 16);
  tinker__peft_config_write(&b, &c);
  cr_assert_not_null(strstr(tinker__buf_cstr(&b), "\"lora_alpha\":32,"));
  tinker__buf_free(&b);
}

Test(peft, dimensions_of_each_layer) {
  const tinker__model_config_t m = {
      .vocab_size = 40,
      .hidden_size = 16,
      .num_heads = 2,
      .num_kv_heads = 1,
      .head_dim = 12,
      .intermediate_size = 20,
  };
  static const uint64_t want[TINKER__LORA_COUNT][2] = {
      {16, 24}, {16, 12}, {16, 12}, {24, 16},
      {16, 20}, {16, 20}, {20, 16}, {16, 40}};
  for (int t = 0; t < TINKER__LORA_COUNT; t++) {
    uint64_t in = 0, out = 0;
    tinker__lora_dims(&m, (tinker__lora_target_t)t, &in, &out);
    cr_expect(in == want[t][0] && out == want[t][1], "%s",
              tinker__lora_name((tinker__lora_target_t)t));
  }
}

Test(peft, names_what_it_refuses) {
  static const struct {
    const char *more; /* behind peft_type and target_modules */
    int code;
    const char *said;
  } rows[] = {
      {"", 0, ""},
      {", \"lora_dropout\": 0.05, \"revision\": \"main\", "
       "\"peft_version\": \"0.18\"",
       0, ""},
      {", \"use_dora\": false, \"rank_pattern\": { }, "
       "\"modules_to_save\": null, \"layers_to_transform\": []",
       0, ""},
      {", \"use_dora\": true", TINKER_ENOTSUP, "use_dora is true"},
      {", \"use_rslora\": true", TINKER_ENOTSUP, "use_rslora"},
      {", \"bias\": \"all\"", TINKER_ENOTSUP, "bias is \"all\""},
      {", \"modules_to_save\": [\"embed_tokens\"]", TINKER_ENOTSUP,
       "modules_to_save"},
      {", \"rank_pattern\": {\"q_proj\": 4}", TINKER_ENOTSUP, "rank_pattern"},
      {", \"alpha_pattern\": {\"q_proj\": 4}", TINKER_ENOTSUP, "alpha_pattern"},
      {", \"fan_in_fan_out\": true", TINKER_ENOTSUP, "fan_in_fan_out"},
      {", \"init_lora_weights\": \"pissa\"", TINKER_ENOTSUP,
       "init_lora_weights is \"pissa\""},
      {", \"some_new_thing\": 3", TINKER_ENOTSUP, "some_new_thing is 3"},
      {", \"task_type\": \"SEQ_CLS\"", TINKER_ENOTSUP, "task_type"},
      {", \"r\": 0", TINKER_EFORMAT, "r is 0"},
      {", \"r\": 4096", TINKER_EFORMAT, "r is 4096"},
      {", \"r\": 1025", TINKER_EFORMAT, "from 1 to 1024"},
      {", \"r\": 1024", 0, ""},
      {", \"lora_alpha\": -1", TINKER_EFORMAT, "lora_alpha is -1"},
      {", \"lora_alpha\": null, \"r\": true", TINKER_EFORMAT, "r is true"},
      {", \"r\": 8, \"r\": 8", TINKER_EFORMAT, "twice"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char text[512], why[256] = "";
    tinker__peft_config_t c;
    snprintf(text, sizeof text,
             "{\"peft_type\": \"LORA\", \"target_modules\": [\"q_proj\"]%s}",
             rows[i].more);
    int rc =
        tinker__peft_config_parse(&c, &mem, tinker__str(text), why, sizeof why);
    cr_expect_eq(rc, rows[i].code, "%s: %s", text, why);
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", text, why);
    if (rc == 0) tinker__mem_free(&mem, c.base_model);
  }
  static const struct {
    const char *text, *said;
  } others[] = {{"", "adapter_config.json is empty"},
                {"version https://git-lfs.github.com/spec/v1\n",
                 "adapter_config.json is a git-lfs pointer"},
                {"<html>", "adapter_config.json is a web page"},
                {"{\"peft_type\": \"LO", "adapter_config.json is cut"},
                {"{\"lora_alpha\": NaN}", "lora_alpha is NaN"}};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    char why[256] = "";
    tinker__peft_config_t c;
    cr_expect_eq(tinker__peft_config_parse(
                     &c, &mem, tinker__str(others[i].text), why, sizeof why),
                 TINKER_EFORMAT);
    cr_expect_not_null(strstr(why, others[i].said), "%s", why);
  }
  static const char *const targets[] = {"[]", "null", "\".*_proj\"",
                                        "[\"embed_tokens\"]", "[3]"};
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    char text[512], why[256] = "";
    tinker__peft_config_t c;
    snprintf(text, sizeof text,
             "{\"peft_type\": \"LORA\", \"target_modules\": %s}", targets[i]);
    cr_expect_neq(
        tinker__peft_config_parse(&c, &mem, tinker__str(text), why, sizeof why),
        0, "%s", text);
    cr_expect_not_null(strstr(why, "target_modules"), "%s: %s", text, why);
  }
}

/* An adapter in memory: all tensors of `config`, zeroed, and one named
 * `more` unless that is NULL. */
static void make_adapter(tinker__buf_t *out, const tinker__peft_config_t *c,
                         const tinker__model_config_t *m, const float *zeros,
                         const char *more) {
  tinker__tensor_t list[64];
  char names[64][TINKER__PEFT_NAME_MAX];
  size_t n = 0;
  memset(list, 0, sizeof list);
  for (int t = 0; t < TINKER__LORA_COUNT; t++) {
    for (uint32_t layer = 0; layer < m->num_layers; layer++) {
      for (int s = 0; s < 2; s++) {
        tinker__lora_target_t target = (tinker__lora_target_t)t;
        uint64_t in, rows;
        if (!(c->targets & TINKER__LORA_BIT(t))) continue;
        if (layer && target == TINKER__LORA_LM_HEAD) continue;
        tinker__lora_dims(m, target, &in, &rows);
        tinker__peft_tensor_name(names[n], target, layer,
                                 (tinker__lora_side_t)s);
        list[n].name = tinker__str(names[n]);
        list[n].rank = 2;
        list[n].shape[0] = s ? rows : c->rank;
        list[n].shape[1] = s ? c->rank : in;
        list[n++].data = zeros;
      }
    }
  }
  if (more) {
    list[n] = list[0];
    list[n++].name = tinker__str(more);
  }
  cr_assert_eq(tinker__safetensors_write(out, &mem, list, n, NULL, 0, NULL, 0),
               0);
}

/* Whatever has no place in the model is refused, by its name. */
static void check_extra(const tinker__peft_config_t *c,
                        const tinker__model_config_t *m, const float *zeros) {
  static const char *const extras[] = {
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.bias",
      "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
      "base_model.model.model.embed_tokens.lora_embedding_A",
      "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight",
      "model.layers.0.mlp.up_proj.lora_A.weight",
      "x"};
  for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
    tinker__safetensors_t *st = NULL;
    tinker__buf_t b;
    char why[256] = "";
    tinker__buf_init(&b, &mem, 1 << 20);
    make_adapter(&b, c, m, zeros, extras[i]);
    cr_assert_eq(
        tinker__safetensors_parse(&st, &mem, b.data, b.len, why, sizeof why), 0,
        "%s", why);
    cr_expect_eq(tinker__peft_check(st, c, m, why, sizeof why), TINKER_EFORMAT,
                 "%s", extras[i]);
    cr_expect_not_null(strstr(why, extras[i]), "%s: %s", extras[i], why);
    tinker__safetensors_free(st);
    tinker__buf_free(&b);
  }
}

Test(peft, checks_an_adapter_against_its_base) {
  static const float zeros[4096];
  tinker__model_config_t m;
  tinker__peft_config_t c = {4, 32, 0xff, NULL};
  tinker__safetensors_t *st = NULL;
  tinker__buf_t b;
  char why[256] = "";
  memset(&m, 0, sizeof m);
  m.vocab_size = 40;
  m.hidden_size = 16;
  m.num_layers = 2;
  m.num_heads = 2;
  m.num_kv_heads = 1;
  m.head_dim = 12;
  m.intermediate_size = 20;
  tinker__buf_init(&b, &mem, 1 << 20);
  make_adapter(&b, &c, &m, zeros, NULL);
  cr_assert_eq(
      tinker__safetensors_parse(&st, &mem, b.data, b.len, why, sizeof why), 0,
      "%s", why);
  cr_assert_eq(tinker__peft_check(st, &c, &m, why, sizeof why), 0, "%s", why);
  cr_assert_eq(tinker__safetensors_len(st), 2 * (2 * 7 + 1));
  check_extra(&c, &m, zeros);
  c.rank = 8;
  cr_assert_eq(tinker__peft_check(st, &c, &m, why, sizeof why), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "shape [8, 16]"), "%s", why);
  c.rank = 4;
  c.targets = 0x7f;
  cr_assert_eq(tinker__peft_check(st, &c, &m, why, sizeof why), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "lm_head"), "%s", why);
  c.targets = 0xff;
  m.num_layers = 3;
  cr_assert_eq(tinker__peft_check(st, &c, &m, why, sizeof why), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "layers.2"), "%s", why);
  m.num_layers = 1;
  cr_assert_eq(tinker__peft_check(st, &c, &m, why, sizeof why), TINKER_EFORMAT);
  tinker__safetensors_free(st);
  tinker__buf_free(&b);
}

static int parse(tinker__mem_t *m, void *user) {
  tinker__peft_config_t c = {0, 0, 0, NULL};
  int rc = tinker__peft_config_parse(&c, m, tinker__str(user), NULL, 0);
  tinker__mem_free(m, c.base_model);
  return rc;
}

Test(peft, survives_lack_of_memory) {
  char text[] = "{\"peft_type\": \"LOR\\u0041\", \"target_modules\": "
                "[\"q\\u005fproj\"], \"base_model_name_or_path\": \"m\"}";
  cr_assert_geq(tinker__fail_sweep(parse, text, TINKER_ENOMEM), 3);
}
