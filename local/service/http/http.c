/* http: one request from its first byte to its reply. See http.h. */
#include "service/http/http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/http/listener.h"
#include "service/http/stream.h"
#include "service/http/workers.h"

#define MAX_REPLY ((size_t)1 << 31)

/* --- Replies -------------------------------------------------------------- */

tinker__svc_handled_t tinker__svc_reply_error(tinker__svc_req_t *r, int status,
                                              const char *fmt, ...) {
  char text[600];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  size_t len = strlen(text);
  while (len && !tinker__utf8_valid(text, len)) text[--len] = 0;
  tinker__refusal_t m = {text};
  tinker__svc_reply_message(r, &tinker__refusal_msg, &m);
  r->status = status;
  return TINKER__ANSWERED;
}

tinker__svc_handled_t
tinker__svc_reply_message(tinker__svc_req_t *r,
                          const tinker__bind_table_t *message, const void *in) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__bind_write(&w, message, in, false);
  return TINKER__ANSWERED;
}

void tinker__svc_reply_json(tinker__svc_req_t *r, tinker__jsonw_t *w) {
  tinker__buf_clear(&r->reply);
  tinker__jsonw_init(w, &r->reply);
  r->status = 200;
  r->content_type = "application/json";
}

tinker__svc_handled_t tinker__svc_reply_empty(tinker__svc_req_t *r,
                                              int status) {
  tinker__buf_clear(&r->reply);
  r->status = status;
  r->content_type = NULL;
  return TINKER__ANSWERED;
}

tinker__svc_handled_t tinker__svc_reply_text(tinker__svc_req_t *r,
                                             const char *json) {
  return tinker__svc_reply_bytes(r, 200, "application/json", json,
                                 strlen(json));
}

tinker__svc_handled_t tinker__svc_reply_bytes(tinker__svc_req_t *r, int status,
                                              const char *content_type,
                                              const void *data, size_t len) {
  tinker__buf_clear(&r->reply);
  tinker__buf_add(&r->reply, data, len);
  r->status = status;
  r->content_type = content_type;
  return TINKER__ANSWERED;
}

void tinker__svc_req_resume(tinker__svc_req_t *r) {
  MHD_resume_connection(r->conn);
}

void tinker__svc_req_resume_later(tinker__svc_req_t *r) {
  tinker__list_push_back(&r->service->answered, &r->link);
}

void tinker__svc_reqs_resume(tinker__link_t *requests) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(requests)) != NULL) {
    tinker__svc_req_resume(TINKER__CONTAINER(l, tinker__svc_req_t, link));
  }
}

tinker__str_t tinker__svc_req_header(tinker__svc_req_t *r, const char *name) {
  return tinker__str(
      MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name));
}

const char *tinker__svc_req_query(tinker__svc_req_t *r, const char *name) {
  return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
}

static void add_headers(tinker__svc_req_t *r, struct MHD_Response *response) {
  char seconds[24];
  if (r->content_type) {
    MHD_add_response_header(response, "Content-Type", r->content_type);
  }
  if (r->closes) MHD_add_response_header(response, "Connection", "close");
  if (r->retry_after_s) {
    snprintf(seconds, sizeof seconds, "%d", r->retry_after_s);
    MHD_add_response_header(response, "Retry-After", seconds);
  }
}

/* Queues the answer of r; r->reply lives until the request is completed. An
 * answer that ran out of memory while it was written becomes a fixed 500. */
static enum MHD_Result queue_reply(tinker__svc_req_t *r) {
  bool broken = tinker__buf_error(&r->reply) != 0;
  tinker__str_t body = tinker__buf_str(&r->reply);
  if (broken) {
    body = TINKER__STR("{\"detail\":\"out of memory\"}");
    r->content_type = "application/json";
    r->status = 500;
  }
  struct MHD_Response *response =
      r->filtered && !broken ? r->site->filter->respond(r, body) : NULL;
  if (!response && r->stream) response = tinker__svc_stream_response(r);
  if (!response) {
    response = MHD_create_response_from_buffer(
        body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_PERSISTENT);
  }
  if (!response) return MHD_NO;
  add_headers(r, response);
  enum MHD_Result rc =
      MHD_queue_response(r->conn, (unsigned)r->status, response);
  MHD_destroy_response(response);
  return rc;
}

