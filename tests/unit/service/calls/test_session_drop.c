/* A session that ended long ago is forgotten when no checkpoint of it is left,
 * in memory and in the store. The sweep is the test's own (the timer's runs
 * besides); the wall clock, too. */
#include <criterion/criterion.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

#define DAYS 172800000 /* in which every session without checkpoints goes */

static _Atomic int64_t ahead_ms;
static rig_t rig;
static reply_t reply;
static char session[80], model[120], sampler[120], body[600];

static int64_t wall(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->wall_ms(real->user) + atomic_load(&ahead_ms);
}

static void open_ahead(void) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.wall_ms = wall;
  rig_start(&rig);
}

static void look(void) {
  tinker__svc_lock(rig.s);
  tinker__svc_session_purge(rig.s);
  tinker__svc_checkpoints_expire(rig.s);
  tinker__svc_unlock(rig.s);
}

static int get(const char *route, const char *id) {
  rig_call(&rig, route, id, NULL, "", &reply);
  return reply.status;
}

static int get_session(void) {
  return get("GET api/v1/sessions/*", session);
}

static int poll_status(const char *id) {
  snprintf(body, sizeof body, "{\"request_id\":\"%s\"}", id);
  rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
  return reply.status;
}

/* Sweeps until it is true; a guard against a hang, no promise. */
static bool until(bool (*done)(void)) {
  const tinker__world_t *w = tinker__world_real();
  int64_t end = w->now_ms(w->user) + 20000;
  while (!done()) {
    if (w->now_ms(w->user) > end) return false;
    look();
    sched_yield();
  }
  return true;
}

static bool is_gone(void) {
  return get_session() == 404;
}

static bool is_purged(void) {
  char id[200];
  snprintf(id, sizeof id, "%s:0", model);
  return poll_status(id) == 410;
}

static int64_t rows(const char *table) {
  char sql[80], path[80];
  sqlite3 *db;
  sqlite3_stmt *st;
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
  cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
  int64_t n = sqlite3_column_int64(st, 0);
  sqlite3_finalize(st);
  sqlite3_close(db);
  return n;
}

static void begin(void) {
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
}

static void save(int seq, const char *rest) {
  snprintf(body, sizeof body, "{\"model_id\":\"%s\",\"seq_id\":%d,%s}", model,
           seq, rest);
  rig_do(&rig, "POST api/v1/save_weights_for_sampler", body, &reply);
}

static void sample(void) {
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":0,\"num_samples\":1,"
           "\"prompt\":{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":"
           "[1,2,3]}]},\"sampling_params\":{\"max_tokens\":3,\"seed\":1}}",
           sampler);
  rig_do(&rig, "POST api/v1/asample", body, &reply);
}

static void finish(void) {
  rig_call(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}", &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

/* One with a step, a snapshot, an adapter in memory and a sample. */
static void work(void) {
  begin();
  rig.s->config.snapshot_ms = 0;
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  save(2, "\"sampling_session_seq_id\":1");
  rig_member(&reply, "sampling_session_id", sampler, sizeof sampler);
  sample();
}

static void expect_nothing(void) {
  static const char *const tables[] = {"sessions", "models", "requests",
                                       "samplers", "checkpoints"};
  char id[200];
  snprintf(id, sizeof id, "%s:1", model);
  cr_assert_eq(poll_status(id), 404, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "request_id not found"), NULL, "%s",
                reply.text);
  cr_assert_eq(get("GET api/v1/training_runs/*", model), 404);
  cr_assert_eq(get("GET api/v1/samplers/*", sampler), 404);
  cr_assert_eq(get("GET api/v1/training_runs", NULL), 200);
  cr_assert_eq(strstr(reply.text, model), NULL, "%s", reply.text);
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    cr_assert_eq(rows(tables[i]), 0, "%s", tables[i]);
  }
  cr_assert_eq(rig_count(&rig, "snapshots", ""), 0);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 0);
  cr_assert_eq(rig.s->n_adapters, 0);
}

/* Memory is what it was: the maps have grown in the first round. */
Test(drop, all_of_it) {
  uint64_t blocks = 0;
  open_ahead();
  for (int i = 0; i < 3; i++) {
    work();
    finish();
    look();
    cr_assert_eq(get_session(), 200); /* results are still kept */
    atomic_fetch_add(&ahead_ms, DAYS);
    cr_assert(until(is_gone));
    expect_nothing();
    if (i == 1) blocks = rig.mem.live_blocks;
  }
  cr_assert_leq(rig.mem.live_blocks, blocks + 8);
  rig_close(&rig);
}

