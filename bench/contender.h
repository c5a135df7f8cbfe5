/* contender: what the programs share that bench/client_turns.py lets take
 * turns. Each makes its numbers from the same arrays, does a pass when a line
 * of its standard input says so, and answers with a line of what that cost. A
 * failure ends the program. */
#ifndef TINKER_BENCH_CONTENDER_H
#define TINKER_BENCH_CONTENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The caller's arrays: n examples or prompts of length tokens each, one after
 * the other, or only the first if the pass says so. */
typedef struct {
  size_t n, length;
  int32_t *tokens;
  int64_t *targets;
  float *weights;
} arrays_t;

/* A pass over the arrays. It does all its work between meter_start() and
 * meter_stop(). */
typedef struct {
  const char *name;
  void (*run)(const arrays_t *arrays);
  bool one; /* every example is the first */
} pass_t;

/* Serves lines "NAME N LENGTH" until the input ends. The arrays of a line are
 * those of the line before if the numbers are. */
void contender_serve(const char *program, const pass_t *passes, size_t n);

void meter_start(void);
/* Prints the answer: CPU and wall time, the peak of the pass's memory above
 * that when the arrays were made, how often a thread went to sleep, and the
 * longest step. */
void meter_stop(void);
/* CPU time of the thread so far; that of one step of a loop. */
double thread_ms(void);
void meter_step(double ms);

/* Checks some log-probabilities of an example, floats, against the stub's
 * rule. */
void check_logprobs(const void *values, size_t count, size_t length);

/* Writes a message to standard error and calls exit(1). */
_Noreturn void fail(const char *format, ...);

#endif
