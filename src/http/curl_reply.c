/* curl_reply: what came back. Every byte here is the server's: names are
 * compared without case, numbers are parsed whole or ignored, the body has
 * the cap of its request. */
#include <string.h>
#include <tinker/error.h>

#include "http/curl_internal.h"

/* Larger waits are ignored, as the protocol says. */
#define RETRY_AFTER_MAX_MS 60000

void tinker__curl_reply_init(tinker__transfer_t *x) {
  tinker__mem_t *mem = x->lane->owner->mem;
  x->reply = (tinker__http_reply_t){
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
      .range_first = -1,
      .range_last = -1,
      .whole_length = -1,
  };
  x->received = 0;
  tinker__buf_init(&x->reply.body, mem, x->request->reply_max);
  tinker__mem_free(mem, x->location);
  x->location = NULL;
  x->write_error = 0;
  x->action = UINT64_MAX;
  if (x->handle) x->handle->error_text[0] = '\0';
}

static tinker__str_t trim(tinker__str_t s) {
  while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
    s.ptr++;
    s.len--;
  }
  while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1])) s.len--;
  return s;
}

static void set_content_type(tinker__http_reply_t *r, tinker__str_t value) {
  size_t n = 0;
  while (n < value.len && n < sizeof(r->content_type) - 1) {
    char c = value.ptr[n];
    if (c == ';' || c == ' ') break;
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    r->content_type[n++] = c;
  }
  r->content_type[n] = '\0';
}

/* Seconds or milliseconds as a number; a date is ignored. retry-after-ms is
 * the finer one and wins in either order. */
static void set_retry_after(tinker__http_reply_t *r, tinker__str_t value,
                            double unit_ms, bool wins) {
  double number = 0;
  if (tinker__parse_f64(value, &number)) return;
  double ms = number * unit_ms;
  if (!(ms > 0 && ms <= RETRY_AFTER_MAX_MS)) return;
  if (wins || r->retry_after_ms < 0) r->retry_after_ms = (int64_t)(ms + 0.5);
}

/* Of the server's choice, for people: what can't be shown ends it. The other
 * name does not replace the first. */
static void set_request_id(tinker__http_reply_t *r, tinker__str_t value,
                           bool wins) {
  size_t n = 0;
  if (r->request_id[0] && !wins) return;
  while (n < value.len && n < sizeof(r->request_id) - 1 && value.ptr[n] > ' ' &&
         value.ptr[n] <= '~') {
    r->request_id[n] = value.ptr[n];
    n++;
  }
  r->request_id[n] = '\0';
}

/* Whole or not at all: a cut one would name another version. */
static void set_etag(tinker__http_reply_t *r, tinker__str_t value) {
  size_t n = value.len < sizeof(r->etag) ? value.len : 0;
  memcpy(r->etag, value.ptr, n);
  r->etag[n] = '\0';
}

static bool contains(tinker__str_t s, const char *needle) {
  size_t n = strlen(needle);
  for (size_t i = 0; i + n <= s.len; i++) {
    if (memcmp(s.ptr + i, needle, n) == 0) return true;
  }
  return false;
}

static void take_header(tinker__http_reply_t *r, tinker__str_t name,
                        tinker__str_t value) {
  if (tinker__str_ieq(name, TINKER__STR("content-type"))) {
    set_content_type(r, value);
  } else if (tinker__str_ieq(name, TINKER__STR("content-length"))) {
    tinker__parse_i64(value, &r->content_length);
  } else if (tinker__str_ieq(name, TINKER__STR("retry-after-ms"))) {
    set_retry_after(r, value, 1, true);
  } else if (tinker__str_ieq(name, TINKER__STR("retry-after"))) {
    set_retry_after(r, value, 1000, false);
  } else if (tinker__str_ieq(name, TINKER__STR("x-should-retry"))) {
    if (tinker__str_eqs(value, "true")) r->should_retry = 1;
    if (tinker__str_eqs(value, "false")) r->should_retry = 0;
  } else if (tinker__str_ieq(name, TINKER__STR("www-authenticate"))) {
    r->invalid_token = contains(value, "error=\"invalid_token\"");
  } else if (tinker__str_ieq(name, TINKER__STR("etag"))) {
    set_etag(r, value);
  } else if (tinker__str_ieq(name, TINKER__STR("content-range"))) {
    tinker__http_content_range(r, value);
  } else if (tinker__str_ieq(name, TINKER__STR("x-request-id"))) {
    set_request_id(r, value, true);
  } else if (tinker__str_ieq(name, TINKER__STR("request-id")) ||
             tinker__str_ieq(name, TINKER__STR("cf-ray"))) {
    set_request_id(r, value, false);
  }
}

