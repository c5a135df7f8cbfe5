/* A disk that fails to sync: every call of fsync and fdatasync in this program
 * ends here, SQLite's too, since a program's own functions are found before the
 * C library's. What was acknowledged is there afterwards, whichever sync
 * failed; a write that was not says so. Linux.
 *
 * No test of this program ends the machine, so a sync has nothing to save, and
 * no disk is waited for. The end-to-end tests sync. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "db/row.h"
#include "rig.h"
#include "service/store/store.h"

/* The n-th sync from now fails, and so many in all; burst 0 = none. */
static atomic_int fail_at, burst;

/* What was synced, in order, by the names that the files had then. */
static pthread_mutex_t note_lock = PTHREAD_MUTEX_INITIALIZER;
static char noted[16384];
static bool notes;

static void note(int fd) {
  char link[40], path[200];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  pthread_mutex_lock(&note_lock);
  size_t len = strlen(noted);
  if (notes && n > 0) {
    snprintf(noted + len, sizeof noted - len, "%.*s\n", (int)n, path);
  }
  pthread_mutex_unlock(&note_lock);
}

static int sync_or_fail(int fd) {
  note(fd);
  if (atomic_load(&burst) > 0 && atomic_fetch_sub(&fail_at, 1) <= 1) {
    atomic_fetch_sub(&burst, 1);
    errno = EIO;
    return -1;
  }
  return fcntl(fd, F_GETFD) < 0 ? -1 : 0; /* EBADF as a real one */
}

static void arm(int nth, int times) {
  atomic_store(&fail_at, nth);
  atomic_store(&burst, times);
}

__attribute__((visibility("default"))) int fsync(int fd) {
  return sync_or_fail(fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
  return sync_or_fail(fd);
}

/* --- The store ------------------------------------------------------------ */

typedef struct {
  sem_t done;
  int rc;
} wait_t;

static void on_done(void *user, int rc) {
  wait_t *w = user;
  w->rc = rc;
  sem_post(&w->done);
}

static int put(tinker__db_t *s, int row) {
  wait_t wait;
  sem_init(&wait.done, 0, 0);
  tinker__db_write_t *w = tinker__db_write_new(s, on_done, &wait);
  tinker__db_write_sql(w,
                       "INSERT INTO models(row, session, seq, created_ms, base,"
                       " rank, seed, train) VALUES(?, 1, ?, 0, 'b', 4, 0, 7)");
  tinker__db_write_i64(w, row);
  tinker__db_write_i64(w, row);
  cr_assert_eq(tinker__db_write_submit(w), 0);
  while (sem_wait(&wait.done) != 0) {
  }
  sem_destroy(&wait.done);
  return wait.rc;
}

static int note_row(void *user, struct sqlite3_stmt *row) {
  ((bool *)user)[tinker__db_row_i64(row, 0)] = true;
  return 0;
}

enum { ROWS = 12 };

/* Writes with the n-th sync failing: none after it is acknowledged. */
static void run(tinker__mem_t *mem, const char *path, int n) {
  tinker__db_t *s;
  char why[200];
  char id[33];
  bool there[ROWS] = {false};
  int rc[ROWS];
  bool refused = false;
  cr_assert_eq(tinker__svc_store_open(&s, id, mem, path, why, sizeof why), 0,
               "%s", why);
  cr_assert_eq(tinker__db_start(s), 0);
  arm(n, 1);
  for (int i = 0; i < ROWS; i++) rc[i] = put(s, i);
  cr_assert_eq(atomic_load(&burst), 0, "sync %d never came", n);
  tinker__db_free(s);
  cr_assert_eq(tinker__svc_store_open(&s, id, mem, path, why, sizeof why), 0,
               "%s", why);
  cr_assert_eq(tinker__db_each(s, "SELECT row FROM models", note_row, there,
                               why, sizeof why),
               0);
  tinker__db_free(s);
  for (int i = 0; i < ROWS; i++) {
    cr_assert(rc[i] == 0 || rc[i] == TINKER_EIO, "%d: %d", i, rc[i]);
    cr_assert(there[i] || rc[i] != 0,
              "sync %d failed: write %d was acknowledged and is not there", n,
              i);
    cr_assert(rc[i] != 0 || !refused, "sync %d failed before write %d", n, i);
    refused |= rc[i] != 0;
  }
  cr_assert(refused, "sync %d", n);
}

/* A sync that failed may have lost what it was to make durable, and the next
 * one says nothing of that: it is told, and nothing is written after it. */
Test(sync, the_store_says_what_it_has) {
  tinker__mem_t mem;
  char path[80], dir[] = "/tmp/tinker-sync-XXXXXX";
  const char *const files[] = {"", "-wal", "-shm"};
  cr_assert_neq(mkdtemp(dir), NULL);
  tinker__mem_init(&mem, NULL, 0);
  for (int n = 1; n <= ROWS - 1; n++) {
    snprintf(path, sizeof path, "%s/s.db", dir);
    run(&mem, path, n);
    for (int i = 0; i < 3; i++) {
      snprintf(path, sizeof path, "%s/s.db%s", dir, files[i]);
      unlink(path);
    }
  }
  rmdir(dir);
  cr_assert_eq(mem.live_blocks, 0);
}

/* --- The service ---------------------------------------------------------- */

/* Syncs fail for good while calls come; then the disk is well again. */
Test(sync, nothing_acknowledged_is_lost) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600], id[200];
  int accepted = 0;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  for (int seq = 1; seq <= 24; seq++) {
    if (seq % 3 == 0) arm(1, 1);
    rig_optim_body(body, sizeof body, model, accepted + 1);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
    arm(0, 0);
    cr_assert(reply.status == 200 || reply.status == 503, "%d %s", reply.status,
              reply.text);
    accepted += reply.status == 200;
    rig_revive(&rig);
  }
  rig_stop(&rig);
  rig_start(&rig);
  for (int seq = 1; seq <= accepted; seq++) {
    snprintf(id, sizeof id, "%s:%d", model, seq);
    rig_result(&rig, id, &reply);
    cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                  reply.text);
  }
  rig_close(&rig);
}

