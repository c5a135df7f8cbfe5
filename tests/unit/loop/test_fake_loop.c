/* The tests' own loop keeps the promises of the real one. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fake_loop.h"
#include "support/loop_wait.h"

typedef struct probe_s {
  fake_loop_t fake;
  tinker__mem_t mem;
  tinker__task_t task;
  tinker__task_t delivery;
  tinker__timer_t timers[3];
  char log[64];
  bool flag;
  int gone;
} probe_t;

static probe_t p;

static void say(const char *what) {
  strncat(p.log, what, sizeof(p.log) - strlen(p.log) - 1);
}

static void on_timer(tinker__timer_t *timer) {
  char name[2] = {(char)('0' + (timer - p.timers)), '\0'};
  cr_assert(tinker__loop_on_thread(&p.fake.base));
  say(name);
  if (timer == &p.timers[2]) p.flag = true;
  tinker__loop_post(&p.fake.base, &p.task);
}

static void on_task(tinker__task_t *task) {
  (void)task;
  cr_assert(tinker__loop_on_thread(&p.fake.base));
  say("p");
  tinker__loop_deliver(&p.fake.base, &p.delivery);
}

static void on_delivery(tinker__task_t *task) {
  (void)task;
  cr_assert(tinker__loop_on_delivery(&p.fake.base));
  say("d");
}

static void start_timers(void *user) {
  int64_t now = tinker__loop_now(&p.fake.base);
  (void)user;
  tinker__timer_start(&p.fake.base, &p.timers[0], now + 20);
  tinker__timer_start(&p.fake.base, &p.timers[1], now - 5);
  tinker__timer_start(&p.fake.base, &p.timers[2], now + 30);
}

static void on_gone(void *user) {
  (void)user;
  p.gone++;
}

static bool is_set(void *user) {
  (void)user;
  return p.flag;
}

static bool never(void *user) {
  (void)user;
  return false;
}

Test(fake_loop, time_passes_only_when_told) {
  tinker__mem_init(&p.mem, NULL, 0);
  fake_loop_init(&p.fake, &p.mem);
  tinker__task_init(&p.task, on_task);
  tinker__task_init(&p.delivery, on_delivery);
  for (int i = 0; i < 3; i++) tinker__timer_init(&p.timers[i], on_timer);
  fake_loop_call(&p.fake, start_timers, NULL);
  cr_assert_not(tinker__loop_on_thread(&p.fake.base));
  fake_loop_run(&p.fake);
  cr_assert_str_empty(p.log);
  fake_loop_advance(&p.fake, 0);
  cr_assert_str_eq(p.log, "1pd");
  fake_loop_advance(&p.fake, 19);
  cr_assert_str_eq(p.log, "1pd");
  fake_loop_advance(&p.fake, 1);
  cr_assert_str_eq(p.log, "1pd0pd");
  cr_assert_eq(tinker__loop_wait(&p.fake.base, is_set, NULL, 9),
               TINKER_ETIMEDOUT);
  cr_assert_eq(tinker__loop_wait(&p.fake.base, is_set, NULL, -1), 0);
  cr_assert_eq(tinker__loop_wait(&p.fake.base, never, NULL, 100),
               TINKER_ETIMEDOUT);
  cr_assert_eq(p.fake.now_ms, 1000 + 20 + 9 + 1 + 100);
  cr_assert_eq(tinker__loop_after(&p.fake.base, 5), p.fake.now_ms + 5);
  cr_assert_eq(tinker__loop_after(&p.fake.base, INT64_MAX), INT64_MAX);
  cr_assert_eq(tinker__loop_after(&p.fake.base, INT64_MAX - 1130), INT64_MAX);
  cr_assert(fake_loop_idle(&p.fake));
  cr_assert_not(fake_loop_next(&p.fake));
  tinker__loop_post(&p.fake.base, &p.task);
  cr_assert_not(tinker__loop_post(&p.fake.base, &p.task));
  tinker__loop_close(&p.fake.base, on_gone, NULL);
  cr_assert_eq(p.gone, 1);
  cr_assert_str_eq(p.log, "1pd0pd2pdpd");
}
