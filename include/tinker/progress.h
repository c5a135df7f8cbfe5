/* Progress: why an operation has not ended yet, asked for at any time
 * (tinker_future_progress() in future.h) or told by a callback (event_cb in the
 * client's options). */
#ifndef TINKER_PROGRESS_H
#define TINKER_PROGRESS_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How far an operation is. */
typedef enum {
  TINKER_STAGE_QUEUED = 0,  /* in this client: nothing of it was sent */
  TINKER_STAGE_SENT = 1,    /* its requests go out; not all are accepted */
  TINKER_STAGE_RUNNING = 2, /* accepted; its result is asked for */
  TINKER_STAGE_PAUSED = 3,  /* the same, and the service says that its queue
                             * stands still */
  TINKER_STAGE_ENDED = 4
} tinker_stage_t;

/* What holds an operation up. An operation that only waits for its turn behind
 * an earlier call of its trainer is not held itself. */
typedef enum {
  TINKER_HOLD_NONE = 0,
  TINKER_HOLD_SESSION = 1,     /* configuration and session are not there yet */
  TINKER_HOLD_ADMISSION = 2,   /* the program's own check has not answered */
  TINKER_HOLD_UNREACHABLE = 3, /* no answer: nothing listens, or the connection
                                * broke */
  TINKER_HOLD_SERVER = 4,      /* an answer that asks for another try: 5xx, a
                                * page of something in between */
  TINKER_HOLD_PUSHED_BACK = 5, /* 429 */
  TINKER_HOLD_BILLING = 6,     /* 402 */
  TINKER_HOLD_QUEUE = 7        /* the service's queue is paused */
} tinker_hold_t;

/* What is known of an operation. Fill in size before the call; a struct of an
 * older, shorter size gets the fields that it has. */
typedef struct tinker_progress_s {
  size_t size;
  tinker_stage_t stage;
  tinker_hold_t hold;
  uint64_t id;    /* names it in log lines ("#2") and events; 0 = the client's
                   * thread has not taken it yet */
  int64_t age_ms; /* since the client's thread took it; of one that has
                   * ended: how long it took */
  int64_t
      stage_ms;    /* how long it has been in this stage; 0 when it has ended */
  int64_t held_ms; /* how long it has been held; 0 = it is not */
  uint32_t parts;  /* requests of the present step; 0 = not taken yet */
  uint32_t accepted; /* of these, answered by the service */
  uint32_t done;     /* of these, with their result here */
  uint32_t attempts; /* submissions sent, second tries included, polls not */
  uint32_t polls;    /* questions for results sent */
  uint32_t failures; /* attempts and polls that failed and were followed by
                      * another */
  char reason[256];  /* why it is held, in the service's words where it gave
                      * any; "" = it is not */
  char failure[256]; /* the last of these failures, also when it is over; "" =
                      * there was none */
} tinker_progress_t;

#define TINKER_PROGRESS_INIT                                                   \
  {                                                                            \
    sizeof(tinker_progress_t), TINKER_STAGE_QUEUED, TINKER_HOLD_NONE, 0, 0, 0, \
        0, 0, 0, 0, 0, 0, 0, "", ""                                            \
  }

/* Name of a stage, "queued" for example.
 * stage: any value. Returns a static string, "unknown" for a number that is not
 * a stage. Never NULL. Any thread. */
TINKER_API const char *tinker_stage_name(tinker_stage_t stage);

/* Name of a hold, "billing" for example.
 * hold: any value. Returns a static string, "unknown" for a number that is not
 * a hold. Never NULL. Any thread. */
TINKER_API const char *tinker_hold_name(tinker_hold_t hold);

/* The kinds of events. Numbers are never reused, and new kinds may be added. */
typedef enum {
  TINKER_EVENT_HELD = 1,   /* an operation is held, or held by something else */
  TINKER_EVENT_LET_GO = 2, /* it is not any more, and goes on */
  TINKER_EVENT_RETRY = 3,  /* an attempt or poll failed and is repeated */
  TINKER_EVENT_PART = 4,   /* one of its several requests has its result */
  TINKER_EVENT_SESSION_SILENT = 5,  /* no heartbeat was confirmed for two
                                     * minutes */
  TINKER_EVENT_SESSION_UNKNOWN = 6, /* the service says that it does not know
                                     * the session; if it says so for two
                                     * minutes, the session has ended */
  TINKER_EVENT_SESSION_BACK = 7,    /* heartbeats are confirmed again */
  TINKER_EVENT_SESSION_ENDED = 8    /* the service has ended it: final */
} tinker_event_kind_t;

/* An event. Fields that its kind does not have are 0. */
typedef struct tinker_event_s {
  size_t size;
  tinker_event_kind_t kind;
  int32_t operation;  /* a tinker_kind_t; TINKER_KIND_NONE = it is of the
                       * session */
  uint32_t attempts;  /* RETRY: sent until now of this request */
  uint64_t id;        /* of the operation, as in tinker_progress_t */
  void *user;         /* from the options of its call */
  tinker_hold_t hold; /* HELD: the reason; LET_GO: what it was */
  int64_t ms;         /* LET_GO: how long it was held; RETRY: the pause until
                       * the next attempt, at least */
  uint32_t parts;     /* PART: requests of this step, and how many of them */
  uint32_t done;      /* have their results */
  uint64_t dropped;   /* events lost right before this one, since the callback
                       * did not keep up */
  const char *text;   /* for people: the reason or failure; never NULL */
} tinker_event_t;

/* Gets one event.
 *
 * Runs on the client's delivery thread, like the log's and the operations' own
 * callbacks: one call at a time, with no lock held; it may call the library.
 * user is what the option struct was given; event is valid during the call.
 * Events are told in the order in which they happened. An operation that ends
 * while it is held has no LET_GO: its end is reported as always. A call's
 * callback may run before the last events of its operation are told. Of those
 * that wait to be told 256 are kept; later ones are dropped and counted, those
 * of the session last. */
typedef void (*tinker_event_cb)(void *user, const tinker_event_t *event);

#ifdef __cplusplus
}
#endif

#endif
