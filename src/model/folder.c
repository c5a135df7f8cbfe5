/* folder: see folder.h. Owns the mapped files and the table of tensors by
 * role; nothing changes after open. */
#include "model/folder.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "base/file.h"
#include "model/roles.h"
#include "model/shards.h"

struct tinker__folder_s {
  tinker__mem_t *mem;
  tinker__model_config_t config;
  tinker__shards_t shards;
  /* [layer * ROLE_COUNT + role]; data NULL = none. Roles that exist once are
   * in layer 0. */
  tinker__tensor_t *tensors;
  void **copies; /* aligned copies of tensors that lie unaligned */
  size_t num_copies;
  uint64_t bytes;
};

typedef struct open_s {
  tinker__folder_t *f;
  tinker__map_t *left; /* tensors that have no role yet */
  const tinker__world_t *world;
  const char *dir;
  char *why;
  size_t why_len;
} open_t;

static int read_text(open_t *o, const char *name, tinker__buf_t *out) {
  tinker__mem_t *mem = o->f->mem;
  size_t len = strlen(o->dir) + strlen(name) + 2;
  char *path = tinker__mem_alloc(mem, len);
  if (!path) {
    return tinker__why(o->why, o->why_len, TINKER_ENOMEM, "out of memory");
  }
  snprintf(path, len, "%s/%s", o->dir, name);
  int rc = tinker__file_read(o->world, path, out, o->why, o->why_len);
  tinker__mem_free(mem, path);
  return rc;
}

static int read_config(open_t *o) {
  tinker__folder_t *f = o->f;
  tinker__buf_t text;
  tinker__buf_init(&text, f->mem, TINKER__CONFIG_MAX_BYTES);
  int rc = read_text(o, "config.json", &text);
  if (rc == 0) {
    rc = tinker__config_parse(&f->config, f->mem, tinker__buf_str(&text),
                              o->why, o->why_len);
  }
  if (rc == 0) {
    tinker__buf_clear(&text);
    rc = read_text(o, "generation_config.json", &text);
    if (rc == 0) {
      rc = tinker__config_parse_generation(
          &f->config, f->mem, tinker__buf_str(&text), o->why, o->why_len);
    } else if (rc == TINKER_ENOENT) {
      rc = 0;
    }
  }
  tinker__buf_free(&text);
  return rc;
}

/* "[2, 3]" for a message. */
static void shape_text(char *out, size_t len, const uint64_t *shape,
                       uint32_t rank) {
  size_t at = 0;
  at += (size_t)snprintf(out, len, "[");
  for (uint32_t i = 0; i < rank && at + 24 < len; i++) {
    at += (size_t)snprintf(out + at, len - at, i ? ", %llu" : "%llu",
                           (unsigned long long)shape[i]);
  }
  snprintf(out + at, len - at, "]");
}

static int check_shape(open_t *o, const tinker__tensor_t *t,
                       tinker__role_t role) {
  uint64_t want[2];
  uint32_t rank = tinker__role_shape(&o->f->config, role, want);
  bool ok = t->rank == rank && t->shape[0] == want[0] &&
            (rank == 1 || t->shape[1] == want[1]);
  if (ok) return 0;
  char is[200], should[64];
  shape_text(is, sizeof is, t->shape, t->rank);
  shape_text(should, sizeof should, want, rank);
  return tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                     "tensor %.*s has shape %s, config.json asks for %s",
                     (int)t->name.len, t->name.ptr, is, should);
}

/* The format lets tensors lie anywhere; the engines read whole elements. */
static int align(open_t *o, tinker__tensor_t *t) {
  tinker__folder_t *f = o->f;
  if ((uintptr_t)t->data % tinker__weight_type_size(t->dtype) == 0) return 0;
  void **copies = tinker__mem_realloc(f->mem, f->copies,
                                      (f->num_copies + 1) * sizeof *copies);
  if (copies) f->copies = copies;
  void *copy =
      copies ? tinker__mem_dup(f->mem, t->data, (size_t)t->bytes) : NULL;
  if (!copy) {
    return tinker__why(o->why, o->why_len, TINKER_ENOMEM, "out of memory");
  }
  f->copies[f->num_copies++] = copy;
  t->data = copy;
  return 0;
}

static int bind_role(open_t *o, tinker__role_t role, uint32_t layer) {
  tinker__folder_t *f = o->f;
  char name[TINKER__ROLE_NAME_MAX];
  tinker__tensor_t *t = &f->tensors[layer * TINKER__ROLE_COUNT + role];
  tinker__role_name(name, role, layer);
  const tinker__tensor_t *found =
      tinker__map_remove(o->left, tinker__str(name));
  if (!found) {
    return tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                       "tensor %s is missing", name);
  }
  *t = *found;
  f->bytes += t->bytes;
  int rc = check_shape(o, t, role);
  return rc ? rc : align(o, t);
}

