/* reread: reads the journal beside its writer, on a thread that lives as long
 * as that takes: once what the start has not read, since a snapshot had it, and
 * after many records for the next snapshot. The run's thread begins it and
 * takes its end up.
 *
 * A state that was loaded from a snapshot is right whatever has become of the
 * records that it was made of. But a disk that has lost those is trusted with
 * no more steps: the run goes on with none, and the next start, which has no
 * snapshot then, is refused. */
#include <stdio.h>

#include "run/run.h"

/* A start reads fewer records than that, and this much takes 50 ms. */
#define SNAPSHOT_EVERY 8192

static tinker__rec_folder_t folder_of(tinker_run_t *run, bool own) {
  return (tinker__rec_folder_t){&run->mem, run->world, run->dir,
                                run->options.name, own};
}

/* Other than 0, so that the reading ends with the run. */
static int on_record(void *user, int64_t epoch, const tinker__rec_record_t *r) {
  const tinker_run_t *run = user;
  (void)epoch;
  (void)r;
  return atomic_load(&run->closing) ? TINKER_ECLOSED : 0;
}

static bool is_damage(int rc) {
  return rc == TINKER_EFORMAT || rc == TINKER_EIO;
}

static int check_all(tinker_run_t *run, char *why, size_t why_len) {
  const tinker__rec_folder_t folder = folder_of(run, false);
  int rc = tinker__rec_show(&folder, on_record, run, why, why_len);
  if (is_damage(rc)) tinker__rec_load_doubt(&folder);
  return rc;
}

static int keep(tinker_run_t *run, char *why, size_t why_len) {
  const tinker__rec_folder_t folder = folder_of(run, false);
  tinker__rec_state_t state;
  tinker__rec_marks_t marks;
  int rc = tinker__rec_load_marked(&folder, &state, &marks, why, why_len);
  if (rc != 0) return rc;
  /* Without one the next start takes longer. */
  tinker__rec_load_keep(&folder, &state, &marks, NULL, 0);
  tinker__rec_state_free(&state);
  tinker__rec_marks_free(&marks);
  return 0;
}

static void *thread_main(void *user) {
  tinker_run_t *run = user;
  tinker__rec_reread_t *r = &run->reread;
  r->rc = r->unread ? check_all(run, r->why, sizeof r->why)
                    : keep(run, r->why, sizeof r->why);
  atomic_store(&r->over, true);
  return NULL;
}

/* Without a thread it is tried again after the next step. */
static void begin(tinker_run_t *run) {
  tinker__rec_reread_t *r = &run->reread;
  atomic_store(&r->over, false);
  r->begun = pthread_create(&r->thread, NULL, thread_main, run) == 0;
}

static void take_end(tinker_run_t *run) {
  tinker__rec_reread_t *r = &run->reread;
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  pthread_join(r->thread, NULL);
  r->begun = false;
  if (!r->unread) atomic_store(&r->noted, 0);
  r->unread = false;
  if (!is_damage(r->rc) || atomic_load(&run->closing)) return;
  atomic_store(&run->damaged, true);
  facts.why = tinker__str(r->why);
  tinker__rec_say(run, "journal_damaged", TINKER__REC_NO_STEP, &facts);
}

void tinker__rec_reread(tinker_run_t *run) {
  tinker__rec_reread_t *r = &run->reread;
  if (r->begun && !atomic_load(&r->over)) return;
  if (r->begun) take_end(run);
  bool due = r->unread || atomic_load(&r->noted) >= SNAPSHOT_EVERY;
  if (due && !atomic_load(&run->damaged)) begin(run);
}

void tinker__rec_reread_end(tinker_run_t *run) {
  if (run->reread.begun) take_end(run);
}

int tinker__rec_reread_load(tinker_run_t *run, char *why, size_t why_len) {
  const tinker__rec_folder_t folder = folder_of(run, true);
  tinker__rec_marks_t *marks = &run->marks;
  int64_t all = 0;
  int rc = tinker__rec_load_marked(&folder, &run->state, marks, why, why_len);
  for (size_t i = 0; rc == 0 && i < marks->count; i++) {
    all += marks->marks[i].id;
  }
  run->reread.unread = marks->skipped > 0;
  /* Without one the next start takes longer. */
  if (rc == 0 && all - marks->skipped >= SNAPSHOT_EVERY) {
    tinker__rec_load_keep(&folder, &run->state, marks, NULL, 0);
  }
  return rc;
}
