/* Model inputs and training examples. What is wrong with an argument is said by
 * the `error` parameter, with its index and value (tinker_error_t).
 *
 * Both are built once and then only read; they may be used by several calls
 * and threads at the same time as long as nobody changes them. A call keeps
 * using their memory instead of a copy: the caller may change or release them
 * as soon as it has returned, and memory that nobody else uses is given back to
 * its allocator when the call needs it no more, on a thread of the client. */
#ifndef TINKER_DATA_H
#define TINKER_DATA_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A new, empty model input.
 * out: receives a reference owned by the caller; untouched on failure.
 * allocator: copied; NULL = the C library. error: may be NULL. Any thread.
 * Returns 0, TINKER_EINVAL (out is NULL, an allocator that is not whole) or
 * TINKER_ENOMEM. */
TINKER_API int tinker_input_new(tinker_input_t **out,
                                const tinker_allocator_t *allocator,
                                tinker_error_t **error);

/* A new model input of one text chunk.
 * out: receives a reference owned by the caller; untouched on failure. tokens:
 * n ids, copied, each 0 or more. n: at least 1. allocator: copied; NULL = the C
 * library. error: may be NULL. Any thread. Returns 0, TINKER_EINVAL,
 * TINKER_EOVERFLOW or TINKER_ENOMEM. */
TINKER_API int tinker_input_from_tokens(tinker_input_t **out,
                                        const int32_t *tokens, size_t n,
                                        const tinker_allocator_t *allocator,
                                        tinker_error_t **error);

/* Appends a run of token ids as one text chunk.
 * input: not NULL, not shared with another thread. tokens: n ids, copied,
 * each 0 or more. n: at least 1. error: may be NULL. Returns 0, TINKER_EINVAL
 * (a NULL, n is 0, a negative id), TINKER_EOVERFLOW or TINKER_ENOMEM; the input
 * is unchanged on failure. One thread at a time. */
TINKER_API int tinker_input_add_tokens(tinker_input_t *input,
                                       const int32_t *tokens, size_t n,
                                       tinker_error_t **error);

/* Called when an array that was handed over is not needed any more: its owner
 * and all calls that were given it are done with it. user is what was given
 * with the array. Runs on any thread, the client's own included, and must not
 * block; to free memory is what it is for. */
typedef void (*tinker_free_cb)(void *user);

/* Makes an array of token ids the text chunk of an empty input, without copying
 * it: for large inputs.
 * input: not NULL, empty, not shared with another thread. tokens: n ids, each 0
 * or more, which nobody changes any more; the input's after success, the
 * caller's still after a failure. n: at least 1. free_cb: called once when they
 * are not needed any more, not NULL. user: passed to it. error: may be NULL.
 * Returns 0, TINKER_EINVAL, TINKER_EOVERFLOW or TINKER_ENOMEM; the input is
 * unchanged on failure. One thread at a time. */
TINKER_API int tinker_input_take_tokens(tinker_input_t *input,
                                        const int32_t *tokens, size_t n,
                                        tinker_free_cb free_cb, void *user,
                                        tinker_error_t **error);

/* Number of tokens in a model input.
 * input: borrowed; NULL counts as empty. Returns the number. Any thread. */
TINKER_API size_t tinker_input_length(const tinker_input_t *input);

/* Adds a reference.
 * input: may be NULL. Returns input. Any thread. */
TINKER_API tinker_input_t *tinker_input_retain(tinker_input_t *input);

/* Gives a reference back; the last one frees.
 * input: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_input_t *tinker_input_release(tinker_input_t *input);

/* A new training example around a model input.
 * out: receives a reference owned by the caller; untouched on failure.
 * input: not NULL, not empty; the example keeps a reference, so it must not
 * change any more. allocator: copied; NULL = the C library. error: may be NULL.
 * Any thread. Returns 0, TINKER_EINVAL or TINKER_ENOMEM. */
TINKER_API int tinker_datum_new(tinker_datum_t **out, tinker_input_t *input,
                                const tinker_allocator_t *allocator,
                                tinker_error_t **error);

/* A new training example for next-token prediction with cross-entropy:
 * the input is tokens[0 .. n-2], "target_tokens" is tokens[1 .. n-1] and
 * "weights" is weights[1 .. n-1], or all ones.
 * out: receives a reference owned by the caller; untouched on failure.
 * tokens: n ids, copied, each 0 or more. weights: n factors, one per token (the
 * first is not used), copied, all finite, the first too; NULL = 1 for every
 * token. n: at least
 * 2. allocator: copied; NULL = the C library. error: may be NULL. Any thread.
 * Returns 0, TINKER_EINVAL (also for an id or a weight out of range),
 * TINKER_EOVERFLOW or TINKER_ENOMEM. */
TINKER_API int tinker_datum_new_supervised(tinker_datum_t **out,
                                           const int32_t *tokens,
                                           const float *weights, size_t n,
                                           const tinker_allocator_t *allocator,
                                           tinker_error_t **error);

