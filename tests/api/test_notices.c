/* What a client says by itself: the stream that the environment asks for, and
 * events that nobody fetches in time. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

static rig_t rig;
static const char *variable; /* TINKER_LOG */
static char written[1 << 16];

static const char *env(void *user, const char *name) {
  (void)user;
  return strcmp(name, "TINKER_LOG") ? NULL : variable;
}

static ssize_t write_down(void *user, int fd, const void *data, size_t len) {
  size_t n = strlen(written);
  (void)user;
  cr_assert_eq(fd, STDERR_FILENO);
  cr_assert_lt(n + len, sizeof written);
  memcpy(written + n, data, len);
  written[n + len] = 0;
  return (ssize_t)len;
}

static int begin(const char *level, bool log_cb) {
  written[0] = 0;
  variable = level;
  rig_init(&rig, NULL);
  rig.no_log_cb = !log_cb;
  rig.loop.world.env = env;
  rig.loop.world.write = write_down;
  return rig_client(&rig);
}

/* One call that can't be sent for a while. */
static void play(void) {
  tinker_trainer_t *t = rig_trainer(&rig);
  for (int i = 0; i < 8; i++) {
    script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                  (script_reply_t){.error = TINKER_ECONNECT});
  }
  tinker_future_t *f = tinker_trainer_optim_step(t, NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 600000), 0);
  tinker_future_release(f);
  tinker_trainer_release(t);
}

#define WARNING "tinker: warning: flow: #2 optim_step: held for 2 s: could not"
#define INFO "tinker: info: flow: #2 optim_step: goes on"
#define DEBUG "tinker: debug: flow: #2 optim_step"

Test(notices, the_environment_asks_for_the_log) {
  static const struct {
    const char *level;
    bool warning, info, debug;
  } rows[] = {{"debug", true, true, true},     {"info", true, true, false},
              {"warning", true, false, false}, {"error", false, false, false},
              {"off", false, false, false},    {"", false, false, false},
              {NULL, false, false, false}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    cr_assert_eq(begin(rows[i].level, false), 0);
    play();
    cr_assert_eq(strstr(written, WARNING) != NULL, rows[i].warning, "%zu: %s",
                 i, written);
    cr_assert_eq(strstr(written, INFO) != NULL, rows[i].info, "%zu", i);
    cr_assert_eq(strstr(written, DEBUG) != NULL, rows[i].debug, "%zu", i);
    if (!rows[i].warning) cr_assert_str_empty(written);
    rig_done(&rig);
  }
}

/* A program's own callback is what counts. */
Test(notices, a_callback_wins) {
  cr_assert_eq(begin("debug", true), 0);
  play();
  cr_assert_str_empty(written);
  cr_assert_gt(rig.log_lines, 0);
  rig_done(&rig);
  cr_assert_eq(begin("nonsense", true), 0);
  rig_done(&rig);
}

Test(notices, another_value_is_refused_by_name) {
  char why[200];
  tinker_client_options_t o;
  tinker_client_t *c = NULL;
  variable = "loud";
  rig_init(&rig, NULL);
  rig.loop.world.env = env;
  tinker__client_parts_t parts = {&rig.mem, &rig.loop.base,
                                  script_http(rig.script), false, NULL};
  tinker_client_options_init(&o);
  cr_assert_eq(tinker__client_new_on(&c, &o, &parts, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "the environment variable TINKER_LOG is \"loud\": want "
                        "debug, info, warning, error or off");
  rig_drop(&rig);
}

static int events, of_session;
static uint64_t dropped;

static void count(void *user, const tinker_event_t *e) {
  (void)user;
  events++;
  of_session += e->kind == TINKER_EVENT_SESSION_SILENT;
  dropped += e->dropped;
}

/* Too many at once: the later ones are counted, those of the session kept. */
Test(notices, events_that_nobody_fetches) {
  rig_init(&rig, NULL);
  rig.event_cb = count;
  cr_assert_eq(rig_client(&rig), 0);
  tinker_event_t e = {
      .kind = TINKER_EVENT_RETRY, .operation = TINKER_KIND_SAMPLE, .text = "x"};
  for (int i = 0; i < 1000; i++) tinker__notices_event(rig.client, &e);
  e.kind = TINKER_EVENT_SESSION_SILENT;
  e.operation = TINKER_KIND_NONE;
  tinker__notices_event(rig.client, &e);
  rig_run(&rig);
  cr_assert_eq(of_session, 1);
  cr_assert_eq((uint64_t)events + dropped, 1001u);
  cr_assert_eq(events, 241);
  rig_done(&rig);
}

static void tell_more(void *user, const tinker_event_t *e) {
  tinker_event_t next = {.kind = TINKER_EVENT_RETRY,
                         .operation = TINKER_KIND_SAMPLE,
                         .text = e->text};
  (void)user;
  if (++events < 2000) tinker__notices_event(rig.client, &next);
}

/* Each is told, although more come while they are. */
Test(notices, events_while_they_are_told) {
  rig_init(&rig, NULL);
  rig.event_cb = tell_more;
  cr_assert_eq(rig_client(&rig), 0);
  for (int i = 0; i < 2; i++) {
    tinker__notices_event(rig.client,
                          &(tinker_event_t){.kind = TINKER_EVENT_RETRY,
                                            .operation = TINKER_KIND_SAMPLE,
                                            .text = "x"});
  }
  rig_run(&rig);
  cr_assert_eq(events, 2001);
  rig_done(&rig);
}

/* Whichever allocation fails, nothing is left. */
Test(notices, without_memory) {
  int rc = TINKER_ENOMEM;
  for (uint64_t n = 1; rc; n++) {
    variable = "debug";
    rig_init(&rig, NULL);
    rig.loop.world.env = env;
    rig.no_log_cb = true;
    rig.event_cb = count;
    rig.mem.fail_at = atomic_load(&rig.mem.count) + n;
    rc = rig_client(&rig);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM);
    if (rc) {
      rig_drop(&rig);
    } else {
      rig.mem.fail_at = 0;
      rig_done(&rig);
    }
  }
}
