/* A transport without requests waits for nothing: no timer of it runs, and no
 * descriptor is watched. This file stands between it and the loop. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "support/http_client.h"
#include "support/tiny_server.h"

enum { MOST = 64 };

/* Timers that were started and not stopped, and what each watch waits for. */
static tinker__timer_t *timers[MOST];
static struct {
  tinker__watch_t *watch;
  unsigned wanted;
} watches[MOST];
static size_t watch_max;
static tinker__loop_ops_t ops; /* of the loop, but for these */
static const tinker__loop_ops_t *real;

static void forget_timer(tinker__timer_t *timer) {
  for (size_t i = 0; i < MOST; i++) {
    if (timers[i] == timer) timers[i] = NULL;
  }
}

static void timer_start(tinker__loop_t *loop, tinker__timer_t *timer,
                        int64_t due_ms) {
  size_t i = 0;
  forget_timer(timer);
  while (i < MOST && timers[i]) i++;
  cr_assert_lt(i, MOST);
  timers[i] = timer;
  real->timer_start(loop, timer, due_ms);
}

static void timer_stop(tinker__loop_t *loop, tinker__timer_t *timer) {
  forget_timer(timer);
  real->timer_stop(loop, timer);
}

static size_t slot_of(const tinker__watch_t *watch) {
  size_t i = 0;
  while (i < MOST && watches[i].watch != watch) i++;
  cr_assert_lt(i, MOST);
  return i;
}

static int watch_new(tinker__loop_t *loop, tinker__watch_t **out, int fd,
                     tinker__watch_cb cb, void *user) {
  int rc = real->watch_new(loop, out, fd, cb, user);
  if (rc) return rc;
  size_t i = slot_of(NULL);
  watches[i].watch = *out;
  watches[i].wanted = 0;
  watch_max++;
  return 0;
}

static int watch_set(tinker__watch_t *watch, unsigned ready) {
  watches[slot_of(watch)].wanted = ready;
  return real->watch_set(watch, ready);
}

static void watch_free(tinker__watch_t *watch) {
  watches[slot_of(watch)].watch = NULL;
  real->watch_free(watch);
}

static void stand_between(tinker__loop_t *loop) {
  memset(timers, 0, sizeof(timers)); /* of the client before */
  memset(watches, 0, sizeof(watches));
  real = loop->ops;
  ops = *real;
  ops.timer_start = timer_start;
  ops.timer_stop = timer_stop;
  ops.watch_new = watch_new;
  ops.watch_set = watch_set;
  ops.watch_free = watch_free;
  loop->ops = &ops;
}

static int running, watched;

static void count(tinker__task_t *task) {
  http_call_t *call = TINKER__CONTAINER(task, http_call_t, submit);
  running = watched = 0;
  for (size_t i = 0; i < MOST; i++) {
    if (timers[i] && tinker__timer_active(timers[i])) running++;
    if (watches[i].watch && watches[i].wanted) watched++;
  }
  atomic_store(&call->over, true);
  tinker__loop_notify(call->client->loop);
}

static void count_now(http_client_t *c) {
  static http_call_t call;
  memset(&call, 0, sizeof(call));
  call.client = c;
  tinker__task_init(&call.submit, count);
  tinker__loop_post(c->loop, &call.submit);
  http_call_finish(&call);
}

static tiny_reply_t answer(void *user, const tiny_request_t *r) {
  (void)user;
  if (!strcmp(r->path, "/hang")) return (tiny_reply_t){.hang = true};
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

static tinker__http_request_t request(int lane, const char *path) {
  return (tinker__http_request_t){
      .lane = (tinker__lane_t)lane,
      .method = TINKER__HTTP_POST,
      .path = path,
      .body = TINKER__STR("{}"),
      .numbered = true,
  };
}

/* Well, by cancel and by its time: what a request needs goes with it. */
static void use_lane(http_client_t *c, int lane) {
  http_call_t call;
  http_expect(c, request(lane, "/x"), 0, 200, true);
  http_call_begin(c, &call, request(lane, "/hang"));
  tinker__loop_post(c->loop, &call.cancel);
  http_call_finish(&call);
  tinker__http_request_t late = request(lane, "/hang");
  late.timeout_ms = 20;
  http_expect(c, late, TINKER_ETIMEDOUT, 0, true);
  http_expect(c, request(lane, "/x"), 0, 200, true);
}

Test(http_idle, nothing_is_waited_for, .timeout = 120) {
  char url[300];
  for (int round = 0; round < 3; round++) {
    http_client_t c;
    snprintf(url, sizeof(url), "/tmp/tinker-idle-%d.sock", (int)getpid());
    tiny_server_t *server =
        tiny_server_new(round ? NULL : url, 64, true, answer, NULL);
    snprintf(url, sizeof(url), "%s", tiny_server_url(server));
    if (round == 2) { /* a name: the resolver's thread and descriptors */
      snprintf(url, sizeof(url), "http://localhost%s",
               strrchr(tiny_server_url(server), ':'));
    }
    http_client_open(&c, url);
    stand_between(c.loop);
    for (int lane = 0; lane < TINKER__LANE_COUNT; lane++) use_lane(&c, lane);
    count_now(&c);
    cr_assert_eq(running, 0, "round %d: %d timers", round, running);
    cr_assert_eq(watched, 0, "round %d: %d descriptors", round, watched);
    cr_assert_geq(watch_max, TINKER__LANE_COUNT);
    http_client_close(&c);
    tiny_server_free(server);
  }
}
