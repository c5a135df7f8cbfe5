/* Seams: what a program needs that keeps a journal of what it changes on the
 * service, holds a lease on it, or judges a training step before it counts.
 *
 * Mutations. A mutation is what changes something on the service: everything
 * that is numbered (forward, forward_backward, optim_step, saves and loads of a
 * trainer), the creation of models, samplers and of the session, its finish,
 * and what rest.h changes of checkpoints. Samples, polls, heartbeats and
 * questions are none. One mutation has
 * one request, or several that are all sent or none (the chunks of a batch).
 *
 * The journal is four functions. `intent` is called before a mutation is sent,
 * with all its bytes; the client then waits for tinker_admission_answer(), from
 * any thread, at any time, inside `intent` or later. Until then nothing of it
 * was sent, and its numbers are not taken: if it does not go (it is refused,
 * canceled, closed, or its deadline passes) `withdrawn` is called, before
 * another intent with one of the numbers. An intent without `withdrawn` counts
 * as sent. Of one that went, `accepted` is called for each request that the
 * service took, and `ended` exactly once for each request, also if nobody waits
 * for the operation any more: its results are asked for to the end. Closing the
 * client hands over what is open.
 *
 * A trainer has at most one intent without answer; those of other trainers, and
 * everything that is no mutation, go on meanwhile. So one fsync may serve the
 * intents of many trainers.
 *
 * Threads. In background mode (loop.h) the functions of the journal, and
 * `gate`, run one after another on a thread that is theirs alone, so they may
 * block: that delays no heartbeat, no deadline and no callback, only mutations
 * that wait for an answer. In step mode and on a uv_loop_t they run inside the
 * step, as callbacks do, and must not block. They are called in the order in
 * which things happened. Every public function may be called inside; waiting
 * for a future, and tinker_client_next(), are refused with TINKER_EDEADLK. A
 * client ends only after the last of these calls has returned: a function that
 * blocks for longer than two seconds delays close and the last release. Inside
 * them the client may be answered also after its last release: it asks about
 * finishing its session then. The answer counts until 1.9 seconds after the
 * close has begun; by then the service has to have answered, too, for which it
 * has one second at most. Without an answer that is withdrawn, and the session
 * is left to the service.
 *
 * `fence` runs elsewhere: on the thread for input and output, right before the
 * mutation is sent, so that nothing can happen in between. It must not block
 * and must not call functions of the library. */
#ifndef TINKER_SEAMS_H
#define TINKER_SEAMS_H

#include "error.h"
#include "future.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tinker_call_options_s; /* options.h */

/* The number of a request that has none. */
#define TINKER_NO_SEQ_ID (-1)

/* Bytes of the caller's or the client's; only read. */
typedef struct tinker_segment_s {
  const void *data;
  size_t len;
} tinker_segment_t;

/* One request of a mutation: its number, and its body, which is the segments
 * one after the other. Every copy that is sent has the same bytes. */
typedef struct tinker_intent_request_s {
  int64_t seq_id; /* within its trainer; TINKER_NO_SEQ_ID = it has none */
  const tinker_segment_t *segments;
  size_t segment_count;
  size_t len;               /* of all segments together */
  size_t datums;            /* examples of a batch in it; else 0 */
  unsigned char sha256[32]; /* of the body */
} tinker_intent_request_t;

/* A mutation that wants to go. It is valid during the call; fields may be
 * appended in later versions. */
typedef struct tinker_intent_s {
  uint64_t ticket; /* names it in all later calls of this client; never 0 */
  /* Kind of the operation; TINKER_KIND_NONE for create_session and
   * finish_session. */
  tinker_kind_t kind;
  const char *name;     /* "forward_backward", "create_session" */
  const char *path;     /* after the base URL: "api/v1/forward_backward" */
  const char *model_id; /* of its trainer; NULL = it belongs to none */
  size_t request_count;
  const tinker_intent_request_t *requests;
  /* The first model_seq_id and sampling_session_seq_id that the session has not
   * used yet, those of this mutation counted as used: a process that adopts the
   * session goes on with them. */
  int64_t next_model_seq_id;
  int64_t next_sampling_session_seq_id;
  /* tinker_call_options_t.tag of the call that it belongs to, which may have
   * several intents, one after the other or, as a step, two; 0 for what the
   * client does of itself (create_session, and finish_session at its close). */
  uint64_t tag;
  const char *method; /* of HTTP: "POST", "PUT", "DELETE" */
} tinker_intent_t;

