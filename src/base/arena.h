/* arena: memory for one decoded message: many small allocations, one free.
 * Blocks come from a tinker__mem_t. Not thread-safe. */
#ifndef TINKER_BASE_ARENA_H
#define TINKER_BASE_ARENA_H

#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__arena_s {
  tinker__mem_t *mem;
  void *blocks;  /* newest first */
  void *adopted; /* blocks of mem from elsewhere, newest first */
  char *at;      /* free part of the newest small block */
  size_t left;
  size_t next;   /* bytes of the next small block; 0 = of the first one */
  size_t used;   /* bytes taken so far */
  size_t limit;  /* most that may be taken; 0 = no limit */
  size_t failed; /* allocations that failed */
  bool over;     /* an allocation failed because of the limit */
} tinker__arena_t;

void tinker__arena_init(tinker__arena_t *a, tinker__mem_t *mem);
/* Frees everything; the arena can be used again. */
void tinker__arena_free(tinker__arena_t *a);
/* Limits the arena to `more` bytes from now on, however much memory there is. A
 * decoder sets the limit to what a message of a known size may need. */
void tinker__arena_allow(tinker__arena_t *a, size_t more);
/* Removes the limit. */
void tinker__arena_allow_all(tinker__arena_t *a);
/* After an allocation failed: TINKER_EOVERFLOW or TINKER_ENOMEM. */
int tinker__arena_error(const tinker__arena_t *a);
/* After an allocation failed: the reason in words, "no memory for it", or that
 * the limit forbids it. */
const char *tinker__arena_trouble(const tinker__arena_t *a);
/* Aligned for every type; NULL without memory. The second form zeroes and
 * checks count * size. */
void *tinker__arena_alloc(tinker__arena_t *a, size_t size);
void *tinker__arena_array(tinker__arena_t *a, size_t count, size_t size);
/* Takes over a block of the arena's mem, which is freed with the arena, or at
 * once if there is no memory for that: then false. The limit does not count it.
 * block may be NULL. */
bool tinker__arena_adopt(tinker__arena_t *a, void *block);
/* A copy with a NUL after it. */
char *tinker__arena_str(tinker__arena_t *a, tinker__str_t s);
/* Room for one more of `count` elements; *cap is the room there is. Returns the
 * array, moved when it had to grow (the old one stays where it is), or NULL. */
void *tinker__arena_grow(tinker__arena_t *a, void *items, size_t count,
                         size_t *cap, size_t size);

#endif
