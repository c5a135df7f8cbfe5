/* folder: a Hugging Face model folder, opened for reading.
 *
 * Maps the weight files (one model.safetensors, or the shards of
 * model.safetensors.index.json; a shard's name can't leave the folder), and
 * checks that every tensor the architecture needs is there with the right
 * shape, and that there is no other; the error names one that is left over.
 * `*.rotary_emb.inv_freq` is ignored. A tied model may carry lm_head.weight if
 * it equals the embedding.
 *
 * Immutable once open; any thread may read. The files must not be cut while
 * they are mapped. */
#ifndef TINKER_MODEL_FOLDER_H
#define TINKER_MODEL_FOLDER_H

#include "base/world.h"
#include "model/config.h"
#include "model/safetensors.h"

#define TINKER__FOLDER_MAX_SHARDS 1024

typedef enum {
  /* Once per model: pass layer 0. */
  TINKER__ROLE_EMBED,      /* [vocab, hidden] */
  TINKER__ROLE_FINAL_NORM, /* [hidden] */
  TINKER__ROLE_LM_HEAD,    /* [vocab, hidden]; the embedding when tied */
  /* Once per layer. */
  TINKER__ROLE_ATTN_NORM, /* [hidden], before attention */
  TINKER__ROLE_MLP_NORM,  /* [hidden], before the MLP */
  TINKER__ROLE_Q,         /* [heads * head_dim, hidden] */
  TINKER__ROLE_K,         /* [kv_heads * head_dim, hidden] */
  TINKER__ROLE_V,         /* the same */
  TINKER__ROLE_O,         /* [hidden, heads * head_dim] */
  TINKER__ROLE_GATE,      /* [intermediate, hidden] */
  TINKER__ROLE_UP,        /* the same */
  TINKER__ROLE_DOWN,      /* [hidden, intermediate] */
  TINKER__ROLE_Q_BIAS,    /* [outputs]: qkv_bias */
  TINKER__ROLE_K_BIAS,
  TINKER__ROLE_V_BIAS,
  TINKER__ROLE_O_BIAS, /* o_bias */
  TINKER__ROLE_Q_NORM, /* [head_dim]: qk_norm */
  TINKER__ROLE_K_NORM,
  TINKER__ROLE_COUNT
} tinker__role_t;

typedef struct tinker__folder_s tinker__folder_t;

/* 0, TINKER_ENOENT (no such folder or file), TINKER_EIO, TINKER_EFORMAT,
 * TINKER_ENOTSUP, TINKER_EOVERFLOW or TINKER_ENOMEM; `why` names file and
 * key or tensor. */
int tinker__folder_open(tinker__folder_t **out, tinker__mem_t *mem,
                        const tinker__world_t *world, const char *dir,
                        char *why, size_t why_len);
void tinker__folder_close(tinker__folder_t *f); /* NULL allowed */

const tinker__model_config_t *tinker__folder_config(const tinker__folder_t *f);
/* The tensor of a role, data aligned to its element; NULL when this
 * architecture has none there. */
const tinker__tensor_t *tinker__folder_tensor(const tinker__folder_t *f,
                                              tinker__role_t role,
                                              uint32_t layer);
/* Bytes of all tensors (the embedding of a tied model once). */
uint64_t tinker__folder_bytes(const tinker__folder_t *f);
/* The digest of tinker__folder_digest, made in pieces. step takes about `bytes`
 * of the weights and returns 1 while there are more, 0 at the end, or
 * TINKER_ENOMEM. end frees the hash; when it returns 0, out (NULL = not wanted)
 * is set. */
typedef struct tinker__folder_hash_s tinker__folder_hash_t;
int tinker__folder_hash_new(tinker__folder_hash_t **out,
                            const tinker__folder_t *f);
int tinker__folder_hash_step(tinker__folder_hash_t *h, size_t bytes);
int tinker__folder_hash_end(tinker__folder_hash_t *h, char out[65]);
/* Hex SHA-256 over the fields of the configuration that enter the arithmetic,
 * and over name, shape, type and bytes of every tensor, in a fixed order, so
 * that one file and shards have the same digest. Reads all weights. 0 or
 * TINKER_ENOMEM. */
int tinker__folder_digest(const tinker__folder_t *f, char out[65]);

#endif
