/* made_history: a history made by hand: four steps, the model is lost after the
 * third one, a new one is made of the checkpoint of the second, and the run is
 * done. It breaks nothing; a test breaks one thing in it. */
#ifndef TESTS_UNIT_SIM_MADE_HISTORY_H
#define TESTS_UNIT_SIM_MADE_HISTORY_H

#include "journal/record.h"
#include "sim/check.h"

enum { MADE_MOST = 64 };

typedef struct made_s {
  sim_history_t h;
  sim_script_t script;
  sim_entry_t entries[MADE_MOST];
  sim_session_t sessions[8];
  sim_model_t models[8];
  sim_checkpoint_t checkpoints[8];
  sim_record_t records[MADE_MOST];
  sim_shadow_t shadow[MADE_MOST];
  int64_t now_ms;
} made_t;

void made_undisturbed(made_t *m);
void made_recovered(made_t *m, const made_t *undisturbed);

/* One more of these, at the present time, which goes on by 10 ms. */
sim_entry_t *made_entry(made_t *m, sim_kind_t kind, int32_t session,
                        int32_t model);
sim_record_t *made_record(made_t *m, int64_t epoch, int64_t type, int64_t step);
/* Before the record at this place. */
sim_record_t *made_record_at(made_t *m, size_t at, int64_t epoch, int64_t type,
                             int64_t step);
sim_shadow_t *made_line(made_t *m, sim_shadow_kind_t kind, int64_t step);
/* OP_INTENT of an entry. */
sim_record_t *made_intent(made_t *m, int64_t epoch, int64_t step,
                          const sim_entry_t *e);
/* n-th record of this type, from 1. */
sim_record_t *made_find(made_t *m, int64_t type, int n);
sim_entry_t *made_find_entry(made_t *m, sim_kind_t kind, int n);
void made_drop(made_t *m, sim_record_t *r);

#endif
