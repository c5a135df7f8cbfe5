/* serve: the runs of a policy file: those of its entries that have a trainer
 * and name their run. The daemon's thread. */
#ifndef TINKER_RECOVERY_DAEMON_SERVE_H
#define TINKER_RECOVERY_DAEMON_SERVE_H

#include "daemon.h"

typedef struct tinker__rec_serve_s {
  const char *path; /* of the file */
  tinker__rec_policy_file_t *file;
  tinker__mem_t mem; /* of the file */
  char state_dir[TINKER__REC_PATH_ROOM];
} tinker__rec_serve_t;

/* Reads the file and finds the state folder, which is `given`, or the file's.
 * Ended by serve_end() whatever it returns. report: lines of what is wrong. 0
 * or a code. */
int tinker__rec_serve_begin(tinker__rec_serve_t *s, const char *path,
                            const char *given, tinker__buf_t *report);
/* Gives its runs to a daemon, which reads the file again when it is asked to.
 * 0 or a code. */
int tinker__rec_serve_start(tinker__rec_serve_t *s, tinker__rec_daemon_t *d,
                            char *why, size_t why_len);
void tinker__rec_serve_end(tinker__rec_serve_t *s);

#endif