/* --- A checkpoint --------------------------------------------------------- */

/* Where the first sync of such a path is noted after `from`. */
static const char *synced(const char *from, const char *part) {
  const char *at = strstr(from, part);
  cr_assert_neq(at, NULL, "no sync of %s after: %s", part, from);
  return at + strlen(part);
}

/* Every file of it and its folder are synced before its name, the name before
 * its row, the row before it is told. */
static void saves_in_order(rig_t *rig, const char *route, const char *body,
                           const char *file) {
  static reply_t reply;
  pthread_mutex_lock(&note_lock);
  noted[0] = 0;
  notes = true;
  pthread_mutex_unlock(&note_lock);
  rig_do(rig, route, body, &reply);
  pthread_mutex_lock(&note_lock);
  notes = false;
  pthread_mutex_unlock(&note_lock);
  char folder[60] = "";
  int row = 0;
  const char *at = synced(noted, ".tmp/tinker.json.");
  cr_assert_eq(sscanf(strstr(noted, "/checkpoints/"), "/checkpoints/%d", &row),
               1);
  snprintf(folder, sizeof folder, "/checkpoints/%d.tmp\n", row);
  at = synced(at, file);
  at = synced(at, folder);
  at = synced(at, "/checkpoints\n");
  at = synced(at, "/store.db-wal\n");
  synced(at, "/mark\n");
}

Test(sync, a_checkpoint_is_synced_in_order) {
  static rig_t rig;
  char session[80], model[120], body[300];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"a\"}", model);
  saves_in_order(&rig, "POST api/v1/save_weights", body,
                 ".tmp/state.safetensors.");
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":2,\"path\":\"a\"}", model);
  saves_in_order(&rig, "POST api/v1/save_weights_for_sampler", body,
                 ".tmp/adapter_model.safetensors.");
  rig_close(&rig);
}
