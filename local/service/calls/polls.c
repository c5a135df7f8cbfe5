/* polls: requests that wait for the result of a call, and their answers. HTTP
 * thread, store thread (a result is committed), timer. The lists are under the
 * service's lock. Replies with results are made without it; workers convert
 * large results to JSON. Work that grows with the number of polls is cut into
 * pieces, and the lock is released between them. */
#include <inttypes.h>
#include <stdio.h>

#include <tinker/error.h>

#include "db/row.h"
#include "service/calls/calls.h"
#include "service/http/conns.h"
#include "service/http/workers.h"
#include "service/parse/work.h"

#define EXPIRED_AT_ONCE 64

/* Writes why the op does not run yet; false when it only waits for its turn. */
static bool waiting_reason(const tinker__svc_op_t *op, char *out, size_t len) {
  const tinker__svc_model_t *m = op->model;
  if (!m || !tinker__svc_op_pending(op)) return false;
  int64_t want = m->current ? m->current->seq + 1 : m->next_seq;
  TINKER__LIST_EACH(l, tmp, &m->pending) {
    const tinker__svc_op_t *p = TINKER__CONTAINER(l, tinker__svc_op_t, link);
    if (p->seq != want) break;
    if (p == op) return false;
    want++;
  }
  if (want >= op->seq) return false;
  snprintf(out, len, "waiting for seq_id %lld", (long long)want);
  return true;
}

void tinker__svc_poll_try_again(tinker__svc_req_t *r,
                                const tinker__svc_op_t *op) {
  char gap[80];
  const char *state = "active", *reason = NULL;
  if (op->paused_until_ms) {
    state = op->pause_state ? op->pause_state : "paused_capacity";
    reason = op->pause_reason;
  } else if (op->model && tinker__svc_model_parked(op->model)) {
    state = "paused_capacity";
    reason = op->model->trouble;
  } else if (waiting_reason(op, gap, sizeof gap)) {
    state = "paused_capacity";
    reason = gap;
  }
  tinker__try_again_t reply = {op->request_id, state, reason};
  tinker__svc_reply_message(r, &tinker__try_again_msg, &reply);
}

static void reply_result(tinker__svc_req_t *r, tinker__svc_op_kind_t kind,
                         int format, const void *data, size_t len) {
  if (format == TINKER__FORMAT_JSON) {
    tinker__svc_reply_bytes(r, 200, "application/json", data, len);
  } else if (r->accept_proto) {
    tinker__svc_reply_bytes(r, 200, "application/x-protobuf", data, len);
  } else {
    tinker__svc_reply_result_as_json(r, kind, data, len);
  }
}

/* True when a result is announced with its size first: it is large, and its
 * client has asked for that, to bound the bytes of results under way. An error
 * is sent at once. */
static bool announces(const tinker__svc_req_t *r, const tinker__svc_told_t *o) {
  return r->allow_metadata && o->state == TINKER__SVC_OP_DONE &&
         o->len > (size_t)r->service->config.inline_result;
}

static void reply_metadata(tinker__svc_req_t *r, const tinker__svc_told_t *o) {
  tinker__announced_t reply = {"complete_metadata", (int64_t)o->len};
  tinker__svc_reply_message(r, &tinker__announced_msg, &reply);
}

static tinker__svc_session_t *session_of(const tinker__svc_op_t *op) {
  return op->model ? op->model->session : op->sampler->session;
}

/* Takes a parked poll out of its lists. Under the lock. */
static void unpark(tinker__svc_req_t *r) {
  tinker__list_remove(&r->link);
  tinker__list_remove(&r->timer_link);
  r->service->parked_polls--;
  session_of(r->op)->polls--;
}

/* Answers a poll with try_again before its result is there. */
static void send_away(tinker__svc_req_t *r) {
  unpark(r);
  tinker__svc_poll_try_again(r, r->op);
  tinker__svc_req_resume_later(r);
}

/* --- Results -------------------------------------------------------------- */

/* Runs on a worker. The reply holds the result as it is stored, and becomes its
 * JSON form. */
