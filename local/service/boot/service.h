/* service: the local Tinker service as a library.
 *
 * It opens a state folder, loads base models, takes up what an earlier run
 * left unfinished, and speaks the Tinker protocol on a Unix socket and on TCP.
 * It has its own threads: HTTP (one per listener), store, engine, timer, log.
 * The functions here are called from one thread of the owner. */
#ifndef TINKER_SERVICE_SERVICE_H
#define TINKER_SERVICE_SERVICE_H

#include "service/core/config.h"
#include "service/core/types.h"

/* Where a start failed: the daemon's exit code says it. */
typedef enum {
  TINKER__STAGE_STATE = 1, /* the state folder or its store */
  TINKER__STAGE_BUSY,      /* the state folder is in use */
  TINKER__STAGE_MODEL,     /* a model folder */
  TINKER__STAGE_LISTEN,    /* a socket or port */
  TINKER__STAGE_CONFIG,    /* a value of the configuration */
  TINKER__STAGE_OTHER
} tinker__svc_stage_t;

/* Starts everything; when it returns 0 the service answers. On failure *stage
 * and `why` tell. */
int tinker__svc_start(tinker__svc_t **out, const tinker__svc_config_t *config,
                      tinker__svc_stage_t *stage, char *why, size_t why_len);
/* The port that TCP listens on, 0 without TCP. */
int tinker__svc_port(const tinker__svc_t *s);
/* Answers what is parked, halts the step under way, commits, closes. Ends
 * within seconds: unfinished work stays in the log for the next start. */
void tinker__svc_stop(tinker__svc_t *s);

#endif
