/* control: the daemon's socket, "control" of the state folder, mode 0600, and
 * the program's other end of it. A line is a JSON object, and so is its answer:
 *
 *   {"command": "hold", "run": "NAME"}    {"ok": true}
 *
 * Commands: status (of all runs, or of one with its step as its journal has
 * it), runs, hold, release, stop, reload. An answer without "ok" has "why".
 * The daemon's thread; nothing here waits for a client. */
#ifndef TINKER_RECOVERY_DAEMON_CONTROL_H
#define TINKER_RECOVERY_DAEMON_CONTROL_H

#include "daemon.h"

/* Listens. 0 or a code: the daemon works without, too. */
int tinker__rec_control_open(tinker__rec_daemon_t *d, char *why,
                             size_t why_len);
void tinker__rec_control_close(tinker__rec_daemon_t *d);
/* Fills TINKER__REC_CONTROL_FDS descriptors; those not in use are -1. */
void tinker__rec_control_fill(const tinker__rec_daemon_t *d,
                              struct pollfd *fds);
/* After poll(), with the same descriptors. */
void tinker__rec_control_turn(tinker__rec_daemon_t *d,
                              const struct pollfd *fds);
/* The answer to a line, without the end of line. */
void tinker__rec_control_answer(tinker__rec_daemon_t *d, tinker__str_t line,
                                tinker__buf_t *out);

/* The other end: sends a command to the daemon of a folder and appends its
 * answer, with the end of line. run: NULL = none. 0, TINKER_ESTATE (the daemon
 * has refused it), TINKER_ENOENT (no daemon listens) or TINKER_EIO. */
int tinker__rec_control_ask(tinker__mem_t *mem, const char *state_dir,
                            const char *command, const char *run,
                            tinker__buf_t *out, char *why, size_t why_len);

#endif
