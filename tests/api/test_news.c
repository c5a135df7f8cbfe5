/* Waiting is visible: what a program can ask of a future, and what its client
 * tells it, in virtual time. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "faults.h"
#include "rig.h"

static rig_t rig;
static tinker_trainer_t *trainer;
static char told[4096]; /* events, a line each */

static void on_event(void *user, const tinker_event_t *e) {
  static const char *const names[] = {"",        "held", "let go",
                                      "retry",   "part", "silent",
                                      "unknown", "back", "ended"};
  size_t n = strlen(told);
  cr_assert_eq(user, &rig);
  cr_assert_eq(e->size, sizeof *e);
  snprintf(told + n, sizeof told - n, "%s #%llu %s %s %u/%u %s\n",
           names[e->kind], (unsigned long long)e->id,
           tinker_kind_name((tinker_kind_t)e->operation),
           tinker_hold_name(e->hold), e->done, e->parts, e->text);
}

static void open_on(const char *config) {
  told[0] = 0;
  rig_init(&rig, config);
  rig.event_cb = on_event;
  rig.event_user = &rig;
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
  rig_run(&rig);
}

static void close_all(void) {
  trainer = tinker_trainer_release(trainer);
  rig_done(&rig);
}

static tinker_progress_t ask(const tinker_future_t *f) {
  tinker_progress_t p = TINKER_PROGRESS_INIT;
  cr_assert_eq(tinker_future_progress(f, &p), 0);
  return p;
}

static void expect(const char *path, script_reply_t reply) {
  script_expect(rig.script, TINKER__HTTP_POST, path, reply);
}

/* The whole of a call that meets everything on its way. */
Test(news, what_a_future_says) {
  open_on(NULL);
  expect(OPTIM, (script_reply_t){.status = 402, .delay_ms = 500});
  expect(OPTIM,
         (script_reply_t){.delay_ms = 100,
                          .body = "{\"request_id\":\"optim_step-1-0\"}"});
  expect(RETRIEVE, (script_reply_t){.delay_ms = 1000,
                                    .body = "{\"type\":\"try_again\","
                                            "\"request_id\":\"x\","
                                            "\"queue_state\":"
                                            "\"paused_rate_limit\","
                                            "\"queue_state_reason\":\"six\"}"});
  expect(RETRIEVE, (script_reply_t){.delay_ms = 60000, .body = "{}"});
  tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, NULL);
  tinker_progress_t p = ask(f);
  cr_assert_eq(p.stage, TINKER_STAGE_QUEUED);
  cr_assert_eq(p.id, 0u, "nobody has taken it yet");
  rig_run(&rig);
  p = ask(f);
  cr_assert_eq(p.stage, TINKER_STAGE_SENT);
  cr_assert_eq(p.id, 2u);
  cr_assert_eq(p.parts, 1u);
  cr_assert_eq(p.attempts, 1u);
  fake_loop_advance(&rig.loop, 700);
  p = ask(f);
  cr_assert_eq(p.hold, TINKER_HOLD_BILLING);
  cr_assert_eq(p.failures, 1u);
  cr_assert_eq(p.age_ms, 700);
  cr_assert_eq(p.stage_ms, 700);
  cr_assert_eq(p.held_ms, 200);
  cr_assert(strstr(p.reason, "402"), "%s", p.reason);
  while (ask(f).stage == TINKER_STAGE_SENT) fake_loop_advance(&rig.loop, 100);
  p = ask(f);
  cr_assert_eq(p.stage, TINKER_STAGE_RUNNING);
  cr_assert_eq(p.accepted, 1u);
  cr_assert_eq(p.hold, TINKER_HOLD_NONE);
  cr_assert_eq(p.held_ms, 0);
  fake_loop_advance(&rig.loop, 3000);
  p = ask(f);
  cr_assert_eq(p.stage, TINKER_STAGE_PAUSED);
  cr_assert_str_eq(p.reason, "six");
  cr_assert(strstr(p.failure, "402"), "the last one: %s", p.failure);
  cr_assert_eq(tinker_future_wait(f, 600000), 0);
  p = ask(f);
  cr_assert_eq(p.stage, TINKER_STAGE_ENDED);
  cr_assert_eq(p.done, 1u);
  cr_assert_eq(p.attempts, 2u);
  cr_assert_eq(p.polls, 2u);
  int64_t age = p.age_ms;
  fake_loop_advance(&rig.loop, 100000);
  cr_assert_eq(ask(f).age_ms, age, "it does not grow older");
  tinker_future_release(f);
  close_all();
}

#define REFUSED                                                                \
  "could not connect: nothing was sent: scripted failure TINKER_ECONNECT\n"

