/* curl_request: a request as options of an easy handle that has been used
 * before. The rule that protects users here: what may be sent a second time
 * below us. */
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "http/curl_internal.h"

/* Longest path or URL of a request. */
#define PLACE_MAX 16384
/* curl sends a shorter text together with the headers. What it reads by a
 * callback goes out after them, in a call and packets of its own. */
#define JOIN_MAX ((size_t)1 << 16)
/* Bytes that are read at a time. curl has a buffer of that size for each
 * request under way, and hundreds of small replies are awaited at a time. */
#define SMALL_READ CURL_MAX_WRITE_SIZE
#define BULKY_READ (64 * 1024L)

size_t tinker__curl_read_body(char *to, size_t size, size_t n, void *user) {
  tinker__transfer_t *x = ((tinker__curl_handle_t *)user)->x;
  tinker__piece_t whole;
  tinker__pieces_t body = tinker__http_body(x->request, &whole);
  return tinker__pieces_read(&body, &x->read_at, to, size * n);
}

/* curl goes back to the start, and nowhere else. */
static int rewind_body(void *user, curl_off_t offset, int origin) {
  tinker__transfer_t *x = ((tinker__curl_handle_t *)user)->x;
  if (offset != 0 || origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
  x->read_at = (tinker__place_t){0};
  return CURL_SEEKFUNC_OK;
}

/* ---- what can be sent ---- */

static bool is_header_text(const char *s) {
  for (; *s; s++) {
    if ((unsigned char)*s < 0x20 || *s == 0x7f) return false;
  }
  return true;
}

static bool texts_ok(const tinker__http_request_t *r) {
  const char *place = r->url ? r->url : r->path;
  bool ok = is_header_text(place) && strlen(place) <= PLACE_MAX &&
            (!r->accept || is_header_text(r->accept)) &&
            (!r->content_type || is_header_text(r->content_type)) &&
            (!r->idempotency_key || is_header_text(r->idempotency_key));
  for (size_t i = 0; ok && i < r->header_count; i++) {
    ok = is_header_text(r->headers[i].name) &&
         is_header_text(r->headers[i].value);
  }
  return ok;
}

/* Names, and beginnings of names that end in '-'. */
static bool is_private_header(const char *name) {
  static const char *const names[] = {"authorization", "cookie",
                                      "x-api-key",     "x-idempotency-key",
                                      "cf-access-",    "x-tinker-"};
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    tinker__str_t want = tinker__str(names[i]), have = tinker__str(name);
    bool prefix = want.ptr[want.len - 1] == '-';
    if (prefix && have.len > want.len) have.len = want.len;
    if (tinker__str_ieq(have, want)) return true;
  }
  return false;
}

/* A request to a URL, which may be anybody's. */
static int check_url(const tinker__curl_t *owner,
                     const tinker__http_request_t *r) {
  tinker__buf_t origin;
  if (r->path || r->lane != TINKER__LANE_DOWNLOAD || r->idempotency_key) {
    return TINKER_EINVAL;
  }
  for (size_t i = 0; i < r->header_count; i++) {
    if (is_private_header(r->headers[i].name)) return TINKER_EINVAL;
  }
  tinker__buf_init(&origin, owner->mem, PLACE_MAX + 64);
  int rc = tinker__url_origin(r->url, &origin);
  tinker__buf_free(&origin);
  return rc;
}

static bool limits_ok(const tinker__http_request_t *r) {
  bool part = r->range_first || r->range_end;
  if ((r->redirects || part) && r->method != TINKER__HTTP_GET) return false;
  if (r->range_first < 0 || r->range_end < 0) return false;
  if (r->range_end && r->range_end <= r->range_first) return false;
  if (r->sink && r->lane != TINKER__LANE_DOWNLOAD) return false;
  return r->timeout_ms >= 0 && r->stall_ms >= 0 && r->stall_floor >= 0 &&
         (r->timeout_ms || r->stall_ms);
}