/* --- Routing -------------------------------------------------------------- */

static tinker__str_t next_segment(const char **at) {
  const char *start = *at, *end = strchr(start, '/');
  tinker__str_t s = {start, end ? (size_t)(end - start) : strlen(start)};
  *at = end ? end + 1 : start + s.len;
  return s;
}

static bool match(tinker__svc_req_t *r, const tinker__svc_route_t *route) {
  const char *want = route->path, *have = r->path;
  size_t captured = 0;
  while (*want || *have) {
    if (!*want) return false; /* an empty segment is not an end */
    tinker__str_t w = next_segment(&want), h = next_segment(&have);
    if (tinker__str_eqs(w, "*") && h.len && captured < TINKER__MAX_CAPTURES) {
      r->capture[captured++] = h;
    } else if (!tinker__str_eq(w, h)) {
      return false;
    }
  }
  return true;
}

const tinker__svc_route_t *
tinker__svc_http_route(const tinker__svc_site_t *site, tinker__svc_req_t *r,
                       const char *method) {
  bool path_known = false;
  for (size_t i = 0; site->tables[i]; i++) {
    for (const tinker__svc_route_t *t = site->tables[i]; t->method; t++) {
      if (!match(r, t)) continue;
      path_known = true;
      if (!strcmp(t->method, method)) return t;
    }
  }
  if (path_known) {
    tinker__svc_reply_error(r, 405, "%s is not allowed here", method);
  } else {
    tinker__svc_reply_error(r, 404, "no such endpoint: %s", r->path);
  }
  return NULL;
}

/* On a Unix socket the mode of its file has decided who may come, so no key is
 * needed. On TCP the key of --key-file is, or, without one, any well-formed
 * key. */
static bool authorized(tinker__svc_req_t *r) {
  tinker__str_t key = tinker__svc_req_header(r, "X-API-Key");
  const char *want = r->service->config.key;
  if (want && !r->unix_socket) return tinker__secret_eq(key, tinker__str(want));
  if (r->unix_socket) return true;
  return tinker__str_starts(key, "tml-") || tinker__str_starts(key, "eyJ");
}

static bool contains_type(tinker__str_t header, const char *type) {
  size_t len = strlen(type);
  for (size_t i = 0; i + len <= header.len; i++) {
    if (tinker__str_ieq((tinker__str_t){header.ptr + i, len},
                        (tinker__str_t){type, len})) {
      return true;
    }
  }
  return false;
}

/* A body without a type is JSON. The reader of a call's body refuses protobuf
 * where the call does not take it. */
static bool known_type(const tinker__svc_req_t *r, tinker__str_t type) {
  return !type.len || r->body_proto || contains_type(type, "application/json");
}

/* Makes the checks that are the same for every call. False: r is answered. */
static bool accept_request(tinker__svc_req_t *r) {
  tinker__str_t type = tinker__svc_req_header(r, "Content-Type");
  r->body_proto = contains_type(type, "application/x-protobuf");
  r->accept_proto = contains_type(tinker__svc_req_header(r, "Accept"),
                                  "application/x-protobuf");
  if (!r->route->open && !authorized(r)) {
    tinker__svc_reply_error(r, 401, "X-API-Key is missing or not accepted");
  } else if (!r->route->open && !atomic_load(&r->service->ready)) {
    tinker__svc_reply_error(r, 503, "the service is starting");
    r->retry_after_s = 1;
  } else if (tinker__svc_body_refused(r)) {
    return false;
  } else if (tinker__buf_error(&r->body)) {
    tinker__svc_reply_error(r, 503, "out of memory");
  } else if (r->body.len && !known_type(r, type)) {
    tinker__svc_reply_error(
        r, 415, "Content-Type '%.*s' is not supported: application/json is",
        (int)(type.len < 80 ? type.len : 80), type.ptr);
  } else {
    return tinker__svc_req_packed(r);
  }
  return false;
}

