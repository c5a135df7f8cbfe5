/* operator: the calls for whoever runs the service. They are answered over
 * the Unix socket only, which nobody but its owner can open; the key would not
 * do, since all clients on TCP have it. HTTP thread, store thread for the
 * acknowledgement. */
#include <tinker/error.h>

#include "service/tinker/handlers.h"
#include "wire/bind_rows.h"

/* Called when a read of a row that does not exist is done. The store's thread
 * does its work in order, so the run's mark is durable now, or the failure to
 * store it has set `fatal`. */
static void on_marked(void *user, int rc, struct sqlite3_stmt *row) {
  tinker__svc_req_t *r = user;
  (void)row;
  if (rc != TINKER_ENOENT || atomic_load(&r->service->fatal)) {
    tinker__svc_reply_error(r, 503, "the store failed");
  }
  tinker__svc_req_resume(r);
}

static tinker__svc_handled_t mark(tinker__svc_t *s, tinker__svc_req_t *r,
                                  const char *reason) {
  if (tinker__svc_ends(s)) {
    return tinker__svc_reply_error(r, 503, "the service is shutting down");
  }
  tinker__svc_model_t *m = tinker__svc_find_run(s, r);
  if (!m) return TINKER__ANSWERED;
  if (tinker__svc_model_break(m, reason) != 0) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  tinker__svc_reply_text(r, "{}");
  if (tinker__svc_store_read_result(s->store, 0, on_marked, r) != 0) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return TINKER__PARKED;
}

typedef struct tinker__svc_mark_s {
  const char *reason;
} tinker__svc_mark_t;
static const tinker__bind_field_t mark_rows[] = {
    ROW(tinker__svc_mark_t, STR, reason, REQ)};
static const tinker__bind_table_t mark_msg =
    TABLE(mark_rows, tinker__svc_mark_t, NULL, NULL);

tinker__svc_handled_t tinker__svc_handle_mark_corrupted(tinker__svc_t *s,
                                                        tinker__svc_req_t *r) {
  char text[300];
  tinker__arena_t a;
  tinker__svc_mark_t m;
  if (!r->unix_socket) {
    return tinker__svc_reply_error(
        r, 403, "for the service's operator only, over its Unix socket");
  }
  if (tinker__svc_body_read(r, &a, &mark_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__why(text, sizeof text, 0, "corrupted: %s", m.reason);
  tinker__arena_free(&a);
  tinker__svc_lock(s);
  tinker__svc_handled_t h = mark(s, r, text);
  tinker__svc_unlock(s);
  return h;
}
