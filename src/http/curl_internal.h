/* curl_internal: what the files of the libcurl transport share.
 *
 *   curl_transport.c  the table: submit, cancel, close; queue; completion
 *   curl_lane.c       a lane: a multi handle driven by the loop's watches
 *   curl_handle.c     easy handles, kept with all that no request changes
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

#include "base/digest.h"
#include "http/curl.h"
#include "http/url.h"

/* Idle handles kept per lane, with what they have allocated, 8 KiB or so: one
 * for each connection, since a burst takes them all, and to make a handle costs
 * more than to send a small request. */
#define TINKER__CURL_IDLE_MAX 512
/* Transfers that have ended and are kept for the next ones. */
#define TINKER__CURL_SPARE_MAX 64
/* Random bytes that are drawn together, for 32 keys. */
#define TINKER__CURL_RANDOM ((size_t)32 * TINKER__UUID_BYTES)

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

/* Requests of a lane wait in its own queue, in the order of submit, until one
 * of its connections can take them. curl never has more than it can carry: it
 * walks all that wait whenever one ends. */
typedef struct tinker__curl_lane_s {
  tinker__curl_t *owner;
  tinker__lane_t id;
  CURLM *multi;
  tinker__timer_t timer; /* curl's */
  tinker__curl_slot_t *slots;
  size_t slot_count;
  tinker__link_t waiting; /* transfers without a handle, oldest first */
  tinker__link_t busy;    /* transfers with a handle */
  size_t busy_count;
  size_t busy_max;
  tinker__link_t handles; /* idle, to be used again */
  size_t handle_count;
  uint64_t actions; /* how often curl has been called to act */
  bool in_curl;     /* curl acts now: it takes no transfer meanwhile */
  bool no_memory;   /* the last socket was not opened for lack of it */
} tinker__curl_lane_t;

/* An easy handle. Its callbacks find the transfer here. */
typedef struct tinker__curl_handle_s {
  tinker__link_t link;
  tinker__curl_lane_t *lane;
  CURL *easy;
  tinker__transfer_t *x;
  tinker__buf_t url; /* as set */
  int method;        /* as set, -1 = never */
  bool elsewhere;    /* as set: not by the base URL's Unix socket */
  bool fresh;        /* as set */
  bool bulky;        /* as set */
  bool rewinds;      /* as set: the body may be read again */
  /* Headers of the transfer: nodes with texts that are constant, or in lines.
   * The last one is the owner's common part. */
  struct curl_slist *nodes;
  size_t node_max;
  tinker__buf_t lines;
  tinker__buf_t joined; /* a small body in pieces, for curl */
  char error_text[CURL_ERROR_SIZE];
} tinker__curl_handle_t;

typedef enum {
  TINKER__TRANSFER_WAITING, /* in the lane's queue */
  TINKER__TRANSFER_CARRIED, /* the multi handle has it */
  TINKER__TRANSFER_PAUSED,  /* it too, until the sink takes more */
  TINKER__TRANSFER_RESTING  /* keeps its place; `again` or `deadline` goes on */
} tinker__transfer_state_t;

/* A request on its way. */
struct tinker__transfer_s {
  tinker__link_t link;
  tinker__curl_lane_t *lane;
  tinker__transfer_state_t state;
  tinker__curl_handle_t *handle; /* NULL while it waits */
  tinker__http_request_t *request;
  tinker__http_reply_t reply;
  tinker__timer_t deadline;
  tinker__timer_t again; /* back-off of a full listen queue; end of a pause */
  int64_t deadline_ms;   /* INT64_MAX = none */
  int64_t stall_due_ms;  /* the end of this window of stall_ms; the same */
  int64_t stall_from;    /* bytes that were moved before it */
  int64_t received;      /* bytes of the body in this attempt */
  int64_t back_off_ms;   /* the next pause */
  int64_t back_off_end_ms;
  uint64_t action; /* of the lane, when curl got it; UINT64_MAX = not yet */
  tinker__place_t read_at; /* of the body, for the read callback */
  int write_error;         /* why the write callback gave up, 0 = it did not */
  size_t too_long; /* bytes that the reply has at least, if that was why */
  int end_as;      /* code with which `deadline` ends it, 0 = its time is up */
  bool fresh;      /* on a new connection; the one repeat there is spent */
  bool sent;       /* bytes went out, in this attempt or one before */
  unsigned hops;   /* redirects that were followed */
  tinker__buf_t place; /* where the last one leads, "" = as the request says */
  char *location;      /* of this reply, as sent, then absolute; NULL = none */
  char key[37];        /* X-Idempotency-Key that was drawn, "" = none */
};