static int bind_all(open_t *o) {
  const tinker__model_config_t *c = &o->f->config;
  for (uint32_t layer = 0; layer < c->num_layers; layer++) {
    for (int r = 0; r < TINKER__ROLE_COUNT; r++) {
      tinker__role_t role = (tinker__role_t)r;
      if (!tinker__role_present(c, role)) continue;
      if (layer > 0 && !tinker__role_layered(role)) continue;
      int rc = bind_role(o, role, layer);
      if (rc) return rc;
    }
  }
  return 0;
}

static int check_tied_head(open_t *o, const tinker__tensor_t *head) {
  const tinker__tensor_t *embed = &o->f->tensors[TINKER__ROLE_EMBED];
  if (head->dtype == embed->dtype && head->bytes == embed->bytes &&
      memcmp(head->data, embed->data, (size_t)head->bytes) == 0) {
    return 0;
  }
  return tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                     "lm_head.weight differs from the embedding, but "
                     "config.json says tie_word_embeddings");
}

/* A tensor without a role is refused unless it is known to be harmless. */
static int check_left(open_t *o) {
  size_t cursor = 0;
  tinker__str_t name;
  void *value;
  while (tinker__map_next(o->left, &cursor, &name, &value)) {
    if (tinker__str_ends(name, ".rotary_emb.inv_freq")) continue;
    if (!o->f->config.tied || !tinker__str_eqs(name, "lm_head.weight")) {
      return tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                         "tensor %.*s has no place in a %s model of this "
                         "configuration",
                         (int)(name.len < 200 ? name.len : 200), name.ptr,
                         tinker__arch_name(o->f->config.arch));
    }
    int rc = check_tied_head(o, value);
    if (rc) return rc;
  }
  return 0;
}

static int open_folder(open_t *o) {
  tinker__folder_t *f = o->f;
  int rc = read_config(o);
  if (rc) return rc;
  f->tensors = tinker__mem_array(
      f->mem, (size_t)f->config.num_layers * TINKER__ROLE_COUNT,
      sizeof *f->tensors);
  if (!f->tensors) {
    return tinker__why(o->why, o->why_len, TINKER_ENOMEM, "out of memory");
  }
  rc = tinker__shards_open(&f->shards, &o->left, f->mem, o->world, o->dir,
                           o->why, o->why_len);
  if (rc == 0) rc = bind_all(o);
  if (rc == 0) rc = check_left(o);
  if (rc == 0 && f->config.tied) {
    f->tensors[TINKER__ROLE_LM_HEAD] = f->tensors[TINKER__ROLE_EMBED];
  }
  return rc;
}

int tinker__folder_open(tinker__folder_t **out, tinker__mem_t *mem,
                        const tinker__world_t *world, const char *dir,
                        char *why, size_t why_len) {
  open_t o = {
      tinker__mem_zalloc(mem, sizeof *o.f), NULL, world, dir, why, why_len};
  if (!o.f) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  o.f->mem = mem;
  int rc = open_folder(&o);
  tinker__map_free(o.left);
  if (rc) {
    tinker__folder_close(o.f);
    return rc;
  }
  *out = o.f;
  return 0;
}

void tinker__folder_close(tinker__folder_t *f) {
  if (!f) return;
  for (size_t i = 0; i < f->num_copies; i++) {
    tinker__mem_free(f->mem, f->copies[i]);
  }
  tinker__mem_free(f->mem, f->copies);
  tinker__mem_free(f->mem, f->tensors);
  if (f->shards.mem) tinker__shards_close(&f->shards);
  tinker__mem_free(f->mem, f);
}

const tinker__model_config_t *tinker__folder_config(const tinker__folder_t *f) {
  return &f->config;
}

const tinker__tensor_t *tinker__folder_tensor(const tinker__folder_t *f,
                                              tinker__role_t role,
                                              uint32_t layer) {
  if (layer >= f->config.num_layers || role >= TINKER__ROLE_COUNT) return NULL;
  const tinker__tensor_t *t = &f->tensors[layer * TINKER__ROLE_COUNT + role];
  return t->data ? t : NULL;
}

uint64_t tinker__folder_bytes(const tinker__folder_t *f) {
  return f->bytes;
}

static void add_number(tinker__buf_t *b, const char *key, double v) {
  char text[32];
  tinker__format_f64(text, v);
  tinker__buf_addf(b, "%s=%s\n", key, text);
}

