/* shards: see shards.h. One thread at a time while opening. */
#include "model/shards.h"

#include <string.h>
#include <tinker/error.h>

#include "base/file.h"
#include "base/impostor.h"
#include "base/json_table.h"
#include "model/folder.h"

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"
#define MAX_INDEX_BYTES (64u << 20)

typedef struct open_s {
  tinker__shards_t *s;
  tinker__map_t *by_name;
  tinker__map_t *index; /* tensor name -> shard number + 1; NULL = one file */
  const tinker__world_t *world;
  const char *dir;
  char *why;
  size_t why_len;
} open_t;

static int no_memory(open_t *o) {
  return tinker__why(o->why, o->why_len, TINKER_ENOMEM, "out of memory");
}

/* Path of a file in the folder; NULL without memory. */
static char *join(open_t *o, const char *name) {
  size_t dir = strlen(o->dir), len = strlen(name);
  char *path = tinker__mem_alloc(o->s->mem, dir + len + 2);
  if (!path) return NULL;
  memcpy(path, o->dir, dir);
  path[dir] = '/';
  memcpy(path + dir + 1, name, len + 1);
  return path;
}

/* The number of the shard of that name, added if new. */
static int shard_number(open_t *o, tinker__str_t name, size_t *number) {
  tinker__shards_t *s = o->s;
  for (*number = 0; *number < s->n; ++*number) {
    if (tinker__str_eqs(name, s->list[*number].name)) return 0;
  }
  if (s->n == TINKER__FOLDER_MAX_SHARDS) {
    return tinker__why(o->why, o->why_len, TINKER_EOVERFLOW,
                       INDEX ": over %d files", TINKER__FOLDER_MAX_SHARDS);
  }
  tinker__shard_t *list =
      tinker__mem_realloc(s->mem, s->list, (s->n + 1) * sizeof *list);
  if (!list) return no_memory(o);
  s->list = list;
  memset(&list[s->n], 0, sizeof *list);
  list[s->n].name = tinker__mem_strndup(s->mem, name.ptr, name.len);
  if (!list[s->n].name) return no_memory(o);
  s->n++;
  return 0;
}

static bool is_plain_name(tinker__str_t s) {
  return s.len > 0 && s.len < 200 && s.ptr[0] != '.' &&
         !memchr(s.ptr, '/', s.len) && !memchr(s.ptr, '\\', s.len) &&
         !memchr(s.ptr, 0, s.len) && tinker__str_ends(s, ".safetensors");
}

static int read_weight_map(open_t *o, tinker__json_t *j) {
  tinker__str_t tensor, file;
  size_t number = 0;
  void *old = NULL;
  if (!tinker__json_object(j)) return TINKER_EFORMAT;
  while (tinker__json_key(j, &tensor)) {
    if (!tinker__json_string(j, &file)) return TINKER_EFORMAT;
    if (!is_plain_name(file)) {
      return tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                         INDEX ": %.*s is no name of a file in the folder",
                         (int)(file.len < 200 ? file.len : 200), file.ptr);
    }
    int rc = shard_number(o, file, &number);
    if (rc) return rc;
    rc = tinker__map_put(o->index, tensor, (void *)(uintptr_t)(number + 1),
                         &old);
    if (rc) return no_memory(o);
    if (old) {
      return tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                         INDEX ": tensor %.*s is there twice",
                         (int)(tensor.len < 200 ? tensor.len : 200),
                         tensor.ptr);
    }
  }
  return 0;
}

static int parse_index(open_t *o, tinker__str_t text) {
  tinker__json_t j;
  tinker__str_t key;
  int rc = 0;
  bool seen = false;
  tinker__json_init(&j, o->s->mem, text.ptr, text.len);
  if (tinker__json_object(&j)) {
    while (rc == 0 && tinker__json_key(&j, &key)) {
      if (!tinker__str_eqs(key, "weight_map")) {
        tinker__json_skip(&j);
        continue;
      }
      seen = true;
      rc = read_weight_map(o, &j);
    }
  }
  if (j.error || (rc == 0 && tinker__json_end(&j) != 0)) {
    rc = tinker__json_told(&j, INDEX, o->why, o->why_len);
  } else if (rc == 0 && (!seen || o->s->n == 0)) {
    rc = tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                     INDEX ": weight_map is missing or empty");
  }
  tinker__json_done(&j);
  return rc;
}

