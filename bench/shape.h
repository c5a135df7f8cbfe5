/* shape: random models of real sizes for the benchmarks, as Hugging Face
 * folders. One thread; a failure ends the program. */
#ifndef TINKER_BENCH_SHAPE_H
#define TINKER_BENCH_SHAPE_H

#include "base/mem.h"
#include "model/safetensors.h"

typedef struct {
  const char *name; /* "qwen2-0.5b", "qwen3-0.6b" */
  const char *arch, *type;
  unsigned hidden, inter, heads, kv_heads, head_dim, vocab, layers;
  bool bias, qk_norm; /* tied embeddings in all */
} shape_t;

/* NULL when there is none of that name. */
const shape_t *shape_named(const char *name);
/* Writes config.json and model.safetensors into an existing folder. */
void shape_write(const shape_t *s, tinker__weight_type_t dtype,
                 tinker__mem_t *mem, const char *dir);
/* Removes the two files and the folder. */
void shape_remove(const char *dir);

/* A message to standard error, then exit(1). */
void die(const char *format, ...);
void *need(void *p);

#endif
