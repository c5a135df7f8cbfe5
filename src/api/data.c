/* Model inputs and training examples, see data.h. */
#include "api/data.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/find.h"
#include "base/shared.h"
#include "base/str.h"

#define LEN_MAX ((size_t)1 << 28) /* tokens or values: 1 GiB of them */

static bool allocator_ok(const tinker_allocator_t *a) {
  return !a || (a->malloc_fn && a->calloc_fn && a->realloc_fn && a->free_fn);
}

static int check_allocator(const tinker_allocator_t *a,
                           tinker_error_t **error) {
  if (allocator_ok(a)) return 0;
  return tinker__error_give(error, TINKER_EINVAL,
                            "allocator: all four functions must be set");
}

static int no_memory(tinker_error_t **error) {
  return tinker__error_give(error, TINKER_ENOMEM, "%s", "");
}

static int is_null(tinker_error_t **error, const char *name) {
  return tinker__error_give(error, TINKER_EINVAL, "%s is NULL", name);
}

int tinker_input_new(tinker_input_t **out, const tinker_allocator_t *allocator,
                     tinker_error_t **error) {
  if (!out) return is_null(error, "out");
  int rc = check_allocator(allocator, error);
  if (rc) return rc;
  tinker__mem_t mem;
  tinker__mem_init(&mem, allocator, 0);
  tinker_input_t *input = tinker__mem_zalloc(&mem, sizeof *input);
  if (!input) return no_memory(error);
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
  tinker__shared_release(input->owner);
  if (input->ends != &input->first_end) {
    tinker__mem_free(&input->mem, input->ends);
  }
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

static int check_tokens(const char *name, const int32_t *tokens, size_t n,
                        tinker_error_t **error) {
  size_t i = tinker__find_negative(tokens, n);
  if (i == n) return 0;
  return tinker__error_give(error, TINKER_EINVAL,
                            "%s[%zu] is %" PRId32 ": want 0 or more", name, i,
                            tokens[i]);
}

/* A service trains on tokens, whatever their weights are. */
static int check_targets(const char *name, const int64_t *data, size_t n,
                         tinker_error_t **error) {
  if (strcmp(name, "target_tokens") != 0) return 0;
  size_t i = tinker__find_no_id(data, n);
  if (i == n) return 0;
  return tinker__error_give(error, TINKER_EINVAL,
                            "%s[%zu] is %" PRId64 ": want 0 to %" PRId32, name,
                            i, data[i], INT32_MAX);
}

/* The values from `first` to the n-th. */
static int check_finite(const char *name, const float *values, size_t first,
                        size_t n, tinker_error_t **error) {
  size_t i = first + tinker__find_nonfinite(values + first, n - first);
  if (i == n) return 0;
  return tinker__error_give(error, TINKER_EINVAL,
                            "%s[%zu] is %g: want a finite number", name, i,
                            (double)values[i]);
}

static int copy_tokens(tinker_input_t *input, size_t cap) {
  int32_t *p =
      tinker__shared_alloc(&input->mem.alloc, cap * sizeof *input->tokens);
  if (!p) return TINKER_ENOMEM;
  if (input->len) memcpy(p, input->tokens, input->len * sizeof *p);
  tinker__shared_release(input->owner);
  input->tokens = input->owner = p;
  input->cap = cap;
  return 0;
}

/* Calls that are under way read the tokens where they are: they keep the old
 * block, whose tokens don't change. Tokens that were handed over stay as they
 * are, too. */
static int grow_tokens(tinker_input_t *input, size_t need) {
  if (need <= input->cap) return 0;
  size_t cap = input->cap ? input->cap : need;
  while (cap < need) cap *= 2;
  if (input->owner != (const void *)input->tokens) {
    return copy_tokens(input, cap);
  }
  void *p = tinker__shared_resize(&input->mem.alloc, input->owner,
                                  cap * sizeof *input->tokens);
  if (!p) return TINKER_ENOMEM;
  input->tokens = input->owner = p;
  input->cap = cap;
  return 0;
}

/* Most inputs are one chunk, whose end has its place. */
static int grow_chunks(tinker_input_t *input) {
  if (input->chunks < input->chunks_cap) return 0;
  bool first = input->ends == &input->first_end;
  if (!input->ends) {
    input->ends = &input->first_end;
    input->chunks_cap = 1;
    return 0;
  }
  void *ends = first ? NULL : input->ends;
  size_t cap = first ? 0 : input->chunks_cap;
  int rc =
      grow(&input->mem, &ends, &cap, input->chunks + 1, sizeof *input->ends);
  if (rc) return rc;
  input->ends = ends;
  input->chunks_cap = cap;
  if (first) input->ends[0] = input->first_end;
  return 0;
}

static int append(tinker_input_t *input, const int32_t *tokens, size_t n) {
  int rc = grow_tokens(input, input->len + n);
  if (!rc) rc = grow_chunks(input);
  if (rc) return rc;
  memcpy((int32_t *)input->owner + input->len, tokens, n * sizeof *tokens);
  input->len += n;
  input->ends[input->chunks++] = input->len;
  return 0;
}

static int check_run(const tinker_input_t *input, const int32_t *tokens,
                     size_t n, tinker_error_t **error) {
  if (!input) return is_null(error, "input");
  if (!tokens) return is_null(error, "tokens");
  if (n == 0) {
    return tinker__error_give(error, TINKER_EINVAL, "n is 0: want tokens");
  }
  if (n > LEN_MAX || input->len > LEN_MAX - n) {
    return tinker__error_give(error, TINKER_EOVERFLOW,
                              "an input of more than %zu tokens", LEN_MAX);
  }
  return check_tokens("tokens", tokens, n, error);
}

int tinker_input_add_tokens(tinker_input_t *input, const int32_t *tokens,
                            size_t n, tinker_error_t **error) {
  int rc = check_run(input, tokens, n, error);
  if (rc) return rc;
  return append(input, tokens, n) ? no_memory(error) : 0;
}

int tinker_input_take_tokens(tinker_input_t *input, const int32_t *tokens,
                             size_t n, tinker_free_cb free_cb, void *user,
                             tinker_error_t **error) {
  int rc = check_run(input, tokens, n, error);
  if (rc) return rc;
  if (!free_cb) return is_null(error, "free_cb");
  if (input->len) {
    return tinker__error_give(error, TINKER_EINVAL,
                              "input has %zu tokens: want an empty one",
                              input->len);
  }
  void *owner = NULL;
  if (!grow_chunks(input)) {
    owner = tinker__shared_foreign(&input->mem.alloc, free_cb, user);
  }
  if (!owner) return no_memory(error);
  input->tokens = tokens;
  input->owner = owner;
  input->len = input->cap = n;
  input->ends[input->chunks++] = n;
  return 0;
}

int tinker_input_from_tokens(tinker_input_t **out, const int32_t *tokens,
                             size_t n, const tinker_allocator_t *allocator,
                             tinker_error_t **error) {
  tinker_input_t *input;
  if (!out) return is_null(error, "out");
  int rc = tinker_input_new(&input, allocator, error);
  if (rc) return rc;
  rc = tinker_input_add_tokens(input, tokens, n, error);
  if (rc) {
    tinker_input_release(input);
  } else {
    *out = input;
  }
  return rc;
}

int tinker_datum_new(tinker_datum_t **out, tinker_input_t *input,
                     const tinker_allocator_t *allocator,
                     tinker_error_t **error) {
  if (!out) return is_null(error, "out");
  if (!input) return is_null(error, "input");
  if (input->len == 0) {
    return tinker__error_give(error, TINKER_EINVAL, "input is empty");
  }
  int rc = check_allocator(allocator, error);
  if (rc) return rc;
  tinker__mem_t mem;
  tinker__mem_init(&mem, allocator, 0);
  tinker_datum_t *datum = tinker__mem_zalloc(&mem, sizeof *datum);
  if (!datum) return no_memory(error);
  tinker__mem_init(&datum->mem, allocator, 0);
  tinker__ref_init(&datum->ref);
  datum->input = tinker_input_retain(input);
  *out = datum;
  return 0;
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
    tinker__shared_release(datum->tensors[at].owner);
  } else {
    if (datum->tensor_count == TINKER__TENSORS_MAX) return TINKER_EOVERFLOW;
    memmove(&datum->tensors[at + 1], &datum->tensors[at],
            (datum->tensor_count - at) * sizeof *tensor);
    datum->tensor_count++;
  }
  datum->tensors[at] = *tensor;
  return 0;
}

