/* The ledger over restarts. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

/* A line that a kill has cut: it goes, and what comes next is whole. */
Test(ledger, a_cut_line) {
  static rig_t rig;
  static reply_t reply;
  char plan[] = "/tmp/tinker-plan-XXXXXX", path[80], session[80];
  FILE *f = fdopen(mkstemp(plan), "w");
  fputs("{\"rules\":[]}", f);
  fclose(f);
  rig_open(&rig);
  rig_stop(&rig);
  snprintf(path, sizeof path, "%s/ledger.jsonl", rig.dir);
  f = fopen(path, "w");
  fputs("{\"at_ms\":1,\"event\":\"accepted\",\"id\":\"first\"}\n{\"at_ms\":2,"
        "\"event\":\"faul",
        f);
  fclose(f);
  rig.faults = plan;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_call(&rig, "GET _test/ledger", NULL, NULL, "", &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  const char *text = "{\"entries\":[{\"at_ms\":1,\"event\":\"accepted\","
                     "\"id\":\"first\"},{\"at_ms\":";
  cr_assert(!strncmp(reply.text, text, strlen(text)) &&
                strstr(reply.text, session) && !strstr(reply.text, "faul"),
            "%s", reply.text);
  unlink(plan);
  unlink(path);
  rig_close(&rig);
}

static int count_lines(rig_t *rig, const char *what) {
  static reply_t reply;
  int n = 0;
  rig_call(rig, "GET _test/ledger", NULL, NULL, "", &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  for (char *p = reply.text; (p = strstr(p, what)) != NULL; p++) n++;
  return n;
}

/* Lines that a kill kept from being written come from the store, once. */
Test(ledger, lines_that_are_missing) {
  static rig_t rig;
  static reply_t reply;
  char plan[] = "/tmp/tinker-plan-XXXXXX", path[80], session[80], model[120],
       body[600];
  FILE *f = fdopen(mkstemp(plan), "w");
  fputs("{\"rules\":[]}", f);
  fclose(f);
  rig_open(&rig);
  rig_stop(&rig);
  rig.faults = plan;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_eq(count_lines(&rig, "\"endpoint\":\"optim_step\""), 2);
  rig_stop(&rig);
  snprintf(path, sizeof path, "%s/ledger.jsonl", rig.dir);
  cr_assert_eq(truncate(path, 0), 0);
  for (int start = 0; start < 2; start++) {
    rig_start(&rig);
    cr_assert_eq(count_lines(&rig, "\"event\":\"accepted\""), 2);
    cr_assert_eq(count_lines(&rig, "\"event\":\"applied\""), 2);
    rig_stop(&rig);
  }
  rig_start(&rig);
  unlink(plan);
  unlink(path);
  rig_close(&rig);
}

/* They have the order of the calls: whoever reads the ledger takes the order of
 * its lines for what happened. */
Test(ledger, lines_that_are_missing_keep_their_order) {
  static rig_t rig;
  static reply_t reply;
  char plan[] = "/tmp/tinker-plan-XXXXXX", path[80], session[80], model[120],
       body[600], line[60];
  FILE *f = fdopen(mkstemp(plan), "w");
  fputs("{\"rules\":[]}", f);
  fclose(f);
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  for (int seq = 1; seq <= 8; seq++) {
    rig_optim_body(body, sizeof body, model, seq);
    rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  }
  rig_stop(&rig);
  rig.faults = plan;
  rig_start(&rig);
  rig_call(&rig, "GET _test/ledger", NULL, NULL, "", &reply);
  const char *at = reply.text;
  for (int i = 0; at && i < 18; i++) {
    snprintf(line, sizeof line, "\"event\":\"%s\"",
             i < 9 ? "accepted" : "applied");
    at = strstr(at, line);
    snprintf(line, sizeof line, "\"seq_id\":%d}", i % 9);
    const char *number = at ? strstr(at, "\"seq_id\":") : NULL;
    cr_assert(number && !strncmp(number, line, strlen(line)), "%d: %s", i,
              reply.text);
    at = number;
  }
  unlink(plan);
  snprintf(path, sizeof path, "%s/ledger.jsonl", rig.dir);
  unlink(path);
  rig_close(&rig);
}

/* --- A disk that takes its time ------------------------------------------- */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  int fd; /* of the ledger */
  bool shut;
  int waiting; /* writes of it */
} gate = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
};

static int gated_open(void *user, const char *path, int flags, mode_t mode) {
  int fd = tinker__world_real()->open(user, path, flags, mode);
  if (strstr(path, "/ledger.jsonl") && flags & O_APPEND) gate.fd = fd;
  return fd;
}

static ssize_t gated_write(void *user, int fd, const void *data, size_t len) {
  pthread_mutex_lock(&gate.lock);
  if (fd == gate.fd) {
    gate.waiting++;
    pthread_cond_broadcast(&gate.wake);
    while (gate.shut) pthread_cond_wait(&gate.wake, &gate.lock);
  }
  pthread_mutex_unlock(&gate.lock);
  return tinker__world_real()->write(user, fd, data, len);
}

static void set_gate(bool shut) {
  pthread_mutex_lock(&gate.lock);
  gate.shut = shut;
  gate.waiting = 0;
  pthread_cond_broadcast(&gate.wake);
  pthread_mutex_unlock(&gate.lock);
}

