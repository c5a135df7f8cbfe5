/* stream: see stream.h. Each stream has a lock. Its writer and its request both
 * use it, and the later of the two to end frees it. The list of all streams is
 * guarded by the service's lock, which is taken before a stream's. */
#include "service/http/stream.h"

#include <microhttpd.h>
#include <string.h>

#include <tinker/error.h>

#define BLOCK 4096 /* bytes that the HTTP library asks for at once */

typedef enum {
  PARKED,  /* suspended before its headers */
  SENDING, /* the HTTP thread will ask for bytes */
  WAITING, /* suspended after the bytes so far */
  GONE     /* the request is over */
} state_t;

typedef enum {
  OPEN,
  COMPLETE, /* after the bytes that wait */
  BROKEN,   /* cut off after the bytes that wait */
  CUT       /* cut off at once */
} end_t;

struct tinker__svc_stream_s {
  tinker__link_t link; /* service.streams */
  tinker__svc_t *service;
  tinker__svc_req_t *req; /* NULL when GONE */
  pthread_mutex_t lock;
  state_t state;
  bool written; /* the writer has ended and will not use it again */
  end_t end;    /* the first end wins, except that CUT replaces any */
  int rc;       /* why it is cut off */
  tinker__buf_t bytes;
  size_t at, max; /* bytes of `bytes` already sent; bytes that may wait */
};

/* Called when neither the writer nor the request uses st any more. */
static void stream_free(tinker__svc_stream_t *st) {
  tinker__svc_t *s = st->service;
  tinker__svc_lock(s);
  tinker__list_remove(&st->link);
  tinker__svc_unlock(s);
  pthread_mutex_destroy(&st->lock);
  tinker__buf_free(&st->bytes);
  tinker__mem_free(s->mem, st);
}

/* Lets the HTTP thread ask for bytes. Under the stream's lock, like `finish`.
 */
static void wake(tinker__svc_stream_t *st) {
  if (st->state != PARKED && st->state != WAITING) return;
  st->state = SENDING;
  tinker__svc_req_resume(st->req);
}

static void finish(tinker__svc_stream_t *st, end_t end, int rc) {
  tinker__svc_req_t *r = st->req;
  if (st->end != OPEN) return;
  st->end = end;
  st->rc = rc;
  if (rc && st->state == PARKED && r->status == 200) {
    tinker__svc_reply_error(r, 500, "%s", tinker_code_text(rc));
  }
  wake(st);
}

int tinker__svc_stream_new(tinker__svc_stream_t **out, tinker__svc_req_t *r,
                           const char *content_type, size_t max) {
  tinker__svc_t *s = r->service;
  tinker__svc_stream_t *st = tinker__mem_zalloc(s->mem, sizeof *st);
  if (!st) return TINKER_ENOMEM;
  st->service = s;
  st->req = r;
  st->max = max;
  tinker__list_init(&st->link);
  tinker__buf_init(&st->bytes, s->mem, max > SIZE_MAX / 2 ? max : 2 * max);
  pthread_mutex_init(&st->lock, NULL);
  tinker__svc_lock(s);
  bool stopping = s->stopping;
  if (!stopping) tinker__list_push_back(&s->streams, &st->link);
  tinker__svc_unlock(s);
  if (stopping) {
    stream_free(st);
    return TINKER_ECANCELED;
  }
  r->stream = st;
  r->status = 200;
  r->content_type = content_type;
  *out = st;
  return 0;
}

static int add(tinker__svc_stream_t *st, const void *data, size_t len) {
  if (st->state == GONE) return TINKER_ECANCELED;
  if (st->end != OPEN) return st->rc;
  if (len > st->max - (st->bytes.len - st->at)) return TINKER_EOVERFLOW;
  if (st->at > st->bytes.len / 2) { /* reuse the room of the bytes sent */
    st->bytes.len -= st->at;
    memmove(st->bytes.data, st->bytes.data + st->at, st->bytes.len);
    st->at = 0;
  }
  return tinker__buf_add(&st->bytes, data, len);
}

int tinker__svc_stream_write(tinker__svc_stream_t *st, const void *data,
                             size_t len) {
  pthread_mutex_lock(&st->lock);
  int rc = add(st, data, len);
  if (rc == 0 && len) wake(st);
  if (rc != 0 && st->state != GONE) finish(st, BROKEN, rc);
  pthread_mutex_unlock(&st->lock);
  return rc;
}

void tinker__svc_stream_end(tinker__svc_stream_t *st, int rc) {
  pthread_mutex_lock(&st->lock);
  st->written = true;
  bool last = st->state == GONE;
  if (!last) finish(st, rc ? BROKEN : COMPLETE, rc);
  pthread_mutex_unlock(&st->lock);
  if (last) stream_free(st);
}

void tinker__svc_stream_refuse(tinker__svc_stream_t *st, int status,
                               const char *text) {
  pthread_mutex_lock(&st->lock);
  if (st->state == PARKED && st->end == OPEN) {
    tinker__svc_reply_error(st->req, status, "%s", text);
  }
  pthread_mutex_unlock(&st->lock);
  tinker__svc_stream_end(st, TINKER_ECANCELED);
}

/* --- HTTP thread ---------------------------------------------------------- */

ssize_t tinker__svc_stream_read(void *user, uint64_t pos, char *out,
                                size_t max) {
  tinker__svc_req_t *r = user;
  tinker__svc_stream_t *st = r->stream;
  ssize_t n = 0;
  (void)pos;
  pthread_mutex_lock(&st->lock);
  size_t left = st->bytes.len - st->at;
  if (left && st->end != CUT) {
    n = (ssize_t)(left < max ? left : max);
    memcpy(out, st->bytes.data + st->at, (size_t)n);
    st->at += (size_t)n;
  } else if (st->end == COMPLETE) {
    n = MHD_CONTENT_READER_END_OF_STREAM;
  } else if (st->end != OPEN) {
    n = MHD_CONTENT_READER_END_WITH_ERROR;
  } else {
    MHD_suspend_connection(r->conn);
    st->state = WAITING;
  }
  pthread_mutex_unlock(&st->lock);
  return n;
}

/* NULL when the stream was refused or failed before its first bytes: the reply
 * of r then says why. */
struct MHD_Response *tinker__svc_stream_response(tinker__svc_req_t *r) {
  if (r->status != 200) return NULL;
  return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK,
                                           tinker__svc_stream_read, r, NULL);
}

void tinker__svc_stream_gone(tinker__svc_stream_t *st) {
  pthread_mutex_lock(&st->lock);
  st->state = GONE;
  st->req = NULL;
  bool last = st->written;
  pthread_mutex_unlock(&st->lock);
  if (last) stream_free(st);
}

void tinker__svc_streams_release(tinker__svc_t *s) {
  TINKER__LIST_EACH(l, tmp, &s->streams) {
    tinker__svc_stream_t *st = TINKER__CONTAINER(l, tinker__svc_stream_t, link);
    pthread_mutex_lock(&st->lock);
    if (st->state == PARKED && st->end == OPEN) {
      tinker__svc_reply_error(st->req, 503, "the service is shutting down");
    }
    if (st->state != GONE) {
      finish(st, CUT, TINKER_ECANCELED);
      st->end = CUT; /* the bytes that wait are not sent either */
    }
    pthread_mutex_unlock(&st->lock);
  }
}
