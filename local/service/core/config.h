/* config: what the owner of a service decides. Set before the start, constant
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
  const tinker__engine_api_t *engine; /* NULL = the service's */
  bool later; /* not loaded at the start, unless runs or samplers need it */
} tinker__svc_model_spec_t;

typedef struct tinker__svc_config_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;       /* NULL = the real one */
  const tinker__engine_api_t *engine; /* of models that name no other */
  int64_t threads;                    /* of an engine; 0 = one per core */
  const char *state_dir;              /* made with mode 0700 if missing */
  const char *socket_path;            /* NULL = no Unix socket */
  const char *listen;                 /* HOST:PORT, NULL = no TCP */
  const char *key;                    /* NULL = any well-formed key */
  const char *const *origins; /* of web pages that TCP without a key answers, as
                                 browsers write them; NULL = none */
  size_t n_origins;
  const char *faults; /* file with a fault plan; NULL = none, for ever */
  const tinker__svc_model_spec_t *models;
  size_t n_models;
  int64_t max_memory;  /* bytes for base models and the caches of samples, which
                          get half of what the models leave; 0 = what the
                          machine has */
  int64_t max_body;    /* bytes of a request; 0 = 64 MiB */
  int64_t max_tokens;  /* of a request's inputs, or of a sample's prompt and
                          all it may generate; 0 = 1,048,576 */
  int64_t max_models;  /* of live sessions; 0 = 1024 */
  int64_t max_samples; /* requests under way; 0 = 2,000 */
  int64_t inline_result; /* bytes of a result that is sent at once; a larger one
                           is announced first; 0 = 1 MiB */
  int64_t poll_ms;       /* hold of a long poll; 0 = 30 s */
  int64_t keep_ms;       /* results after the session's end; 0 = 1 hour */
  int64_t session_ms;    /* a session without heartbeat ends; 0 = 10 minutes */
  int64_t snapshot_ms;   /* engine time that a restart may repeat, all models
                            together; 0 = 5 s */
  int64_t idle_ms;       /* a model without a call leaves memory; 0 = 5 min */
  int64_t sample_share;  /* percent of the engine's time that samples get while
                            training wants it, too: 1 to 99; 0 = 50 */
  /* Flags of client/config and client/dynamic_config: a JSON object each, read
   * at the start; NULL = none. */
  const char *client_config, *dynamic_config;
  /* Gets the place (NULL = not wanted) that holds, while the service lives, a
   * number that stands for the call being executed, -1 in a decode round, 0
   * else; NULL before and after. And what it held when a signal killed the
   * process before this one; signal 0 = none did. */
  _Atomic(_Atomic int64_t *) *doing;
  int crash_signal;
  int64_t crash_call;
  /* One JSON line without its end, on a thread of its own, one at a time and
   * with no lock held: it may block, and lines that find no room meanwhile are
   * dropped and counted. A stop waits for the call under way to return. */
  void (*log)(void *user, const char *line, size_t len);
  bool debug; /* also lines of level debug: the way of each call */
  /* The service can't go on (its store failed); any thread. Must not block. */
  void (*ended)(void *user);
  void *user;
} tinker__svc_config_t;

#endif
