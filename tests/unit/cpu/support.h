/* support: an engine with a model for the tests of local/cpu, golden data, and
 * random models written into temporary folders. Fails the running test on any
 * error. */
#ifndef TINKER_TESTS_CPU_SUPPORT_H
#define TINKER_TESTS_CPU_SUPPORT_H

#include "base/mem.h"
#include "cpu/cpu.h"
#include "engine/backend.h"

#define GOLDEN_DATA_MAX 8

/* Owned copies of what a datum borrows. */
typedef struct sample_s {
  size_t n, k;
  int32_t *tokens;
  int64_t *targets;
  float *weights, *q, *advantages, *mask;
  float *logprobs, *loss; /* outputs */
  double *base_want, *adapter_want, *loss_want;
} sample_t;

typedef struct rig_s {
  tinker__mem_t mem;
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__eng_base_t *base;
} rig_t;

/* kernels NULL = best. */
void rig_open(rig_t *r, const char *dir, unsigned threads, const char *kernels);
/* The same with another engine of the same types: a copy of this one. */
void rig_open_engine(rig_t *r, const tinker__engine_api_t *api, const char *dir,
                     unsigned threads, const char *kernels);
/* Checks that nothing is left allocated. */
void rig_close(rig_t *r);

/* tests/golden/<name>, valid until the next call. */
const char *golden_dir(const char *name);
/* data of logprobs.json of a golden model or loss; returns how many. */
size_t golden_data(const char *model, sample_t out[GOLDEN_DATA_MAX]);
void samples_free(sample_t *s, size_t n);

/* A sample of n pseudo-random tokens below vocab, fields of all losses set;
 * every fifth weight and advantage is zero. */
void sample_random(sample_t *s, size_t n, size_t k, size_t vocab,
                   uint64_t seed);
tinker__eng_train_datum_t sample_datum(const sample_t *s,
                                       tinker__eng_loss_kind_t kind);

/* A whole pass over samples; returns the loss. */
double run_pass(tinker__eng_train_t *t, sample_t *s, size_t n,
                const tinker__eng_loss_config_t *loss, bool forward_only);
extern const tinker__eng_loss_config_t cross_entropy;

/* A train state on all targets, B random instead of zero so that every
 * gradient is there. */
tinker__eng_train_t *random_train(rig_t *r, uint32_t rank, uint64_t seed);
/* Replaces the weights by w + h * direction, all of them. */
void move_weights(tinker__eng_train_t *t, const float *w,
                  const float *direction, float h);

/* A temporary folder, and its removal with everything in it. */
void temp_dir(char out[256]);
void temp_remove(const char *dir);
/* A small file as a string, which the caller frees, and the way back. */
char *slurp(const char *dir, const char *name, size_t *len);
void spew(const char *dir, const char *name, const char *data, size_t len);

typedef struct shape_s {
  const char *arch; /* "LlamaForCausalLM" ... */
  unsigned vocab, hidden, layers, heads, kv_heads, head_dim, inter, context;
  bool tied;
  const char *dtype; /* "F32" or "BF16" */
  bool biases;       /* attention_bias, not for Qwen2, which has its own */
} shape_t;
/* Writes a model with reproducible random weights into an empty folder. */
void write_model(const char *dir, const shape_t *shape);
extern const shape_t tiny_shape; /* Qwen3 */

/* A rig with a random model, an empty folder for files, and two samples. */
typedef struct tiny_s {
  rig_t r;
  char model[256], dir[256];
  sample_t s[2];
} tiny_t;
void tiny_open(tiny_t *b, const shape_t *shape);
void tiny_close(tiny_t *b);

/* FNV-1a over bytes, to compare many floats at once. */
uint64_t hash_bytes(uint64_t h, const void *data, size_t len);
#define HASH_START 0xcbf29ce484222325u

#endif