/* A status line begins the headers anew: those of a 100 or 103 don't count. */
static void forget_headers(tinker__http_reply_t *r) {
  r->content_type[0] = '\0';
  r->content_length = -1;
  r->range_first = r->range_last = r->whole_length = -1;
  r->retry_after_ms = -1;
  r->should_retry = -1;
  r->invalid_token = false;
  r->etag[0] = '\0';
  r->request_id[0] = '\0';
}

/* Kept apart from the reply's own fields: it needs memory. */
static int take_location(tinker__transfer_t *x, tinker__str_t value) {
  tinker__mem_t *mem = x->lane->owner->mem;
  tinker__mem_free(mem, x->location);
  x->location = tinker__mem_strndup(mem, value.ptr, value.len);
  return x->location ? 0 : TINKER_ENOMEM;
}

size_t tinker__curl_on_header(char *data, size_t size, size_t n, void *user) {
  tinker__transfer_t *x = ((tinker__curl_handle_t *)user)->x;
  tinker__str_t line = {data, size * n};
  if (tinker__str_starts(line, "HTTP/")) {
    forget_headers(&x->reply);
    return line.len;
  }
  const char *colon = memchr(line.ptr, ':', line.len);
  if (colon) {
    size_t at = (size_t)(colon - line.ptr);
    tinker__str_t name = {line.ptr, at};
    tinker__str_t value = trim((tinker__str_t){colon + 1, line.len - at - 1});
    take_header(&x->reply, name, value);
    if (tinker__str_ieq(name, TINKER__STR("location"))) {
      x->write_error = take_location(x, value);
      if (x->write_error) return 0;
    }
  }
  return line.len;
}

/* Room for all of a reply when its first bytes are here: a block that grows is
 * copied again and again. The stated length is at most the limit by now, and a
 * byte more serves a reader that wants a NUL. */
static int add_body(tinker__buf_t *body, const char *data, size_t len,
                    size_t total) {
  size_t room = total < body->max ? total + 1 : total;
  int rc = body->cap ? 0 : tinker__buf_reserve(body, room);
  return rc ? rc : tinker__buf_add(body, data, len);
}

/* The bytes are decompressed already, so that a small reply can't become a
 * large one unseen. A stated length that is too large is not waited for. */
static int keep(tinker__transfer_t *x, tinker__str_t piece) {
  tinker__buf_t *body = &x->reply.body;
  size_t total = body->len + piece.len;
  int64_t stated = x->reply.content_length;
  if (stated > 0 && (uint64_t)stated > total) total = (size_t)stated;
  if (total <= body->max) return add_body(body, piece.ptr, piece.len, total);
  x->too_long = total;
  return TINKER_EOVERFLOW;
}

/* Before the first byte of the body is handed on, since a part of the wrong
 * place would go into a file. */
static int begin_body(tinker__transfer_t *x) {
  tinker__http_reply_t *r = &x->reply;
  long status = 0;
  curl_easy_getinfo(x->handle->easy, CURLINFO_RESPONSE_CODE, &status);
  r->status = (int)status;
  return tinker__http_check_range(x->request, r, r->detail, sizeof(r->detail));
}

static bool is_success(const tinker__http_reply_t *r) {
  return r->status >= 200 && r->status <= 299;
}

static int take(tinker__transfer_t *x, tinker__str_t piece) {
  tinker__http_request_t *request = x->request;
  if (!request->sink) return keep(x, piece);
  int rc = x->received ? 0 : begin_body(x);
  if (rc) return rc;
  if (!is_success(&x->reply)) return keep(x, piece);
  return request->sink(request, &x->reply, piece);
}

size_t tinker__curl_on_body(char *data, size_t size, size_t n, void *user) {
  tinker__transfer_t *x = ((tinker__curl_handle_t *)user)->x;
  size_t len = size * n;
  int rc = take(x, (tinker__str_t){data, len});
  if (rc == TINKER__SINK_PAUSE) {
    tinker__curl_paused(x);
    return CURL_WRITEFUNC_PAUSE;
  }
  x->write_error = rc;
  if (!rc) x->received += (int64_t)len;
  return rc ? 0 : len;
}

/* ---- verdict ---- */

/* A handle that is used again speaks of the transfer before until curl has
 * looked at it. */
static bool has_begun(const tinker__transfer_t *x) {
  return x->action != UINT64_MAX && x->lane->actions != x->action;
}

bool tinker__curl_bytes_sent(const tinker__transfer_t *x) {
  long head = 0;
  curl_off_t body = 0;
  if (!has_begun(x)) return false;
  CURL *easy = x->handle->easy;
  curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &head);
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &body);
  return head > 0 || body > 0;
}

static int code_before_sending(CURLcode code) {
  switch (code) {
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_SSL_ENGINE_NOTFOUND:
  case CURLE_SSL_ENGINE_SETFAILED:
  case CURLE_SSL_ENGINE_INITFAILED:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CRL_BADFILE:
  case CURLE_SSL_ISSUER_ERROR:
  case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
  case CURLE_SSL_INVALIDCERTSTATUS: return TINKER_ETLS;
  default: return TINKER_ECONNECT;
  }
}

