/* curl_transport: the table of the libcurl transport.
 *
 * Life of a transfer: submit takes one from the lane's idle list or makes
 * one, prepares its handle and gives it to the multi handle; it ends by
 * curl's word, by its deadline, or by cancel; then it leaves the multi handle,
 * is classified, perhaps sent once more, and goes back to the idle list before
 * done runs. finish() is the only place that calls done.
 *
 * Sent once more, both within the request's deadline: a numbered request or a
 * GET that a dying connection refused (curl's error 55), once, on a new
 * connection; and any request that a Unix socket's full listen queue turned
 * away, where nothing was sent, for some seconds. */
#include <errno.h>
#include <string.h>
#include <tinker/error.h>

#include "http/curl_internal.h"

#define BACK_OFF_FIRST_MS 5
#define BACK_OFF_LAST_MS 200
#define BACK_OFF_TOTAL_MS 10000

static tinker__curl_t *from_http(tinker__http_t *http) {
  return TINKER__CONTAINER(http, tinker__curl_t, base);
}

static tinker__loop_t *loop_of(const tinker__transfer_t *x) {
  return x->lane->owner->loop;
}

/* ---- end of a transfer ---- */

static void leave_multi(tinker__transfer_t *x) {
  if (x->in_multi) curl_multi_remove_handle(x->lane->multi, x->easy);
  x->in_multi = false;
}

static void free_transfer(tinker__transfer_t *x) {
  if (x->easy) curl_easy_cleanup(x->easy);
  tinker__buf_free(&x->url);
  tinker__mem_free(x->lane->owner->mem, x);
}

/* Out of the way of a next request; keeps the handle and its memory. */
static void retire(tinker__transfer_t *x) {
  tinker__curl_lane_t *lane = x->lane;
  tinker__timer_stop(lane->owner->loop, &x->deadline);
  tinker__timer_stop(lane->owner->loop, &x->again);
  curl_slist_free_all(x->headers);
  x->headers = NULL;
  x->request = NULL;
  tinker__list_remove(&x->link);
  if (lane->idle_count >= TINKER__CURL_IDLE_MAX) {
    free_transfer(x);
    return;
  }
  tinker__list_push_back(&lane->idle, &x->link);
  lane->idle_count++;
}

static void finish(tinker__transfer_t *x) {
  tinker__http_request_t *request = x->request;
  tinker__http_reply_t reply = x->reply;
  x->reply.body = (tinker__buf_t){0};
  request->transport_private = NULL;
  retire(x);
  request->done(request, &reply);
  tinker__buf_free(&reply.body);
}

static void end_with(tinker__transfer_t *x, CURLcode code) {
  leave_multi(x);
  x->sent |= tinker__curl_bytes_sent(x->easy);
  tinker__curl_classify(x, code);
  finish(x);
}

static int start(tinker__transfer_t *x) {
  tinker__buf_free(&x->reply.body);
  tinker__curl_reply_init(x);
  int rc = tinker__curl_prepare(x);
  if (rc) return rc;
  if (curl_multi_add_handle(x->lane->multi, x->easy)) return TINKER_ENOMEM;
  x->in_multi = true;
  return 0;
}

/* Without memory for another attempt the request ends with the code of the one
 * before. */
static void start_again(tinker__transfer_t *x, CURLcode code) {
  if (start(x)) end_with(x, code);
}

static bool may_repeat(const tinker__http_request_t *r) {
  return r->numbered || r->method == TINKER__HTTP_GET;
}

/* A listen queue that is full: the only failure to connect that passes by
 * itself within moments. connect() says EAGAIN; curl takes that for "in
 * progress" and then finds a dead socket without a reason. */
static bool queue_was_full(tinker__transfer_t *x, CURLcode code) {
  long number = 0;
  if (code != CURLE_COULDNT_CONNECT || !x->lane->owner->target.unix_path ||
      x->lane->no_memory) {
    return false;
  }
  curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &number);
  return (number == 0 || number == EAGAIN) &&
         tinker__loop_now(loop_of(x)) < x->back_off_end_ms;
}

