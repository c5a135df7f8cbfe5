/* pieces: see pieces.h. */
#include "base/pieces.h"

#include <string.h>
#include <tinker/error.h>

size_t tinker__piece_len(const tinker__piece_t *piece) {
  if (!piece->ids || !piece->count) return piece->count;
  return tinker__ids_length(piece->data, piece->count) - 1;
}

/* The rest of an id that did not fit whole. */
static size_t read_held(tinker__place_t *p, char *to, size_t room) {
  size_t n = (size_t)(p->held - p->given);
  if (n > room) n = room;
  memcpy(to, p->text + p->given, n);
  p->given = (unsigned char)(p->given + n);
  return n;
}

static size_t read_bytes(const tinker__piece_t *piece, tinker__place_t *p,
                         char *to, size_t room) {
  size_t n = piece->count - p->at;
  if (n > room) n = room;
  memcpy(to, (const char *)piece->data + p->at, n);
  p->at += n;
  return n;
}

/* The next n ids of a piece; no comma follows its last one. */
static size_t put(const tinker__piece_t *piece, tinker__place_t *p, char *to,
                  size_t n) {
  const int32_t *ids = piece->data;
  char *end = tinker__put_ids(to, ids + p->at, n);
  p->at += n;
  return (size_t)(end - to) - (p->at == piece->count);
}

static size_t read_ids(const tinker__piece_t *piece, tinker__place_t *p,
                       char *to, size_t room) {
  size_t left = piece->count - p->at, n = 0;
  if (room > TINKER__IDS_SLACK) n = (room - TINKER__IDS_SLACK) / TINKER__ID_MAX;
  if (n) return put(piece, p, to, n < left ? n : left);
  p->given = 0;
  p->held = (unsigned char)put(piece, p, p->text, 1);
  return read_held(p, to, room);
}

size_t tinker__pieces_read(const tinker__pieces_t *pieces,
                           tinker__place_t *place, char *to, size_t room) {
  size_t done = read_held(place, to, room);
  while (done < room && place->piece < pieces->count) {
    const tinker__piece_t *piece = &pieces->list[place->piece];
    if (place->at == piece->count) {
      place->piece++;
      place->at = 0;
    } else if (piece->ids) {
      done += read_ids(piece, place, to + done, room - done);
    } else {
      done += read_bytes(piece, place, to + done, room - done);
    }
  }
  return done;
}

static size_t read_whole(const tinker__piece_t *piece, char *to) {
  tinker__place_t place = {0};
  if (!piece->count) return 0;
  if (piece->ids) return put(piece, &place, to, piece->count);
  return read_bytes(piece, &place, to, piece->count);
}

/* With room for the comma after the last id, and for what is overwritten behind
 * it, the ids of a piece are written in one go. */
int tinker__pieces_copy(const tinker__pieces_t *pieces, tinker__buf_t *out) {
  int rc = tinker__buf_reserve(out, pieces->len + 1 + TINKER__IDS_SLACK);
  if (rc) return rc;
  for (size_t i = 0; i < pieces->count; i++) {
    out->len += read_whole(&pieces->list[i], out->data + out->len);
  }
  return 0;
}

int tinker__pieces_sha256(const tinker__pieces_t *pieces, tinker__mem_t *mem,
                          unsigned char out[TINKER__SHA256_LEN]) {
  tinker__sha256_t *sha;
  tinker__place_t place = {0};
  char some[4096];
  size_t n;
  int rc = tinker__sha256_new(&sha, mem), end;
  if (rc) return rc;
  while ((n = tinker__pieces_read(pieces, &place, some, sizeof some)) > 0) {
    if (tinker__sha256_add(sha, some, n)) rc = TINKER_ENOMEM;
  }
  end = tinker__sha256_end(sha, out);
  return rc ? rc : end;
}
