/* What the tests of wire share. */
#ifndef TINKER_TESTS_UNIT_WIRE_TEST_H
#define TINKER_TESTS_UNIT_WIRE_TEST_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"
#include "wire/body.h"
#include "wire/types.h"

/* Bytes out of hexadecimal text. */
typedef struct bytes_s {
  char data[4096];
  size_t len;
} bytes_t;

static inline bytes_t unhex(const char *hex) {
  bytes_t b = {.len = strlen(hex) / 2};
  for (size_t i = 0; i < b.len; i++) {
    char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
    b.data[i] = (char)strtol(pair, NULL, 16);
  }
  return b;
}

static inline tinker__str_t bytes_str(const bytes_t *b) {
  return (tinker__str_t){b->data, b->len};
}

/* The bytes that a body is sent as, until the next call. */
static inline tinker__str_t sent(const tinker__wire_body_t *b) {
  static char text[1 << 20];
  tinker__piece_t one = {tinker__wire_body_str(b).ptr,
                         tinker__wire_body_str(b).len, false};
  tinker__pieces_t p = tinker__wire_body_pieces(b);
  tinker__place_t place = {0};
  if (!p.list) p = (tinker__pieces_t){&one, 1, one.count};
  size_t len = tinker__pieces_read(&p, &place, text, sizeof text);
  cr_assert_eq(len, p.len);
  return (tinker__str_t){text, len};
}

/* One memory and one arena per test. */
static tinker__mem_t mem;
static tinker__arena_t arena;
static char why[512];

static inline void wire_setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
}

static inline void wire_teardown(void) {
  tinker__arena_free(&arena);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

#endif
