/* url: see the header. Pure. Base URLs and paths are from a user or from higher
 * layers; links and locations are the server's, and libcurl's parser reads
 * them, which also takes them apart when they are used. */
#include "http/url.h"

#include <curl/curl.h>
#include <string.h>
#include <tinker/error.h>

static bool is_control(unsigned char c) {
  return c < 0x20 || c == 0x7f;
}

static bool has_control(tinker__str_t s) {
  for (size_t i = 0; i < s.len; i++) {
    if (is_control((unsigned char)s.ptr[i])) return true;
  }
  return false;
}

static tinker__str_t skip(tinker__str_t s, size_t n) {
  return (tinker__str_t){s.ptr + n, s.len - n};
}

/* Where the host of an authority ends: before the port, brackets kept. 0 = it
 * has none, or a bracket that is not closed. */
static size_t host_end(tinker__str_t authority) {
  if (authority.len && authority.ptr[0] == '[') {
    const char *close = memchr(authority.ptr, ']', authority.len);
    return close ? (size_t)(close - authority.ptr) + 1 : 0;
  }
  const char *colon = memchr(authority.ptr, ':', authority.len);
  return colon ? (size_t)(colon - authority.ptr) : authority.len;
}

/* A user name and its password are not shown. */
static int host_of(tinker__str_t *host, tinker__str_t authority, char *why,
                   size_t why_len) {
  if (memchr(authority.ptr, '@', authority.len)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_url: a user name before '@' is not allowed");
  }
  *host = (tinker__str_t){authority.ptr, host_end(authority)};
  if (host->len == 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_url: it names no host");
  }
  tinker__str_t port = skip(authority, host->len);
  uint64_t number = 0;
  if (port.len == 0) return 0;
  if (port.ptr[0] == ':' && !tinker__parse_u64(skip(port, 1), &number) &&
      number > 0 && number <= 65535) {
    return 0;
  }
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "base_url: after the host must come ':' and a port from 1 "
                     "to 65535, not '%.*s'",
                     (int)(port.len < 40 ? port.len : 40), port.ptr);
}

/* 127.0.0.0/8 in dotted form: a name that merely begins so ("127.evil.org")
 * is some other machine. */
static bool is_loopback_v4(tinker__str_t host) {
  size_t dots = 0;
  if (!tinker__str_starts(host, "127.")) return false;
  for (size_t i = 0; i < host.len; i++) {
    if (host.ptr[i] == '.') {
      dots++;
    } else if (host.ptr[i] < '0' || host.ptr[i] > '9') {
      return false;
    }
  }
  return dots == 3;
}

static bool is_loopback(tinker__str_t host) {
  return tinker__str_ieq(host, TINKER__STR("localhost")) ||
         tinker__str_eqs(host, "[::1]") || is_loopback_v4(host);
}

static int parse_unix(tinker__target_t *out, tinker__mem_t *mem,
                      tinker__str_t path, char *why, size_t why_len) {
  if (path.len == 0 || path.ptr[0] != '/') {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_url: unix: needs an absolute path");
  }
  if (path.len > TINKER__UNIX_PATH_MAX) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_url: the socket's path has %zu bytes, at most %d "
                       "are possible",
                       path.len, TINKER__UNIX_PATH_MAX);
  }
  tinker__target_t t = {.loopback = true};
  t.base = tinker__mem_strdup(mem, "http://localhost");
  t.unix_path = tinker__mem_strndup(mem, path.ptr, path.len);
  if (!t.base || !t.unix_path) {
    tinker__target_free(&t, mem);
    return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  *out = t;
  return 0;
}

