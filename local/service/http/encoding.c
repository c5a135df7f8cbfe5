/* encoding: compressed request bodies. A compressed body is replaced by its
 * content, so that readers, the log and a repeated handler see plain JSON or
 * protobuf. HTTP thread or a worker. */
#include <tinker/error.h>

#include "service/http/http.h"
#include "wire/zstd.h"

static int unpack(tinker__svc_req_t *r, char *why, size_t why_len) {
  tinker__buf_t plain, *body = &r->body;
  tinker__str_t packed = tinker__buf_str(body);
  size_t len;
  int rc = tinker__zstd_length(packed, body->max, &len, why, why_len);
  if (rc != 0) return rc;
  size_t most = atomic_load(&r->service->max_bodies);
  if (packed.len > most || len > most - packed.len) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "the body has %zu bytes, and %zu unpacked: there is "
                       "memory for %zu together (--max-memory)",
                       packed.len, len, most);
  }
  if (!tinker__svc_body_hold(r, packed.len + len)) return TINKER_EBUSY;
  tinker__buf_init(&plain, body->mem, body->max);
  rc = tinker__buf_reserve(&plain, len ? len : 1);
  if (rc == 0) { /* even for length 0, which the frame may state wrongly */
    rc = tinker__zstd_unpack(packed, plain.data, len, why, why_len);
  }
  if (rc != 0) {
    tinker__buf_free(&plain);
    return rc;
  }
  plain.len = len;
  tinker__buf_free(body);
  *body = plain;
  return 0;
}

bool tinker__svc_req_packed(tinker__svc_req_t *r) {
  tinker__str_t encoding = tinker__svc_req_header(r, "Content-Encoding");
  if (!encoding.len) return true;
  r->packed =
      tinker__str_ieq(encoding, TINKER__STR("zstd")) && r->route->packed;
  if (!r->packed) {
    tinker__svc_reply_error(
        r, 415,
        "Content-Encoding '%.*s' is not supported: zstd is, "
        "for forward_backward",
        (int)(encoding.len < 40 ? encoding.len : 40), encoding.ptr);
  }
  return r->packed;
}

bool tinker__svc_req_unpack(tinker__svc_req_t *r) {
  char why[200];
  if (!r->packed) return true;
  r->packed = false;
  int rc = unpack(r, why, sizeof why);
  if (rc == 0) return true;
  if (rc == TINKER_EBUSY) {
    tinker__svc_reply_crowded(r);
  } else {
    tinker__svc_reply_why(r, rc, rc == TINKER_EOVERFLOW ? 413 : 400, why);
  }
  return false;
}
