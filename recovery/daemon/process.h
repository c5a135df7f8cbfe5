/* process: a trainer's process: its start, its end, signals to it. What the
 * system names by a number that it uses again is held by a descriptor (pidfd,
 * kqueue), so a signal never meets another process; a process of an earlier
 * daemon is found again by pid, start time and the machine's boot.
 *
 * The daemon's thread. */
#ifndef TINKER_RECOVERY_DAEMON_PROCESS_H
#define TINKER_RECOVERY_DAEMON_PROCESS_H

#include <sys/types.h>

#include "base/buf.h"
#include "restart.h"

typedef struct tinker__rec_process_s {
  int fd; /* readable when it has ended; -1 = there is no process */
  pid_t pid;
  int64_t started; /* in units of the system; with pid and boot its name */
  bool child;
  int gate; /* -1, or what it waits for before it becomes the program */
} tinker__rec_process_t;

#define TINKER__REC_PROCESS_NONE                                               \
  { .fd = -1, .gate = -1 }

typedef struct tinker__rec_program_s {
  char *const *argv; /* argv[0] is looked for in the PATH of env */
  char *const *env;
  mode_t mask; /* its umask */
} tinker__rec_program_t;

/* Makes a process that waits: it becomes the program by process_go(), and ends
 * without having done anything if this process ends before. So a trainer whose
 * pid is in no journal does not exist. It has a session of its own (no signals
 * of the terminal), /dev/null for input, the daemon's output, and no other
 * descriptor. 0 or TINKER_EIO. */
int tinker__rec_process_make(tinker__rec_process_t *p,
                             const tinker__rec_program_t *program, char *why,
                             size_t why_len);
void tinker__rec_process_go(tinker__rec_process_t *p);
/* Finds a process of an earlier daemon. 0, TINKER_ENOENT (it has ended) or
 * TINKER_EIO. */
int tinker__rec_process_find(tinker__rec_process_t *p, pid_t pid,
                             int64_t started, char *why, size_t why_len);
/* Has it ended? Then how; a child is reaped, and p is empty. */
bool tinker__rec_process_ended(tinker__rec_process_t *p,
                               tinker__rec_end_t *end);
/* Nothing happens to one that has ended. */
void tinker__rec_process_signal(const tinker__rec_process_t *p, int signo);
/* What each of its threads waits for, as the system says without its help: one
 * line. */
void tinker__rec_process_dump(const tinker__rec_process_t *p,
                              tinker__buf_t *out);
/* Lets go of it; it runs on. */
void tinker__rec_process_leave(tinker__rec_process_t *p);

#endif
