/* body_write: how an encoder makes a body (body.h). Inside wire only. Failures
 * stick until the end. */
#ifndef TINKER_WIRE_BODY_WRITE_H
#define TINKER_WIRE_BODY_WRITE_H

#include "wire/body.h"

/* Shorter bytes are copied, whoever owns them: a piece costs as much. */
#define TINKER__BODY_SHARE_MIN 1024

typedef struct tinker__body_writer_s {
  tinker__wire_body_t *body;
  tinker__buf_t text; /* what is written goes here, behind the gap */
  size_t cut;         /* of text: where its present piece begins */
  size_t cap;         /* of the body's lists */
} tinker__body_writer_t;

/* Begins a body with the gap that a stamp with this id can need, and room for
 * about `room` bytes of text. */
void tinker__body_begin(tinker__body_writer_t *w, tinker__wire_body_t *b,
                        tinker__mem_t *mem, tinker__body_kind_t kind,
                        tinker__str_t id, size_t room);
/* The next bytes; owner as in types.h. */
void tinker__body_bytes(tinker__body_writer_t *w, const void *data, size_t len,
                        void *owner);
/* Token ids, which become a list of JSON numbers. */
void tinker__body_ids(tinker__body_writer_t *w, const int32_t *ids, size_t n,
                      void *owner);
/* 0, or the first failure: TINKER_ENOMEM, TINKER_EINVAL, TINKER_EOVERFLOW (a
 * body of 2 GiB or more). Then the body is empty. */
int tinker__body_end(tinker__body_writer_t *w);

#endif
