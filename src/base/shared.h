/* shared: a block of bytes with several users, the last of whom frees it. Any
 * thread may retain and release. Only the single user of a block may write to
 * it. */
#ifndef TINKER_BASE_SHARED_H
#define TINKER_BASE_SHARED_H

#include "base/mem.h"
#include "base/ref.h"

typedef struct tinker__shared_s {
  tinker__ref_t ref;
  tinker__mem_t mem; /* its own, with the maker's allocator */
  size_t size;
  _Alignas(max_align_t) char data[];
} tinker__shared_t;

/* A block of `size` bytes with one user. It comes from the allocator, NULL =
 * the C library's, and may outlive whatever counts that one's memory. NULL
 * without memory. */
tinker__shared_t *tinker__shared_new(const tinker_allocator_t *allocator,
                                     size_t size);
tinker__shared_t *tinker__shared_retain(tinker__shared_t *s);
/* s may be NULL. */
void tinker__shared_release(tinker__shared_t *s);
/* A block of `size` bytes in the place of s, whose only user or one of whose
 * users is the caller, with its contents as far as they fit. Other users keep
 * the old one. NULL without memory, and s is as it was. */
tinker__shared_t *tinker__shared_resize(tinker__shared_t *s, size_t size);

#endif
