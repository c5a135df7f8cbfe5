/* rig: see rig.h. */
#include "rig.h"
#include "service/fault/fault.h"
#include "service/tinker/handlers.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <microhttpd.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/cpu.h"

/* --- What handlers ask of the HTTP library -------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static const char *idempotency_key;

struct rig_pending_s {
  tinker__svc_req_t req; /* first: MHD's connection is this */
  tinker__mem_t mem;     /* what a client sends is not the service's memory */
  const char *route;
  bool parked, resumed;
};

bool rig_takes_lock_to_resume;

void MHD_resume_connection(struct MHD_Connection *connection) {
  rig_pending_t *c = (rig_pending_t *)connection;
  if (rig_takes_lock_to_resume) {
    tinker__svc_lock(c->req.service);
    tinker__svc_unlock(c->req.service);
  }
  pthread_mutex_lock(&lock);
  c->resumed = true;
  pthread_cond_signal(&answered);
  pthread_mutex_unlock(&lock);
}

/* A request that others may see from now on. */
void MHD_suspend_connection(struct MHD_Connection *connection) {
  ((rig_pending_t *)connection)->parked = true;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *connection,
                                        enum MHD_ValueKind kind,
                                        const char *key) {
  (void)connection;
  (void)kind;
  return strcmp(key, "X-Idempotency-Key") ? NULL : idempotency_key;
}

/* --- Life ----------------------------------------------------------------- */