static int parse_http(tinker__target_t *out, tinker__mem_t *mem,
                      tinker__str_t url, size_t scheme_len, char *why,
                      size_t why_len) {
  tinker__str_t rest = skip(url, scheme_len);
  const char *slash = memchr(rest.ptr, '/', rest.len);
  tinker__str_t authority = {rest.ptr,
                             slash ? (size_t)(slash - rest.ptr) : rest.len};
  tinker__str_t host = {"", 0};
  int rc = host_of(&host, authority, why, why_len);
  if (rc) return rc;
  if (memchr(rest.ptr, '?', rest.len) || memchr(rest.ptr, '#', rest.len)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_url: a query or fragment is not allowed");
  }
  while (url.ptr[url.len - 1] == '/') url.len--;
  char *base = tinker__mem_strndup(mem, url.ptr, url.len);
  if (!base) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  *out = (tinker__target_t){
      .base = base,
      .tls = scheme_len == 8,
      .loopback = is_loopback(host),
  };
  return 0;
}

int tinker__target_parse(tinker__target_t *out, tinker__mem_t *mem,
                         const char *base_url, char *why, size_t why_len) {
  tinker__str_t url = tinker__str(base_url);
  if (url.len == 0 || url.len > TINKER__BASE_URL_MAX || has_control(url) ||
      memchr(url.ptr, ' ', url.len)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_url: empty, longer than %d bytes, or with a "
                       "space or control character",
                       TINKER__BASE_URL_MAX);
  }
  if (tinker__str_starts(url, "unix:")) {
    return parse_unix(out, mem, skip(url, 5), why, why_len);
  }
  if (tinker__str_starts(url, "http://")) {
    return parse_http(out, mem, url, 7, why, why_len);
  }
  if (tinker__str_starts(url, "https://")) {
    return parse_http(out, mem, url, 8, why, why_len);
  }
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "base_url: begins with none of https://, http://, unix:");
}

void tinker__target_free(tinker__target_t *target, tinker__mem_t *mem) {
  tinker__mem_free(mem, target->base);
  tinker__mem_free(mem, target->unix_path);
  *target = (tinker__target_t){0};
}

bool tinker__segment_ok(const char *id) {
  size_t n = id ? strlen(id) : 0;
  if (n == 0 || n > TINKER__SEGMENT_MAX) return false;
  for (size_t i = 0; i < n; i++) {
    if (id[i] <= ' ' || id[i] > '~' || strchr("/?#%\"\\", id[i])) return false;
  }
  return strcmp(id, ".") && strcmp(id, "..");
}

const char *tinker__segment_fault(tinker__str_t text) {
  if (text.len == 0) return "is empty";
  if (text.len > TINKER__SEGMENT_MAX) return "is longer than 256 bytes";
  if (memchr(text.ptr, '/', text.len)) return "has a '/'";
  if (has_control(text)) return "has a control character";
  bool dots = tinker__str_eqs(text, ".") || tinker__str_eqs(text, "..");
  return dots ? "is \".\" or \"..\"" : NULL;
}

/* pchar of RFC 3986. */
static bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || (c && strchr("-._~!$&'()*+,;=:@", c));
}

void tinker__segment_add(tinker__buf_t *out, tinker__str_t text) {
  for (size_t i = 0; i < text.len; i++) {
    if (is_plain(text.ptr[i])) {
      tinker__buf_addc(out, text.ptr[i]);
    } else {
      tinker__buf_addf(out, "%%%02X", (unsigned)(unsigned char)text.ptr[i]);
    }
  }
}

static void add_escaped(tinker__buf_t *out, tinker__str_t path) {
  size_t plain = 0;
  for (size_t i = 0; i < path.len; i++) {
    unsigned char c = (unsigned char)path.ptr[i];
    if (c != ' ' && c < 0x80) continue;
    tinker__buf_add(out, path.ptr + plain, i - plain);
    tinker__buf_addf(out, "%%%02X", c);
    plain = i + 1;
  }
  tinker__buf_add(out, path.ptr + plain, path.len - plain);
}

