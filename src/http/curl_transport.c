/* curl_transport: the table of the libcurl transport.
 *
 * Life of a transfer: submit puts one at the end of its lane's queue; when a
 * connection is free it gets a handle and goes to the multi handle; it ends by
 * curl's word, by its deadline, or by cancel; then it leaves the multi handle,
 * is classified, perhaps sent once more, and gives its handle back before done
 * runs. finish() is the only place that calls done.
 *
 * Sent once more, both within the request's deadline: a numbered request or a
 * GET that a dying connection refused (curl's error 55), once, on a new
 * connection; and any request that a Unix socket's full listen queue turned
 * away, where nothing was sent, for some seconds. A GET may be sent to where a
 * redirect leads, by the table in http/http.h. */
#include <errno.h>
#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
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
  if (x->state != TINKER__TRANSFER_CARRIED &&
      x->state != TINKER__TRANSFER_PAUSED) {
    return;
  }
  curl_multi_remove_handle(x->lane->multi, x->handle->easy);
  x->state = TINKER__TRANSFER_RESTING;
}

static void free_transfer(tinker__curl_t *c, tinker__transfer_t *x) {
  if (c->spare_count >= TINKER__CURL_SPARE_MAX) {
    tinker__mem_free(c->mem, x);
    return;
  }
  tinker__list_push_front(&c->spare, &x->link);
  c->spare_count++;
}

/* All zero; NULL without memory. */
static tinker__transfer_t *alloc_transfer(tinker__curl_t *c) {
  tinker__link_t *link = tinker__list_pop_front(&c->spare);
  if (!link) return tinker__mem_zalloc(c->mem, sizeof(tinker__transfer_t));
  c->spare_count--;
  tinker__transfer_t *x = TINKER__CONTAINER(link, tinker__transfer_t, link);
  memset(x, 0, sizeof(*x));
  return x;
}

/* Gives back what it holds: its place, its handle, its memory. */
static void retire(tinker__transfer_t *x) {
  tinker__curl_lane_t *lane = x->lane;
  tinker__timer_stop(lane->owner->loop, &x->deadline);
  tinker__timer_stop(lane->owner->loop, &x->again);
  tinker__list_remove(&x->link);
  if (x->state != TINKER__TRANSFER_WAITING) lane->busy_count--;
  if (x->handle) tinker__curl_handle_give(x->handle);
  tinker__buf_free(&x->place);
  free_transfer(lane->owner, x);
}

static void finish(tinker__transfer_t *x) {
  tinker__curl_lane_t *lane = x->lane;
  tinker__http_request_t *request = x->request;
  tinker__http_reply_t reply = x->reply;
  char *location = x->location;
  tinker__mem_t *mem = lane->owner->mem;
  request->transport_private = NULL;
  retire(x);
  tinker__curl_pump(lane);
  request->done(request, &reply);
  tinker__buf_free(&reply.body);
  tinker__mem_free(mem, location);
}

static void end_with(tinker__transfer_t *x, CURLcode code) {
  x->sent |= tinker__curl_bytes_sent(x);
  tinker__curl_classify(x, code);
  leave_multi(x);
  finish(x);
}

/* Ends it at the next turn, with this code. */
static void end_soon(tinker__transfer_t *x, int code) {
  x->end_as = code;
  tinker__timer_start(loop_of(x), &x->deadline, tinker__loop_now(loop_of(x)));
}

/* ---- its time ---- */

/* The timer is for whichever limit is reached first. */
static void set_deadline(tinker__transfer_t *x) {
  int64_t due = x->deadline_ms;
  if (x->end_as) return; /* it is set for that */
  if (x->stall_due_ms < due) due = x->stall_due_ms;
  if (due < INT64_MAX) {
    tinker__timer_start(loop_of(x), &x->deadline, due);
  } else {
    tinker__timer_stop(loop_of(x), &x->deadline);
  }
}

