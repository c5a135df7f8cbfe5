/* op: one operation while it runs, and the table of its life.
 *
 *   QUEUED   waits: for the configuration or session, for its trainer's turn,
 *            for room among the samples. Costs the server nothing: it can be
 *            dropped without trace.
 *   GATED    first of its trainer's queue; the gate judges the results before
 *            it. Everything else is as in QUEUED.
 *   ADMITTING left its queue; the door is asked whether it may be sent. Its
 *            numbers are provisional, nothing of it was sent.
 *   SENDING  its numbers are taken, its requests go out.
 *   POLLING  all requests are accepted; results are asked for.
 *   HANDED   its results are with user code, on another thread, which makes its
 *            next step of them. One that keeps its turn has its place, and the
 *            numbers after it, although they are not taken yet.
 *   LEAVING the waiting has ended (cancel, deadline, failure), but numbers
 *            are taken: the requests that are left are still delivered.
 *   TRAILING the same with a door: its results are asked for, too.
 *   DONE     over; memory goes as soon as the transport, and whoever holds it,
 *            lets go of it.
 *
 * Decoding and delivery follow DONE and are the future's (future.h).
 *
 * An operation has one or more parts: a part is one request with its own
 * retries and its own poll (one chunk of a batch). Everything here belongs to
 * the loop's thread. */
#ifndef TINKER_FLOW_OP_H
#define TINKER_FLOW_OP_H

#include "flow/sum.h"
#include "flow/waits.h"
#include "http/http.h"
#include "http/retry.h"
#include "loop/future.h"
#include "loop/timer.h"
#include "wire/body.h"

typedef struct tinker__op_s tinker__op_t;
typedef struct tinker__part_s tinker__part_t;
typedef struct tinker__turn_s tinker__turn_t;
typedef struct tinker__flow_s tinker__flow_t;

typedef enum {
  TINKER__OP_QUEUED,
  TINKER__OP_GATED,
  TINKER__OP_ADMITTING,
  TINKER__OP_SENDING,
  TINKER__OP_POLLING,
  TINKER__OP_HANDED,
  TINKER__OP_LEAVING,
  TINKER__OP_TRAILING,
  TINKER__OP_DONE,
  TINKER__OP_STATES
} tinker__op_state_t;

typedef enum {
  TINKER__ON_TURN,  /* may leave its queue */
  TINKER__ON_GATE,  /* the gate has to judge */
  TINKER__ON_PASS,  /* it lets it through */
  TINKER__ON_DOOR,  /* the same, or its next step is set up, with a door */
  TINKER__ON_GO,    /* the door lets it go */
  TINKER__ON_SENT,  /* every part has been answered */
  TINKER__ON_READY, /* every part has its result; none is awaited any more */
  TINKER__ON_STEP,  /* this step is done, the next one is set up */
  TINKER__ON_LATER, /* this step is done, user code sets up the next one */
  TINKER__ON_LOST,  /* the server dropped the result of a sample */
  TINKER__ON_FAIL,  /* a part failed for good */
  TINKER__ON_STOP,  /* cancel or deadline of a numbered operation */
  TINKER__ON_TRAIL, /* nobody waits any more, but the door wants its results */
  TINKER__ON_QUIT,  /* the same of any other; close; a fatal trainer */
  TINKER__OP_EVENTS
} tinker__op_event_t;

typedef enum {
  TINKER__DO_NOTHING,
  TINKER__DO_START,    /* number the parts and send them */
  TINKER__DO_OFFER,    /* number the parts and ask the door */
  TINKER__DO_DEPART,   /* take the numbers and send the parts */
  TINKER__DO_AGAIN,    /* back to the queue, with a new number */
  TINKER__DO_HAND,     /* hand the results over, finish */
  TINKER__DO_TELL,     /* hand the error over, go on sending */
  TINKER__DO_PART,     /* hand the error over, go on with all of it */
  TINKER__DO_ABORT,    /* hand the error over, stop all requests, finish */
  TINKER__DO_WITHDRAW, /* give the numbers back, then the same */
  TINKER__DO_FINISH,   /* nobody waits any more: finish */
  TINKER__DO_NEVER     /* can't happen: a bug of ours */
} tinker__op_action_t;

typedef struct tinker__op_move_s {
  tinker__op_state_t next;
  tinker__op_action_t action;
} tinker__op_move_t;

/* The table. Pure. */
tinker__op_move_t tinker__op_move(tinker__op_state_t state,
                                  tinker__op_event_t event);
const char *tinker__op_state_name(tinker__op_state_t state);
const char *tinker__op_event_name(tinker__op_event_t event);

/* The things that an operation may need before it can start. */
typedef enum {
  TINKER__NEEDS_NOTHING,
  TINKER__NEEDS_CONFIG,
  TINKER__NEEDS_SESSION,
  TINKER__NEEDS_COUNT
} tinker__needs_t;

