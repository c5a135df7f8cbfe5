/* ids: see ids.h. An id below 2^19 is at most two groups of three digits. Each
 * group is a row of a table that is stored whole, and the place moves on by the
 * length that the row has: no branch depends on how long an id is. */
#include "base/ids.h"

#include <stdbool.h>
#include <string.h>

#include "base/str.h"

#define RUN 64 /* ids that are tested together */

#define GROUP 1000
/* Ids below are written by the tables. A power of two lets one comparison test
 * several ids. */
#define PLAIN (1u << 19)

/* The first of two groups, without zeros in front. */
typedef struct tinker__head_s {
  char text[3];
  unsigned char len;
} tinker__head_t;

/* The last group and the comma. */
typedef struct tinker__last_s {
  char text[7];
  unsigned char len;
} tinker__last_t;

/* X for the digits a (and b), followed by each of the ten digits. */
#define TEN1(X, a)                                                             \
  X(a, 0), X(a, 1), X(a, 2), X(a, 3), X(a, 4), X(a, 5), X(a, 6), X(a, 7),      \
      X(a, 8), X(a, 9)
#define TEN2(X, a, b)                                                          \
  X(a, b, 0), X(a, b, 1), X(a, b, 2), X(a, b, 3), X(a, b, 4), X(a, b, 5),      \
      X(a, b, 6), X(a, b, 7), X(a, b, 8), X(a, b, 9)
#define HUNDRED(X, a)                                                          \
  TEN2(X, a, 0), TEN2(X, a, 1), TEN2(X, a, 2), TEN2(X, a, 3), TEN2(X, a, 4),   \
      TEN2(X, a, 5), TEN2(X, a, 6), TEN2(X, a, 7), TEN2(X, a, 8),              \
      TEN2(X, a, 9)
#define FROM_10(X)                                                             \
  TEN1(X, 1), TEN1(X, 2), TEN1(X, 3), TEN1(X, 4), TEN1(X, 5), TEN1(X, 6),      \
      TEN1(X, 7), TEN1(X, 8), TEN1(X, 9)
#define FROM_100(X)                                                            \
  HUNDRED(X, 1), HUNDRED(X, 2), HUNDRED(X, 3), HUNDRED(X, 4), HUNDRED(X, 5),   \
      HUNDRED(X, 6), HUNDRED(X, 7), HUNDRED(X, 8), HUNDRED(X, 9)

#define LESS2(a, b) ((a)*10 + (b)-1) * (uint64_t)GROUP
#define LESS3(a, b, c) ((a)*100 + (b)*10 + (c)-1) * (uint64_t)GROUP
#define HEAD1(a, b)                                                            \
  { {'0' + (b)}, (b) > 0 }
#define HEAD2(a, b)                                                            \
  { {'0' + (a), '0' + (b)}, 2 }
#define HEAD3(a, b, c)                                                         \
  { {'0' + (a), '0' + (b), '0' + (c)}, 3 }
#define LAST1(a, b)                                                            \
  { {'0' + (b), ','}, 2 }
#define LAST2(a, b)                                                            \
  { {'0' + (a), '0' + (b), ','}, 3 }
#define LAST3(a, b, c)                                                         \
  { {'0' + (a), '0' + (b), '0' + (c), ','}, 4 }

/* 0 is no group in front. */
static const tinker__head_t heads[GROUP] = {TEN1(HEAD1, 0), FROM_10(HEAD2),
                                            FROM_100(HEAD3)};

/* The distance from an id to the row of its last group, by its first. As wide
 * as an id in the loop, so that none is converted. */
static const uint64_t less[GROUP] = {
    0,           LESS2(0, 1), LESS2(0, 2),    LESS2(0, 3),
    LESS2(0, 4), LESS2(0, 5), LESS2(0, 6),    LESS2(0, 7),
    LESS2(0, 8), LESS2(0, 9), FROM_10(LESS2), FROM_100(LESS3)};

/* 1,000 rows for ids without a group in front, then 1,000 for the others, which
 * keep their zeros. */
static const tinker__last_t lasts[2 * GROUP] = {
    TEN1(LAST1, 0), FROM_10(LAST2), FROM_100(LAST3), HUNDRED(LAST3, 0),
    FROM_100(LAST3)};

static inline char *put_plain(char *p, uint64_t id) {
  const uint64_t head = id * 4294968 >> 32; /* id / 1000, below a million */
  const tinker__last_t *last = &lasts[id - less[head]];
  memcpy(p, heads[head].text, 4);
  p += heads[head].len;
  memcpy(p, last, sizeof(*last));
  return p + last->len;
}

static char *put_any(char *p, int32_t id) {
  if (id < 0) *p++ = '-';
  p = tinker__put_u32(p, id < 0 ? 0 - (uint32_t)id : (uint32_t)id);
  *p++ = ',';
  return p;
}

/* One test for a run of ids: a vector's worth of them at a time. */
static bool are_plain(const int32_t *ids) {
  uint32_t any = 0;
  for (int i = 0; i < RUN; i++) any |= (uint32_t)ids[i];
  return any < PLAIN;
}

static char *put_run(char *p, const int32_t *ids) {
  for (int i = 0; i < RUN; i += 4) {
    p = put_plain(p, (uint32_t)ids[i]);
    p = put_plain(p, (uint32_t)ids[i + 1]);
    p = put_plain(p, (uint32_t)ids[i + 2]);
    p = put_plain(p, (uint32_t)ids[i + 3]);
  }
  return p;
}

static char *put_each(char *p, const int32_t *ids, size_t n) {
  for (size_t i = 0; i < n; i++) p = put_any(p, ids[i]);
  return p;
}

char *tinker__put_ids(char *out, const int32_t *ids, size_t n) {
  char *p = out;
  for (; n >= RUN; ids += RUN, n -= RUN) {
    p = are_plain(ids) ? put_run(p, ids) : put_each(p, ids, RUN);
  }
  return put_each(p, ids, n);
}

/* Additions and comparisons only, a vector's worth at a time. */
static size_t run_length(const int32_t *ids) {
  uint32_t more = 0;
  for (int i = 0; i < RUN; i++) {
    int32_t id = ids[i];
    more += (id > 9) + (id > 99) + (id > 999) + (id > 9999) + (id > 99999);
  }
  return 2 * RUN + more;
}

static size_t each_length(const int32_t *ids, size_t n) {
  char text[TINKER__ID_MAX];
  size_t len = 0;
  for (size_t i = 0; i < n; i++) len += (size_t)(put_any(text, ids[i]) - text);
  return len;
}

size_t tinker__ids_length(const int32_t *ids, size_t n) {
  size_t len = 0;
  for (; n >= RUN; ids += RUN, n -= RUN) {
    len += are_plain(ids) ? run_length(ids) : each_length(ids, RUN);
  }
  return len + each_length(ids, n);
}
