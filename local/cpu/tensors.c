/* tensors: see tensors.h. */
#include "cpu/tensors.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "base/file.h"

#define NAME_MAX_BYTES (TINKER__PEFT_NAME_MAX + 16)
/* Header bytes allowed for each tensor of a file. */
#define HEADER_EACH 512
#define HEADER_BASE 65536

char *tinker__cpu_path(tinker__mem_t *mem, const char *dir, const char *file) {
  size_t a = strlen(dir), b = strlen(file);
  char *path = tinker__mem_alloc(mem, a + b + 2);
  if (!path) return NULL;
  memcpy(path, dir, a);
  path[a] = '/';
  memcpy(path + a + 1, file, b + 1);
  return path;
}

/* Calls for A and B of each target that is on. */
typedef int (*visit_fn)(void *user, const char *name, uint64_t rows,
                        uint64_t cols, size_t at);

static int visit(const tinker__cpu_lora_t *l, const char *suffix, visit_fn fn,
                 void *user) {
  for (size_t i = 0; i < 2 * l->num_targets; i++) {
    const tinker__cpu_target_t *t = &l->targets[i / 2];
    tinker__lora_side_t side = i % 2 ? TINKER__LORA_B : TINKER__LORA_A;
    char name[TINKER__PEFT_NAME_MAX], full[NAME_MAX_BYTES];
    if (!t->on) continue;
    tinker__cpu_target_name(l, i / 2, side, name);
    snprintf(full, sizeof full, "%s%s", name, suffix);
    int rc = side == TINKER__LORA_A ? fn(user, full, l->rank, t->in, t->a)
                                    : fn(user, full, t->out, l->rank, t->b);
    if (rc) return rc;
  }
  return 0;
}

static size_t count_tensors(const tinker__cpu_lora_t *l) {
  size_t n = 0;
  for (size_t i = 0; i < l->num_targets; i++) n += l->targets[i].on ? 2 : 0;
  return n;
}

typedef struct {
  tinker__mem_t *mem;
  tinker__tensor_t *tensors;
  size_t n;
  const float *data;
} list_t;

static int list_one(void *user, const char *name, uint64_t rows, uint64_t cols,
                    size_t at) {
  list_t *l = user;
  const char *copy = tinker__mem_strdup(l->mem, name);
  if (!copy) return TINKER_ENOMEM;
  l->tensors[l->n++] = (tinker__tensor_t){
      .name = tinker__str(copy),
      .dtype = TINKER__WEIGHT_F32,
      .rank = 2,
      .shape = {rows, cols},
      .data = l->data + at,
  };
  return 0;
}

/* A file that is being written, with the digest of its bytes. */
typedef struct {
  tinker__draft_t draft;
  tinker__sha256_t *sha;
} writer_t;

static int add(writer_t *w, const void *data, size_t len, char *why,
               size_t why_len) {
  int rc = tinker__sha256_add(w->sha, data, len);
  if (rc) return tinker__why(why, why_len, rc, "out of memory");
  return tinker__draft_add(&w->draft, data, len, why, why_len);
}

/* Writes each tensor from its place in memory: a copy of all tensors would
 * double the memory of a state. */
static int add_all(writer_t *w, list_t *l, char *why, size_t why_len) {
  tinker__buf_t head;
  tinker__buf_init(&head, l->mem, SIZE_MAX / 2);
  int rc = tinker__safetensors_head(&head, l->mem, l->tensors, l->n, NULL, 0,
                                    why, why_len);
  if (!rc) rc = add(w, head.data, head.len, why, why_len);
  tinker__buf_free(&head);
  for (size_t i = 0; !rc && i < l->n; i++) {
    const tinker__tensor_t *t = &l->tensors[i];
    rc = add(w, t->data, (size_t)t->bytes, why, why_len);
  }
  return rc;
}

static int write_file(list_t *l, const char *path, char hex[65], char *why,
                      size_t why_len) {
  unsigned char sha[TINKER__SHA256_LEN];
  writer_t w;
  int rc = tinker__sha256_new(&w.sha, l->mem);
  if (rc) return tinker__why(why, why_len, rc, "out of memory");
  rc = tinker__draft_begin(&w.draft, tinker__world_real(), path, 0600, why,
                           why_len);
  if (!rc) rc = add_all(&w, l, why, why_len);
  int end = tinker__sha256_end(w.sha, sha);
  if (!rc && end) rc = tinker__why(why, why_len, end, "out of memory");
  if (!rc) rc = tinker__draft_publish(&w.draft, why, why_len);
  tinker__draft_drop(&w.draft);
  if (!rc && hex) tinker__hex(sha, sizeof sha, hex);
  return rc;
}

int tinker__cpu_tensors_save(const tinker__cpu_lora_t *l,
                             const tinker__cpu_part_t *parts, size_t num_parts,
                             const char *dir, const char *file, char hex[65],
                             char *why, size_t why_len) {
  tinker__mem_t *mem = l->base->engine->mem;
  size_t each = count_tensors(l);
  list_t list = {.mem = mem};
  char *path = tinker__cpu_path(mem, dir, file);
  list.tensors = tinker__mem_array(mem, num_parts * each, sizeof *list.tensors);
  int rc = list.tensors && path ? 0 : TINKER_ENOMEM;
  for (size_t i = 0; !rc && i < num_parts; i++) {
    list.data = parts[i].data;
    rc = visit(l, parts[i].suffix, list_one, &list);
  }
  if (rc) {
    rc = tinker__why(why, why_len, rc, "out of memory");
  } else {
    rc = write_file(&list, path, hex, why, why_len);
  }
  for (size_t i = 0; i < list.n; i++) {
    tinker__mem_free(mem, (void *)(uintptr_t)list.tensors[i].name.ptr);
  }
  tinker__mem_free(mem, list.tensors);
  tinker__mem_free(mem, path);
  return rc;
}

