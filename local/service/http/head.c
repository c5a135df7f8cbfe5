/* head: see head.h. Any thread. */
#include "service/http/head.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* --- Hosts ---------------------------------------------------------------- */

static bool is_loopback_v4(const char *text) {
  struct in_addr a;
  return inet_pton(AF_INET, text, &a) == 1 && ntohl(a.s_addr) >> 24 == 127;
}

static bool is_loopback_v6(const char *text) {
  struct in6_addr a;
  if (inet_pton(AF_INET6, text, &a) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&a) ||
         (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127);
}

/* True for an empty string, or ":" and a port, which may be empty. */
static bool is_port(tinker__str_t s) {
  uint64_t port;
  if (!s.len) return true;
  if (*s.ptr != ':') return false;
  tinker__str_t digits = {s.ptr + 1, s.len - 1};
  return !digits.len || (tinker__parse_u64(digits, &port) == 0 && port < 65536);
}

/* Drops the dot that may end a full name. */
static tinker__str_t without_dot(tinker__str_t s) {
  if (s.len > 1 && s.ptr[s.len - 1] == '.') s.len--;
  return s;
}

static bool is_local_name(tinker__str_t s, tinker__str_t name) {
  char text[64];
  s = without_dot(s);
  if (tinker__str_ieq(s, TINKER__STR("localhost"))) return true;
  if (name.len && tinker__str_ieq(s, without_dot(name))) return true;
  if (s.len >= sizeof text) return false;
  memcpy(text, s.ptr, s.len);
  text[s.len] = 0;
  return is_loopback_v4(text);
}

static bool is_local_v6(tinker__str_t s, size_t end) {
  char text[64];
  if (end - 1 >= sizeof text) return false;
  memcpy(text, s.ptr + 1, end - 1);
  text[end - 1] = 0;
  return is_loopback_v6(text) &&
         is_port((tinker__str_t){s.ptr + end + 1, s.len - end - 1});
}

bool tinker__svc_head_is_local(tinker__str_t host, tinker__str_t name) {
  if (!host.len || memchr(host.ptr, 0, host.len)) return false;
  if (*host.ptr == '[') {
    const char *end = memchr(host.ptr, ']', host.len);
    return end && is_local_v6(host, (size_t)(end - host.ptr));
  }
  const char *colon = memchr(host.ptr, ':', host.len);
  size_t len = colon ? (size_t)(colon - host.ptr) : host.len;
  return is_port((tinker__str_t){host.ptr + len, host.len - len}) &&
         is_local_name((tinker__str_t){host.ptr, len}, name);
}

/* --- Origins -------------------------------------------------------------- */

bool tinker__svc_head_is_origin(const char *text) {
  const char *host = strstr(text, "://");
  if (!host || host == text) return false;
  host += 3;
  size_t len = strlen(host);
  for (const char *p = text; *p; p++) {
    if (*p <= ' ' || *p >= 0x7f) return false;
  }
  return len && strcspn(host, "/?#@*,") == len;
}

static bool allowed(const tinker__svc_gate_t *g, tinker__str_t origin) {
  for (size_t i = 0; i < g->n_origins; i++) {
    if (tinker__str_ieq(origin, tinker__str(g->origins[i]))) return true;
  }
  return false;
}

/* --- The head ------------------------------------------------------------- */

static void fault(tinker__svc_req_head_t *h, const char *what) {
  if (!h->malformed) h->malformed = what;
}

bool tinker__svc_head_is_plain(tinker__str_t target) {
  for (size_t i = 0; i < target.len; i++) {
    unsigned char c = (unsigned char)target.ptr[i];
    if (c <= ' ' || c == 0x7f) return false;
  }
  return true;
}

void tinker__svc_head_begin(tinker__svc_req_head_t *h,
                            const tinker__svc_gate_t *gate, const char *method,
                            const char *version, size_t target_len,
                            bool plain) {
  *h = (tinker__svc_req_head_t){.gate = gate,
                                .old = !strcmp(version, "HTTP/1.0")};
  /* Two spaces, the end of the line, the empty line. */
  h->bytes = strlen(method) + target_len + strlen(version) + 6;
  if (!h->old && strcmp(version, "HTTP/1.1") != 0) {
    fault(h, "the version must be HTTP/1.1 or HTTP/1.0");
  }
  if (!plain) fault(h, "the target has a character that must be escaped");
}