/* What has become of one request of a mutation that went. */
typedef enum {
  TINKER_OUTCOME_RESULT = 0, /* it was carried out; body has the result */
  TINKER_OUTCOME_FAILED = 1, /* error says why, and whether that is known */
  TINKER_OUTCOME_OPEN = 2,   /* it went out; nobody follows it any more */
  TINKER_OUTCOME_UNSENT = 3  /* nothing of it went out, and nothing will */
} tinker_outcome_kind_t;

/* Valid during the call; fields may be appended in later versions. */
typedef struct tinker_outcome_s {
  tinker_outcome_kind_t kind;
  /* Under which the service took it; NULL = it gave none, or there was no
   * memory to keep it. */
  const char *request_id;
  /* RESULT: the result as the service sent it. NULL with a len above 0: there
   * was no memory to keep it. */
  const void *body;
  size_t body_len;
  int body_is_protobuf;        /* else it is JSON */
  const tinker_error_t *error; /* FAILED; else NULL */
} tinker_outcome_t;

/* The head of a trainer's queue: an optim_step whose results before it are all
 * there. Valid during the call; fields may be appended in later versions. */
typedef struct tinker_gate_question_s {
  uint64_t ticket; /* for tinker_gate_answer(); never 0 */
  const char *model_id;
  uint64_t tag; /* tinker_call_options_t.tag of the optim_step or step */
} tinker_gate_question_t;

/* The functions of a program. What is NULL (default) is not asked. */
typedef struct tinker_seams_s {
  size_t size;
  void *user; /* passed to all of them */
  /* A mutation wants to go: tinker_admission_answer() says whether it may.
   * Required if withdrawn, accepted or ended is set. */
  void (*intent)(void *user, const tinker_intent_t *intent);
  /* It does not go, and its numbers are free again. */
  void (*withdrawn)(void *user, uint64_t ticket);
  /* The service took its request number `request` (from 0). request_id: valid
   * during the call; NULL = there was no memory to keep it. */
  void (*accepted)(void *user, uint64_t ticket, size_t request,
                   const char *request_id);
  /* Nothing more happens to its request number `request`. */
  void (*ended)(void *user, uint64_t ticket, size_t request,
                const tinker_outcome_t *outcome);
  /* May a mutation be sent, now? Asked for each, numbered or not, after the
   * answer to its intent, and once more before each further copy of a change
   * of rest.h. model_id: NULL = of no trainer. why: receives a
   * sentence of at most why_len bytes with the NUL, for the error that the
   * operation ends with. Returns 0 = it may. */
  int (*fence)(void *user, const char *model_id, char *why, size_t why_len);
  /* Judges the results before an optim_step, which waits in its trainer's queue
   * for tinker_gate_answer(). */
  void (*gate)(void *user, const tinker_gate_question_t *question);
} tinker_seams_t;

