/* Model folders: the golden ones of every architecture, the same weights in
 * shards, and folders with one thing wrong. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/file.h"
#include "model/folder.h"
#include "model/mapping.h"
#include "model/roles.h"
#include "support/fail_alloc.h"

#define MODELS TINKER_TEST_DIR "/golden/models/"

static tinker__mem_t mem;
static char dir[64];
static char files[8][128]; /* what the test wrote into dir */
static size_t num_files;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  snprintf(dir, sizeof dir, "test_folder_XXXXXX");
  cr_assert_not_null(mkdtemp(dir));
  num_files = 0;
}

static void teardown(void) {
  for (size_t i = 0; i < num_files; i++) unlink(files[i]);
  cr_assert_eq(rmdir(dir), 0);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(folder, .init = setup, .fini = teardown);

static void put(const char *name, const void *data, size_t len) {
  char path[128];
  size_t i = 0;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  cr_assert_eq(tinker__file_publish(tinker__world_real(), path, data, len, 0600,
                                    NULL, 0),
               0);
  while (i < num_files && strcmp(files[i], path) != 0) i++;
  if (i == num_files) snprintf(files[num_files++], sizeof path, "%s", path);
}

static void read_golden(tinker__buf_t *b, const char *path) {
  char full[256];
  snprintf(full, sizeof full, MODELS "%s", path);
  tinker__buf_init(b, &mem, 1 << 24);
  cr_assert_eq(tinker__file_read(tinker__world_real(), full, b, NULL, 0), 0,
               "%s", full);
}

static int open_in(const char *path, tinker__folder_t **f, char *why,
                   size_t why_len) {
  return tinker__folder_open(f, &mem, tinker__world_real(), path, why, why_len);
}

static void check_tensors(const tinker__folder_t *f) {
  const tinker__model_config_t *c = tinker__folder_config(f);
  uint64_t bytes = 0;
  for (int r = 0; r < TINKER__ROLE_COUNT; r++) {
    for (uint32_t layer = 0; layer < c->num_layers; layer++) {
      tinker__role_t role = (tinker__role_t)r;
      const tinker__tensor_t *t = tinker__folder_tensor(f, role, layer);
      bool wanted = tinker__role_present(c, role) &&
                    (layer == 0 || tinker__role_layered(role));
      if (r == TINKER__ROLE_LM_HEAD && layer == 0) wanted = true;
      cr_assert_eq(t != NULL, wanted, "role %d layer %u", r, layer);
      if (!t) continue;
      uint64_t shape[2];
      cr_assert_eq(t->rank, tinker__role_shape(c, role, shape));
      cr_assert_eq(t->shape[0], shape[0]);
      cr_assert_eq((uintptr_t)t->data % tinker__weight_type_size(t->dtype), 0);
      if (r != TINKER__ROLE_LM_HEAD || !c->tied) bytes += t->bytes;
    }
  }
  cr_assert_eq(bytes, tinker__folder_bytes(f));
  if (c->tied) {
    cr_assert_eq(tinker__folder_tensor(f, TINKER__ROLE_LM_HEAD, 0)->data,
                 tinker__folder_tensor(f, TINKER__ROLE_EMBED, 0)->data);
  }
  cr_assert_null(tinker__folder_tensor(f, TINKER__ROLE_Q, c->num_layers));
}

Test(folder, opens_every_architecture) {
  static const char *const names[] = {"llama_tied", "llama_untied",
                                      "qwen2_tied", "qwen2_untied",
                                      "qwen3_tied", "qwen3_untied"};
  char digests[6][65];
  for (int i = 0; i < 6; i++) {
    char path[256], why[256] = "";
    tinker__folder_t *f = NULL;
    snprintf(path, sizeof path, MODELS "%s", names[i]);
    cr_assert_eq(open_in(path, &f, why, sizeof why), 0, "%s: %s", path, why);
    const tinker__model_config_t *c = tinker__folder_config(f);
    cr_assert_eq(c->tied, i % 2 == 0);
    cr_assert_eq(c->arch, (tinker__arch_t)(i / 2));
    check_tensors(f);
    cr_assert_eq(tinker__folder_digest(f, digests[i]), 0);
    for (int k = 0; k < i; k++) cr_assert_str_neq(digests[i], digests[k]);
    tinker__folder_close(f);
  }
}

/* All tensors of a golden model, for writing them anew. */
typedef struct source_s {
  tinker__buf_t config, weights;
  tinker__safetensors_t *st;
  tinker__tensor_t list[64];
  size_t n;
} source_t;

static void load_source(source_t *s, const char *name) {
  char path[128];
  snprintf(path, sizeof path, "%s/config.json", name);
  read_golden(&s->config, path);
  snprintf(path, sizeof path, "%s/model.safetensors", name);
  read_golden(&s->weights, path);
  cr_assert_eq(tinker__safetensors_parse(&s->st, &mem, s->weights.data,
                                         s->weights.len, NULL, 0),
               0);
  s->n = tinker__safetensors_len(s->st);
  cr_assert_leq(s->n, 60);
  for (size_t i = 0; i < s->n; i++) {
    s->list[i] = *tinker__safetensors_at(s->st, i);
  }
  put("config.json", s->config.data, s->config.len);
}

static void free_source(source_t *s) {
  tinker__safetensors_free(s->st);
  tinker__buf_free(&s->config);
  tinker__buf_free(&s->weights);
}

static void put_weights(const char *name, const tinker__tensor_t *list,
                        size_t n) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 24);
  cr_assert_eq(tinker__safetensors_write(&b, &mem, list, n, NULL, 0, NULL, 0),
               0);
  put(name, b.data, b.len);
  tinker__buf_free(&b);
}

