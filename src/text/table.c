/* table: see table.h. */
#include "text/table.h"

#include <string.h>
#include <tinker/error.h>

static uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= UINT64_C(0xd6e8feb86659fd93);
  x ^= x >> 32;
  x *= UINT64_C(0xd6e8feb86659fd93);
  return x ^ x >> 32;
}

static uint64_t hash_text(uint64_t seed, tinker__str_t text) {
  uint64_t h = seed ^ text.len;
  size_t i = 0;
  for (; i + 8 <= text.len; i += 8) {
    uint64_t word;
    memcpy(&word, text.ptr + i, 8);
    h = mix(h ^ word) + seed;
  }
  uint64_t last = 0;
  if (i < text.len) memcpy(&last, text.ptr + i, text.len - i);
  return mix(h ^ last);
}

void tinker__strings_init(tinker__strings_t *s, tinker__mem_t *mem,
                          uint64_t seed) {
  memset(s, 0, sizeof *s);
  tinker__buf_init(&s->pool, mem, UINT32_MAX - 1);
  s->seed = seed;
}

void tinker__strings_free(tinker__strings_t *s) {
  tinker__mem_t *mem = s->pool.mem;
  if (!mem) return;
  tinker__mem_free(mem, s->spans);
  tinker__mem_free(mem, s->slots);
  tinker__buf_free(&s->pool);
  s->spans = NULL;
  s->slots = NULL;
}

static tinker__str_t view(const tinker__strings_t *s, uint32_t id) {
  /* An empty pool has no block. */
  return (tinker__str_t){s->pool.data ? s->pool.data + s->spans[id].at : "",
                         s->spans[id].len};
}

/* The slot of the text, or the free one where it would go. */
static uint32_t slot_of(const tinker__strings_t *s, tinker__str_t text) {
  uint32_t i = (uint32_t)hash_text(s->seed, text) & s->mask;
  while (s->slots[i] && !tinker__str_eq(view(s, s->slots[i] - 1), text)) {
    i = (i + 1) & s->mask;
  }
  return i;
}

static int grow_slots(tinker__strings_t *s) {
  uint32_t n = s->mask ? (s->mask + 1) * 2 : 1024;
  uint32_t *old = s->slots;
  uint32_t old_n = s->mask ? s->mask + 1 : 0;
  uint32_t *slots = tinker__mem_array(s->pool.mem, n, sizeof *slots);
  if (!slots) return TINKER_ENOMEM;
  s->slots = slots;
  s->mask = n - 1;
  for (uint32_t i = 0; i < old_n; i++) {
    if (old[i]) slots[slot_of(s, view(s, old[i] - 1))] = old[i];
  }
  tinker__mem_free(s->pool.mem, old);
  return 0;
}

static int grow_spans(tinker__strings_t *s, uint32_t id) {
  if (id >= s->cap) {
    uint32_t cap = s->cap ? s->cap * 2 : 1024;
    while (cap <= id) cap *= 2;
    void *spans =
        tinker__mem_realloc(s->pool.mem, s->spans, cap * sizeof *s->spans);
    if (!spans) return TINKER_ENOMEM;
    s->spans = spans;
    s->cap = cap;
  }
  for (; s->size <= id; s->size++) s->spans[s->size].at = UINT32_MAX;
  return 0;
}

int tinker__strings_put(tinker__strings_t *s, uint32_t id, tinker__str_t text,
                        bool find) {
  if (id >= TINKER__MAX_VOCABULARY) return TINKER_EOVERFLOW;
  int rc = grow_spans(s, id);
  if (rc == 0 && s->used >= s->mask / 2) rc = grow_slots(s);
  if (rc) return rc;
  uint32_t slot = slot_of(s, text);
  if (s->spans[id].at != UINT32_MAX || (find && s->slots[slot])) {
    return TINKER_EEXIST;
  }
  uint32_t at = (uint32_t)s->pool.len;
  rc = tinker__buf_add(&s->pool, text.ptr, text.len);
  if (rc) return rc;
  s->spans[id].at = at;
  s->spans[id].len = (uint32_t)text.len;
  if (find) {
    s->slots[slot] = id + 1;
    s->used++;
  }
  return 0;
}

int32_t tinker__strings_find(const tinker__strings_t *s, tinker__str_t text) {
  return s->mask ? (int32_t)s->slots[slot_of(s, text)] - 1 : -1;
}

bool tinker__strings_get(const tinker__strings_t *s, uint32_t id,
                         tinker__str_t *text) {
  if (id >= s->size || s->spans[id].at == UINT32_MAX) return false;
  *text = view(s, id);
  return true;
}

int tinker__merges_init(tinker__merges_t *m, tinker__mem_t *mem, uint64_t seed,
                        uint32_t n) {
  uint32_t slots = 16;
  while (slots / 2 < n) slots *= 2;
  m->mem = mem;
  m->seed = seed;
  m->mask = slots - 1;
  m->slots = tinker__mem_array(mem, slots, sizeof *m->slots);
  if (!m->slots) return TINKER_ENOMEM;
  for (uint32_t i = 0; i < slots; i++) m->slots[i].id = UINT32_MAX;
  return 0;
}

void tinker__merges_free(tinker__merges_t *m) {
  if (m->mem) tinker__mem_free(m->mem, m->slots);
  m->slots = NULL;
}

static uint32_t pair_slot(const tinker__merges_t *m, uint32_t left,
                          uint32_t right) {
  uint64_t key = (uint64_t)left << 32 | right;
  uint32_t i = (uint32_t)mix(key ^ m->seed) & m->mask;
  while (m->slots[i].id != UINT32_MAX &&
         (m->slots[i].left != left || m->slots[i].right != right)) {
    i = (i + 1) & m->mask;
  }
  return i;
}

void tinker__merges_put(tinker__merges_t *m, tinker__merge_t merge) {
  m->slots[pair_slot(m, merge.left, merge.right)] = merge;
}

const tinker__merge_t *tinker__merges_find(const tinker__merges_t *m,
                                           uint32_t left, uint32_t right) {
  const tinker__merge_t *e = &m->slots[pair_slot(m, left, right)];
  return e->id == UINT32_MAX ? NULL : e;
}
