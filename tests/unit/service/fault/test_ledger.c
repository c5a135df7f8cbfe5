/* The ledger over restarts. */
#include <criterion/criterion.h>
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
