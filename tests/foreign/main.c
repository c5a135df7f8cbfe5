/* main: runs the tests that were linked in, one after the other, and stands in
 * for OpenSSL: the digest that tells base models apart is in no number. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "criterion/criterion.h"

#define TESTS_MAX 200

static struct {
  const char *name;
  void (*run)(void);
} tests[TESTS_MAX];
static size_t num_tests;

void foreign_add(const char *name, void (*run)(void)) {
  if (num_tests == TESTS_MAX) abort();
  tests[num_tests].name = name;
  tests[num_tests++].run = run;
}

void foreign_log(const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("  ");
  vprintf(format, args);
  printf("\n");
  va_end(args);
}

void foreign_check(bool good, const char *file, int line, const char *what,
                   const char *format, ...) {
  va_list args;
  if (good) return;
  printf("%s:%d: %s:", file, line, what);
  va_start(args, format);
  vprintf(format, args);
  va_end(args);
  printf("\n");
  exit(1);
}

struct tinker__sha256_s {
  tinker__mem_t *mem;
  uint64_t h;
};

int tinker__sha256_new(tinker__sha256_t **out, tinker__mem_t *mem) {
  tinker__sha256_t *h = tinker__mem_zalloc(mem, sizeof *h);
  if (!h) return TINKER_ENOMEM;
  *h = (tinker__sha256_t){mem, 0xcbf29ce484222325u};
  *out = h;
  return 0;
}

int tinker__sha256_add(tinker__sha256_t *h, const void *data, size_t len) {
  const unsigned char *p = data;
  for (size_t i = 0; i < len; i++) h->h = (h->h ^ p[i]) * 0x100000001b3u;
  return 0;
}

int tinker__sha256_end(tinker__sha256_t *h,
                       unsigned char out[TINKER__SHA256_LEN]) {
  for (size_t i = 0; i < TINKER__SHA256_LEN; i++) {
    out[i] = (unsigned char)(h->h >> i % 8 * 8);
  }
  tinker__mem_free(h->mem, h);
  return 0;
}

int tinker__sha256(const void *data, size_t len,
                   unsigned char out[TINKER__SHA256_LEN]) {
  tinker__mem_t mem;
  tinker__sha256_t *h;
  tinker__mem_init(&mem, NULL, 0);
  int rc = tinker__sha256_new(&h, &mem);
  if (rc) return rc;
  rc = tinker__sha256_add(h, data, len);
  return rc ? rc : tinker__sha256_end(h, out);
}

void tinker__hex(const void *data, size_t len, char *out) {
  const unsigned char *p = data;
  for (size_t i = 0; i < len; i++) snprintf(out + 2 * i, 3, "%02x", p[i]);
}

int main(void) {
  for (size_t i = 0; i < num_tests; i++) {
    printf("%s\n", tests[i].name);
    fflush(stdout);
    tests[i].run();
  }
  printf("%zu passed, 0 failed\n", num_tests);
  return num_tests == 0;
}