struct tinker__curl_s {
  tinker__http_t base;
  tinker__loop_t *loop;
  tinker__mem_t *mem;
  tinker__target_t target;
  char *key_line;   /* "X-API-Key: ...", NULL = none */
  char *agent_line; /* "User-Agent: ..." */
  char *origin;     /* of the base URL; "" if it has none that curl can read */
  /* The end of every request's headers: the key first, the rest of it goes to
   * other places too. */
  struct curl_slist common[3];
  tinker__buf_t url; /* of the request that is prepared */
  /* For keys, drawn for several at a time: what is left is at the front. */
  unsigned char random[TINKER__CURL_RANDOM];
  size_t random_left;
  tinker__curl_lane_t lanes[TINKER__LANE_COUNT];
  tinker__link_t spare; /* transfers */
  size_t spare_count;
  tinker__task_t close_task;
  void (*closed)(void *user);
  void *closed_user;
  bool closing;
  bool widened; /* TLS: the server speaks HTTP/1.1 only */
};

/* curl_lane.c */
int tinker__curl_lane_init(tinker__curl_lane_t *lane, tinker__curl_t *owner,
                           tinker__lane_t id);
/* Frees all; no transfer is busy. */
void tinker__curl_lane_free(tinker__curl_lane_t *lane);
/* Lets a paused transfer go on. */
void tinker__curl_unpause(tinker__transfer_t *x);
/* Callbacks of the sockets that the lane's connections use. */
curl_socket_t tinker__curl_open(void *lane, curlsocktype purpose,
                                struct curl_sockaddr *address);
int tinker__curl_close(void *lane, curl_socket_t fd);
/* The lanes were sized for HTTP/2, but a reply came by HTTP/1.1. */
void tinker__curl_widen(tinker__curl_t *owner);

/* curl_transport.c: a transfer of the lane has ended. */
void tinker__curl_done(tinker__transfer_t *x, CURLcode code);
/* The sink does not take more for now. */
void tinker__curl_paused(tinker__transfer_t *x);
/* Gives curl what waits, as far as there are connections. */
void tinker__curl_pump(tinker__curl_lane_t *lane);

/* curl_handle.c: one of the lane's, or a new one. NULL: no memory. */
tinker__curl_handle_t *tinker__curl_handle_take(tinker__curl_lane_t *lane);
void tinker__curl_handle_give(tinker__curl_handle_t *handle);
void tinker__curl_handle_free(tinker__curl_handle_t *handle);

/* curl_request.c */
/* TINKER_EINVAL if a text of the request can't be sent, or if its fields
 * exclude each other; TINKER_ENOMEM. */
int tinker__curl_check(const tinker__curl_t *owner,
                       const tinker__http_request_t *request);
/* The headers of x on its handle, once for all attempts; then the options of
 * one attempt. 0 or TINKER_ENOMEM. */
int tinker__curl_add_headers(tinker__transfer_t *x);
int tinker__curl_prepare(tinker__transfer_t *x);
/* curl's read callback. */
size_t tinker__curl_read_body(char *to, size_t size, size_t n, void *handle);

/* curl_reply.c: callbacks, and the verdict. */
size_t tinker__curl_on_header(char *data, size_t size, size_t n, void *handle);
size_t tinker__curl_on_body(char *data, size_t size, size_t n, void *handle);
void tinker__curl_reply_init(tinker__transfer_t *x);
/* Has the transfer put bytes on a connection in this attempt? */
bool tinker__curl_bytes_sent(const tinker__transfer_t *x);
/* Fills status, error, sent and detail, by x->sent and the code. */
void tinker__curl_classify(tinker__transfer_t *x, CURLcode code);

#endif
