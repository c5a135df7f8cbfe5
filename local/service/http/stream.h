/* stream: a reply that is sent while it is being made.
 *
 * A writer adds bytes, from any thread; the HTTP thread sends them. While there
 * are no bytes the connection is suspended and takes no thread, like a parked
 * request. The bytes that wait are bounded: a reader that is too slow ends the
 * stream and does not make the writer wait. A reply that can't be finished is
 * cut off without its last chunk, so no reader takes it for a whole one.
 *
 * A handler makes the stream, hands it to its writer and returns
 * TINKER__PARKED. The headers are sent with the first bytes; until then the
 * writer can still refuse with a status. The writer's last call is one to end
 * or refuse. */
#ifndef TINKER_SERVICE_STREAM_H
#define TINKER_SERVICE_STREAM_H

#include <sys/types.h>

#include "service/http/http.h"

typedef struct tinker__svc_stream_s tinker__svc_stream_t;

/* Makes a stream for the reply of r, status 200, in which at most max bytes may
 * wait. 0, TINKER_ENOMEM, or TINKER_ECANCELED when the service stops. Without
 * the service's lock. */
int tinker__svc_stream_new(tinker__svc_stream_t **out, tinker__svc_req_t *r,
                           const char *content_type, size_t max);
/* 0, TINKER_EOVERFLOW when the reader is too slow, TINKER_ECANCELED when the
 * reader has gone or the service stops, or TINKER_ENOMEM. After a failure every
 * later write fails too. */
int tinker__svc_stream_write(tinker__svc_stream_t *st, const void *data,
                             size_t len);
/* Ends the reply after the bytes written so far: complete if rc is 0, else cut
 * off. */
void tinker__svc_stream_end(tinker__svc_stream_t *st, int rc);
/* Ends the stream; if nothing was written yet, r is answered with status and
 * text instead. */
void tinker__svc_stream_refuse(tinker__svc_stream_t *st, int status,
                               const char *text);

/* --- For http.c and the service's stop --- */
struct MHD_Response *tinker__svc_stream_response(tinker__svc_req_t *r);
/* The HTTP library calls this for the next bytes. */
ssize_t tinker__svc_stream_read(void *r, uint64_t pos, char *out, size_t max);
/* The request is completed: the stream no longer uses it. */
void tinker__svc_stream_gone(tinker__svc_stream_t *st);
/* Cuts all streams off. Under the service's lock, with `stopping` set. */
void tinker__svc_streams_release(tinker__svc_t *s);

#endif
