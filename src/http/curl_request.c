/* curl_request: a request as options of an easy handle. The rules that
 * protect users are here: what may be re-sent below us, what must not block
 * the loop, that no proxy is used. */
#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "http/curl_internal.h"

/* A connection that takes longer is given up: nothing was sent yet. */
#define CONNECT_TIMEOUT_MS 5000L
/* Below the idle time of servers: an older connection is not used again, it
 * may be closing at this moment. */
#define MAX_AGE_S 20L

static size_t read_body(char *to, size_t size, size_t n, void *user) {
  tinker__transfer_t *x = user;
  tinker__str_t body = x->request->body;
  size_t len = body.len - x->read_at;
  if (len > size * n) len = size * n;
  memcpy(to, body.ptr + x->read_at, len);
  x->read_at += len;
  return len;
}

/* ---- headers ---- */

static bool is_header_text(const char *s) {
  for (; *s; s++) {
    if ((unsigned char)*s < 0x20 || *s == 0x7f) return false;
  }
  return true;
}

static int add_line(tinker__transfer_t *x, const char *line) {
  struct curl_slist *list = curl_slist_append(x->headers, line);
  if (!list) return TINKER_ENOMEM;
  x->headers = list;
  return 0;
}

static int add_header(tinker__transfer_t *x, const char *name,
                      const char *value) {
  if (!is_header_text(name) || !is_header_text(value)) return TINKER_EINVAL;
  tinker__buf_t *line = &x->url; /* scratch; the URL is written later */
  tinker__buf_clear(line);
  tinker__buf_adds(line, name);
  /* An empty value would make curl drop the header. */
  tinker__buf_adds(line, *value ? ": " : ";");
  tinker__buf_adds(line, value);
  const char *text = tinker__buf_cstr(line);
  return text ? add_line(x, text) : TINKER_ENOMEM;
}

static int add_idempotency_key(tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  char drawn[37];
  if (r->method == TINKER__HTTP_GET) return 0;
  if (r->idempotency_key) {
    return add_header(x, "X-Idempotency-Key", r->idempotency_key);
  }
  int rc = tinker__uuid4(x->lane->owner->loop->world, drawn);
  return rc ? rc : add_header(x, "X-Idempotency-Key", drawn);
}

/* The x-stainless headers of the official SDK describe that SDK to its own
 * makers; no reply depends on them, so they are not sent. */
static int add_headers(tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  const char *key = x->lane->owner->key_header;
  const char *type = r->content_type;
  if (!type && r->body.len) type = "application/json";
  int rc = add_header(x, "Accept", r->accept ? r->accept : "application/json");
  if (!rc && key) rc = add_line(x, key);
  /* Without it a large body waits a second for a 100-continue that some
   * servers never send. */
  if (!rc) rc = add_line(x, "Expect:");
  if (!rc) {
    rc = type ? add_header(x, "Content-Type", type)
              : add_line(x, "Content-Type:");
  }
  if (!rc) rc = add_idempotency_key(x);
  for (size_t i = 0; !rc && i < r->header_count; i++) {
    rc = add_header(x, r->headers[i].name, r->headers[i].value);
  }
  return rc;
}

/* ---- options ---- */

/* Each returns the first failure, which can only be lack of memory. */
static CURLcode set_long(CURL *easy, CURLoption option, long value,
                         CURLcode before) {
  return before ? before : curl_easy_setopt(easy, option, value);
}

static CURLcode set_text(CURL *easy, CURLoption option, const char *value,
                         CURLcode before) {
  return before ? before : curl_easy_setopt(easy, option, value);
}

static CURLcode set_data(CURL *easy, CURLoption option, void *value,
                         CURLcode before) {
  return before ? before : curl_easy_setopt(easy, option, value);
}

static CURLcode set_callbacks(tinker__transfer_t *x, CURLcode rc) {
  CURL *easy = x->easy;
  rc = set_data(easy, CURLOPT_PRIVATE, x, rc);
  rc = set_data(easy, CURLOPT_ERRORBUFFER, x->error_text, rc);
  rc = set_data(easy, CURLOPT_HEADERDATA, x, rc);
  rc = set_data(easy, CURLOPT_WRITEDATA, x, rc);
  rc = set_data(easy, CURLOPT_OPENSOCKETDATA, x->lane, rc);
  rc = set_data(easy, CURLOPT_CLOSESOCKETDATA, x->lane, rc);
  if (rc) return rc;
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, tinker__curl_on_header);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, tinker__curl_on_body);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, tinker__curl_open);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, tinker__curl_close);
  return CURLE_OK;
}

