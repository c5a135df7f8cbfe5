/* arena: see arena.h. Small blocks double from the first to the largest, since
 * most messages are short. */
#include "base/arena.h"

#include <stddef.h>
#include <string.h>
#include <tinker/error.h>

#define FIRST_BLOCK 512
#define LARGEST_BLOCK 4096
#define ALIGN sizeof(max_align_t)

typedef union tinker__arena_block_u {
  union tinker__arena_block_u *next;
  max_align_t align;
} tinker__arena_block_t;

void tinker__arena_init(tinker__arena_t *a, tinker__mem_t *mem) {
  *a = (tinker__arena_t){.mem = mem};
}

typedef struct tinker__adopted_s {
  struct tinker__adopted_s *next;
  void *block;
} tinker__adopted_t;

void tinker__arena_free(tinker__arena_t *a) {
  for (tinker__adopted_t *n = a->adopted; n; n = n->next) {
    tinker__mem_free(a->mem, n->block);
  }
  tinker__arena_block_t *b = a->blocks;
  while (b) {
    tinker__arena_block_t *next = b->next;
    tinker__mem_free(a->mem, b);
    b = next;
  }
  tinker__arena_init(a, a->mem);
}

void tinker__arena_allow(tinker__arena_t *a, size_t more) {
  a->limit = more < SIZE_MAX - a->used ? a->used + more : SIZE_MAX;
}

void tinker__arena_allow_all(tinker__arena_t *a) {
  a->limit = 0;
}

int tinker__arena_error(const tinker__arena_t *a) {
  return a->over ? TINKER_EOVERFLOW : TINKER_ENOMEM;
}

const char *tinker__arena_trouble(const tinker__arena_t *a) {
  return a->over ? "it takes more memory than a message of its size may"
                 : "no memory for it";
}

static void *fail(tinker__arena_t *a, bool over) {
  a->failed++;
  a->over |= over;
  return NULL;
}

static void *new_block(tinker__arena_t *a, size_t size) {
  if (size > PTRDIFF_MAX - sizeof(tinker__arena_block_t)) return fail(a, true);
  if (a->limit && (a->used > a->limit || size > a->limit - a->used)) {
    return fail(a, true);
  }
  tinker__arena_block_t *b = tinker__mem_alloc(a->mem, sizeof(*b) + size);
  if (!b) return fail(a, false);
  b->next = a->blocks;
  a->blocks = b;
  a->used += size;
  return b + 1;
}

/* Another small block, with room for that size. */
static bool add_small(tinker__arena_t *a, size_t size) {
  size_t room = a->next ? a->next : FIRST_BLOCK;
  while (room < size) room *= 2;
  char *fresh = new_block(a, room);
  if (!fresh) return false;
  a->at = fresh;
  a->left = room;
  a->next = room < LARGEST_BLOCK ? 2 * room : room;
  return true;
}

void *tinker__arena_alloc(tinker__arena_t *a, size_t size) {
  if (size > SIZE_MAX - ALIGN) return fail(a, true);
  size = size ? (size + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
  if (size > LARGEST_BLOCK / 4) { /* a block of its own */
    return new_block(a, size);
  }
  if (size > a->left && !add_small(a, size)) return NULL;
  void *p = a->at;
  a->at += size;
  a->left -= size;
  return p;
}

void *tinker__arena_array(tinker__arena_t *a, size_t count, size_t size) {
  if (size && count > SIZE_MAX / size) return NULL;
  void *p = tinker__arena_alloc(a, count * size);
  return p ? memset(p, 0, count * size) : NULL;
}

bool tinker__arena_adopt(tinker__arena_t *a, void *block) {
  if (!block) return true;
  tinker__adopted_t *n = tinker__arena_alloc(a, sizeof(*n));
  if (!n) {
    tinker__mem_free(a->mem, block);
    return false;
  }
  *n = (tinker__adopted_t){a->adopted, block};
  a->adopted = n;
  return true;
}

char *tinker__arena_str(tinker__arena_t *a, tinker__str_t s) {
  char *p = s.len < SIZE_MAX ? tinker__arena_alloc(a, s.len + 1) : NULL;
  if (!p) return NULL;
  if (s.len) memcpy(p, s.ptr, s.len);
  p[s.len] = 0;
  return p;
}

void *tinker__arena_grow(tinker__arena_t *a, void *items, size_t count,
                         size_t *cap, size_t size) {
  if (count < *cap) return items;
  size_t wider = *cap ? *cap * 2 : 4;
  void *p =
      wider <= SIZE_MAX / size ? tinker__arena_alloc(a, wider * size) : NULL;
  if (!p) return NULL;
  if (count) memcpy(p, items, count * size);
  *cap = wider;
  return p;
}
