/* types: what a message says, as views that client and service share. A view
 * owns nothing: it borrows the caller's arrays when encoding, and points into
 * the arena given to the decoder. Strings of views are never NULL pointers. */
#ifndef TINKER_WIRE_TYPES_H
#define TINKER_WIRE_TYPES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/* Caps for everything from outside, whatever the size of the body. */
#define TINKER__MAX_DIMS 4
#define TINKER__MAX_DATUMS 65536
#define TINKER__MAX_CHUNKS 4096
#define TINKER__MAX_INPUTS 64 /* tensors of a datum */
#define TINKER__MAX_CONFIG 64
#define TINKER__MAX_METRICS 4096
#define TINKER__MAX_SEQUENCES 65536
#define TINKER__MAX_TOKENS (1u << 24)       /* of a prompt or a sequence */
#define TINKER__MAX_TENSOR_BYTES (1u << 28) /* dense, also of a CSR */
#define TINKER__MAX_NAME 256
#define TINKER__MAX_TEXT 65536 /* any string of a small message */
#define TINKER__MAX_LIST 4096  /* elements of a list in one */

typedef enum { TINKER__DTYPE_F32 = 1, TINKER__DTYPE_I64 = 2 } tinker__dtype_t;

/* count stored values; crow NULL: dense, row-major. Else CSR of a 2-D tensor:
 * crow has shape[0] + 1 entries, col has count. Decoders give dense tensors,
 * except for the target that a sample scores and for its answer. */
typedef struct tinker__tensor_view_s {
  tinker__dtype_t dtype;
  size_t ndim; /* 1 .. TINKER__MAX_DIMS; 0 = 1-D by count */
  int64_t shape[TINKER__MAX_DIMS];
  const void *data; /* float or int64_t */
  size_t count;
  const int64_t *crow;
  const int64_t *col;
  /* The block (base/shared.h) that data lies in: an encoder may keep using it.
   * NULL = borrowed for the call only. */
  void *owner;
} tinker__tensor_view_t;

typedef struct tinker__named_tensor_s {
  tinker__str_t name;
  tinker__tensor_view_t tensor;
} tinker__named_tensor_t;

/* The kinds of what an input consists of. A decoder refuses the others that the
 * protocol knows. */
typedef enum { TINKER__CHUNK_TEXT } tinker__chunk_kind_t;

/* A run of text tokens. */
typedef struct tinker__text_chunk_s {
  const int32_t *tokens;
  size_t count;
  void *owner; /* the same of the tokens */
} tinker__text_chunk_t;

typedef struct tinker__chunk_view_s {
  tinker__chunk_kind_t kind;
  union {
    tinker__text_chunk_t text;
  };
} tinker__chunk_view_t;

typedef struct tinker__datum_view_s {
  const tinker__chunk_view_t *chunks;
  size_t chunk_count;
  const tinker__named_tensor_t *inputs;
  size_t input_count;
} tinker__datum_view_t;

typedef struct tinker__config_entry_s {
  tinker__str_t name;
  bool is_text;
  double number;
  tinker__str_t text;
} tinker__config_entry_t;

/* A forward_backward (or forward) request. */
typedef struct tinker__fb_view_s {
  tinker__str_t model_id; /* not encoded: see wire/body.h */
  int64_t seq_id;         /* the same */
  const tinker__datum_view_t *datums;
  size_t datum_count;
  tinker__str_t loss_fn;
  const tinker__config_entry_t *config;
  size_t config_count;
  bool forward_only;
} tinker__fb_view_t;

typedef struct tinker__number_s {
  const char *name; /* never NULL, NUL-terminated */
  double value;
} tinker__number_t;

/* Lets the arena take what a decoder of a body of this size may need: a small
 * body must not unpack into all the memory there is. */
void tinker__decode_budget(tinker__arena_t *arena, size_t body_len);
static inline tinker__chunk_view_t tinker__text_chunk(const int32_t *tokens,
                                                      size_t count) {
  return (tinker__chunk_view_t){.kind = TINKER__CHUNK_TEXT,
                                .text = {tokens, count, NULL}};
}
/* Tokens that the chunks of a datum or prompt stand for. */
size_t tinker__chunks_length(const tinker__chunk_view_t *chunks, size_t n);
/* Writes the tokens of all text in the chunks to out and returns the end. */
int32_t *tinker__chunks_text(const tinker__chunk_view_t *chunks, size_t n,
                             int32_t *out);
/* Bytes of an element: 4 or 8. */
static inline size_t tinker__dtype_size(tinker__dtype_t t) {
  return t == TINKER__DTYPE_F32 ? 4 : 8;
}

#endif