/* Chunks of a batch, and the order of all that is told. */
Test(news, what_a_client_tells) {
  open_on("{\"fwdbwd_max_chunk_len\":2}");
  expect(FB, (script_reply_t){.error = TINKER_ECONNECT});
  tinker_datum_t **batch = rig_batch(6, 4);
  tinker_future_t *f =
      tinker_trainer_forward_backward(trainer, batch, 6, NULL, NULL);
  told[0] = 0;
  cr_assert_eq(tinker_future_wait(f, 600000), 0);
  cr_assert_str_eq(told, "held #2 forward_backward unreachable 0/0 " REFUSED
                         "retry #2 forward_backward none 0/0 " REFUSED
                         "part #2 forward_backward none 1/3 \n"
                         "let go #2 forward_backward unreachable 0/0 \n"
                         "part #2 forward_backward none 2/3 \n"
                         "part #2 forward_backward none 3/3 \n");
  cr_assert_eq(ask(f).done, 3u);
  tinker_future_release(f);
  rig_batch_free(batch, 6);
  close_all();
}

#define BEAT "api/v1/session_heartbeat"

/* A session that is gone is told once, within a period of heartbeats. */
Test(news, the_session_is_gone) {
  static const script_reply_t replies[] = {
      {.status = 410, .body = "{\"detail\":\"it has ended\"}"},
      {.status = 404, .body = "{\"detail\":\"session not found\"}"}};
  static const char *const wanted[] = {"ended #0 none none 0/0 ",
                                       "unknown #0 none none 0/0 "};
  for (size_t i = 0; i < 2; i++) {
    open_on(NULL);
    told[0] = 0;
    fake_loop_advance(&rig.loop, 10000);
    cr_assert_str_empty(told);
    for (int k = 0; k < 3; k++) expect(BEAT, replies[i]);
    fake_loop_advance(&rig.loop, 10000);
    cr_assert_eq(strncmp(told, wanted[i], strlen(wanted[i])), 0, "%s", told);
    cr_assert_str_eq(strchr(told, '\n'), "\n");
    fake_loop_advance(&rig.loop, 20000);
    cr_assert_str_eq(strchr(told, '\n'), "\n", "told again: %s", told);
    close_all();
  }
}

/* What is not an operation of the flow has only its end. */
Test(news, other_futures) {
  open_on(NULL);
  tinker_progress_t p = TINKER_PROGRESS_INIT;
  cr_assert_eq(tinker_future_progress(NULL, &p), TINKER_EINVAL);
  tinker_future_t *f = tinker_trainer_optim_step(NULL, NULL, NULL);
  cr_assert_eq(tinker_future_progress(f, NULL), TINKER_EINVAL);
  cr_assert_eq(ask(f).stage, TINKER_STAGE_ENDED); /* a constant one */
  f = tinker_trainer_forward_backward(trainer, NULL, 0, NULL, NULL);
  cr_assert_eq(ask(f).stage, TINKER_STAGE_ENDED); /* refused */
  cr_assert_eq(ask(f).id, 0u);
  tinker_future_release(f);
  f = tinker_client_dump(rig.client, NULL);
  cr_assert_eq(ask(f).stage, TINKER_STAGE_QUEUED);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(ask(f).stage, TINKER_STAGE_ENDED);
  tinker_future_release(f);
  close_all();
}

/* A program that was built with a shorter struct gets that much. */
Test(news, sizes) {
  open_on(NULL);
  tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  tinker_progress_t p = TINKER_PROGRESS_INIT;
  p.size = offsetof(tinker_progress_t, age_ms);
  p.age_ms = -7;
  cr_assert_eq(tinker_future_progress(f, &p), 0);
  cr_assert_eq(p.size, offsetof(tinker_progress_t, age_ms));
  cr_assert_eq(p.stage, TINKER_STAGE_ENDED);
  cr_assert_eq(p.id, 2u);
  cr_assert_eq(p.age_ms, -7);
  static const size_t wrong[] = {0, sizeof(size_t), sizeof p + 1};
  for (size_t i = 0; i < 3; i++) {
    p.size = wrong[i];
    cr_assert_eq(tinker_future_progress(f, &p), TINKER_EINVAL);
  }
  tinker_future_release(f);
  close_all();
}

Test(news, names) {
  cr_assert_str_eq(tinker_stage_name(TINKER_STAGE_PAUSED), "paused");
  cr_assert_str_eq(tinker_stage_name((tinker_stage_t)99), "unknown");
  cr_assert_str_eq(tinker_hold_name(TINKER_HOLD_QUEUE), "queue");
  cr_assert_str_eq(tinker_hold_name((tinker_hold_t)-1), "unknown");
}

static void *look(void *user) {
  tinker_future_t *f = user;
  tinker_progress_t p;
  uint32_t polls = 0;
  do {
    p = ask(f);
    cr_assert_geq(p.polls, polls);
    polls = p.polls;
  } while (p.stage != TINKER_STAGE_ENDED);
  return NULL;
}

/* Several threads ask while the client's own thread shows. */
Test(news, from_any_thread) {
  pthread_t threads[4];
  rig_init_threads(&rig);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
  for (int k = 0; k < 20; k++) {
    tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, NULL);
    for (int i = 0; i < 4; i++) {
      cr_assert_eq(pthread_create(&threads[i], NULL, look, f), 0);
    }
    cr_assert_eq(tinker_future_wait(f, -1), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    tinker_future_release(f);
  }
  close_all();
}
