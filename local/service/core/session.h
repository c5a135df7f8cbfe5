/* session: one session of a client. Under the service's lock. */
#ifndef TINKER_SERVICE_CORE_SESSION_H
#define TINKER_SERVICE_CORE_SESSION_H

#include "base/digest.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

/* Kept as long as the session is known: of create_session's body, and of a
 * model's user_metadata. */
#define TINKER__MAX_SESSION_BODY 131072
#define TINKER__MAX_METADATA 65536

struct tinker__svc_session_s {
  tinker__link_t link; /* service.sessions, by creation */
  tinker__svc_t *service;
  int64_t row;
  char id[37];
  int64_t created_ms; /* wall */
  int64_t seen_ms;    /* monotonic, last sign of life */
  int64_t ended_ms;   /* wall; 0 = live */
  char *end_reason;
  bool purged;                   /* results are gone */
  bool leaves;                   /* its rows are on their way out, too */
  tinker__eng_task_t task;       /* pushed once, when it leaves */
  char *idem_key;                /* NULL = none */
  char *metadata, *display_name; /* an object as JSON, text; NULL = none */
  char *project;                 /* id, the same */
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_ack_t ack;
  tinker__link_t models, samplers;
  size_t polls; /* parked on its calls */
};

#endif
