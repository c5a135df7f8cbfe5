/* stream: a reply that is sent while it is being made.
 *
 * A writer adds bytes, from any thread; the HTTP thread sends them. While there
 * are none the connection is suspended, as that of a parked request: it takes
 * no thread. Bytes that are not sent yet are bounded, so a reader that is too
 * slow ends the stream and never makes others wait. A reply that can't be
 * finished is cut off without its last chunk: no reader takes it for a whole
 * one.
 *
 * A handler makes the stream, hands it to its writer and returns
 * TINKER__PARKED. Headers go out with the first bytes: until then the writer
 * can still refuse with a status. The writer calls end or refuse once, last. */
#ifndef TINKER_SERVICE_STREAM_H
#define TINKER_SERVICE_STREAM_H

#include <sys/types.h>

#include "service/http/http.h"

typedef struct tinker__svc_stream_s tinker__svc_stream_t;

/* For the reply of r, status 200, at most max bytes ahead of its reader.
 * TINKER_ECANCELED when the service stops. Without the service's lock. */
int tinker__svc_stream_new(tinker__svc_stream_t **out, tinker__svc_req_t *r,
                           const char *content_type, size_t max);
/* TINKER_EOVERFLOW for a reader that is too slow, TINKER_ECANCELED when it has
 * gone or the service stops, TINKER_ENOMEM: nothing more can be sent then. */
int tinker__svc_stream_write(tinker__svc_stream_t *st, const void *data,
                             size_t len);
/* rc 0: the reply is complete; else it is cut off, after what was written. */
void tinker__svc_stream_end(tinker__svc_stream_t *st, int rc);
/* Instead of a stream, before its first bytes: an error. */
void tinker__svc_stream_refuse(tinker__svc_stream_t *st, int status,
                               const char *text);

/* --- For http.c and the service's stop --- */
struct MHD_Response *tinker__svc_stream_response(tinker__svc_req_t *r);
/* What the HTTP library asks for the next bytes with. */
ssize_t tinker__svc_stream_read(void *r, uint64_t pos, char *out, size_t max);
/* The request is over. */
void tinker__svc_stream_gone(tinker__svc_stream_t *st);
/* Cuts all off. Under the service's lock, with `stopping` set. */
void tinker__svc_streams_release(tinker__svc_t *s);

#endif