static enum MHD_Result handle(tinker__svc_req_t *r);

/* Sends the answer of r, unless the filter closes the connection or has r
 * handled once more. */
static enum MHD_Result send_reply(tinker__svc_req_t *r) {
  tinker__svc_filtered_t next =
      r->filtered ? r->site->filter->leave(r) : TINKER__FILTER_GO;
  if (next == TINKER__FILTER_CLOSE) return MHD_NO;
  return next == TINKER__FILTER_WAIT ? handle(r) : queue_reply(r);
}

static enum MHD_Result go_on(tinker__svc_req_t *r,
                             tinker__svc_filtered_t next) {
  switch (next) {
  case TINKER__FILTER_GO: return handle(r);
  case TINKER__FILTER_WAIT: return MHD_YES;
  case TINKER__FILTER_CLOSE: return MHD_NO;
  default: return send_reply(r);
  }
}

static enum MHD_Result dispatch(tinker__svc_req_t *r) {
  r->dispatched = true;
  if (r->service->config.debug) {
    tinker__svc_log(r->service, "debug", "arrived", "method",
                    r->route ? r->route->method : "-", "path", r->path, NULL);
  }
  if (r->refused) return queue_reply(r);
  if (!r->route || !accept_request(r)) return send_reply(r);
  if (!r->site->filter) return handle(r);
  /* The filter reads bodies, so it gets them unpacked. */
  if (!tinker__svc_req_unpack(r)) return send_reply(r);
  return go_on(r, r->site->filter->arrive(r));
}

/* On a worker or the HTTP thread. The connection is suspended already, since
 * another thread may resume it before the handler has returned. */
static void run_handler(tinker__svc_req_t *r) {
  if (!tinker__svc_req_unpack(r) ||
      r->route->handler(r->service, r) == TINKER__ANSWERED) {
    tinker__svc_req_resume(r);
  }
}

static bool is_large(const tinker__svc_req_t *r) {
  return r->packed || r->body.len > r->service->large;
}

void tinker__svc_http_handle(tinker__svc_req_t *r) {
  tinker__svc_t *s = r->service;
  if (!is_large(r)) {
    run_handler(r);
  } else if (!tinker__svc_workers_add(s->workers, r, run_handler)) {
    r->retry_after_s = 1;
    tinker__svc_reply_error(r, 503,
                            "too many large requests wait to be read: send "
                            "the same request again");
    tinker__svc_req_resume(r);
  }
}

static enum MHD_Result handle(tinker__svc_req_t *r) {
  if (!r->route->parks) {
    r->route->handler(r->service, r);
    return send_reply(r);
  }
  MHD_suspend_connection(r->conn);
  tinker__svc_http_handle(r);
  return MHD_YES;
}

/* --- Life of a request ---------------------------------------------------- */

static tinker__svc_req_t *req_new(tinker__svc_listener_t *l,
                                  struct MHD_Connection *c, const char *url) {
  tinker__svc_t *s = l->service;
  tinker__svc_req_t *r = tinker__mem_zalloc(s->mem, sizeof *r);
  if (!r) return NULL;
  r->path = tinker__mem_strdup(s->mem, *url == '/' ? url + 1 : url);
  if (!r->path) {
    tinker__mem_free(s->mem, r);
    return NULL;
  }
  tinker__list_init(&r->link);
  tinker__list_init(&r->timer_link);
  r->service = s;
  r->conn = c;
  r->unix_socket = l->unix_socket;
  r->local = l->unix_socket || l->loopback;
  r->site = &l->site;
  r->fd = -1;
  tinker__buf_init(&r->body, s->mem, TINKER__BODY_SMALL);
  tinker__buf_init(&r->reply, s->mem, MAX_REPLY);
  tinker__svc_lock(s);
  s->live_requests++;
  tinker__svc_unlock(s);
  return r;
}

