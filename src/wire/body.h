/* body: a request body that is encoded before its number is known.
 *
 * The encoder leaves a gap at the head. When the operation leaves its
 * trainer's queue the owner's id and the number are written into the gap, right
 * against what follows, and every re-send is the same bytes.
 *
 * It is a list of pieces (base/pieces.h). Those that the encoder wrote are in
 * one block of the body. Large arrays that are blocks with a count of users
 * stay where they are: the body is one more user of them. Token ids of JSON
 * are kept as numbers. */
#ifndef TINKER_WIRE_BODY_H
#define TINKER_WIRE_BODY_H

#include "base/buf.h"
#include "base/pieces.h"
#include "base/shared.h"

typedef enum {
  TINKER__BODY_PROTO, /* ForwardBackwardRequest: fields 1 and 2 */
  TINKER__BODY_MODEL, /* {"model_id":"...","seq_id":N, */
  TINKER__BODY_SAMPLE /* {"sampling_session_id":"...","seq_id":N, */
} tinker__body_kind_t;

typedef struct tinker__wire_body_s {
  tinker__mem_t *mem;
  char *block;           /* owned; the first piece is its start */
  size_t first;          /* bytes of the first piece, with the gap */
  size_t gap;            /* bytes at its head for the stamp */
  size_t start;          /* where the body starts once stamped, else == gap */
  tinker__piece_t *list; /* owned; NULL = there is no other piece */
  void **held;           /* owned; per piece, NULL = it is in the block */
  size_t count;
  size_t rest; /* bytes of the pieces after the first one */
  tinker__body_kind_t kind;
  bool stamped;
  uint64_t estimate; /* bytes by protocol 6.4 or 10.1, for the quotas */
} tinker__wire_body_t;

void tinker__wire_body_init(tinker__wire_body_t *b, tinker__mem_t *mem);
void tinker__wire_body_free(tinker__wire_body_t *b);
/* Takes a copy of bytes that have a number already. 0 or TINKER_ENOMEM. */
int tinker__wire_body_given(tinker__wire_body_t *b, tinker__str_t bytes);
/* Writes id and number into the gap. May be done again with other values, as
 * long as nothing was sent. 0, TINKER_EINVAL (id not UTF-8, number below 0), or
 * TINKER_EOVERFLOW when the id is longer than the one that the body was encoded
 * for, or the number does not fit the protocol's int32; then the body has no
 * stamp. Takes no memory. */
int tinker__wire_body_stamp(tinker__wire_body_t *b, tinker__str_t id,
                            int64_t seq_id);
/* The bytes to send, only after the stamp: as one piece, or in pieces, and then
 * the other has count 0 or ptr NULL. len is that of all in either case. */
tinker__str_t tinker__wire_body_str(const tinker__wire_body_t *b);
tinker__pieces_t tinker__wire_body_pieces(const tinker__wire_body_t *b);
/* Always in pieces: *whole becomes the piece of a body that is whole. */
tinker__pieces_t tinker__wire_body_all(const tinker__wire_body_t *b,
                                       tinker__piece_t *whole);
/* Appends the bytes to send. */
int tinker__wire_body_copy(const tinker__wire_body_t *b, tinker__buf_t *out);
/* Their SHA-256: 0 or TINKER_ENOMEM. */
int tinker__wire_body_sha256(const tinker__wire_body_t *b,
                             unsigned char out[TINKER__SHA256_LEN]);

#endif