int tinker__curl_check(const tinker__curl_t *owner,
                       const tinker__http_request_t *r) {
  if (!texts_ok(r)) return TINKER_EINVAL;
  if (!limits_ok(r)) return TINKER_EINVAL;
  return r->url ? check_url(owner, r) : 0;
}

/* ---- headers ---- */

/* Nodes are filled in order; each points at the next, the last one at what all
 * requests have in common. */
typedef struct lines_s {
  tinker__curl_handle_t *handle;
  size_t count;
} lines_t;

static void add_line(lines_t *to, const char *line) {
  to->handle->nodes[to->count++].data = (char *)line; /* curl only reads it */
}

/* There is room. */
static void add_header(lines_t *to, const char *name, const char *value) {
  tinker__buf_t *lines = &to->handle->lines;
  const char *line = lines->data + lines->len;
  tinker__buf_adds(lines, name);
  /* An empty value would make curl drop the header. */
  tinker__buf_adds(lines, *value ? ": " : ";");
  tinker__buf_add(lines, value, strlen(value) + 1);
  add_line(to, line);
}

static const char *idempotency_key(const tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  if (r->method == TINKER__HTTP_GET || r->url) return NULL;
  return r->idempotency_key ? r->idempotency_key : x->key;
}

enum { RANGE_TEXT_MAX = 64 };

/* "" = the whole. */
static void range_text(char out[RANGE_TEXT_MAX],
                       const tinker__http_request_t *r) {
  char last[24] = "";
  out[0] = '\0';
  if (!r->range_first && !r->range_end) return;
  if (r->range_end) tinker__format_i64(last, r->range_end - 1);
  snprintf(out, RANGE_TEXT_MAX, "bytes=%lld-%s", (long long)r->range_first,
           last);
}

static size_t line_len(const char *name, const char *value) {
  return strlen(name) + strlen(value) + 3;
}

/* All at once, since a text must not move under the node that points at it. */
static int make_room(const tinker__transfer_t *x, const char *key) {
  const tinker__http_request_t *r = x->request;
  tinker__curl_handle_t *h = x->handle;
  size_t len = line_len("Range", "") + RANGE_TEXT_MAX;
  size_t count = r->header_count + 4;
  if (key) len += line_len("X-Idempotency-Key", key);
  if (r->accept) len += line_len("Accept", r->accept);
  if (r->content_type) len += line_len("Content-Type", r->content_type);
  for (size_t i = 0; i < r->header_count; i++) {
    len += line_len(r->headers[i].name, r->headers[i].value);
  }
  tinker__buf_clear(&h->lines);
  if (tinker__buf_reserve(&h->lines, len)) return TINKER_ENOMEM;
  if (count <= h->node_max) return 0;
  tinker__mem_t *mem = x->lane->owner->mem;
  struct curl_slist *nodes =
      tinker__mem_realloc(mem, h->nodes, count * sizeof(*nodes));
  if (!nodes) return TINKER_ENOMEM;
  h->nodes = nodes;
  h->node_max = count;
  return 0;
}

static void join_lines(lines_t *lines, struct curl_slist *common) {
  struct curl_slist *nodes = lines->handle->nodes;
  for (size_t i = 0; i < lines->count; i++) {
    nodes[i].next = i + 1 < lines->count ? &nodes[i + 1] : common;
  }
}

/* The x-stainless headers of the official SDK describe that SDK to its own
 * makers; no reply depends on them, so they are not sent. */