static void on_ended(void *user) {
  atomic_store(&((rig_t *)user)->ended, true);
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

/* What does not fit is not kept. The log's own thread. */
static void on_log(void *user, const char *line, size_t len) {
  rig_t *rig = user;
  if (len + 2 > sizeof rig->log - rig->log_len) return;
  pthread_mutex_lock(&log_lock);
  snprintf(rig->log + rig->log_len, len + 2, "%.*s\n", (int)len, line);
  rig->log_len += len + 1;
  pthread_mutex_unlock(&log_lock);
}

bool rig_said(rig_t *rig, const char *words) {
  pthread_mutex_lock(&log_lock);
  bool said = strstr(rig->log, words) != NULL;
  pthread_mutex_unlock(&log_lock);
  return said;
}

/* The line is on its way: another thread writes it. */
bool rig_says(rig_t *rig, const char *words) {
  const tinker__world_t *w = tinker__world_real();
  int64_t end = w->now_ms(w->user) + 20000;
  while (!rig_said(rig, words)) {
    if (w->now_ms(w->user) > end) return false;
    sched_yield();
  }
  return true;
}

void rig_open(rig_t *rig) {
  memset(rig, 0, sizeof *rig);
  tinker__mem_init(&rig->mem, NULL, 0);
  rig->world = *tinker__world_real();
  rig->api = *tinker__cpu_engine();
  snprintf(rig->dir, sizeof rig->dir, "/tmp/tinker-rig-XXXXXX");
  cr_assert_neq(mkdtemp(rig->dir), NULL);
  rig_start(rig);
}

int rig_try_start(rig_t *rig, char *why, size_t why_len) {
  tinker__svc_stage_t stage;
  tinker__svc_model_spec_t models[2] = {
      {.name = "m", .dir = TINKER_TEST_DIR "/golden/models/qwen3_tied"},
      rig->second};
  tinker__svc_config_t config = {
      .mem = &rig->mem,
      .world = &rig->world,
      .engine = &rig->api,
      .threads = 1,
      .state_dir = rig->dir,
      .faults = rig->faults,
      .crash_signal = rig->crash_signal,
      .crash_call = rig->crash_call,
      .models = models,
      .n_models = rig->second.dir ? 2 : 1,
      .max_memory = rig->max_memory,
      .poll_ms = 200,
      .max_models = 1000,
      .snapshot_ms = (int64_t)1 << 40,
      .log = rig->logs ? on_log : NULL,
      .debug = rig->debug,
      .ended = on_ended,
      .user = rig,
  };
  atomic_store(&rig->ended, false);
  rig->s = NULL;
  return tinker__svc_start(&rig->s, &config, &stage, why, why_len);
}

void rig_start(rig_t *rig) {
  char why[400];
  int rc = rig_try_start(rig, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
}

void rig_stop(rig_t *rig) {
  tinker__svc_stop(rig->s);
  rig->s = NULL;
}

void rig_kill(rig_t *rig) {
  atomic_store(&rig->s->fatal, true);
  rig_stop(rig);
}

void rig_revive(rig_t *rig) {
  if (!atomic_load(&rig->ended)) return;
  rig_stop(rig);
  rig_start(rig);
  rig->restarts++;
}

static void remove_tree(const char *dir) {
  char path[600];
  struct dirent *e;
  DIR *d = opendir(dir);
  if (!d) return;
  while ((e = readdir(d)) != NULL) {
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (unlink(path) != 0) remove_tree(path);
  }
  closedir(d);
  rmdir(dir);
}

void rig_close(rig_t *rig) {
  rig_stop(rig);
  remove_tree(rig->dir);
  cr_assert_eq(rig->mem.live_blocks, 0, "%zu blocks left",
               (size_t)rig->mem.live_blocks);
}

int rig_count(rig_t *rig, const char *kind, const char *end) {
  char path[80];
  struct dirent *e;
  int n = 0;
  snprintf(path, sizeof path, "%s/%s", rig->dir, kind);
  DIR *d = opendir(path);
  cr_assert_neq(d, NULL);
  while ((e = readdir(d)) != NULL) {
    size_t have = strlen(e->d_name), want = strlen(end);
    if (e->d_name[0] == '.' || have < want) continue;
    n += !strcmp(e->d_name + have - want, end);
  }
  closedir(d);
  return n;
}

/* --- Calls ---------------------------------------------------------------- */

static const tinker__svc_route_t *find_route(const char *route) {
  static const tinker__svc_route_t *const tables[] = {tinker__svc_tinker_routes,
                                                      tinker__svc_fault_routes};
  char line[200];
  for (size_t i = 0; i < 2; i++) {
    for (const tinker__svc_route_t *t = tables[i]; t->method; t++) {
      snprintf(line, sizeof line, "%s %s", t->method, t->path);
      if (!strcmp(line, route)) return t;
    }
  }
  cr_assert_fail("no route %s", route);
  return NULL;
}

static void take_captures(tinker__svc_req_t *r, const char *capture) {
  for (size_t i = 0; capture && i < TINKER__MAX_CAPTURES; i++) {
    size_t len = strcspn(capture, "/");
    r->capture[i] = (tinker__str_t){capture, len};
    capture = capture[len] ? capture + len + 1 : NULL;
  }
}

rig_pending_t *rig_request(rig_t *rig, const char *route, const char *capture,
                           const char *body) {
  rig_pending_t *c = calloc(1, sizeof *c);
  cr_assert_neq(c, NULL);
  tinker__svc_req_t *r = &c->req;
  tinker__mem_init(&c->mem, NULL, 0);
  tinker__list_init(&r->link);
  tinker__list_init(&r->timer_link);
  r->service = rig->s;
  r->conn = (struct MHD_Connection *)c;
  r->fd = -1;
  r->route = find_route(route);
  take_captures(r, capture);
  r->local = r->unix_socket = r->dispatched = true;
  tinker__buf_init(&r->body, &c->mem, 1 << 26);
  tinker__buf_init(&r->reply, &rig->mem, 1 << 20);
  tinker__buf_add(&r->body, body, strlen(body));
  c->route = route;
  return c;
}

tinker__svc_req_t *rig_req(rig_pending_t *c) {
  return &c->req;
}

rig_pending_t *rig_send(rig_t *rig, const char *route, const char *capture,
                        const char *key, const char *body) {
  rig_pending_t *c = rig_request(rig, route, capture, body);
  idempotency_key = key;
  c->parked = c->req.route->handler(rig->s, &c->req) == TINKER__PARKED;
  return c;
}

bool rig_answered(rig_pending_t *c) {
  pthread_mutex_lock(&lock);
  bool answered_now = !c->parked || c->resumed;
  pthread_mutex_unlock(&lock);
  return answered_now;
}

void rig_wait(rig_t *rig, rig_pending_t *c, reply_t *reply) {
  tinker__svc_req_t *r = &c->req;
  pthread_mutex_lock(&lock);
  while (c->parked && !c->resumed) pthread_cond_wait(&answered, &lock);
  pthread_mutex_unlock(&lock);
  cr_assert(tinker__list_empty(&r->link) && tinker__list_empty(&r->timer_link),
            "%s: answered and still in a list", c->route);
  bool broken = tinker__buf_error(&r->reply) != 0;
  reply->status = broken ? 500 : r->status; /* as http.c does */
  snprintf(reply->text, sizeof reply->text, "%.*s",
           broken ? 0 : (int)r->reply.len, broken ? "" : r->reply.data);
  if (rig->s == r->service) { /* as http.c does */
    tinker__svc_body_release(r);
    tinker__svc_share_give(&rig->s->replies, r->replying);
  }
  tinker__buf_free(&r->body);
  tinker__buf_free(&r->reply);
  free(c);
}

void rig_resumed(rig_pending_t *c) {
  pthread_mutex_lock(&lock);
  while (!c->resumed) pthread_cond_wait(&answered, &lock);
  c->resumed = false;
  pthread_mutex_unlock(&lock);
}

void rig_call(rig_t *rig, const char *route, const char *capture,
              const char *key, const char *body, reply_t *reply) {
  rig_wait(rig, rig_send(rig, route, capture, key, body), reply);
}

void rig_member(const reply_t *reply, const char *name, char *out, size_t len) {
  char mark[80];
  snprintf(mark, sizeof mark, "\"%s\":\"", name);
  const char *at = strstr(reply->text, mark);
  cr_assert_neq(at, NULL, "no %s in %s", name, reply->text);
  at += strlen(mark);
  snprintf(out, len, "%.*s", (int)strcspn(at, "\""), at);
}

void rig_result(rig_t *rig, const char *request_id, reply_t *reply) {
  char body[300];
  snprintf(body, sizeof body, "{\"request_id\":\"%s\"}", request_id);
  for (int i = 0; i < 300; i++) {
    rig_call(rig, "POST api/v1/retrieve_future", NULL, NULL, body, reply);
    if (!strstr(reply->text, "try_again")) return;
    rig_revive(rig); /* it may have ended after the last look */
  }
  cr_assert_fail("%s is pending for ever: %s", request_id, reply->text);
}

void rig_do(rig_t *rig, const char *route, const char *body, reply_t *reply) {
  char id[200];
  rig_call(rig, route, NULL, NULL, body, reply);
  cr_assert_eq(reply->status, 200, "%s: %d %s", route, reply->status,
               reply->text);
  rig_member(reply, "request_id", id, sizeof id);
  rig_result(rig, id, reply);
  cr_assert_eq(reply->status, 200, "%s: %d %s", route, reply->status,
               reply->text);
}

/* --- Bodies --------------------------------------------------------------- */

void rig_idle(rig_t *rig) {
  while (tinker__eng_scheduler_beat(rig->s->scheduler) % 2) sched_yield();
}

void rig_session(rig_t *rig, char *id, size_t len) {
  static reply_t reply;
  rig_call(rig, "POST api/v1/create_session", NULL, NULL, "{}", &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "session_id", id, len);
}

void rig_model(rig_t *rig, const char *session, int number, char *id,
               size_t len) {
  static reply_t reply;
  char body[300];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4,\"seed\":7}}",
           session, number);
  rig_do(rig, "POST api/v1/create_model", body, &reply);
  rig_member(&reply, "model_id", id, len);
}

void rig_sampler(rig_t *rig, const char *session, char *id, size_t len) {
  static reply_t reply;
  char body[300];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":0,"
           "\"base_model\":\"m\"}",
           session);
  rig_call(rig, "POST api/v1/create_sampling_session", NULL, NULL, body,
           &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "sampling_session_id", id, len);
}

