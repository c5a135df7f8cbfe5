/* play: a short training run through the public calls, against a service with
 * a fault plan and against one without, and what has to hold of both. */
#ifndef TESTS_E2E_PLAY_H
#define TESTS_E2E_PLAY_H

#include <tinker/tinker.h>

#include "faulty.h"

/* The calls of a run. All but DRAW carry the trainer's numbers, from 1. */
enum {
  STEPS = 3,
  LONG_STEPS = 30,
  LEN = 12,   /* tokens of an example */
  DRAWN = 16, /* tokens of a sample */
  MAX_CALLS = 2 * LONG_STEPS + 4
};
#define FB(step) (2 * (step))
#define OPTIM(step) (2 * (step) + 1)
#define SAVE (2 * STEPS)
#define FORWARD (2 * STEPS + 1)
#define SAMPLER (2 * STEPS + 2)
#define DRAW (2 * STEPS + 3)
#define CALLS (2 * STEPS + 4)

/* Advice of an error, as bits. */
enum { UNKNOWN = 1, RETRIABLE = 2, FATAL = 4, RECOVER = 8 };

/* How a call ended, or shall have ended. */
typedef struct ended_s {
  int code;
  unsigned advice;
  tinker_category_t category;
  int status;
  int64_t retry_after_ms;
  char text[400];
} ended_t;

typedef struct play_s {
  faulty_t service;
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  const char *const *flags; /* of the service */
  int steps;
  int chunks;                    /* requests of a forward_backward */
  bool whole;                    /* tinker_trainer_step for its two halves */
  bool apart;                    /* each call waits for the one before */
  int64_t timeout_ms[MAX_CALLS]; /* deadlines, 0 = the client's */
  ended_t calls[MAX_CALLS];
  float weights[LEN]; /* log-probabilities: what the weights are */
  int32_t drawn[DRAWN];
} play_t;

/* A service that follows the rules, ready, and a client of it. */
void play_begin(play_t *p, const char *rules, const char *const *flags);
/* The same over TCP; seed: of the plan's chances. */
void play_begin_tcp(play_t *p, int seed, const char *rules,
                    const char *const *flags);
/* Only the client; url: of p->service. */
void play_connect(play_t *p, const char *url);
/* Makes the trainer; how that ended. */
ended_t play_create(play_t *p);
/* Submits everything at once, or apart, and waits for all of it. */
void play_train(play_t *p);
/* Waits, notes how it ended. rc: what the call returned. */
ended_t play_wait(tinker_future_t *f);
void play_close(play_t *p);
/* Closes the client if it is open, and ends the service. */
void play_end(play_t *p);

/* What the callers were told is what the ledger says: a success was applied
 * once, a certain failure never, nothing twice, everything in order. */
void play_check_ledger(const play_t *p);
/* Code and advice of every call as in want[], zero = success. */
void play_check(const play_t *p, const ended_t *want);
/* The same weights and the same draws as a run that nothing disturbed. */
void play_check_undisturbed(const play_t *p);
/* So many calls of an endpoint were applied. */
void play_check_applied(const play_t *p, const char *endpoint, size_t n);
/* The plan did something. */
void play_check_fired(const play_t *p, size_t least);

#endif
