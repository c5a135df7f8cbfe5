/* body: see body.h. */
#include "service/parse/body.h"

#include <tinker/error.h>

bool tinker__svc_body_is_json(tinker__svc_req_t *r) {
  if (!r->body_proto) return true;
  tinker__svc_reply_error(r, 415,
                          "Content-Type application/x-protobuf is for "
                          "forward_backward only: this body is JSON");
  return false;
}

int tinker__svc_body_read(tinker__svc_req_t *r, tinker__arena_t *arena,
                          const tinker__bind_table_t *message, void *out) {
  char why[300];
  if (!tinker__svc_body_is_json(r)) return TINKER_EINVAL;
  tinker__arena_init(arena, r->service->mem);
  int rc = tinker__message_decode(message, out, arena,
                                  tinker__buf_str(&r->body), why, sizeof why);
  if (rc == 0) return 0;
  tinker__arena_free(arena);
  tinker__svc_reply_why(r, rc, 422, why);
  return rc;
}