#define TINKER_SEAMS_INIT                                                      \
  { sizeof(tinker_seams_t), NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* Fills in the size and the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_seams_init(tinker_seams_t *o) {
  const tinker_seams_t init = TINKER_SEAMS_INIT;
  *o = init;
}

typedef enum {
  TINKER_VERDICT_GO = 0,
  TINKER_VERDICT_REFUSE = 1 /* its operation ends with TINKER_ESTATE */
} tinker_verdict_t;

/* Answers an intent, once.
 * client: not NULL. ticket: of the intent. verdict: a tinker_verdict_t. why:
 * for REFUSE, a sentence for the error, copied; may be NULL. Returns 0,
 * TINKER_EINVAL, TINKER_EFORKED, TINKER_ENOENT (no such intent waits for an
 * answer: it was answered, or withdrawn meanwhile), TINKER_ENOMEM (nothing has
 * happened; REFUSE with a `why` alone needs memory) or TINKER_ECLOSED. Any
 * thread. */
TINKER_API int tinker_admission_answer(tinker_client_t *client, uint64_t ticket,
                                       tinker_verdict_t verdict,
                                       const char *why);

typedef enum {
  TINKER_GATE_GO = 0,
  TINKER_GATE_END = 1,    /* it ends with TINKER_ESTATE */
  TINKER_GATE_END_ALL = 2 /* and so does all that is queued behind it */
} tinker_gate_verdict_t;

/* Answers a question of the gate, once. As long as it is not answered the
 * optim_step is held. What is to happen before it, a save for example, is
 * submitted before the answer with tinker_call_options_t.ahead. After END the
 * trainer has gradients that no step shall use: it is dirty if there are any
 * (tinker_trainer_optim_step()).
 * client: not NULL. ticket: of the question. verdict: a tinker_gate_verdict_t.
 * why: for the two others than GO, a sentence for the error, copied; may be
 * NULL. Returns 0, TINKER_EINVAL, TINKER_EFORKED, TINKER_ENOENT (no such
 * question waits for an answer; one whose operation has ended meanwhile may
 * count as waiting), TINKER_ENOMEM (nothing has happened) or TINKER_ECLOSED.
 * Any thread. */
TINKER_API int tinker_gate_answer(tinker_client_t *client, uint64_t ticket,
                                  tinker_gate_verdict_t verdict,
                                  const char *why);

/* Adoption. A process that goes on where another one has stopped makes a client
 * of that one's session, takes trainers and samplers over with their next
 * numbers, and what was under way with its request ids or its bytes.
 *
 * The session is the other's: neither drain nor close nor the last release
 * finishes it, since that would be final for everybody. Its owner does, or
 * tinker_client_finish_session().
 *
 * Models and samplers have numbers of the session, model_seq_id and
 * sampling_session_seq_id. The service answers a number that it knows with what
 * it made for it before, so a client of an adopted session never begins at 0:
 * it goes on with the numbers of the last intent that was sent
 * (tinker_intent_t), or, where those are not known, in a block of its own. */
typedef struct tinker_adoption_s {
  size_t size;
  const char *session_id; /* required */
  /* The first numbers that are free, 0 or more; default -1 = the first of the
   * block: incarnation * 1,000,000,000. */
  int64_t model_seq_id;
  int64_t sampling_session_seq_id;
  /* Counts the processes that have gone on with this session, 1 to
   * 1,000,000,000, never used twice; default -1: then both numbers are
   * required. */
  int64_t incarnation;
  /* 1: no heartbeats, since another process sends them. Default 0: the first
   * one is sent when the session is first needed. */
  int32_t no_heartbeat;
  int32_t reserved0; /* 0 */
} tinker_adoption_t;

#define TINKER_ADOPTION_INIT                                                   \
  { sizeof(tinker_adoption_t), NULL, -1, -1, -1, 0, 0 }

/* Fills in the size and the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_adoption_init(tinker_adoption_t *o) {
  const tinker_adoption_t init = TINKER_ADOPTION_INIT;
  *o = init;
}

/* Goes on with a model of the session. The service is asked whether it knows
 * the model. Two clients that number requests of one model at the same time
 * hurt each other: be sure that the other one has ended. A number below the
 * next one that no adopted operation has is not sent by anybody: should the
 * service wait for it, the trainer is fatal.
 * client, call: see future.h. model_id: of the model. next_seq_id: the number
 * of the next request, 1 to 2,147,483,647: one more than the last that was
 * sent. Returns a future owned by the caller; result:
 * tinker_future_get_trainer(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_adopt_trainer(tinker_client_t *client, const char *model_id,
                            int64_t next_seq_id,
                            const struct tinker_call_options_s *call);

/* One request of an operation that another client has numbered. Either
 * request_id is set, and its result is asked for; or body is, and these bytes
 * are sent again: a service that knows the number answers as it did before,
 * one that doesn't carries it out now. Of one operation all requests have the
 * one or all the other. */
typedef struct tinker_operation_request_s {
  const char *request_id; /* copied; NULL = send body */
  const void *body;       /* copied; as it was in the intent */
  size_t body_len;
  /* Its number, below the trainer's next one; of a creation: its model_seq_id
   * or sampling_session_seq_id, which is the next one of its intent less 1. */
  int64_t seq_id;
  size_t datums; /* of a forward or forward_backward, else 0 */
} tinker_operation_request_t;

/* Takes an operation over: its future ends as if this client had made it. Its
 * place is that of the call, in the order of its trainer's calls, so it is
 * called before anything new. No number is taken. A re-send passes the journal
 * as any mutation does.
 * trainer, call: see future.h. kind: TINKER_KIND_FORWARD, FORWARD_BACKWARD,
 * OPTIM_STEP, SAVE_STATE, LOAD_STATE, SAVE_WEIGHTS_FOR_SAMPLER, or
 * CREATE_SAMPLER for tinker_trainer_create_sampler(). requests: n requests in
 * the order of the data, borrowed. n: at least 1; 1 for what has no data.
 * Returns a future owned by the caller, with the result of that kind. Any
 * thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_adopt_operation(tinker_trainer_t *trainer, tinker_kind_t kind,
                               const tinker_operation_request_t *requests,
                               size_t n,
                               const struct tinker_call_options_s *call);

/* Takes the creation of a model or a sampler over that another process of the
 * session has begun: its future ends as if this client had made it. With a
 * request id its result is asked for. With a body, these bytes are sent again
 * under the same number, as a mutation that passes the journal: a service that
 * knows the number gives what it made for it, one that doesn't makes it now. A
 * trainer begins at number 1, and a sampler at 0: one that was used goes on by
 * tinker_client_adopt_trainer() or tinker_client_adopt_sampler().
 * client, call: see future.h. kind: TINKER_KIND_CREATE_TRAINER,
 * TINKER_KIND_CREATE_TRAINER_FROM_STATE, or TINKER_KIND_CREATE_SAMPLER for
 * tinker_client_create_sampler() and its relative, whose request has no id. It
 * is what the name of the intent says, not its kind: making a trainer from a
 * state may take a "create_trainer" and a "load_state", which is the new
 * trainer's first operation. request: borrowed, not NULL; its seq_id is 0 or
 * more and below the one that this client takes next, or the call fails with
 * TINKER_EINVAL. Returns a future owned by the caller; result:
 * tinker_future_get_trainer() or tinker_future_get_sampler(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_adopt_creation(tinker_client_t *client, tinker_kind_t kind,
                             const tinker_operation_request_t *request,
                             const struct tinker_call_options_s *call);

/* Goes on with a sampler of the session. The service is asked whether it knows
 * it. It answers a sample whose number it knows with what it drew before, and
 * samples are in no journal: a process that doesn't know the numbers that were
 * used takes a block of its own, incarnation * 1,000,000,000
 * (tinker_adoption_t).
 * client, call: see future.h. sampler_id: of the sampler
 * (tinker_sampler_id()). next_seq_id: the number of the next sample, 0 to
 * 10^18. Returns a future owned by the caller; result:
 * tinker_future_get_sampler(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_adopt_sampler(tinker_client_t *client, const char *sampler_id,
                            int64_t next_seq_id,
                            const struct tinker_call_options_s *call);

/* Sends heartbeats for a session of another process, too, every ten seconds
 * from now on, or stops that. So a program that outlives the one that trains
 * keeps its session. One that the service has ended is left with a line in the
 * log. A session may be named again; that changes nothing. The end of the
 * client ends it.
 * client: not NULL. session_id: copied. on: 1, or 0 to stop. Returns 0,
 * TINKER_EINVAL, TINKER_EFORKED, TINKER_ECLOSED (the client drains or is
 * closed) or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_beat_session(tinker_client_t *client,
                                          const char *session_id, int on);

/* Ends the session at the service, for every process that uses it: nothing can
 * be trained or sampled in it any more, and heartbeats are not sent. A client
 * without a session makes one first. Client, drain and close go on as ever;
 * close of a client that has made its session itself does this by itself.
 * client, call: see future.h. Returns a future owned by the caller, without a
 * result. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_finish_session(tinker_client_t *client,
                             const struct tinker_call_options_s *call);

#ifdef __cplusplus
}
#endif

#endif
