/* calls: what most tests ask of a call of the API, in one expression. */
#ifndef TESTS_SUPPORT_CALLS_H
#define TESTS_SUPPORT_CALLS_H

#include <tinker/tinker.h>

static inline tinker_call_options_t
calls_with(const tinker_call_options_t *options, tinker_done_cb cb,
           void *user) {
  tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
  if (options) o = *options;
  o.cb = cb;
  o.user = user;
  return o;
}

static inline tinker_call_options_t calls_timeout(int64_t timeout_ms) {
  tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
  o.timeout_ms = timeout_ms;
  return o;
}

/* Options with a callback, or with a timeout, valid in the block that they
 * stand in. */
#define CALLS_WITH(options, cb, user)                                          \
  ((tinker_call_options_t[1]){calls_with((options), (cb), (user))})

#define CALLS_TIMEOUT(timeout_ms)                                              \
  ((tinker_call_options_t[1]){calls_timeout(timeout_ms)})

/* 0 for a call that was not refused: its future goes to *out, or is released if
 * out is NULL. Else its code, and *out is NULL. */
static inline int calls_begun(tinker_future_t *future, tinker_future_t **out) {
  int status = tinker_future_status(future);
  if (status == TINKER_EAGAIN) status = 0;
  if (status || !out) future = tinker_future_release(future);
  if (out) *out = future;
  return status;
}

#endif