static void describe_config(tinker__buf_t *b, const tinker__model_config_t *c) {
  tinker__buf_addf(b, "tinker-c base model 1\n%s\n",
                   tinker__arch_name(c->arch));
  tinker__buf_addf(b, "%u %u %u %u %u %u %u\n", c->vocab_size, c->hidden_size,
                   c->num_layers, c->num_heads, c->num_kv_heads, c->head_dim,
                   c->intermediate_size);
  tinker__buf_addf(b, "tied=%d qkv_bias=%d o_bias=%d qk_norm=%d\n", c->tied,
                   c->qkv_bias, c->o_bias, c->qk_norm);
  add_number(b, "eps", c->rms_norm_eps);
  add_number(b, "theta", c->rope.theta);
  if (c->rope.kind == TINKER__ROPE_LLAMA3) {
    add_number(b, "factor", c->rope.factor);
    add_number(b, "low", c->rope.low_freq_factor);
    add_number(b, "high", c->rope.high_freq_factor);
    tinker__buf_addf(b, "original=%u\n", c->rope.original_max_positions);
  }
}

struct tinker__folder_hash_s {
  const tinker__folder_t *folder;
  tinker__sha256_t *sha;
  tinker__buf_t text;
  size_t tensor; /* the next, or the one under way */
  uint64_t at;   /* its bytes that have been taken */
};

int tinker__folder_hash_new(tinker__folder_hash_t **out,
                            const tinker__folder_t *f) {
  tinker__folder_hash_t *h = tinker__mem_zalloc(f->mem, sizeof *h);
  if (!h) return TINKER_ENOMEM;
  h->folder = f;
  tinker__buf_init(&h->text, f->mem, 1 << 16);
  describe_config(&h->text, &f->config);
  int rc = tinker__buf_error(&h->text);
  if (rc == 0) rc = tinker__sha256_new(&h->sha, f->mem);
  if (rc == 0) rc = tinker__sha256_add(h->sha, h->text.data, h->text.len);
  if (rc == 0) {
    *out = h;
  } else {
    tinker__folder_hash_end(h, NULL);
  }
  return rc;
}

static int add_name(tinker__folder_hash_t *h, const tinker__tensor_t *t) {
  char shape[200];
  shape_text(shape, sizeof shape, t->shape, t->rank);
  tinker__buf_clear(&h->text);
  tinker__buf_addf(&h->text, "%.*s %s %s\n", (int)t->name.len, t->name.ptr,
                   tinker__weight_type_name(t->dtype), shape);
  int rc = tinker__buf_error(&h->text);
  return rc ? rc : tinker__sha256_add(h->sha, h->text.data, h->text.len);
}

static const tinker__tensor_t *hashed(const tinker__folder_t *f, size_t i) {
  const tinker__tensor_t *t = &f->tensors[i];
  bool skip = !t->data || (i == TINKER__ROLE_LM_HEAD && f->config.tied);
  return skip ? NULL : t;
}

int tinker__folder_hash_step(tinker__folder_hash_t *h, size_t bytes) {
  const tinker__folder_t *f = h->folder;
  size_t n = (size_t)f->config.num_layers * TINKER__ROLE_COUNT;
  int rc = 0;
  while (h->tensor < n && bytes > 0 && rc == 0) {
    const tinker__tensor_t *t = hashed(f, h->tensor);
    if (!t) {
      h->tensor++;
      continue;
    }
    if (h->at == 0) rc = add_name(h, t);
    uint64_t piece = t->bytes - h->at < bytes ? t->bytes - h->at : bytes;
    if (rc == 0) {
      rc = tinker__sha256_add(h->sha, (const char *)t->data + h->at,
                              (size_t)piece);
    }
    bytes -= (size_t)piece;
    h->at += piece;
    if (h->at < t->bytes) continue;
    h->tensor++;
    h->at = 0;
  }
  return rc ? rc : h->tensor < n;
}

int tinker__folder_hash_end(tinker__folder_hash_t *h, char out[65]) {
  unsigned char sum[TINKER__SHA256_LEN];
  int rc = h->sha ? tinker__sha256_end(h->sha, sum) : TINKER_ENOMEM;
  if (rc == 0 && out) tinker__hex(sum, sizeof sum, out);
  tinker__buf_free(&h->text);
  tinker__mem_free(h->folder->mem, h);
  return rc;
}

int tinker__folder_digest(const tinker__folder_t *f, char out[65]) {
  tinker__folder_hash_t *h = NULL;
  int rc = tinker__folder_hash_new(&h, f);
  if (rc) return rc;
  do {
    rc = tinker__folder_hash_step(h, SIZE_MAX);
  } while (rc > 0);
  int end = tinker__folder_hash_end(h, rc ? NULL : out);
  return rc ? rc : end;
}
