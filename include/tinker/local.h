/* The local service inside a program: libtinker-local, a library of its own
 * (static: CMake target tinker::local, pkg-config package tinker-local, both
 * with the client).
 *
 * A started service speaks the Tinker protocol on a Unix socket in a private
 * folder of mode 0700 that it makes and removes; the program gives the endpoint
 * to its clients and chooses no path. The service has threads of its own, reads
 * no standard stream, writes to none, and changes no signal and no other
 * setting of the process. Several may run in one program, each with its own
 * state. A service supports and refuses the same as tinker-locald
 * (docs/local-service.md). */
#ifndef TINKER_LOCAL_H
#define TINKER_LOCAL_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "error.h"
#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A running service. */
typedef struct tinker_local_s tinker_local_t;

/* Gets one line of the service's log: a JSON object of len bytes without a line
 * end or a NUL, valid during the call only. user is what the options were
 * given. Runs on a thread of the service, one call at a time, with no lock
 * held; it may block (lines that find no room meanwhile are dropped and
 * counted). It must not stop the service, which waits for it. */
typedef void (*tinker_local_log_cb)(void *user, const char *line, size_t len);

/* The service can't go on, because its state can't be stored: requests are
 * answered 503 from now on, and only tinker_local_stop() is of use. user is
 * what the options were given. Runs once, on a thread of the service, perhaps
 * with locks held: it must not block, and must not stop the service. */
typedef void (*tinker_local_ended_cb)(void *user);

/* Begins with its size and gets its defaults from TINKER_LOCAL_OPTIONS_INIT or
 * tinker_local_options_init(), by the rules of options.h. Everything it points
 * at is copied. */
typedef struct tinker_local_options_s {
  size_t size;
  /* The base models: model_count folders (1 to 32) with config.json,
   * safetensors and, for stop strings, tokenizer.json. Required. */
  const char *const *model_dirs;
  /* model_count names that clients ask for, each NULL for the name of its
   * folder; NULL (default) = all of them. */
  const char *const *model_names;
  size_t model_count;
  /* Folder for runs, checkpoints and results, of mode 0700, made when it is
   * missing: what was acknowledged is there at the next start. That start has
   * another endpoint, where the clients and trainers of this one do not look:
   * save a training state, and create a trainer from it. NULL (default) = in
   * the private folder: it ends with the service. */
  const char *state_dir;
  /* Threads of the engine, 0 (default) to 1,024; 0 = one per core. */
  int64_t threads;
  /* Bytes for weights, training, the caches of samples, and requests and their
   * results; 0 (default) = what the machine has available. */
  int64_t max_memory_bytes;
  /* Largest body of a request in bytes, 1 to 1,073,741,824; default
   * 67,108,864. */
  int64_t max_body_bytes;
  /* Tokens of one request, with those that it wants sampled, 1 to 2^40; default
   * 1,048,576. */
  int64_t max_tokens;
  /* Milliseconds without a call or heartbeat that end a client's session, 1,000
   * to 1,000,000,000; default 600,000. A client sends a heartbeat every ten
   * seconds: with less than that it loses its session while it is idle. */
  int64_t session_timeout_ms;
  /* Percent of the engine's time for samples while training wants it, too, 1 to
   * 99; default 50. */
  int64_t sample_share;
  /* Where the memory of the service and of its engine comes from, weights
   * included; NULL (default) = the C library. Tokenizers and the libraries
   * below always use the C library. */
  const tinker_allocator_t *allocator;
  /* NULL (default) = not wanted. */
  tinker_local_log_cb log_cb;
  void *log_user;
  /* NULL (default) = not wanted. */
  tinker_local_ended_cb ended_cb;
  void *ended_user;
} tinker_local_options_t;

#define TINKER_LOCAL_OPTIONS_INIT                                              \
  {                                                                            \
    sizeof(tinker_local_options_t), NULL, NULL, 0, NULL, 0, 0, 67108864,       \
        1048576, 600000, 50, NULL, NULL, NULL, NULL, NULL                      \
  }

/* All defaults.
 * options: not NULL. Returns nothing. Any thread. */
static inline void tinker_local_options_init(tinker_local_options_t *options) {
  const tinker_local_options_t init = TINKER_LOCAL_OPTIONS_INIT;
  *options = init;
}

/* Starts a service: loads the models, takes up the calls that an earlier run
 * has left unfinished, listens. Takes as long as the models need to load. The
 * private folder is made in the folder that TMPDIR names, else in /tmp; a
 * process that is killed leaves it there.
 * out: receives the service, owned by the caller, who ends it with
 * tinker_local_stop(); untouched on failure. options: borrowed, copied; not
 * NULL. error: receives what is wrong, see tinker_error_t; may be NULL. Returns
 * 0; TINKER_EINVAL (an option; no model; TMPDIR too long for a socket),
 * TINKER_ENOTSUP (an option that this library does not know; a model that the
 * engine can't run), TINKER_ENOENT (no such model folder), TINKER_EEXIST (two
 * models of one name), TINKER_EFORMAT (a malformed model; a state folder that
 * is another program's, damaged or newer), TINKER_EBUSY (the state folder is in
 * use), TINKER_EIO (a folder, file or socket), TINKER_EOVERFLOW (a limit of a
 * model file), TINKER_ERANDOM or TINKER_ENOMEM (also: the models don't fit).
 * Any thread. */
TINKER_API int tinker_local_start(tinker_local_t **out,
                                  const tinker_local_options_t *options,
                                  tinker_error_t **error);

/* Where a service answers, for base_url of tinker_client_options_t: "unix:"
 * and the path of a socket, at most 107 bytes.
 * local: a started service, not NULL. Returns a string that the service owns,
 * valid until it is stopped; never NULL. Any thread. */
TINKER_API const char *tinker_local_endpoint(const tinker_local_t *local);

/* Ends a service and frees it: what waits for a result is answered, the step
 * under way is halted, the store committed, the private folder removed. Takes
 * seconds at most. Work that was accepted and not finished goes on at the next
 * start with the same state_dir; with a temporary state it is gone. Close the
 * clients first: their calls would look for the service until their deadlines.
 * local: freed, whatever is returned but TINKER_EFORKED; NULL allowed. Returns
 * 0, TINKER_EIO (the private folder could not be removed, or not all of it), or
 * TINKER_EFORKED (in a child made by fork(), which has no service: nothing was
 * done). Any thread, but no callback of the service. */
TINKER_API int tinker_local_stop(tinker_local_t *local);

#ifdef __cplusplus
}
#endif

#endif
