/* body: a request body that is encoded before its number is known.
 *
 * The encoder leaves a gap at the head. When the operation leaves its
 * trainer's queue the owner's id and the number are written into the gap, right
 * against what follows: one contiguous buffer, no second copy of the tensors,
 * and every re-send is the same bytes. */
#ifndef TINKER_WIRE_BODY_H
#define TINKER_WIRE_BODY_H

#include "base/buf.h"

typedef enum {
  TINKER__BODY_PROTO, /* ForwardBackwardRequest: fields 1 and 2 */
  TINKER__BODY_MODEL, /* {"model_id":"...","seq_id":N, */
  TINKER__BODY_SAMPLE /* {"sampling_session_id":"...","seq_id":N, */
} tinker__body_kind_t;

typedef struct tinker__wire_body_s {
  tinker__mem_t *mem;
  char *block;  /* owned */
  size_t len;   /* of the block */
  size_t gap;   /* bytes at its head for the stamp */
  size_t start; /* where the body starts once stamped, else == gap */
  tinker__body_kind_t kind;
  bool stamped;
  uint64_t estimate; /* bytes by protocol 6.4 or 10.1, for the quotas */
} tinker__wire_body_t;

void tinker__wire_body_init(tinker__wire_body_t *b, tinker__mem_t *mem);
void tinker__wire_body_free(tinker__wire_body_t *b);
/* Writes id and number into the gap. May be done again with other values, as
 * long as nothing was sent. 0, TINKER_EINVAL (id not UTF-8, number below 0), or
 * TINKER_EOVERFLOW when the id is longer than the one that the body was encoded
 * for, or the number does not fit the protocol's int32. */
int tinker__wire_body_stamp(tinker__wire_body_t *b, tinker__str_t id,
                            int64_t seq_id);
/* The bytes to send; only after the stamp. */
tinker__str_t tinker__wire_body_str(const tinker__wire_body_t *b);

/* For encoders: bytes of gap that a stamp with this id can need. */
size_t tinker__wire_body_gap(tinker__body_kind_t kind, tinker__str_t id);
/* For encoders: takes over buf, whose first `gap` bytes are the gap. buf is
 * empty afterwards, also on failure (its error is returned). */
int tinker__wire_body_take(tinker__wire_body_t *b, tinker__body_kind_t kind,
                           tinker__buf_t *buf, size_t gap);

#endif
