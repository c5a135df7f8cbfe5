/* data: what model inputs and training examples are made of. Built on the
 * caller's thread, then only read. */
#ifndef TINKER_API_DATA_H
#define TINKER_API_DATA_H

#include <tinker/data.h>

#include "base/mem.h"
#include "base/ref.h"
#include "wire/types.h"

#define TINKER__TENSORS_MAX 16
#define TINKER__NAME_MAX 64

struct tinker_input_s {
  tinker__ref_t ref;
  tinker__mem_t mem;
  const int32_t *tokens; /* of the block that `owner` is */
  void *owner;           /* a block with users (base/shared.h) */
  size_t len, cap;
  size_t *ends; /* exclusive end of each text chunk: first_end, or owned */
  size_t first_end;
  size_t chunks, chunks_cap;
};

typedef struct tinker__input_tensor_s {
  char name[TINKER__NAME_MAX + 1];
  bool is_float;
  const void *data;  /* float or int64_t, row-major */
  void *owner;       /* the block with users that it lies in */
  size_t rows, cols; /* cols 0 = a vector */
  size_t count;
} tinker__input_tensor_t;

struct tinker_datum_s {
  tinker__ref_t ref;
  tinker__mem_t mem;
  tinker_input_t *input;
  size_t tensor_count;
  tinker__input_tensor_t tensors[TINKER__TENSORS_MAX]; /* sorted by name */
};

/* NULL when there is none. */
const tinker__input_tensor_t *tinker__datum_tensor(const tinker_datum_t *datum,
                                                   const char *name);
/* Views for the encoders: borrowed from the object, and from the arena. */
void tinker__input_views(const tinker_input_t *input,
                         tinker__chunk_view_t *chunks);
int tinker__datum_view(const tinker_datum_t *datum, tinker__arena_t *arena,
                       tinker__datum_view_t *out);

#endif
