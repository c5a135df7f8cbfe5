/* state: see state.h. */
#include "cpu/state.h"

#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/json_read.h"
#include "base/json_write.h"
#include "cpu/tensors.h"

#define FORMAT 1
#define JSON_MAX 65536
#define CONFIG_FILE "state.json"
#define TENSOR_FILE "state.safetensors"
#define PARTS 3

static void set_parts(const tinker__train_t *t, tinker__part_t out[PARTS]) {
  out[0] = (tinker__part_t){.suffix = "", .data = t->current->w};
  out[1] = (tinker__part_t){.suffix = ".exp_avg", .data = t->m};
  out[2] = (tinker__part_t){.suffix = ".exp_avg_sq", .data = t->v};
}

/* What state.json says. */
typedef struct {
  tinker__lora_config_t lora;
  uint64_t format, step;
  char base[65], sha256[65];
} header_t;

static int publish(tinker__mem_t *mem, tinker__buf_t *buf, const char *dir,
                   const char *file, char *why, size_t why_len) {
  char *path = tinker__path(mem, dir, file);
  int rc = tinker__buf_error(buf);
  if (!path || rc) {
    rc = tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  } else {
    rc = tinker__file_publish(tinker__world_real(), path, buf->data, buf->len,
                              0600, why, why_len);
  }
  tinker__mem_free(mem, path);
  tinker__buf_free(buf);
  return rc;
}

static void write_header(tinker__buf_t *buf, const tinker__train_t *t,
                         const char *sha256) {
  const tinker__lora_config_t *c = &t->lora->config;
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, buf);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "format");
  tinker__jsonw_u64(&w, FORMAT);
  tinker__jsonw_key(&w, "rank");
  tinker__jsonw_u64(&w, c->rank);
  tinker__jsonw_key(&w, "alpha");
  tinker__jsonw_f64(&w, t->lora->alpha);
  tinker__jsonw_key(&w, "seed");
  tinker__jsonw_u64(&w, c->seed);
  tinker__jsonw_key(&w, "train_attn");
  tinker__jsonw_bool(&w, c->train_attn);
  tinker__jsonw_key(&w, "train_mlp");
  tinker__jsonw_bool(&w, c->train_mlp);
  tinker__jsonw_key(&w, "train_unembed");
  tinker__jsonw_bool(&w, c->train_unembed);
  tinker__jsonw_key(&w, "step");
  tinker__jsonw_u64(&w, t->step);
  tinker__jsonw_key(&w, "base_digest");
  tinker__jsonw_cstr(&w, t->base->digest);
  tinker__jsonw_key(&w, "tensors_sha256");
  tinker__jsonw_cstr(&w, sha256);
  tinker__jsonw_end_object(&w);
}

int tinker__train_save(tinker__train_t *t, const char *dir, char *why,
                       size_t why_len) {
  tinker__mem_t *mem = t->base->engine->mem;
  tinker__part_t parts[PARTS];
  tinker__buf_t buf;
  char hex[65];
  set_parts(t, parts);
  int rc = tinker__tensors_save(t->lora, parts, PARTS, dir, TENSOR_FILE, hex,
                                why, why_len);
  if (rc) return rc;
  tinker__buf_init(&buf, mem, JSON_MAX);
  write_header(&buf, t, hex);
  return publish(mem, &buf, dir, CONFIG_FILE, why, why_len);
}

static void read_hex(tinker__json_t *j, char out[65]) {
  tinker__str_t s;
  if (!tinker__json_string(j, &s)) return;
  if (s.len != 64) {
    tinker__json_fail(j, TINKER_EFORMAT, "a digest has 64 characters");
    return;
  }
  memcpy(out, s.ptr, 64);
  out[64] = '\0';
}

#define FIELDS 10

