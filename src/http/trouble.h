/* trouble: what a request that failed tells. Who refused, in which of the
 * service's known words, and the sentence about it for people. Whether to try
 * again is http/retry's.
 *
 * Pure; any thread. */
#ifndef TINKER_HTTP_TROUBLE_H
#define TINKER_HTTP_TROUBLE_H

#include <tinker/error.h>

#include "http/http.h"

/* Words of the service that mean more than their status does. */
typedef enum {
  TINKER__SAID_NOTHING,    /* no words that are known */
  TINKER__SAID_EXISTS,     /* the name is taken */
  TINKER__SAID_MISSING,    /* a path, run, sampler or base model */
  TINKER__SAID_NO_MODEL,   /* the trainer's model is not there */
  TINKER__SAID_NO_SESSION, /* the session is not there */
  TINKER__SAID_NO_ROUTE,   /* the service does not have this call */
  TINKER__SAID_STUCK,      /* the model can't go on */
  TINKER__SAID_TAKEN,      /* another call was sent under this number */
  TINKER__SAID_SPENT       /* this call was rejected before */
} tinker__said_t;

typedef struct tinker__trouble_s {
  int error;    /* transport code, 0 if there was a reply */
  bool sent;    /* with an error: the server may have seen it */
  int status;   /* of the reply */
  bool foreign; /* a 4xx that the service did not send */
  bool ended;   /* not the request failed, but the call that it asked about */
  tinker__said_t said;
  int64_t expected; /* number that the service waits for; 0 = it says none */
  tinker_category_t category; /* of an ended call */
  int64_t retry_after_ms;     /* 0 = not stated */
  int should_retry;           /* 1 = yes, -1 = no, 0 = not stated */
} tinker__trouble_t;

/* Reads a reply of which tinker__http_failed is true. */
void tinker__trouble_read(tinker__trouble_t *out,
                          const tinker__http_reply_t *reply);

/* The meaning of a refusal with this status, or, for status 0, of the error of
 * a call that ended badly. */
tinker__said_t tinker__trouble_said(int status, const char *text);

/* The N of a 409 with the words "expected N, got M": the service takes requests
 * in order and has none with that number; 0 = it says nothing like it. */
int64_t tinker__trouble_expected(int status, const char *text);

/* "the server answered 422: bad beta1 (log id X)": why the request failed. The
 * log id is the one that the server gave its reply. Returns out. */
const char *tinker__trouble_text(const tinker__http_reply_t *reply, char *out,
                                 size_t out_len);

#endif
