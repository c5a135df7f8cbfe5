/* collect: who uses a generator through its table alone: takes all that a
 * generation gives, and waits for its end. */
#ifndef TINKER_TESTS_ENGINE_COLLECT_H
#define TINKER_TESTS_ENGINE_COLLECT_H

#include <pthread.h>

#include "engine/generator.h"

enum { COLLECT_TOP = 4 }; /* most alternatives of a token */

typedef struct collect_s {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool over;
  int rc;
  char why[300];
  size_t count; /* of calls of on_token */
  int give_up;  /* what the call number give_up_at (from 1) returns */
  size_t give_up_at;
  int32_t tokens[2][300]; /* by sample */
  float logprobs[2][300];
  size_t n[2];
  int32_t top_ids[2][300][COLLECT_TOP];
  float top_logprobs[2][300][COLLECT_TOP];
  size_t n_top[2]; /* alternatives of all tokens */
  bool shut;       /* on_token does not return before collect_open */
  tinker__eng_generated_end_t end[2];
  char text[2000];
} collect_t;

void collect_init(collect_t *c);
tinker__eng_generate_cb_t collect_cb(collect_t *c);
void collect_open(collect_t *c);
void collect_wait(collect_t *c);
/* Until so many calls of on_token. */
void collect_wait_for(collect_t *c, size_t count);

/* For `models`: appends "name:context " to a string of 200 bytes. */
void collect_model(void *to, const char *name, size_t context);
/* Expects that a request is refused with that code, and a reason that has
 * these words. */
void collect_refused(tinker__eng_generator_t *g,
                     const tinker__eng_generate_t *spec, int code,
                     const char *reason);

#endif
