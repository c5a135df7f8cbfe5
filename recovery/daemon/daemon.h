/* daemon: many runs, each with a trainer that is watched and started again.
 *
 * One thread, one poll(): ends of processes, signals to the daemon, the control
 * socket, times. A trainer's state is in one place (restart.h); what happens is
 * in the ledger before it has an effect. A daemon that can't write its ledger,
 * or has lost the folder to another one, ends and leaves its trainers running:
 * the next daemon finds them. */
#ifndef TINKER_RECOVERY_DAEMON_DAEMON_H
#define TINKER_RECOVERY_DAEMON_DAEMON_H

#include <poll.h>

#include "beat.h"
#include "ledger.h"
#include "policy/policy.h"
#include "process.h"

/* What is asked for. Strings and lists are copied by who takes it. */
typedef struct tinker__rec_spec_s {
  const char *name;
  char *const *argv;
  const char *const *env_allow; /* names; one may end with '*' */
  size_t env_count;
  tinker__rec_restart_policy_t policy;
  int64_t hang_ms;   /* without a record of the run; 0 = for ever */
  char *const *hook; /* a program and its arguments; empty = there is none */
  int64_t hook_on;   /* bits of TINKER__REC_NOTIFY_* (policy.h) */
  int64_t hook_ms;   /* its time */
  /* "TINKER_RUN_POLICY=..." for its processes; NULL = what the daemon has. */
  const char *run_policy;
} tinker__rec_spec_t;

typedef struct tinker__rec_daemon_s tinker__rec_daemon_t;

typedef struct tinker__rec_trainer_s {
  tinker__link_t link;
  tinker__rec_daemon_t *daemon;
  tinker__rec_spec_t spec;
  tinker__arena_t arena; /* of the strings of spec */
  char **env;            /* of its processes */
  tinker__rec_restart_t restart;
  tinker__rec_process_t process;
  int64_t attempts; /* processes so far */
  char folder_path[TINKER__REC_PATH_ROOM];
  tinker__rec_view_t view; /* as it was read last */
  tinker__rec_stamp_t stamp;
  int64_t moved_ms; /* when the stamp changed last, or it was started */
  char session[TINKER__REC_SESSION_ROOM]; /* that beats */
} tinker__rec_trainer_t;

#define TINKER__REC_CONTROL_CONNS 16
#define TINKER__REC_CONTROL_FDS (1 + TINKER__REC_CONTROL_CONNS)

/* A client of the control socket. */
typedef struct tinker__rec_conn_s {
  int fd; /* -1 = none */
  tinker__buf_t in, out;
} tinker__rec_conn_t;

#define TINKER__REC_HOOKS 8 /* at the same time */

typedef struct tinker__rec_hook_s {
  tinker__rec_process_t process;
  int64_t kill_ms;
} tinker__rec_hook_t;

/* A look at all models of the service, which goes on for ever. */
typedef struct tinker__rec_lookout_s {
  tinker_future_t *asked; /* NULL = no answer is waited for */
  int64_t asked_ms;       /* boot clock */
  int64_t next_ms;        /* when the next page is asked for */
  int64_t offset;         /* of the page */
  int64_t pages;          /* of the last round; 0 = it was not ended */
} tinker__rec_lookout_t;

struct tinker__rec_daemon_s {
  tinker__mem_t mem;
  const tinker__world_t *world;
  const char *state_dir;
  mode_t mask; /* of trainers */
  tinker__rec_ledger_t ledger;
  tinker__rec_beat_t beat;
  tinker__rec_lookout_t lookout;
  tinker__link_t trainers;
  int64_t tick_ms;     /* when the journals are looked at next */
  int64_t alive_ms;    /* when the service manager hears of us next */
  int64_t watchdog_ms; /* how often it does; 0 = never */
  int wake_fd;         /* signals: a byte each */
  int control_fd;      /* -1 = it has no socket */
  tinker__rec_conn_t conns[TINKER__REC_CONTROL_CONNS];
  tinker__rec_hook_t hooks[TINKER__REC_HOOKS];
  /* Reads its file again; NULL = it has none. 0 or a code: then nothing has
   * changed. */
  int (*reload)(tinker__rec_daemon_t *d, char *why, size_t why_len);
  void *file; /* what reload() works with */
  bool lasts; /* it goes on when no run has anything to do */
  enum {
    TINKER__REC_DAEMON_WORKS,
    TINKER__REC_DAEMON_LEAVES, /* it was asked to end */
    TINKER__REC_DAEMON_BROKEN  /* it can't go on */
  } phase;
};

