/* What the service says it is at, and the debug lines of a call. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static const char *const dump = "GET _operator/dump";

static void open_with_gap(rig_t *rig, char *model, size_t len) {
  static reply_t reply;
  char session[80], body[2000];
  rig_open(rig);
  rig_session(rig, session, sizeof session);
  rig_model(rig, session, 0, model, len);
  rig_optim_body(body, sizeof body, model, 2); /* number 1 is not there */
  rig_call(rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

static void has(const reply_t *reply, const char *words) {
  cr_expect_not_null(strstr(reply->text, words), "%s in %s", words,
                     reply->text);
}

/* The dump after the engine's step, which ends after the answer to its call. */
static void dump_at_rest(rig_t *rig, reply_t *reply) {
  do {
    rig_call(rig, dump, NULL, NULL, "", reply);
  } while (strstr(reply->text, "\"busy\":true"));
}

Test(dump, a_call_that_waits_for_the_one_before) {
  static rig_t rig;
  static reply_t reply;
  char model[120], words[400];
  open_with_gap(&rig, model, sizeof model);
  dump_at_rest(&rig, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  snprintf(words, sizeof words,
           "\"models\":{\"storing\":0,\"idle\":1,\"queued\":0,\"reading\":0,"
           "\"running\":0,\"parked\":0,\"leaving\":0,\"yielding\":0,"
           "\"over\":0},\"models_with_work\":[{\"model_id\":\"%s\","
           "\"base_model\":\"m\",\"queued\":1,\"next_seq_id\":1,"
           "\"first_seq_id\":2,\"state\":\"idle\"}]",
           model);
  has(&reply, words);
  has(&reply, "{\"ends\":false,\"requests\":0,\"polls_parked\":0,"
              "\"sessions\":{\"storing\":0,\"live\":1,\"ending\":0,"
              "\"ended\":0,\"purged\":0,\"leaving\":0},"
              "\"calls\":{\"logging\":0,\"waiting\":1,\"running\":0,"
              "\"committing\":0,\"done\":1,\"failed\":0,\"refusing\":0,"
              "\"rejected\":0,\"samples\":0}");
  has(&reply, "\"store\":{\"queued\":0,\"commits\":");
  has(&reply, "\"engine\":{\"busy\":false,\"turns\":");
  has(&reply,
      "\"rounds\":0,\"doing\":0,\"models_queued\":0,\"samples_queued\":0}}");
  rig_close(&rig);
}

Test(dump, for_the_operator_only) {
  static rig_t rig;
  static reply_t reply;
  rig_open(&rig);
  rig_pending_t *p = rig_request(&rig, dump, NULL, "");
  rig_req(p)->unix_socket = false;
  rig_req(p)->route->handler(rig.s, rig_req(p));
  rig_wait(&rig, p, &reply);
  cr_assert_eq(reply.status, 403, "%s", reply.text);
  rig_close(&rig);
}

/* A reply that has no room is broken and nothing more. */
Test(dump, every_allocation_may_fail) {
  static rig_t rig;
  static reply_t reply;
  char model[120];
  open_with_gap(&rig, model, sizeof model);
  reply.status = 500;
  for (size_t n = 1; reply.status != 200; n++) {
    cr_assert_lt(n, 50u);
    rig.mem.fail_at = rig.mem.count + n;
    rig_call(&rig, dump, NULL, NULL, "", &reply);
    rig.mem.fail_at = 0;
    cr_assert(reply.status == 200 || reply.status == 500, "%d", reply.status);
  }
  rig_close(&rig);
}

/* The line of an event about a request, NULL if there is none. */
static const char *find(const rig_t *rig, const char *event, const char *id) {
  char words[2200];
  snprintf(words, sizeof words, "\"event\":\"%s\",\"request_id\":\"%s\"", event,
           id);
  return strstr(rig->log, words);
}

static void optim(rig_t *rig) {
  static reply_t reply;
  char session[80], model[120], body[2000];
  rig_session(rig, session, sizeof session);
  rig_model(rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(rig, "POST api/v1/optim_step", body, &reply);
  snprintf(body, sizeof body, "%s:1", model);
  rig_stop(rig); /* all lines are written */
  const char *accepted = find(rig, "accepted", body);
  const char *executes = find(rig, "executes", body);
  const char *done = find(rig, "done", body);
  if (rig->debug) {
    cr_assert(accepted && executes && done, "%s", rig->log);
    cr_assert(accepted < executes && executes < done, "%s", rig->log);
    cr_assert_not_null(strstr(rig->log, "\"level\":\"debug\""));
  } else {
    cr_assert(!accepted && !executes && !done, "%s", rig->log);
    cr_assert_null(strstr(rig->log, "\"level\":\"debug\""), "%s", rig->log);
  }
  rig_start(rig);
}

Test(dump, debug_lines_follow_a_call) {
  static rig_t rig;
  rig_open(&rig);
  for (int i = 0; i < 2; i++) {
    rig_stop(&rig);
    rig.logs = true;
    rig.debug = i;
    rig.log_len = 0;
    rig.log[0] = 0;
    rig_start(&rig);
    optim(&rig);
  }
  rig_close(&rig);
}
