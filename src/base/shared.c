/* shared: see shared.h. */
#include "base/shared.h"

#include <string.h>

tinker__shared_t *tinker__shared_new(const tinker_allocator_t *allocator,
                                     size_t size) {
  tinker__mem_t mem;
  if (size > PTRDIFF_MAX - sizeof(tinker__shared_t)) return NULL;
  tinker__mem_init(&mem, allocator, 0);
  tinker__shared_t *s = tinker__mem_alloc(&mem, sizeof(*s) + size);
  if (!s) return NULL;
  tinker__ref_init(&s->ref);
  tinker__mem_init(&s->mem, allocator, 0);
  s->size = size;
  return s;
}

tinker__shared_t *tinker__shared_retain(tinker__shared_t *s) {
  tinker__ref_retain(&s->ref);
  return s;
}

void tinker__shared_release(tinker__shared_t *s) {
  tinker__mem_t mem;
  if (!s || !tinker__ref_release(&s->ref)) return;
  tinker__mem_init(&mem, &s->mem.alloc, 0); /* s->mem goes with the block */
  tinker__mem_free(&mem, s);
}

/* The only user is the caller, and nobody can become one meanwhile. */
static tinker__shared_t *resize_own(tinker__shared_t *s, size_t size) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, &s->mem.alloc, 0);
  s = tinker__mem_realloc(&mem, s, sizeof(*s) + size);
  if (s) s->size = size;
  return s;
}

tinker__shared_t *tinker__shared_resize(tinker__shared_t *s, size_t size) {
  if (size > PTRDIFF_MAX - sizeof(tinker__shared_t)) return NULL;
  if (atomic_load_explicit(&s->ref.n, memory_order_acquire) == 1) {
    return resize_own(s, size);
  }
  tinker__shared_t *fresh = tinker__shared_new(&s->mem.alloc, size);
  if (!fresh) return NULL;
  memcpy(fresh->data, s->data, size < s->size ? size : s->size);
  tinker__shared_release(s);
  return fresh;
}