static void convert(tinker__svc_req_t *r) {
  tinker__buf_t stored = r->reply;
  if (!tinker__buf_error(&stored)) {
    tinker__buf_init(&r->reply, stored.mem, stored.max);
    tinker__svc_reply_result_as_json(r, r->kind, stored.data, stored.len);
    tinker__buf_free(&stored);
  }
  tinker__svc_req_resume(r);
}

static bool as_json(const tinker__svc_req_t *r, int format, size_t len) {
  return format != TINKER__FORMAT_JSON && !r->accept_proto &&
         len > r->service->large;
}

/* Sends a stored result. On the store thread, where others wait for their
 * commits, so a worker converts a large one. */
static void send_stored(tinker__svc_req_t *r, tinker__str_t data, int format) {
  if (!as_json(r, format, data.len)) {
    reply_result(r, r->kind, format, data.ptr, data.len);
    tinker__svc_req_resume(r);
    return;
  }
  tinker__svc_reply_bytes(r, 200, NULL, data.ptr, data.len);
  if (tinker__svc_workers_add(r->service->workers, r, convert)) return;
  r->retry_after_s = 1;
  tinker__svc_reply_error(r, 503,
                          "too many large results wait to be sent: ask again");
  tinker__svc_req_resume(r);
}

static void on_read(void *user, int rc, struct sqlite3_stmt *row) {
  tinker__svc_req_t *r = user;
  if (rc == 0) {
    send_stored(r, tinker__db_row_blob(row, 0),
                (int)tinker__db_row_i64(row, 1));
    return;
  }
  if (rc == TINKER_ENOENT) {
    tinker__svc_reply_error(r, 410, "the result is no longer kept");
  } else {
    tinker__svc_reply_error(r, 500, "the result could not be read");
  }
  tinker__svc_req_resume(r);
}

/* Counts the memory of a large result while it is read and sent: it is copied
 * once, or written as JSON. False: there is no room, and r is answered. */
static bool hold_reply(tinker__svc_req_t *r, const tinker__svc_told_t *o) {
  tinker__svc_share_t *p = &r->service->replies;
  bool plain = o->format == TINKER__FORMAT_JSON || r->accept_proto;
  uint64_t bytes = (uint64_t)o->len * (plain ? 2 : TINKER__JSON_FACTOR);
  if (o->len <= r->service->large || r->replying) return true;
  if (tinker__svc_share_take(p, bytes, true)) {
    r->replying = bytes;
    return true;
  }
  r->retry_after_s = 1;
  tinker__svc_reply_error(r, 503,
                          "needs %" PRIu64 " bytes of memory for the result, "
                          "others use %" PRIu64 " of %" PRIu64 ": ask again",
                          bytes, atomic_load(&p->used), atomic_load(&p->limit));
  return false;
}

static tinker__svc_handled_t read_result(tinker__svc_req_t *r,
                                         const tinker__svc_told_t *o) {
  tinker__svc_t *s = r->service;
  r->kind = o->kind;
  if (!hold_reply(r, o)) return TINKER__ANSWERED;
  if (tinker__svc_store_read_result(s->store, o->row, on_read, r) != 0) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return TINKER__PARKED;
}

tinker__svc_told_t tinker__svc_op_told(const tinker__svc_op_t *op) {
  return (tinker__svc_told_t){
      .row = op->row,
      .kind = op->kind,
      .state = op->state,
      .format = op->result_format,
      .len = op->result_size,
  };
}

/* Each poll reads a large result from the store, one after the other. Copies
 * for all polls of a call at once would take too much memory. */
tinker__svc_handled_t tinker__svc_poll_tell(tinker__svc_req_t *r,
                                            const tinker__svc_told_t *o) {
  tinker__svc_settle(r->service);
  if (announces(r, o)) {
    reply_metadata(r, o);
  } else if (!o->data || o->len > r->service->large) {
    return read_result(r, o);
  } else {
    reply_result(r, o->kind, o->format, o->data, o->len);
  }
  return TINKER__ANSWERED;
}

