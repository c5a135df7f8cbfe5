/* session: keeps the client's session at the service.
 *
 * It fetches client/config and client/dynamic_config when something first
 * needs them, creates the session when something first trains or samples,
 * then beats every ten seconds until it is finished, closed or ended by the
 * service. All on the loop's thread; callbacks too, never inside the call
 * that asked for them, so they may call back. Owns no thread and no socket:
 * time comes from the loop, bytes from the transport. */
#ifndef TINKER_SESSION_SESSION_H
#define TINKER_SESSION_SESSION_H

#include <tinker/error.h>

#include "base/json_write.h"
#include "http/http.h"
#include "loop/loop.h"

struct tinker__client_config_s; /* wire/messages.h */

/* A heartbeat is sent this often, and a session that was not confirmed for this
 * long is reported as probably lost. */
#define TINKER__SESSION_BEAT_MS 10000
#define TINKER__SESSION_LOST_MS 120000

typedef struct tinker__session_s tinker__session_t;

typedef enum {
  TINKER__SESSION_SILENT,  /* no beat confirmed for 120 s; said once */
  TINKER__SESSION_UNKNOWN, /* the service does not know it; said once, and
                            * instead of SILENT */
  TINKER__SESSION_BACK,    /* confirmed again after one of these */
  TINKER__SESSION_ENDED,   /* the service says it is over: final */
  TINKER__SESSION_TROUBLE, /* a start that failed and is tried again, or a
                            * warning or error that the service sent */
  TINKER__SESSION_MESSAGE  /* any other text from the service */
} tinker__session_event_t;

/* What create_session and finish pass before they are sent. The functions run
 * on the loop's thread and don't call back. */
typedef struct tinker__session_door_s {
  /* May this go? The answer is tinker__session_admitted, later. Returns a
   * ticket, or 0: there is no memory to ask. body: valid during the call.
   * NULL = it may. */
  uint64_t (*ask)(void *user, const char *path, tinker__str_t body);
  /* It does not go. */
  void (*withdrawn)(void *user, uint64_t ticket);
  /* One that went is over, or (open) nobody follows it any more. error: NULL =
   * reply has the result. Both borrowed. */
  void (*ended)(void *user, uint64_t ticket, const tinker__http_reply_t *reply,
                const tinker_error_t *error, bool open);
  void *user;
} tinker__session_door_t;

typedef struct tinker__session_options_s {
  tinker__loop_t *loop; /* these three outlive the session */
  tinker__http_t *http;
  tinker__mem_t *mem;
  const char *sdk_version; /* copied, as are all strings */
  const char *const *tags;
  size_t tag_count;
  const char *project_id;   /* NULL = none */
  const char *display_name; /* NULL = none */
  const char *metadata;     /* JSON object; NULL = none */
  const char *where;        /* base URL, for errors; NULL = not known */
  /* Called when something happens to the session; may be NULL. text is for
   * people and valid during the call. */
  void (*event)(void *user, tinker__session_event_t event, const char *text);
  void *user;
  /* A session that somebody else has made, NULL = it makes its own. It is not
   * finished by tinker__session_finish, and not beaten with adopt_silent. The
   * counters begin with these. */
  const char *adopt_id;
  bool adopt_silent;
  int64_t model_seq, sampling_seq;
  const tinker__session_door_t *door; /* outlives the session; NULL = none */
  struct tinker__log_s *log;          /* gets debug lines; NULL = none */
} tinker__session_options_t;

/* Any thread; sends nothing. 0 or TINKER_ENOMEM. */
int tinker__session_new(tinker__session_t **out,
                        const tinker__session_options_t *options);

/* The things that a waiter can wait for. */
typedef enum {
  TINKER__NEED_CONFIG, /* tinker__session_config is set */
  TINKER__NEED_SESSION /* and tinker__session_id is */
} tinker__session_need_t;

/* Embedded in the object that waits. */
typedef struct tinker__session_waiter_s {
  tinker__link_t link;
  tinker__session_need_t need;
  /* error: NULL when what was needed is there; else borrowed. */
  void (*done)(struct tinker__session_waiter_s *waiter,
               const tinker_error_t *error);
} tinker__session_waiter_t;