/* One key; returns its bit, 0 for an unknown one. */
static unsigned read_field(tinker__json_t *j, tinker__str_t key, header_t *h) {
  uint64_t rank = 0;
  double alpha = 0;
  if (tinker__str_eqs(key, "format")) {
    tinker__json_u64(j, &h->format);
    return 1u << 0;
  }
  if (tinker__str_eqs(key, "rank")) {
    if (tinker__json_u64(j, &rank)) {
      h->lora.rank = rank > UINT32_MAX ? 0 : (uint32_t)rank;
    }
    return 1u << 1;
  }
  if (tinker__str_eqs(key, "alpha")) {
    /* Always 32 today; another value is a file this engine can't honour. */
    if (tinker__json_f64(j, &alpha) && alpha != 32.0) {
      tinker__json_fail(j, TINKER_EFORMAT, "alpha is not 32");
    }
    return 1u << 2;
  }
  if (tinker__str_eqs(key, "seed")) {
    tinker__json_u64(j, &h->lora.seed);
    return 1u << 3;
  }
  if (tinker__str_eqs(key, "train_attn")) {
    tinker__json_bool(j, &h->lora.train_attn);
    return 1u << 4;
  }
  if (tinker__str_eqs(key, "train_mlp")) {
    tinker__json_bool(j, &h->lora.train_mlp);
    return 1u << 5;
  }
  if (tinker__str_eqs(key, "train_unembed")) {
    tinker__json_bool(j, &h->lora.train_unembed);
    return 1u << 6;
  }
  if (tinker__str_eqs(key, "step")) {
    tinker__json_u64(j, &h->step);
    return 1u << 7;
  }
  if (tinker__str_eqs(key, "base_digest")) {
    read_hex(j, h->base);
    return 1u << 8;
  }
  if (tinker__str_eqs(key, "tensors_sha256")) {
    read_hex(j, h->sha256);
    return 1u << 9;
  }
  tinker__json_fail(j, TINKER_EFORMAT, "unknown key");
  return 0;
}

static int parse_header(tinker__mem_t *mem, tinker__str_t text, header_t *h,
                        char *why, size_t why_len) {
  tinker__json_t j;
  tinker__str_t key;
  unsigned seen = 0;
  tinker__json_init(&j, mem, text.ptr, text.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      unsigned bit = read_field(&j, key, h);
      if (seen & bit) tinker__json_fail(&j, TINKER_EFORMAT, "a key is twice");
      seen |= bit;
    }
  }
  int rc = tinker__json_end(&j);
  if (!rc && seen != (1u << FIELDS) - 1) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     CONFIG_FILE ": a key is missing");
  } else if (!rc && h->format != FORMAT) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     CONFIG_FILE ": format is not %d", FORMAT);
  } else if (rc) {
    rc = tinker__why(why, why_len, rc, CONFIG_FILE ": %s at byte %zu",
                     j.reason ? j.reason : "malformed", j.error_at);
  }
  tinker__json_done(&j);
  return rc;
}

static int read_text(tinker__mem_t *mem, const char *dir, const char *file,
                     tinker__buf_t *buf, char *why, size_t why_len) {
  char *path = tinker__path(mem, dir, file);
  if (!path) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  int rc =
      tinker__file_read(tinker__world_real(), path, buf, why, why_len);
  tinker__mem_free(mem, path);
  return rc;
}

static int read_header(tinker__mem_t *mem, const char *dir, header_t *h,
                       char *why, size_t why_len) {
  tinker__buf_t buf;
  *h = (header_t){0};
  tinker__buf_init(&buf, mem, JSON_MAX);
  int rc = read_text(mem, dir, CONFIG_FILE, &buf, why, why_len);
  if (!rc) rc = parse_header(mem, tinker__buf_str(&buf), h, why, why_len);
  tinker__buf_free(&buf);
  return rc ? rc : tinker__lora_check(&h->lora, why, why_len);
}

int tinker__train_peek(const char *dir, tinker__lora_config_t *out, char *why,
                       size_t why_len) {
  tinker__mem_t mem;
  header_t h;
  tinker__mem_init(&mem, NULL, 0);
  int rc = read_header(&mem, dir, &h, why, why_len);
  if (!rc) *out = h.lora;
  return rc;
}

