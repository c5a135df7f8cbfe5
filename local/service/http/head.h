/* head: is the head of a request well formed, and may whoever sent it talk to
 * this service. Pure: the HTTP library's parser is lenient, and what two
 * programs read in different ways is refused here instead.
 *
 * A web page can make a browser on this machine send requests to a loopback
 * port. If the page's owner points the page's name at 127.0.0.1 ("rebinding"),
 * such a request is one of the same origin, headers and all. What a browser
 * can't be talked out of is the truth in Host, Origin and Sec-Fetch-Site. */
#ifndef TINKER_SERVICE_HEAD_H
#define TINKER_SERVICE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Who may come in. Views and lists live as long as their user needs. */
typedef struct tinker__svc_gate_s {
  bool guarded;       /* TCP without a key file: the rules on who may come */
  tinker__str_t name; /* also a name of this service, "" = none */
  const char *const *origins; /* allowed ones, as browsers write them */
  size_t n_origins;
} tinker__svc_gate_t;

typedef struct tinker__svc_req_head_s {
  const tinker__svc_gate_t *gate;
  bool old; /* HTTP/1.0 */
  size_t hosts, lengths, codings;
  size_t bytes; /* of what was seen, one space before each value included */
  tinker__str_t host, coding;
  const char *malformed; /* the first fault, NULL = none */
  bool foreign;          /* an origin that is not allowed */
} tinker__svc_req_head_t;

/* The request line. target_len: bytes of the target as sent, escapes included;
 * plain: it has nothing in it that must be escaped. */
void tinker__svc_head_begin(tinker__svc_req_head_t *h,
                            const tinker__svc_gate_t *gate, const char *method,
                            const char *version, size_t target_len, bool plain);
void tinker__svc_head_field(tinker__svc_req_head_t *h, tinker__str_t name,
                            tinker__str_t value);
/* bytes: length of the head as it came, the empty line included. 0, or 400 (the
 * connection can't be used any further), 403 or 421, with a sentence. */
int tinker__svc_head_end(const tinker__svc_req_head_t *h, size_t bytes,
                         char *why, size_t why_len);

/* Does a target as sent hold nothing that must be escaped. */
bool tinker__svc_head_is_plain(tinker__str_t target);
/* Is this the value of Host for a loopback name or address, or for `name`. */
bool tinker__svc_head_is_local(tinker__str_t host, tinker__str_t name);
/* Is this an origin as browsers write them: scheme://host[:port]. */
bool tinker__svc_head_is_origin(const char *text);

#endif
