/* Files of adapters and states that others have written, or that were not
 * written whole: any type of values, part of the matrices, another alpha; and
 * no list of contents without the contents. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/digest.h"
#include "cpu/train.h"
#include "model/safetensors.h"
#include "support.h"

static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

static uint64_t rows_of(tiny_t *b, tinker__eng_adapter_t *a) {
  uint64_t h = HASH_START;
  tinker__eng_slot_t *slot = NULL;
  cr_assert_eq(b->r.api->slot_new(b->r.base, a, 50, &slot, NULL, 0), 0);
  tinker__eng_decode_item_t item = {
      .slot = slot,
      .tokens = b->s[0].tokens,
      .n = b->s[0].n,
      .on_row = hash_row,
      .user = &h,
  };
  cr_assert_eq(b->r.api->decode(b->r.engine, &item, 1, NULL, NULL, 0), 0);
  b->r.api->slot_free(slot);
  return h;
}

/* The rows of the adapter in b->dir. */
static uint64_t rows_of_file(tiny_t *b) {
  tinker__eng_adapter_t *a = NULL;
  char why[256] = "";
  cr_assert_eq(b->r.api->adapter_load(b->r.base, b->dir, &a, why, sizeof why),
               0, "%s", why);
  uint64_t h = rows_of(b, a);
  b->r.api->adapter_release(a);
  return h;
}

static void save(tiny_t *b, tinker__eng_train_t *t) {
  tinker__eng_adapter_t *a = NULL;
  char why[256] = "";
  cr_assert_eq(b->r.api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(b->r.api->adapter_save(a, b->dir, why, sizeof why), 0, "%s",
               why);
  b->r.api->adapter_release(a);
}

static uint64_t rows_of_state(tiny_t *b, tinker__eng_train_t *t) {
  tinker__eng_adapter_t *a = NULL;
  cr_assert_eq(b->r.api->adapter_current(t, &a, NULL, 0), 0);
  uint64_t h = rows_of(b, a);
  b->r.api->adapter_release(a);
  return h;
}

/* Weights that every type has: multiples of 1/64 below 1/2. */
static void round_weights(tinker__eng_train_t *t) {
  float *w = malloc(t->lora->floats * sizeof *w);
  cr_assert_not_null(w);
  for (size_t i = 0; i < t->lora->floats; i++) {
    w[i] = (float)(int)(i * 37 % 63) / 64 - 31.0f / 64;
  }
  move_weights(t, w, w, 0);
  free(w);
}

/* An exact half of a value of the kind above. */
static uint16_t half(float x, tinker__weight_type_t type) {
  int e;
  float f = frexpf(fabsf(x), &e);
  if (type == TINKER__WEIGHT_BF16) return tinker__cpu_f32_to_bf16(x);
  if (x == 0) return 0;
  uint16_t sign = x < 0 ? 0x8000 : 0;
  return (uint16_t)(sign | (e + 14) << 10 | ((int)(f * 2048) & 1023));
}

/* Writes the adapter's file again with another type. */
static void retype(tiny_t *b, tinker__weight_type_t type) {
  tinker__mem_t mem;
  tinker__safetensors_t *st = NULL;
  tinker__tensor_t out[64];
  tinker__buf_t buf;
  size_t len, n;
  char *data = slurp(b->dir, "adapter_model.safetensors", &len);
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1u << 22);
  cr_assert_eq(tinker__safetensors_parse(&st, &mem, data, len, NULL, 0), 0);
  n = tinker__safetensors_len(st);
  cr_assert_leq(n, sizeof out / sizeof *out);
  for (size_t i = 0; i < n; i++) {
    out[i] = *tinker__safetensors_at(st, i);
    uint16_t *v = malloc(out[i].count * sizeof *v);
    for (size_t k = 0; k < out[i].count; k++) {
      float x;
      memcpy(&x, (const char *)out[i].data + 4 * k, 4);
      v[k] = half(x, type);
    }
    out[i].dtype = type;
    out[i].data = v;
  }
  cr_assert_eq(tinker__safetensors_write(&buf, &mem, out, n, NULL, 0, NULL, 0),
               0);
  spew(b->dir, "adapter_model.safetensors", buf.data, buf.len);
  for (size_t i = 0; i < n; i++) free((void *)(uintptr_t)out[i].data);
  tinker__buf_free(&buf);
  tinker__safetensors_free(st);
  free(data);
}