/* RFC 9110, 5.6.2 says which characters a header's name may have. */
static bool is_token(tinker__str_t s) {
  for (size_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.ptr[i];
    if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c)) return false;
  }
  return s.len > 0;
}

static bool is_value(tinker__str_t s) {
  for (size_t i = 0; i < s.len; i++) {
    unsigned char c = (unsigned char)s.ptr[i];
    if ((c < ' ' && c != '\t') || c == 0x7f) return false;
  }
  return true;
}

static void take_origin(tinker__svc_req_head_t *h, tinker__str_t value) {
  if (!allowed(h->gate, value)) h->foreign = true;
}

/* A browser sends no Origin with a plain GET; Sec-Fetch-Site then says that a
 * page of another site asks. With --allow-origin such pages are expected, so
 * Origin alone decides. */
static void take_site(tinker__svc_req_head_t *h, tinker__str_t value) {
  if (!h->gate->n_origins && !tinker__str_eqs(value, "none") &&
      !tinker__str_eqs(value, "same-origin")) {
    h->foreign = true;
  }
}

static bool named(tinker__str_t name, const char *want) {
  return tinker__str_ieq(name, tinker__str(want));
}

void tinker__svc_head_field(tinker__svc_req_head_t *h, tinker__str_t name,
                            tinker__str_t value) {
  /* Colon, space and end of line. The library shows a value of one space as an
   * empty one, so an empty value counts one byte more. */
  h->bytes += name.len + value.len + (value.len ? 4 : 5);
  if (!is_token(name)) {
    fault(h, "a header's name has a character that names don't have");
  }
  if (!is_value(value)) fault(h, "a header's value has a control character");
  if (named(name, "Host")) {
    h->hosts++;
    h->host = value;
  } else if (named(name, "Content-Length")) {
    h->lengths++;
  } else if (named(name, "Transfer-Encoding")) {
    h->codings++;
    h->coding = value;
  } else if (named(name, "Origin")) {
    take_origin(h, value);
  } else if (named(name, "Sec-Fetch-Site")) {
    take_site(h, value);
  }
}

static const char *malformed(const tinker__svc_req_head_t *h, size_t bytes) {
  if (h->malformed) return h->malformed;
  if (h->hosts > 1) return "Host is given twice";
  if (!h->hosts && (!h->old || h->gate->guarded)) return "Host is missing";
  if (h->lengths > 1) return "Content-Length is given twice";
  if (h->lengths && h->codings) {
    return "Content-Length and Transfer-Encoding exclude each other";
  }
  if (h->codings > 1) return "Transfer-Encoding is given twice";
  if (h->codings && (h->old || !named(h->coding, "chunked"))) {
    return "Transfer-Encoding must be chunked, in HTTP/1.1";
  }
  /* The parser ends every part of the head at its first NUL byte. */
  if (bytes > h->bytes) return "the head has a NUL byte, or space in excess";
  return NULL;
}

int tinker__svc_head_end(const tinker__svc_req_head_t *h, size_t bytes,
                         char *why, size_t why_len) {
  const char *text = malformed(h, bytes);
  if (text) {
    return tinker__why(why, why_len, 400, "malformed request: %s", text);
  }
  if (!h->gate->guarded) return 0;
  if (!tinker__svc_head_is_local(h->host, h->gate->name)) {
    return tinker__why(why, why_len, 421,
                       "Host '%.*s' is not a loopback name or address: without "
                       "--key-file the service answers to those alone",
                       (int)(h->host.len < 100 ? h->host.len : 100),
                       h->host.ptr);
  }
  if (h->foreign) {
    return tinker__why(why, why_len, 403,
                       "requests of web pages are refused: their Origin is not "
                       "one that --allow-origin names");
  }
  return 0;
}
