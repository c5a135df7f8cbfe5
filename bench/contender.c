/* contender: see contender.h. One thread. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "contender.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define IDS 150000 /* ids of tokens to use: six figures, mostly */

typedef struct {
  double cpu, wall; /* seconds */
  long sleeps;
} reading_t;

static const char *name_of_program;
static reading_t start;
static long base_kib;       /* resident when the arrays were made */
static double longest_step; /* milliseconds; 0 = the pass makes none */

void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "%s: ", name_of_program);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

/* --- The meter ------------------------------------------------------------ */

static double seconds(struct timeval t) {
  return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

/* A line of the kernel's about the process, in KiB. */
static long status_kib(const char *name) {
  char line[256];
  long kib = -1;
  FILE *f = fopen("/proc/self/status", "r");
  if (!f) fail("no /proc/self/status");
  while (kib < 0 && fgets(line, sizeof line, f)) {
    size_t n = strlen(name);
    if (!strncmp(line, name, n)) kib = strtol(line + n, NULL, 10);
  }
  fclose(f);
  return kib;
}

/* Makes the kernel forget the greatest resident size so far. */
static void forget_peak(void) {
  FILE *f = fopen("/proc/self/clear_refs", "w");
  if (!f || fputs("5", f) < 0 || fclose(f) != 0) fail("no clear_refs");
}

static reading_t reading(void) {
  struct rusage use;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  getrusage(RUSAGE_SELF, &use);
  return (reading_t){
      .cpu = seconds(use.ru_utime) + seconds(use.ru_stime),
      .wall = (double)t.tv_sec + (double)t.tv_nsec * 1e-9,
      .sleeps = use.ru_nvcsw,
  };
}

double thread_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void meter_step(double ms) {
  if (ms > longest_step) longest_step = ms;
}

void meter_start(void) {
  longest_step = 0;
  forget_peak();
  start = reading();
}

void meter_stop(void) {
  reading_t end = reading();
  printf("{\"cpu_ms\":%.3f,\"wall_ms\":%.3f,\"peak_mib\":%.2f,"
         "\"sleeps\":%ld,\"step_ms\":%.3f}\n",
         (end.cpu - start.cpu) * 1e3, (end.wall - start.wall) * 1e3,
         (double)(status_kib("VmHWM:") - base_kib) / 1024,
         end.sleeps - start.sleeps, longest_step);
  fflush(stdout);
}

/* --- Arrays --------------------------------------------------------------- */

static void *take(size_t n, size_t size) {
  void *p = calloc(n ? n : 1, size);
  if (!p) fail("out of memory");
  return p;
}

static arrays_t make_arrays(size_t n, size_t length, bool one) {
  size_t all = one ? length : n * length;
  uint32_t x = 1;
  arrays_t a = {n, length, take(all, sizeof *a.tokens),
                take(all, sizeof *a.targets), take(all, sizeof *a.weights)};
  for (size_t i = 0; i < all; i++) {
    x = x * 1664525u + 1013904223u;
    a.tokens[i] = (int32_t)((x >> 8) % IDS);
  }
  for (size_t i = 0; i < all; i++) {
    a.targets[i] = a.tokens[i + 1 < all ? i + 1 : 0];
    a.weights[i] = 1;
  }
  return a;
}

static void drop_arrays(arrays_t *a) {
  free(a->tokens);
  free(a->targets);
  free(a->weights);
}

void check_logprobs(const void *values, size_t count, size_t length) {
  if (count != length) fail("%zu log-probabilities of %zu", count, length);
  for (size_t i = 0; i < count; i += 1 + count / 4) {
    float v;
    memcpy(&v, (const char *)values + i * sizeof v, sizeof v);
    if (v != -(float)(i % 997) / 997) fail("log-probability %zu", i);
  }
}

/* --- Passes --------------------------------------------------------------- */

static const pass_t *find(const pass_t *passes, size_t n, const char *name) {
  for (size_t i = 0; i < n; i++) {
    if (!strcmp(passes[i].name, name)) return &passes[i];
  }
  fail("no pass %s", name);
}

void contender_serve(const char *program, const pass_t *passes, size_t n) {
  char line[128], name[32];
  arrays_t arrays = {0};
  size_t count, length;
  bool one = false;
  name_of_program = program;
  while (fgets(line, sizeof line, stdin)) {
    if (sscanf(line, "%31s %zu %zu", name, &count, &length) != 3) {
      fail("not a pass: %s", line);
    }
    const pass_t *pass = find(passes, n, name);
    if (count != arrays.n || length != arrays.length || pass->one != one) {
      drop_arrays(&arrays);
      one = pass->one;
      arrays = make_arrays(count, length, one);
      base_kib = status_kib("VmRSS:");
    }
    pass->run(&arrays);
  }
  drop_arrays(&arrays);
}
