/* Waiting is visible, and nobody's waiting harms the session: progress, events
 * and log lines of a client whose service goes wrong as a plan says, and
 * heartbeats while callbacks block and all cores are busy. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "play.h"
#include "support/why.h"

#define LEDGER_MAX (1 << 20)
#define GAP_MS 15000
#define KEY "tml-never-to-be-seen"

static play_t hit;
static char ledger[LEDGER_MAX];

TestSuite(waiting, .timeout = 240);

/* --- what a client says --- */

/* Written by the delivery thread, read when nothing runs any more. */
typedef struct said_s {
  size_t lines, warnings, leaks;
  char warning[512]; /* the first that tells of something held */
  size_t events[TINKER_EVENT_SESSION_ENDED + 1];
  char reason[256]; /* of the last that was held by the queue */
  uint64_t dropped;
} said_t;

static said_t said;
static int32_t mode = TINKER_RUN_BACKGROUND; /* of the next client */

static void on_log(void *user, tinker_log_level_t level, const char *component,
                   const char *message) {
  (void)user;
  (void)component;
  said.lines++;
  if (strstr(message, KEY) || strstr(message, "43,21") ||
      strstr(message, "43, 21"))
    said.leaks++;
  if (level != TINKER_LOG_WARNING || !strstr(message, ": held for ")) return;
  if (!said.warnings++) {
    snprintf(said.warning, sizeof said.warning, "%s", message);
  }
}

static void on_event(void *user, const tinker_event_t *e) {
  (void)user;
  said.events[e->kind]++;
  said.dropped += e->dropped;
  if (e->kind == TINKER_EVENT_HELD && e->hold == TINKER_HOLD_QUEUE) {
    snprintf(said.reason, sizeof said.reason, "%s", e->text);
  }
}

/* A service with this plan, and a client that says everything. */
static void begin(const char *rules, tinker_log_cb log_cb, int32_t level) {
  static const char *const flags[] = {"--poll-ms", "200", NULL};
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  char why[256] = "";
  hit = (play_t){.steps = STEPS, .chunks = 1};
  faulty_init(&hit.service, 1, rules);
  faulty_start(&hit.service, flags, true);
  o.base_url = hit.service.http;
  o.api_key = KEY;
  o.log_cb = log_cb;
  o.log_level = level;
  o.event_cb = on_event;
  o.mode = mode;
  cr_assert_eq(why_client(&hit.client, &o, why, sizeof why), 0, "%s", why);
  ended_t e = play_create(&hit);
  cr_assert_eq(e.code, 0, "%s", e.text);
}

static tinker_progress_t ask(const tinker_future_t *f) {
  tinker_progress_t p = TINKER_PROGRESS_INIT;
  cr_assert_eq(tinker_future_progress(f, &p), 0);
  return p;
}

/* Until it is in this stage; what was seen then. */
static tinker_progress_t await_stage(tinker_future_t *f, tinker_stage_t stage) {
  tinker_progress_t p = ask(f);
  while (p.stage != stage && p.stage != TINKER_STAGE_ENDED) {
    tinker_future_wait(f, 5);
    p = ask(f);
  }
  return p;
}

#define PAUSE                                                                  \
  "{\"endpoint\":\"optim_step\",\"seq_id\":1,\"act\":\"pause\",\"ms\":4000,"   \
  "\"state\":\"paused_rate_limit\",\"reason\":\"3 clients are before you\"}"
#define STORM                                                                  \
  "{\"endpoint\":\"optim_step\",\"seq_id\":2,\"times\":2,\"act\":\"status\","  \
  "\"status\":503}"

