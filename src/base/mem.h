/* mem: the one door to memory.
 *
 * A tinker__mem_t belongs to a client, a service or a test and outlives all
 * that was allocated from it. To the allocator below it adds a ceiling in
 * bytes, a count of live bytes, and failure of the n-th allocation for tests.
 * Thread-safe (the counters are atomic). Sizes never overflow silently.
 *
 * It may keep big blocks that were freed for the next allocation of about their
 * size: a block that a libc fetches from the system and gives back at every
 * call costs more than the bytes that are written into it. What is kept counts
 * towards the ceiling and goes before an allocation fails by it. */
#ifndef TINKER_BASE_MEM_H
#define TINKER_BASE_MEM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <tinker/alloc.h>

#define TINKER__KEPT_MIN ((size_t)64 << 10) /* smaller blocks are not kept */
#define TINKER__KEPT_BLOCKS 32              /* kept at a time */

typedef struct tinker__block_s tinker__block_t;

typedef struct tinker__kept_s {
  _Atomic(tinker__block_t *) block; /* NULL = an empty slot */
  atomic_size_t size; /* a hint: the block may be another one by now */
} tinker__kept_t;

/* The blocks that are kept. */
typedef struct tinker__keep_s {
  atomic_size_t most;  /* bytes; 0 = none are kept */
  atomic_size_t bytes; /* not among the live ones */
  atomic_uint next;    /* counts up: the slot that is filled next */
  atomic_uint tidied;  /* calls of tinker__mem_tidy */
  tinker__kept_t slots[TINKER__KEPT_BLOCKS];
} tinker__keep_t;

typedef struct tinker__mem_s {
  tinker_allocator_t alloc;
  size_t ceiling;           /* bytes; 0 = none */
  atomic_size_t live_bytes; /* as asked for, without our headers */
  atomic_size_t live_blocks;
  atomic_uint_fast64_t count;   /* allocations tried so far */
  atomic_uint_fast64_t fail_at; /* the try, from 1, that fails; 0 = none */
  tinker__keep_t *keep;         /* NULL = nothing is kept */
} tinker__mem_t;

/* allocator NULL = the C library's. */
void tinker__mem_init(tinker__mem_t *mem, const tinker_allocator_t *allocator,
                      size_t ceiling);

/* The functions of an allocator over mem, which outlives what takes it: for
 * what knows only <tinker/alloc.h>. */
tinker_allocator_t tinker__mem_allocator(tinker__mem_t *mem);

/* A part of another's memory with a ceiling of its own; parent outlives it. */
void tinker__mem_part(tinker__mem_t *part, tinker__mem_t *parent,
                      size_t ceiling);

/* From now on up to `bytes` of freed big blocks are kept. keep is the caller's
 * and lives as long as mem. Before the first allocation. */
void tinker__mem_keep(tinker__mem_t *mem, tinker__keep_t *keep, size_t bytes);
/* Gives all kept blocks back, and keeps none from now on. Once more, after the
 * last free, before mem goes: a free may have begun before the first time. */
void tinker__mem_keep_none(tinker__mem_t *mem);
/* Gives back those that have lain unused since the last call: for whoever has a
 * slow clock. */
void tinker__mem_tidy(tinker__mem_t *mem);

/* All return NULL when there is no memory. A size of 0 gives a valid
 * pointer. Contents of tinker__mem_alloc are undefined, of _zalloc zero. */
void *tinker__mem_alloc(tinker__mem_t *mem, size_t size);
void *tinker__mem_zalloc(tinker__mem_t *mem, size_t size);
/* count * size, NULL on overflow; zeroed. */
void *tinker__mem_array(tinker__mem_t *mem, size_t count, size_t size);
/* Like realloc; on failure the old block is untouched. */
void *tinker__mem_realloc(tinker__mem_t *mem, void *ptr, size_t size);
/* ptr may be NULL. */
void tinker__mem_free(tinker__mem_t *mem, void *ptr);

/* Copies; the string forms add a NUL. */
void *tinker__mem_dup(tinker__mem_t *mem, const void *ptr, size_t size);
char *tinker__mem_strndup(tinker__mem_t *mem, const char *s, size_t len);
char *tinker__mem_strdup(tinker__mem_t *mem, const char *s);

#endif