static void on_again(tinker__timer_t *timer) {
  tinker__transfer_t *x = TINKER__CONTAINER(timer, tinker__transfer_t, again);
  start_again(x, CURLE_COULDNT_CONNECT);
}

static void back_off(tinker__transfer_t *x) {
  tinker__timer_start(loop_of(x), &x->again,
                      tinker__loop_now(loop_of(x)) + x->back_off_ms);
  x->back_off_ms *= 2;
  if (x->back_off_ms > BACK_OFF_LAST_MS) x->back_off_ms = BACK_OFF_LAST_MS;
}

static void note_version(tinker__transfer_t *x) {
  long version = 0;
  curl_easy_getinfo(x->easy, CURLINFO_HTTP_VERSION, &version);
  if (version == CURL_HTTP_VERSION_1_1) tinker__curl_lane_widen(x->lane);
}

void tinker__curl_done(tinker__transfer_t *x, CURLcode code) {
  leave_multi(x);
  if (code == CURLE_OK) note_version(x);
  x->sent |= tinker__curl_bytes_sent(x->easy);
  if (code == CURLE_SEND_ERROR && !x->fresh && may_repeat(x->request)) {
    x->fresh = true;
    start_again(x, code);
  } else if (queue_was_full(x, code)) {
    back_off(x);
  } else {
    end_with(x, code);
  }
}

/* Also how a cancel arrives: a turn later, and stopped by whatever ends the
 * transfer before. */
static void on_deadline(tinker__timer_t *timer) {
  tinker__transfer_t *x =
      TINKER__CONTAINER(timer, tinker__transfer_t, deadline);
  end_with(x,
           x->canceled ? CURLE_ABORTED_BY_CALLBACK : CURLE_OPERATION_TIMEDOUT);
}

/* ---- the table ---- */

static tinker__transfer_t *new_transfer(tinker__curl_lane_t *lane) {
  tinker__mem_t *mem = lane->owner->mem;
  tinker__transfer_t *x = tinker__mem_zalloc(mem, sizeof(*x));
  if (!x) return NULL;
  x->lane = lane;
  tinker__list_init(&x->link);
  tinker__timer_init(&x->deadline, on_deadline);
  tinker__timer_init(&x->again, on_again);
  tinker__buf_init(&x->url, mem, 1 << 16);
  x->easy = curl_easy_init();
  if (x->easy) return x;
  free_transfer(x);
  return NULL;
}

static tinker__transfer_t *take_transfer(tinker__curl_lane_t *lane) {
  tinker__link_t *link = tinker__list_pop_front(&lane->idle);
  if (!link) return new_transfer(lane);
  lane->idle_count--;
  return TINKER__CONTAINER(link, tinker__transfer_t, link);
}

static int curl_submit(tinker__http_t *http, tinker__http_request_t *r) {
  tinker__curl_t *c = from_http(http);
  if (c->closing) return TINKER_ECLOSED;
  tinker__transfer_t *x = take_transfer(&c->lanes[r->lane]);
  if (!x) return TINKER_ENOMEM;
  tinker__list_push_back(&x->lane->busy, &x->link);
  x->request = r;
  x->canceled = x->sent = false;
  x->fresh = r->fresh;
  x->back_off_ms = BACK_OFF_FIRST_MS;
  x->back_off_end_ms = tinker__loop_now(c->loop) + BACK_OFF_TOTAL_MS;
  x->deadline_ms = tinker__loop_now(c->loop) + r->timeout_ms;
  int rc = start(x);
  if (rc) {
    tinker__buf_free(&x->reply.body);
    retire(x);
    return rc;
  }
  r->transport_private = x;
  tinker__timer_start(c->loop, &x->deadline, x->deadline_ms);
  return 0;
}

static void curl_cancel(tinker__http_t *http, tinker__http_request_t *r) {
  tinker__transfer_t *x = r->transport_private;
  (void)http;
  x->canceled = true;
  tinker__timer_start(loop_of(x), &x->deadline, tinker__loop_now(loop_of(x)));
}