int tinker__target_url(const tinker__target_t *target, const char *path,
                       tinker__buf_t *out) {
  tinker__str_t rest = tinker__str(path);
  if (has_control(rest)) return TINKER_EINVAL;
  while (rest.len && rest.ptr[0] == '/') rest = skip(rest, 1);
  tinker__buf_clear(out);
  tinker__buf_adds(out, target->base);
  tinker__buf_addc(out, '/');
  add_escaped(out, rest);
  tinker__buf_addc(out, '\0');
  if (!tinker__buf_error(out)) out->len--;
  return tinker__buf_error(out);
}

/* ---- absolute URLs ---- */

/* More than any signed link; the rest of the code need not care. */
#define ORIGIN_MAX 1024

static int code_of(CURLUcode code) {
  if (!code) return 0;
  return code == CURLUE_OUT_OF_MEMORY ? TINKER_ENOMEM : TINKER_EINVAL;
}

/* A part of it, with a text before; a missing part is an error. */
static int add_part(tinker__buf_t *out, CURLU *u, CURLUPart part,
                    const char *before) {
  char *text = NULL;
  int rc = code_of(curl_url_get(u, part, &text, CURLU_DEFAULT_PORT));
  if (rc) return rc;
  tinker__buf_adds(out, before);
  for (const char *c = text; *c; c++) {
    tinker__buf_addc(out, *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c);
  }
  curl_free(text);
  return tinker__buf_error(out);
}

/* An http or https URL, perhaps relative to what u holds. */
static int parse(CURLU *u, const char *url) {
  char *scheme = NULL;
  int rc = code_of(curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER));
  if (!rc) rc = code_of(curl_url_get(u, CURLUPART_SCHEME, &scheme, 0));
  if (!rc && strcmp(scheme, "http") && strcmp(scheme, "https")) {
    rc = TINKER_EINVAL;
  }
  curl_free(scheme);
  return rc;
}

int tinker__url_origin(const char *url, tinker__buf_t *out) {
  CURLU *u = curl_url();
  int rc = u ? parse(u, url) : TINKER_ENOMEM;
  tinker__buf_clear(out);
  if (!rc) rc = add_part(out, u, CURLUPART_SCHEME, "");
  if (!rc) rc = add_part(out, u, CURLUPART_HOST, "://");
  if (!rc) rc = add_part(out, u, CURLUPART_PORT, ":");
  if (!rc && !tinker__buf_cstr(out)) rc = tinker__buf_error(out);
  curl_url_cleanup(u);
  return rc;
}

int tinker__url_resolve(const char *from, const char *location,
                        tinker__buf_t *out) {
  CURLU *u = curl_url();
  char *text = NULL;
  int rc = u ? parse(u, from) : TINKER_ENOMEM;
  if (!rc) rc = parse(u, location);
  if (!rc) rc = code_of(curl_url_get(u, CURLUPART_URL, &text, 0));
  tinker__buf_clear(out);
  if (!rc) rc = tinker__buf_adds(out, text);
  if (!rc && !tinker__buf_cstr(out)) rc = tinker__buf_error(out);
  curl_free(text);
  curl_url_cleanup(u);
  return rc;
}

static int compare_origins(const char *a, const char *b, char *why,
                           size_t why_len) {
  if (!strcmp(a, b)) return 0;
  bool lower = !strncmp(a, "https:", 6) && strncmp(b, "https:", 6) != 0;
  return tinker__why(why, why_len, TINKER_ENOTSUP,
                     "%.120s redirects to %.120s, which is %s: not followed", a,
                     b, lower ? "not encrypted" : "another origin");
}

int tinker__url_may_follow(const char *from, const char *to, tinker__mem_t *mem,
                           char *why, size_t why_len) {
  tinker__buf_t a, b;
  tinker__buf_init(&a, mem, ORIGIN_MAX);
  tinker__buf_init(&b, mem, ORIGIN_MAX);
  int rc = tinker__url_origin(from, &a);
  if (!rc) rc = tinker__url_origin(to, &b);
  if (!rc) rc = compare_origins(a.data, b.data, why, why_len);
  tinker__buf_free(&a);
  tinker__buf_free(&b);
  return rc;
}
