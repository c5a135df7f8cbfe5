/* link: see link.h. A request is an exchange from submit to done. Replies are
 * put into one inbox by whatever thread finds that nothing runs, which wakes
 * the loops through their descriptors; each loop's thread then takes what is
 * its own. No lock: the machine runs one thread at a time. */
#include "sim/link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/list.h"
#include "http/curl.h"
#include "loop/loop.h"
#include "sim/host.h"

typedef struct {
  tinker__http_t base;
  tinker__loop_t *loop;
  tinker__watch_t *watch; /* NULL until the first request */
  int fd;
  tinker__task_t close_task;
  void (*closed)(void *user);
  void *closed_user;
  bool closing;
} sim_link_t;

typedef struct {
  tinker__link_t link; /* of all exchanges */
  tinker__timer_t limit;
  tinker__task_t task;
  sim_link_t *owner;
  tinker__http_request_t *request;
  uint64_t id;
  bool over; /* head and body are its end */
  sim_head_t head;
  char *bytes; /* owned; the body begins behind the head */
  size_t len;
} exchange_t;

static tinker__link_t all = {&all, &all};
static uint64_t last_id;

static sim_link_t *from_http(tinker__http_t *http) {
  return TINKER__CONTAINER(http, sim_link_t, base);
}

/* --- The end of an exchange ----------------------------------------------- */

static void fill(const exchange_t *x, tinker__http_reply_t *reply) {
  const sim_head_t *h = &x->head;
  reply->error = h->error;
  reply->sent = h->sent;
  if (h->error) snprintf(reply->detail, sizeof reply->detail, "simulated");
  if (h->error) return;
  reply->status = h->status;
  reply->retry_after_ms = h->retry_after_ms;
  reply->content_length = (int64_t)x->len;
  memcpy(reply->content_type, h->content_type, sizeof reply->content_type);
  if (h->location[0]) reply->location = h->location;
  if (h->location[0] && x->request->redirects > 0) {
    reply->error = TINKER_ENOTSUP;
  } else if (x->len > x->request->reply_max) {
    reply->error = TINKER_EOVERFLOW;
  } else if (x->len > 0 &&
             tinker__buf_add(&reply->body, x->bytes + sizeof x->head, x->len)) {
    reply->error = TINKER_ENOMEM;
  }
}

static void finish(exchange_t *x) {
  tinker__http_request_t *request = x->request;
  tinker__loop_t *loop = x->owner->loop;
  tinker__http_reply_t reply = {.retry_after_ms = -1,
                                .should_retry = -1,
                                .content_length = -1,
                                .range_first = -1,
                                .range_last = -1,
                                .whole_length = -1};
  tinker__buf_init(&reply.body, loop->mem, request->reply_max);
  fill(x, &reply);
  tinker__timer_stop(loop, &x->limit);
  tinker__list_remove(&x->link);
  request->transport_private = NULL;
  request->done(request, &reply);
  tinker__buf_free(&reply.body);
  free(x->bytes);
  free(x);
}

static void on_task(tinker__task_t *task) {
  finish(TINKER__CONTAINER(task, exchange_t, task));
}

/* Ends it from this side: the parent keeps its reply. */
static void end_as(exchange_t *x, int error) {
  sim_message_t m = {.what = SIM_SAY_CANCEL, .id = x->id};
  char *bytes;
  if (x->over) return;
  x->over = true;
  x->head = (sim_head_t){.error = error, .sent = true};
  sim_host_ask(&m, NULL, &bytes);
  tinker__timer_stop(x->owner->loop, &x->limit);
  tinker__loop_post(x->owner->loop, &x->task);
}

static void on_limit(tinker__timer_t *timer) {
  end_as(TINKER__CONTAINER(timer, exchange_t, limit), TINKER_ETIMEDOUT);
}

/* Any thread, in the middle of anything. */
static void take_reply(const sim_message_t *m, char *bytes) {
  uint64_t one = 1;
  TINKER__LIST_EACH(l, tmp, &all) {
    exchange_t *x = TINKER__CONTAINER(l, exchange_t, link);
    if (x->id != m->id || x->over) continue;
    x->over = true;
    x->bytes = bytes;
    memcpy(&x->head, bytes, sizeof x->head);
    x->len = m->len - sizeof x->head;
    syscall(SYS_write, x->owner->fd, &one, sizeof one);
    return;
  }
  free(bytes);
}

/* What has its reply is ended one by one: an end may submit and cancel. */
static void on_ready(void *user, int fd, unsigned ready) {
  sim_link_t *link = user;
  uint64_t count;
  (void)ready;
  syscall(SYS_read, fd, &count, sizeof count);
  TINKER__LIST_EACH(l, tmp, &all) {
    exchange_t *x = TINKER__CONTAINER(l, exchange_t, link);
    if (x->owner == link && x->bytes) {
      tinker__timer_stop(link->loop, &x->limit);
      tinker__loop_post(link->loop, &x->task);
    }
  }
}