/* A new training example for reinforcement learning: what a sampler drew after
 * a prompt, with one advantage. The input is the prompt and all but the last
 * sampled token, P + S - 1 tokens; "target_tokens" is the same one place on.
 * "logprobs" and "advantages" hold what is given at the S places of sampled
 * tokens and 0 at the P - 1 places of prompt tokens, which so take no part in
 * the losses of importance sampling, PPO and CISPO (sums of terms in A).
 * out: receives a reference owned by the caller; untouched on failure. prompt:
 * P = prompt_len ids, copied, each 0 or more. prompt_len: at least 1. tokens:
 * S = n ids, copied, each 0 or more. logprobs: n log-probabilities at sampling
 * time, copied, all finite. n: at least 1. advantage: finite. allocator:
 * copied; NULL = the C library. error: may be NULL. Any thread. Returns 0,
 * TINKER_EINVAL, TINKER_EOVERFLOW or TINKER_ENOMEM. */
TINKER_API int tinker_datum_new_rl(tinker_datum_t **out, const int32_t *prompt,
                                   size_t prompt_len, const int32_t *tokens,
                                   const float *logprobs, size_t n,
                                   float advantage,
                                   const tinker_allocator_t *allocator,
                                   tinker_error_t **error);

/* Sets an integer tensor of the loss's inputs, for example "target_tokens".
 * A tensor of the same name is replaced.
 * datum: not NULL, not shared with another thread. name: NUL-terminated, 1 to
 * 64 bytes of [a-z0-9_]. data: rows * cols values, row-major, copied; those of
 * "target_tokens" are token ids, 0 to 2147483647. rows: at least 1, the input's
 * length for per-token inputs. cols: 0 makes a vector of shape (rows), else the
 * shape is (rows, cols). error: may be NULL. Returns 0, TINKER_EINVAL,
 * TINKER_EOVERFLOW or TINKER_ENOMEM; unchanged on failure. One thread at a
 * time. */
TINKER_API int tinker_datum_set_i64(tinker_datum_t *datum, const char *name,
                                    const int64_t *data, size_t rows,
                                    size_t cols, tinker_error_t **error);

/* Sets a float tensor of the loss's inputs, for example "weights",
 * "logprobs" or "advantages". A tensor of the same name is replaced.
 * datum: not NULL, not shared with another thread. name: NUL-terminated, 1 to
 * 64 bytes of [a-z0-9_]. data: rows * cols values, row-major, copied; all
 * finite. rows: at least 1, the input's length for per-token inputs. cols: 0
 * makes a vector of shape (rows), else the shape is (rows, cols). error: may be
 * NULL. Returns 0, TINKER_EINVAL (also for a value that is not finite),
 * TINKER_EOVERFLOW or TINKER_ENOMEM; unchanged on failure. One thread at a
 * time. */
TINKER_API int tinker_datum_set_f32(tinker_datum_t *datum, const char *name,
                                    const float *data, size_t rows, size_t cols,
                                    tinker_error_t **error);

/* As tinker_datum_set_i64() and tinker_datum_set_f32(), without copying the
 * array: for large tensors.
 * datum, name, rows, cols, error: as there. data: rows * cols values which
 * nobody changes any more; the datum's after success, the caller's still after
 * a failure. free_cb: called once when they are not needed any more, not NULL.
 * user: passed to it. Returns what tinker_datum_set_f32() does. One thread at a
 * time. */
TINKER_API int tinker_datum_take_i64(tinker_datum_t *datum, const char *name,
                                     const int64_t *data, size_t rows,
                                     size_t cols, tinker_free_cb free_cb,
                                     void *user, tinker_error_t **error);

/* See tinker_datum_take_i64().
 * datum, name, data, rows, cols, free_cb, user, error: as there; all values
 * finite. Returns what tinker_datum_set_f32() does. One thread at a time. */
TINKER_API int tinker_datum_take_f32(tinker_datum_t *datum, const char *name,
                                     const float *data, size_t rows,
                                     size_t cols, tinker_free_cb free_cb,
                                     void *user, tinker_error_t **error);

/* SHA-256 of what an example says, so that a journal can tell whether a batch
 * is the one that it was. It depends on nothing else: not on how the example
 * was built, nor on model, process or version of the library. Hashed is, one
 * after the other, with numbers of 8 bytes, all of it little-endian:
 *
 * - the 8 bytes "tkdatum1";
 * - the number of chunks of the model input, and for each 0 (text), the number
 *   of its tokens, and the tokens, 4 bytes each;
 * - the number of loss inputs, and for each, in the order of the bytes of their
 *   names: the length of the name, the name, 1 (float32) or 2 (int64), the
 *   number of dimensions (1 or 2), each dimension, and the values, row-major, 4
 *   or 8 bytes each.
 *
 * So 0.0 and -0.0 are two values, and the same tokens in one chunk and in two
 * are two examples.
 * datum: not NULL. out: receives the digest, not NULL; untouched on failure.
 * Returns 0, TINKER_EINVAL or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_datum_sha256(const tinker_datum_t *datum,
                                   unsigned char out[32]);

/* Adds a reference.
 * datum: may be NULL. Returns datum. Any thread. */
TINKER_API tinker_datum_t *tinker_datum_retain(tinker_datum_t *datum);

/* Gives a reference back; the last one frees.
 * datum: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_datum_t *tinker_datum_release(tinker_datum_t *datum);

#ifdef __cplusplus
}
#endif

#endif
