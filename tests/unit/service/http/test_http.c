/* Targets: percent escapes, and which route a path is. Bodies, and whose are
 * kept. No socket. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"
#include "service/http/listener.h"
#include "service/tinker/handlers.h"

static void unescapes_to(const char *text, const char *want) {
  char s[80];
  snprintf(s, sizeof s, "%s", text);
  cr_assert_eq(tinker__svc_http_unescape(s), strlen(want), "%s", text);
  cr_assert_str_eq(s, want);
}

Test(http, unescape) {
  unescapes_to("", "");
  unescapes_to("a%20b%2Fc%2fd", "a b/c/d");
  unescapes_to("%c3%A9", "\xc3\xa9");
  unescapes_to("%2525", "%25");
  unescapes_to("a%00b%0", "a%00b%0"); /* no cut, no escape */
  unescapes_to("%%%4", "%%%4");
  unescapes_to("%%41%g1%1g", "%A%g1%1g");
}

/* What every service has. */
static const tinker__svc_site_t site = {.tables = {tinker__svc_tinker_routes}};

/* The path of the route found, or the status in its place. */
static const char *routed(tinker__mem_t *mem, tinker__svc_req_t *r,
                          const char *method, const char *path) {
  static char status[8];
  static char copy[200];
  snprintf(copy, sizeof copy, "%s", path);
  *r = (tinker__svc_req_t){.path = copy};
  tinker__buf_init(&r->reply, mem, 1000);
  const tinker__svc_route_t *t = tinker__svc_http_route(&site, r, method);
  snprintf(status, sizeof status, "%d", r->status);
  tinker__buf_free(&r->reply);
  return t ? t->path : status;
}

Test(http, routes) {
  tinker__mem_t mem;
  tinker__svc_req_t r;
  tinker__mem_init(&mem, NULL, 0);
#define ROUTED(method, path) routed(&mem, &r, method, path)
  cr_assert_str_eq(ROUTED("GET", "api/v1/sessions"), "api/v1/sessions");
  cr_assert_str_eq(ROUTED("GET", "api/v1/sessions/"), "api/v1/sessions");
  cr_assert_str_eq(ROUTED("GET", "api/v1/sessions/a"), "api/v1/sessions/*");
  cr_assert(tinker__str_eqs(r.capture[0], "a"));
  cr_assert_str_eq(ROUTED("DELETE", "api/v1/training_runs/a/checkpoints/b/c"),
                   "api/v1/training_runs/*/checkpoints/*/*");
  cr_assert(tinker__str_eqs(r.capture[1], "b"));
  cr_assert(tinker__str_eqs(r.capture[2], "c"));
  cr_assert_str_eq(ROUTED("PATCH", "api/v1/sessions"), "405");
  cr_assert_str_eq(ROUTED("GET", ""), "404");
  cr_assert_str_eq(ROUTED("GET", "api//v1/sessions"), "404");
  cr_assert_str_eq(ROUTED("GET", "api/v1/sessions//"), "404");
  cr_assert_str_eq(ROUTED("GET", "api/v1/sessions/a//"), "404");
  cr_assert_str_eq(ROUTED("GET", "api/v1/sessions/a/b"), "404");
  cr_assert_eq(mem.live_blocks, 0);
}

/* A request for the target below, with no header but Host: its connection is
 * the record that the listener keeps of one. */
#define TARGET "/api/v1/asample"

