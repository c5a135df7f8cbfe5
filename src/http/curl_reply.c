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
  };
  tinker__buf_init(&x->reply.body, mem, x->request->reply_max);
  x->write_error = 0;
  x->error_text[0] = '\0';
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

static bool contains(tinker__str_t s, const char *needle) {
  size_t n = strlen(needle);
  for (size_t i = 0; i + n <= s.len; i++) {
    if (memcmp(s.ptr + i, needle, n) == 0) return true;
  }
  return false;
}

/* A proxy's id is good only where the service gives none. */
static void set_log_id(tinker__http_reply_t *r, tinker__str_t value,
                       bool wins) {
  if (!wins && r->log_id[0]) return;
  if (value.len == 0 || value.len >= sizeof(r->log_id)) return;
  for (size_t i = 0; i < value.len; i++) {
    if (value.ptr[i] < '!' || value.ptr[i] > '~') return;
  }
  memcpy(r->log_id, value.ptr, value.len);
  r->log_id[value.len] = '\0';
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
  } else if (tinker__str_ieq(name, TINKER__STR("x-request-id"))) {
    set_log_id(r, value, true);
  } else if (tinker__str_ieq(name, TINKER__STR("cf-ray"))) {
    set_log_id(r, value, false);
  } else if (tinker__str_ieq(name, TINKER__STR("www-authenticate"))) {
    r->invalid_token = contains(value, "error=\"invalid_token\"");
  }
}

/* A status line begins the headers anew: those of a 100 or 103 don't count. */
static void forget_headers(tinker__http_reply_t *r) {
  r->content_type[0] = '\0';
  r->content_length = -1;
  r->retry_after_ms = -1;
  r->should_retry = -1;
  r->invalid_token = false;
  r->log_id[0] = '\0';
}

size_t tinker__curl_on_header(char *data, size_t size, size_t n, void *user) {
  tinker__transfer_t *x = user;
  tinker__str_t line = {data, size * n};
  if (tinker__str_starts(line, "HTTP/")) {
    forget_headers(&x->reply);
    return line.len;
  }
  const char *colon = memchr(line.ptr, ':', line.len);
  if (colon) {
    size_t at = (size_t)(colon - line.ptr);
    tinker__str_t value = {colon + 1, line.len - at - 1};
    take_header(&x->reply, (tinker__str_t){line.ptr, at}, trim(value));
  }
  return line.len;
}

/* The bytes are decompressed already, so that a small reply can't become a
 * large one unseen. A stated length that is too large is not waited for. */
size_t tinker__curl_on_body(char *data, size_t size, size_t n, void *user) {
  tinker__transfer_t *x = user;
  tinker__buf_t *body = &x->reply.body;
  size_t len = size * n, total = body->len + len;
  int64_t stated = x->reply.content_length;
  if (stated > 0 && (uint64_t)stated > total) total = (size_t)stated;
  if (total > body->max) {
    x->write_error = TINKER_EOVERFLOW;
    x->too_long = total;
  } else {
    x->write_error = tinker__buf_add(body, data, len);
  }
  return x->write_error ? 0 : len;
}

/* ---- verdict ---- */

bool tinker__curl_bytes_sent(CURL *easy) {
  long head = 0;
  curl_off_t body = 0;
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
  if (x->canceled) return TINKER_ECANCELED;
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
  const char *text =
      x->error_text[0] ? x->error_text : curl_easy_strerror(code);
  long number = 0;
  char reason[64] = "";
  if (r->error == TINKER_ECANCELED) {
    tinker__why(r->detail, sizeof(r->detail), 0, "canceled");
  } else if (r->error == TINKER_EOVERFLOW) {
    tinker__why(r->detail, sizeof(r->detail), 0,
                "the reply has %zu bytes or more, at most %zu are taken",
                x->too_long, x->request->reply_max);
  } else if (code == CURLE_COULDNT_CONNECT) {
    curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &number);
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

void tinker__curl_classify(tinker__transfer_t *x, CURLcode code) {
  tinker__http_reply_t *r = &x->reply;
  long status = 0;
  curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200) r->status = (int)status;
  if (code == CURLE_OK) {
    r->sent = true;
    return;
  }
  r->sent = x->sent;
  r->error = code_of(x, code);
  explain(x, code);
}
