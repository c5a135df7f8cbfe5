/* run_in: between the files of a run: run.c (time and children), net.c (what is
 * on its way), acts.c (what goes wrong). */
#ifndef TESTS_SIM_RUN_IN_H
#define TESTS_SIM_RUN_IN_H

#include <sys/types.h>

#include "sim/run.h"

enum { SIM_CHILDREN = 4, SIM_NET = 1024 };

typedef enum {
  SIM_CHILD_NONE,
  SIM_CHILD_RUNS,
  SIM_CHILD_IDLE /* it waits for the answer to its SIM_SAY_IDLE */
} sim_child_state_t;

typedef struct {
  sim_child_state_t state;
  int life;
  pid_t pid;
  int fd;
  bool second;      /* it stands beside the run's own process */
  int64_t until_ns; /* IDLE: its earliest deadline, in virtual time */
  int64_t hangs_until_ns;
  int64_t born_again_ms; /* set when it is killed: until the next life */
  int64_t syncs;
  int64_t die_at; /* number of the scheduling point at which it dies */
} sim_child_t;

typedef enum {
  SIM_ARRIVES, /* a request at the service */
  SIM_HELD,    /* the service holds it: it is asked again */
  SIM_RETURNS  /* a reply at the client */
} sim_way_t;

typedef struct {
  sim_way_t way;
  int64_t at_ns;
  uint64_t order; /* of two at one time, the first is first */
  int life;
  uint64_t id;
  const sim_action_t *act; /* what happens to it; NULL = nothing */
  char *bytes;             /* ARRIVES, HELD: the request's; RETURNS: the body */
  size_t len;
  int64_t arrived_ms;
  sim_head_t head;
} sim_transit_t;

typedef struct {
  const sim_run_options_t *o;
  sim_result_t *out;
  sim_rng_t rng;  /* latencies and what acts draw */
  sim_rng_t luck; /* of the disk */
  sim_child_t children[SIM_CHILDREN];
  int lives;
  int64_t birth_ns; /* of the next life; SIM_NO_TIME = none is due */
  int64_t resumes;
  int given_up; /* so many lives in a row */
  bool healed, over;
  sim_transit_t net[SIM_NET];
  size_t net_count;
  uint64_t order;
  char *last_body; /* of the reply before */
  size_t last_len;
  sim_head_t last_head;
} sim_state_t;

#define SIM_NO_TIME INT64_MAX

int64_t sim_ms(const sim_state_t *s);
void sim_write(sim_state_t *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_stop(sim_state_t *s, const char *why);
sim_child_t *sim_find_child(sim_state_t *s, int life);
void sim_shadow(sim_state_t *s, const sim_shadow_t *line, const char *text,
                size_t len);

/* run.c: ends a child; its exit status is then status. */
void sim_kill(sim_state_t *s, sim_child_t *c, int status);
void sim_birth(sim_state_t *s, bool second);

/* acts.c: does what is no matter of a request. c: the child it happens to, or
 * NULL. Returns what the child is answered. */
sim_message_t sim_act(sim_state_t *s, sim_child_t *c, const sim_action_t *a);
void sim_act_due(sim_state_t *s);

/* net.c */
void sim_net_request(sim_state_t *s, sim_child_t *c, uint64_t id, char *bytes,
                     size_t len, const sim_action_t *a);
void sim_net_cancel(sim_state_t *s, int life, uint64_t id);
void sim_net_forget(sim_state_t *s, int life); /* all of a dead process */
int64_t sim_net_next_ns(const sim_state_t *s);
/* The first thing that is due moves on; true if it was a reply, which was given
 * to its child. */
bool sim_net_move(sim_state_t *s);
void sim_net_free(sim_state_t *s);

#endif
