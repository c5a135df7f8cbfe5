/* The files of a training state: the bytes of state.json, what is refused, and
 * which tensors state.safetensors must hold. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "model/train_state.h"
#include "support/fail_alloc.h"

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILE_TEXT                                                              \
  "{\"format\":1,\"rank\":4,\"alpha\":32.0,\"seed\":18446744073709551615,"     \
  "\"train_attn\":true,\"train_mlp\":false,\"train_unembed\":true,"            \
  "\"step\":3,\"base_digest\":\"" A64 "\",\"tensors_sha256\":\"" B64 "\"}"

static const tinker__train_state_t state = {
    .rank = 4,
    .alpha = 32,
    .seed = UINT64_MAX,
    .train_attn = true,
    .train_unembed = true,
    .step = 3,
    .base = A64,
    .sha256 = B64,
};

static const tinker__model_config_t model = {
    .vocab_size = 10,
    .hidden_size = 8,
    .num_layers = 2,
    .num_heads = 2,
    .num_kv_heads = 1,
    .head_dim = 6,
    .intermediate_size = 5,
};

/* The same with gradients that wait for a step. */
static tinker__train_state_t waiting(void) {
  tinker__train_state_t out = state;
  out.has_grad = true;
  return out;
}

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(train_state, .init = setup, .fini = teardown);

Test(train_state, keeps_its_bytes) {
  tinker__train_state_t again = {.rank = 0};
  tinker__buf_t b;
  char why[256] = "";
  tinker__buf_init(&b, &mem, TINKER__TRAIN_STATE_MAX_JSON);
  tinker__train_state_write(&b, &state);
  cr_assert_str_eq(tinker__buf_cstr(&b), FILE_TEXT);
  cr_assert_eq(tinker__train_state_parse(&again, &mem, tinker__buf_str(&b), why,
                                         sizeof why),
               0, "%s", why);
  tinker__buf_clear(&b);
  tinker__train_state_write(&b, &again);
  cr_assert_str_eq(tinker__buf_cstr(&b), FILE_TEXT);
  tinker__buf_free(&b);
}

Test(train_state, says_that_gradients_wait) {
  tinker__train_state_t with = waiting(), again = {.rank = 0};
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, TINKER__TRAIN_STATE_MAX_JSON);
  tinker__train_state_write(&b, &with);
  cr_assert_eq(strncmp(tinker__buf_cstr(&b), "{\"format\":2,", 12), 0);
  cr_assert_str_eq(tinker__buf_cstr(&b) + 12, &FILE_TEXT[12]);
  cr_assert_eq(
      tinker__train_state_parse(&again, &mem, tinker__buf_str(&b), NULL, 0), 0);
  cr_assert(again.has_grad);
  tinker__buf_free(&b);
  cr_assert_eq(
      tinker__train_state_parse(&again, &mem, TINKER__STR(FILE_TEXT), NULL, 0),
      0);
  cr_assert_not(again.has_grad);
}

Test(train_state, names_what_is_wrong) {
  static const struct {
    const char *was, *is;
    int code;
    const char *said;
  } rows[] = {
      {"{", "[", TINKER_EJSON, "state.json: "},
      {"\"format\":1", "\"format\":3", TINKER_EFORMAT, "format is not 1 or 2"},
      {"\"rank\":4,", "", TINKER_EFORMAT, "a key is missing"},
      {"\"rank\":4", "\"rank\":4,\"rank\":4", TINKER_EFORMAT, "twice"},
      {"\"rank\":4", "\"knar\":4", TINKER_EFORMAT, "unknown key"},
      {"\"rank\":4", "\"rank\":-4", TINKER_EJSON, "at byte"},
      {"\"alpha\":32", "\"alpha\":NaN", TINKER_EJSON, "at byte"},
      {"\"step\":3", "\"step\":\"3\"", TINKER_EJSON, "at byte"},
      {A64, "aa", TINKER_EFORMAT, "64 hex digits"},
      {"\"0123", "\"012G", TINKER_EFORMAT, "64 hex digits"},
  };
  const char *whole = FILE_TEXT;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__train_state_t out, before;
    char text[1024], why[256] = "";
    const char *at = strstr(whole, rows[i].was);
    cr_assert_not_null(at, "%s", rows[i].was);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole,
             rows[i].is, at + strlen(rows[i].was));
    memset(&out, 7, sizeof out);
    memset(&before, 7, sizeof before);
    int rc = tinker__train_state_parse(&out, &mem, tinker__str(text), why,
                                       sizeof why);
    cr_expect_eq(rc, rows[i].code, "%s: %d %s", rows[i].is, rc, why);
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", rows[i].is, why);
    cr_expect_eq(memcmp(&out, &before, sizeof out), 0, "untouched");
  }
}

/* All tensors of a state, in a list that a test may spoil. */
typedef struct list_s {
  tinker__tensor_t at[80];
  char names[80][TINKER__PEFT_NAME_MAX + 16];
  size_t n;
} list_t;

static const float zeros[256];

