/* ids: token ids as JSON text, the hot path of sampling. Pure functions. */
#ifndef TINKER_BASE_IDS_H
#define TINKER_BASE_IDS_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that an id takes at most with its comma, and bytes behind the last
 * comma that a block of them may overwrite. */
#define TINKER__ID_MAX 12
#define TINKER__IDS_SLACK 8

/* Writes the n ids in decimal, a comma after each, and returns the end. Room:
 * n * TINKER__ID_MAX + TINKER__IDS_SLACK. Ids below 0 are written too. */
char *tinker__put_ids(char *out, const int32_t *ids, size_t n);
/* The bytes that tinker__put_ids writes for them. */
size_t tinker__ids_length(const int32_t *ids, size_t n);

#endif
