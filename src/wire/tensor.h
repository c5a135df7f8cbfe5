/* tensor: checks of tensors and what places them in error texts. Inside wire
 * only. */
#ifndef TINKER_WIRE_TENSOR_H
#define TINKER_WIRE_TENSOR_H

#include "base/json_read.h"
#include "base/json_write.h"
#include "wire/proto.h"

/* A place in a message; written out only when something is wrong. Printed as
 * top[index].mid.name, without the parts that are absent. */
typedef struct tinker__where_s {
  const char *top;
  size_t index; /* SIZE_MAX = absent */
  const char *mid;
  tinker__str_t name;
  char *why;
  size_t why_len;
} tinker__where_t;

/* Writes "place: sentence" and returns code. */
int tinker__where(const tinker__where_t *at, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A tensor as it came: nothing is checked yet. shape_len 0: not given. */
typedef struct tinker__raw_tensor_s {
  tinker__dtype_t dtype;
  const int64_t *shape;
  size_t shape_len;
  const void *data;
  size_t count;
  bool sparse;
  const int64_t *crow, *col;
  size_t crow_len, col_len;
} tinker__raw_tensor_t;

/* Checks the tensor and gives its dense view; cells that a CSR leaves out
 * become `fill`. code: the code for malformed input. */
int tinker__tensor_finish(tinker__tensor_view_t *out, tinker__arena_t *arena,
                          const tinker__raw_tensor_t *raw, int fill, int code,
                          const tinker__where_t *at);
/* Checks the tensor, but keeps a CSR tensor as it is, since it matters which
 * cells it names, and its dense form may be too large. */
int tinker__tensor_keep(tinker__tensor_view_t *out,
                        const tinker__raw_tensor_t *raw, int code,
                        const tinker__where_t *at);
/* tensor_finish and tensor_keep for the message of protobuf; int32 is widened.
 */
int tinker__tensor_from_proto(tinker__tensor_view_t *out,
                              tinker__arena_t *arena,
                              const TinkerPublic__Tensor *t, int fill,
                              const tinker__where_t *at);
int tinker__tensor_keep_proto(tinker__tensor_view_t *out,
                              tinker__arena_t *arena,
                              const TinkerPublic__Tensor *t,
                              const tinker__where_t *at);
/* Reads a TensorData object where j stands; the second form keeps a CSR. */
int tinker__tensor_from_json(tinker__tensor_view_t *out, tinker__arena_t *arena,
                             tinker__json_t *j, int fill,
                             const tinker__where_t *at);
int tinker__tensor_keep_json(tinker__tensor_view_t *out, tinker__arena_t *arena,
                             tinker__json_t *j, const tinker__where_t *at);
/* Checks a caller's view: shape, data, CSR. */
int tinker__tensor_check(const tinker__tensor_view_t *t,
                         const tinker__where_t *at);
/* The message for a checked view; borrows its arrays. NULL without memory. */
TinkerPublic__Tensor *tinker__tensor_to_proto(tinker__arena_t *arena,
                                              const tinker__tensor_view_t *t);
void tinker__tensor_to_json(tinker__jsonw_t *w, const tinker__tensor_view_t *t);
/* Sorts by name; false when a name is there twice. */
bool tinker__tensors_sort(tinker__named_tensor_t *t, size_t n);
int tinker__str_cmp(tinker__str_t a, tinker__str_t b);

#endif
