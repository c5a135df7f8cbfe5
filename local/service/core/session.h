/* session: one session of a client. Under the service's lock.
 *
 * Only tinker__svc_session_move changes its state; core/states.c has the table.
 * From ENDING on it takes no new calls; the calls that it has are finished. */
#ifndef TINKER_SERVICE_CORE_SESSION_H
#define TINKER_SERVICE_CORE_SESSION_H

#include "base/digest.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

/* Bytes of create_session's body and of a model's user_metadata. They are
 * bounded because they are kept as long as the session is known. */
#define TINKER__MAX_SESSION_BODY 131072
#define TINKER__MAX_METADATA 65536

typedef enum {
  TINKER__SVC_SESSION_STORING, /* its row is being stored; nobody sees it */
  TINKER__SVC_SESSION_LIVE,
  TINKER__SVC_SESSION_ENDING, /* its end is being stored */
  TINKER__SVC_SESSION_ENDED,
  TINKER__SVC_SESSION_PURGED, /* and its results are gone */
  TINKER__SVC_SESSION_LEAVING /* its rows are being deleted, and then itself */
} tinker__svc_session_state_t;

enum { TINKER__SVC_SESSION_STATES = TINKER__SVC_SESSION_LEAVING + 1 };

struct tinker__svc_session_s {
  tinker__link_t link; /* service.sessions, by creation */
  tinker__svc_t *service;
  int64_t row;
  char id[37];
  int64_t created_ms; /* wall */
  int64_t seen_ms;    /* monotonic, last sign of life */
  tinker__svc_session_state_t state;
  int64_t ended_ms; /* wall; from ENDING on */
  char *end_reason;
  char *idem_key;                /* NULL = none */
  char *metadata, *display_name; /* an object as JSON, text; NULL = none */
  char *project;                 /* its id; NULL = none */
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_ack_t ack; /* requests that wait while it is STORING or ENDING */
  tinker__link_t models, samplers;
  size_t polls; /* parked on its calls */
  /* Calls whose bodies are being checked without the lock. While there are any,
   * the session's models and samplers are kept in memory. */
  size_t arriving;
  tinker__eng_task_t task; /* pushed when it is LEAVING */
};

/* True when its results are not kept any more. */
static inline bool tinker__svc_session_purged(const tinker__svc_session_t *n) {
  return n->state >= TINKER__SVC_SESSION_PURGED;
}

/* True when the session takes no new calls. */
static inline bool tinker__svc_session_over(const tinker__svc_session_t *n) {
  return n->state >= TINKER__SVC_SESSION_ENDING;
}

bool tinker__svc_session_may(tinker__svc_session_state_t from,
                             tinker__svc_session_state_t to);
const char *tinker__svc_session_state_name(tinker__svc_session_state_t state);
/* Changes the state. A move that the table does not have is a bug: it ends the
 * service and returns false. */
bool tinker__svc_session_move(tinker__svc_session_t *n,
                              tinker__svc_session_state_t to);

#endif
