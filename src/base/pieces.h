/* pieces: a body whose bytes lie in several places, and are put together as
 * they are read: by whoever sends them, or makes a digest of them. A piece is
 * bytes, or token ids that are read as JSON numbers with commas between them.
 * Several readers may read at a time. */
#ifndef TINKER_BASE_PIECES_H
#define TINKER_BASE_PIECES_H

#include "base/digest.h"
#include "base/ids.h"

typedef struct tinker__piece_s {
  const void *data;
  size_t count; /* bytes, or ids (int32_t) */
  bool ids;
} tinker__piece_t;

typedef struct tinker__pieces_s {
  const tinker__piece_t *list;
  size_t count;
  size_t len; /* bytes as they are read */
} tinker__pieces_t;

/* The place of a reader. All zero = at the start. */
typedef struct tinker__place_s {
  size_t piece;
  size_t at; /* bytes or ids of the piece that are read */
  unsigned char held, given;
  char text[TINKER__ID_MAX + TINKER__IDS_SLACK]; /* an id that was cut */
} tinker__place_t;

/* Bytes that a piece is read as. */
size_t tinker__piece_len(const tinker__piece_t *piece);
/* Reads on: `room` bytes, fewer only at the end. */
size_t tinker__pieces_read(const tinker__pieces_t *pieces,
                           tinker__place_t *place, char *to, size_t room);
/* Appends all of it. The room for that is some bytes more than its length. */
int tinker__pieces_copy(const tinker__pieces_t *pieces, tinker__buf_t *out);
/* Its SHA-256; 0 or TINKER_ENOMEM. */
int tinker__pieces_sha256(const tinker__pieces_t *pieces, tinker__mem_t *mem,
                          unsigned char out[TINKER__SHA256_LEN]);

#endif