/* A paused queue: stage, reason, event, warning. Then a service that fails. */
Test(waiting, is_visible) {
  begin(PAUSE "," STORM, on_log, TINKER_LOG_INFO);
  tinker_future_t *f = tinker_trainer_optim_step(hit.trainer, NULL, NULL);
  tinker_progress_t p = await_stage(f, TINKER_STAGE_PAUSED);
  cr_assert_eq(p.hold, TINKER_HOLD_QUEUE);
  cr_assert_str_eq(p.reason, "3 clients are before you");
  cr_assert_eq(p.accepted, 1u);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  cr_assert_eq(ask(f).stage, TINKER_STAGE_ENDED);
  tinker_future_release(f);
  f = tinker_trainer_optim_step(hit.trainer, NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  p = ask(f);
  cr_assert_eq(p.failures, 2u);
  cr_assert_eq(p.attempts, 3u);
  cr_assert(strstr(p.failure, "503"), "%s", p.failure);
  tinker_future_release(f);
  play_close(&hit);
  cr_assert_str_eq(said.reason, "3 clients are before you");
  cr_assert(strstr(said.warning, "optim_step: held for 2 s: 3 clients"), "%s",
            said.warning);
  cr_assert_geq(said.events[TINKER_EVENT_HELD], 2u);
  cr_assert_eq(said.events[TINKER_EVENT_HELD],
               said.events[TINKER_EVENT_LET_GO]);
  cr_assert_eq(said.events[TINKER_EVENT_RETRY], 2u);
  cr_assert_eq(said.dropped, 0u);
  play_end(&hit);
}

#define SHORT_PAUSE                                                            \
  "{\"endpoint\":\"optim_step\",\"seq_id\":1,\"act\":\"pause\",\"ms\":600,"    \
  "\"state\":\"paused_capacity\",\"reason\":\"no machine is free\"}"

/* The first poll that says so is an event, with the service's reason: the test
 * turns the loop itself, so that it knows how many there were. The statistics
 * have it when the operation has ended. */
Test(waiting, a_paused_queue_is_told_within_one_poll) {
  mode = TINKER_RUN_STEP;
  begin(SHORT_PAUSE, on_log, TINKER_LOG_INFO);
  tinker_future_t *f = tinker_trainer_optim_step(hit.trainer, NULL, NULL);
  tinker_progress_t before, p = ask(f);
  struct pollfd ready = {.fd = tinker_client_fd(hit.client), .events = POLLIN};
  do {
    before = p;
    poll(&ready, 1, 5);
    cr_assert_eq(tinker_client_step(hit.client), 0);
    p = ask(f);
  } while (p.stage < TINKER_STAGE_PAUSED);
  cr_assert_leq(before.polls, 1u);
  cr_assert_str_eq(said.reason, "no machine is free");
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  tinker_future_release(f);
  tinker_wait_stats_t s = TINKER_WAIT_STATS_INIT;
  cr_assert_eq(tinker_client_wait_stats(hit.client, TINKER_KIND_OPTIM_STEP, &s),
               0);
  cr_assert_eq(s.count, 1u);
  cr_assert_gt(s.paused.max_ms, 0);
  cr_assert_geq(s.total.max_ms, s.paused.max_ms);
  play_close(&hit);
  play_end(&hit);
}

/* The service ends the session: one event, within a period of heartbeats. */
Test(waiting, a_session_that_is_gone) {
  begin("{\"endpoint\":\"session_heartbeat\",\"nth\":1,"
        "\"act\":\"session_gone\"}",
        on_log, TINKER_LOG_INFO);
  for (int i = 0; i < 13; i++) sleep(1);
  play_close(&hit);
  cr_assert_eq(said.events[TINKER_EVENT_SESSION_ENDED], 1u);
  cr_assert_eq(said.events[TINKER_EVENT_SESSION_UNKNOWN] +
                   said.events[TINKER_EVENT_SESSION_SILENT],
               0u);
  play_end(&hit);
}

/* --- heartbeats --- */

static atomic_bool stop_spinning;

static void *spin(void *user) {
  volatile double x = 1;
  (void)user;
  while (!atomic_load(&stop_spinning)) x = x * 1.0000001 + 1e-9;
  return NULL;
}

static int seconds(void) {
  const char *text = getenv("TINKER_TEST_BLOCKED_SECONDS");
  return text ? (int)strtol(text, NULL, 10) : 12;
}

static void block(tinker_future_t *f, int status, void *user) {
  (void)f;
  (void)user;
  cr_assert_eq(status, 0);
  for (int i = 0; i < seconds(); i++) sleep(1);
}

/* Blocks a second at times, and calls back in. */
static void slow_log(void *user, tinker_log_level_t level,
                     const char *component, const char *message) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  on_log(user, level, component, message);
  if (said.lines % 10) return;
  call.detached = 1;
  int dump = tinker_future_status(tinker_client_dump(hit.client, &call));
  cr_assert(dump == TINKER_EAGAIN || dump == TINKER_ECLOSED); /* at its end */
  cr_assert_eq(tinker_future_wait(tinker_client_dump(NULL, NULL), 0),
               TINKER_EINVAL);
  if (said.lines <= 20) sleep(1);
}

/* Milliseconds in the entry. */
static long long at_of(const char *entry) {
  const char *at = strstr(entry, "\"at_ms\":");
  cr_assert_not_null(at);
  return strtoll(at + strlen("\"at_ms\":"), NULL, 10);
}

/* The longest time without a beat that the service saw, from the session's
 * begin to now; how many beats. Each beat fires a rule, which is in the
 * ledger. */