static int read_index(open_t *o) {
  tinker__buf_t text;
  char *path = join(o, INDEX);
  tinker__buf_init(&text, o->s->mem, MAX_INDEX_BYTES);
  int rc = path ? tinker__map_new(&o->index, o->s->mem) : TINKER_ENOMEM;
  if (rc) {
    no_memory(o);
  } else {
    rc = tinker__file_read(o->world, path, &text, o->why, o->why_len);
    if (rc == TINKER_ENOENT) {
      tinker__why(o->why, o->why_len, rc,
                  "%s has neither " SINGLE " nor " INDEX, o->dir);
    }
    if (rc == 0) {
      rc = tinker__impostor_json(tinker__buf_str(&text), INDEX, o->why,
                                 o->why_len);
    }
    if (rc == 0) rc = parse_index(o, tinker__buf_str(&text));
  }
  tinker__mem_free(o->s->mem, path);
  tinker__buf_free(&text);
  return rc;
}

/* Puts the tensors of a shard under their names, against the index. */
static int index_shard(open_t *o, size_t number) {
  const tinker__shard_t *shard = &o->s->list[number];
  for (size_t i = 0; i < tinker__safetensors_len(shard->st); i++) {
    const tinker__tensor_t *t = tinker__safetensors_at(shard->st, i);
    void *old = NULL;
    if (o->index &&
        tinker__map_get(o->index, t->name) != (void *)(uintptr_t)(number + 1)) {
      return tinker__why(
          o->why, o->why_len, TINKER_EFORMAT,
          "%s: tensor %.*s is not what " INDEX " says", shard->name,
          (int)(t->name.len < 200 ? t->name.len : 200), t->name.ptr);
    }
    if (tinker__map_put(o->by_name, t->name, (void *)(uintptr_t)t, &old) != 0) {
      return no_memory(o);
    }
  }
  return 0;
}

static int open_shard(open_t *o, size_t number) {
  tinker__shard_t *shard = &o->s->list[number];
  char reason[256] = "";
  char *path = join(o, shard->name);
  if (!path) return no_memory(o);
  int rc =
      tinker__mapping_open(&shard->map, o->world, path, o->why, o->why_len);
  if (rc == TINKER_ENOENT && o->index) {
    tinker__why(o->why, o->why_len, rc,
                "%s is missing, and " INDEX " names it: download it", path);
  }
  tinker__mem_free(o->s->mem, path);
  if (rc) return rc;
  rc = tinker__safetensors_parse(&shard->st, o->s->mem, shard->map.data,
                                 shard->map.len, reason, sizeof reason);
  if (rc) {
    return tinker__why(o->why, o->why_len, rc, "%s: %s", shard->name, reason);
  }
  return index_shard(o, number);
}

static int open_all(open_t *o) {
  size_t number;
  int rc = tinker__map_new(&o->by_name, o->s->mem);
  if (rc == 0) rc = shard_number(o, tinker__str(SINGLE), &number);
  if (rc) return no_memory(o);
  rc = open_shard(o, 0);
  if (rc != TINKER_ENOENT) return rc;
  tinker__shards_close(o->s);
  rc = read_index(o);
  for (size_t i = 0; i < o->s->n && rc == 0; i++) rc = open_shard(o, i);
  if (rc == 0 && tinker__map_len(o->index) != tinker__map_len(o->by_name)) {
    rc = tinker__why(o->why, o->why_len, TINKER_EFORMAT,
                     INDEX " names %zu tensors, the files hold %zu",
                     tinker__map_len(o->index), tinker__map_len(o->by_name));
  }
  return rc;
}

int tinker__shards_open(tinker__shards_t *s, tinker__map_t **by_name,
                        tinker__mem_t *mem, const tinker__world_t *world,
                        const char *dir, char *why, size_t why_len) {
  open_t o = {s, NULL, NULL, world, dir, why, why_len};
  memset(s, 0, sizeof *s);
  s->mem = mem;
  int rc = open_all(&o);
  tinker__map_free(o.index);
  if (rc) {
    tinker__map_free(o.by_name);
    tinker__shards_close(s);
    return rc;
  }
  *by_name = o.by_name;
  return 0;
}

void tinker__shards_close(tinker__shards_t *s) {
  for (size_t i = 0; i < s->n; i++) {
    tinker__safetensors_free(s->list[i].st);
    tinker__mapping_close(&s->list[i].map);
    tinker__mem_free(s->mem, s->list[i].name);
  }
  tinker__mem_free(s->mem, s->list);
  s->list = NULL;
  s->n = 0;
}
