/* snapshot: the state of a run's journal up to a place, in a file of its own,
 * so that a start reads what came after it and not a hundred thousand records.
 * It is made of what the journal says and is worth nothing without it: one that
 * is missing, damaged, of another version, or does not fit the journal's hashes
 * is left alone, and everything is read. Any thread. */
#ifndef TINKER_RECOVERY_JOURNAL_SNAPSHOT_H
#define TINKER_RECOVERY_JOURNAL_SNAPSHOT_H

#include "journal/file.h"
#include "journal/state.h"

/* How far each file was read: marks[0] is of the supervisor's, marks[n] of that
 * of epoch n. */
typedef struct tinker__rec_marks_s {
  tinker__mem_t *mem;
  tinker__rec_mark_t *marks;
  size_t count;
  int64_t skipped; /* records that a snapshot made good for, unread */
} tinker__rec_marks_t;

void tinker__rec_marks_init(tinker__rec_marks_t *m, tinker__mem_t *mem);
void tinker__rec_marks_free(tinker__rec_marks_t *m);
/* Of a file; a new one is at the beginning. NULL without memory. Valid until
 * the next call. */
tinker__rec_mark_t *tinker__rec_marks_at(tinker__rec_marks_t *m, int64_t epoch);

/* Both as bytes, and back into a state and marks that are as after init. 0,
 * TINKER_EFORMAT, TINKER_ENOMEM or TINKER_EOVERFLOW; then the caller frees
 * state and marks, which are incomplete. */
int tinker__rec_snapshot_write(const tinker__rec_state_t *s,
                               const tinker__rec_marks_t *m,
                               const char *lineage, tinker__buf_t *out);
int tinker__rec_snapshot_read(tinker__rec_state_t *s, tinker__rec_marks_t *m,
                              const char *lineage, tinker__str_t bytes);

#endif
