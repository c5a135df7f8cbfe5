/* check_in: what the parts of the checker share. */
#ifndef TESTS_SIM_CHECK_IN_H
#define TESTS_SIM_CHECK_IN_H

#include "sim/check.h"

/* Writes the sentence; returns 1. */
int sim_broken(char *why, size_t why_len, const char *form, ...)
    __attribute__((format(printf, 3, 4)));

/* "entry 17 (optim_step of model 2, number 9, at 1234 ms)". Views of a ring of
 * some buffers: good for one sentence. */
const char *sim_entry_words(const sim_history_t *h, const sim_entry_t *e);
/* "record 5 of e2.db (STEP_COMMIT of step 7, at 1234 ms)". */
const char *sim_record_words(const sim_record_t *r);

/* A numbered call that came first, and was executed. */
bool sim_is_applied(const sim_entry_t *e);
bool sim_moves(
    const sim_entry_t *e); /* a pass that trains, or an optimizer's */

/* Index of the model with this id; -1 = none. */
int32_t sim_model_of(const sim_history_t *h, const char *id);
/* EPOCH_ACTIVE of this model; NULL = it is no epoch's. */
const sim_record_t *sim_active_of(const sim_history_t *h, int32_t model);
/* The last EPOCH_ACTIVE; NULL = none. */
const sim_record_t *sim_last_active(const sim_history_t *h);
int64_t sim_count(const sim_history_t *h, int64_t type);
/* The last line that says that the run is done; NULL = none does. */
const sim_shadow_t *sim_done_line(const sim_history_t *h);
const sim_record_t *sim_saved(const sim_history_t *h, const char *name);

/* --- The branch ----------------------------------------------------------- */

/* The steps that count, by the journal: of each the commit. */
typedef struct sim_branch_s {
  const sim_record_t **commits;
  size_t count;
} sim_branch_t;

void sim_branch_make(const sim_history_t *h, sim_branch_t *b);
void sim_branch_free(sim_branch_t *b);

/* A step as the service has it: its passes, then its optimizer's step. */
#define SIM_MAX_PARTS 16
typedef struct sim_taken_s {
  const sim_entry_t *passes[SIM_MAX_PARTS];
  size_t pass_count;
  const sim_entry_t *optim;
} sim_taken_t;

/* What a model has executed, in order; only what an optimizer's step has
 * ended. Freed with free(). */
sim_taken_t *sim_taken_by(const sim_history_t *h, int32_t model, size_t *count);

#endif