static void put_index(const source_t *s, size_t cut, const char *second) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 20);
  tinker__buf_adds(&b, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
  for (size_t i = 0; i < s->n; i++) {
    tinker__buf_addf(&b, "%s\"%.*s\": \"%s\"", i ? ", " : "",
                     (int)s->list[i].name.len, s->list[i].name.ptr,
                     i < cut ? "one.safetensors" : second);
  }
  tinker__buf_adds(&b, "}}");
  put("model.safetensors.index.json", b.data, b.len);
  tinker__buf_free(&b);
}

static int open_dir(char *why, size_t why_len, char digest[65]) {
  tinker__folder_t *f = NULL;
  int rc = open_in(dir, &f, why, why_len);
  if (rc == 0 && digest) cr_assert_eq(tinker__folder_digest(f, digest), 0);
  tinker__folder_close(f);
  return rc;
}

Test(folder, reads_shards_and_checks_the_index) {
  source_t s;
  char why[512] = "", one[65], many[65];
  load_source(&s, "llama_untied");
  size_t cut = s.n / 2;
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_ENOENT);
  cr_assert_not_null(strstr(why, "neither"), "%s", why);
  put_weights("model.safetensors", s.list, s.n);
  cr_assert_eq(open_dir(why, sizeof why, one), 0, "%s", why);
  unlink(files[1]);
  put_weights("one.safetensors", s.list, cut);
  put_weights("two.safetensors", s.list + cut, s.n - cut);
  put_index(&s, cut, "two.safetensors");
  cr_assert_eq(open_dir(why, sizeof why, many), 0, "%s", why);
  cr_assert_str_eq(one, many);
  put_index(&s, cut + 1, "two.safetensors");
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "index"), "%s", why);
  static const char *const outside[] = {
      "../two.safetensors", "/two.safetensors", "two.bin", "",
      ".two.safetensors",   "a/../safetensors"};
  for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
    put_index(&s, cut, outside[i]);
    cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT, "%s",
                 outside[i]);
    cr_assert_not_null(strstr(why, "no name of a file"), "%s", why);
  }
  put_index(&s, cut, "three.safetensors");
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_ENOENT);
  cr_assert_not_null(strstr(why, "three.safetensors"), "%s", why);
  put("model.safetensors.index.json", "{\"weight_map\": {\"a\": 3}}", 25);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  put("model.safetensors.index.json", "{}", 2);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  free_source(&s);
}

/* An index with these entries after those of the tensors. */
static void put_long_index(const source_t *s, const char *more, size_t n) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 20);
  tinker__buf_adds(&b, "{\"weight_map\": {");
  for (size_t i = 0; i < s->n; i++) {
    tinker__buf_addf(&b, "\"%.*s\": \"one.safetensors\", ",
                     (int)s->list[i].name.len, s->list[i].name.ptr);
  }
  for (size_t i = 0; i < n; i++) {
    tinker__buf_addf(&b, "%s\"%s%zu\": \"%zu.safetensors\"", i ? ", " : "",
                     more, i, i);
  }
  if (n == 0) tinker__buf_adds(&b, more);
  tinker__buf_adds(&b, "}}");
  put("model.safetensors.index.json", b.data, b.len);
  tinker__buf_free(&b);
}

