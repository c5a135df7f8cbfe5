/* state_dir: checks that the state folder belongs to the service and has its
 * newest store, and tidies the folders in it that have no row.
 *
 * Starting thread, while no other thread uses the state; only the mark is
 * written later, by the store thread. Invariants: before the folder is known to
 * be new or ours, nothing is written into it, except that the journal of a
 * killed start is rolled back. A folder without a marker is ours if its store
 * is and knows every folder beside it. A folder of a checkpoint or snapshot is
 * removed only if it has this store's marker, and is a <row>.tmp or is listed
 * by the store as gone; and a <row>.tmp without content. Anything else without
 * a row is moved to <state>/lost and logged. */
#ifndef TINKER_SERVICE_STATE_DIR_H
#define TINKER_SERVICE_STATE_DIR_H

#include "service/boot/service.h"
#include "service/core/core.h"

typedef struct tinker__svc_state_dir_s tinker__svc_state_dir_t;

/* Makes the folder if it is missing, locks it, and refuses it when it is not
 * ours or its store is not the newest one. Sets s->state_dir and s->home. */
int tinker__svc_state_dir_open(tinker__svc_t *s, tinker__svc_stage_t *stage);
/* Called when the store is open. Writes the markers that a new folder, or one
 * of the older format, lacks, and begins to keep the mark. */
int tinker__svc_state_dir_settle(tinker__svc_t *s);
/* Called when the rows are loaded. Takes away the folders without a row, and
 * makes s->next_row larger than the number of any folder. */
int tinker__svc_state_dir_tidy(tinker__svc_t *s);
/* Called after the store is closed. NULL allowed. */
void tinker__svc_state_dir_free(tinker__svc_t *s, tinker__svc_state_dir_t *h);

#endif
