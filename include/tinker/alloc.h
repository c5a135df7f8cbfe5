/* The allocator that a client takes its memory from. */
#ifndef TINKER_ALLOC_H
#define TINKER_ALLOC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Four functions and the pointer they are called with. All four must be set,
 * or the whole struct absent (NULL): then the C library is used. The functions
 * are called from any thread of the client and must be thread-safe; they
 * follow the C library's rules for malloc, calloc, realloc and free. What
 * libcurl, libuv and OpenSSL allocate does not pass through here. */
typedef struct tinker_allocator_s {
  void *(*malloc_fn)(size_t size, void *user);
  void *(*calloc_fn)(size_t count, size_t size, void *user);
  void *(*realloc_fn)(void *ptr, size_t size, void *user);
  void (*free_fn)(void *ptr, void *user);
  void *user;
} tinker_allocator_t;

#ifdef __cplusplus
}
#endif

#endif