Test(folder, an_index_says_what_is_there) {
  source_t s;
  char why[512] = "";
  load_source(&s, "llama_untied");
  put_weights("one.safetensors", s.list, s.n);
  put_long_index(&s, "\"x\": \"one.safetensors\"", 0);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "tensors, the files hold"), "%s", why);
  put_long_index(&s, "\"x\": \"one.safetensors\", \"x\": \"one.safetensors\"",
                 0);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "tensor x is there twice"), "%s", why);
  put_long_index(&s, "x", TINKER__FOLDER_MAX_SHARDS - 1);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_ENOENT);
  put_long_index(&s, "x", TINKER__FOLDER_MAX_SHARDS);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EOVERFLOW);
  cr_assert_not_null(strstr(why, "over 1024 files"), "%s", why);
  free_source(&s);
}

/* Checkpoints name their base model by this digest: it may never change. */
Test(folder, keeps_its_digests) {
  static const char *const rows[][2] = {
      {"llama_tied",
       "3e423d1111731e8187b13bc5b06404a9c3724db9054d24641f004ec0a92be819"},
      {"llama_untied",
       "a4495631d36a18c9ab89c257cede4c120bb1d35154e2e7e419c7292be366c2a8"},
      {"qwen2_untied",
       "5664b3cece20cbf8fe56d3f1830b1c7ec38dc7697be9a54f7b37857d01c9bb44"},
      {"qwen3_tied",
       "7b86cfebce2867727babb5cbb05f9b2f3b9a26ac2e0f10be650aba092d2d73e4"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char path[256], digest[65];
    tinker__folder_t *f = NULL;
    tinker__folder_hash_t *h = NULL;
    snprintf(path, sizeof path, MODELS "%s", rows[i][0]);
    cr_assert_eq(open_in(path, &f, NULL, 0), 0);
    cr_assert_eq(tinker__folder_digest(f, digest), 0);
    cr_expect_str_eq(digest, rows[i][1], "%s %s", rows[i][0], digest);
    memset(digest, 0, sizeof digest); /* and in pieces of any size */
    cr_assert_eq(tinker__folder_hash_new(&h, f), 0);
    int steps = 1;
    while (tinker__folder_hash_step(h, 1001) == 1) steps++;
    cr_expect_geq((uint64_t)steps * 1001, tinker__folder_bytes(f));
    cr_assert_eq(tinker__folder_hash_end(h, digest), 0);
    cr_expect_str_eq(digest, rows[i][1], "%s %s", rows[i][0], digest);
    cr_assert_eq(tinker__folder_hash_new(&h, f), 0);
    cr_assert_eq(tinker__folder_hash_step(h, SIZE_MAX), 0);
    cr_assert_eq(tinker__folder_hash_end(h, NULL), 0);
    tinker__folder_close(f);
  }
}

Test(folder, names_what_is_wrong) {
  static const float row[4] = {1, 2, 3, 4};
  source_t s;
  char why[512] = "", digest[65], changed[65];
  load_source(&s, "llama_tied");
  tinker__tensor_t *extra = &s.list[s.n];
  /* Harmless: a buffer of old files, the tied head spelt out. */
  *extra = (tinker__tensor_t){
      .name = TINKER__STR("model.layers.0.self_attn.rotary_emb.inv_freq"),
      .rank = 1,
      .shape = {4},
      .data = row,
  };
  put_weights("model.safetensors", s.list, s.n);
  cr_assert_eq(open_dir(why, sizeof why, digest), 0, "%s", why);
  put_weights("model.safetensors", s.list, s.n + 1);
  cr_assert_eq(open_dir(why, sizeof why, changed), 0, "%s", why);
  cr_assert_str_eq(digest, changed);
  *extra =
      *tinker__safetensors_find(s.st, TINKER__STR("model.embed_tokens.weight"));
  extra->name = TINKER__STR("lm_head.weight");
  put_weights("model.safetensors", s.list, s.n + 1);
  cr_assert_eq(open_dir(why, sizeof why, NULL), 0, "%s", why);
  /* A head that is not the embedding. */
  extra->data = (const char *)extra->data - 4;
  put_weights("model.safetensors", s.list, s.n + 1);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "lm_head.weight differs"), "%s", why);
  extra->name = TINKER__STR("model.layers.9.mlp.up_proj.weight");
  put_weights("model.safetensors", s.list, s.n + 1);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "layers.9"), "%s", why);
  for (size_t i = 0; i < s.n; i++) { /* each one missing, each misshapen */
    tinker__tensor_t was = s.list[i];
    s.list[i] = s.list[s.n - 1];
    put_weights("model.safetensors", s.list, s.n - 1);
    cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
    cr_assert_not_null(strstr(why, "is missing"), "%s", why);
    s.list[i] = was;
    s.list[i].shape[0] -= 1;
    put_weights("model.safetensors", s.list, s.n);
    cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
    cr_assert_not_null(strstr(why, "has shape ["), "%s", why);
    s.list[i] = was;
  }
  put("model.safetensors", "", 0);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "model.safetensors is empty"), "%s", why);
  put("generation_config.json", "{\"eos_token_id\": -1}", 20);
  cr_assert_eq(open_dir(why, sizeof why, NULL), TINKER_EFORMAT);
  cr_assert_not_null(strstr(why, "generation_config.json: eos_token_id"));
  free_source(&s);
}