static void free_transport(tinker__curl_t *c) {
  for (int i = 0; i < TINKER__LANE_COUNT; i++) {
    if (c->lanes[i].owner) tinker__curl_lane_free(&c->lanes[i]);
  }
  tinker__target_free(&c->target, c->mem);
  tinker__mem_free(c->mem, c->key_header);
  tinker__mem_free(c->mem, c->user_agent);
  tinker__mem_free(c->mem, c);
  curl_global_cleanup();
}

static void on_close(tinker__task_t *task) {
  tinker__curl_t *c = TINKER__CONTAINER(task, tinker__curl_t, close_task);
  void (*closed)(void *user) = c->closed;
  void *user = c->closed_user;
  for (int i = 0; i < TINKER__LANE_COUNT; i++) {
    tinker__link_t *link;
    while ((link = tinker__list_first(&c->lanes[i].busy))) {
      tinker__transfer_t *x = TINKER__CONTAINER(link, tinker__transfer_t, link);
      x->canceled = true;
      end_with(x, CURLE_ABORTED_BY_CALLBACK);
    }
  }
  free_transport(c);
  if (closed) closed(user);
}

static void curl_close(tinker__http_t *http, void (*closed)(void *user),
                       void *user) {
  tinker__curl_t *c = from_http(http);
  c->closing = true;
  c->closed = closed;
  c->closed_user = user;
  tinker__loop_post(c->loop, &c->close_task);
}

static const tinker__http_ops_t curl_ops = {curl_submit, curl_cancel,
                                            curl_close};

/* ---- birth ---- */

/* Visible ASCII: what may stand in a header without being taken for something
 * else. A user agent has spaces too. */
static bool is_visible(const char *s, char lowest) {
  for (; *s; s++) {
    if (*s < lowest || *s > '~') return false;
  }
  return true;
}

static char *key_line(tinker__mem_t *mem, const char *key) {
  tinker__buf_t line;
  tinker__buf_init(&line, mem, 1 << 16);
  tinker__buf_adds(&line, "X-API-Key: ");
  tinker__buf_adds(&line, key);
  if (tinker__buf_cstr(&line)) return tinker__buf_take(&line, NULL);
  tinker__buf_free(&line);
  return NULL;
}

static int check(const tinker__curl_options_t *options, char *why,
                 size_t why_len) {
  const char *key = options->api_key;
  if (key && (!*key || strlen(key) > 32768 || !is_visible(key, '!'))) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "api_key: empty, longer than 32768 bytes, or with a "
                       "character that no header may hold");
  }
  if (!is_visible(options->user_agent, ' ')) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "user_agent: not visible ASCII");
  }
  return 0;
}

static int fill(tinker__curl_t *c, const tinker__curl_options_t *options,
                char *why, size_t why_len) {
  int rc =
      tinker__target_parse(&c->target, c->mem, options->base_url, why, why_len);
  if (rc) return rc;
  c->user_agent = tinker__mem_strdup(c->mem, options->user_agent);
  if (!c->user_agent) rc = TINKER_ENOMEM;
  if (!rc && options->api_key) {
    c->key_header = key_line(c->mem, options->api_key);
    if (!c->key_header) rc = TINKER_ENOMEM;
  }
  for (int i = 0; !rc && i < TINKER__LANE_COUNT; i++) {
    rc = tinker__curl_lane_init(&c->lanes[i], c, (tinker__lane_t)i);
  }
  return rc ? tinker__why(why, why_len, rc, "out of memory") : 0;
}

int tinker__curl_new(tinker__http_t **out, tinker__loop_t *loop,
                     const tinker__curl_options_t *options, char *why,
                     size_t why_len) {
  int rc = check(options, why, why_len);
  if (rc) return rc;
  tinker__curl_t *c = tinker__mem_zalloc(loop->mem, sizeof(*c));
  if (!c || curl_global_init(CURL_GLOBAL_DEFAULT)) {
    tinker__mem_free(loop->mem, c);
    return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  c->base.ops = &curl_ops;
  c->loop = loop;
  c->mem = loop->mem;
  tinker__task_init(&c->close_task, on_close);
  rc = fill(c, options, why, why_len);
  if (rc) {
    free_transport(c);
    return rc;
  }
  *out = &c->base;
  return 0;
}