/* The values of a tensor: its own copy, or an array that is handed over. */
typedef struct values_s {
  const void *data;
  size_t rows, cols;
  bool is_float;
  tinker_free_cb free_cb; /* NULL = they are copied */
  void *user;
} values_t;

static size_t count_of(const values_t *v) {
  return v->cols ? v->rows * v->cols : v->rows;
}

/* The values lie in the block that is given away, also on failure: then
 * without a word to its free_cb. */
static int put_owned(tinker_datum_t *datum, const char *name, const values_t *v,
                     void *owner, tinker_error_t **error) {
  tinker__input_tensor_t t = {
      .is_float = v->is_float,
      .data = v->data,
      .owner = owner,
      .rows = v->rows,
      .cols = v->cols,
      .count = count_of(v),
  };
  memcpy(t.name, name, strlen(name) + 1);
  int rc = put(datum, &t);
  if (!rc) return 0;
  tinker__shared_drop(owner);
  return tinker__error_give(error, rc, "%s: a datum has %d tensors at most",
                            name, TINKER__TENSORS_MAX);
}

/* A tensor of the datum's own, to be filled: a vector of n values. */
static void *add_vector(tinker_datum_t *datum, const char *name, size_t n,
                        bool is_float, tinker_error_t **error) {
  const size_t item = is_float ? sizeof(float) : sizeof(int64_t);
  void *owner = tinker__shared_alloc(&datum->mem.alloc, n * item);
  const values_t v = {.data = owner, .rows = n, .is_float = is_float};
  if (!owner) no_memory(error);
  return owner && !put_owned(datum, name, &v, owner, error) ? owner : NULL;
}

