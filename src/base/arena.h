/* arena: memory for one decoded message: many small allocations, one free.
 * Blocks come from a tinker__mem_t. Not thread-safe. */
#ifndef TINKER_BASE_ARENA_H
#define TINKER_BASE_ARENA_H

#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__arena_s {
  tinker__mem_t *mem;
  void *blocks; /* newest first */
  char *at;     /* free part of the newest small block */
  size_t left;
} tinker__arena_t;

void tinker__arena_init(tinker__arena_t *a, tinker__mem_t *mem);
/* Frees everything; the arena can be used again. */
void tinker__arena_free(tinker__arena_t *a);
/* Aligned for every type; NULL without memory. The second form zeroes and
 * checks count * size. */
void *tinker__arena_alloc(tinker__arena_t *a, size_t size);
void *tinker__arena_array(tinker__arena_t *a, size_t count, size_t size);
/* A copy with a NUL behind it. */
char *tinker__arena_str(tinker__arena_t *a, tinker__str_t s);

#endif