static void change_store(rig_t *rig, const char *sql) {
  char path[80];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", rig->dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  cr_assert_eq(rc, SQLITE_OK, "%s", sqlite3_errmsg(db));
  sqlite3_close(db);
}

void rig_refuse(rig_t *rig, const char *when) {
  char sql[300];
  snprintf(sql, sizeof sql,
           "CREATE TRIGGER full BEFORE %s BEGIN"
           " SELECT RAISE(ABORT, 'no room'); END",
           when);
  change_store(rig, sql);
}

void rig_allow(rig_t *rig) {
  change_store(rig, "DROP TRIGGER full");
}

void rig_fb_body(char *out, size_t len, const char *model, int seq) {
  snprintf(out, len,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"forward_backward_input\":{"
           "\"loss_fn\":\"cross_entropy\",\"data\":[{\"model_input\":{"
           "\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2,3]}]},"
           "\"loss_fn_inputs\":{\"target_tokens\":{\"data\":[2,3,4],"
           "\"dtype\":\"int64\"},\"weights\":{\"data\":[1,1,%d],"
           "\"dtype\":\"float32\"}}}]}}",
           model, seq, seq % 3);
}

void rig_optim_body(char *out, size_t len, const char *model, int seq) {
  snprintf(out, len,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"type\":\"optim_step\","
           "\"adam_params\":{\"learning_rate\":0.001,\"grad_clip_norm\":1}}",
           model, seq);
}
