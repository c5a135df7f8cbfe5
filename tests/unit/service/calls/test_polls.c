/* Polls that wait for a result: how many may, and whose clients are gone. */
#include <criterion/criterion.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"
#include "service/http/conns.h"
#include "service/http/listener.h"

static reply_t reply;

/* Parks one on a call that never runs. */
static rig_pending_t *park(rig_t *rig, const char *request_id, int fd) {
  char body[300];
  snprintf(body, sizeof body, "{\"request_id\":\"%s\"}", request_id);
  rig_pending_t *p =
      rig_request(rig, "POST api/v1/retrieve_future", NULL, body);
  rig_req(p)->fd = fd;
  MHD_suspend_connection(rig_req(p)->conn);
  tinker__svc_http_handle(rig_req(p));
  return p;
}

/* Number 2 of a model whose number 1 never comes; polls have no end. */
static void open_gap(rig_t *rig, char *id, size_t len) {
  char session[80], model[120], body[400];
  rig_session(rig, session, sizeof session);
  rig_model(rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 2);
  rig_call(rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "request_id", id, len);
  rig->s->config.poll_ms = (int64_t)1 << 40;
}

static void expect_try_again(rig_t *rig, rig_pending_t *p) {
  cr_assert(rig_answered(p));
  rig_wait(rig, p, &reply);
  cr_assert_neq(strstr(reply.text, "try_again"), NULL, "%s", reply.text);
}

/* Eight may be parked, seven of one session: the one that has waited longest
 * gives way, of the session first. */
Test(polls, the_oldest_gives_way) {
  static rig_t rig;
  rig_pending_t *p[8], *q[3];
  char a[200], b[200];
  rig_open(&rig);
  open_gap(&rig, a, sizeof a);
  open_gap(&rig, b, sizeof b);
  rig.s->max_polls = 8;
  for (int i = 0; i < 8; i++) {
    cr_assert(!i || !rig_answered(p[0]));
    p[i] = park(&rig, a, -1);
  }
  expect_try_again(&rig, p[0]);
  cr_assert_not(rig_answered(p[1]));
  q[0] = park(&rig, b, -1);
  cr_assert_not(rig_answered(p[1]));
  q[1] = park(&rig, b, -1);
  expect_try_again(&rig, p[1]);
  q[2] = park(&rig, a, -1); /* six and two: all places are taken */
  expect_try_again(&rig, p[2]);
  cr_assert_not(rig_answered(q[0]));
  rig_stop(&rig);
  for (int i = 3; i < 8; i++) expect_try_again(&rig, p[i]);
  for (int i = 0; i < 3; i++) expect_try_again(&rig, q[i]);
  rig_close(&rig);
}

static int dead; /* the socket whose peer is gone */
static size_t looked_at;

static void look(const int *fds, size_t n, bool *gone) {
  looked_at = n;
  for (size_t i = 0; i < n; i++) gone[i] = fds[i] == dead;
}

/* A client that is gone gives its place back, and gets no reply. */
Test(polls, who_is_gone_is_dropped) {
  static rig_t rig;
  rig_pending_t *p[4];
  char id[200];
  rig_open(&rig);
  open_gap(&rig, id, sizeof id);
  tinker__svc_lock(rig.s);
  rig.s->look_at_peers = look;
  dead = -2;
  tinker__svc_unlock(rig.s);
  for (int i = 0; i < 4; i++) p[i] = park(&rig, id, 100 + i);
  tinker__svc_lock(rig.s);
  dead = 102;
  cr_assert(tinker__svc_polls_look(rig.s));
  cr_assert_not(tinker__svc_polls_look(rig.s));
  cr_assert_eq(rig.s->parked_polls, 3);
  tinker__svc_unlock(rig.s);
  for (int i = 0; i < 4; i++) cr_assert_eq(rig_answered(p[i]), i == 2);
  size_t none = 0;
  void *state = rig_req(p[2]);
  cr_assert_eq(tinker__svc_http_access(NULL, rig_req(p[2])->conn, "", "POST",
                                       "HTTP/1.1", NULL, &none, &state),
               MHD_NO);
  rig_stop(&rig);
  for (int i = 0; i < 4; i++) rig_wait(&rig, p[i], &reply);
  rig_close(&rig);
}

/* What is due is answered in pieces, and when the lock is released. */
Test(polls, expire_in_pieces) {
  enum { N = 70, PIECE = 64 };
  static rig_t rig;
  static rig_pending_t *p[N];
  char id[200];
  rig_takes_lock_to_resume = true;
  rig_open(&rig);
  open_gap(&rig, id, sizeof id);
  for (int i = 0; i < N; i++) p[i] = park(&rig, id, -1);
  tinker__svc_lock(rig.s);
  cr_assert(tinker__svc_polls_expire(rig.s, INT64_MAX));
  for (int i = 0; i < N; i++) cr_assert_not(rig_answered(p[i]));
  tinker__svc_unlock(rig.s);
  for (int i = 0; i < N; i++) cr_assert_eq(rig_answered(p[i]), i < PIECE);
  tinker__svc_lock(rig.s);
  cr_assert_not(tinker__svc_polls_expire(rig.s, INT64_MAX));
  tinker__svc_unlock(rig.s);
  for (int i = 0; i < N; i++) expect_try_again(&rig, p[i]);
  rig_stop(&rig);
  rig_close(&rig);
}

/* Requests that wait for the log, and polls that wait for a result, are
 * resumed without the lock. */
Test(polls, are_told_without_the_lock) {
  static rig_t rig;
  rig_pending_t *p[3];
  char session[80], model[120], body[400], id[200];
  rig_takes_lock_to_resume = true;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 2);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", id, sizeof id);
  for (int i = 0; i < 3; i++) p[i] = park(&rig, id, -1);
  rig_optim_body(body, sizeof body, model, 1);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  for (int i = 0; i < 3; i++) {
    rig_wait(&rig, p[i], &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
    cr_assert_eq(strstr(reply.text, "try_again"), NULL, "%s", reply.text);
  }
  rig_close(&rig);
}

/* One look is at a bounded number of them, the next one goes on from there. */
Test(polls, a_look_is_bounded) {
  enum { N = TINKER__PEERS_MAX + 10 };
  static rig_t rig;
  static rig_pending_t *p[N];
  char id[200];
  rig_open(&rig);
  open_gap(&rig, id, sizeof id);
  tinker__svc_lock(rig.s);
  rig.s->look_at_peers = look; /* also of the timer, meanwhile */
  dead = -2;
  tinker__svc_unlock(rig.s);
  for (int i = 0; i < N; i++) p[i] = park(&rig, id, i);
  tinker__svc_lock(rig.s);
  dead = 5;
  rig.s->looked_polls = 0;
  cr_assert(tinker__svc_polls_look(rig.s));
  cr_assert_eq(looked_at, TINKER__PEERS_MAX);
  dead = N - 1;
  cr_assert(tinker__svc_polls_look(rig.s));
  cr_assert_eq(looked_at, 10);
  cr_assert(tinker__svc_polls_look(rig.s)); /* the next round */
  cr_assert_eq(looked_at, TINKER__PEERS_MAX);
  cr_assert_not(tinker__svc_polls_look(rig.s));
  cr_assert_eq(looked_at, 8);
  tinker__svc_unlock(rig.s);
  rig_stop(&rig);
  for (int i = 0; i < N; i++) rig_wait(&rig, p[i], &reply);
  rig_close(&rig);
}
