/* wire: what a child and the parent say to each other, over a socket pair. The
 * child speaks and waits for the answer: one message at a time, in order. The
 * shared page has what both need without a message. */
#ifndef TESTS_SIM_WIRE_H
#define TESTS_SIM_WIRE_H

#include "sim/sim.h"

typedef enum {
  SIM_SAY_IDLE,    /* no thread can go on; a: the earliest deadline */
  SIM_SAY_REQUEST, /* id, a: method; the body is five texts */
  SIM_SAY_CANCEL,  /* id: nobody waits for the reply any more */
  SIM_SAY_SHADOW   /* a: kind, b: step, c: code or rolled back, loss */
} sim_say_t;

typedef enum {
  SIM_ANSWER_GO,
  SIM_ANSWER_REPLY, /* id, a: status or TINKER_E..., b: retry_after_ms */
  SIM_ANSWER_DIE    /* as by SIGKILL */
} sim_answer_t;

typedef struct {
  int32_t what; /* sim_say_t or sim_answer_t */
  uint32_t len; /* of the bytes that follow */
  uint64_t id;
  int64_t a, b, c;
  double loss;
} sim_message_t;

/* Lengths of what a request's bytes are, in this order, each with its NUL but
 * the body. */
typedef struct {
  uint32_t path, content_type, accept, key, body;
} sim_lengths_t;

typedef struct {
  int64_t now_ns;         /* virtual time, from 0 on */
  int64_t boot_ns;        /* when the machine was started last */
  int64_t wall_offset_ms; /* what the wall clock is wrong by */
} sim_shared_t;

enum { SIM_STATUS_KILLED = 137, SIM_STATUS_POWER = 138 };

/* Whole messages. false: the other side is gone. bytes: malloc'ed if len. */
bool sim_wire_send(int fd, const sim_message_t *m, const void *bytes);
bool sim_wire_receive(int fd, sim_message_t *m, char **bytes);

#endif
