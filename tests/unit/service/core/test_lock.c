/* The service's lock: who held it for longest, and what is done without it. */
#define _GNU_SOURCE /* syscall */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rig.h"

Test(lock, the_longest_hold) {
  static rig_t rig;
  rig_open(&rig);
  tinker__svc_t *s = rig.s;
  tinker__svc_lock_as(s, "first");
  s->hold.since_ns -= (int64_t)1 << 50; /* as if it had been taken then */
  tinker__svc_unlock(s);
  tinker__svc_lock_as(s, "short");
  cr_assert_str_eq(s->hold.longest_who, "first");
  cr_assert_geq(s->hold.longest_ns, (int64_t)1 << 50);
  tinker__svc_hold_end(s); /* a wait is no hold */
  s->hold.since_ns = 0;
  tinker__svc_hold_end(s);
  cr_assert_lt(s->hold.longest_ns, (int64_t)1 << 51);
  tinker__svc_hold_begin(s, "longer");
  s->hold.since_ns -= (int64_t)1 << 52;
  tinker__svc_unlock(s);
  tinker__svc_lock(s);
  cr_assert_str_eq(s->hold.longest_who, "longer");
  tinker__svc_unlock(s);
  rig_close(&rig);
}

/* --- A disk that takes its time --------------------------------------------
 */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static enum { QUICK, SLOW, REMOVING, SERVED } disk;

static void set_disk(int state) {
  pthread_mutex_lock(&gate);
  disk = state;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&gate);
}

static void wait_disk(int state) {
  pthread_mutex_lock(&gate);
  while ((int)disk != state) pthread_cond_wait(&moved, &gate);
  pthread_mutex_unlock(&gate);
}

/* The C library's, but for a file of the service that is removed while the disk
 * is slow: that lasts until somebody was served. */
int unlinkat(int fd, const char *path, int flags) {
  pthread_mutex_lock(&gate);
  bool slow = disk == SLOW;
  pthread_mutex_unlock(&gate);
  if (slow) {
    set_disk(REMOVING);
    wait_disk(SERVED);
  }
  return (int)syscall(SYS_unlinkat, fd, path, flags);
}

/* A heartbeat is answered while a folder is being removed. */
static void served_meanwhile(rig_t *rig, const char *session) {
  static reply_t reply;
  char body[120];
  wait_disk(REMOVING);
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  rig_call(rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  set_disk(SERVED);
}

static rig_pending_t *save(rig_t *rig, const char *model, int seq) {
  char body[300];
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"a\","
           "\"overwrite\":true}",
           model, seq);
  return rig_send(rig, "POST api/v1/save_weights", NULL, NULL, body);
}

/* A checkpoint that is replaced, and a snapshot that is. */
Test(lock, folders_are_removed_without_it) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600], id[200];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  for (int seq = 1; seq < 3; seq++) {
    if (seq == 2) set_disk(SLOW);
    rig_wait(&rig, save(&rig, model, seq), &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
    rig_member(&reply, "request_id", id, sizeof id);
    if (seq == 2) served_meanwhile(&rig, session);
    rig_result(&rig, id, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  set_disk(QUICK);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 1);
  rig.s->config.snapshot_ms = -1; /* after each step */
  for (int seq = 3; seq < 5; seq++) {
    if (seq == 4) set_disk(SLOW);
    rig_optim_body(body, sizeof body, model, seq);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
    rig_member(&reply, "request_id", id, sizeof id);
    if (seq == 4) served_meanwhile(&rig, session);
    rig_result(&rig, id, &reply);
  }
  set_disk(QUICK);
  rig_close(&rig);
}
