/* session_internal: what the files of the session share.
 *
 *   session.c   life, waiters, counters, finish, close
 *   startup.c   config, dynamic_config, create_session, in this order
 *   beat.c      heartbeats, and what their silence means
 *   ward.c      heartbeats of other clients' sessions
 *   exchange.c  a request with its retries
 *
 * Loop's thread only. */
#ifndef TINKER_SESSION_SESSION_INTERNAL_H
#define TINKER_SESSION_SESSION_INTERNAL_H

#include "session/exchange.h"
#include "session/session.h"
#include "wire/messages.h"

typedef enum {
  TINKER__PHASE_START, /* nothing is known */
  TINKER__PHASE_CONFIG,
  TINKER__PHASE_DYNAMIC,
  TINKER__PHASE_CONFIGURED, /* no session yet */
  TINKER__PHASE_CREATING,
  TINKER__PHASE_SESSION,
  TINKER__PHASE_OVER /* ended by the service, or finished */
} tinker__session_phase_t;

struct tinker__ward_s {
  tinker__link_t link; /* in session->wards */
  tinker__mem_t *mem;
  tinker__exchange_t beat; /* its session is NULL before it is taken */
  tinker__timer_t timer;
  int64_t sent_ms;
  bool on; /* false: not any more; it goes when its request has ended */
  char id[];
};

struct tinker__session_s {
  tinker__loop_t *loop;
  tinker__http_t *http;
  tinker__mem_t *mem;
  void (*event)(void *user, tinker__session_event_t event, const char *text);
  void *user;
  const tinker__session_door_t *door;
  bool adopted;      /* id is set from the start */
  bool adopt_silent; /* somebody else beats it */
  struct tinker__log_s *log;
  /* Copies of the options, in `arena` like everything that stays. */
  tinker__arena_t arena;
  const char *sdk_version;
  tinker__strs_t tags;
  const char *project_id;
  const char *display_name;
  const char *metadata; /* JSON object, or NULL */
  const char *where;    /* base URL, or NULL */

  tinker__session_phase_t phase;
  bool configured;
  tinker__client_config_t config;
  tinker__dynamic_config_t dynamic;
  const char *id;
  int64_t model_seq;
  int64_t sampling_seq;
  tinker__link_t waiters;
  tinker__task_t settle; /* answers those whose need is there already */

  tinker__exchange_t startup; /* one request at a time */

  tinker__exchange_t beat;
  tinker__timer_t beat_timer;
  int64_t beat_sent_ms;
  int64_t confirmed_ms; /* when the service last knew the session */
  int64_t unknown_ms;   /* when it first said that it did not; 0 = it knows */
  bool silent;          /* that it is silent or unknown was said */

  tinker__link_t wards;

  tinker__exchange_t finish;
  tinker__timer_t finish_timer;
  tinker__session_waiter_t *finish_waiter;
  tinker__finish_reason_t finish_reason;
  char *finish_detail;
  int64_t finish_ms; /* for the service */
  int64_t finish_deadline_ms;
  int64_t finish_end_ms; /* the latest, if the door answers late */
  bool finishing;

  tinker__task_t close_task;
  void (*closed)(void *user);
  void *closed_user;
  bool closing;
  uint64_t seed; /* of the jitter */
};

/* Says something to whoever listens. */
void tinker__session_say(tinker__session_t *s, tinker__session_event_t event,
                         const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* An exchange has ended: the last one lets a close go on. */
void tinker__session_exchange_ended(tinker__session_t *s);

/* Sends what is needed next; nothing when something is on its way. */
void tinker__startup_go_on(tinker__session_t *s);
/* Startup calls these: the phase has moved on, or all waiters fail. */
void tinker__session_reached(tinker__session_t *s);
void tinker__session_failed(tinker__session_t *s, const tinker_error_t *error);

/* Called when the session is made; the first beat is sent ten seconds later,
 * or at once of one that was adopted. */
void tinker__beat_begin(tinker__session_t *s);
void tinker__beat_end(tinker__session_t *s);

/* Ends all of them. False: a request is out, whose end calls again for it. */
bool tinker__wards_end(tinker__session_t *s);

#endif
