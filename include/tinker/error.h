/* Error codes, their names and texts, and the error object.
 *
 * There is one error object for everything that can fail. An operation's
 * belongs to its future (tinker_future_error()). A function that is not an
 * operation returns a code and has a last parameter `tinker_error_t **error`,
 * which receives the reason. It is not a thread's last error, because a
 * coroutine may ask on another thread than the one it failed on, and because a
 * callback in between would replace it. */
#ifndef TINKER_ERROR_H
#define TINKER_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, number, text). Numbers are never reused. Blocks: 1-49 local,
 * 50-99 transport, 100-149 server, 150-199 codec. */
#define TINKER_ERROR_MAP(X)                                                    \
  X(EINVAL, -1, "invalid argument")                                            \
  X(ENOMEM, -2, "out of memory, or memory_limit_bytes is reached")             \
  X(ENOTSUP, -3, "not supported")                                              \
  X(ESTATE, -4, "not allowed in this state")                                   \
  X(ECLOSED, -5, "the handle is closed")                                       \
  X(ECANCELED, -6, "canceled")                                                 \
  X(ETIMEDOUT, -7, "deadline passed")                                          \
  X(EDEADLK, -8, "waiting on the thread that does the work")                   \
  X(EAGAIN, -9, "not ready yet")                                               \
  X(ENOENT, -10, "not found")                                                  \
  X(EEXIST, -11, "exists already")                                             \
  X(EIO, -12, "input or output failed")                                        \
  X(EOVERFLOW, -13, "a limit was exceeded")                                    \
  X(EBUSY, -14, "in use")                                                      \
  X(EAUTH, -15, "credential missing, malformed or not accepted")               \
  X(ERANDOM, -16, "no random numbers from the system")                         \
  X(EFORKED, -17,                                                              \
    "the handle belongs to the process before fork(): release it, and make a " \
    "client in this one")                                                      \
  X(EINTERNAL, -18, "a bug of this library: please report it")                 \
  X(ECONNECT, -50, "could not connect: nothing was sent")                      \
  X(ETRANSPORT, -51, "connection failed after bytes were sent")                \
  X(ETLS, -52, "TLS failed")                                                   \
  X(ESERVER, -100, "the server reported a failure")                            \
  X(EREJECTED, -101, "the server rejected the request")                        \
  X(ELOST, -102, "the server no longer has the result")                        \
  X(EBILLING, -103, "the account is blocked for billing")                      \
  X(ESESSION, -104, "the session has ended")                                   \
  X(EFATAL, -105, "an earlier request of this trainer was lost")               \
  X(EPROTO, -150, "malformed message")                                         \
  X(EJSON, -151, "malformed JSON")                                             \
  X(EFORMAT, -152, "malformed file")

typedef enum {
  TINKER_OK = 0,
#define TINKER__ENUM(name, number, text) TINKER_##name = number,
  TINKER_ERROR_MAP(TINKER__ENUM)
#undef TINKER__ENUM
} tinker_code_t;

/* Who must act: by the judgement of the service, where a call failed that it
 * had accepted (protocol: field "category"); else by the status of its refusal.
 * UNKNOWN where the service has said nothing. docs/errors.md has a table. */
typedef enum {
  TINKER_CATEGORY_UNKNOWN = 0,
  TINKER_CATEGORY_USER = 1,
  TINKER_CATEGORY_SERVER = 2
} tinker_category_t;

/* Why something failed. Immutable. A future's is owned by the future and valid
 * until that is released. One from an `error` parameter is owned by the caller,
 * who gives it to tinker_error_release(); the parameter may be NULL, and what
 * it points at is written only on failure. */
typedef struct tinker_error_s tinker_error_t;

/* What an error says, for a program that makes one. A field that is 0 or NULL
 * says nothing; a flag is 0 or 1. */
typedef struct tinker_reason_s {
  size_t size;
  int32_t code;           /* a tinker_code_t below 0; required */
  int32_t category;       /* a tinker_category_t */
  const char *message;    /* sentence for people, of which 4,095 bytes are kept;
                           * copied; NULL or "" = the code's text */
  const char *request_id; /* copied */
  int64_t retry_after_ms; /* 0 or more */
  int32_t http_status;    /* 0 to 999 */
  int32_t retriable;      /* as tinker_error_is_retriable() */
  int32_t fatal;          /* as tinker_error_is_fatal() */
  int32_t outcome_unknown; /* as tinker_error_outcome_is_unknown() */
  int32_t needs_recovery;  /* as tinker_error_needs_recovery() */
  int32_t reserved0;       /* 0 */
} tinker_reason_t;