static void wait_for_write(void) {
  pthread_mutex_lock(&gate.lock);
  while (!gate.waiting) pthread_cond_wait(&gate.wake, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

/* Whoever is answered finds the line in the file; and while the line is being
 * written the lock is free: others are served. */
Test(ledger, is_written_before_the_reply_and_without_the_lock) {
  static rig_t rig;
  static reply_t reply;
  char plan[] = "/tmp/tinker-plan-XXXXXX", path[80], session[80], beat[120],
       line[4000];
  FILE *f = fdopen(mkstemp(plan), "w");
  fputs("{\"rules\":[]}", f);
  fclose(f);
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.open = gated_open;
  rig.world.write = gated_write;
  rig.faults = plan;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  snprintf(beat, sizeof beat, "{\"session_id\":\"%s\"}", session);
  snprintf(path, sizeof path, "%s/ledger.jsonl", rig.dir);
  set_gate(true);
  rig_pending_t *p =
      rig_send(&rig, "POST api/v1/create_session", NULL, NULL, "{}");
  wait_for_write();
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, beat, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  cr_assert_not(rig_answered(p));
  set_gate(false);
  rig_wait(&rig, p, &reply);
  rig_member(&reply, "session_id", session, sizeof session);
  f = fopen(path, "r");
  line[fread(line, 1, sizeof line - 1, f)] = 0;
  fclose(f);
  cr_assert_neq(strstr(line, session), NULL, "%s", line);
  rig_stop(&rig);
  rig_start(&rig);
  unlink(plan);
  unlink(path);
  rig_close(&rig);
}

static _Thread_local int settles;

static void accepting(tinker__svc_op_t *op) {
  (void)op;
}

static void heard(const tinker__svc_op_t *op, tinker__svc_event_t event) {
  (void)op;
  (void)event;
}

static void other(tinker__svc_t *s, const char *endpoint, const char *id) {
  (void)s;
  (void)endpoint;
  (void)id;
}

static void settle(tinker__svc_t *s) {
  (void)s;
  settles++;
}

/* Sends a call twice; the second time this thread answers it, and waits for the
 * ledger first: the line of the first time may still be on its way. */
static void twice(rig_t *rig, const char *route, const char *capture,
                  const char *key, const char *body, int status) {
  static reply_t reply;
  rig_call(rig, route, capture, key, body, &reply);
  cr_assert_eq(reply.status, status, "%s: %s", route, reply.text);
  settles = 0;
  rig_call(rig, route, capture, key, body, &reply);
  cr_assert_eq(reply.status, status, "%s: %s", route, reply.text);
  cr_expect_eq(settles, 1, "%s: %d", route, settles);
}

Test(ledger, is_written_before_a_repeated_call_is_answered) {
  static const tinker__svc_observer_t observer = {accepting, heard, other,
                                                  settle};
  static rig_t rig;
  char session[80], model[120], sampler[120], body[600];
  rig_open(&rig);
  rig.s->observer = &observer;
  twice(&rig, "POST api/v1/create_session", NULL, "key", "{}", 200);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_sampler(&rig, session, sampler, sizeof sampler);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":7,"
           "\"base_model\":\"m\"}",
           session);
  twice(&rig, "POST api/v1/create_sampling_session", NULL, NULL, body, 200);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":1,"
           "\"base_model\":\"m\",\"lora_config\":{\"rank\":4}}",
           session);
  twice(&rig, "POST api/v1/create_model", NULL, NULL, body, 200);
  rig_optim_body(body, sizeof body, model, 1);
  twice(&rig, "POST api/v1/optim_step", NULL, NULL, body, 200);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":2,"
           "\"adam_params\":{\"learning_rate\":-1}}",
           model);
  twice(&rig, "POST api/v1/optim_step", NULL, NULL, body, 400);
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":0,"
           "\"prompt\":{\"chunks\":[{\"type\":\"encoded_text\","
           "\"tokens\":[1]}]},\"sampling_params\":{\"max_tokens\":1}}",
           sampler);
  twice(&rig, "POST api/v1/asample", NULL, NULL, body, 200);
  twice(&rig, "POST api/v1/sessions/*/finish", session, NULL,
        "{\"reason\":{\"type\":\"success\"}}", 200);
  rig_close(&rig);
}

/* What the next write of a ledger line gives: -1 = an error, 0 = half a line, 1
 * = it goes well. */
static atomic_int outcome;

static ssize_t write_line(void *user, int fd, const void *data, size_t len) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  bool line = len > 9 && memcmp(data, "{\"at_ms\":", 9) == 0;
  if (line && atomic_load(&outcome) < 0) {
    errno = ENOSPC;
    return -1;
  }
  if (line && atomic_load(&outcome) == 0) len /= 2;
  return real->write(real->user, fd, data, len);
}

/* A ledger with a gap would mislead whoever reads it: the service ends. */
Test(ledger, a_line_that_can_not_be_written) {
  static rig_t rig;
  static reply_t reply;
  char plan[] = "/tmp/tinker-plan-XXXXXX", path[80];
  FILE *f = fdopen(mkstemp(plan), "w");
  fputs("{\"rules\":[]}", f);
  fclose(f);
  rig_open(&rig);
  rig_stop(&rig);
  rig.faults = plan;
  rig.world.write = write_line;
  rig.logs = true;
  for (int result = -1; result <= 0; result++) {
    atomic_store(&outcome, 1);
    rig_start(&rig);
    cr_assert(!atomic_load(&rig.ended));
    atomic_store(&outcome, result);
    rig_call(&rig, "POST api/v1/create_session", NULL, NULL, "{}", &reply);
    rig_stop(&rig);
    cr_expect(atomic_load(&rig.ended), "%d", result);
    cr_expect(rig_said(&rig, "the ledger could not be written"));
    atomic_store(&rig.ended, false);
  }
  atomic_store(&outcome, 1);
  rig_start(&rig);
  snprintf(path, sizeof path, "%s/ledger.jsonl", rig.dir);
  unlink(plan);
  unlink(path);
  rig_close(&rig);
}
