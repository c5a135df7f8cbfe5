/* body: reads the JSON bodies of requests as messages of wire, and makes the
 * digest of their meaning. Pure, except that a bad body is answered. */
#ifndef TINKER_SERVICE_BODY_H
#define TINKER_SERVICE_BODY_H

#include "base/digest.h"
#include "service/http/http.h"
#include "wire/messages.h"

/* True when the Content-Type of the body is not protobuf; else r is answered
 * with 415. */
bool tinker__svc_body_is_json(tinker__svc_req_t *r);
/* Reads the body of r as `message` into out. The strings of out live in the
 * arena, which is initialised here and which the caller frees after a success.
 * 0, or the code, and r is answered with 422 (503 without memory, 415 for
 * protobuf). */
int tinker__svc_body_read(tinker__svc_req_t *r, tinker__arena_t *arena,
                          const tinker__bind_table_t *message, void *out);

/* Digest of the meaning of a JSON text: neither the order of object keys nor
 * white space changes it. The top-level key `except` (may be NULL) is left out.
 */
int tinker__svc_body_digest(tinker__mem_t *mem, tinker__str_t text,
                            const char *except,
                            unsigned char out[TINKER__SHA256_LEN]);
/* Makes that digest and counts in *read the bytes that were read for it: at
 * most twice the length of the text, however deep the text is. */
int tinker__svc_body_digest_read(tinker__mem_t *mem, tinker__str_t text,
                                 const char *except,
                                 unsigned char out[TINKER__SHA256_LEN],
                                 size_t *read);

#endif