static void fill(list_t *l, const tinker__train_state_t *of) {
  unsigned trained = tinker__train_state_targets(of);
  l->n = 0;
  for (size_t p = 0; p < tinker__train_state_num_parts(of); p++) {
    for (int i = 0; i < 4 * TINKER__LORA_COUNT; i++) {
      tinker__lora_target_t target = (tinker__lora_target_t)(i / 4);
      tinker__lora_side_t side = (tinker__lora_side_t)(i % 2);
      char name[TINKER__PEFT_NAME_MAX];
      uint64_t in, out, layer = i / 2 % 2;
      if (!(trained & TINKER__LORA_BIT(target))) continue;
      if (layer && target == TINKER__LORA_LM_HEAD) continue;
      tinker__lora_dims(&model, target, &in, &out);
      tinker__peft_tensor_name(name, target, (uint32_t)layer, side);
      snprintf(l->names[l->n], sizeof l->names[0], "%s%s", name,
               tinker__train_state_suffix((tinker__train_state_part_t)p));
      l->at[l->n] = (tinker__tensor_t){
          .name = tinker__str(l->names[l->n]),
          .dtype = TINKER__WEIGHT_F32,
          .rank = 2,
          .shape = {side == TINKER__LORA_A ? state.rank : out,
                    side == TINKER__LORA_A ? in : state.rank},
          .data = zeros,
      };
      l->n++;
    }
  }
}

static int check(const list_t *l, size_t n, const tinker__train_state_t *of,
                 char *why, size_t why_len) {
  tinker__safetensors_t *st = NULL;
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 20);
  cr_assert_eq(
      tinker__safetensors_write(&b, &mem, l->at, n, NULL, 0, why, why_len), 0,
      "%s", why);
  cr_assert_eq(
      tinker__safetensors_parse(&st, &mem, b.data, b.len, why, why_len), 0,
      "%s", why);
  int rc = tinker__train_state_check(st, of, &model, why, why_len);
  tinker__safetensors_free(st);
  tinker__buf_free(&b);
  return rc;
}

Test(train_state, holds_all_parts_and_nothing_else) {
  static list_t l;
  char why[300] = "", last[200];
  fill(&l, &state);
  /* q, k, v, o of two layers and the head; A and B; three parts */
  cr_assert_eq(l.n, (4 * 2 + 1) * 2 * 3);
  cr_assert_eq(check(&l, l.n, &state, why, sizeof why), 0, "%s", why);
  for (size_t i = 0; i < l.n; i++) {
    tinker__tensor_t was = l.at[i];
    l.at[i].shape[0]++;
    cr_expect_eq(check(&l, l.n, &state, why, sizeof why), TINKER_EFORMAT);
    cr_expect_not_null(strstr(why, "must have shape"), "%s", why);
    l.at[i] = l.at[l.n - 1];
    cr_expect_eq(check(&l, l.n - 1, &state, why, sizeof why), TINKER_EFORMAT);
    snprintf(last, sizeof last, "tensor %s is missing", l.names[i]);
    cr_expect_str_eq(why, last);
    l.at[i] = was;
  }
  l.at[l.n] = l.at[0];
  l.at[l.n].name = TINKER__STR("x");
  cr_expect_eq(check(&l, l.n + 1, &state, why, sizeof why), TINKER_EFORMAT);
  cr_expect_str_eq(why, "55 tensors, a state of this kind has 54");
}

/* Gradients are there if the state says so, and only then. */
Test(train_state, holds_gradients_that_wait) {
  static list_t l;
  char why[300] = "", last[200];
  tinker__train_state_t with = waiting();
  fill(&l, &with);
  cr_assert_eq(l.n, (4 * 2 + 1) * 2 * 4);
  cr_assert_eq(check(&l, l.n, &with, why, sizeof why), 0, "%s", why);
  cr_assert_eq(check(&l, l.n, &state, why, sizeof why), TINKER_EFORMAT);
  cr_assert_str_eq(why, "72 tensors, a state of this kind has 54");
  cr_assert_eq(check(&l, l.n - 1, &with, why, sizeof why), TINKER_EFORMAT);
  snprintf(last, sizeof last, "tensor %s is missing", l.names[l.n - 1]);
  cr_assert_str_eq(why, last);
  cr_assert_not_null(strstr(last, ".grad "));
}

static int read_one(tinker__mem_t *m, void *user) {
  tinker__train_state_t out;
  (void)user;
  return tinker__train_state_parse(
      &out, m,
      TINKER__STR(
          "{\"\\u0066ormat\":1,\"rank\":4,\"alpha\":32.0,"
          "\"seed\":1,\"train_attn\":true,\"train_mlp\":"
          "false,\"train_unembed\":true,\"step\":3,\"base_digest\":\"" A64
          "\",\"tensors_sha256\":\"" B64 "\"}"),
      NULL, 0);
}

Test(train_state, survives_lack_of_memory) {
  cr_assert_gt(tinker__fail_sweep(read_one, NULL, TINKER_ENOMEM), 0);
}
