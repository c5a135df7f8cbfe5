/* daemon: see daemon.h. Here are the loop, and beginning and end. */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#define TICK_MS 1000       /* between two looks at the journals */
#define SLEPT_MS 3000      /* a tick that is later than this */
#define AFTER_KILL_MS 5000 /* a process that does not even end then is left */

static int64_t now(const tinker__rec_daemon_t *d) {
  return d->world->now_ms(d->world->user);
}

#define EACH_TRAINER(d, t)                                                     \
  TINKER__LIST_EACH(l_, tmp_, &(d)->trainers)                                  \
  for (tinker__rec_trainer_t *t =                                              \
           TINKER__CONTAINER(l_, tinker__rec_trainer_t, link);                 \
       t; t = NULL)

void tinker__rec_daemon_break(tinker__rec_daemon_t *d, const char *why) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (d->phase == TINKER__REC_DAEMON_BROKEN) return;
  d->phase = TINKER__REC_DAEMON_BROKEN;
  facts.why = tinker__str(why);
  tinker__rec_tell(d, "broken", NULL, &facts);
}

/* --- Times ---------------------------------------------------------------- */

static int64_t next_time(const tinker__rec_daemon_t *d) {
  int64_t at = d->tick_ms;
  if (d->watchdog_ms && d->alive_ms < at) at = d->alive_ms;
  if (tinker__rec_hook_due(d) < at) at = tinker__rec_hook_due(d);
  if (tinker__rec_lookout_due(d) < at) at = tinker__rec_lookout_due(d);
  EACH_TRAINER(d, t) {
    bool waits = t->restart.state == TINKER__REC_TRAINER_WAITING ||
                 t->restart.state == TINKER__REC_TRAINER_ENDING;
    if (waits && t->restart.at_ms < at) at = t->restart.at_ms;
  }
  return at;
}

/* The daemon itself did not run: neither may its trainers have, and what they
 * have not written meanwhile says nothing (F78). */
static void after_sleep(tinker__rec_daemon_t *d) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.delay_ms = now(d) - d->tick_ms;
  tinker__rec_tell(d, "slept", NULL, &facts);
  EACH_TRAINER(d, t) t->moved_ms = now(d);
}

static void on_times(tinker__rec_daemon_t *d) {
  bool tick = now(d) >= d->tick_ms;
  if (now(d) - d->tick_ms > SLEPT_MS) after_sleep(d);
  if (tick) d->tick_ms = now(d) + TICK_MS;
  if (tick && !tinker__rec_ledger_held(&d->ledger)) {
    tinker__rec_daemon_break(d, "the state folder's lock was taken away");
  }
  if (d->watchdog_ms && now(d) >= d->alive_ms) {
    d->alive_ms = now(d) + d->watchdog_ms;
    tinker__rec_notify(d, "WATCHDOG=1");
  }
  EACH_TRAINER(d, t) {
    if (d->phase == TINKER__REC_DAEMON_BROKEN) return;
    if (tick) tinker__rec_trainer_watch(t);
    tinker__rec_trainer_on(t, TINKER__REC_ON_TICK, "");
  }
}

/* --- The loop ------------------------------------------------------------- */

static void leave(tinker__rec_daemon_t *d, int signo) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (d->phase != TINKER__REC_DAEMON_WORKS) return;
  d->phase = TINKER__REC_DAEMON_LEAVES;
  facts.signal = signo;
  tinker__rec_tell(d, "leaving", NULL, &facts);
  tinker__rec_notify(d, "STOPPING=1");
  EACH_TRAINER(d, t) tinker__rec_trainer_on(t, TINKER__REC_ON_LEAVE, "leave");
}

int tinker__rec_daemon_reload(tinker__rec_daemon_t *d, char *why,
                              size_t why_len) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (!d->reload) {
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "the daemon has no file to read again");
  }
  int rc = d->reload(d, why, why_len);
  facts.code = rc;
  if (rc != 0) facts.why = tinker__str(why);
  tinker__rec_tell(d, "reload", NULL, &facts);
  return rc;
}

static void on_signals(tinker__rec_daemon_t *d) {
  char byte, why[4096];
  while (read(d->wake_fd, &byte, 1) == 1) {
    if (byte == SIGTERM || byte == SIGINT) leave(d, byte);
    if (byte == SIGHUP) tinker__rec_daemon_reload(d, why, sizeof why);
  }
}

static size_t fill(const tinker__rec_daemon_t *d, struct pollfd *fds) {
  size_t n = 0;
  fds[n++] = (struct pollfd){.fd = d->wake_fd, .events = POLLIN};
  tinker__rec_control_fill(d, fds + n);
  n += TINKER__REC_CONTROL_FDS;
  tinker__rec_hook_fill(d, fds + n);
  n += TINKER__REC_HOOKS;
  EACH_TRAINER(d, t) {
    fds[n++] = (struct pollfd){.fd = t->process.fd, .events = POLLIN};
  }
  return n;
}