int tinker__curl_add_headers(tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  tinker__curl_handle_t *h = x->handle;
  const char *key = idempotency_key(x);
  char range[RANGE_TEXT_MAX];
  lines_t lines = {h, 0};
  int rc = make_room(x, key);
  if (rc) return rc;
  if (r->accept) {
    add_header(&lines, "Accept", r->accept);
  } else {
    add_line(&lines, r->url ? "Accept: */*" : "Accept: application/json");
  }
  if (r->content_type) {
    add_header(&lines, "Content-Type", r->content_type);
  } else {
    add_line(&lines,
             r->body.len ? "Content-Type: application/json" : "Content-Type:");
  }
  if (key) add_header(&lines, "X-Idempotency-Key", key);
  range_text(range, r);
  if (range[0]) add_header(&lines, "Range", range);
  for (size_t i = 0; i < r->header_count; i++) {
    add_header(&lines, r->headers[i].name, r->headers[i].value);
  }
  /* The key goes where the base URL says, and nowhere else. */
  struct curl_slist *common = x->lane->owner->common;
  join_lines(&lines, r->url || !common->data ? common + 1 : common);
  return curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, h->nodes) ? TINKER_ENOMEM
                                                                 : 0;
}

/* ---- options ---- */

/* Where the request goes now, in owner->url. */
static int write_url(tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  tinker__buf_t *url = &x->lane->owner->url;
  if (!x->place.len && !r->url) {
    return tinker__target_url(&x->lane->owner->target, r->path, url);
  }
  tinker__buf_clear(url);
  tinker__buf_adds(url, x->place.len ? x->place.data : r->url);
  return tinker__buf_cstr(url) ? 0 : TINKER_ENOMEM;
}

static CURLcode set_url(tinker__transfer_t *x) {
  tinker__curl_handle_t *h = x->handle;
  tinker__buf_t *url = &x->lane->owner->url;
  if (write_url(x)) return CURLE_OUT_OF_MEMORY;
  if (h->url.len && h->url.len == url->len &&
      !memcmp(h->url.data, url->data, url->len)) {
    return CURLE_OK;
  }
  CURLcode code = curl_easy_setopt(h->easy, CURLOPT_URL, url->data);
  tinker__buf_clear(&h->url);
  if (code) return code;
  tinker__buf_add(&h->url, url->data, url->len);
  if (tinker__buf_cstr(&h->url)) return CURLE_OK;
  tinker__buf_clear(&h->url);
  return CURLE_OUT_OF_MEMORY;
}

/* A path is on the base URL's socket, and so is a URL of the same origin. */
static CURLcode set_socket(tinker__transfer_t *x) {
  const tinker__curl_t *owner = x->lane->owner;
  tinker__curl_handle_t *h = x->handle;
  tinker__buf_t origin;
  bool elsewhere = false;
  if (!owner->target.unix_path) return CURLE_OK;
  if (x->request->url) {
    tinker__buf_init(&origin, owner->mem, PLACE_MAX + 64);
    int rc = tinker__url_origin(h->url.data, &origin);
    elsewhere = !rc && strcmp(origin.data, owner->origin) != 0;
    tinker__buf_free(&origin);
    if (rc) return CURLE_OUT_OF_MEMORY;
  }
  if (h->elsewhere == elsewhere) return CURLE_OK;
  CURLcode code = curl_easy_setopt(h->easy, CURLOPT_UNIX_SOCKET_PATH,
                                   elsewhere ? NULL : owner->target.unix_path);
  if (!code) h->elsewhere = elsewhere;
  return code;
}

/* A handle that keeps a method must not keep its verb. */
static CURLcode set_method(tinker__curl_handle_t *h,
                           tinker__http_method_t method) {
  static const char *const verbs[] = {
      [TINKER__HTTP_GET] = NULL,
      [TINKER__HTTP_POST] = NULL,
      [TINKER__HTTP_PUT] = "PUT",
      [TINKER__HTTP_DELETE] = "DELETE",
  };
  if (h->method == (int)method) return CURLE_OK;
  bool get = method == TINKER__HTTP_GET;
  CURLcode code =
      curl_easy_setopt(h->easy, get ? CURLOPT_HTTPGET : CURLOPT_POST, 1L);
  if (!code) {
    code = curl_easy_setopt(h->easy, CURLOPT_CUSTOMREQUEST, verbs[method]);
  }
  h->method = code ? -1 : (int)method;
  return code;
}

