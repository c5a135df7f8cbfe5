/* body: JSON objects from outside into named fields, by a table.
 *
 * Unknown fields are ignored (newer clients send them), null counts as absent
 * (but for a number: JSON writers put null where a program has NaN or infinity,
 * which must not become the default), a wrong type or a missing field is a
 * sentence that names the field. Pure. */
#ifndef TINKER_SERVICE_BODY_H
#define TINKER_SERVICE_BODY_H

#include "base/digest.h"
#include "base/json_read.h"
#include "service/http/http.h"

typedef enum {
  TINKER__FIELD_STR,  /* tinker__str_t, without NUL bytes */
  TINKER__FIELD_I64,  /* int64_t */
  TINKER__FIELD_F64,  /* double, finite */
  TINKER__FIELD_BOOL, /* bool */
  TINKER__FIELD_RAW   /* tinker__str_t: the value's JSON text */
} tinker__svc_field_type_t;

typedef struct tinker__svc_field_s {
  const char *name;
  tinker__svc_field_type_t type;
  bool required;
  void *out;     /* untouched when absent */
  bool *present; /* may be NULL */
} tinker__svc_field_t;

typedef struct tinker__svc_body_s {
  tinker__json_t json; /* owns strings with escapes */
} tinker__svc_body_t;

/* Reads one object. prefix ("adam_params." or "") goes in front of the names
 * in errors. Views point into text or live until tinker__svc_body_done, which
 * is to be called in any case. 0 or TINKER_EINVAL, TINKER_ENOMEM. */
int tinker__svc_body_parse(tinker__svc_body_t *b, tinker__mem_t *mem,
                           tinker__str_t text, const char *prefix,
                           const tinker__svc_field_t *fields, size_t n,
                           char *why, size_t why_len);
void tinker__svc_body_done(tinker__svc_body_t *b);
/* The same for a request's body: a failure is answered with 422 and the body
 * is done already. */
int tinker__svc_body_read(tinker__svc_body_t *b, tinker__svc_req_t *r,
                          const tinker__svc_field_t *fields, size_t n);

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