/* The things that a step of an operation does to the service. */
typedef enum {
  TINKER__EFFECT_NONE,    /* changes nothing, or samples: passes no door */
  TINKER__EFFECT_FORWARD, /* takes a trainer's number and changes nothing */
  TINKER__EFFECT_CHANGE,  /* makes or changes a thing */
  TINKER__EFFECT_ADD,     /* adds gradients to the sum of the training step */
  TINKER__EFFECT_STEP     /* moves the weights by the sum */
} tinker__effect_t;

/* Whether a step was the last one. */
typedef enum {
  TINKER__NEXT_NONE,  /* it was */
  TINKER__NEXT_STEP,  /* op has another step now */
  TINKER__NEXT_LATER, /* tinker__flow_step_ready will say */
} tinker__next_t;

/* The constants that all operations of one kind share; the layer above has the
 * tables. A kind is one step: create_trainer, for example, has the steps
 * create_model and get_info. */
typedef struct tinker__kind_s {
  tinker_kind_t id; /* of the operation that begins with this step */
  const char *name; /* for people: "forward_backward" */
  const char *path; /* "api/v1/..." */
  /* X-Tinker-Request-Type; NULL = the reply to the request is the result. */
  const char *request_type;
  tinker__retry_class_t retry;
  tinker__http_method_t method;
  tinker__lane_t lane;
  tinker__needs_t needs;
  tinker__effect_t effect;
  bool proto_body;    /* protobuf request */
  bool proto_result;  /* protobuf result */
  bool keep_accepted; /* decoding needs the reply to the submission */
  /* Its next step is numbered too, and adds to the sum: no other operation of
   * the trainer comes between. The turn is kept until that step's requests are
   * answered, and its numbers are taken when it goes. So if it never goes they
   * are no gap: the next operation gets them. */
  bool keeps_turn;
  bool fb_quota; /* takes bytes of the quota of forward_backward */
  bool local;    /* answered by the client itself: the flow never has it */
  /* Right before the first request of this step: builds what is known only
   * now, or looks at what is given, where op is adopted (TINKER_EINVAL: its
   * number is not taken yet). May be NULL. 0 or a negative code. */
  int (*prepare)(tinker__op_t *op);
  /* Called when the results of this step are there (op->parts[i].raw). Returns
   * a tinker__next_t, or a negative code, and `why` may get a sentence. After
   * LATER the parts stay as they are, and op itself stays, until
   * tinker__flow_step_ready; its future is only the caller's meanwhile. May be
   * NULL. */
  int (*next)(tinker__op_t *op, char *why, size_t why_len);
  /* Asked when the service has refused the request, with its words: the step
   * that the operation takes instead, since nothing came of this one; NULL = it
   * fails. Only a kind of one unnumbered request may have it. May be NULL. */
  const struct tinker__kind_s *(*instead)(int status, const char *words);
} tinker__kind_t;

typedef enum {
  TINKER__PART_IDLE,    /* not started */
  TINKER__PART_ROOM,    /* waits for bytes of a quota */
  TINKER__PART_POSTING, /* the request is out */
  TINKER__PART_REST,    /* waits to send it again */
  TINKER__PART_LINE,    /* accepted; waits for a place among the polls */
  TINKER__PART_ASKING,  /* a poll is out */
  TINKER__PART_PAUSE,   /* waits to poll again */
  TINKER__PART_HELD,    /* large result: waits for bytes of a quota */
  TINKER__PART_READY,   /* result in hand */
  TINKER__PART_DEAD     /* failed, or not wanted any more */
} tinker__part_state_t;

/* One request of a part. */
typedef struct tinker__attempt_s {
  tinker__http_request_t http;
  tinker__http_header_t headers[2];
  bool out;     /* the transport has it */
  bool dropped; /* another one was answered before: its reply means nothing */
} tinker__attempt_t;

struct tinker__part_s {
  tinker__op_t *op;
  tinker__part_state_t state;
  bool answered; /* its submission is accepted or failed for good */
  bool ended;    /* its result is there, or it failed */
  bool in_quota; /* holds estimate bytes of a dispatch quota */
  bool polling;  /* holds a place among the polls of its trainer */
  bool full;     /* ask for the whole result, however large */
  bool held;     /* its last try did not get through, or the server pauses */
  /* There are two, since a submission that hangs is sent a second time beside
   * the first. Outside of POSTING at most one is out and not dropped. */
  tinker__attempt_t attempts[2];
  char iteration[24];
  tinker__wire_body_t body; /* numbered; freed once accepted, not a sample's */
  tinker__buf_t text;       /* body without a number; then of the polls */
  int64_t seq;              /* -1 = none yet */
  size_t first;             /* of its examples: the place in the whole batch */
  size_t datums;            /* of a batch, from there on; else 0 */
  char *request_id;         /* owned; NULL before it is accepted */
  char log_id[64];          /* of the last reply, by its server; "" = none */
  const tinker__kind_t *instead; /* takes its place, NULL = it fails */
  int64_t held_bytes;
  unsigned polls;
  unsigned
      misses; /* replies in a row: the server waits for what nobody sends */
  tinker__retry_t retry;
  int retry_status; /* of the reply that is followed by another attempt */
  tinker__timer_t timer;
  tinker__link_t link; /* in the list that its state implies */
  tinker__raw_t raw;
};

