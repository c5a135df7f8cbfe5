/* Model inputs and training examples, see data.h. */
#include "api/data.h"

#include <string.h>

#include "base/find.h"
#include "base/shared.h"
#include "base/str.h"

#define LEN_MAX ((size_t)1 << 28) /* tokens or values: 1 GiB of them */

static bool allocator_ok(const tinker_allocator_t *a) {
  return !a || (a->malloc_fn && a->calloc_fn && a->realloc_fn && a->free_fn);
}

int tinker_input_new(tinker_input_t **out,
                     const tinker_allocator_t *allocator) {
  if (!out || !allocator_ok(allocator)) return TINKER_EINVAL;
  tinker__mem_t mem;
  tinker__mem_init(&mem, allocator, 0);
  tinker_input_t *input = tinker__mem_zalloc(&mem, sizeof *input);
  if (!input) return TINKER_ENOMEM;
  tinker__mem_init(&input->mem, allocator, 0);
  tinker__ref_init(&input->ref);
  *out = input;
  return 0;
}

/* The block was taken from an allocator of the same functions. */
static void free_self(void *self, const tinker__mem_t *its_mem) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, &its_mem->alloc, 0);
  tinker__mem_free(&mem, self);
}

tinker_input_t *tinker_input_retain(tinker_input_t *input) {
  if (input) tinker__ref_retain(&input->ref);
  return input;
}

tinker_input_t *tinker_input_release(tinker_input_t *input) {
  if (!input || !tinker__ref_release(&input->ref)) return NULL;
  tinker__shared_release(input->tokens);
  tinker__mem_free(&input->mem, input->ends);
  free_self(input, &input->mem);
  return NULL;
}

size_t tinker_input_length(const tinker_input_t *input) {
  return input ? input->len : 0;
}

static int grow(tinker__mem_t *mem, void **data, size_t *cap, size_t need,
                size_t item) {
  if (need <= *cap) return 0;
  size_t cap_new = *cap ? *cap : 16;
  while (cap_new < need) cap_new *= 2;
  void *p = tinker__mem_realloc(mem, *data, cap_new * item);
  if (!p) return TINKER_ENOMEM;
  *data = p;
  *cap = cap_new;
  return 0;
}

/* Calls that are under way read the tokens where they are: they keep the old
 * block, whose tokens don't change. */
static int grow_tokens(tinker_input_t *input, size_t need) {
  if (need <= input->cap) return 0;
  size_t cap = input->cap ? input->cap : need;
  while (cap < need) cap *= 2;
  void *p = tinker__shared_resize(&input->mem.alloc, input->tokens,
                                  cap * sizeof *input->tokens);
  if (!p) return TINKER_ENOMEM;
  input->tokens = p;
  input->cap = cap;
  return 0;
}

int tinker_input_add_tokens(tinker_input_t *input, const int32_t *tokens,
                            size_t n) {
  if (!input || !tokens || n == 0) return TINKER_EINVAL;
  if (n > LEN_MAX || input->len > LEN_MAX - n) return TINKER_EOVERFLOW;
  if (tinker__find_negative(tokens, n) < n) return TINKER_EINVAL;
  void *ends = input->ends;
  int rc = grow_tokens(input, input->len + n);
  if (rc) return rc;
  rc = grow(&input->mem, &ends, &input->chunks_cap, input->chunks + 1,
            sizeof *input->ends);
  input->ends = ends;
  if (rc) return rc;
  memcpy(input->tokens + input->len, tokens, n * sizeof *tokens);
  input->len += n;
  input->ends[input->chunks++] = input->len;
  return 0;
}

int tinker_datum_new(tinker_datum_t **out, tinker_input_t *input,
                     const tinker_allocator_t *allocator) {
  if (!out || !input || input->len == 0 || !allocator_ok(allocator)) {
    return TINKER_EINVAL;
  }
  tinker__mem_t mem;
  tinker__mem_init(&mem, allocator, 0);
  tinker_datum_t *datum = tinker__mem_zalloc(&mem, sizeof *datum);
  if (!datum) return TINKER_ENOMEM;
  tinker__mem_init(&datum->mem, allocator, 0);
  tinker__ref_init(&datum->ref);
  datum->input = tinker_input_retain(input);
  *out = datum;
  return 0;
}

static int fill_supervised(tinker_datum_t *datum, const int32_t *tokens,
                           const float *weights, size_t n) {
  size_t count = n - 1;
  int rc = TINKER_ENOMEM;
  int64_t *targets = tinker__mem_array(&datum->mem, count, sizeof *targets);
  float *ones = tinker__mem_array(&datum->mem, count, sizeof *ones);
  if (!targets || !ones) goto out;
  for (size_t i = 0; i < count; i++) {
    targets[i] = tokens[i + 1];
    ones[i] = weights ? weights[i + 1] : 1.0f;
  }
  rc = tinker_datum_set_i64(datum, "target_tokens", targets, count, 0);
  if (!rc) rc = tinker_datum_set_f32(datum, "weights", ones, count, 0);
out:
  tinker__mem_free(&datum->mem, targets);
  tinker__mem_free(&datum->mem, ones);
  return rc;
}

int tinker_datum_new_supervised(tinker_datum_t **out, const int32_t *tokens,
                                const float *weights, size_t n,
                                const tinker_allocator_t *allocator) {
  if (!out || !tokens || n < 2 || tokens[n - 1] < 0) return TINKER_EINVAL;
  tinker_input_t *input = NULL;
  tinker_datum_t *datum = NULL;
  int rc = tinker_input_new(&input, allocator);
  if (!rc) rc = tinker_input_add_tokens(input, tokens, n - 1);
  if (!rc) rc = tinker_datum_new(&datum, input, allocator);
  if (!rc) rc = fill_supervised(datum, tokens, weights, n);
  tinker_input_release(input);
  if (rc) {
    tinker_datum_release(datum);
  } else {
    *out = datum;
  }
  return rc;
}

