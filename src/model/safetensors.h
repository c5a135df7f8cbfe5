/* safetensors: the file format of weights, adapters and checkpoints.
 *
 * A file is 8 bytes of header length (little-endian), a JSON header and the
 * tensors' bytes. The reader works on borrowed bytes (a mapping, say), checks
 * everything before it hands out a pointer: tensors lie one after the other
 * in file order without hole or overlap and end where the file ends, and each
 * size is shape times type. Tensors may lie unaligned: read them with memcpy,
 * or through folder.h, which aligns. Pure; a parsed table is immutable and may
 * be read from any thread. */
#ifndef TINKER_MODEL_SAFETENSORS_H
#define TINKER_MODEL_SAFETENSORS_H

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define TINKER__SAFETENSORS_MAX_HEADER (32u << 20)
#define TINKER__SAFETENSORS_MAX_TENSORS (1u << 17)
#define TINKER__TENSOR_MAX_RANK 8

typedef enum {
  TINKER__WEIGHT_F32,
  TINKER__WEIGHT_BF16,
  TINKER__WEIGHT_F16
} tinker__weight_type_t;

/* One tensor. Name and data point into the file or into what the table
 * owns; they live as long as both. */
typedef struct tinker__tensor_s {
  tinker__str_t name;
  tinker__weight_type_t dtype;
  uint32_t rank; /* 0 = a scalar, one element */
  uint64_t shape[TINKER__TENSOR_MAX_RANK];
  uint64_t count; /* elements */
  uint64_t bytes;
  const void *data; /* row-major, little-endian */
} tinker__tensor_t;

typedef struct tinker__safetensors_s tinker__safetensors_t;

/* Bytes of one element. */
size_t tinker__weight_type_size(tinker__weight_type_t dtype);
/* "F32", "BF16", "F16". */
const char *tinker__weight_type_name(tinker__weight_type_t dtype);

/* 0, TINKER_EFORMAT, TINKER_ENOTSUP (a type other than the three),
 * TINKER_EOVERFLOW (a cap) or TINKER_ENOMEM; `why` names the tensor. */
int tinker__safetensors_parse(tinker__safetensors_t **out, tinker__mem_t *mem,
                              const void *data, size_t len, char *why,
                              size_t why_len);
void tinker__safetensors_free(tinker__safetensors_t *st); /* NULL allowed */
/* Number of tensors, and tensor i in file order. */
size_t tinker__safetensors_len(const tinker__safetensors_t *st);
const tinker__tensor_t *tinker__safetensors_at(const tinker__safetensors_t *st,
                                               size_t i);
/* NULL when there is none of that name. */
const tinker__tensor_t *
tinker__safetensors_find(const tinker__safetensors_t *st, tinker__str_t name);
/* Value of a key of __metadata__; false when absent. */
bool tinker__safetensors_meta(const tinker__safetensors_t *st, const char *key,
                              tinker__str_t *value);

/* One entry of __metadata__ for the writer. */
typedef struct tinker__meta_s {
  const char *key;
  const char *value;
} tinker__meta_t;

/* Appends the head of a file and sorts the tensors in the order in which their
 * data must follow it, with count and bytes filled in. Parameters and codes are
 * those of tinker__safetensors_write. */
int tinker__safetensors_head(tinker__buf_t *out, tinker__mem_t *mem,
                             tinker__tensor_t *tensors, size_t n,
                             const tinker__meta_t *meta, size_t num_meta,
                             char *why, size_t why_len);
/* Appends a whole file. `name`, `dtype`, `rank`, `shape` and `data` of each
 * tensor are read, count and bytes are worked out. The order in the file is
 * that of Hugging Face's writer (wide types first, then by name), so the same
 * tensors give the same bytes; metadata is written in the order given. Data
 * starts at a multiple of 8 of the file. 0, TINKER_EINVAL (a name twice, a
 * rank or shape too large), or the buffer's error. */
int tinker__safetensors_write(tinker__buf_t *out, tinker__mem_t *mem,
                              const tinker__tensor_t *tensors, size_t n,
                              const tinker__meta_t *meta, size_t num_meta,
                              char *why, size_t why_len);

#endif
