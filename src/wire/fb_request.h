/* fb_request: the body of forward_backward, protocol 3.3. Pure functions on
 * borrowed input: the client encodes on the caller's thread, the service
 * decodes on its HTTP threads. */
#ifndef TINKER_WIRE_FB_REQUEST_H
#define TINKER_WIRE_FB_REQUEST_H

#include "base/digest.h"
#include "wire/body.h"
#include "wire/json_bind.h"
#include "wire/types.h"

/* Encodes everything but model_id and seq_id; view->model_id only says how much
 * room the stamp needs. Map entries are sorted, so equal views give equal
 * bytes. 0, TINKER_ENOMEM, TINKER_EOVERFLOW (a message of 2 GiB or more) or
 * TINKER_EINVAL: the view is malformed (a name twice, a shape that does not fit
 * the data, a name that is not UTF-8), and `why` says where. */
int tinker__fb_request_encode(tinker__wire_body_t *out, tinker__mem_t *mem,
                              const tinker__fb_view_t *view, char *why,
                              size_t why_len);

/* Estimated bytes of one datum, protocol 6.4. */
uint64_t tinker__datum_estimate(const tinker__datum_view_t *datum);

/* The inputs that a JSON body has and that are not null. */
enum { TINKER__FB_HAS_BACKWARD = 1, TINKER__FB_HAS_FORWARD = 2 };

typedef struct tinker__fb_request_s {
  tinker__fb_view_t view; /* everything dense; absent CSR cells are 0 */
  /* Model and number are in view, borrowed from the arena. head says whether
   * they are set, which they may be even if the rest is refused. */
  tinker__bind_head_t head;
  bool has_model_id, has_seq_id;
  unsigned inputs; /* set unless head is TINKER__HEAD_UNREAD */
  /* Digest of the decoded message with maps sorted, so that equal requests have
   * equal digests whatever their bytes are. model_id and seq_id are included.
   */
  unsigned char digest[TINKER__SHA256_LEN];
} tinker__fb_request_t;

typedef enum {
  TINKER__FB_PROTO,      /* ForwardBackwardRequest */
  TINKER__FB_PROTO_ZSTD, /* the same in one zstd frame */
  TINKER__FB_JSON        /* the retired form, protocol 17.4 */
} tinker__fb_format_t;

/* Decodes into the arena, which has to live as long as *out. max_bytes: cap of
 * the decompressed body. A JSON body without forward_only takes it from the
 * argument (the path says it). Checks: caps, types, that data and shapes agree,
 * offsets of CSR, UTF-8 of names. Not checked: what a loss needs, token ids.
 * 0, TINKER_ENOMEM, TINKER_EOVERFLOW (over a cap), or TINKER_EPROTO /
 * TINKER_EJSON / TINKER_EINVAL with a sentence in `why` that names the field:
 * "data[3].loss_fn_inputs.target_tokens: ...". */
int tinker__fb_request_decode(tinker__fb_request_t *out, tinker__arena_t *arena,
                              tinker__str_t body, tinker__fb_format_t format,
                              bool forward_only, size_t max_bytes, char *why,
                              size_t why_len);

#endif
