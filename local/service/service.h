/* service: the local Tinker service as a library.
 *
 * It opens a state folder, loads base models, takes up what an earlier run
 * left unfinished, and speaks the Tinker protocol on a Unix socket and on TCP.
 * It has its own threads: HTTP (one per listener), store, engine, timer. The
 * functions here are called from one thread of the owner. */
#ifndef TINKER_SERVICE_SERVICE_H
#define TINKER_SERVICE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/world.h"
#include "engine/engine.h"

typedef struct tinker__service_s tinker__service_t;

typedef struct tinker__service_model_s {
  const char *name; /* NULL = the folder's own name */
  const char *dir;
} tinker__service_model_t;

typedef struct tinker__service_config_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;       /* NULL = the real one */
  const tinker__engine_api_t *engine;
  unsigned threads;                   /* of the engine; 0 = one per core */
  const char *state_dir;              /* made with mode 0700 if missing */
  const char *socket_path;            /* NULL = no Unix socket */
  const char *listen;                 /* HOST:PORT, NULL = no TCP */
  const char *key;                    /* NULL = any well-formed key */
  const tinker__service_model_t *models;
  size_t n_models;
  uint64_t max_memory; /* bytes for base models; 0 = what the machine has */
  size_t max_body;     /* bytes of a request; 0 = 64 MiB */
  int64_t poll_ms;     /* hold of a long poll; 0 = 30 s */
  int64_t keep_ms;     /* results after the session's end; 0 = 1 hour */
  int64_t session_ms;  /* a session without heartbeat ends; 0 = 10 minutes */
  int64_t snapshot_ms; /* engine time that a restart may repeat; 0 = 5 s */
  /* One JSON line without its end; any thread, one at a time. */
  void (*log)(void *user, const char *line, size_t len);
  /* The service can't go on (its store failed); any thread. */
  void (*ended)(void *user);
  void *user;
} tinker__service_config_t;

/* Where a start failed: the daemon's exit code says it. */
typedef enum {
  TINKER__STAGE_STATE = 1, /* the state folder or its store */
  TINKER__STAGE_BUSY,      /* the state folder is in use */
  TINKER__STAGE_MODEL,     /* a model folder */
  TINKER__STAGE_LISTEN,    /* a socket or port */
  TINKER__STAGE_OTHER
} tinker__stage_t;

/* Starts everything; when it returns 0 the service answers. On failure *stage
 * and `why` tell. */
int tinker__service_start(tinker__service_t **out,
                          const tinker__service_config_t *config,
                          tinker__stage_t *stage, char *why, size_t why_len);
/* The port that TCP listens on, 0 without TCP. */
int tinker__service_port(const tinker__service_t *s);
/* Answers what is parked, finishes the step under way, commits, closes. Ends
 * within seconds: unfinished work stays in the log for the next start. */
void tinker__service_stop(tinker__service_t *s);

#endif
