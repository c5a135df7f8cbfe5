/* state_dir: whose the state folder is, and what lies in it without a row.
 *
 * Called from service.c while it starts, before other threads run, but for the
 * mark, which the store thread keeps. Invariants: nothing is written into a
 * folder, and no store is opened for writing, before the folder is known to be
 * new, ours, or of the format before markers with folders that its store knows.
 * Removed is only what has this store's marker and is a <row>.tmp or was taken
 * away by what the store says, and a <row>.tmp without content; anything else
 * without a row moves to <state>/lost and is logged. */
#ifndef TINKER_SERVICE_STATE_DIR_H
#define TINKER_SERVICE_STATE_DIR_H

#include "service/boot/service.h"
#include "service/core/core.h"

typedef struct tinker__svc_state_dir_s tinker__svc_state_dir_t;

/* Makes the folder if it is missing, locks it, and refuses it when it is not
 * ours or its store is not the newest one. Sets s->state_dir and s->home. */
int tinker__svc_state_dir_open(tinker__svc_t *s, tinker__svc_stage_t *stage);
/* The store is open: what was new or of the older format gets its markers. */
int tinker__svc_state_dir_settle(tinker__svc_t *s);
/* The rows are loaded: takes away what has none, and keeps the numbers of
 * folders from being given again. */
int tinker__svc_state_dir_tidy(tinker__svc_t *s);
/* After the store is closed; NULL allowed. */
void tinker__svc_state_dir_free(tinker__svc_t *s, tinker__svc_state_dir_t *h);

#endif