static int hand_out(tinker_datum_t **out, tinker_datum_t *datum, int rc) {
  if (!rc) *out = datum;
  if (rc) tinker_datum_release(datum);
  return rc;
}

/* The tokens of an example: two runs, one after the other. */
typedef struct runs_s {
  const int32_t *first, *second;
  size_t first_len, second_len;
} runs_t;

/* An input of all tokens but the last one. */
static int input_of_runs(tinker_input_t **out, const runs_t *r,
                         const tinker_allocator_t *allocator,
                         tinker_error_t **error) {
  tinker_input_t *input;
  const size_t n = r->first_len + r->second_len - 1;
  const size_t first = r->first_len < n ? r->first_len : n;
  int rc = tinker_input_new(&input, allocator, error);
  if (rc) return rc;
  if (grow_tokens(input, n) || grow_chunks(input)) {
    tinker_input_release(input);
    return no_memory(error);
  }
  int32_t *to = input->owner;
  memcpy(to, r->first, first * sizeof *to);
  if (n > first) memcpy(to + first, r->second, (n - first) * sizeof *to);
  input->ends[input->chunks++] = input->len = n;
  *out = input;
  return 0;
}

static int add_targets(tinker_datum_t *datum, const runs_t *r,
                       tinker_error_t **error) {
  const size_t n = r->first_len + r->second_len - 1;
  int64_t *to = add_vector(datum, "target_tokens", n, false, error);
  if (!to) return TINKER_ENOMEM;
  for (size_t i = 1; i < r->first_len; i++) *to++ = r->first[i];
  for (size_t i = 0; i < r->second_len; i++) *to++ = r->second[i];
  return 0;
}

/* An example around all tokens but the last, with all but the first as
 * targets. */
static int new_shifted(tinker_datum_t **out, const runs_t *runs,
                       const tinker_allocator_t *allocator,
                       tinker_error_t **error) {
  tinker_input_t *input = NULL;
  tinker_datum_t *datum = NULL;
  int rc = check_allocator(allocator, error);
  if (!rc) rc = input_of_runs(&input, runs, allocator, error);
  if (!rc) rc = tinker_datum_new(&datum, input, allocator, error);
  tinker_input_release(input);
  if (!rc) rc = add_targets(datum, runs, error);
  return hand_out(out, datum, rc);
}