static int code_of(const tinker__transfer_t *x, CURLcode code) {
  int64_t now = tinker__loop_now(x->lane->owner->loop);
  if (x->end_as) return x->end_as;
  if (code == CURLE_OUT_OF_MEMORY) return TINKER_ENOMEM;
  if (code == CURLE_COULDNT_CONNECT && x->lane->no_memory && !x->sent) {
    return TINKER_ENOMEM;
  }
  if (code == CURLE_WRITE_ERROR && x->write_error) return x->write_error;
  if (code == CURLE_OPERATION_TIMEDOUT && (x->sent || now >= x->deadline_ms)) {
    return TINKER_ETIMEDOUT; /* else it is the limit on connecting */
  }
  return x->sent ? TINKER_ETRANSPORT : code_before_sending(code);
}

/* curl's text of a failed connect names localhost and a port for a Unix socket,
 * and never the reason. */
static void explain(tinker__transfer_t *x, CURLcode code) {
  tinker__http_reply_t *r = &x->reply;
  const char *path = x->lane->owner->target.unix_path;
  const char *text = x->handle && x->handle->error_text[0]
                         ? x->handle->error_text
                         : curl_easy_strerror(code);
  long number = 0;
  char reason[64] = "";
  if (r->detail[0]) return;
  if (r->error == TINKER_ENOMEM) {
    tinker__why(r->detail, sizeof(r->detail), 0, "out of memory");
    return;
  }
  if (r->error == TINKER_ECANCELED) {
    tinker__why(r->detail, sizeof(r->detail), 0, "canceled");
  } else if (r->error == TINKER_EOVERFLOW) {
    tinker__why(r->detail, sizeof(r->detail), 0,
                "the reply has %zu bytes or more, at most %zu are taken",
                x->too_long, x->request->reply_max);
  } else if (code == CURLE_WRITE_ERROR && x->request->sink) {
    tinker__why(r->detail, sizeof(r->detail), 0,
                "the receiver took %lld bytes and refused the next",
                (long long)x->received);
  } else if (x->state == TINKER__TRANSFER_WAITING) {
    tinker__why(r->detail, sizeof(r->detail), 0,
                "its time passed before a connection was free");
  } else if (code == CURLE_COULDNT_CONNECT) {
    curl_easy_getinfo(x->handle->easy, CURLINFO_OS_ERRNO, &number);
    if (number) strerror_r((int)number, reason, sizeof(reason));
    if (path) {
      tinker__why(r->detail, sizeof(r->detail), 0, "%s (%s)",
                  number ? reason : "its listen queue is full", path);
    } else {
      tinker__why(r->detail, sizeof(r->detail), 0, "%s%s%s", reason,
                  number ? ": " : "", text);
    }
  } else {
    tinker__why(r->detail, sizeof(r->detail), 0, "%s", text);
  }
}

/* A Location that is no URL for us is none; nor is one without memory, where
 * the reply fails. */
static void resolve_location(tinker__transfer_t *x) {
  tinker__mem_t *mem = x->lane->owner->mem;
  tinker__buf_t url;
  tinker__buf_init(&url, mem, SIZE_MAX);
  int rc = tinker__url_resolve(x->handle->url.data, x->location, &url);
  tinker__mem_free(mem, x->location);
  x->location = rc ? NULL : tinker__buf_take(&url, NULL);
  tinker__buf_free(&url);
  x->reply.location = x->location;
  if (rc != TINKER_ENOMEM) return;
  x->reply.error = rc;
  tinker__why(x->reply.detail, sizeof(x->reply.detail), 0, "out of memory");
}

/* What curl calls whole: is it, and is it what was asked for? A 206 without a
 * Content-Length may have been cut. */
static void check_part(tinker__transfer_t *x) {
  tinker__http_reply_t *r = &x->reply;
  int64_t want = r->range_last - r->range_first + 1;
  r->error =
      tinker__http_check_range(x->request, r, r->detail, sizeof(r->detail));
  if (r->error || r->status != 206 || x->received == want) return;
  r->error = TINKER_ETRANSPORT;
  tinker__why(r->detail, sizeof(r->detail), 0,
              "%lld of %lld bytes of the part came", (long long)x->received,
              (long long)want);
}

void tinker__curl_classify(tinker__transfer_t *x, CURLcode code) {
  tinker__http_reply_t *r = &x->reply;
  long status = 0;
  if (has_begun(x)) {
    curl_easy_getinfo(x->handle->easy, CURLINFO_RESPONSE_CODE, &status);
  }
  if (status >= 200) r->status = (int)status;
  r->sent = code == CURLE_OK || x->sent;
  if (code == CURLE_OK) {
    check_part(x);
    if (x->location) resolve_location(x);
    return;
  }
  r->error = code_of(x, code);
  explain(x, code);
}