static int64_t moved(const tinker__transfer_t *x) {
  curl_off_t sent = 0;
  if (tinker__curl_bytes_sent(x)) {
    curl_easy_getinfo(x->handle->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  }
  return x->received + sent;
}

static void begin_window(tinker__transfer_t *x) {
  int64_t ms = x->request->stall_ms;
  x->stall_due_ms = ms ? tinker__loop_after(loop_of(x), ms) : INT64_MAX;
  if (!ms) return;
  x->stall_from = moved(x);
  set_deadline(x);
}

/* At the end of a window: was too little moved in it? */
static bool has_stalled(tinker__transfer_t *x) {
  const tinker__http_request_t *r = x->request;
  int64_t got = moved(x) - x->stall_from;
  double least = (double)r->stall_floor * (double)r->stall_ms / 1000;
  if (got > 0 && (double)got >= least) {
    return false;
  }
  tinker__why(x->reply.detail, sizeof(x->reply.detail), 0,
              "stalled: %lld bytes in %lld ms, %lld a second are the least",
              (long long)got, (long long)r->stall_ms,
              (long long)(r->stall_floor ? r->stall_floor : 1));
  return true;
}

void tinker__curl_paused(tinker__transfer_t *x) {
  x->state = TINKER__TRANSFER_PAUSED;
  x->stall_due_ms = INT64_MAX;
  set_deadline(x);
}

static int start(tinker__transfer_t *x) {
  tinker__buf_free(&x->reply.body);
  tinker__curl_reply_init(x);
  int rc = tinker__curl_prepare(x);
  if (rc) return rc;
  if (curl_multi_add_handle(x->lane->multi, x->handle->easy)) {
    return TINKER_ENOMEM;
  }
  x->action = x->lane->actions;
  x->state = TINKER__TRANSFER_CARRIED;
  begin_window(x);
  return 0;
}

/* Without memory for another attempt the request ends with the code of the one
 * before. */
static void start_again(tinker__transfer_t *x, CURLcode code) {
  if (start(x)) end_with(x, code);
}

static int start_first(tinker__transfer_t *x) {
  x->handle = tinker__curl_handle_take(x->lane);
  if (!x->handle) return TINKER_ENOMEM;
  x->handle->x = x;
  int rc = tinker__curl_add_headers(x);
  return rc ? rc : start(x);
}

/* Not while curl acts: a callback of ours may have submitted, and the end of
 * the action calls again. */
void tinker__curl_pump(tinker__curl_lane_t *lane) {
  tinker__link_t *link;
  while (lane->busy_count < lane->busy_max && !lane->in_curl &&
         !lane->owner->closing &&
         (link = tinker__list_pop_front(&lane->waiting))) {
    tinker__transfer_t *x = TINKER__CONTAINER(link, tinker__transfer_t, link);
    tinker__list_push_back(&lane->busy, &x->link);
    lane->busy_count++;
    x->state = TINKER__TRANSFER_RESTING;
    int rc = start_first(x);
    if (rc) end_soon(x, rc);
  }
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
  curl_easy_getinfo(x->handle->easy, CURLINFO_OS_ERRNO, &number);
  return (number == 0 || number == EAGAIN) &&
         tinker__loop_now(loop_of(x)) < x->back_off_end_ms;
}

static void on_again(tinker__timer_t *timer) {
  tinker__transfer_t *x = TINKER__CONTAINER(timer, tinker__transfer_t, again);
  if (x->state == TINKER__TRANSFER_PAUSED) {
    x->state = TINKER__TRANSFER_CARRIED;
    begin_window(x);
    tinker__curl_unpause(x);
  } else {
    start_again(x, CURLE_COULDNT_CONNECT);
  }
}

static void back_off(tinker__transfer_t *x) {
  tinker__timer_start(loop_of(x), &x->again,
                      tinker__loop_now(loop_of(x)) + x->back_off_ms);
  x->back_off_ms *= 2;
  if (x->back_off_ms > BACK_OFF_LAST_MS) x->back_off_ms = BACK_OFF_LAST_MS;
}

static void note_version(tinker__transfer_t *x) {
  long version = 0;
  curl_easy_getinfo(x->handle->easy, CURLINFO_HTTP_VERSION, &version);
  if (x->lane->id == TINKER__LANE_DOWNLOAD) return;
  if (version == CURL_HTTP_VERSION_1_1) tinker__curl_widen(x->lane->owner);
}

static bool is_redirect(const tinker__transfer_t *x) {
  int status = x->reply.status;
  return x->request->redirects &&
         (status == 307 || status == 308 || (status >= 301 && status <= 303));
}

/* 0 when the request may go on to x->location. */
static int check_redirect(tinker__transfer_t *x) {
  tinker__http_reply_t *r = &x->reply;
  const char *from = x->handle->url.data;
  if (r->error) return r->error;
  if (!x->location) {
    return tinker__why(r->detail, sizeof(r->detail), TINKER_ENOTSUP,
                       "%.200s redirects to no http URL", from);
  }
  if (x->hops == x->request->redirects) {
    return tinker__why(r->detail, sizeof(r->detail), TINKER_ENOTSUP,
                       "more than %u redirects, the last from %.100s to %.100s",
                       x->hops, from, x->location);
  }
  return tinker__url_may_follow(from, x->location, loop_of(x)->mem, r->detail,
                                sizeof(r->detail));
}

/* A reply with one of the statuses above: goes on there, or ends with the
 * reason. */
static void redirect(tinker__transfer_t *x) {
  int rc = check_redirect(x);
  if (!rc) {
    tinker__buf_clear(&x->place);
    tinker__buf_adds(&x->place, x->location);
    if (!tinker__buf_cstr(&x->place)) rc = tinker__buf_error(&x->place);
  }
  x->hops++;
  if (!rc) rc = start(x);
  if (!rc) return;
  x->reply.error = rc;
  if (!x->reply.detail[0]) {
    tinker__why(x->reply.detail, sizeof(x->reply.detail), 0, "out of memory");
  }
  finish(x);
}

static void end_well(tinker__transfer_t *x) {
  tinker__curl_classify(x, CURLE_OK);
  if (is_redirect(x)) {
    redirect(x);
  } else {
    finish(x);
  }
}

void tinker__curl_done(tinker__transfer_t *x, CURLcode code) {
  leave_multi(x);
  if (code == CURLE_OK) note_version(x);
  x->sent |= tinker__curl_bytes_sent(x);
  if (code == CURLE_SEND_ERROR && !x->fresh && !x->received &&
      may_repeat(x->request)) {
    x->fresh = true;
    start_again(x, code);
  } else if (queue_was_full(x, code)) {
    back_off(x);
  } else if (code == CURLE_OK) {
    end_well(x);
  } else {
    end_with(x, code);
  }
}

/* Also how a cancel arrives: a turn later, and stopped by whatever ends the
 * transfer before. */
static void on_deadline(tinker__timer_t *timer) {
  tinker__transfer_t *x =
      TINKER__CONTAINER(timer, tinker__transfer_t, deadline);
  bool window = !x->end_as && tinker__loop_now(loop_of(x)) < x->deadline_ms;
  if (window && !has_stalled(x)) {
    begin_window(x);
    return;
  }
  end_with(x, x->end_as ? CURLE_ABORTED_BY_CALLBACK : CURLE_OPERATION_TIMEDOUT);
}

/* ---- the table ---- */

static int draw_key(tinker__curl_t *c, char key[37]) {
  const tinker__world_t *world = c->loop->world;
  if (!c->random_left) {
    int rc = world->random(world->user, c->random, sizeof c->random);
    if (rc) return rc;
    c->random_left = sizeof c->random;
  }
  c->random_left -= TINKER__UUID_BYTES;
  tinker__uuid4_of(c->random + c->random_left, key);
  return 0;
}

static int new_transfer(tinker__transfer_t **out, tinker__curl_t *c,
                        tinker__http_request_t *r) {
  int64_t now = tinker__loop_now(c->loop);
  tinker__transfer_t *x = alloc_transfer(c);
  if (!x) return TINKER_ENOMEM;
  x->lane = &c->lanes[r->lane];
  x->request = r;
  x->fresh = r->fresh;
  x->back_off_ms = BACK_OFF_FIRST_MS;
  x->back_off_end_ms = now + BACK_OFF_TOTAL_MS;
  x->deadline_ms = INT64_MAX;
  if (r->timeout_ms) {
    x->deadline_ms = tinker__loop_after(c->loop, r->timeout_ms);
  }
  x->stall_due_ms = INT64_MAX;
  tinker__list_init(&x->link);
  tinker__timer_init(&x->deadline, on_deadline);
  tinker__timer_init(&x->again, on_again);
  tinker__buf_init(&x->place, c->mem, SIZE_MAX);
  tinker__curl_reply_init(x);
  int rc = 0;
  if (r->method != TINKER__HTTP_GET && !r->idempotency_key && !r->url) {
    rc = draw_key(c, x->key);
  }
  if (rc) free_transfer(c, x);
  *out = x;
  return rc;
}

static int curl_submit(tinker__http_t *http, tinker__http_request_t *r) {
  tinker__curl_t *c = from_http(http);
  tinker__transfer_t *x;
  if (c->closing) return TINKER_ECLOSED;
  int rc = tinker__curl_check(c, r);
  if (!rc) rc = new_transfer(&x, c, r);
  if (rc) return rc;
  r->transport_private = x;
  set_deadline(x);
  tinker__list_push_back(&x->lane->waiting, &x->link);
  tinker__curl_pump(x->lane);
  return 0;
}

static void curl_cancel(tinker__http_t *http, tinker__http_request_t *r) {
  (void)http;
  end_soon(r->transport_private, TINKER_ECANCELED);
}

static void free_transport(tinker__curl_t *c) {
  tinker__link_t *link;
  while ((link = tinker__list_pop_front(&c->spare))) {
    tinker__mem_free(c->mem, TINKER__CONTAINER(link, tinker__transfer_t, link));
  }
  for (int i = 0; i < TINKER__LANE_COUNT; i++) {
    if (c->lanes[i].owner) tinker__curl_lane_free(&c->lanes[i]);
  }
  tinker__target_free(&c->target, c->mem);
  tinker__buf_free(&c->url);
  tinker__mem_free(c->mem, c->key_line);
  tinker__mem_free(c->mem, c->agent_line);
  tinker__mem_free(c->mem, c->origin);
  tinker__mem_free(c->mem, c);
  curl_global_cleanup();
}

static void curl_resume(tinker__http_t *http, tinker__http_request_t *r) {
  tinker__transfer_t *x = r->transport_private;
  (void)http;
  if (x->state != TINKER__TRANSFER_PAUSED) return;
  tinker__timer_start(loop_of(x), &x->again, tinker__loop_now(loop_of(x)));
}

static void end_all(tinker__link_t *transfers) {
  tinker__link_t *link;
  while ((link = tinker__list_first(transfers))) {
    tinker__transfer_t *x = TINKER__CONTAINER(link, tinker__transfer_t, link);
    x->end_as = TINKER_ECANCELED;
    end_with(x, CURLE_ABORTED_BY_CALLBACK);
  }
}

static void on_close(tinker__task_t *task) {
  tinker__curl_t *c = TINKER__CONTAINER(task, tinker__curl_t, close_task);
  void (*closed)(void *user) = c->closed;
  void *user = c->closed_user;
  for (int i = 0; i < TINKER__LANE_COUNT; i++) {
    end_all(&c->lanes[i].busy);
    end_all(&c->lanes[i].waiting);
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
                                            curl_close, curl_resume};

/* ---- birth ---- */

/* Visible ASCII: what may stand in a header without being taken for something
 * else. A user agent has spaces too. */
static bool is_visible(const char *s, char lowest) {
  for (; *s; s++) {
    if (*s < lowest || *s > '~') return false;
  }
  return true;
}

static char *header_line(tinker__mem_t *mem, const char *name,
                         const char *value) {
  tinker__buf_t line;
  tinker__buf_init(&line, mem, 1 << 16);
  tinker__buf_adds(&line, name);
  tinker__buf_adds(&line, value);
  if (tinker__buf_cstr(&line)) return tinker__buf_take(&line, NULL);
  tinker__buf_free(&line);
  return NULL;
}

/* Without an empty Expect a large body waits a second for a 100-continue that
 * some servers never send. */
static int fill_common(tinker__curl_t *c, const tinker__curl_options_t *o) {
  static char expect[] = "Expect:";
  c->agent_line = header_line(c->mem, "User-Agent: ", o->user_agent);
  if (!c->agent_line) return TINKER_ENOMEM;
  c->common[1] = (struct curl_slist){expect, &c->common[2]};
  c->common[2] = (struct curl_slist){c->agent_line, NULL};
  if (!o->api_key) return 0;
  c->key_line = header_line(c->mem, "X-API-Key: ", o->api_key);
  if (!c->key_line) return TINKER_ENOMEM;
  c->common[0] = (struct curl_slist){c->key_line, &c->common[1]};
  return 0;
}

/* A base URL that only we can read has an origin that no other URL has. */
static int fill_origin(tinker__curl_t *c) {
  int rc = tinker__url_origin(c->target.base, &c->url);
  if (rc == TINKER_ENOMEM) return rc;
  c->origin = tinker__mem_strdup(c->mem, rc ? "" : c->url.data);
  return c->origin ? 0 : TINKER_ENOMEM;
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
  rc = fill_common(c, options);
  if (!rc) rc = fill_origin(c);
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
  tinker__list_init(&c->spare);
  tinker__buf_init(&c->url, c->mem, 1 << 16);
  rc = fill(c, options, why, why_len);
  if (rc) {
    free_transport(c);
    return rc;
  }
  *out = &c->base;
  return 0;
}