static bool name_ok(const char *name) {
  size_t n = name ? strlen(name) : 0;
  if (n == 0 || n > TINKER__NAME_MAX) return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

const tinker__input_tensor_t *tinker__datum_tensor(const tinker_datum_t *datum,
                                                   const char *name) {
  for (size_t i = 0; i < datum->tensor_count; i++) {
    if (!strcmp(datum->tensors[i].name, name)) return &datum->tensors[i];
  }
  return NULL;
}

/* Where a name stands, or would stand, in the sorted table. */
static size_t place_of(const tinker_datum_t *datum, const char *name) {
  size_t i = 0;
  while (i < datum->tensor_count && strcmp(datum->tensors[i].name, name) < 0) {
    i++;
  }
  return i;
}

static int put(tinker_datum_t *datum, const tinker__input_tensor_t *tensor) {
  size_t at = place_of(datum, tensor->name);
  if (at < datum->tensor_count &&
      !strcmp(datum->tensors[at].name, tensor->name)) {
    tinker__shared_release(datum->tensors[at].data);
  } else {
    if (datum->tensor_count == TINKER__TENSORS_MAX) return TINKER_EOVERFLOW;
    memmove(&datum->tensors[at + 1], &datum->tensors[at],
            (datum->tensor_count - at) * sizeof *tensor);
    datum->tensor_count++;
  }
  datum->tensors[at] = *tensor;
  return 0;
}

static int set(tinker_datum_t *datum, const char *name, const void *data,
               size_t rows, size_t cols, bool is_float) {
  if (!datum || !name_ok(name) || !data || rows == 0) return TINKER_EINVAL;
  size_t item = is_float ? sizeof(float) : sizeof(int64_t);
  if (rows > LEN_MAX || (cols && cols > LEN_MAX / rows)) {
    return TINKER_EOVERFLOW;
  }
  tinker__input_tensor_t t = {.is_float = is_float, .rows = rows, .cols = cols};
  t.count = cols ? rows * cols : rows;
  memcpy(t.name, name, strlen(name) + 1);
  t.data = tinker__shared_dup(&datum->mem.alloc, data, t.count * item);
  if (!t.data) return TINKER_ENOMEM;
  int rc = put(datum, &t);
  if (rc) tinker__shared_release(t.data);
  return rc;
}

int tinker_datum_set_i64(tinker_datum_t *datum, const char *name,
                         const int64_t *data, size_t rows, size_t cols) {
  return set(datum, name, data, rows, cols, false);
}

int tinker_datum_set_f32(tinker_datum_t *datum, const char *name,
                         const float *data, size_t rows, size_t cols) {
  if (!data || rows > LEN_MAX || (rows && cols > LEN_MAX / rows)) {
    return data ? TINKER_EOVERFLOW : TINKER_EINVAL;
  }
  size_t count = cols ? rows * cols : rows;
  if (tinker__find_nonfinite(data, count) < count) return TINKER_EINVAL;
  return set(datum, name, data, rows, cols, true);
}

tinker_datum_t *tinker_datum_retain(tinker_datum_t *datum) {
  if (datum) tinker__ref_retain(&datum->ref);
  return datum;
}

tinker_datum_t *tinker_datum_release(tinker_datum_t *datum) {
  if (!datum || !tinker__ref_release(&datum->ref)) return NULL;
  for (size_t i = 0; i < datum->tensor_count; i++) {
    tinker__shared_release(datum->tensors[i].data);
  }
  tinker_input_release(datum->input);
  free_self(datum, &datum->mem);
  return NULL;
}

void tinker__input_views(const tinker_input_t *input,
                         tinker__chunk_view_t *chunks) {
  size_t at = 0;
  for (size_t i = 0; i < input->chunks; i++) {
    chunks[i] = tinker__text_chunk(input->tokens + at, input->ends[i] - at);
    chunks[i].text.owner = input->tokens;
    at = input->ends[i];
  }
}

static void view_tensor(const tinker__input_tensor_t *in,
                        tinker__named_tensor_t *out) {
  *out = (tinker__named_tensor_t){
      .name = tinker__str(in->name),
      .tensor = {.dtype = in->is_float ? TINKER__DTYPE_F32 : TINKER__DTYPE_I64,
                 .ndim = in->cols ? 2 : 1,
                 .shape = {(int64_t)in->rows, (int64_t)in->cols},
                 .data = in->data,
                 .count = in->count,
                 .owner = in->data}};
}

int tinker__datum_view(const tinker_datum_t *datum, tinker__arena_t *arena,
                       tinker__datum_view_t *out) {
  const tinker_input_t *input = datum->input;
  tinker__chunk_view_t *chunks =
      tinker__arena_array(arena, input->chunks, sizeof *chunks);
  tinker__named_tensor_t *inputs =
      tinker__arena_array(arena, datum->tensor_count, sizeof *inputs);
  if (!chunks || !inputs) return TINKER_ENOMEM;
  tinker__input_views(input, chunks);
  for (size_t i = 0; i < datum->tensor_count; i++) {
    view_tensor(&datum->tensors[i], &inputs[i]);
  }
  *out = (tinker__datum_view_t){chunks, input->chunks, inputs,
                                datum->tensor_count};
  return 0;
}