#define TINKER_REASON_INIT                                                     \
  { sizeof(tinker_reason_t), 0, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0 }

/* Writes the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_reason_init(tinker_reason_t *o) {
  const tinker_reason_t init = TINKER_REASON_INIT;
  *o = init;
}

/* Makes an error, for a function of the program's own that has an `error`
 * parameter: `return tinker_error_make(&reason, error);`.
 * reason: borrowed, not NULL. error: receives it, owned by the caller, who
 * gives it to tinker_error_release(); may be NULL. Returns the code of the
 * reason, also where there is no memory for its words; TINKER_EINVAL or
 * TINKER_ENOTSUP if it is not one, with an error that says what is wrong with
 * it. Any thread. */
TINKER_API int tinker_error_make(const tinker_reason_t *reason,
                                 tinker_error_t **error);

/* Gives back an error that a function with an `error` parameter has set; not
 * for the error of a future.
 * error: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_error_t *tinker_error_release(tinker_error_t *error);

/* Name of a code, for example "TINKER_ENOMEM".
 * code: any int. Returns a static string, "TINKER_UNKNOWN" for a number that
 * is not a code. Never NULL. Any thread. */
TINKER_API const char *tinker_code_name(int code);

/* One-line English text of a code.
 * code: any int. Returns a static string, never NULL. Any thread. */
TINKER_API const char *tinker_code_text(int code);

/* Code of an error.
 * error: borrowed; NULL counts as success. Returns a tinker_code_t, negative,
 * or TINKER_OK for NULL. Any thread. */
TINKER_API int tinker_error_code(const tinker_error_t *error);

/* Sentence for people: what failed, with which value, what to do.
 * error: borrowed, may be NULL (returns ""). Returns a NUL-terminated UTF-8
 * string owned by the error, never NULL. Any thread. */
TINKER_API const char *tinker_error_message(const tinker_error_t *error);

/* HTTP status of the reply that the error is about.
 * error: borrowed, may be NULL. Returns the status, or 0 when there was no
 * reply. Any thread. */
TINKER_API int tinker_error_http_status(const tinker_error_t *error);

/* Who must act.
 * error: borrowed, may be NULL (returns TINKER_CATEGORY_UNKNOWN). Any
 * thread. */
TINKER_API tinker_category_t tinker_error_category(const tinker_error_t *error);

/* Request id of the failed request, for a report to the service; where none was
 * assigned, the id of the server's log (header x-request-id or cf-ray).
 * error: borrowed, may be NULL. Returns a string owned by the error, "" when
 * there is neither, never NULL. Any thread. */
TINKER_API const char *tinker_error_request_id(const tinker_error_t *error);

/* Time the service asked to wait before the next attempt.
 * error: borrowed, may be NULL. Returns milliseconds, 0 when not stated. Any
 * thread. */
TINKER_API int64_t tinker_error_retry_after_ms(const tinker_error_t *error);

/* Advice: nothing was done, the same call may succeed later, and repeating it
 * is safe. error: borrowed, may be NULL (returns 0). Returns 1 or 0. Any
 * thread. */
TINKER_API int tinker_error_is_retriable(const tinker_error_t *error);

/* Advice: the handle that made the call refuses all later calls.
 * error: borrowed, may be NULL (returns 0). Returns 1 or 0. Any thread. */
TINKER_API int tinker_error_is_fatal(const tinker_error_t *error);

/* Advice: the server may or may not have carried the request out. Never
 * repeat it blindly; look at the run first.
 * error: borrowed, may be NULL (returns 0). Returns 1 or 0. Any thread. */
TINKER_API int tinker_error_outcome_is_unknown(const tinker_error_t *error);

/* Advice: the remote model can't be trusted any more; go back to a
 * checkpoint.
 * error: borrowed, may be NULL (returns 0). Returns 1 or 0. Any thread. */
TINKER_API int tinker_error_needs_recovery(const tinker_error_t *error);

#ifdef __cplusplus
}
#endif

#endif
