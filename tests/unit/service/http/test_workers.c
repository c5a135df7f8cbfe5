/* Workers: what they do, nobody else waits for. */
#include <criterion/criterion.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"
#include "service/http/listener.h"
#include "service/http/workers.h"

static reply_t reply;

/* --- Workers that are held up until the test lets them go ----------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool is_open;
static int begun;
static tinker__svc_req_t blockers[2];

static void block(tinker__svc_req_t *r) {
  (void)r;
  pthread_mutex_lock(&gate);
  begun++;
  pthread_cond_broadcast(&moved);
  while (!is_open) pthread_cond_wait(&moved, &gate);
  pthread_mutex_unlock(&gate);
}

static void block_all(tinker__svc_workers_t *w, int n) {
  for (int i = 0; i < n; i++) {
    tinker__list_init(&blockers[i].link);
    cr_assert(tinker__svc_workers_add(w, &blockers[i], block));
  }
  pthread_mutex_lock(&gate);
  while (begun < n) pthread_cond_wait(&moved, &gate);
  pthread_mutex_unlock(&gate);
}

static void let_go(void) {
  pthread_mutex_lock(&gate);
  is_open = true;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&gate);
}

/* As the HTTP thread does. */
static rig_pending_t *arrive(rig_t *rig, const char *route, const char *body) {
  rig_pending_t *p = rig_request(rig, route, NULL, body);
  MHD_suspend_connection(rig_req(p)->conn);
  tinker__svc_http_handle(rig_req(p));
  return p;
}

static void answered_at_once(rig_t *rig, const char *route, const char *body) {
  rig_pending_t *p = arrive(rig, route, body);
  rig_wait(rig, p, &reply);
  cr_assert_eq(reply.status, 200, "%s: %s", route, reply.text);
}

/* --- The queue ------------------------------------------------------------ */

static tinker__svc_req_t jobs[4];
static size_t done[4], n_done;

static void note(tinker__svc_req_t *r) {
  done[n_done++] = (size_t)(r - jobs);
}

Test(workers, jobs_are_done_in_order_and_bounded) {
  tinker__mem_t mem;
  tinker__svc_workers_t *w;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_workers_new(&w, &mem, 1, 3), 0);
  block_all(w, 1);
  for (int i = 0; i < 4; i++) tinker__list_init(&jobs[i].link);
  for (int i = 0; i < 3; i++) {
    cr_assert(tinker__svc_workers_add(w, &jobs[i], note));
  }
  cr_assert_not(tinker__svc_workers_add(w, &jobs[3], note), "there is no room");
  let_go();
  tinker__svc_workers_stop(w); /* what it has is done first */
  cr_assert_eq(n_done, 3);
  for (size_t i = 0; i < 3; i++) cr_assert_eq(done[i], i);
  cr_assert_not(tinker__svc_workers_add(w, &jobs[3], note));
  tinker__svc_workers_free(w);
  tinker__svc_workers_free(NULL);
  cr_assert_eq(mem.live_blocks, 0);
}

/* --- Large bodies --------------------------------------------------------- */

/* A large body waits for a worker; heartbeats, health, polls and calls that
 * are stored are answered meanwhile. */
