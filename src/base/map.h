/* map: hash map from byte strings to pointers. Keys are copied, values are
 * borrowed. Open addressing, at most 3/4 full, seeded hash (SipHash-2-4 or
 * better) so that outside keys can't force collisions. Not thread-safe. */
#ifndef TINKER_BASE_MAP_H
#define TINKER_BASE_MAP_H

#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__map_s tinker__map_t;

int tinker__map_new(tinker__map_t **out, tinker__mem_t *mem);
void tinker__map_free(tinker__map_t *m); /* NULL allowed */
size_t tinker__map_len(const tinker__map_t *m);
/* NULL when absent. */
void *tinker__map_get(const tinker__map_t *m, tinker__str_t key);
/* value must not be NULL. Replaces; *old (may be NULL) gets what was there.
 * Returns 0 or TINKER_ENOMEM, then nothing changed. */
int tinker__map_put(tinker__map_t *m, tinker__str_t key, void *value,
                    void **old);
/* Returns the value that was there, NULL if none. */
void *tinker__map_remove(tinker__map_t *m, tinker__str_t key);
/* Walk: *cursor starts at 0; returns false at the end. The map must not grow
 * during a walk; removing keys is allowed. */
bool tinker__map_next(const tinker__map_t *m, size_t *cursor,
                      tinker__str_t *key, void **value);

/* SipHash-2-4, what the map hashes with. */
uint64_t tinker__siphash(uint64_t k0, uint64_t k1, const void *data,
                         size_t len);

#endif
