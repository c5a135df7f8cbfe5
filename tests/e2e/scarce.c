/* scarce: see scarce.h. pthread_create is this program's own. */
#define _GNU_SOURCE
#include "scarce.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define MANY 3 /* that fail in a row */

static atomic_long allocations, threads;
static long fail_one, fail_from;
#ifdef SCARCE_THREADS
static long fail_thread;
#endif

static long number(const char *variable) {
  const char *text = getenv(variable);
  return text ? strtol(text, NULL, 10) : 0;
}

static int fails(void) {
  long n = atomic_fetch_add(&allocations, 1) + 1;
  return n == fail_one || (fail_from && n >= fail_from && n < fail_from + MANY);
}

static void *on_malloc(size_t n, void *user) {
  (void)user;
  return fails() ? NULL : malloc(n);
}

static void *on_calloc(size_t n, size_t size, void *user) {
  (void)user;
  return fails() ? NULL : calloc(n, size);
}

static void *on_realloc(void *p, size_t n, void *user) {
  (void)user;
  return fails() ? NULL : realloc(p, n);
}

static void on_free(void *p, void *user) {
  (void)user;
  free(p);
}

static void write_count(void) {
  const char *path = getenv("TINKER_COUNT");
  FILE *f = path ? fopen(path, "w") : NULL;
  if (!f) return;
  fprintf(f, "%ld %ld\n", atomic_load(&allocations), atomic_load(&threads));
  fclose(f);
}

__attribute__((constructor)) static void begin(void) {
  fail_one = number("TINKER_FAIL_ALLOC");
  fail_from = number("TINKER_FAIL_ALLOCS");
#ifdef SCARCE_THREADS
  fail_thread = number("TINKER_FAIL_THREAD");
#endif
  atexit(write_count);
}

const tinker_allocator_t *scarce_allocator(void) {
  static const tinker_allocator_t own = {on_malloc, on_calloc, on_realloc,
                                         on_free, NULL};
  return &own;
}

#ifdef SCARCE_THREADS
int pthread_create(pthread_t *out, const pthread_attr_t *attr,
                   void *(*run)(void *), void *user) {
  typedef int (*type)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                      void *);
  static type real;
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
  if (atomic_fetch_add(&threads, 1) + 1 == fail_thread) return EAGAIN;
  return real(out, attr, run, user);
}
#endif