static int set_weights(tinker_datum_t *datum, const float *weights, size_t n,
                       tinker_error_t **error) {
  if (weights) {
    return tinker_datum_set_f32(datum, "weights", weights + 1, n, 0, error);
  }
  float *ones = add_vector(datum, "weights", n, true, error);
  if (!ones) return TINKER_ENOMEM;
  for (size_t i = 0; i < n; i++) ones[i] = 1;
  return 0;
}

int tinker_datum_new_supervised(tinker_datum_t **out, const int32_t *tokens,
                                const float *weights, size_t n,
                                const tinker_allocator_t *allocator,
                                tinker_error_t **error) {
  tinker_datum_t *datum;
  if (!out) return is_null(error, "out");
  if (!tokens) return is_null(error, "tokens");
  if (n < 2 || n > LEN_MAX) {
    return tinker__error_give(error, n < 2 ? TINKER_EINVAL : TINKER_EOVERFLOW,
                              "n is %zu: want 2 to %zu tokens", n, LEN_MAX);
  }
  int rc = check_tokens("tokens", tokens, n, error);
  if (!rc && weights) rc = check_finite("weights", weights, 0, n, error);
  const runs_t runs = {.first = tokens, .first_len = n};
  if (!rc) rc = new_shifted(&datum, &runs, allocator, error);
  if (rc) return rc;
  rc = set_weights(datum, weights, n - 1, error);
  return hand_out(out, datum, rc);
}

/* --- reinforcement learning --- */

typedef struct rollout_s {
  const int32_t *prompt, *tokens;
  size_t prompt_len, n;
  const float *logprobs;
  float advantage;
} rollout_t;

static int check_rollout(const rollout_t *r, tinker_error_t **error) {
  if (!r->prompt) return is_null(error, "prompt");
  if (!r->tokens) return is_null(error, "tokens");
  if (!r->logprobs) return is_null(error, "logprobs");
  if (r->prompt_len == 0 || r->n == 0) {
    return tinker__error_give(error, TINKER_EINVAL, "%s is 0",
                              r->n ? "prompt_len" : "n");
  }
  if (r->n > LEN_MAX || r->prompt_len > LEN_MAX - r->n) {
    return tinker__error_give(error, TINKER_EOVERFLOW,
                              "more than %zu tokens of prompt and sample",
                              LEN_MAX);
  }
  if (!isfinite(r->advantage)) {
    return tinker__error_give(error, TINKER_EINVAL,
                              "advantage is %g: want a finite number",
                              (double)r->advantage);
  }
  int rc = check_tokens("prompt", r->prompt, r->prompt_len, error);
  if (!rc) rc = check_tokens("tokens", r->tokens, r->n, error);
  return rc ? rc : check_finite("logprobs", r->logprobs, 0, r->n, error);
}

/* The values at the places of sampled tokens, 0 before. */
static int set_tail(tinker_datum_t *datum, const char *name, const rollout_t *r,
                    const float *values, tinker_error_t **error) {
  size_t before = r->prompt_len - 1, count = before + r->n;
  float *all = add_vector(datum, name, count, true, error);
  if (!all) return TINKER_ENOMEM;
  memset(all, 0, before * sizeof *all);
  for (size_t i = 0; i < r->n; i++) {
    all[before + i] = values ? values[i] : r->advantage;
  }
  return check_finite(name, all, before, count, error);
}

int tinker_datum_new_rl(tinker_datum_t **out, const int32_t *prompt,
                        size_t prompt_len, const int32_t *tokens,
                        const float *logprobs, size_t n, float advantage,
                        const tinker_allocator_t *allocator,
                        tinker_error_t **error) {
  const rollout_t r = {prompt, tokens, prompt_len, n, logprobs, advantage};
  const runs_t runs = {prompt, tokens, prompt_len, n};
  tinker_datum_t *datum;
  if (!out) return is_null(error, "out");
  int rc = check_rollout(&r, error);
  if (!rc) rc = new_shifted(&datum, &runs, allocator, error);
  if (rc) return rc;
  rc = set_tail(datum, "logprobs", &r, r.logprobs, error);
  if (!rc) rc = set_tail(datum, "advantages", &r, NULL, error);
  return hand_out(out, datum, rc);
}

