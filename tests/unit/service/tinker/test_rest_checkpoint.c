/* A change of a checkpoint that can't be stored changes nothing. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

typedef struct bench_s {
  rig_t rig;
  reply_t reply;
  char session[80], model[120], path[200], part[300];
} bench_t;

static void open_bench(bench_t *b) {
  char body[300];
  rig_open(&b->rig);
  rig_session(&b->rig, b->session, sizeof b->session);
  rig_model(&b->rig, b->session, 0, b->model, sizeof b->model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"a\"}", b->model);
  rig_do(&b->rig, "POST api/v1/save_weights", body, &b->reply);
  rig_member(&b->reply, "path", b->path, sizeof b->path);
  snprintf(b->part, sizeof b->part, "%s/weights/a", b->model);
}

static void listed(bench_t *b, const char *words, bool there) {
  rig_call(&b->rig, "GET api/v1/training_runs/*/checkpoints", b->model, NULL,
           "", &b->reply);
  cr_assert_eq(b->reply.status, 200, "%s", b->reply.text);
  cr_assert_eq(strstr(b->reply.text, words) != NULL, there, "%s: %s", words,
               b->reply.text);
}

static void change(bench_t *b, const char *route, const char *body,
                   int status) {
  rig_call(&b->rig, route, b->part, NULL, body, &b->reply);
  cr_assert_eq(b->reply.status, status, "%s: %d %s", route, b->reply.status,
               b->reply.text);
}

static void load(bench_t *b) {
  static int number = 5;
  char body[500];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"path\":\"%s\","
           "\"optimizer\":true}",
           b->session, number++, b->path);
  rig_do(&b->rig, "POST api/v1/load_weights", body, &b->reply);
  cr_assert(strstr(b->reply.text, "model_id"), "%s", b->reply.text);
}

#define CHECKPOINT "api/v1/training_runs/*/checkpoints/*/*"

Test(rest_checkpoint, a_delete_that_is_not_stored) {
  static bench_t b;
  open_bench(&b);
  rig_refuse(&b.rig, "DELETE ON checkpoints");
  change(&b, "DELETE " CHECKPOINT, "", 503);
  for (int start = 0; start < 2; start++) {
    listed(&b, "weights/a", true);
    load(&b);
    rig_stop(&b.rig);
    rig_start(&b.rig);
  }
  rig_close(&b.rig);
}

Test(rest_checkpoint, a_change_that_is_not_stored) {
  static bench_t b;
  open_bench(&b);
  rig_refuse(&b.rig, "UPDATE ON checkpoints");
  change(&b, "POST " CHECKPOINT "/publish", "", 503);
  listed(&b, "\"public\":true", false);
  change(&b, "PUT " CHECKPOINT "/ttl", "{\"ttl_seconds\":7200}", 503);
  listed(&b, "\"expires_at\":\"", false);
  load(&b);
  rig_close(&b.rig);
}

/* Gone, for loads and lists, and after a restart; its name is free again. */
Test(rest_checkpoint, a_delete_is_for_ever) {
  static bench_t b;
  char body[300];
  open_bench(&b);
  cr_assert_eq(rig_count(&b.rig, "checkpoints", ""), 1);
  change(&b, "DELETE " CHECKPOINT, "", 204);
  cr_assert_eq(rig_count(&b.rig, "checkpoints", ""), 0);
  for (int start = 0; start < 2; start++) {
    listed(&b, "weights/a", false);
    change(&b, "DELETE " CHECKPOINT, "", 404);
    rig_stop(&b.rig);
    rig_start(&b.rig);
  }
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":2,\"path\":\"a\"}", b.model);
  rig_do(&b.rig, "POST api/v1/save_weights", body, &b.reply);
  load(&b);
  rig_close(&b.rig);
}

static _Atomic int64_t ahead_ms;

static int64_t wall(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->wall_ms(real->user) + atomic_load(&ahead_ms);
}

/* The store's writer waits while this connection has the file. */
static sqlite3 *hold_store(rig_t *rig) {
  char path[80];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", rig->dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL),
               SQLITE_OK);
  return db;
}

/* A longer life is on its way into the store when the old one is over: the
 * sweep that sees the old time takes nothing away. */
Test(rest_checkpoint, a_longer_life_on_its_way_counts) {
  static bench_t b;
  open_bench(&b);
  rig_stop(&b.rig);
  b.rig.world.wall_ms = wall;
  rig_start(&b.rig);
  change(&b, "PUT " CHECKPOINT "/ttl", "{\"ttl_seconds\":3600}", 204);
  sqlite3 *db = hold_store(&b.rig);
  rig_pending_t *longer = rig_send(&b.rig, "PUT " CHECKPOINT "/ttl", b.part,
                                   NULL, "{\"ttl_seconds\":36000}");
  atomic_store(&ahead_ms, 7200000);
  pthread_mutex_lock(&b.rig.s->lock);
  tinker__svc_checkpoints_expire(b.rig.s);
  pthread_mutex_unlock(&b.rig.s->lock);
  cr_assert_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  rig_wait(&b.rig, longer, &b.reply);
  cr_assert_eq(b.reply.status, 204, "%s", b.reply.text);
  for (int start = 0; start < 2; start++) {
    load(&b); /* its commit is after the sweep's */
    listed(&b, "weights/a", true);
    rig_stop(&b.rig);
    rig_start(&b.rig);
  }
  rig_close(&b.rig);
}
