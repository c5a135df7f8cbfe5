/* curl_internal: what the files of the libcurl transport share.
 *
 *   curl_transport.c  the table: submit, cancel, close; retries; completion
 *   curl_lane.c       a lane: a multi handle driven by the loop's watches
 *   curl_request.c    a request as options of an easy handle
 *   curl_reply.c      what came back: headers, body, classification
 *
 * All of it runs on the loop's thread, curl's callbacks included. Code above
 * the interface (done, closed) is never called from inside a callback of
 * curl's, so it may submit and cancel as it likes. */
#ifndef TINKER_HTTP_CURL_INTERNAL_H
#define TINKER_HTTP_CURL_INTERNAL_H

#include <curl/curl.h>
#include <sys/types.h>

#include "http/curl.h"
#include "http/url.h"

/* Idle handles kept per lane, with what they have allocated. */
#define TINKER__CURL_IDLE_MAX 64

typedef struct tinker__curl_s tinker__curl_t;
typedef struct tinker__transfer_s tinker__transfer_t;

/* A descriptor of curl's. Indexed by its number. */
typedef struct tinker__curl_slot_s {
  tinker__watch_t *watch; /* NULL = none */
  /* Opened through us, so it is closed through us once it is connected: its
   * watch may idle. Others (the resolver's wake-up pair) are closed without a
   * word after REMOVE. */
  bool lazy;
  ino_t inode; /* of a lazy one: is the descriptor still this socket? */
} tinker__curl_slot_t;

typedef struct tinker__curl_lane_s {
  tinker__curl_t *owner;
  tinker__lane_t id;
  CURLM *multi;
  tinker__timer_t timer; /* curl's */
  tinker__curl_slot_t *slots;
  size_t slot_count;
  tinker__link_t busy; /* transfers from submit to done */
  tinker__link_t idle; /* transfers with a handle to be used again */
  size_t idle_count;
  bool no_memory; /* the last socket was not opened for lack of it */
  bool widened;   /* poll lane: the server speaks HTTP/1.1 only */
} tinker__curl_lane_t;

/* A request on its way, with the easy handle it uses. */
struct tinker__transfer_s {
  tinker__link_t link;
  tinker__curl_lane_t *lane;
  CURL *easy;
  tinker__http_request_t *request;
  tinker__http_reply_t reply;
  tinker__buf_t url;
  struct curl_slist *headers;
  tinker__timer_t deadline;
  tinker__timer_t again; /* back-off of a full listen queue */
  int64_t deadline_ms;
  int64_t back_off_ms; /* the next pause */
  int64_t back_off_end_ms;
  size_t read_at;  /* of the body, for the read callback */
  int write_error; /* why the write callback gave up, 0 = it did not */
  size_t too_long; /* bytes that the reply has at least, if that was why */
  bool in_multi;
  bool canceled;
  bool fresh; /* on a new connection; the one repeat there has been spent */
  bool sent;  /* bytes went out, in this attempt or one before */
  char error_text[CURL_ERROR_SIZE];
};

struct tinker__curl_s {
  tinker__http_t base;
  tinker__loop_t *loop;
  tinker__mem_t *mem;
  tinker__target_t target;
  char *key_header; /* "X-API-Key: ...", NULL = none */
  char *user_agent;
  tinker__curl_lane_t lanes[TINKER__LANE_COUNT];
  tinker__task_t close_task;
  void (*closed)(void *user);
  void *closed_user;
  bool closing;
};

/* curl_lane.c */
int tinker__curl_lane_init(tinker__curl_lane_t *lane, tinker__curl_t *owner,
                           tinker__lane_t id);
/* Frees all; no transfer is busy. */
void tinker__curl_lane_free(tinker__curl_lane_t *lane);
/* Callbacks of the sockets that the lane's connections use. */
curl_socket_t tinker__curl_open(void *lane, curlsocktype purpose,
                                struct curl_sockaddr *address);
int tinker__curl_close(void *lane, curl_socket_t fd);
/* The poll lane was sized for HTTP/2; this reply came by HTTP/1.1. */
void tinker__curl_lane_widen(tinker__curl_lane_t *lane);

/* curl_transport.c: a transfer of the lane has ended. */
void tinker__curl_done(tinker__transfer_t *x, CURLcode code);

/* curl_request.c: sets all options of x->easy for x->request. 0,
 * TINKER_EINVAL, TINKER_ENOMEM, TINKER_ERANDOM. */
int tinker__curl_prepare(tinker__transfer_t *x);

/* curl_reply.c: callbacks, and the verdict. */
size_t tinker__curl_on_header(char *data, size_t size, size_t n, void *x);
size_t tinker__curl_on_body(char *data, size_t size, size_t n, void *x);
void tinker__curl_reply_init(tinker__transfer_t *x);
/* Has the transfer put bytes on a connection? */
bool tinker__curl_bytes_sent(CURL *easy);
/* Fills error, sent and detail, by x->sent and the code. */
void tinker__curl_classify(tinker__transfer_t *x, CURLcode code);

#endif
