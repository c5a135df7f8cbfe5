/* mem: see mem.h. Each block carries its size in front, so that the counters
 * stay right without help from the allocator below. Any thread. */
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Keeps the user's part aligned for everything. */
typedef union tinker__block_u {
  size_t size;
  max_align_t align;
} tinker__block_t;

static void *libc_malloc(size_t size, void *user) {
  (void)user;
  return malloc(size);
}

static void *libc_calloc(size_t count, size_t size, void *user) {
  (void)user;
  return calloc(count, size);
}

static void *libc_realloc(void *ptr, size_t size, void *user) {
  (void)user;
  return realloc(ptr, size);
}

static void libc_free(void *ptr, void *user) {
  (void)user;
  free(ptr);
}

static const tinker_allocator_t libc_allocator = {
    libc_malloc, libc_calloc, libc_realloc, libc_free, NULL};

void tinker__mem_init(tinker__mem_t *mem, const tinker_allocator_t *allocator,
                      size_t ceiling) {
  mem->alloc = allocator ? *allocator : libc_allocator;
  mem->ceiling = ceiling;
  atomic_init(&mem->live_bytes, 0);
  atomic_init(&mem->live_blocks, 0);
  atomic_init(&mem->count, 0);
  mem->fail_at = 0;
}

static void *part_malloc(size_t size, void *parent) {
  return tinker__mem_alloc(parent, size);
}

static void *part_calloc(size_t count, size_t size, void *parent) {
  return tinker__mem_array(parent, count, size);
}

static void *part_realloc(void *ptr, size_t size, void *parent) {
  return tinker__mem_realloc(parent, ptr, size);
}

static void part_free(void *ptr, void *parent) {
  tinker__mem_free(parent, ptr);
}

tinker_allocator_t tinker__mem_allocator(tinker__mem_t *mem) {
  return (tinker_allocator_t){part_malloc, part_calloc, part_realloc, part_free,
                              mem};
}

void tinker__mem_part(tinker__mem_t *part, tinker__mem_t *parent,
                      size_t ceiling) {
  const tinker_allocator_t allocator = tinker__mem_allocator(parent);
  tinker__mem_init(part, &allocator, ceiling);
}

/* Books `add` more bytes; false when this try has to fail. */
static bool book(tinker__mem_t *mem, size_t add) {
  uint64_t n =
      atomic_fetch_add_explicit(&mem->count, 1, memory_order_relaxed) + 1;
  if (mem->fail_at && n == mem->fail_at) return false;
  size_t was =
      atomic_fetch_add_explicit(&mem->live_bytes, add, memory_order_relaxed);
  if (mem->ceiling && (was > mem->ceiling || add > mem->ceiling - was)) {
    atomic_fetch_sub_explicit(&mem->live_bytes, add, memory_order_relaxed);
    return false;
  }
  return true;
}

static void unbook(tinker__mem_t *mem, size_t bytes) {
  atomic_fetch_sub_explicit(&mem->live_bytes, bytes, memory_order_relaxed);
}

static void *take(tinker__mem_t *mem, size_t size, bool zero) {
  if (size > PTRDIFF_MAX - sizeof(tinker__block_t) || !book(mem, size)) {
    return NULL;
  }
  size_t all = sizeof(tinker__block_t) + size;
  tinker__block_t *b = zero ? mem->alloc.calloc_fn(1, all, mem->alloc.user)
                            : mem->alloc.malloc_fn(all, mem->alloc.user);
  if (!b) {
    unbook(mem, size);
    return NULL;
  }
  b->size = size;
  atomic_fetch_add_explicit(&mem->live_blocks, 1, memory_order_relaxed);
  return b + 1;
}

void *tinker__mem_alloc(tinker__mem_t *mem, size_t size) {
  return take(mem, size, false);
}

void *tinker__mem_zalloc(tinker__mem_t *mem, size_t size) {
  return take(mem, size, true);
}

void *tinker__mem_array(tinker__mem_t *mem, size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  return take(mem, count * size, true);
}

void *tinker__mem_realloc(tinker__mem_t *mem, void *ptr, size_t size) {
  if (!ptr) return take(mem, size, false);
  tinker__block_t *b = (tinker__block_t *)ptr - 1;
  size_t old = b->size;
  size_t grow = size > old ? size - old : 0;
  if (size > PTRDIFF_MAX - sizeof(*b) || !book(mem, grow)) return NULL;
  b = mem->alloc.realloc_fn(b, sizeof(*b) + size, mem->alloc.user);
  if (!b) {
    unbook(mem, grow);
    return NULL;
  }
  if (size < old) unbook(mem, old - size);
  b->size = size;
  return b + 1;
}

void tinker__mem_free(tinker__mem_t *mem, void *ptr) {
  if (!ptr) return;
  tinker__block_t *b = (tinker__block_t *)ptr - 1;
  unbook(mem, b->size);
  atomic_fetch_sub_explicit(&mem->live_blocks, 1, memory_order_relaxed);
  mem->alloc.free_fn(b, mem->alloc.user);
}

void *tinker__mem_dup(tinker__mem_t *mem, const void *ptr, size_t size) {
  void *p = tinker__mem_alloc(mem, size);
  if (p && size) memcpy(p, ptr, size);
  return p;
}

char *tinker__mem_strndup(tinker__mem_t *mem, const char *s, size_t len) {
  char *p = len < PTRDIFF_MAX ? tinker__mem_alloc(mem, len + 1) : NULL;
  if (!p) return NULL;
  if (len) memcpy(p, s, len);
  p[len] = 0;
  return p;
}

char *tinker__mem_strdup(tinker__mem_t *mem, const char *s) {
  return tinker__mem_strndup(mem, s, strlen(s));
}
