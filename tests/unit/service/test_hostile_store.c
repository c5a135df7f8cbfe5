/* A store whose columns hold what no service wrote: the start is refused with
 * the place, or what stands there harms nobody. Nothing is leaked. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "rig.h"

static rig_t rig;
static reply_t reply;
static char copy[80];

static void run(const char *command) {
  cr_assert_eq(system(command), 0, "%s", command);
}

static int sql(const char *text) {
  char path[200];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  int rc = sqlite3_exec(db, text, NULL, NULL, NULL);
  cr_assert_eq(rc, SQLITE_OK, "%s: %s", text, sqlite3_errmsg(db));
  int changed = sqlite3_changes(db);
  sqlite3_close(db);
  return changed;
}

static const char *const tables[] = {"sessions", "models", "samplers",
                                     "checkpoints", "requests"};

/* Everything a store can hold, and without the rules of its tables: copies have
 * none. */
static void open_all(void) {
  char session[80], model[120], sampler[120], body[600];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_fb_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  rig_optim_body(body, sizeof body, model, 2);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":3,\"path\":\"a\"}", model);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  snprintf(body, sizeof body, "{\"model_id\":\"%s\",\"seq_id\":4}", model);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 400);
  rig_sampler(&rig, session, sampler, sizeof sampler);
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":0,\"prompt\":{"
           "\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2]}]},"
           "\"sampling_params\":{\"max_tokens\":2,\"stop\":[]}}",
           sampler);
  rig_do(&rig, "POST api/v1/asample", body, &reply);
  rig_kill(&rig);
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    snprintf(body, sizeof body,
             "CREATE TABLE t AS SELECT * FROM %s; DROP TABLE %s;"
             "ALTER TABLE t RENAME TO %s",
             tables[i], tables[i], tables[i]);
    sql(body);
  }
  snprintf(copy, sizeof copy, "%s.copy", rig.dir);
  setenv("D", rig.dir, 1);
  setenv("F", copy, 1);
  run("rm -rf $F && cp -a $D $F");
}

static void close_all(void) {
  run("rm -rf $F");
  rig_close(&rig);
}

/* 1 refused, 0 started. What it says must name the table's column. */
static int try_store(const char *change, const char *name) {
  char why[500];
  run("rm -rf $D && cp -a $F $D");
  cr_assert_gt(sql(change), 0, "%s", change);
  if (rig_try_start(&rig, why, sizeof why) != 0) {
    cr_assert_eq(rig.mem.live_blocks, 0, "%s: %zu blocks left", change,
                 (size_t)rig.mem.live_blocks);
    cr_assert(strstr(why, "inconsistent") || strstr(why, "base model '"),
              "%s: %s", change, why);
    cr_assert(!name || strstr(why, name), "%s: %s", change, why);
    return 1;
  }
  rig_call(&rig, "GET api/v1/checkpoints", NULL, NULL, "", &reply);
  rig_call(&rig, "GET api/v1/training_runs", NULL, NULL, "", &reply);
  rig_stop(&rig);
  return 0;
}

static const char *const values[] = {
    "NULL",   "-9223372036854775808", "9223372036854775807",
    "'text'", "zeroblob(3000)",       "CAST(x'610062' AS TEXT)"};

static int columns_of(const char *table, char out[16][40]) {
  char path[200], text[100];
  sqlite3 *db;
  sqlite3_stmt *stmt;
  int n = 0;
  snprintf(path, sizeof path, "%s/store.db", copy);
  snprintf(text, sizeof text, "SELECT * FROM %s", table);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
  for (; n < sqlite3_column_count(stmt); n++) {
    snprintf(out[n], 40, "%s", sqlite3_column_name(stmt, n));
  }
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return n;
}

/* The values of one table, in all columns. Returns how many were refused. */
static int attack(const char *table) {
  char columns[16][40], change[900];
  int refused = 0, n = columns_of(table, columns);
  for (int c = 0; c < n; c++) {
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      snprintf(change, sizeof change, "UPDATE %s SET %s = %s", table,
               columns[c], values[v]);
      refused += try_store(change, NULL);
    }
  }
  return refused;
}

Test(hostile_store, sessions) {
  open_all();
  cr_assert_geq(attack("sessions"), 30);
  close_all();
}

Test(hostile_store, models) {
  open_all();
  cr_assert_geq(attack("models"), 48);
  close_all();
}

Test(hostile_store, samplers) {
  open_all();
  cr_assert_geq(attack("samplers"), 28);
  close_all();
}

Test(hostile_store, checkpoints) {
  open_all();
  cr_assert_geq(attack("checkpoints"), 42);
  close_all();
}

Test(hostile_store, requests) {
  open_all();
  cr_assert_geq(attack("requests"), 52);
  close_all();
}

/* Columns that fit one by one and not together, and rows that are there
 * twice. */
Test(hostile_store, rows_that_contradict_each_other) {
  static const struct {
    const char *change, *name;
  } cases[] = {
      {"INSERT INTO sessions SELECT * FROM sessions", "second of its session"},
      {"INSERT INTO models SELECT * FROM models", "second of its run"},
      {"INSERT INTO requests SELECT * FROM requests", "second of its request"},
      {"UPDATE models SET session = 77", "a run without a session"},
      {"UPDATE samplers SET session = 77", "without a session"},
      {"UPDATE checkpoints SET model = 77", "a checkpoint without a run"},
      {"UPDATE requests SET owner = 77", "a request without an owner"},
      {"UPDATE checkpoints SET kind = 2", "a checkpoint's name and kind"},
      {"UPDATE requests SET kind = 7", "kind, owner and seq"},
      {"UPDATE requests SET kind = 0 WHERE seq > 0", "kind, owner and seq"},
      {"UPDATE requests SET kind = 8 WHERE kind = 4", "kind, owner and seq"},
      {"UPDATE requests SET kind = 4 WHERE kind = 7", "kind, owner and seq"},
      {"UPDATE requests SET result_digest = NULL", "format or digest"},
      {"UPDATE requests SET result_format = NULL", "format or digest"},
      {"UPDATE requests SET body = NULL", "has no body"},
      {"UPDATE models SET rank = 129", "rank is 129 and must be from 1 to 128"},
      {"UPDATE sessions SET id = NULL",
       "sessions, row 1: id is nothing and must be text"},
      {"UPDATE sessions SET id = 'a' || id", "id has 37 bytes"}};
  open_all();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    cr_assert_eq(try_store(cases[i].change, cases[i].name), 1, "%s",
                 cases[i].change);
  }
  close_all();
}
