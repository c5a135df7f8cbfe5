/* map: see map.h. Linear probing; a removed key leaves a tombstone (so that
 * a walk may remove), which goes when the table is rebuilt. SipHash-2-4 with a
 * key drawn per map. */
#include "base/map.h"

#include <tinker/error.h>

#include "base/world.h"

typedef struct slot_s {
  char *key; /* NULL: free, or a tombstone when `dead` */
  bool dead;
  size_t len;
  uint64_t hash;
  void *value;
} slot_t;

struct tinker__map_s {
  tinker__mem_t *mem;
  uint64_t k0, k1;
  size_t len;
  size_t used; /* keys and tombstones */
  size_t mask; /* slots - 1, slots a power of two */
  slot_t *slots;
};

static uint64_t rotl(uint64_t x, int b) {
  return (x << b) | (x >> (64 - b));
}

static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = rotl(v[1], 13) ^ v[0];
  v[0] = rotl(v[0], 32);
  v[2] += v[3];
  v[3] = rotl(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = rotl(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = rotl(v[1], 17) ^ v[2];
  v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t m) {
  v[3] ^= m;
  sip_round(v);
  sip_round(v);
  v[0] ^= m;
}

uint64_t tinker__siphash(uint64_t k0, uint64_t k1, const void *data,
                         size_t len) {
  const unsigned char *p = data;
  uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
                   k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
  size_t left = len;
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t m = 0;
    for (int i = 0; i < 8; i++) m |= (uint64_t)p[i] << (8 * i);
    sip_word(v, m);
  }
  uint64_t last = (uint64_t)(len & 0xff) << 56;
  for (size_t i = 0; i < left; i++) last |= (uint64_t)p[i] << (8 * i);
  sip_word(v, last);
  v[2] ^= 0xff;
  for (int i = 0; i < 4; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int tinker__map_new(tinker__map_t **out, tinker__mem_t *mem) {
  const tinker__world_t *w = tinker__world_real();
  uint64_t key[2];
  int rc = w->random(w->user, key, sizeof(key));
  if (rc) return rc;
  tinker__map_t *m = tinker__mem_zalloc(mem, sizeof(*m));
  if (!m) return TINKER_ENOMEM;
  m->mem = mem;
  m->k0 = key[0];
  m->k1 = key[1];
  m->mask = 7;
  m->slots = tinker__mem_array(mem, m->mask + 1, sizeof(*m->slots));
  if (!m->slots) {
    tinker__mem_free(mem, m);
    return TINKER_ENOMEM;
  }
  *out = m;
  return 0;
}

void tinker__map_free(tinker__map_t *m) {
  if (!m) return;
  for (size_t i = 0; i <= m->mask; i++) {
    tinker__mem_free(m->mem, m->slots[i].key);
  }
  tinker__mem_free(m->mem, m->slots);
  tinker__mem_free(m->mem, m);
}

size_t tinker__map_len(const tinker__map_t *m) {
  return m->len;
}

/* The key's slot, or the free one where it belongs. */
static slot_t *find(const tinker__map_t *m, tinker__str_t key, uint64_t hash) {
  size_t i = hash & m->mask;
  for (;; i = (i + 1) & m->mask) {
    slot_t *s = &m->slots[i];
    if (!s->key && !s->dead) return s;
    if (s->key && s->hash == hash &&
        tinker__str_eq((tinker__str_t){s->key, s->len}, key)) {
      return s;
    }
  }
}

static slot_t *look(const tinker__map_t *m, tinker__str_t key, uint64_t *hash) {
  *hash = tinker__siphash(m->k0, m->k1, key.ptr, key.len);
  return find(m, key, *hash);
}

void *tinker__map_get(const tinker__map_t *m, tinker__str_t key) {
  uint64_t hash;
  slot_t *s = look(m, key, &hash);
  return s->key ? s->value : NULL;
}

/* Makes room for one more key: a bigger table when keys fill half of it, else
 * one of the same size without the tombstones. */
static int rebuild(tinker__map_t *m) {
  size_t old_slots = m->mask + 1;
  size_t slots = m->len * 2 >= old_slots ? old_slots * 2 : old_slots;
  slot_t *old = m->slots;
  slot_t *fresh = tinker__mem_array(m->mem, slots, sizeof(*fresh));
  if (!fresh) return TINKER_ENOMEM;
  m->slots = fresh;
  m->mask = slots - 1;
  m->used = m->len;
  for (size_t i = 0; i < old_slots; i++) {
    if (old[i].key) {
      *find(m, (tinker__str_t){old[i].key, old[i].len}, old[i].hash) = old[i];
    }
  }
  tinker__mem_free(m->mem, old);
  return 0;
}

int tinker__map_put(tinker__map_t *m, tinker__str_t key, void *value,
                    void **old) {
  uint64_t hash;
  slot_t *s = look(m, key, &hash);
  if (old) *old = s->key ? s->value : NULL;
  if (s->key) {
    s->value = value;
    return 0;
  }
  char *copy = tinker__mem_strndup(m->mem, key.ptr, key.len);
  if (!copy) return TINKER_ENOMEM;
  if ((m->used + 1) * 4 > (m->mask + 1) * 3) {
    if (rebuild(m)) {
      tinker__mem_free(m->mem, copy);
      return TINKER_ENOMEM;
    }
    s = find(m, key, hash);
  }
  *s = (slot_t){copy, false, key.len, hash, value};
  m->len++;
  m->used++;
  return 0;
}

void *tinker__map_remove(tinker__map_t *m, tinker__str_t key) {
  uint64_t hash;
  slot_t *s = look(m, key, &hash);
  if (!s->key) return NULL;
  void *value = s->value;
  tinker__mem_free(m->mem, s->key);
  *s = (slot_t){.dead = true};
  m->len--;
  return value;
}

bool tinker__map_next(const tinker__map_t *m, size_t *cursor,
                      tinker__str_t *key, void **value) {
  while (*cursor <= m->mask) {
    const slot_t *s = &m->slots[(*cursor)++];
    if (!s->key) continue;
    *key = (tinker__str_t){s->key, s->len};
    *value = s->value;
    return true;
  }
  return false;
}