struct tinker__op_s {
  tinker__link_t link; /* in the queue it waits in */
  tinker__link_t all;  /* in flow->ops */
  tinker__flow_t *flow;
  tinker__mem_t *mem;
  const tinker__kind_t *kind;
  uint64_t id;             /* counts the operations of a flow, for people */
  uint64_t tag;            /* the caller's, for the door; 0 = none */
  tinker__turn_t *turn;    /* trainer or sampler it belongs to; may be NULL */
  tinker__turn_t *about;   /* else the trainer it asks about, which a fatal
                              answer ends; may be NULL */
  tinker_future_t *future; /* a reference; NULL once it has ended */
  tinker__op_state_t state;
  bool stepped;      /* an earlier step has changed something */
  bool parallel;     /* parts 2..n at once, part 1 last */
  bool partial_ok;   /* optim_step: sent whatever is in the sum */
  bool ahead;        /* goes ahead of what is queued: submitted by a verdict */
  bool adopted;      /* another client has numbered this step, perhaps sent */
  bool unwaited;     /* it is sent, but nobody waits for it */
  bool judged;       /* the gate has let it through */
  uint64_t question; /* ticket of the gate; 0 = it was not asked */
  uint64_t in_step;  /* turn->steps when its numbers were taken; 0 = not yet */
  tinker__sum_t sum; /* optim_step: the trainer's before it was sent */
  tinker__before_t before; /* what calls before it in the queue have left */
  bool submitting;         /* counts among the samples being submitted */
  uint64_t ticket;         /* of what is, or went, through the door; 0 = none */
  tinker__link_t asked;    /* in flow->asked while an answer is awaited */
  struct tinker__offer_s *offer; /* owned; what the door was asked about */
  unsigned holds;                /* others that read it: its memory stays */
  int64_t deadline_ms;           /* -1 = none */
  int64_t timeout_ms;            /* until it, from the call on; for people */
  tinker__timer_t deadline;
  tinker__task_t submit;  /* to the loop's thread */
  char *path;             /* owned; instead of kind->path */
  tinker_error_t *error;  /* what it will end with */
  char cause[200];        /* the last trouble, "" = none; for its deadline */
  size_t held_parts;      /* parts whose last try was held up */
  tinker__stay_t stay;    /* how long it was where */
  tinker__waits_t *waits; /* that count it when it ends; NULL = none */
  tinker_hold_t hold;     /* what holds it up */
  int64_t held_ms;        /* since when it is held */
  tinker__link_t held;    /* in flow->held[hold] */
  uint32_t attempts, polls, failures; /* of all its requests, for people */
  int64_t weight;                     /* bytes it holds among them */
  unsigned losses; /* results of it that the server dropped */
  size_t outs;     /* requests that the transport has */
  size_t answered;
  size_t ready;
  size_t count;
  tinker__part_t parts[];
};

/* An operation of `count` parts without bodies, QUEUED. It takes a reference to
 * future. 0 or TINKER_ENOMEM. */
int tinker__op_new(tinker__op_t **out, tinker__mem_t *mem,
                   const tinker__kind_t *kind, size_t count,
                   tinker_future_t *future);
/* Sets up the next step: fresh parts of another kind, the old results dropped.
 * Inside of kind->next, or before tinker__flow_step_ready. */
void tinker__op_next_step(tinker__op_t *op, const tinker__kind_t *kind);
static inline bool tinker__part_is_out(const tinker__part_t *part) {
  return part->attempts[0].out || part->attempts[1].out;
}
/* True when its body carries a number. */
static inline bool tinker__part_numbered(const tinker__part_t *part) {
  return part->op->kind->retry &
         (TINKER__RETRY_NUMBERED | TINKER__RETRY_SAMPLE);
}
/* The effect that the operation is about; that of its next step if no other
 * operation may come between. */
static inline tinker__effect_t tinker__op_effect(const tinker__op_t *op) {
  return op->kind->keeps_turn ? TINKER__EFFECT_ADD : op->kind->effect;
}
/* True of an adopted one whose requests the service has taken before: it is
 * followed from there. */
static inline bool tinker__op_is_known(const tinker__op_t *op) {
  return op->adopted && op->parts[0].request_id;
}
/* Bytes of a part that the quotas count. */
static inline uint64_t tinker__part_estimate(const tinker__part_t *part) {
  return part->body.estimate;
}
/* Keeps the memory of an operation that ends, its bodies included, for a reader
 * on another thread, until tinker__flow_unhold. */
static inline void tinker__op_hold(tinker__op_t *op) {
  op->holds++;
}
/* Frees an op that was never submitted, or that is DONE. */
void tinker__op_free(tinker__op_t *op);

#endif
