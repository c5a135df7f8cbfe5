/* host: the machine that a child believes it runs on.
 *
 * The program defines the calls of threads, clocks, sleeps, polls, chance and
 * files itself, and so they are taken by libuv, SQLite and OpenSSL too. After
 * sim_host_enter() exactly one thread runs at a time; a generator of the seed
 * picks the next one wherever a thread blocks, and now and then where it could
 * go on. Time passes only when no thread can go on. Before that call, and in
 * the parent, the calls do what they always do. */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include "sim/wire.h"

typedef struct {
  sim_shared_t *shared;
  int fd; /* to the parent */
  uint64_t seed;
  int life;
  /* Dies at this scheduling point, from 1; 0 = at none. */
  uint64_t die_at;
  int die_status;   /* SIM_STATUS_KILLED or SIM_STATUS_POWER */
  bool tells_syncs; /* the parent wants to know before each */
  unsigned yield;   /* a thread that could go on yields one time in so many */
} sim_host_options_t;

/* The calling thread becomes the first of a child. */
void sim_host_enter(const sim_host_options_t *o);
bool sim_host_inside(void);
/* So many scheduling points this child has passed. */
uint64_t sim_host_points(void);

/* A point at which the child may die or another thread go on. */
void sim_host_point(void);
/* One message to the parent, and what it answers; the bytes of the answer are
 * malloc'ed. Dies if the parent says so. */
sim_message_t sim_host_ask(const sim_message_t *m, const void *bytes,
                           char **answer);
/* Takes the replies that the parent sends while nothing runs. Runs on any
 * thread, while all are blocked: it may only note and wake. bytes: owned. */
void sim_host_on_reply(void (*take)(const sim_message_t *m, char *bytes));
/* What a poll asks for may have changed. */
void sim_host_stir(void);

#endif