int tinker__train_load(tinker__base_t *b, const char *dir, bool optimizer,
                       tinker__train_t **out, char *why, size_t why_len) {
  header_t h;
  tinker__train_t *t = NULL;
  tinker__part_t parts[PARTS];
  int rc = read_header(b->engine->mem, dir, &h, why, why_len);
  if (rc) return rc;
  if (strcmp(h.base, b->digest) != 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_digest: saved for another base model");
  }
  rc = tinker__train_blank(b, &h.lora, &t, why, why_len);
  if (rc) return rc;
  set_parts(t, parts);
  rc = tinker__tensors_load(t->lora, parts, optimizer ? PARTS : 1, PARTS, dir,
                            TENSOR_FILE, h.sha256, why, why_len);
  if (rc) {
    tinker__train_free(t);
    return rc;
  }
  if (optimizer) t->step = h.step;
  *out = t;
  return 0;
}

int tinker__adapter_save(tinker__adapter_t *a, const char *dir, char *why,
                         size_t why_len) {
  tinker__lora_t *l = a->lora;
  tinker__mem_t *mem = l->base->engine->mem;
  tinker__part_t part = {.suffix = "", .data = a->w};
  tinker__peft_config_t config = {.rank = (uint32_t)l->rank,
                                  .alpha = l->alpha};
  tinker__buf_t buf;
  int rc = tinker__tensors_save(l, &part, 1, dir, "adapter_model.safetensors",
                                NULL, why, why_len);
  if (rc) return rc;
  for (size_t p = 0; p < TINKER__LORA_COUNT; p++) {
    size_t target = p < TINKER__PROJS ? p : l->num_targets - 1;
    if (l->targets[target].on) config.targets |= TINKER__LORA_BIT(p);
  }
  tinker__buf_init(&buf, mem, JSON_MAX);
  tinker__peft_config_write(&buf, &config);
  return publish(mem, &buf, dir, "adapter_config.json", why, why_len);
}

static int load_adapter(tinker__base_t *b, const char *dir,
                        const tinker__peft_config_t *peft,
                        tinker__adapter_t **out, char *why, size_t why_len) {
  tinker__lora_config_t config = {
      .rank = peft->rank,
      .train_attn = (peft->targets & TINKER__LORA_ATTN) != 0,
      .train_mlp = (peft->targets & TINKER__LORA_MLP) != 0,
      .train_unembed =
          (peft->targets & TINKER__LORA_BIT(TINKER__LORA_LM_HEAD)) != 0};
  bool on[TINKER__LORA_COUNT];
  tinker__lora_t *lora = NULL;
  tinker__adapter_t *a = NULL;
  for (size_t p = 0; p < TINKER__LORA_COUNT; p++) {
    on[p] = (peft->targets & TINKER__LORA_BIT(p)) != 0;
  }
  int rc = tinker__lora_new(&lora, b, &config, peft->alpha, on);
  if (!rc) rc = tinker__adapter_new(&a, lora);
  tinker__lora_release(lora);
  if (rc) return tinker__why(why, why_len, rc, "no memory for the adapter");
  rc = tinker__tensors_load_peft(a->lora, a->w, peft, dir, why, why_len);
  if (rc) {
    tinker__adapter_release(a);
  } else {
    *out = a;
  }
  return rc;
}

int tinker__adapter_load(tinker__base_t *b, const char *dir,
                         tinker__adapter_t **out, char *why, size_t why_len) {
  tinker__mem_t *mem = b->engine->mem;
  tinker__peft_config_t peft = {0};
  tinker__buf_t buf;
  tinker__buf_init(&buf, mem, JSON_MAX);
  int rc = read_text(mem, dir, "adapter_config.json", &buf, why, why_len);
  if (!rc) {
    rc = tinker__peft_config_parse(&peft, mem, tinker__buf_str(&buf), why,
                                   why_len);
  }
  tinker__buf_free(&buf);
  if (rc) return rc;
  rc = load_adapter(b, dir, &peft, out, why, why_len);
  tinker__mem_free(mem, peft.base_model);
  return rc;
}
