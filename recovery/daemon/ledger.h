/* ledger: the daemon's own journal, "daemon.db" of the state folder: which
 * processes it has started, how they ended, what it has decided. Its lock is
 * "daemon.lock": one daemon at a time works on a folder.
 *
 * What a daemon that died has left is folded at the start: trainers that may
 * still run, counts of deaths, runs that are held. The daemon's thread. */
#ifndef TINKER_RECOVERY_DAEMON_LEDGER_H
#define TINKER_RECOVERY_DAEMON_LEDGER_H

#include "journal/facts.h"
#include "journal/file.h"
#include "journal/load.h"
#include "journal/lock.h"
#include "restart.h"

#define TINKER__REC_NAME_ROOM 65 /* of a run's name, with the NUL */

/* What is known of a run from earlier daemons. */
typedef struct tinker__rec_left_s {
  tinker__link_t link;
  char name[TINKER__REC_NAME_ROOM];
  tinker__rec_restart_t restart; /* at_ms is on the boot's clock */
  bool alive;                    /* it was started, and its end was not seen */
  int64_t pid, started;
  int64_t attempts;               /* processes so far */
  int64_t delay_ms;               /* of a start that is due at restart.at_ms */
  char boot[TINKER__BOOT_ID_LEN]; /* of the newest record */
} tinker__rec_left_t;

typedef struct tinker__rec_ledger_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;
  tinker__rec_lock_t lock;
  char lock_path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_t *file;
  tinker__link_t left; /* tinker__rec_left_t */
} tinker__rec_ledger_t;

/* Makes the folder if its parent is there. 0, TINKER_EBUSY (another daemon
 * works on it), or a code of tinker__rec_file_open(). Closed by ledger_close()
 * whatever it returns. */
int tinker__rec_ledger_open(tinker__rec_ledger_t *l, tinker__mem_t *mem,
                            const tinker__world_t *world, const char *dir,
                            char *why, size_t why_len);
void tinker__rec_ledger_close(tinker__rec_ledger_t *l);
/* NULL = nothing is known. */
tinker__rec_left_t *tinker__rec_ledger_find(const tinker__rec_ledger_t *l,
                                            const char *name);
/* Writes a record. wait: it is on the disk on return; else it is with the next
 * one that waits. 0 or a code. */
int tinker__rec_ledger_note(tinker__rec_ledger_t *l, tinker__rec_type_t type,
                            const tinker__rec_facts_t *facts, bool wait);
/* Is the folder still this daemon's? (F68) */
bool tinker__rec_ledger_held(const tinker__rec_ledger_t *l);

#endif
