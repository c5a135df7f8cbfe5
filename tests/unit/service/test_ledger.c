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
        "\"event\":\"faul", f);
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
