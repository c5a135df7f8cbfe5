/* zstd: a body in one zstd frame that says how long its content is. Pure. */
#ifndef TINKER_WIRE_ZSTD_H
#define TINKER_WIRE_ZSTD_H

#include "base/str.h"

/* Length of the content. Nothing is decompressed, and no more than max will
 * be: 0, TINKER_EOVERFLOW (it says it is longer than max), or TINKER_EPROTO
 * (no zstd, no content size, cut off, something after the frame) with a
 * sentence in why. */
int tinker__zstd_length(tinker__str_t body, size_t max, size_t *len, char *why,
                        size_t why_len);
/* Decompresses into out, which has room for exactly the length above. 0 or
 * TINKER_EPROTO. */
int tinker__zstd_unpack(tinker__str_t body, char *out, size_t len, char *why,
                        size_t why_len);

#endif
