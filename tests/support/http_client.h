/* http_client: the libcurl transport with a loop of its own, driven from the
 * thread of a test. */
#ifndef TINKER_TESTS_SUPPORT_HTTP_CLIENT_H
#define TINKER_TESTS_SUPPORT_HTTP_CLIENT_H

#include "http/curl.h"
#include "support/loop_wait.h"

enum { FAR_MS = 60000 }; /* a limit that only a hang reaches */

typedef struct http_client_s {
  tinker__mem_t mem;
  tinker__loop_t *loop;
  tinker__http_t *http;
  tinker__task_t close_task;
  atomic_int done;
  atomic_int closed;
} http_client_t;

/* A request from the test's thread, and what came of it. */
typedef struct http_call_s {
  tinker__http_request_t request;
  tinker__task_t submit;
  tinker__task_t cancel;
  http_client_t *client;
  int submit_rc;
  int times; /* done has run */
  bool in_submit;
  tinker__http_reply_t reply;
  atomic_bool over;
} http_call_t;

/* How a loop is made: tinker__loop_background or a like. */
typedef int (*http_loop_fn)(tinker__loop_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world);

void http_client_open(http_client_t *c, const char *url);
/* The same on another loop than one with threads. */
void http_client_open_on(http_client_t *c, const char *url, http_loop_fn make);
/* Closes the transport and waits for its end. */
void http_client_stop(http_client_t *c);
/* The same, and the loop; no block may be left. */
void http_client_close(http_client_t *c);

/* Fills call in without sending it. A time-out and a largest reply that are 0
 * become FAR_MS and 1 MiB. */
void http_call_prepare(http_client_t *c, http_call_t *call,
                       tinker__http_request_t r);
void http_call_begin(http_client_t *c, http_call_t *call,
                     tinker__http_request_t request);
/* On the loop's thread: what begin posts, its cancellation, which does nothing
 * when it is over, and how it ends. */
void http_call_submit(tinker__task_t *task);
void http_call_cancel(tinker__task_t *task);
void http_call_done(tinker__http_request_t *request,
                    tinker__http_reply_t *reply);
bool http_call_is_over(void *call);
/* Waits until it is over, and until the loop's thread has run all that was
 * posted before: that thread may have a queued cancellation of a call that is
 * over, so the memory of a call may be used again after this only. */
void http_call_finish(http_call_t *call);
/* Frees the reply. */
void http_call_end(http_call_t *call);
/* The whole of it, with what must come of it. */
void http_expect(http_client_t *c, tinker__http_request_t request, int error,
                 int status, int sent);

#endif
