/* What a client says it is at. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

static rig_t rig;

static void setup(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
}

static void teardown(void) {
  rig_done(&rig);
}

TestSuite(dump, .init = setup, .fini = teardown);

static tinker_future_t *dump(const char **text) {
  tinker_future_t *f = NULL;
  cr_assert_eq(calls_begun(tinker_client_dump(rig.client, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 0), 0);
  cr_assert_eq(tinker_future_get_dump(f, text), 0);
  return f;
}

/* The dump of now has these words. */
static void says(const char *const *words, size_t n) {
  const char *text = NULL;
  tinker_future_t *f = dump(&text);
  for (size_t i = 0; i < n; i++) {
    cr_expect_not_null(strstr(text, words[i]), "%s in %s", words[i], text);
  }
  tinker_future_release(f);
}
#define SAYS(...)                                                              \
  says((const char *const[]){__VA_ARGS__},                                     \
       sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static tinker_future_t *step(tinker_trainer_t *t) {
  tinker_future_t *f = NULL;
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f), 0);
  return f;
}

Test(dump, a_client_that_has_done_nothing) {
  SAYS("{\"client\":\"open\"",
       "\"session\":{\"state\":\"nothing asked for yet\",\"id\":null}",
       "\"operations\":0", "\"states\":{\"queued\":0,", "\"list\":[]",
       "\"results\":{\"bytes\":52428800,\"left\":52428800,\"waiting\":0}",
       "\"not_taken\":0");
}

/* One waits to be sent again, and the next one behind it. */
Test(dump, what_each_operation_waits_for) {
  tinker_trainer_t *t = rig_trainer(&rig);
  for (int i = 0; i < 2; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                  (script_reply_t){.status = 503, .body = "no room"});
  }
  tinker_future_t *a = step(t), *b = step(t);
  rig_run(&rig);
  SAYS("\"state\":\"live\",\"id\":\"s1\",\"heartbeat_confirmed_ms_ago\":0}",
       "\"operations\":2", "\"states\":{\"queued\":1,",
       "\"sending\":1,\"polling\":0,",
       "{\"id\":2,\"name\":\"optim_step\",\"state\":\"sending\",\"of\":\"",
       "\"requests\":1,\"answered\":0,\"ready\":0,\"request\":\"rest\","
       "\"seq_id\":1,\"attempts\":1,\"polls\":0,\"deadline_in_ms\":3600000,"
       "\"trouble\":\"the server answered 503: no room\"}",
       "{\"id\":3,\"name\":\"optim_step\",\"state\":\"queued\",");
  fake_loop_advance(&rig.loop, 1);
  SAYS("\"heartbeat_confirmed_ms_ago\":1", "\"deadline_in_ms\":3599999");
  cr_assert_eq(tinker_future_wait(a, 600000), 0);
  cr_assert_eq(tinker_future_wait(b, 600000), 0);
  SAYS("\"operations\":0", "\"not_taken\":");
  tinker_future_release(a);
  tinker_future_release(b);
  tinker_trainer_release(t);
}

typedef struct told_s {
  int calls;
  char text[64];
} told_t;

static void on_dump(tinker_future_t *future, int status, void *user) {
  told_t *told = user;
  const char *text = NULL;
  told->calls++;
  if (status != 0) return;
  cr_assert_eq(tinker_future_get_dump(future, &text), 0);
  strncpy(told->text, text, sizeof told->text - 1);
}

static void from_callback(tinker_future_t *future, int status, void *user) {
  (void)future;
  (void)status;
  cr_assert_eq(calls_begun(tinker_client_dump(rig.client,
                                              CALLS_WITH(NULL, on_dump, user)),
                           NULL),
               0);
}

Test(dump, inside_a_callback) {
  told_t told = {0};
  cr_assert_eq(
      calls_begun(tinker_client_get_capabilities(
                      rig.client, CALLS_WITH(NULL, from_callback, &told)),
                  NULL),
      0);
  rig_run(&rig);
  cr_assert_eq(told.calls, 1);
}

/* A drain that does not end can be asked why; a client that closes can't. */
Test(dump, while_it_drains_and_no_longer) {
  told_t told = {0};
  tinker_trainer_t *t = rig_trainer(&rig);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.status = 503});
  tinker_future_t *f = step(t);
  rig_run(&rig);
  cr_assert_eq(
      calls_begun(tinker_client_drain(rig.client, CALLS_TIMEOUT(-1)), NULL), 0);
  rig_run(&rig);
  SAYS("{\"client\":\"draining\"", "\"sending\":1");
  cr_assert_eq(calls_begun(tinker_client_dump(rig.client,
                                              CALLS_WITH(NULL, on_dump, &told)),
                           NULL),
               0);
  cr_assert_eq(calls_begun(tinker_client_close(rig.client, NULL), NULL), 0);
  cr_assert_eq(calls_begun(tinker_client_dump(rig.client,
                                              CALLS_WITH(NULL, on_dump, &told)),
                           NULL),
               TINKER_ECLOSED);
  rig_run(&rig);
  cr_assert_eq(told.calls, 2); /* the refused one ends, too */
  tinker_future_release(f);
  tinker_trainer_release(t);
}

Test(dump, bad_arguments) {
  const char *text = NULL;
  tinker_future_t *f = NULL;
  cr_assert_eq(calls_begun(tinker_client_dump(NULL, NULL), &f), TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_dump(NULL, &text), TINKER_EINVAL);
  f = dump(&text);
  cr_assert_eq(tinker_future_get_dump(f, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_path(f, &text), TINKER_EINVAL);
  tinker_future_release(f);
}

/* Without memory it fails as every call does, and nothing is left. */
Test(dump, every_allocation_may_fail) {
  int rc = TINKER_ENOMEM;
  rig_run(&rig);
  for (size_t n = 1; rc; n++) {
    tinker_future_t *f = NULL;
    cr_assert_lt(n, 100u);
    rig.mem.fail_at = rig.mem.count + n;
    rc = calls_begun(tinker_client_dump(rig.client, NULL), &f);
    if (!rc) rc = tinker_future_wait(f, 0);
    rig.mem.fail_at = 0;
    cr_assert(rc == 0 || rc == TINKER_ENOMEM, "%d", rc);
    tinker_future_release(f);
  }
}
