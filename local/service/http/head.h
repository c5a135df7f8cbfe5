/* head: checks that the head of a request is well formed and that its sender
 * may talk to this service. The HTTP library's parser is lenient; a head that
 * two programs could read in different ways is refused here. Pure: no I/O, no
 * state beside the struct, any thread.
 *
 * A web page can make a browser on this machine send requests to a loopback
 * port. If the page's owner points the page's name at 127.0.0.1 ("rebinding"),
 * the browser takes such a request for one of the same origin. A page can't
 * make the browser lie in Host, Origin and Sec-Fetch-Site, so these decide. */
#ifndef TINKER_SERVICE_HEAD_H
#define TINKER_SERVICE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Who may send requests. Borrows its strings: they outlive the struct. */
typedef struct tinker__svc_gate_s {
  bool guarded;       /* TCP without a key file: Host and Origin are checked */
  tinker__str_t name; /* another name of this service, "" = none */
  const char *const *origins; /* that are allowed, as browsers write them */
  size_t n_origins;
} tinker__svc_gate_t;

typedef struct tinker__svc_req_head_s {
  const tinker__svc_gate_t *gate;
  bool old; /* HTTP/1.0 */
  size_t hosts, lengths, codings;
  size_t bytes; /* seen so far, with one space before each value */
  tinker__str_t host, coding;
  const char *malformed; /* the first mistake, NULL = none */
  bool foreign;          /* an origin that is not allowed */
} tinker__svc_req_head_t;

/* Takes the request line. target_len counts the bytes of the target as sent,
 * escapes included; plain says that no byte in it had to be escaped. */
void tinker__svc_head_begin(tinker__svc_req_head_t *h,
                            const tinker__svc_gate_t *gate, const char *method,
                            const char *version, size_t target_len, bool plain);
void tinker__svc_head_field(tinker__svc_req_head_t *h, tinker__str_t name,
                            tinker__str_t value);
/* bytes: length of the head as sent, the empty line included. Returns 0, or
 * 400 (the connection can't be used any further), 403 or 421 with a sentence in
 * why. */
int tinker__svc_head_end(const tinker__svc_req_head_t *h, size_t bytes,
                         char *why, size_t why_len);

/* True when no byte of a target as sent had to be escaped. */
bool tinker__svc_head_is_plain(tinker__str_t target);
/* True when the value of Host names a loopback address, localhost or `name`. */
bool tinker__svc_head_is_local(tinker__str_t host, tinker__str_t name);
/* True for an origin as browsers write it, scheme://host[:port]. */
bool tinker__svc_head_is_origin(const char *text);

#endif
