/* wire: what a child and the parent say to each other, over a socket pair. The
 * child speaks and waits for the answer: one message at a time, in order. The
 * shared page has what both need without a message. */
#ifndef TESTS_SIM_WIRE_H
#define TESTS_SIM_WIRE_H

#include "sim/sim.h"

typedef enum {
  SIM_SAY_IDLE,    /* no thread can go on; a: the earliest deadline */
  SIM_SAY_REQUEST, /* id; the bytes are a sim_lengths_t and what it counts */
  SIM_SAY_CANCEL,  /* id: nobody waits for the reply any more */
  SIM_SAY_SHADOW,  /* a: kind, b: step, c: code or rolled back, loss */
  SIM_SAY_SYNC     /* a file is about to be synced */
} sim_say_t;

typedef enum {
  SIM_ANSWER_GO,    /* a: a sim_word_t, of a line of the shadow log */
  SIM_ANSWER_REPLY, /* id; the bytes are a sim_head_t and the body */
  SIM_ANSWER_DIE    /* at once, with the exit status a */
} sim_answer_t;

/* What a program is to do after a line of the shadow log. */
typedef enum {
  SIM_WORD_NONE,
  SIM_WORD_LEAVE, /* it gives its run back, and ends */
  SIM_WORD_RESUME /* the run that has stopped is to go on */
} sim_word_t;

typedef struct {
  int32_t what; /* sim_say_t or sim_answer_t */
  uint32_t len; /* of the bytes that follow */
  uint64_t id;
  int64_t a, b, c;
  double loss;
} sim_message_t;

/* Of a request: lengths of what follows, in this order, with their NULs; 0 =
 * there is none. The body has no NUL. */
typedef struct {
  uint32_t method, path, content_type, accept, key, body;
} sim_lengths_t;

/* Of a reply; see tinker__http_reply_t. */
typedef struct {
  int32_t error;
  bool sent;
  int32_t status;
  int64_t retry_after_ms;
  char content_type[64];
  char location[128];
} sim_head_t;

typedef struct {
  int64_t now_ns;         /* virtual time, from 0 on */
  int64_t boots;          /* so often the machine was started before */
  int64_t asleep_ns;      /* so long it has slept */
  int64_t wall_offset_ms; /* what the wall clock is wrong by */
} sim_shared_t;

enum {
  SIM_STATUS_GAVE_UP = 1,
  SIM_STATUS_STOPPED = 2, /* the run has */
  SIM_STATUS_LEFT = 3,    /* as it was told to */
  SIM_STATUS_KILLED = 137,
  SIM_STATUS_POWER = 138
};

/* Whole messages. false: the other side is gone. bytes: malloc'ed if len. */
bool sim_wire_send(int fd, const sim_message_t *m, const void *bytes);
bool sim_wire_receive(int fd, sim_message_t *m, char **bytes);

#endif