static inline void tinker__session_waiter_init(
    tinker__session_waiter_t *waiter,
    void (*done)(tinker__session_waiter_t *, const tinker_error_t *)) {
  tinker__list_init(&waiter->link);
  waiter->done = done;
}

/* Runs waiter->done exactly once, later, unless tinker__session_forget is
 * called first. Starts the requests that are needed and not started yet. A
 * failure goes to all waiters, and a later waiter tries again, except after the
 * end of a session, which is final (TINKER_ESESSION). */
void tinker__session_need(tinker__session_t *session,
                          tinker__session_need_t need,
                          tinker__session_waiter_t *waiter);
/* The waiter's done doesn't run any more. Harmless when it has run. */
void tinker__session_forget(tinker__session_t *session,
                            tinker__session_waiter_t *waiter);

/* NULL before the configuration is there; then constant. */
const struct tinker__client_config_s *
tinker__session_config(const tinker__session_t *session);
/* NULL before the session is there; then constant. */
const char *tinker__session_id(const tinker__session_t *session);
/* Why the configuration or the session is not there yet: the last trouble with
 * fetching them, "" when there was none. Valid until the loop's next turn. */
const char *tinker__session_trouble(const tinker__session_t *session);
/* True after TINKER__SESSION_ENDED. */
bool tinker__session_ended(const tinker__session_t *session);
/* For whoever learns it first: a reply of 410 to anything of this session. */
void tinker__session_set_ended(tinker__session_t *session);

/* It was finished, by a request that is not the session's own. */
void tinker__session_set_finished(tinker__session_t *session);

/* A wish about a session that is somebody else's: that it is beaten too, or no
 * longer. new, free: any thread; id: copied. 0 or TINKER_ENOMEM. */
typedef struct tinker__ward_s tinker__ward_t;
int tinker__ward_new(tinker__ward_t **out, tinker__mem_t *mem, const char *id,
                     bool on);
void tinker__ward_free(tinker__ward_t *ward);
/* Takes it and fulfils it. The first beat is sent at once. */
void tinker__session_ward(tinker__session_t *session, tinker__ward_t *ward);

/* Writes an object that says how far the session is. */
void tinker__session_dump(const tinker__session_t *session, tinker__jsonw_t *w,
                          int64_t now_ms);

/* The answer of the door. error: NULL = it may go; else it ends with error,
 * which is borrowed. Nothing happens if the ticket's request is gone. */
void tinker__session_admitted(tinker__session_t *session, uint64_t ticket,
                              const tinker_error_t *error);

/* Counters of the session, each from 0: model_seq_id of a new model, and
 * sampling_session_seq_id, shared by samplers and ephemeral saves. */
int64_t tinker__session_next_model_seq(tinker__session_t *session);
int64_t tinker__session_next_sampling_seq(tinker__session_t *session);
/* What the two would return. */
void tinker__session_counters(const tinker__session_t *session,
                              int64_t *model_seq, int64_t *sampling_seq);

typedef enum {
  TINKER__FINISH_SUCCESS,
  TINKER__FINISH_ERRORED,
  TINKER__FINISH_INTERRUPTED
} tinker__finish_reason_t;

/* Finishes the session at the service and stops the heartbeats. Without a
 * session nothing is sent. timeout_ms is for all attempts together, from when
 * the door lets it go; the door's answer and they have whole_ms. The waiter's
 * done runs once, as above, with error NULL if the service has
 * confirmed it. Call it once. */
void tinker__session_finish(tinker__session_t *session,
                            tinker__finish_reason_t reason, const char *detail,
                            int64_t timeout_ms, int64_t whole_ms,
                            tinker__session_waiter_t *waiter);

/* Stops everything; who still waits gets TINKER_ECLOSED. Frees the session and
 * runs closed(user) (may be NULL), later. Once, before the transport is
 * closed. */
void tinker__session_close(tinker__session_t *session,
                           void (*closed)(void *user), void *user);

#endif