static long long longest_gap(size_t *beats) {
  long long last = 0, longest = 0;
  faulty_ledger(&hit.service, ledger, sizeof ledger);
  *beats = 0;
  for (const char *e = strchr(ledger, '['); e && (e = strchr(e, '{')); e++) {
    size_t n = strcspn(e, "}");
    char entry[512];
    snprintf(entry, sizeof entry, "%.*s", (int)n, e);
    bool born = strstr(entry, "\"create_session\"") != NULL;
    bool beat = strstr(entry, "\"session_heartbeat\"") != NULL;
    if (!born && !beat) continue;
    long long at = at_of(entry);
    if (last && at - last > longest) longest = at - last;
    last = at;
    *beats += beat;
  }
  return longest;
}

enum { SPINNERS = 8 };

Test(waiting, heartbeats_go_on) {
  pthread_t spinners[SPINNERS];
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  begin("{\"endpoint\":\"session_heartbeat\",\"act\":\"delay\",\"ms\":1}",
        slow_log, TINKER_LOG_DEBUG);
  for (int i = 0; i < SPINNERS; i++) {
    cr_assert_eq(pthread_create(&spinners[i], NULL, spin, NULL), 0);
  }
  call.cb = block;
  tinker_future_t *f = tinker_trainer_optim_step(hit.trainer, NULL, &call);
  for (int i = 0; i < seconds() + 2; i++) sleep(1);
  cr_assert_eq(tinker_future_status(f), 0);
  size_t beats;
  long long gap = longest_gap(&beats);
  atomic_store(&stop_spinning, true);
  for (int i = 0; i < SPINNERS; i++) pthread_join(spinners[i], NULL);
  cr_assert_geq(beats, (size_t)seconds() / 10);
  cr_assert_leq(gap, GAP_MS, "%lld ms without a heartbeat", gap);
  printf("{\"beats\": %zu, \"longest_gap_ms\": %lld, \"blocked_s\": %d}\n",
         beats, gap, seconds());
  tinker_future_release(f);
  play_close(&hit);
  play_end(&hit);
}

/* --- secrets --- */

/* Ten thousand lines of a busy client have neither the key nor a prompt. */
Test(waiting, no_line_has_a_secret) {
  enum { LINES = 10000, WIDE = 50 };
  static const int32_t tokens[] = {43, 21, 43, 21, 43, 21};
  tinker_input_t *prompt = NULL;
  tinker_sampler_t *s = NULL;
  begin("{\"endpoint\":\"asample\",\"probability\":0.1,\"act\":\"status\","
        "\"status\":503}",
        on_log, TINKER_LOG_DEBUG);
  tinker_future_t *f = tinker_trainer_create_sampler(hit.trainer, NULL);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  cr_assert_eq(tinker_future_get_sampler(f, &s), 0);
  tinker_future_release(f);
  cr_assert_eq(tinker_input_from_tokens(&prompt, tokens, 6, NULL, NULL), 0);
  tinker_sampling_params_t o = TINKER_SAMPLING_PARAMS_INIT;
  o.max_tokens = 1;
  for (int round = 0; round < LINES / (6 * WIDE); round++) {
    tinker_future_t *all[WIDE];
    for (int i = 0; i < WIDE; i++) {
      all[i] = tinker_sampler_sample(s, prompt, &o, NULL);
    }
    for (int i = 0; i < WIDE; i++) {
      cr_assert_eq(tinker_future_wait(all[i], 60000), 0);
      tinker_future_release(all[i]);
    }
  }
  tinker_input_release(prompt);
  tinker_sampler_release(s);
  play_close(&hit);
  cr_assert_geq(said.lines, (size_t)LINES);
  cr_assert_eq(said.leaks, 0u);
  play_end(&hit);
}

/* --- the environment --- */

/* Nothing listens: the standard error stream says so, and not the key. */
Test(waiting, on_stderr) {
  char path[] = "/tmp/tkeXXXXXX", text[1 << 14];
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  int file = mkstemp(path), old = dup(STDERR_FILENO);
  cr_assert(file >= 0 && old >= 0 && dup2(file, STDERR_FILENO) >= 0);
  setenv("TINKER_LOG", "warning", 1);
  o.base_url = "http://127.0.0.1:9"; /* discard: nobody has it */
  o.api_key = KEY;
  cr_assert_eq(tinker_client_new(&client, &o, NULL), 0);
  call.timeout_ms = 3000;
  tinker_future_t *f = tinker_client_get_capabilities(client, &call);
  cr_assert_eq(tinker_future_wait(f, 60000), TINKER_ETIMEDOUT);
  tinker_future_release(f);
  tinker_client_release(client);
  tinker_shutdown(-1);
  dup2(old, STDERR_FILENO);
  ssize_t n = pread(file, text, sizeof text - 1, 0);
  close(file);
  unlink(path);
  cr_assert_gt(n, 0);
  text[n] = 0;
  cr_assert(strstr(text, "tinker: warning: flow: #1 get_capabilities: held for "
                         "2 s: client/config: "),
            "%s", text);
  cr_assert_null(strstr(text, KEY));
}
