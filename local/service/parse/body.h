/* body: the JSON bodies of requests: read as messages of wire, and the digest
 * of what they mean. Pure, but for the answer to a request. */
#ifndef TINKER_SERVICE_BODY_H
#define TINKER_SERVICE_BODY_H

#include "base/digest.h"
#include "service/http/http.h"
#include "wire/messages.h"

/* True when the body is JSON by its type; else r is answered. */
bool tinker__svc_body_is_json(tinker__svc_req_t *r);
/* Reads the body of r as this message into out. Its strings live in the arena,
 * which is initialised here and to be freed after a success; a failure is
 * answered with 422. 0 or the code. */
int tinker__svc_body_read(tinker__svc_req_t *r, tinker__arena_t *arena,
                          const tinker__bind_table_t *message, void *out);

/* Digest of what a JSON text means: object keys in sorted order, no white
 * space; the top-level key `except` (may be NULL) is left out. */
int tinker__svc_body_digest(tinker__mem_t *mem, tinker__str_t text,
                            const char *except,
                            unsigned char out[TINKER__SHA256_LEN]);
/* The same, and how many bytes of text were read for it: at most two for each,
 * however deep it is. */
int tinker__svc_body_digest_read(tinker__mem_t *mem, tinker__str_t text,
                                 const char *except,
                                 unsigned char out[TINKER__SHA256_LEN],
                                 size_t *read);

#endif
