/* turn: so many runs of a folder go back to a checkpoint at the same time, and
 * the others wait (limits.concurrent_recoveries of a policy, F92). A turn is a
 * locked file of the folder: it ends with its process, however that dies. The
 * run's thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "run/run.h"

#define LEAST_MS 100 /* between two looks for a free one, and up to as much */
#define MOST_MS 500  /* more at random, so that those who wait come apart */

static int failed(tinker__rec_fault_t *f, const char *why) {
  *f = (tinker__rec_fault_t){.code = TINKER_EIO, .unknown = true};
  return tinker__why(f->why, sizeof f->why, TINKER_EIO, "%s", why);
}

/* 0, TINKER_EBUSY: all are taken, or TINKER_EIO. */
static int try_all(tinker_run_t *run, tinker__rec_lock_t *turn, char *why,
                   size_t why_len) {
  char path[TINKER__REC_PATH_ROOM + 32];
  int rc = TINKER_EBUSY;
  snprintf(path, sizeof path, "%s/turns", run->options.state_dir);
  if (mkdir(path, 0700) != 0 && errno != EEXIST) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path,
                       strerror(errno));
  }
  for (int64_t i = 0; rc == TINKER_EBUSY && i < run->ruled.recoveries; i++) {
    snprintf(path, sizeof path, "%s/turns/%lld", run->options.state_dir,
             (long long)i);
    rc = tinker__rec_lock_take(turn, path, why, why_len);
  }
  return rc;
}

static void wait_a_while(tinker_run_t *run) {
  uint32_t random = 0;
  run->world->random(run->world->user, &random, sizeof random);
  pthread_mutex_lock(&run->lock);
  if (!atomic_load(&run->closing)) {
    tinker__rec_wait_ms(run, LEAST_MS + random % (MOST_MS - LEAST_MS));
  }
  pthread_mutex_unlock(&run->lock);
}

int tinker__rec_turn_take(tinker_run_t *run, tinker__rec_lock_t *turn,
                          tinker__rec_fault_t *f) {
  char why[TINKER__REC_WHY] = "";
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  turn->fd = -1;
  if (!run->ruled.recoveries) return 0;
  int rc = try_all(run, turn, why, sizeof why);
  facts.count = run->ruled.recoveries;
  if (rc == TINKER_EBUSY) {
    tinker__rec_say(run, "waits_for_turn", run->state.committed, &facts);
  }
  while (rc == TINKER_EBUSY && !atomic_load(&run->closing)) {
    wait_a_while(run);
    rc = try_all(run, turn, why, sizeof why);
  }
  if (rc == 0 || rc == TINKER_EBUSY) return 0; /* or the run ends */
  return failed(f, why);
}

void tinker__rec_turn_end(tinker__rec_lock_t *turn) {
  if (turn->fd >= 0) tinker__rec_lock_release(turn);
}
