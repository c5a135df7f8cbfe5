/* mem: see mem.h. Each block carries its size in front, so that the counters
 * stay right without help from the allocator below. Any thread.
 *
 * A kept block belongs to the slot that points to it. Whoever exchanges the
 * pointer for NULL owns the block: no lock is needed, and none has to be
 * destroyed. */
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* With the address sanitizer a kept block is as if it were freed. */
#if defined(__SANITIZE_ADDRESS__)
#define CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHECKED 1
#endif
#endif
#ifdef CHECKED
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

/* In front of the user's part, which it keeps aligned for everything. */
struct tinker__block_s {
  _Alignas(max_align_t) size_t size; /* of the user's part */
  unsigned tidied;                   /* of mem when the block was kept */
};

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
  mem->keep = NULL;
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

static void give_back(const tinker__mem_t *mem, tinker__block_t *b) {
  if (!b) return;
  ASAN_UNPOISON_MEMORY_REGION(b + 1, b->size);
  mem->alloc.free_fn(b, mem->alloc.user);
}

/* The block that lay in a slot, or NULL; the caller puts or gives it back. With
 * `fresh` the slot has that one afterwards, else none. */
static tinker__block_t *swap(tinker__keep_t *keep, unsigned slot,
                             tinker__block_t *fresh) {
  tinker__kept_t *k = &keep->slots[slot % TINKER__KEPT_BLOCKS];
  if (!fresh && !atomic_load_explicit(&k->block, memory_order_relaxed)) {
    return NULL;
  }
  tinker__block_t *b =
      atomic_exchange_explicit(&k->block, fresh, memory_order_acq_rel);
  if (b) {
    atomic_fetch_sub_explicit(&keep->bytes, b->size, memory_order_relaxed);
  }
  return b;
}

void tinker__mem_keep(tinker__mem_t *mem, tinker__keep_t *keep, size_t bytes) {
  atomic_init(&keep->most, bytes);
  atomic_init(&keep->bytes, 0);
  atomic_init(&keep->next, 0);
  atomic_init(&keep->tidied, 0);
  for (size_t i = 0; i < TINKER__KEPT_BLOCKS; i++) {
    atomic_init(&keep->slots[i].block, NULL);
    atomic_init(&keep->slots[i].size, 0);
  }
  mem->keep = keep;
}

static void trim(tinker__mem_t *mem) {
  for (unsigned i = 0; i < TINKER__KEPT_BLOCKS; i++) {
    give_back(mem, swap(mem->keep, i, NULL));
  }
}

void tinker__mem_keep_none(tinker__mem_t *mem) {
  if (!mem->keep) return;
  atomic_store_explicit(&mem->keep->most, 0, memory_order_relaxed);
  trim(mem);
}

/* Keeps a block that nobody uses. Slots are filled in turn, so that a block
 * that fits nothing has to go some time. */
static void put(tinker__mem_t *mem, tinker__block_t *b) {
  tinker__keep_t *keep = mem->keep;
  size_t all = b->size + atomic_fetch_add_explicit(&keep->bytes, b->size,
                                                   memory_order_relaxed);
  unsigned slot =
      atomic_fetch_add_explicit(&keep->next, 1, memory_order_relaxed);
  size_t most = atomic_load_explicit(&keep->most, memory_order_relaxed);
  for (unsigned i = 1; all > most && i < TINKER__KEPT_BLOCKS; i++) {
    give_back(mem, swap(keep, slot + i, NULL));
    all = atomic_load_explicit(&keep->bytes, memory_order_relaxed);
  }
  atomic_store_explicit(&keep->slots[slot % TINKER__KEPT_BLOCKS].size, b->size,
                        memory_order_relaxed);
  give_back(mem, swap(keep, slot, b));
}

void tinker__mem_tidy(tinker__mem_t *mem) {
  tinker__block_t *fresh[TINKER__KEPT_BLOCKS];
  size_t n = 0;
  if (!mem->keep) return;
  unsigned now =
      atomic_fetch_add_explicit(&mem->keep->tidied, 1, memory_order_relaxed);
  for (unsigned i = 0; i < TINKER__KEPT_BLOCKS; i++) {
    tinker__block_t *b = swap(mem->keep, i, NULL);
    if (b && b->tidied == now) {
      fresh[n++] = b;
    } else {
      give_back(mem, b);
    }
  }
  while (n > 0) put(mem, fresh[--n]);
}

static bool is_big(const tinker__mem_t *mem, size_t size) {
  return mem->keep && size >= TINKER__KEPT_MIN &&
         size <= atomic_load_explicit(&mem->keep->most, memory_order_relaxed);
}

/* A kept block is taken for a size that fills at least half of it. */
static bool fits(size_t block, size_t size) {
  return block >= size && block / 2 <= size;
}

