/* Forward declarations of the handles and the one callback type.
 *
 * All handles are opaque and reference counted: `_retain` adds a reference,
 * `_release` gives one back, accepts NULL and returns NULL, so that
 * `x = tinker_x_release(x)` leaves no dangling pointer. Any public function
 * may be called from any thread unless its comment says otherwise. */
#ifndef TINKER_TYPES_H
#define TINKER_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "error.h"
#include "export.h"
#include "log.h"
#include "version.h"

typedef struct tinker_client_s tinker_client_t;   /* a connection, a session */
typedef struct tinker_trainer_s tinker_trainer_t; /* a LoRA model in training */
typedef struct tinker_sampler_s tinker_sampler_t; /* weights to sample from */
typedef struct tinker_route_s tinker_route_t;     /* several samplers */
typedef struct tinker_future_s tinker_future_t;   /* one operation */
typedef struct tinker_promise_s tinker_promise_t; /* who ends one */
typedef struct tinker_input_s tinker_input_t;     /* model input: tokens */
typedef struct tinker_datum_s tinker_datum_t;     /* one training example */

/* One entry of a session's, a model's or a checkpoint's user metadata: what a
 * program attaches to it (options.h), and finds on it (rest.h).
 *
 * Attached are at most 256 entries of which no two have one name: names of 1 to
 * 256 bytes and values of up to 16,384, UTF-8 both, and all of them not more
 * than 65,536 bytes as JSON; what doesn't fit is refused (TINKER_EINVAL), by
 * its place in the array. They are copied by the call that takes them. */
typedef struct tinker_metadata_s {
  const char *name;
  const char *value; /* one that is not a text is shown as JSON */
} tinker_metadata_t;

/* Called when an operation has ended.
 *
 * It runs exactly once for each call that it was given to, also if the call was
 * refused, never inside the call itself, and with no lock held. Only a constant
 * future (future.h) runs none; tinker_future_runs_callback() tells. The
 * callbacks of a client run one at a time on its delivery thread, or where the
 * program turns it (loop.h, uv.h). The delivery thread may run one before the
 * call has returned on the caller's thread, so what it needs is passed by user,
 * not by way of what the call returns. Every public function may be called
 * inside, but for those that wait. future is borrowed: retain it to
 * keep it and its results. status is 0 or a negative tinker_code_t;
 * tinker_future_error() has the sentence. user is the pointer of the call
 * options. */
typedef void (*tinker_done_cb)(tinker_future_t *future, int status, void *user);

#endif