/* The body as one text; NULL = it is read by the callback. Over TLS it is: a
 * connection may carry a hundred of them there, and each text takes memory. */
static const char *text_of(tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  tinker__buf_t *joined = &x->handle->joined;
  if (!r->pieces.list) return r->body.len ? r->body.ptr : "";
  if (r->pieces.len >= JOIN_MAX || x->lane->owner->target.tls) return NULL;
  tinker__buf_clear(joined);
  return tinker__pieces_copy(&r->pieces, joined) ? NULL : joined->data;
}

/* A body by POSTFIELDS, or from a callback that can go back, may be sent a
 * second time by curl itself, when a kept connection turns out dead after the
 * server has read all of it. Only a request that the server recognises may be.
 * Others read from a callback that can't go back; one without a body gets a new
 * connection, which curl never tries twice. */
static CURLcode set_body(tinker__transfer_t *x) {
  CURL *easy = x->handle->easy;
  const tinker__http_request_t *r = x->request;
  bool again = r->numbered || r->body.len == 0;
  if (r->method == TINKER__HTTP_GET) return CURLE_OK;
  x->read_at = (tinker__place_t){0};
  CURLcode code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                                   (curl_off_t)r->body.len);
  if (!code && again != x->handle->rewinds) {
    code = curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION,
                            again ? rewind_body : NULL);
    if (!code) x->handle->rewinds = again;
  }
  if (code) return code;
  return curl_easy_setopt(easy, CURLOPT_POSTFIELDS, again ? text_of(x) : NULL);
}

static CURLcode set_fresh(tinker__transfer_t *x) {
  tinker__curl_handle_t *h = x->handle;
  const tinker__http_request_t *r = x->request;
  bool only_once =
      r->method != TINKER__HTTP_GET && !r->numbered && r->body.len == 0;
  bool fresh = x->fresh || only_once;
  if (h->fresh == fresh) return CURLE_OK;
  h->fresh = fresh;
  return curl_easy_setopt(h->easy, CURLOPT_FRESH_CONNECT, (long)fresh);
}

/* Over TLS a record of 16 KiB is read at a time; the download lane has buffers
 * of its own. */
static CURLcode set_buffer(tinker__transfer_t *x) {
  tinker__curl_handle_t *h = x->handle;
  const tinker__http_request_t *r = x->request;
  bool bulky = r->bulky && !x->lane->owner->target.tls &&
               x->lane->id != TINKER__LANE_DOWNLOAD;
  if (h->bulky == bulky) return CURLE_OK;
  h->bulky = bulky;
  return curl_easy_setopt(h->easy, CURLOPT_BUFFERSIZE,
                          bulky ? BULKY_READ : (long)SMALL_READ);
}

/* The transfer's own timer is exact and also counts the wait for a connection;
 * curl's is there in case it is late. */
static CURLcode set_time(tinker__transfer_t *x) {
  if (x->deadline_ms == INT64_MAX) {
    return curl_easy_setopt(x->handle->easy, CURLOPT_TIMEOUT_MS, 0L);
  }
  int64_t left = x->deadline_ms - tinker__loop_now(x->lane->owner->loop);
  if (left < 1) left = 1;
  if (left > INT32_MAX / 2) left = INT32_MAX / 2;
  return curl_easy_setopt(x->handle->easy, CURLOPT_TIMEOUT_MS,
                          (long)left + 1000);
}

int tinker__curl_prepare(tinker__transfer_t *x) {
  CURLcode code = set_url(x);
  if (!code) code = set_socket(x);
  if (!code) code = set_method(x->handle, x->request->method);
  if (!code) code = set_body(x);
  if (!code) code = set_fresh(x);
  if (!code) code = set_buffer(x);
  if (!code) code = set_time(x);
  return code ? TINKER_ENOMEM : 0;
}