/* The smallest kept block for the size, or NULL. */
static tinker__block_t *take_kept(tinker__mem_t *mem, size_t size) {
  unsigned best = TINKER__KEPT_BLOCKS;
  size_t least = SIZE_MAX;
  if (!is_big(mem, size)) return NULL;
  for (unsigned i = 0; i < TINKER__KEPT_BLOCKS; i++) {
    tinker__kept_t *k = &mem->keep->slots[i];
    if (!atomic_load_explicit(&k->block, memory_order_relaxed)) continue;
    size_t has = atomic_load_explicit(&k->size, memory_order_relaxed);
    if (has >= least || !fits(has, size)) continue;
    least = has;
    best = i;
  }
  tinker__block_t *b =
      best < TINKER__KEPT_BLOCKS ? swap(mem->keep, best, NULL) : NULL;
  if (b && !fits(b->size, size)) { /* another thread's block by now */
    put(mem, b);
    b = NULL;
  }
  if (b) ASAN_UNPOISON_MEMORY_REGION(b + 1, b->size);
  return b;
}

/* Books `add` more bytes; false when this try has to fail. Bytes that change
 * between live and kept are counted twice for a moment, never left out. */
static bool book(tinker__mem_t *mem, size_t add) {
  uint64_t n =
      atomic_fetch_add_explicit(&mem->count, 1, memory_order_relaxed) + 1;
  if (mem->fail_at && n == mem->fail_at) return false;
  size_t was =
      atomic_fetch_add_explicit(&mem->live_bytes, add, memory_order_relaxed);
  if (!mem->ceiling) return true;
  if (mem->keep && was + add + atomic_load(&mem->keep->bytes) > mem->ceiling) {
    trim(mem);
  }
  if (was > mem->ceiling || add > mem->ceiling - was) {
    atomic_fetch_sub_explicit(&mem->live_bytes, add, memory_order_relaxed);
    return false;
  }
  return true;
}

static void unbook(tinker__mem_t *mem, size_t bytes) {
  atomic_fetch_sub_explicit(&mem->live_bytes, bytes, memory_order_relaxed);
}

/* A block for a booked size. One that was kept may be larger, and is booked as
 * it is. */
static tinker__block_t *obtain(tinker__mem_t *mem, size_t size, bool zero) {
  size_t all = sizeof(tinker__block_t) + size;
  tinker__block_t *b = take_kept(mem, size);
  if (b) {
    atomic_fetch_add_explicit(&mem->live_bytes, b->size - size,
                              memory_order_relaxed);
    if (zero) memset(b + 1, 0, size);
    return b;
  }
  b = zero ? mem->alloc.calloc_fn(1, all, mem->alloc.user)
           : mem->alloc.malloc_fn(all, mem->alloc.user);
  if (!b) {
    unbook(mem, size);
    return NULL;
  }
  b->size = size;
  return b;
}

static void *take(tinker__mem_t *mem, size_t size, bool zero) {
  if (size > PTRDIFF_MAX - sizeof(tinker__block_t) || !book(mem, size)) {
    return NULL;
  }
  tinker__block_t *b = obtain(mem, size, zero);
  if (!b) return NULL;
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

/* Keeps a block that is not live any more, or gives it back. */
static void drop(tinker__mem_t *mem, tinker__block_t *b) {
  size_t size = b->size;
  if (is_big(mem, size)) {
    b->tidied = atomic_load_explicit(&mem->keep->tidied, memory_order_relaxed);
    ASAN_POISON_MEMORY_REGION(b + 1, size);
    put(mem, b);
  } else {
    give_back(mem, b);
  }
  unbook(mem, size);
}

/* A larger kept block with the contents of b, or NULL. `grow` bytes are booked
 * for it, and b is dropped. */
static tinker__block_t *move_to_kept(tinker__mem_t *mem, tinker__block_t *b,
                                     size_t size, size_t grow) {
  tinker__block_t *to = take_kept(mem, size);
  if (!to) return NULL;
  atomic_fetch_add_explicit(&mem->live_bytes, to->size - grow,
                            memory_order_relaxed);
  memcpy(to + 1, b + 1, b->size);
  drop(mem, b);
  return to;
}

void *tinker__mem_realloc(tinker__mem_t *mem, void *ptr, size_t size) {
  if (!ptr) return take(mem, size, false);
  tinker__block_t *b = (tinker__block_t *)ptr - 1, *to = NULL;
  size_t old = b->size;
  size_t grow = size > old ? size - old : 0;
  if (size > PTRDIFF_MAX - sizeof(*b) || !book(mem, grow)) return NULL;
  if (is_big(mem, old) && fits(old, size)) return ptr; /* was kept once */
  if (grow) to = move_to_kept(mem, b, size, grow);
  if (to) return to + 1;
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
  atomic_fetch_sub_explicit(&mem->live_blocks, 1, memory_order_relaxed);
  drop(mem, (tinker__block_t *)ptr - 1);
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