Test(workers, a_large_body_holds_nobody_up) {
  static rig_t rig;
  char session[80], model[120], fb[600], body[300];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_fb_body(fb, sizeof fb, model, 1);
  rig.s->large = strlen(fb) - 1;
  block_all(rig.s->workers, 2);
  rig_pending_t *large = arrive(&rig, "POST api/v1/forward_backward", fb);
  cr_assert_not(rig_answered(large));
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  answered_at_once(&rig, "POST api/v1/session_heartbeat", body);
  answered_at_once(&rig, "GET api/v1/healthz", "");
  answered_at_once(&rig, "POST api/v1/create_session", "{}");
  snprintf(body, sizeof body, "{\"request_id\":\"%s:0\"}", model);
  answered_at_once(&rig, "POST api/v1/retrieve_future", body);
  cr_assert_not(rig_answered(large));
  let_go();
  rig_wait(&rig, large, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_close(&rig);
}

static pthread_t handled_by;

static tinker__svc_handled_t who(tinker__svc_t *s, tinker__svc_req_t *r) {
  (void)s;
  handled_by = pthread_self();
  return tinker__svc_reply_empty(r, 200);
}

static bool handled_here(rig_t *rig, const char *body, bool packed) {
  static const tinker__svc_route_t route = {.handler = who, .parks = true};
  rig_pending_t *p = rig_request(rig, "POST api/v1/asample", NULL, body);
  rig_req(p)->route = &route;
  rig_req(p)->packed = packed;
  handled_by = pthread_self();
  MHD_suspend_connection(rig_req(p)->conn);
  tinker__svc_http_handle(rig_req(p));
  rig_wait(rig, p, &reply);
  return reply.status == 200 && pthread_equal(handled_by, pthread_self());
}

/* Nothing of a large body is read on the thread that answers heartbeats. */
Test(workers, the_thread_of_a_body) {
  static rig_t rig;
  rig_open(&rig);
  rig.s->large = 10;
  cr_assert(handled_here(&rig, "0123456789", false));
  cr_assert_not(handled_here(&rig, "0123456789a", false));
  rig_close(&rig);
}

/* A service that stops says so to who arrives with a large body. */
Test(workers, nothing_is_taken_at_the_end) {
  static rig_t rig;
  rig_open(&rig);
  rig.s->large = 1;
  tinker__svc_workers_stop(rig.s->workers);
  rig_wait(&rig, arrive(&rig, "POST api/v1/asample", "{\"a\":1}"), &reply);
  cr_assert_eq(reply.status, 503);
  cr_assert_neq(strstr(reply.text, "send the same request again"), NULL);
  rig_close(&rig);
}

/* --- Large results -------------------------------------------------------- */

/* Large results are written as JSON while others are stored: one that is there
 * when it is asked for, and one that was waited for. */
Test(workers, a_large_result_holds_nobody_up) {
  static rig_t rig;
  static reply_t small;
  char session[80], model[120], fb[600], ask[2][300];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_fb_body(fb, sizeof fb, model, 1);
  rig_do(&rig, "POST api/v1/forward_backward", fb, &small);
  rig.s->config.poll_ms = (int64_t)1 << 40;
  rig.s->large = 10;
  block_all(rig.s->workers, 2);
  snprintf(ask[0], sizeof ask[0], "{\"request_id\":\"%s:1\"}", model);
  snprintf(ask[1], sizeof ask[1], "{\"request_id\":\"%s:2\"}", model);
  rig_pending_t *stored =
      rig_send(&rig, "POST api/v1/retrieve_future", NULL, NULL, ask[0]);
  rig_fb_body(fb, sizeof fb, model, 2);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, fb, &reply);
  rig_pending_t *awaited =
      rig_send(&rig, "POST api/v1/retrieve_future", NULL, NULL, ask[1]);
  for (int64_t seq = 3; seq < 5; seq++) { /* stored after both results */
    snprintf(fb, sizeof fb, "{\"model_id\":\"%s\",\"seq_id\":%d}", model,
             (int)seq);
    rig_optim_body(fb, sizeof fb, model, (int)seq);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, fb, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  rig_call(&rig, "POST api/v1/create_session", NULL, NULL, "{}", &reply);
  cr_assert_eq(reply.status, 200);
  cr_assert_not(rig_answered(stored));
  cr_assert_not(rig_answered(awaited));
  let_go();
  rig_wait(&rig, stored, &reply);
  cr_assert_eq(reply.status, 200);
  cr_assert_str_eq(reply.text, small.text);
  rig_wait(&rig, awaited, &reply);
  cr_assert_eq(reply.status, 200);
  cr_assert_neq(strstr(reply.text, "\"metrics\""), NULL, "%s", reply.text);
  rig_close(&rig);
}
