/* What waits in a lane until one of its connections is free. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <tinker/error.h>

#include "support/http_client.h"
#include "support/tiny_server.h"

static tinker__http_request_t post(const char *path) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_SUBMIT,
      .method = TINKER__HTTP_POST,
      .path = path,
      .body = TINKER__STR("{\"a\":1}"),
      .numbered = true,
  };
}

enum { QUEUED = 60, SUBMIT_CONNECTIONS = 16 };

typedef struct gate_s {
  pthread_mutex_t lock;
  pthread_cond_t opened;
  bool open;
  int arrived;
  int order[QUEUED]; /* the numbers in the paths, as they arrived */
} gate_t;

/* Nobody is answered before the gate opens. */
static tiny_reply_t behind_gate(void *user, const tiny_request_t *r) {
  gate_t *g = user;
  pthread_mutex_lock(&g->lock);
  g->order[g->arrived++] = atoi(r->path + 1);
  while (!g->open) pthread_cond_wait(&g->opened, &g->lock);
  pthread_mutex_unlock(&g->lock);
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

static void wait_for_arrivals(gate_t *g, int count) {
  int arrived = 0;
  while (arrived < count) {
    poll(NULL, 0, 1);
    pthread_mutex_lock(&g->lock);
    arrived = g->arrived;
    pthread_mutex_unlock(&g->lock);
  }
}

static void open_gate(gate_t *g) {
  pthread_mutex_lock(&g->lock);
  g->open = true;
  pthread_cond_broadcast(&g->opened);
  pthread_mutex_unlock(&g->lock);
}

/* Sends QUEUED requests to the submit lane of which the first 16 have arrived
 * at the gate afterwards. */
static void fill_lane(http_client_t *c, http_call_t *calls, gate_t *g) {
  static char paths[QUEUED][8];
  for (int i = 0; i < QUEUED; i++) {
    snprintf(paths[i], sizeof(paths[i]), "/%d", i);
    http_call_begin(c, &calls[i], post(paths[i]));
  }
  wait_for_arrivals(g, SUBMIT_CONNECTIONS);
}

Test(http_queue, requests_of_a_lane_keep_their_order, .timeout = 120) {
  static http_call_t calls[QUEUED];
  gate_t g = {
      PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, {0}};
  http_client_t c;
  tiny_server_t *server = tiny_server_new(NULL, 64, true, behind_gate, &g);
  http_client_open(&c, tiny_server_url(server));
  fill_lane(&c, calls, &g);
  open_gate(&g);
  for (int i = 0; i < QUEUED; i++) {
    http_call_finish(&calls[i]);
    cr_assert_eq(calls[i].reply.error, 0, "%s", calls[i].reply.detail);
    http_call_end(&calls[i]);
  }
  /* When one goes out, at most 15 before it have not been answered. */
  for (int i = 0; i < QUEUED; i++) {
    cr_assert_lt(g.order[i] - i, SUBMIT_CONNECTIONS, "%d arrived as number %d",
                 g.order[i], i);
  }
  cr_assert_eq(tiny_server_connections(server), SUBMIT_CONNECTIONS);
  http_client_close(&c);
  tiny_server_free(server);
}

/* It has no connection, so it is never called sent, and it takes none. */
Test(http_queue, what_waits_ends_by_cancel_and_by_its_time, .timeout = 120) {
  static http_call_t calls[QUEUED];
  gate_t g = {
      PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, {0}};
  http_client_t c;
  tiny_server_t *server = tiny_server_new(NULL, 64, true, behind_gate, &g);
  http_client_open(&c, tiny_server_url(server));
  fill_lane(&c, calls, &g);
  for (int i = SUBMIT_CONNECTIONS; i < QUEUED - 1; i++) {
    tinker__loop_post(c.loop, &calls[i].cancel);
    http_call_finish(&calls[i]);
    cr_assert_eq(calls[i].reply.error, TINKER_ECANCELED);
    cr_assert_not(calls[i].reply.sent);
    http_call_end(&calls[i]);
  }
  http_call_t late;
  tinker__http_request_t r = post("/99");
  r.timeout_ms = 20;
  http_call_begin(&c, &late, r);
  http_call_finish(&late);
  cr_assert_eq(late.reply.error, TINKER_ETIMEDOUT);
  cr_assert_not(late.reply.sent);
  cr_assert_str_eq(late.reply.detail,
                   "its time passed before a connection was free");
  http_call_end(&late);
  open_gate(&g);
  http_call_finish(&calls[QUEUED - 1]);
  cr_assert_eq(calls[QUEUED - 1].reply.error, 0);
  cr_assert_eq(g.arrived, SUBMIT_CONNECTIONS + 1);
  for (int i = 0; i < SUBMIT_CONNECTIONS; i++) http_call_finish(&calls[i]);
  for (int i = 0; i < SUBMIT_CONNECTIONS; i++) http_call_end(&calls[i]);
  http_call_end(&calls[QUEUED - 1]);
  http_client_close(&c);
  tiny_server_free(server);
}
