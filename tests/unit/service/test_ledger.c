/* The ledger over restarts. */
#include <criterion/criterion.h>
#include <errno.h>
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
