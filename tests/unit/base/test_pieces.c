/* The bytes of a body in pieces are the same however it is read. */
#include "base/pieces.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"

static int32_t many[1000];
static char text[16 * 1024];
static tinker__piece_t list[7];
static tinker__pieces_t body;

/* Text, ids, text, no ids, one id, text, ids at the end. */
static void setup(void) {
  static const int32_t one[] = {7}, last[] = {-1, 0, INT32_MAX};
  size_t n = 0;
  for (int i = 0; i < 1000; i++) many[i] = i * i * 37 % 1000000;
  list[0] = (tinker__piece_t){"{\"tokens\":[", 11, false};
  list[1] = (tinker__piece_t){many, 1000, true};
  list[2] = (tinker__piece_t){"],[", 3, false};
  list[3] = (tinker__piece_t){NULL, 0, true};
  list[4] = (tinker__piece_t){one, 1, true};
  list[5] = (tinker__piece_t){"]:", 2, false};
  list[6] = (tinker__piece_t){last, 3, true};
  n += (size_t)snprintf(text, sizeof text, "{\"tokens\":[");
  for (int i = 0; i < 1000; i++) {
    n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", i ? "," : "",
                          many[i]);
  }
  snprintf(text + n, sizeof text - n, "],[7]:-1,0,%d", INT32_MAX);
  body = (tinker__pieces_t){list, 7, 0};
  for (int i = 0; i < 7; i++) body.len += tinker__piece_len(&list[i]);
}

TestSuite(pieces, .init = setup);

Test(pieces, in_rooms_of_every_size) {
  size_t len = strlen(text);
  cr_assert_eq(body.len, len);
  for (size_t room = 1; room < 600; room++) {
    tinker__place_t place = {0};
    char *to = malloc(room); /* a byte too many is seen by a sanitizer */
    size_t at = 0, n;
    while ((n = tinker__pieces_read(&body, &place, to, room)) > 0) {
      cr_assert(n == room || at + n == len);
      cr_assert_eq(memcmp(to, text + at, n), 0, "%zu", room);
      at += n;
    }
    cr_assert_eq(at, len);
    free(to);
  }
}

/* As two connections do that send it at a time. */
Test(pieces, by_two_readers) {
  tinker__place_t a = {0}, b = {0};
  char to[64];
  size_t at_a = 0, at_b = 0;
  for (int i = 0; i < 40; i++) {
    size_t n = tinker__pieces_read(&body, &a, to, 33);
    cr_assert_eq(memcmp(to, text + at_a, n), 0);
    at_a += n;
    n = tinker__pieces_read(&body, &b, to, 64);
    cr_assert_eq(memcmp(to, text + at_b, n), 0);
    at_b += n;
  }
}

static int copy_and_digest(tinker__mem_t *mem, void *user) {
  unsigned char *sha = user;
  tinker__buf_t out;
  tinker__buf_init(&out, mem, 1 << 20);
  int rc = tinker__pieces_copy(&body, &out);
  if (!rc) {
    cr_assert(tinker__str_eqs(tinker__buf_str(&out), text));
    rc = tinker__pieces_sha256(&body, mem, sha);
  }
  tinker__buf_free(&out);
  return rc;
}

Test(pieces, copy_and_digest) {
  unsigned char sha[TINKER__SHA256_LEN], want[TINKER__SHA256_LEN];
  cr_assert_eq(tinker__fail_sweep(copy_and_digest, sha, TINKER_ENOMEM), 2);
  cr_assert_eq(tinker__sha256(text, strlen(text), want), 0);
  cr_assert_arr_eq(sha, want, sizeof sha);
}
