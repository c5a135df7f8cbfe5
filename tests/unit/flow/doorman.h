/* doorman: a door whose answers are the test's, and that writes down what it
 * hears, a word for each call:
 *
 *   ?T:1,2     asked under ticket T about requests 1 and 2 (- = no number)
 *   |T         the fence was asked
 *   -T         withdrawn
 *   +T.i       the server took request i
 *   =T.i  !T.i  ~T.i  _T.i   its result, its failure, open, unsent */
#ifndef TINKER_TESTS_UNIT_FLOW_DOORMAN_H
#define TINKER_TESTS_UNIT_FLOW_DOORMAN_H

#include "bench.h"

typedef struct doorman_s {
  tinker__door_t door;
  bench_t *bench;
  tinker__admit_t answer; /* to the next questions */
  bool fenced;            /* the fence lets nothing through */
  bool with_error;        /* refuses with an error of its own */
  char heard[2048];
  char body[160]; /* the beginning of the last one's */
} doorman_t;

/* Puts it in; it says GO until told otherwise. */
void doorman_open(doorman_t *d, bench_t *b);
/* What was heard since the last call is this, words parted by a space. */
void doorman_heard(doorman_t *d, const char *words);
/* The later answer to a ticket; false = the flow does not know it. */
bool doorman_go(doorman_t *d, uint64_t ticket);
bool doorman_refuse(doorman_t *d, uint64_t ticket);

#endif