/* Is there a process whose end is still worth waiting for? */
static bool busy(const tinker__rec_daemon_t *d) {
  bool leaves = d->phase == TINKER__REC_DAEMON_LEAVES;
  if (d->phase == TINKER__REC_DAEMON_BROKEN) return false;
  if (d->lasts && !leaves) return true;
  EACH_TRAINER(d, t) {
    const tinker__rec_restart_t *r = &t->restart;
    bool lost = leaves && r->state == TINKER__REC_TRAINER_KILLED &&
                now(d) > r->at_ms + AFTER_KILL_MS;
    if (!tinker__rec_restart_over(r) && !lost) return true;
  }
  return false;
}

static void wait_once(tinker__rec_daemon_t *d, struct pollfd *fds) {
  size_t n = fill(d, fds);
  int64_t wait_ms = next_time(d) - now(d);
  if (wait_ms < 0) wait_ms = 0;
  if (poll(fds, (nfds_t)n, (int)wait_ms) < 0 && errno != EINTR) {
    tinker__rec_daemon_break(d, strerror(errno));
    return;
  }
  on_signals(d);
  EACH_TRAINER(d, t) tinker__rec_trainer_look(t);
  tinker__rec_control_turn(d, fds + 1);
  tinker__rec_hook_turn(d);
  on_times(d);
  tinker__rec_lookout_turn(d);
}

/* Room for all descriptors; runs may have been added. */
static struct pollfd *make_room(tinker__rec_daemon_t *d, struct pollfd *fds,
                                size_t *cap) {
  size_t n = 1 + TINKER__REC_CONTROL_FDS + TINKER__REC_HOOKS;
  EACH_TRAINER(d, t) n += t != NULL;
  if (n <= *cap) return fds;
  struct pollfd *more = tinker__mem_realloc(&d->mem, fds, 2 * n * sizeof *fds);
  if (!more) {
    tinker__rec_daemon_break(d, "out of memory");
    return fds;
  }
  *cap = 2 * n;
  return more;
}

void tinker__rec_daemon_turn(tinker__rec_daemon_t *d) {
  struct pollfd *fds = NULL;
  size_t cap = 0;
  tinker__rec_notify(d, "READY=1");
  for (;;) {
    fds = make_room(d, fds, &cap);
    if (!busy(d)) break;
    wait_once(d, fds);
  }
  tinker__mem_free(&d->mem, fds);
}

/* --- Beginning and end ---------------------------------------------------- */

static int note_start(tinker__rec_daemon_t *d, char *why, size_t why_len) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.pid = getpid();
  int rc =
      tinker__rec_ledger_note(&d->ledger, TINKER__REC_GEN_START, &facts, true);
  if (rc == 0) return 0;
  return tinker__why(why, why_len, rc, "the daemon's journal: %s",
                     tinker_code_text(rc));
}

/* Without heartbeats of its own the daemon still starts trainers, which beat
 * themselves: it says so. */
static void start_beat(tinker__rec_daemon_t *d) {
  char why[512];
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.code = tinker__rec_beat_start(&d->beat, why, sizeof why);
  if (facts.code == 0) return;
  facts.why = tinker__str(why);
  tinker__rec_tell(d, "no_heartbeats", NULL, &facts);
}

/* The same of its socket. */
static void start_control(tinker__rec_daemon_t *d) {
  char why[512];
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.code = tinker__rec_control_open(d, why, sizeof why);
  if (facts.code == 0) return;
  facts.why = tinker__str(why);
  tinker__rec_tell(d, "no_control", NULL, &facts);
}

int tinker__rec_daemon_begin(tinker__rec_daemon_t *d, const char *state_dir,
                             int wake_fd, mode_t mask, char *why,
                             size_t why_len) {
  memset(d, 0, sizeof *d);
  tinker__mem_init(&d->mem, NULL, 0);
  d->world = tinker__world_real();
  d->state_dir = state_dir;
  d->wake_fd = wake_fd;
  d->control_fd = -1;
  for (int i = 0; i < TINKER__REC_CONTROL_CONNS; i++) d->conns[i].fd = -1;
  for (int i = 0; i < TINKER__REC_HOOKS; i++) d->hooks[i].process.fd = -1;
  d->mask = mask;
  tinker__list_init(&d->trainers);
  int rc = tinker__rec_ledger_open(&d->ledger, &d->mem, d->world, state_dir,
                                   why, why_len);
  if (rc == 0) rc = note_start(d, why, why_len);
  if (rc != 0) return rc;
  start_beat(d);
  start_control(d);
  d->watchdog_ms = tinker__rec_watchdog_ms(d);
  d->tick_ms = now(d) + TICK_MS;
  return 0;
}

void tinker__rec_daemon_end(tinker__rec_daemon_t *d) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (d->ledger.file && d->phase != TINKER__REC_DAEMON_BROKEN) {
    tinker__rec_ledger_note(&d->ledger, TINKER__REC_GEN_STOP, &facts, true);
  }
  tinker__rec_control_close(d);
  EACH_TRAINER(d, t) tinker__rec_trainer_free(t);
  tinker__rec_lookout_end(d);
  tinker__rec_beat_end(&d->beat);
  tinker__rec_ledger_close(&d->ledger);
}
