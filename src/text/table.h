/* table: the two hash tables of a BPE vocabulary: strings to ids, and pairs of
 * ids to what they merge into. Open addressing, at most half full, seeded, so
 * that a file can't choose its collisions. Filled by one thread, then only
 * read. */
#ifndef TINKER_TEXT_TABLE_H
#define TINKER_TEXT_TABLE_H

#include "base/buf.h"

#define TINKER__MAX_VOCABULARY (1u << 21)
#define TINKER__MAX_MERGES (1u << 22)

/* Strings by id, with holes, and ids by string. */
typedef struct tinker__strings_s {
  tinker__buf_t pool;
  struct {
    uint32_t at; /* UINT32_MAX = no such id */
    uint32_t len;
  } * spans;
  uint32_t size; /* one more than the highest id */
  uint32_t cap;
  uint32_t *slots; /* id + 1; 0 = free */
  uint32_t mask;   /* slots - 1; 0 without slots */
  uint32_t used;
  uint64_t seed;
} tinker__strings_t;

void tinker__strings_init(tinker__strings_t *s, tinker__mem_t *mem,
                          uint64_t seed);
void tinker__strings_free(tinker__strings_t *s);
/* Gives the id this string. `find`: tinker__strings_find is to find it. 0,
 * TINKER_EEXIST (the id, or with `find` the string, is taken), TINKER_EOVERFLOW
 * or TINKER_ENOMEM. */
int tinker__strings_put(tinker__strings_t *s, uint32_t id, tinker__str_t text,
                        bool find);
/* -1 when there is none. */
int32_t tinker__strings_find(const tinker__strings_t *s, tinker__str_t text);
/* False for a hole. */
bool tinker__strings_get(const tinker__strings_t *s, uint32_t id,
                         tinker__str_t *text);

typedef struct tinker__merge_s {
  uint32_t left, right;
  uint32_t rank; /* lower merges first */
  uint32_t id;   /* UINT32_MAX = a free slot */
} tinker__merge_t;

typedef struct tinker__merges_s {
  tinker__mem_t *mem;
  tinker__merge_t *slots;
  uint32_t mask;
  uint64_t seed;
} tinker__merges_t;

/* Room for n merges. */
int tinker__merges_init(tinker__merges_t *m, tinker__mem_t *mem, uint64_t seed,
                        uint32_t n);
void tinker__merges_free(tinker__merges_t *m);
/* A pair given twice keeps the later one. At most n different pairs. */
void tinker__merges_put(tinker__merges_t *m, tinker__merge_t merge);
/* NULL when the pair doesn't merge. */
const tinker__merge_t *tinker__merges_find(const tinker__merges_t *m,
                                           uint32_t left, uint32_t right);

#endif