#define LFS "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
#define PAGE "<!DOCTYPE html><html><body>Sign in</body></html>"

/* Every file of a folder may be a pointer, a page, nothing or a part. */
Test(folder, names_what_stands_in_a_files_place) {
  static const char *const names[] = {"model.safetensors.index.json",
                                      "model.safetensors",
                                      "generation_config.json", "config.json"};
  static const struct {
    const char *data, *said;
  } rows[] = {{LFS, "git-lfs pointer"},
              {PAGE, "web page"},
              {"", "is empty: download it again"},
              {"{\"a\": {\"b\": ", "download it again"},
              {"Entry not found, sorry", ""}};
  source_t s;
  char why[512] = "";
  load_source(&s, "llama_tied"); /* puts config.json */
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
      put(names[i], rows[k].data, strlen(rows[k].data));
      why[0] = 0;
      int rc = open_dir(why, sizeof why, NULL);
      cr_expect(rc == TINKER_EFORMAT || rc == TINKER_EOVERFLOW, "%s: %d",
                names[i], rc);
      cr_expect_not_null(strstr(why, names[i]), "%s: %s", names[i], why);
      cr_expect_not_null(strstr(why, rows[k].said), "%s: %s", names[i], why);
    }
  }
  free_source(&s);
}

Test(folder, aligns_what_lies_unaligned) {
  source_t s;
  char why[512] = "", digest[65], shifted[65];
  tinker__folder_t *f = NULL;
  load_source(&s, "llama_tied");
  put("model.safetensors", s.weights.data, s.weights.len);
  cr_assert_eq(open_dir(why, sizeof why, digest), 0, "%s", why);
  tinker__buf_t b; /* one more blank behind the header shifts all by one */
  tinker__buf_init(&b, &mem, 1 << 24);
  uint64_t header = 0;
  for (int i = 7; i >= 0; i--) {
    header = header << 8 | (unsigned char)s.weights.data[i];
  }
  tinker__buf_add(&b, s.weights.data, 8 + (size_t)header);
  tinker__buf_addc(&b, ' ');
  tinker__buf_add(&b, s.weights.data + 8 + header,
                  s.weights.len - 8 - (size_t)header);
  for (int i = 0; i < 8; i++) b.data[i] = (char)((header + 1) >> (8 * i));
  put("model.safetensors", b.data, b.len);
  cr_assert_eq(open_in(dir, &f, why, sizeof why), 0, "%s", why);
  check_tensors(f);
  cr_assert_eq(tinker__folder_digest(f, shifted), 0);
  cr_assert_str_eq(digest, shifted);
  tinker__folder_close(f);
  tinker__buf_free(&b);
  free_source(&s);
}

static int open_and_digest(tinker__mem_t *m, void *user) {
  tinker__folder_t *f = NULL;
  char digest[65];
  int rc = tinker__folder_open(&f, m, tinker__world_real(), user, NULL, 0);
  if (rc == 0) rc = tinker__folder_digest(f, digest);
  tinker__folder_close(f);
  return rc;
}

Test(folder, survives_lack_of_memory) {
  source_t s;
  load_source(&s, "qwen2_tied");
  size_t cut = s.n / 2;
  put_weights("one.safetensors", s.list, cut);
  put_weights("two.safetensors", s.list + cut, s.n - cut);
  put_index(&s, cut, "two.safetensors");
  cr_assert_geq(tinker__fail_sweep(open_and_digest, dir, TINKER_ENOMEM), 20);
  free_source(&s);
}