/* An adapter may have values of any type. */
Test(tensors, adapters_of_half_values) {
  static const tinker__weight_type_t types[] = {TINKER__WEIGHT_BF16,
                                                TINKER__WEIGHT_F16};
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  round_weights(t);
  uint64_t want = rows_of_state(&b, t);
  for (size_t i = 0; i < 2; i++) {
    save(&b, t);
    cr_assert_eq(rows_of_file(&b), want);
    retype(&b, types[i]);
    cr_assert_eq(rows_of_file(&b), want, "%s",
                 tinker__weight_type_name(types[i]));
  }
  b.r.api->train_free(t);
  tiny_close(&b);
}

/* A state whose matrices but those of q and v are zero. */
static tinker__eng_train_t *only_q_and_v(tiny_t *b) {
  tinker__eng_train_t *t = random_train(&b->r, 4, 5);
  float *w = malloc(t->lora->floats * sizeof *w);
  cr_assert_not_null(w);
  memcpy(w, t->current->w, t->lora->floats * sizeof *w);
  for (size_t i = 0; i < t->lora->num_targets; i++) {
    const tinker__cpu_target_t *x = &t->lora->targets[i];
    size_t p = i % TINKER__PROJS;
    bool head = i + 1 == t->lora->num_targets;
    if (!head && (p == TINKER__LORA_Q || p == TINKER__LORA_V)) continue;
    memset(w + x->b, 0, x->out * t->lora->rank * sizeof *w);
  }
  move_weights(t, w, w, 0);
  free(w);
  return t;
}

/* Leaves the tensors of q and v in the file, and their names in the list. */
static void leave_q_and_v(tiny_t *b) {
  tinker__mem_t mem;
  tinker__safetensors_t *st = NULL;
  tinker__tensor_t out[64];
  tinker__buf_t buf;
  size_t len, n = 0;
  char *data = slurp(b->dir, "adapter_model.safetensors", &len), name[200];
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1u << 22);
  cr_assert_eq(tinker__safetensors_parse(&st, &mem, data, len, NULL, 0), 0);
  for (size_t i = 0; i < tinker__safetensors_len(st); i++) {
    const tinker__tensor_t *x = tinker__safetensors_at(st, i);
    snprintf(name, sizeof name, "%.*s", (int)x->name.len, x->name.ptr);
    if (strstr(name, "q_proj") || strstr(name, "v_proj")) out[n++] = *x;
  }
  cr_assert_eq(n, 4u * tiny_shape.layers);
  cr_assert_eq(tinker__safetensors_write(&buf, &mem, out, n, NULL, 0, NULL, 0),
               0);
  spew(b->dir, "adapter_model.safetensors", buf.data, buf.len);
  tinker__buf_free(&buf);
  tinker__safetensors_free(st);
  free(data);
  static const char config[] =
      "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":32,"
      "\"target_modules\":[\"q_proj\",\"v_proj\"]}";
  spew(b->dir, "adapter_config.json", config, strlen(config));
}

/* An adapter may have any of the matrices, not only whole groups of them. */
Test(tensors, adapters_of_some_matrices) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = only_q_and_v(&b);
  uint64_t want = rows_of_state(&b, t);
  cr_assert_neq(want, rows_of(&b, NULL));
  save(&b, t);
  leave_q_and_v(&b);
  cr_assert_eq(rows_of_file(&b), want);
  b.r.api->train_free(t);
  tiny_close(&b);
}

/* Half of alpha is half of B; and the file of what was loaded says it, too. */
Test(tensors, adapters_with_their_alpha) {
  tiny_t b;
  size_t len;
  char why[256] = "";
  tinker__eng_adapter_t *a = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  save(&b, t);
  char *json = slurp(b.dir, "adapter_config.json", &len);
  char *at = strstr(json, "\"lora_alpha\":32");
  cr_assert_not_null(at, "%s", json);
  memcpy(at + strlen("\"lora_alpha\":"), "16", 2);
  spew(b.dir, "adapter_config.json", json, len);
  free(json);
  cr_assert_eq(b.r.api->adapter_load(b.r.base, b.dir, &a, why, sizeof why), 0,
               "%s", why);
  uint64_t got = rows_of(&b, a);
  cr_assert_neq(got, rows_of_state(&b, t));
  cr_assert_eq(b.r.api->adapter_save(a, b.dir, why, sizeof why), 0);
  b.r.api->adapter_release(a);
  cr_assert_eq(rows_of_file(&b), got, "saved again");
  float *w = calloc(t->lora->floats, sizeof *w);
  cr_assert_not_null(w);
  memcpy(w, t->current->w, t->lora->floats * sizeof *w);
  for (size_t i = 0; i < t->lora->num_targets; i++) {
    const tinker__cpu_target_t *x = &t->lora->targets[i];
    for (size_t k = 0; k < x->out * t->lora->rank; k++) w[x->b + k] /= 2;
  }
  move_weights(t, w, w, 0);
  cr_assert_eq(rows_of_state(&b, t), got);
  free(w);
  b.r.api->train_free(t);
  tiny_close(&b);
}

