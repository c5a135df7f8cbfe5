/* service: the local Tinker service as a library.
 *
 * It opens a state folder, loads base models, takes up the calls that an
 * earlier run left unfinished, and speaks the Tinker protocol on a Unix socket
 * and on TCP. It has its own threads: HTTP (one per listener), workers, store,
 * engine, timer and log. The functions here are called from one thread of the
 * owner. */
#ifndef TINKER_SERVICE_SERVICE_H
#define TINKER_SERVICE_SERVICE_H

#include "service/core/config.h"
#include "service/core/types.h"

/* The stage in which a start failed. The daemon turns it into its exit code. */
typedef enum {
  TINKER__STAGE_STATE = 1, /* the state folder or its store */
  TINKER__STAGE_BUSY,      /* the state folder is in use */
  TINKER__STAGE_MODEL,     /* a model folder */
  TINKER__STAGE_LISTEN,    /* a socket or port */
  TINKER__STAGE_CONFIG,    /* a value of the configuration */
  TINKER__STAGE_OTHER
} tinker__svc_stage_t;

/* Starts everything; when it returns 0 the service answers. On failure *stage
 * is the stage that failed and why has a sentence. */
int tinker__svc_start(tinker__svc_t **out, const tinker__svc_config_t *config,
                      tinker__svc_stage_t *stage, char *why, size_t why_len);
/* The port that TCP listens on, 0 without TCP. */
int tinker__svc_port(const tinker__svc_t *s);
/* Answers the parked requests, halts the step under way, commits and closes. It
 * returns within seconds; unfinished calls stay in the log for the next start.
 */
void tinker__svc_stop(tinker__svc_t *s);

#endif