static CURLcode set_connection(tinker__transfer_t *x, CURLcode rc) {
  CURL *easy = x->easy;
  const tinker__target_t *target = &x->lane->owner->target;
  rc = set_long(easy, CURLOPT_NOSIGNAL, 1, rc);
  /* Without it a hanging name lookup blocks the loop when it is given up. */
  rc = set_long(easy, CURLOPT_QUICK_EXIT, 1, rc);
  rc = set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https", rc);
  rc = set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS, rc);
  rc = set_long(easy, CURLOPT_MAXAGE_CONN, MAX_AGE_S, rc);
  rc = set_long(easy, CURLOPT_HTTP_VERSION,
                target->tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1,
                rc);
  rc = set_long(easy, CURLOPT_PIPEWAIT, target->tls, rc);
  rc = set_long(easy, CURLOPT_FRESH_CONNECT, x->fresh, rc);
  if (target->unix_path) {
    rc = set_text(easy, CURLOPT_UNIX_SOCKET_PATH, target->unix_path, rc);
  }
  /* No proxy is taken from the environment: it would get the key, and its
   * answers would be taken for the service's. */
  rc = set_text(easy, CURLOPT_PROXY, "", rc);
  if (!target->loopback) {
    rc = set_long(easy, CURLOPT_TCP_KEEPALIVE, 1, rc);
    rc = set_text(easy, CURLOPT_ACCEPT_ENCODING, "", rc);
  }
  return rc;
}

/* A body by POSTFIELDS may be sent a second time by curl itself, when a kept
 * connection turns out dead after the server has read all of it. Only a
 * request that the server recognises may be. Others read from a callback that
 * can't go back; one without a body gets a new connection, which curl never
 * tries twice. */
static CURLcode set_body(tinker__transfer_t *x, CURLcode rc) {
  CURL *easy = x->easy;
  const tinker__http_request_t *r = x->request;
  rc = set_long(easy, CURLOPT_POST, 1, rc);
  if (rc) return rc;
  rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                        (curl_off_t)r->body.len);
  if (r->numbered || r->body.len == 0) {
    const char *body = r->body.len ? r->body.ptr : "";
    if (!r->numbered) rc = set_long(easy, CURLOPT_FRESH_CONNECT, 1, rc);
    return set_text(easy, CURLOPT_POSTFIELDS, body, rc);
  }
  x->read_at = 0;
  if (!rc) rc = curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_body);
  return set_data(easy, CURLOPT_READDATA, x, rc);
}

static CURLcode set_method(tinker__transfer_t *x, CURLcode rc) {
  switch (x->request->method) {
  case TINKER__HTTP_GET: return set_long(x->easy, CURLOPT_HTTPGET, 1, rc);
  case TINKER__HTTP_PUT:
    rc = set_text(x->easy, CURLOPT_CUSTOMREQUEST, "PUT", rc);
    break;
  case TINKER__HTTP_DELETE:
    rc = set_text(x->easy, CURLOPT_CUSTOMREQUEST, "DELETE", rc);
    break;
  case TINKER__HTTP_POST: break;
  }
  return set_body(x, rc);
}

int tinker__curl_prepare(tinker__transfer_t *x) {
  tinker__curl_t *owner = x->lane->owner;
  int64_t left = x->deadline_ms - tinker__loop_now(owner->loop);
  int rc = x->headers ? 0 : add_headers(x);
  if (!rc) rc = tinker__target_url(&owner->target, x->request->path, &x->url);
  if (rc) return rc;
  curl_easy_reset(x->easy);
  CURLcode code = set_callbacks(x, CURLE_OK);
  code = set_connection(x, code);
  code = set_method(x, code);
  code = set_text(x->easy, CURLOPT_URL, x->url.data, code);
  code = set_text(x->easy, CURLOPT_USERAGENT, owner->user_agent, code);
  code = set_data(x->easy, CURLOPT_HTTPHEADER, x->headers, code);
  /* The transfer's own timer is exact and also counts the wait for a
   * connection; this one is there in case it is late. */
  if (left < 1) left = 1;
  if (left > INT32_MAX / 2) left = INT32_MAX / 2;
  code = set_long(x->easy, CURLOPT_TIMEOUT_MS, (long)left + 1000, code);
  return code ? TINKER_ENOMEM : 0;
}
