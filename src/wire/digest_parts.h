/* digest_parts: a SHA-256 over the parts of a decoded message. Inside wire
 * only. A failure sticks until the end. */
#ifndef TINKER_WIRE_DIGEST_PARTS_H
#define TINKER_WIRE_DIGEST_PARTS_H

#include "base/digest.h"
#include "wire/types.h"

typedef struct tinker__parts_s {
  tinker__sha256_t *sha;
  int rc;
} tinker__parts_t;

void tinker__parts_init(tinker__parts_t *p, tinker__mem_t *mem);
int tinker__parts_end(tinker__parts_t *p,
                      unsigned char out[TINKER__SHA256_LEN]);
void tinker__parts_bytes(tinker__parts_t *p, const void *data, size_t len);
void tinker__parts_str(tinker__parts_t *p, tinker__str_t s);
void tinker__parts_u64(tinker__parts_t *p, uint64_t v);
void tinker__parts_f64(tinker__parts_t *p, double v);
void tinker__parts_tensor(tinker__parts_t *p, const tinker__tensor_view_t *t);
void tinker__parts_chunks(tinker__parts_t *p, const tinker__chunk_view_t *c,
                          size_t n);

#endif
