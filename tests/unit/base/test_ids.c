/* Token ids as text: the same as printf's, of every length and in any mix. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"

enum { MOST = 300 };

static void expect_same(const int32_t *ids, size_t n) {
  static char want[MOST * TINKER__ID_MAX + 1];
  size_t len = 0;
  for (size_t i = 0; i < n; i++) {
    len += (size_t)snprintf(want + len, sizeof want - len, "%d,", ids[i]);
  }
  /* No byte more than promised, for a sanitizer to see. */
  char *out = malloc(n * TINKER__ID_MAX + TINKER__IDS_SLACK);
  cr_assert_not_null(out);
  size_t got = (size_t)(tinker__put_ids(out, ids, n) - out);
  cr_assert_eq(got, len);
  cr_assert_eq(memcmp(out, want, len), 0, "%.*s", (int)got, out);
  cr_assert_eq(tinker__ids_length(ids, n), len);
  free(out);
}

Test(ids, every_length) {
  static const int32_t edges[] = {
      0,       1,         9,         10,    99,     100,    999,    1000,
      1001,    9999,      10000,     99999, 100000, 524287, 524288, 999999,
      1000000, INT32_MAX, INT32_MIN, -1,    -10,    -999999};
  enum { EDGES = sizeof edges / sizeof *edges };
  int32_t ids[MOST];
  for (size_t e = 0; e < EDGES; e++) {
    for (size_t i = 0; i < MOST; i++) ids[i] = edges[e];
    expect_same(ids, MOST);
    expect_same(ids, 1);
  }
  for (size_t i = 0; i < MOST; i++) ids[i] = edges[i % EDGES];
  for (size_t n = 0; n <= MOST; n++) expect_same(ids, n);
}

/* One that the tables don't know changes nothing for its neighbours. */
Test(ids, a_large_one_among_small_ones) {
  int32_t ids[MOST];
  for (size_t at = 0; at < MOST; at++) {
    for (size_t i = 0; i < MOST; i++) ids[i] = (int32_t)(i * 523);
    ids[at] = 524288 + (int32_t)at;
    expect_same(ids, MOST);
  }
}

Test(ids, all_that_the_tables_know) {
  int32_t ids[256];
  for (int32_t first = 0; first < 1 << 20; first += 256) {
    for (int32_t i = 0; i < 256; i++) ids[i] = first + i;
    expect_same(ids, 256);
  }
}