/* --- tell.c: the log, JSON lines on the standard error stream ------------- */

void tinker__rec_tell(tinker__rec_daemon_t *d, const char *event,
                      const char *run, const tinker__rec_facts_t *facts);

/* The line, without its end. */
void tinker__rec_line(tinker__rec_daemon_t *d, const char *event,
                      const char *run, const tinker__rec_facts_t *facts,
                      tinker__buf_t *out);

/* --- hook.c: a program of the operator's ---------------------------------- */

/* Starts it if it wants to know. notice: TINKER__REC_NOTIFY_*. */
void tinker__rec_hook(tinker__rec_trainer_t *t, int64_t notice,
                      const char *event, const tinker__rec_facts_t *facts);
/* TINKER__REC_HOOKS descriptors. */
void tinker__rec_hook_fill(const tinker__rec_daemon_t *d, struct pollfd *fds);
void tinker__rec_hook_turn(tinker__rec_daemon_t *d);
/* When one is to be killed; INT64_MAX = none. */
int64_t tinker__rec_hook_due(const tinker__rec_daemon_t *d);

/* --- trainer.c: one run --------------------------------------------------- */

/* Adds a run, with what earlier daemons have left of it. fresh: an end of it
 * that they have seen does not count. 0 or a code. */
int tinker__rec_trainer_add(tinker__rec_daemon_t *d,
                            const tinker__rec_spec_t *spec, bool fresh,
                            char *why, size_t why_len);
/* Other settings of a run that is there: they hold from now on, argv and
 * environment from its next process on. 0 or TINKER_ENOMEM: nothing has
 * changed. */
int tinker__rec_trainer_set(tinker__rec_trainer_t *t,
                            const tinker__rec_spec_t *spec);
void tinker__rec_trainer_free(tinker__rec_trainer_t *t);
tinker__rec_trainer_t *tinker__rec_trainer_find(const tinker__rec_daemon_t *d,
                                                const char *name);
/* Folds an event and carries out what follows. */
void tinker__rec_trainer_on(tinker__rec_trainer_t *t,
                            tinker__rec_trainer_event_t event,
                            const char *cause);
/* Its process may have ended. */
void tinker__rec_trainer_look(tinker__rec_trainer_t *t);
/* Has its journal moved? */
void tinker__rec_trainer_watch(tinker__rec_trainer_t *t);

/* Reads its journal, with all its steps. */
void tinker__rec_trainer_read(tinker__rec_trainer_t *t);

/* --- lookout.c: the models of all runs -------------------------------------
 */

void tinker__rec_lookout_turn(tinker__rec_daemon_t *d);
/* When it has something to do; INT64_MAX = never. */
int64_t tinker__rec_lookout_due(const tinker__rec_daemon_t *d);
void tinker__rec_lookout_end(tinker__rec_daemon_t *d);

/* --- notify.c: the service manager ---------------------------------------- */

void tinker__rec_notify(tinker__rec_daemon_t *d, const char *text);
/* Milliseconds between two signs of life; 0 = it wants none. */
int64_t tinker__rec_watchdog_ms(tinker__rec_daemon_t *d);

/* --- env.c ---------------------------------------------------------------- */

/* The daemon's environment without what is not allowed, and `own` (NULL = none)
 * in the place of the variable that it sets: a list that is freed as one block.
 * NULL = no memory. */
char **tinker__rec_env_pick(tinker__mem_t *mem, char *const *environment,
                            const char *const *allow, size_t n,
                            const char *own);

/* --- daemon.c: all of them ------------------------------------------------ */

/* 0 or a code; ended by daemon_end() whatever it is. */
int tinker__rec_daemon_begin(tinker__rec_daemon_t *d, const char *state_dir,
                             int wake_fd, mode_t mask, char *why,
                             size_t why_len);
/* Until nothing is left to do, or a signal asks for the end. */
void tinker__rec_daemon_turn(tinker__rec_daemon_t *d);
void tinker__rec_daemon_end(tinker__rec_daemon_t *d);
/* Reads the file again, and says in the log what became of it. */
int tinker__rec_daemon_reload(tinker__rec_daemon_t *d, char *why,
                              size_t why_len);
/* What was tried failed for good: the daemon ends. */
void tinker__rec_daemon_break(tinker__rec_daemon_t *d, const char *why);

#endif