/* --- tensors --- */

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

static int check_set(const tinker_datum_t *datum, const char *name,
                     const void *data, size_t rows, size_t cols,
                     tinker_error_t **error) {
  if (!datum) return is_null(error, "datum");
  if (!name) return is_null(error, "name");
  if (!name_ok(name)) {
    return tinker__error_give(error, TINKER_EINVAL,
                              "name is \"%.80s\": want 1 to %d bytes of "
                              "[a-z0-9_]",
                              name, TINKER__NAME_MAX);
  }
  if (!data) return is_null(error, name);
  if (rows == 0) {
    return tinker__error_give(error, TINKER_EINVAL, "%s: rows is 0", name);
  }
  if (rows > LEN_MAX || (cols && cols > LEN_MAX / rows)) {
    return tinker__error_give(error, TINKER_EOVERFLOW,
                              "%s: more than %zu values", name, LEN_MAX);
  }
  return 0;
}

static int check_values(const tinker_datum_t *datum, const char *name,
                        const values_t *v, tinker_error_t **error) {
  int rc = check_set(datum, name, v->data, v->rows, v->cols, error);
  if (rc) return rc;
  return v->is_float ? check_finite(name, v->data, 0, count_of(v), error)
                     : check_targets(name, v->data, count_of(v), error);
}

static int set(tinker_datum_t *datum, const char *name, const values_t *v,
               tinker_error_t **error) {
  const tinker_allocator_t *alloc = &datum->mem.alloc;
  size_t item = v->is_float ? sizeof(float) : sizeof(int64_t);
  values_t own = *v;
  void *owner = v->free_cb
                    ? tinker__shared_foreign(alloc, v->free_cb, v->user)
                    : tinker__shared_dup(alloc, v->data, count_of(v) * item);
  if (!owner) return no_memory(error);
  if (!v->free_cb) own.data = owner;
  return put_owned(datum, name, &own, owner, error);
}

static int set_values(tinker_datum_t *datum, const char *name,
                      const values_t *v, tinker_error_t **error) {
  int rc = check_values(datum, name, v, error);
  return rc ? rc : set(datum, name, v, error);
}

int tinker_datum_set_i64(tinker_datum_t *datum, const char *name,
                         const int64_t *data, size_t rows, size_t cols,
                         tinker_error_t **error) {
  const values_t v = {.data = data, .rows = rows, .cols = cols};
  return set_values(datum, name, &v, error);
}

int tinker_datum_set_f32(tinker_datum_t *datum, const char *name,
                         const float *data, size_t rows, size_t cols,
                         tinker_error_t **error) {
  const values_t v = {
      .data = data, .rows = rows, .cols = cols, .is_float = true};
  return set_values(datum, name, &v, error);
}

int tinker_datum_take_i64(tinker_datum_t *datum, const char *name,
                          const int64_t *data, size_t rows, size_t cols,
                          tinker_free_cb free_cb, void *user,
                          tinker_error_t **error) {
  const values_t v = {data, rows, cols, false, free_cb, user};
  if (!free_cb) return is_null(error, "free_cb");
  return set_values(datum, name, &v, error);
}

int tinker_datum_take_f32(tinker_datum_t *datum, const char *name,
                          const float *data, size_t rows, size_t cols,
                          tinker_free_cb free_cb, void *user,
                          tinker_error_t **error) {
  const values_t v = {data, rows, cols, true, free_cb, user};
  if (!free_cb) return is_null(error, "free_cb");
  return set_values(datum, name, &v, error);
}

tinker_datum_t *tinker_datum_retain(tinker_datum_t *datum) {
  if (datum) tinker__ref_retain(&datum->ref);
  return datum;
}

tinker_datum_t *tinker_datum_release(tinker_datum_t *datum) {
  if (!datum || !tinker__ref_release(&datum->ref)) return NULL;
  for (size_t i = 0; i < datum->tensor_count; i++) {
    tinker__shared_release(datum->tensors[i].owner);
  }
  tinker_input_release(datum->input);
  free_self(datum, &datum->mem);
  return NULL;
}
