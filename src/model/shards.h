/* shards: the weight files of a model folder, mapped and parsed. */
#ifndef TINKER_MODEL_SHARDS_H
#define TINKER_MODEL_SHARDS_H

#include "base/map.h"
#include "model/mapping.h"
#include "model/safetensors.h"

typedef struct tinker__shard_s {
  char *name; /* of the file */
  tinker__mapping_t map;
  tinker__safetensors_t *st;
} tinker__shard_t;

typedef struct tinker__shards_s {
  tinker__mem_t *mem;
  tinker__shard_t *list;
  size_t n;
} tinker__shards_t;

/* Opens model.safetensors, else what model.safetensors.index.json lists, and
 * checks each file against the index. *by_name gets every tensor under its
 * name (free with tinker__map_free); on failure both are empty. */
int tinker__shards_open(tinker__shards_t *s, tinker__map_t **by_name,
                        tinker__mem_t *mem, const tinker__world_t *world,
                        const char *dir, char *why, size_t why_len);
void tinker__shards_close(tinker__shards_t *s);

#endif
