/* rest_checkpoint: the calls that delete or publish a checkpoint or give it
 * another time to live (protocol 2.6). They find the checkpoint and check that
 * the change is allowed; calls/checkpoint_change.c stores it. HTTP thread. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"
#include "wire/path.h"

/* --- Finding and changing ------------------------------------------------- */

/* The checkpoint that r's path names by run, kind and name; NULL = r is
 * answered. Under the lock. */
static tinker__svc_checkpoint_t *find(tinker__svc_t *s, tinker__svc_req_t *r) {
  char path[700], why[300];
  tinker__svc_checkpoint_t *c = NULL;
  const tinker__str_t *part = r->capture;
  size_t len = part[0].len + part[1].len + part[2].len;
  if (tinker__svc_ends(s)) {
    tinker__svc_reply_error(r, 503, "the service is shutting down");
    return NULL;
  }
  if (len > sizeof path - 20) {
    tinker__svc_reply_error(r, 404, "checkpoint not found: the id is too long");
    return NULL;
  }
  snprintf(path, sizeof path, TINKER__PATH_PREFIX "%.*s/%.*s/%.*s",
           (int)part[0].len, part[0].ptr, (int)part[1].len, part[1].ptr,
           (int)part[2].len, part[2].ptr);
  int rc =
      tinker__svc_checkpoint_lookup(s, tinker__str(path), &c, why, sizeof why);
  if (rc == 0) return c;
  tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
  return NULL;
}

static tinker__svc_handled_t change(tinker__svc_t *s, tinker__svc_req_t *r,
                                    tinker__svc_ckpt_change_t kind,
                                    int64_t expires_ms) {
  tinker__svc_handled_t h = TINKER__ANSWERED;
  tinker__svc_lock(s);
  tinker__svc_checkpoint_t *c = find(s, r);
  if (c &&
      (kind == TINKER__CKPT_PUBLISHED || kind == TINKER__CKPT_UNPUBLISHED) &&
      c->published == (kind == TINKER__CKPT_PUBLISHED)) {
    tinker__svc_reply_error(r, 409, "the checkpoint is already %s",
                            c->published ? "public" : "private");
  } else if (c && tinker__svc_checkpoint_change(s, r, c, kind, expires_ms)) {
    h = TINKER__PARKED;
  } else if (c) {
    tinker__svc_reply_error(r, 503, "out of memory");
  }
  tinker__svc_unlock(s);
  return h;
}

tinker__svc_handled_t
tinker__svc_handle_delete_checkpoint(tinker__svc_t *s, tinker__svc_req_t *r) {
  return change(s, r, TINKER__CKPT_DELETED, 0);
}

tinker__svc_handled_t tinker__svc_handle_publish(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  return change(s, r, TINKER__CKPT_PUBLISHED, 0);
}

tinker__svc_handled_t tinker__svc_handle_unpublish(tinker__svc_t *s,
                                                   tinker__svc_req_t *r) {
  return change(s, r, TINKER__CKPT_UNPUBLISHED, 0);
}

/* --- ttl ------------------------------------------------------------------ */

tinker__svc_handled_t tinker__svc_handle_set_ttl(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  char why[200];
  tinker__arena_t a;
  tinker__set_ttl_t m;
  int64_t expires = 0;
  if (tinker__svc_body_read(r, &a, &tinker__set_ttl_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__arena_free(&a);
  if (tinker__svc_check_ttl(m.ttl_seconds, m.has_ttl_seconds, why,
                            sizeof why) != 0) {
    return tinker__svc_reply_error(r, 400, "%s", why);
  }
  if (m.has_ttl_seconds) {
    expires = s->world->wall_ms(s->world->user) + m.ttl_seconds * 1000;
  }
  return change(s, r, TINKER__CKPT_EXPIRES, expires);
}