void tinker__svc_polls_take(tinker__svc_op_t *op, tinker__link_t *out) {
  tinker__link_t *l;
  tinker__list_init(out);
  while ((l = tinker__list_first(&op->polls)) != NULL) {
    unpark(TINKER__CONTAINER(l, tinker__svc_req_t, link));
    tinker__list_push_back(out, l);
  }
}

void tinker__svc_polls_tell(tinker__link_t *polls,
                            const tinker__svc_told_t *o) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(polls)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, link);
    if (tinker__svc_poll_tell(r, o) == TINKER__ANSWERED) {
      tinker__svc_req_resume(r);
    }
  }
}

/* --- Parking and its end ---------------------------------------------------
 */

bool tinker__svc_polls_expire(tinker__svc_t *s, int64_t now_ms) {
  for (int n = 0;; n++) {
    tinker__link_t *l = tinker__list_first(&s->polls);
    if (!l) return false;
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    if (r->deadline_ms > now_ms) return false;
    if (n == EXPIRED_AT_ONCE) return true;
    send_away(r);
  }
}

void tinker__svc_polls_release(tinker__svc_t *s) {
  while (tinker__svc_polls_expire(s, INT64_MAX)) {
  }
}

/* The poll that has waited longest, of session n or, if NULL, of all. */
static tinker__svc_req_t *oldest(tinker__svc_t *s,
                                 const tinker__svc_session_t *n) {
  TINKER__LIST_EACH(l, tmp, &s->polls) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    if (!n || session_of(r->op) == n) return r;
  }
  return NULL;
}

/* Sends the oldest poll away when too many are parked, so that connections stay
 * free for short calls, and polls for other sessions. */
static void make_room(tinker__svc_t *s, const tinker__svc_session_t *n) {
  if (n->polls >= s->max_polls - s->max_polls / 8) {
    send_away(oldest(s, n));
  } else if (s->parked_polls >= s->max_polls) {
    send_away(oldest(s, NULL));
  }
}

tinker__svc_handled_t tinker__svc_poll_park(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op) {
  tinker__svc_session_t *n = session_of(op);
  make_room(s, n);
  r->op = op;
  r->deadline_ms = s->world->now_ms(s->world->user) + s->config.poll_ms;
  tinker__list_push_back(&op->polls, &r->link);
  tinker__list_push_back(&s->polls, &r->timer_link);
  s->parked_polls++;
  n->polls++;
  /* For later polls the timer need not wake: it waits for the first one
   * already, and would only take the lock. */
  if (tinker__list_first(&s->polls) == &r->timer_link) {
    pthread_cond_signal(&s->timer_wake);
  }
  return TINKER__PARKED;
}

/* --- Clients that are gone ------------------------------------------------ */

/* Chooses the polls for this look: those that the round has not looked at yet.
 */
static size_t choose(tinker__svc_t *s, tinker__svc_req_t **chosen, int *fds) {
  size_t at = 0, n = 0;
  TINKER__LIST_EACH(l, tmp, &s->polls) {
    if (at++ < s->looked_polls) continue;
    if (n == TINKER__PEERS_MAX) break;
    chosen[n] = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    fds[n] = chosen[n]->fd;
    n++;
  }
  return n;
}

bool tinker__svc_polls_look(tinker__svc_t *s) {
  tinker__svc_req_t *chosen[TINKER__PEERS_MAX];
  int fds[TINKER__PEERS_MAX] = {0};
  bool gone[TINKER__PEERS_MAX];
  size_t left = 0, n = choose(s, chosen, fds);
  if (n) s->look_at_peers(fds, n, gone);
  for (size_t i = 0; i < n; i++) {
    if (!gone[i]) continue;
    left++;
    unpark(chosen[i]);
    chosen[i]->gone = true;
    tinker__svc_req_resume_later(chosen[i]);
  }
  bool more = n == TINKER__PEERS_MAX;
  s->looked_polls = more ? s->looked_polls + n - left : 0;
  return more || left > 0;
}