/* A client that slept is told that its session has ended, for a day. */
Test(drop, is_known_for_a_day) {
  char heartbeat[120];
  open_ahead();
  work();
  finish();
  snprintf(heartbeat, sizeof heartbeat, "{\"session_id\":\"%s\"}", session);
  atomic_fetch_add(&ahead_ms, 23 * 3600000);
  cr_assert(until(is_purged));
  for (int i = 0; i < 20; i++) look();
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, heartbeat,
           &reply);
  cr_assert_eq(reply.status, 410, "%d %s", reply.status, reply.text);
  atomic_fetch_add(&ahead_ms, 3600000);
  cr_assert(until(is_gone));
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, heartbeat,
           &reply);
  cr_assert_eq(reply.status, 404, "%d %s", reply.status, reply.text);
  rig_close(&rig);
}

static bool run_is_gone(void) {
  return get("GET api/v1/training_runs/*", model) == 404;
}

/* Its results are gone, the run is listed, its weights can be used; without
 * them it goes. */
Test(drop, not_while_a_checkpoint_is_left) {
  char live[80], path[200];
  open_ahead();
  work();
  save(3, "\"path\":\"kept\"");
  rig_member(&reply, "path", path, sizeof path);
  finish();
  atomic_fetch_add(&ahead_ms, DAYS);
  cr_assert(until(is_purged));
  for (int i = 0; i < 20; i++) look();
  rig_stop(&rig);
  rig_start(&rig);
  cr_assert(until(is_purged));
  for (int i = 0; i < 20; i++) look();
  cr_assert_eq(get("GET api/v1/training_runs/*", model), 200);
  rig_session(&rig, live, sizeof live);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":0,"
           "\"model_path\":\"%s\"}",
           live, path);
  rig_call(&rig, "POST api/v1/create_sampling_session", NULL, NULL, body,
           &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "sampling_session_id", sampler, sizeof sampler);
  sample();
  snprintf(path, sizeof path, "%s/sampler_weights/kept", model);
  cr_assert_eq(get("DELETE api/v1/training_runs/*/checkpoints/*/*", path), 204);
  cr_assert(until(run_is_gone));
  cr_assert_eq(rows("models"), 0);
  cr_assert_eq(rows("sessions"), 1); /* the live one */
  rig_close(&rig);
}

/* A stop, or a death, between two of its steps: the next start finds all of it
 * or nothing. */
Test(drop, in_pieces) {
  open_ahead();
  for (int i = 0; i < 8; i++) {
    work();
    finish();
    atomic_fetch_add(&ahead_ms, DAYS);
    for (int k = 0; k < i; k++) look();
    if (i % 2) {
      rig_stop(&rig);
    } else {
      rig_kill(&rig);
    }
    rig_start(&rig);
    cr_assert(until(is_gone));
    expect_nothing();
  }
  rig_close(&rig);
}

/* While the store can't take its rows away all of it stays; the next start
 * tries again. */
Test(drop, not_when_it_can_not_be_stored) {
  open_ahead();
  work();
  finish();
  rig_refuse(&rig, "DELETE ON sessions");
  atomic_fetch_add(&ahead_ms, DAYS);
  cr_assert(until(is_purged));
  for (int i = 0; i < 200; i++) {
    look();
    cr_assert_eq(get_session(), 200);
  }
  rig_stop(&rig);
  cr_assert_eq(rows("models"), 1);
  rig_allow(&rig);
  rig_start(&rig);
  cr_assert(until(is_gone));
  expect_nothing();
  rig_close(&rig);
}

/* Each allocation of the way out fails once: at the next look it goes on. */
Test(drop, without_memory) {
  tinker__mem_t *mem = &rig.mem;
  uint64_t at = 0;
  open_ahead();
  for (int n = 1; n < 40; n++) {
    work();
    finish();
    atomic_fetch_add(&ahead_ms, DAYS);
    at = mem->count + (uint64_t)n;
    atomic_store(&mem->fail_at, at);
    look();
    look();
    atomic_store(&mem->fail_at, 0);
    cr_assert(until(is_gone), "%d", n);
    expect_nothing();
    cr_assert(!atomic_load(&rig.ended), "%d", n);
  }
  rig_close(&rig);
}