const union MHD_ConnectionInfo *
MHD_get_connection_info(struct MHD_Connection *c,
                        enum MHD_ConnectionInfoType type, ...) {
  static union MHD_ConnectionInfo info;
  if (type == MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE) {
    info.header_size =
        strlen("POST " TARGET " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  } else {
    info.socket_context = c;
  }
  return &info;
}

int MHD_get_connection_values_n(struct MHD_Connection *c,
                                enum MHD_ValueKind kind,
                                MHD_KeyValueIteratorN take, void *user) {
  (void)c;
  take(user, kind, "Host", 4, "localhost", 9);
  return 1;
}

/* What arrives of a body on that listener, and how many bytes are kept. */
static size_t kept_of(tinker__svc_listener_t *l, void *record) {
  struct MHD_Connection *conn = record;
  static const char data[1000];
  size_t none = 0, len = sizeof data;
  void *state = NULL;
  cr_assert_eq(tinker__svc_http_access(l, conn, TARGET, "POST", "HTTP/1.1",
                                       NULL, &none, &state),
               MHD_YES);
  tinker__svc_req_t *r = state;
  cr_assert_eq(tinker__svc_http_access(l, conn, TARGET, "POST", "HTTP/1.1",
                                       data, &len, &state),
               MHD_YES);
  cr_assert_eq(len, 0);
  size_t kept = r->body.len;
  tinker__svc_http_completed(l, conn, &state,
                             MHD_REQUEST_TERMINATED_WITH_ERROR);
  return kept;
}

/* Nobody without the key makes the service keep a body. */
Test(http, the_body_of_a_caller_without_key) {
  static rig_t rig;
  static tinker__svc_conn_t conn = {.target_len = sizeof TARGET - 1,
                                    .plain_target = true};
  rig_open(&rig);
  tinker__svc_listener_t tcp = {
      .service = rig.s, .site = site, .loopback = true};
  tinker__svc_listener_t local = {
      .service = rig.s, .site = site, .unix_socket = true};
  tinker__svc_conns_init(&tcp.conns, 8, tinker__svc_conns_shut);
  tinker__svc_conns_init(&local.conns, 8, tinker__svc_conns_shut);
  tinker__svc_conns_add(&tcp.conns, &conn, -1, 0);
  cr_assert_eq(kept_of(&tcp, &conn), 0);
  rig.s->config.key = "tml-secret";
  cr_assert_eq(kept_of(&tcp, &conn), 0);
  tinker__svc_conns_remove(&tcp.conns, &conn);
  tinker__svc_conns_add(&local.conns, &conn, -1, 0);
  cr_assert_eq(kept_of(&local, &conn), 1000);
  rig_close(&rig);
}

/* --- How much of a body is kept ------------------------------------------- */

/* Bytes of zeros that arrive at the service by a listener on a rig. */
typedef struct {
  tinker__svc_listener_t l;
  tinker__svc_conn_t conn;
  void *state;
} arrival_t;

static tinker__svc_req_t *arrive(arrival_t *a, rig_t *rig, const char *path) {
  *a =
      (arrival_t){.l = {.service = rig->s, .site = site, .unix_socket = true},
                  .conn = {.target_len = strlen(TARGET), .plain_target = true}};
  size_t none = 0;
  tinker__svc_conns_init(&a->l.conns, 8, tinker__svc_conns_shut);
  tinker__svc_conns_add(&a->l.conns, &a->conn, -1, 0);
  cr_assert_eq(tinker__svc_http_access(&a->l, (void *)&a->conn, path, "POST",
                                       "HTTP/1.1", NULL, &none, &a->state),
               MHD_YES);
  return a->state;
}

static void more(arrival_t *a, size_t len) {
  static const char zeros[4096];
  while (len) {
    size_t part = len < sizeof zeros ? len : sizeof zeros, left = part;
    tinker__svc_http_access(&a->l, (void *)&a->conn, TARGET, "POST", "HTTP/1.1",
                            zeros, &left, &a->state);
    cr_assert_eq(left, 0);
    len -= part;
  }
}

static void end(arrival_t *a) {
  tinker__svc_http_completed(&a->l, (void *)&a->conn, &a->state,
                             MHD_REQUEST_TERMINATED_CLIENT_ABORT);
  tinker__svc_conns_remove(&a->l.conns, &a->conn);
  tinker__svc_conns_done(&a->l.conns);
}

/* A small call has a small body; more of it is not kept, and both numbers are
 * said. */
Test(http, a_body_of_each_call) {
  static rig_t rig;
  arrival_t a;
  rig_open(&rig);
  tinker__svc_req_t *r = arrive(&a, &rig, "/api/v1/session_heartbeat");
  more(&a, TINKER__BODY_SMALL);
  cr_assert_eq(r->body.len, TINKER__BODY_SMALL);
  more(&a, 5);
  cr_assert_eq(r->body.len, 0);
  more(&a, 5);
  cr_assert(tinker__svc_body_refused(r));
  cr_assert_eq(r->status, 413);
  cr_assert_neq(strstr(r->reply.data,
                       "the body has 1048586 bytes: larger than the 1048576 "
                       "that api/v1/session_heartbeat takes"),
                NULL, "%s", r->reply.data);
  end(&a);
  r = arrive(&a, &rig, TARGET);
  more(&a, TINKER__BODY_SMALL + 5);
  cr_assert_eq(r->body.len, TINKER__BODY_SMALL + 5);
  end(&a);
  rig.s->config.max_body = 1000; /* the owner's word is the last */
  r = arrive(&a, &rig, "/api/v1/session_heartbeat");
  more(&a, 1001);
  cr_assert(tinker__svc_body_refused(r));
  cr_assert_neq(strstr(r->reply.data, "larger than the 1000 "), NULL);
  end(&a);
  rig.s->max_bodies = 900; /* but for the memory that there is */
  r = arrive(&a, &rig, TARGET);
  more(&a, 901);
  cr_assert(tinker__svc_body_refused(r));
  cr_assert_eq(r->status, 413);
  cr_assert_neq(strstr(r->reply.data, "larger than the 900 "), NULL);
  cr_assert_neq(strstr(r->reply.data, "--max-memory"), NULL);
  end(&a);
  rig_close(&rig);
}

/* Bodies that have not ended hold no more than a bound together; tiny ones are
 * always let in, and an end gives the room back. */
Test(http, bodies_of_all_together) {
  static rig_t rig;
  arrival_t a, b, c;
  rig_open(&rig);
  rig.s->max_bodies = 100000;
  tinker__svc_req_t *first = arrive(&a, &rig, TARGET);
  more(&a, 80000);
  cr_assert_eq(first->body.len, 80000);
  tinker__svc_req_t *r = arrive(&b, &rig, TARGET);
  more(&b, 10000);
  cr_assert_eq(r->body.len, 10000);
  more(&b, 10000);
  more(&b, 10000);
  cr_assert_eq(r->body.len, 0, "it is one too many");
  cr_assert(tinker__svc_body_refused(r));
  cr_assert(r->status == 503 && r->retry_after_s == 1);
  cr_assert_neq(strstr(r->reply.data, "100000 bytes together"), NULL, "%s",
                r->reply.data);
  r = arrive(&c, &rig, TARGET);
  more(&c, 4096);
  cr_assert(r->body.len == 4096 && !tinker__svc_body_refused(r));
  end(&c);
  end(&b);
  end(&a);
  cr_assert_eq(atomic_load(&rig.s->body_bytes), 0);
  arrive(&b, &rig, TARGET);
  more(&b, 100000);
  cr_assert_eq(atomic_load(&rig.s->body_bytes), 100000);
  end(&b);
  rig_close(&rig);
}
