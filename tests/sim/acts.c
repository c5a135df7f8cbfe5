/* acts: what goes wrong beside the network: processes, the machine, its disk,
 * the service. The parent's thread. */
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/run_in.h"
#include "sim/trainer.h"

#define MS INT64_C(1000000)

/* --- Files between two lives ---------------------------------------------- */

static void path_of(const sim_state_t *s, const char *name, char out[512]) {
  snprintf(out, 512, "%s/runs/%s/%s", s->o->folder, SIM_RUN, name);
}

/* The journal of the newest epoch. */
static bool newest_epoch(const sim_state_t *s, char out[64]) {
  char path[512];
  long newest = -1;
  path_of(s, ".", path);
  DIR *dir = opendir(path);
  struct dirent *e;
  while (dir && (e = readdir(dir))) {
    char *end;
    long n = e->d_name[0] == 'e' ? strtol(e->d_name + 1, &end, 10) : -1;
    if (n > newest && strcmp(end, ".db") == 0) newest = n;
  }
  if (dir) closedir(dir);
  snprintf(out, 64, "e%ld.db", newest);
  return newest >= 0;
}

/* What stands in the log beside a file would hide what is wrong with it. */
static void fold_log(const char *path) {
  sqlite3 *db = NULL;
  if (sqlite3_open(path, &db) == SQLITE_OK) {
    sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
  }
  sqlite3_close(db);
}

/* Where the facts of a record begin; -1 = there are none. */
static off_t some_facts(sim_state_t *s, const char *bytes, size_t len) {
  off_t found = -1;
  uint64_t n = 0;
  for (size_t i = 0; i + 1 < len; i++) {
    if (bytes[i] != '{' || bytes[i + 1] != '"') continue;
    if (sim_rng_chance(&s->rng, ++n)) found = (off_t)i;
  }
  return found;
}

/* One bit of what is read. */
static void flip_bit(sim_state_t *s, const char *name) {
  static char bytes[1 << 20];
  char path[512];
  path_of(s, name, path);
  fold_log(path);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t n = pread(fd, bytes, sizeof bytes, 0);
  off_t at = n > 0 ? some_facts(s, bytes, (size_t)n) : -1;
  if (at >= 0) {
    bytes[at] = (char)(bytes[at] ^ 1 << sim_rng_below(&s->rng, 8));
    if (pwrite(fd, bytes + at, 1, at) != 1) abort();
  }
  close(fd);
}

static void remove_epoch(const sim_state_t *s) {
  char name[64], path[512], beside[520];
  if (!newest_epoch(s, name)) return;
  path_of(s, name, path);
  unlink(path);
  snprintf(beside, sizeof beside, "%s-wal", path);
  unlink(beside);
  snprintf(beside, sizeof beside, "%s-shm", path);
  unlink(beside);
}

static void unlock(const sim_state_t *s) {
  char path[512];
  path_of(s, "lock", path);
  unlink(path);
}

static void damage(sim_state_t *s, int64_t which) {
  char name[64] = "supervisor.db";
  if (which == 0 || newest_epoch(s, name)) flip_bit(s, name);
}

/* --- The machine ---------------------------------------------------------- */

static void machine(sim_state_t *s, const sim_action_t *a) {
  sim_shared_t *shared = s->o->shared;
  sim_disk_fault_t *disk = sim_disk_fault(s->o->disk);
  switch (a->act) {
  case SIM_ACT_CLOCK: shared->wall_offset_ms += a->arg; return;
  case SIM_ACT_SLEEP:
    shared->now_ns += a->arg * MS;
    shared->asleep_ns += a->arg * MS;
    s->out->course.last_ms = sim_ms(s); /* it ends now */
    for (int i = 0; i < SIM_CHILDREN; i++) {
      int64_t *until = &s->children[i].until_ns;
      if (*until != SIM_NO_TIME) *until += a->arg * MS;
    }
    return;
  case SIM_ACT_DISK_FULL:
    disk->full_until_ns = shared->now_ns - shared->asleep_ns + a->arg * MS;
    return;
  case SIM_ACT_SYNC_FAILS: disk->fail_syncs = 1; return;
  case SIM_ACT_WRITE_SHORT: disk->short_writes = 1; return;
  case SIM_ACT_UNLOCK: unlock(s); return;
  case SIM_ACT_DAMAGE: damage(s, a->arg); return;
  case SIM_ACT_REMOVE: remove_epoch(s); return;
  case SIM_ACT_HIT:
    sim_server_hit(s->out->server, sim_ms(s), a->bug, -1);
    return;
  default: return;
  }
}

/* --- Processes ------------------------------------------------------------ */

static sim_message_t die_with(sim_child_t *c, int status, int64_t again_ms) {
  c->born_again_ms = again_ms;
  return (sim_message_t){.what = SIM_ANSWER_DIE, .a = status};
}

sim_message_t sim_act(sim_state_t *s, sim_child_t *c, const sim_action_t *a) {
  sim_message_t go = {.what = SIM_ANSWER_GO};
  if (!a) return go;
  sim_write(s, "happens: %s", sim_act_name(a->act));
  switch (a->act) {
  case SIM_ACT_KILL: return c ? die_with(c, SIM_STATUS_KILLED, a->arg) : go;
  case SIM_ACT_POWER: return c ? die_with(c, SIM_STATUS_POWER, a->arg) : go;
  case SIM_ACT_EXIT: return c ? die_with(c, 0, a->arg) : go;
  case SIM_ACT_LEAVE: go.a = SIM_WORD_LEAVE; return go;
  case SIM_ACT_HANG:
    if (c) c->hangs_until_ns = s->o->shared->now_ns + a->arg * MS;
    return go;
  case SIM_ACT_SECOND: sim_birth(s, true); return go;
  default: machine(s, a); return go;
  }
}

/* The run's own process. */
static sim_child_t *first_child(sim_state_t *s) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    sim_child_t *c = &s->children[i];
    if (c->state != SIM_CHILD_NONE && !c->second) return c;
  }
  return NULL;
}

void sim_act_due(sim_state_t *s) {
  const sim_action_t *a;
  for (;;) {
    sim_child_t *c = first_child(s);
    a = sim_course_due(&s->out->course, sim_ms(s), c ? c->life : s->lives - 1);
    if (!a) return;
    sim_message_t m = sim_act(s, c, a);
    if (m.what == SIM_ANSWER_DIE) sim_kill(s, c, (int)m.a);
  }
}