static enum MHD_Result take_field(void *user, enum MHD_ValueKind kind,
                                  const char *name, size_t name_len,
                                  const char *value, size_t value_len) {
  (void)kind;
  tinker__svc_head_field(user, (tinker__str_t){name, name_len},
                         (tinker__str_t){value ? value : "", value_len});
  return MHD_YES;
}

/* A malformed request is answered at once and its connection closed, because
 * nobody can tell where its body ends. */
static enum MHD_Result check_head(tinker__svc_listener_t *l,
                                  tinker__svc_req_t *r, const char *method,
                                  const char *version) {
  tinker__svc_req_head_t h;
  char why[300];
  const tinker__svc_conn_t *conn = tinker__svc_http_conn(r->conn);
  const union MHD_ConnectionInfo *i =
      MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  if (!conn || !i) return MHD_NO;
  tinker__svc_head_begin(&h, &l->gate, method, version, conn->target_len,
                         conn->plain_target);
  MHD_get_connection_values_n(r->conn, MHD_HEADER_KIND, take_field, &h);
  int status = tinker__svc_head_end(&h, i->header_size, why, sizeof why);
  if (!status) return MHD_YES;
  tinker__svc_reply_error(r, status, "%s", why);
  r->refused = true;
  r->closes = status == 400;
  return r->closes ? queue_reply(r) : MHD_YES;
}

/* Called when the whole head has arrived. */
static enum MHD_Result begin(tinker__svc_listener_t *l,
                             struct MHD_Connection *c, const char *url,
                             const char *method, const char *version,
                             void **state) {
  tinker__svc_conn_t *conn = tinker__svc_http_conn(c);
  tinker__svc_req_t *r = req_new(l, c, url);
  *state = r;
  if (!r || !conn) return MHD_NO;
  tinker__svc_http_moved(l, conn, TINKER__CONN_BODY);
  r->fd = conn->fd;
  enum MHD_Result rc = check_head(l, r, method, version);
  if (!r->refused) r->route = tinker__svc_http_route(&l->site, r, method);
  /* Without the key nobody makes this process keep a body. */
  tinker__svc_body_begin(r, r->route && authorized(r));
  return rc;
}

enum MHD_Result tinker__svc_http_access(void *user, struct MHD_Connection *c,
                                        const char *url, const char *method,
                                        const char *version, const char *upload,
                                        size_t *upload_len, void **state) {
  tinker__svc_req_t *r = *state;
  if (!r) return begin(user, c, url, method, version, state);
  if (*upload_len) {
    tinker__svc_body_take(r, upload, *upload_len);
    *upload_len = 0;
    return tinker__svc_body_endless(r) ? MHD_NO : MHD_YES;
  }
  if (!r->dispatched) {
    tinker__svc_http_moved(user, tinker__svc_http_conn(c), TINKER__CONN_BUSY);
    return dispatch(r);
  }
  if (r->gone) return MHD_NO;
  return r->held ? go_on(r, r->site->filter->back(r)) : send_reply(r);
}

void tinker__svc_http_completed(void *user, struct MHD_Connection *c,
                                void **state,
                                enum MHD_RequestTerminationCode code) {
  tinker__svc_req_t *r = *state;
  tinker__svc_conn_t *conn = tinker__svc_http_conn(c);
  (void)code;
  if (!r) return;
  tinker__svc_t *s = r->service;
  *state = NULL;
  if (conn) tinker__svc_http_moved(user, conn, TINKER__CONN_IDLE);
  tinker__svc_body_release(r);
  tinker__svc_share_give(&s->replies, r->replying);
  if (r->stream) tinker__svc_stream_gone(r->stream);
  tinker__buf_free(&r->body);
  tinker__buf_free(&r->reply);
  tinker__mem_free(s->mem, r->path);
  tinker__mem_free(s->mem, r);
  tinker__svc_lock(s);
  if (--s->live_requests == 0) pthread_cond_broadcast(&s->idle);
  tinker__svc_unlock(s);
}
