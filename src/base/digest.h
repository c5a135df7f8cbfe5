/* digest: SHA-256 (OpenSSL), hexadecimal and base64. */
#ifndef TINKER_BASE_DIGEST_H
#define TINKER_BASE_DIGEST_H

#include "base/buf.h"

#define TINKER__SHA256_LEN 32
#define TINKER__UUID_BYTES 16

typedef struct tinker__sha256_s tinker__sha256_t;

int tinker__sha256_new(tinker__sha256_t **out, tinker__mem_t *mem);
int tinker__sha256_add(tinker__sha256_t *h, const void *data, size_t len);
/* The hash of what was added; then it is as new. */
int tinker__sha256_take(tinker__sha256_t *h,
                        unsigned char out[TINKER__SHA256_LEN]);
/* NULL allowed. */
void tinker__sha256_free(tinker__sha256_t *h);
/* Ends and frees it, whatever it returns (0 or TINKER_ENOMEM). */
int tinker__sha256_end(tinker__sha256_t *h,
                       unsigned char out[TINKER__SHA256_LEN]);
/* One shot. */
int tinker__sha256(const void *data, size_t len,
                   unsigned char out[TINKER__SHA256_LEN]);
/* out gets 2 * len characters and a NUL. */
void tinker__hex(const void *data, size_t len, char *out);
/* Standard alphabet with padding; strict on reading (TINKER_EINVAL). */
int tinker__base64_encode(tinker__buf_t *out, const void *data, size_t len);
int tinker__base64_decode(tinker__buf_t *out, tinker__str_t text);
/* Constant-time comparison of secrets: true when equal. */
bool tinker__secret_eq(tinker__str_t a, tinker__str_t b);
/* Random UUID (version 4) in its 36-character form and a NUL. */
struct tinker__world_s;
int tinker__uuid4(const struct tinker__world_s *w, char out[37]);
/* The same of random bytes that are there. */
void tinker__uuid4_of(const unsigned char random[TINKER__UUID_BYTES],
                      char out[37]);

#endif