/* --- A request ------------------------------------------------------------ */

static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};

static void put(char **at, const char *text, uint32_t len) {
  if (len) memcpy(*at, text, len);
  *at += len;
}

static uint32_t length(const char *text) {
  return text ? (uint32_t)strlen(text) + 1 : 0;
}

static void send_request(exchange_t *x) {
  const tinker__http_request_t *r = x->request;
  const char *method = methods[r->method], *path = r->url ? r->url : r->path;
  tinker__piece_t whole;
  tinker__place_t place = {0};
  tinker__pieces_t body = tinker__http_body(r, &whole);
  const char *type = r->content_type ? r->content_type
                     : body.len      ? "application/json"
                                     : NULL;
  sim_lengths_t n = {length(method),
                     length(path),
                     length(type),
                     length(r->accept),
                     length(r->idempotency_key),
                     (uint32_t)body.len};
  size_t len =
      sizeof n + n.method + n.path + n.content_type + n.accept + n.key + n.body;
  char *bytes = malloc(len), *at = bytes, *answer;
  put(&at, (const char *)&n, sizeof n);
  put(&at, method, n.method);
  put(&at, path, n.path);
  put(&at, type, n.content_type);
  put(&at, r->accept, n.accept);
  put(&at, r->idempotency_key, n.key);
  tinker__pieces_read(&body, &place, at, body.len);
  sim_message_t m = {
      .what = SIM_SAY_REQUEST, .len = (uint32_t)len, .id = x->id};
  sim_host_ask(&m, bytes, &answer);
  free(bytes);
}

static int open_watch(sim_link_t *link) {
  if (link->watch) return 0;
  int rc =
      tinker__watch_new(link->loop, &link->watch, link->fd, on_ready, link);
  return rc ? rc : tinker__watch_set(link->loop, link->watch, TINKER__READABLE);
}

static int link_submit(tinker__http_t *http, tinker__http_request_t *r) {
  sim_link_t *link = from_http(http);
  if (link->closing) return TINKER_ECLOSED;
  int rc = open_watch(link);
  if (rc) return rc;
  exchange_t *x = calloc(1, sizeof *x);
  if (!x) return TINKER_ENOMEM;
  x->owner = link;
  x->request = r;
  x->id = ++last_id;
  tinker__task_init(&x->task, on_task);
  tinker__timer_init(&x->limit, on_limit);
  tinker__list_push_back(&all, &x->link);
  r->transport_private = x;
  int64_t limit = r->timeout_ms > 0 ? r->timeout_ms : r->stall_ms;
  tinker__timer_start(link->loop, &x->limit,
                      tinker__loop_now(link->loop) + limit);
  sim_host_point();
  send_request(x);
  sim_host_point();
  return 0;
}

static void link_cancel(tinker__http_t *http, tinker__http_request_t *r) {
  (void)http;
  end_as(r->transport_private, TINKER_ECANCELED);
}

static void on_close(tinker__task_t *task) {
  sim_link_t *link = TINKER__CONTAINER(task, sim_link_t, close_task);
  bool any = false;
  TINKER__LIST_EACH(l, tmp, &all) {
    exchange_t *x = TINKER__CONTAINER(l, exchange_t, link);
    if (x->owner != link) continue;
    any = true;
    end_as(x, TINKER_ECANCELED);
  }
  if (any) {
    tinker__loop_post(link->loop, task); /* once they have run */
    return;
  }
  if (link->watch) tinker__watch_free(link->loop, link->watch);
  close(link->fd);
  if (link->closed) link->closed(link->closed_user);
  free(link);
}

static void link_close(tinker__http_t *http, void (*closed)(void *user),
                       void *user) {
  sim_link_t *link = from_http(http);
  link->closing = true;
  link->closed = closed;
  link->closed_user = user;
  tinker__loop_post(link->loop, &link->close_task);
}

static void link_resume(tinker__http_t *http, tinker__http_request_t *r) {
  (void)http;
  (void)r;
}

static const tinker__http_ops_t link_ops = {link_submit, link_cancel,
                                            link_close, link_resume};

int tinker__curl_new(tinker__http_t **out, tinker__loop_t *loop,
                     const tinker__curl_options_t *options, char *why,
                     size_t why_len) {
  (void)options;
  (void)why;
  (void)why_len;
  sim_link_t *link = calloc(1, sizeof *link);
  if (!link) return TINKER_ENOMEM;
  link->base.ops = &link_ops;
  link->loop = loop;
  link->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  tinker__task_init(&link->close_task, on_close);
  *out = &link->base;
  return 0;
}

void sim_link_enter(void) {
  sim_host_on_reply(take_reply);
}