/* An opened file of tensors. */
typedef struct {
  tinker__mem_t *mem;
  const tinker__cpu_kernels_t *ks;
  const char *file;
  tinker__buf_t buf;
  tinker__safetensors_t *st;
  float *data;
  char *why;
  size_t why_len;
} reader_t;

static int open_reader(reader_t *r, const tinker__cpu_lora_t *l, size_t parts,
                       const char *dir, const char *file) {
  size_t tensors = parts * count_tensors(l);
  r->mem = l->base->engine->mem;
  r->file = file;
  r->ks = l->base->engine->ks;
  size_t max =
      parts * l->floats * sizeof(float) + tensors * HEADER_EACH + HEADER_BASE;
  tinker__buf_init(&r->buf, r->mem, max);
  char *path = tinker__cpu_path(r->mem, dir, file);
  /* The buffer gets its full size at once, since a buffer that grows has two
   * copies at times. */
  int rc = path && !tinker__buf_reserve(&r->buf, max) ? 0 : TINKER_ENOMEM;
  rc = rc ? tinker__why(r->why, r->why_len, rc, "out of memory")
          : tinker__file_read(tinker__world_real(), path, &r->buf, r->why,
                              r->why_len);
  tinker__mem_free(r->mem, path);
  return rc;
}

static int parse(reader_t *r) {
  char reason[300] = "";
  const char *data = r->buf.len ? r->buf.data : "";
  int rc = tinker__safetensors_parse(&r->st, r->mem, data, r->buf.len, reason,
                                     sizeof reason);
  return rc ? tinker__why(r->why, r->why_len, rc, "%s: %s", r->file, reason)
            : 0;
}

static void close_reader(reader_t *r) {
  tinker__safetensors_free(r->st);
  tinker__buf_free(&r->buf);
}

/* Widens a tensor to floats. 16-bit types are copied first, since they may be
 * unaligned in a file. */
static int widen(const reader_t *r, float *out, const tinker__tensor_t *t) {
  if (t->dtype == TINKER__WEIGHT_F32) {
    memcpy(out, t->data, (size_t)t->bytes);
    return 0;
  }
  void *copy = tinker__mem_dup(r->mem, t->data, (size_t)t->bytes);
  if (!copy) {
    return tinker__why(r->why, r->why_len, TINKER_ENOMEM, "out of memory");
  }
  r->ks->widen(out, copy, (tinker__cpu_elem_t)t->dtype, (size_t)t->count);
  tinker__mem_free(r->mem, copy);
  return 0;
}

static int read_one(void *user, const char *name, uint64_t rows, uint64_t cols,
                    size_t at) {
  reader_t *r = user;
  const tinker__tensor_t *t =
      tinker__safetensors_find(r->st, tinker__str(name));
  if (!t || t->rank != 2 || t->shape[0] != rows || t->shape[1] != cols) {
    return tinker__why(r->why, r->why_len, TINKER_EFORMAT, "tensor %s: %s",
                       name, t ? "wrong shape" : "missing");
  }
  return widen(r, r->data + at, t);
}

static int check_digest(reader_t *r, const char hex[65]) {
  unsigned char sha[TINKER__SHA256_LEN];
  char found[65];
  int rc = tinker__sha256(r->buf.data, r->buf.len, sha);
  if (rc) return tinker__why(r->why, r->why_len, rc, "out of memory");
  tinker__hex(sha, sizeof sha, found);
  if (memcmp(found, hex, sizeof found) == 0) return 0;
  return tinker__why(r->why, r->why_len, TINKER_EFORMAT,
                     "%s: its digest is not the one that was stored", r->file);
}

/* Checks the tensors of a train state against its state.json. */
static int check_state(reader_t *r, const tinker__train_state_t *state,
                       const tinker__model_config_t *model) {
  char reason[300] = "";
  int rc =
      tinker__train_state_check(r->st, state, model, reason, sizeof reason);
  return rc ? tinker__why(r->why, r->why_len, rc, "%s: %s", r->file, reason)
            : 0;
}

int tinker__cpu_tensors_load(const tinker__cpu_lora_t *l,
                             const tinker__cpu_part_t *parts, size_t num_parts,
                             const tinker__train_state_t *state,
                             const char *dir, char *why, size_t why_len) {
  reader_t r = {.why = why, .why_len = why_len};
  int rc = open_reader(&r, l, tinker__train_state_num_parts(state), dir,
                       TINKER__TRAIN_STATE_TENSORS);
  if (!rc) rc = check_digest(&r, state->sha256);
  if (!rc) rc = parse(&r);
  if (!rc) rc = check_state(&r, state, &l->base->config);
  for (size_t i = 0; !rc && i < num_parts; i++) {
    r.data = parts[i].data;
    rc = visit(l, parts[i].suffix, read_one, &r);
  }
  close_reader(&r);
  return rc;
}

int tinker__cpu_tensors_load_peft(const tinker__cpu_lora_t *l, float *w,
                                  const tinker__peft_config_t *config,
                                  const char *dir, char *why, size_t why_len) {
  reader_t r = {.why = why, .why_len = why_len, .data = w};
  int rc = open_reader(&r, l, 1, dir, "adapter_model.safetensors");
  if (!rc) rc = parse(&r);
  if (!rc) {
    rc = tinker__peft_check(r.st, config, &l->base->config, why, why_len);
  }
  if (!rc) rc = visit(l, "", read_one, &r);
  close_reader(&r);
  return rc;
}
