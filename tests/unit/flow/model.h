/* model: a flow between random calls and a server that a test makes up, with
 * all that must hold at any time checked on the way: each future ends once,
 * numbers have no gap and no number is used twice, a number is offered again
 * only after it was withdrawn, what went through the door is accounted for
 * once, no optim_step goes out for a step that lacks something, and what ends a
 * trainer ends before what it ends. */
#ifndef TINKER_TESTS_UNIT_FLOW_MODEL_H
#define TINKER_TESTS_UNIT_FLOW_MODEL_H

#include "flow/flow.h"

enum {
  MODEL_CALLS = 48,
  MODEL_OUT = 192,
  MODEL_SEQS = 256,
  MODEL_TICKETS = 256,
  MODEL_TRAINERS = 2
};

/* One call of the made-up user. */
typedef struct model_call_s {
  const tinker__kind_t *kind; /* of its first step */
  int trainer;                /* -1 = none */
  tinker_future_t *future;
  const tinker__op_t *op; /* may be gone */
  int settled;
  int code;
  size_t added;  /* its requests in the server's sum */
  bool sent;     /* a request of what it is about went out */
  bool left;     /* an optim_step that has its number */
  bool executed; /* an optim_step that the server has carried out */
  bool faulty;   /* the client was told that one of them failed */
  bool forgiven; /* accepted as it is */
  bool ahead;
} model_call_t;

typedef struct model_out_s {
  tinker__http_request_t *request;
  bool canceled;
} model_out_t;

typedef enum {
  TICKET_UNUSED,
  TICKET_ASKED,
  TICKET_GATE, /* of the gate */
  TICKET_GONE,
  TICKET_WITHDRAWN
} model_ticket_state_t;

typedef struct model_ticket_s {
  model_ticket_state_t state;
  int trainer;
  size_t count;
  int64_t first;  /* number; -1 = none */
  unsigned ended; /* bits by request */
} model_ticket_t;

typedef struct model_s {
  uint64_t rng;
  uint64_t order; /* which one, for a message */
  tinker__mem_t mem;
  tinker__flow_t flow;
  tinker__door_t door;
  int64_t now_ms, wake_ms;
  bool closed;
  bool kind_world; /* nothing fails any more, answers are yes */
  tinker__turn_t *trainers[MODEL_TRAINERS], *sampler;
  model_call_t calls[MODEL_CALLS];
  size_t call_count;
  model_out_t out[MODEL_OUT];
  size_t out_count;
  tinker__op_t *handed[MODEL_CALLS];
  size_t handed_count;
  /* By number: the call that sent it, and 1. The sum of its bytes. */
  int sent[MODEL_TRAINERS][MODEL_SEQS];
  uint64_t bytes[MODEL_TRAINERS][MODEL_SEQS];
  bool executed[MODEL_TRAINERS][MODEL_SEQS];
  uint64_t offered[MODEL_TRAINERS][MODEL_SEQS]; /* the ticket, 0 = none */
  model_ticket_t tickets[MODEL_TICKETS];
  /* Counts replies, odd inside of one. In which one a number was lost for good,
   * and in which a call that was not sent ended because of it. */
  size_t replies;
  size_t cause[MODEL_TRAINERS], effect[MODEL_TRAINERS];
} model_t;

/* What was met in all orders, to see that the model meets it. */
typedef struct model_met_s {
  size_t ended_well, failed, optims, refused, withdrawn, judged, handed, fatal,
      unsent;
} model_met_t;
extern model_met_t model_met;

/* A number below n. */
size_t model_draw(model_t *m, size_t n);
void model_begin(model_t *m, uint64_t order, uint64_t seed);
void model_submit(model_t *m);
void model_cancel(model_t *m);
void model_answer(model_t *m); /* a request that is out */
void model_advance(model_t *m, int64_t ms);
void model_verdict(model_t *m); /* of the door or the gate */
void model_user(model_t *m);    /* user code is done */
void model_accept_partial(model_t *m);
void model_close(model_t *m);
/* After each of these: looks at the optim_steps that have left their queue. */
void model_look(model_t *m);
/* All goes well from now on; then nothing may be left. */
void model_drain(model_t *m);
/* Gives everything back, and checks what can be checked at the end. */
void model_end(model_t *m);

#endif
