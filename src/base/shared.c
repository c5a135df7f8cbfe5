/* shared: see shared.h. */
#include "base/shared.h"

#include <string.h>

#include "base/ref.h"

/* In front of the bytes, which it keeps aligned for everything. */
typedef struct tinker__shared_s {
  _Alignas(max_align_t) tinker__ref_t ref;
  size_t size;
  void (*end)(void *user); /* of foreign bytes; NULL = they are its own */
  void *user;
  tinker_allocator_t alloc;
} tinker__shared_t;

static tinker__shared_t *of(void *block) {
  return (tinker__shared_t *)block - 1;
}

void *tinker__shared_alloc(const tinker_allocator_t *allocator, size_t size) {
  tinker__mem_t mem;
  if (size > PTRDIFF_MAX - sizeof(tinker__shared_t)) return NULL;
  tinker__mem_init(&mem, allocator, 0);
  tinker__shared_t *s = tinker__mem_alloc(&mem, sizeof(*s) + size);
  if (!s) return NULL;
  tinker__ref_init(&s->ref);
  s->size = size;
  s->end = NULL;
  s->alloc = mem.alloc;
  return s + 1;
}

void *tinker__shared_foreign(const tinker_allocator_t *allocator,
                             void (*end)(void *user), void *user) {
  void *block = tinker__shared_alloc(allocator, 0);
  if (!block) return NULL;
  of(block)->end = end;
  of(block)->user = user;
  return block;
}

void *tinker__shared_dup(const tinker_allocator_t *allocator, const void *data,
                         size_t size) {
  void *block = tinker__shared_alloc(allocator, size);
  if (block && size) memcpy(block, data, size);
  return block;
}

void *tinker__shared_retain(void *block) {
  tinker__ref_retain(&of(block)->ref);
  return block;
}

void tinker__shared_release(void *block) {
  tinker__mem_t mem;
  if (!block || !tinker__ref_release(&of(block)->ref)) return;
  if (of(block)->end) of(block)->end(of(block)->user);
  tinker__mem_init(&mem, &of(block)->alloc, 0);
  tinker__mem_free(&mem, of(block));
}

void tinker__shared_drop(void *block) {
  of(block)->end = NULL;
  tinker__shared_release(block);
}

/* The caller is the only user, and nobody can become one meanwhile. */
static void *resize_own(tinker__shared_t *s, size_t size) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, &s->alloc, 0);
  s = tinker__mem_realloc(&mem, s, sizeof(*s) + size);
  if (!s) return NULL;
  s->size = size;
  return s + 1;
}

void *tinker__shared_resize(const tinker_allocator_t *allocator, void *block,
                            size_t size) {
  if (!block) return tinker__shared_alloc(allocator, size);
  tinker__shared_t *s = of(block);
  if (size > PTRDIFF_MAX - sizeof(*s)) return NULL;
  if (atomic_load_explicit(&s->ref.n, memory_order_acquire) == 1) {
    return resize_own(s, size);
  }
  void *fresh = tinker__shared_alloc(&s->alloc, size);
  if (!fresh) return NULL;
  memcpy(fresh, block, size < s->size ? size : s->size);
  tinker__shared_release(block);
  return fresh;
}