static bool exists(const char *dir, const char *name) {
  char path[300];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  return stat(path, &st) == 0;
}

/* The JSON file says that the folder is complete: without the tensors there is
 * none. */
Test(tensors, no_list_without_contents) {
  static const char *const files[][2] = {
      {"state.safetensors", "state.json"},
      {"adapter_model.safetensors", "adapter_config.json"}};
  tiny_t b;
  tinker__eng_adapter_t *a = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  cr_assert_eq(b.r.api->adapter_current(t, &a, NULL, 0), 0);
  for (int i = 0; i < 3; i++) {
    const char *const *names = files[i == 2];
    char path[300], why[256] = "";
    snprintf(path, sizeof path, "%s/%s", b.dir, names[0]);
    cr_assert_eq(mkdir(path, 0700), 0); /* in the way of the file */
    int rc = i == 0   ? b.r.api->train_save(t, b.dir, why, sizeof why)
             : i == 1 ? b.r.api->train_keep(t, b.dir, why, sizeof why)
                      : b.r.api->adapter_save(a, b.dir, why, sizeof why);
    cr_assert_lt(rc, 0);
    cr_assert_neq(why[0], '\0');
    cr_assert_not(exists(b.dir, names[1]), "%s", names[1]);
    cr_assert_eq(rmdir(path), 0);
  }
  b.r.api->adapter_release(a);
  b.r.api->train_free(t);
  tiny_close(&b);
}

/* Writes the file again with one tensor more. */
static void add_tensor(tiny_t *b, const char *file) {
  static const float value[4];
  tinker__mem_t mem;
  tinker__safetensors_t *st = NULL;
  tinker__tensor_t out[200];
  tinker__buf_t buf;
  size_t len;
  char *data = slurp(b->dir, file, &len);
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1u << 22);
  cr_assert_eq(tinker__safetensors_parse(&st, &mem, data, len, NULL, 0), 0);
  size_t n = tinker__safetensors_len(st);
  cr_assert_lt(n, sizeof out / sizeof *out);
  for (size_t i = 0; i < n; i++) out[i] = *tinker__safetensors_at(st, i);
  out[n] = (tinker__tensor_t){.name = TINKER__STR("surplus.weight"),
                              .rank = 2,
                              .shape = {2, 2},
                              .data = value};
  cr_assert_eq(
      tinker__safetensors_write(&buf, &mem, out, n + 1, NULL, 0, NULL, 0), 0);
  spew(b->dir, file, buf.data, buf.len);
  tinker__buf_free(&buf);
  tinker__safetensors_free(st);
  free(data);
}

/* Puts the digest of the tensors, as they are now, into state.json. */
static void set_digest(tiny_t *b) {
  unsigned char sha[TINKER__SHA256_LEN];
  char hex[65], *at;
  size_t len;
  char *data = slurp(b->dir, "state.safetensors", &len);
  cr_assert_eq(tinker__sha256(data, len, sha), 0);
  tinker__hex(sha, sizeof sha, hex);
  free(data);
  char *json = slurp(b->dir, "state.json", &len);
  at = strstr(json, "_sha256\":\"");
  cr_assert_not_null(at, "%s", json);
  memcpy(at + strlen("_sha256\":\""), hex, 64);
  spew(b->dir, "state.json", json, len);
  free(json);
}

/* A file has the tensors of its description, and no other. */
Test(tensors, surplus_is_refused) {
  tiny_t b;
  char why[400] = "";
  tinker__eng_train_t *again = NULL;
  tinker__eng_adapter_t *a = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  cr_assert_eq(b.r.api->train_save(t, b.dir, NULL, 0), 0);
  set_digest(&b); /* it is the one that is there */
  cr_assert_eq(b.r.api->train_load(b.r.base, b.dir, true, &again, NULL, 0), 0);
  b.r.api->train_free(again);
  again = NULL;
  add_tensor(&b, "state.safetensors");
  set_digest(&b);
  cr_assert_eq(
      b.r.api->train_load(b.r.base, b.dir, true, &again, why, sizeof why),
      TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "91 tensors"), "%s", why);
  save(&b, t);
  add_tensor(&b, "adapter_model.safetensors");
  cr_assert_eq(b.r.api->adapter_load(b.r.base, b.dir, &a, why, sizeof why),
               TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "surplus.weight"), "%s", why);
  cr_assert(!again && !a);
  b.r.api->train_free(t);
  tiny_close(&b);
}
