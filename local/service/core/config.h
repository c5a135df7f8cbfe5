/* config: the decisions of a service's owner. Set before the start, constant
 * after it. */
#ifndef TINKER_SERVICE_CORE_CONFIG_H
#define TINKER_SERVICE_CORE_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/world.h"
#include "engine/engine.h"

typedef struct tinker__svc_model_spec_s {
  const char *name; /* NULL = the folder's own name */
  const char *dir;
  const tinker__engine_api_t *engine; /* NULL = tinker__svc_config_t.engine */
  bool later; /* not loaded at the start unless runs or samplers need it */
} tinker__svc_model_spec_t;

typedef struct tinker__svc_config_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;       /* NULL = the real one */
  const tinker__engine_api_t *engine; /* for models that name no other */
  int64_t threads;                    /* of each engine; 0 = one per core */
  const char *state_dir;              /* made with mode 0700 if missing */
  const char *socket_path;            /* NULL = no Unix socket */
  const char *listen;                 /* HOST:PORT, NULL = no TCP */
  const char *key;                    /* NULL = any well-formed key */
  const char *const *origins; /* web pages that may use TCP without a key, as
                                 browsers write them; NULL = none */
  size_t n_origins;
  const char *faults; /* file with a fault plan; NULL = none */
  const tinker__svc_model_spec_t *models;
  size_t n_models;
  int64_t max_memory;    /* bytes for base models, requests (core/budget.h),
                            training and the caches of samples; the last two get
                            half each of what the others leave; 0 = the
                            machine's memory */
  int64_t max_body;      /* bytes of a request; 0 = 64 MiB */
  int64_t max_tokens;    /* of a request's inputs, or of a sample's prompt and
                            all it may generate; 0 = 1,048,576 */
  int64_t max_models;    /* of live sessions; 0 = 1024 */
  int64_t max_samples;   /* requests under way; 0 = 2,000 */
  int64_t inline_result; /* largest bytes of a result that is sent without being
                           announced first; 0 = 1 MiB */
  int64_t poll_ms;       /* hold of a long poll; 0 = 30 s */
  int64_t keep_ms;       /* results are kept after the session's end for this;
                            0 = 1 hour */
  int64_t forget_ms;     /* a session without checkpoints is known after its end
                            for this, and as long as its results; 0 = 1 day */
  int64_t session_ms;    /* a session without a sign of life ends after this;
                            0 = 10 minutes */
  int64_t snapshot_ms;   /* engine time that a restart may repeat, all models
                            together; 0 = 5 s */
  int64_t idle_ms;       /* a model without a call leaves memory after this;
                            0 = 5 min */
  int64_t sample_share;  /* percent of the engine's time that samples get while
                            training wants it too, 1 to 99; 0 = 50 */
  /* Flags for client/config and client/dynamic_config, each a JSON object that
   * is read at the start; NULL = none. */
  const char *client_config, *dynamic_config;
  /* *doing is set to the address of a number while the service lives, and to
   * NULL before and after; NULL = not wanted. The number is the row of the call
   * being executed, TINKER__REDOING of the row while the log is executed again,
   * -1 in a decode round, and else 0. */
  _Atomic(_Atomic int64_t *) *doing;
  /* The signal that crashed the image before this one, 0 = none, and the number
   * that its *doing pointed to then. */
  int crash_signal;
  int64_t crash_call;
  /* Gets a JSON line without its end, on a thread of its own, one at a time and
   * with no lock held. It may block; lines that find no room in the queue are
   * dropped and counted meanwhile. A stop waits for the last call to return. */
  void (*log)(void *user, const char *line, size_t len);
  bool debug; /* log lines of level debug too, which follow each call */
  /* Called when the service can't go on because its store failed, on any
   * thread. Must not block. */
  void (*ended)(void *user);
  void *user;
} tinker__svc_config_t;

#endif
