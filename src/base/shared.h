/* shared: a block of bytes with several users, the last of whom frees it. A
 * block is known by the pointer to its bytes. Any thread may retain and
 * release. Bytes that another user may read are not written to. */
#ifndef TINKER_BASE_SHARED_H
#define TINKER_BASE_SHARED_H

#include "base/mem.h"

/* A block of `size` bytes with one user. It comes from the allocator, NULL =
 * the C library's, and may outlive whatever counts that one's memory. NULL
 * without memory. */
void *tinker__shared_alloc(const tinker_allocator_t *allocator, size_t size);
void *tinker__shared_dup(const tinker_allocator_t *allocator, const void *data,
                         size_t size);
/* A block of `size` bytes in the place of one that the caller uses, with its
 * contents as far as they fit. Other users keep the old one. block NULL: a new
 * one. NULL without memory, and the block is as it was. */
void *tinker__shared_resize(const tinker_allocator_t *allocator, void *block,
                            size_t size);
/* A block without bytes that stands for bytes of somebody else: its last user
 * calls end(user). NULL without memory. */
void *tinker__shared_foreign(const tinker_allocator_t *allocator,
                             void (*end)(void *user), void *user);
void *tinker__shared_retain(void *block);
/* block may be NULL. */
void tinker__shared_release(void *block);
/* The same for one that has no other user, without calling end. */
void tinker__shared_drop(void *block);

#endif
