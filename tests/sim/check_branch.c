/* check_branch: which steps count, what the service has of them, and what came
 * out: I1, I2, I4, I5, I6, I16, I17. */
#include <stdlib.h>
#include <string.h>

#include "journal/record.h"
#include "sim/check_in.h"

/* --- I1: one model after the other ---------------------------------------- */

/* The first call by which the epoch's model moved; NULL = none. */
static const sim_entry_t *first_move(const sim_history_t *h, int32_t model) {
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if (e->model == model && sim_is_applied(e) && sim_moves(e)) return e;
  }
  return NULL;
}

static bool adds_to_lineage(const sim_entry_t *e) {
  return sim_moves(e) || e->kind == SIM_SAVE || e->kind == SIM_SAVE_SAMPLER ||
         e->kind == SIM_LOAD;
}

static int older_sends(const sim_history_t *h, const sim_record_t *active,
                       char *why, size_t why_len) {
  const sim_entry_t *from = first_move(h, sim_model_of(h, active->model));
  for (size_t i = 0; from && i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    const sim_record_t *of = sim_active_of(h, e->model);
    if (e > from && of && of->of_epoch < active->of_epoch && e->first < 0 &&
        adds_to_lineage(e) && e->fate == SIM_APPLIED) {
      return sim_broken(why, why_len,
                        "%s is of epoch %lld, after %s of epoch %lld",
                        sim_entry_words(h, e), (long long)of->of_epoch,
                        sim_entry_words(h, from), (long long)active->of_epoch);
    }
  }
  return 0;
}

static int older_writes(const sim_history_t *h, const sim_record_t *active,
                        char *why, size_t why_len) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    bool counts =
        r->type == TINKER__REC_STEP_COMMIT || r->type == TINKER__REC_CKPT_SAVED;
    if (counts && r->epoch > 0 && r->epoch < active->of_epoch &&
        r->at_ms > active->at_ms) {
      return sim_broken(why, why_len, "%s was written after %s",
                        sim_record_words(r), sim_record_words(active));
    }
  }
  return 0;
}

int sim_check_i1(const sim_history_t *h, char *why, size_t why_len) {
  int bad = 0;
  for (size_t i = 0; i < h->record_count && !bad; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type != TINKER__REC_EPOCH_ACTIVE) continue;
    bad = older_sends(h, r, why, why_len) || older_writes(h, r, why, why_len);
  }
  return bad;
}

/* --- I2: each step once, in order, with its data -------------------------- */

/* What the plan says, as the undisturbed run has done it. */
static sim_taken_t *plan_of(const sim_history_t *h, size_t *count) {
  const sim_history_t *u = h->undisturbed ? h->undisturbed : h;
  const sim_record_t *active = sim_last_active(u);
  *count = 0;
  return active ? sim_taken_by(u, sim_model_of(u, active->model), count) : NULL;
}

static int same_step(const sim_history_t *h, const sim_record_t *commit,
                     const sim_taken_t *plan, const sim_taken_t *taken,
                     char *why, size_t why_len) {
  if (taken->pass_count != plan->pass_count) {
    return sim_broken(
        why, why_len, "step %lld has %zu batches, planned are %zu: %s, %s",
        (long long)commit->step, taken->pass_count, plan->pass_count,
        sim_record_words(commit), sim_entry_words(h, taken->optim));
  }
  for (size_t i = 0; i < plan->pass_count; i++) {
    const sim_entry_t *e = taken->passes[i];
    if (memcmp(e->batch, plan->passes[i]->batch, SIM_DIGEST_LEN) != 0) {
      return sim_broken(why, why_len,
                        "step %lld has another batch than was planned: %s",
                        (long long)commit->step, sim_entry_words(h, e));
    }
    if (e->times != 1) {
      return sim_broken(why, why_len, "%s was applied %d times",
                        sim_entry_words(h, e), (int)e->times);
    }
  }
  if (taken->optim->times != 1 ||
      taken->optim->learning_rate != plan->optim->learning_rate) {
    return sim_broken(
        why, why_len, "%s was applied %d times, or with another rate",
        sim_entry_words(h, taken->optim), (int)taken->optim->times);
  }
  return 0;
}

/* The steps of the branch that one epoch has. */
static int epoch_steps(const sim_history_t *h, const sim_record_t *active,
                       const sim_branch_t *b, const sim_taken_t *plan,
                       size_t planned, char *why, size_t why_len) {
  size_t n = 0;
  int bad = 0;
  sim_taken_t *taken = sim_taken_by(h, sim_model_of(h, active->model), &n);
  for (size_t i = 0; i < b->count && !bad; i++) {
    const sim_record_t *c = b->commits[i];
    if (c->epoch != active->of_epoch) continue;
    int64_t at = c->step - active->from_step - 1;
    if (at < 0 || (size_t)at >= n) {
      bad = sim_broken(why, why_len,
                       "%s: the service has no such step of model %s",
                       sim_record_words(c), active->model);
    } else if ((size_t)c->step > planned) {
      bad = sim_broken(why, why_len, "%s: the plan has %zu steps",
                       sim_record_words(c), planned);
    } else {
      bad = same_step(h, c, &plan[c->step - 1], &taken[at], why, why_len);
    }
  }
  free(taken);
  return bad;
}

int sim_check_i2(const sim_history_t *h, char *why, size_t why_len) {
  sim_branch_t b;
  size_t planned;
  int bad = 0;
  if (h->script->demand.unseen) return 0;
  sim_taken_t *plan = plan_of(h, &planned);
  sim_branch_make(h, &b);
  for (size_t i = 0; i < b.count && !bad; i++) {
    if (b.commits[i]->step == (int64_t)i + 1) continue;
    bad = sim_broken(why, why_len, "place %zu of the branch has %s", i + 1,
                     sim_record_words(b.commits[i]));
  }
  for (size_t i = 0; i < h->record_count && !bad; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_EPOCH_ACTIVE) {
      bad = epoch_steps(h, r, &b, plan, planned, why, why_len);
    }
  }
  sim_branch_free(&b);
  free(plan);
  return bad;
}

/* --- I4: the optimizer, too ----------------------------------------------- */

static const sim_entry_t *maker_of(const sim_history_t *h, int32_t model) {
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if (e->model == model && e->kind == SIM_LOAD_NEW && sim_is_applied(e)) {
      return e;
    }
  }
  return NULL;
}

static int restored(const sim_history_t *h, const sim_record_t *active,
                    char *why, size_t why_len) {
  int32_t model = sim_model_of(h, active->model);
  if (model < 0 || !*active->path) return 0;
  const sim_entry_t *made = maker_of(h, model);
  const sim_checkpoint_t *from = NULL;
  for (size_t i = 0; i < h->checkpoint_count; i++) {
    if (strcmp(h->checkpoints[i].path, active->path) == 0) {
      from = &h->checkpoints[i];
    }
  }
  if (!made || !from) {
    return sim_broken(why, why_len, "%s: the service has not made it of %s",
                      sim_record_words(active), active->path);
  }
  bool weights = memcmp(made->weights, from->weights, SIM_DIGEST_LEN) == 0;
  bool optimizer =
      memcmp(made->optimizer, from->optimizer, SIM_DIGEST_LEN) == 0;
  if (weights && optimizer) return 0;
  return sim_broken(why, why_len,
                    "%s: the model of %s that the branch has is not what was "
                    "saved: other %s",
                    sim_entry_words(h, made), sim_record_words(active),
                    weights ? "optimizer" : "weights");
}

int sim_check_i4(const sim_history_t *h, char *why, size_t why_len) {
  sim_branch_t b;
  int bad = 0;
  sim_branch_make(h, &b);
  for (size_t i = 0; i < h->record_count && !bad; i++) {
    const sim_record_t *r = &h->records[i];
    bool kept = false;
    if (r->type != TINKER__REC_EPOCH_ACTIVE) continue;
    for (size_t k = 0; k < b.count; k++) {
      kept |= b.commits[k]->epoch == r->of_epoch;
    }
    if (kept) bad = restored(h, r, why, why_len);
  }
  sim_branch_free(&b);
  return bad;
}

/* --- I5: the mark falls by a rollback alone ------------------------------- */

/* Its last commit; the step that it began at if it has none. */
static int64_t reached(const sim_history_t *h, const sim_record_t *active,
                       const sim_record_t **out_of_order) {
  int64_t step = active->from_step;
  *out_of_order = NULL;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch != active->of_epoch || r->type != TINKER__REC_STEP_COMMIT) {
      continue;
    }
    if (r->step != step + 1 && !*out_of_order) *out_of_order = r;
    step = r->step;
  }
  return step;
}

static int marks(const sim_history_t *h, char *why, size_t why_len) {
  const sim_record_t *rollback = NULL, *wrong;
  int64_t mark = 0;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch != 0) continue;
    if (r->type == TINKER__REC_ROLLBACK) rollback = r;
    if (r->type != TINKER__REC_EPOCH_ACTIVE) continue;
    bool said = rollback && rollback->to_step == r->from_step &&
                rollback->from_step >= mark && *rollback->why;
    if (r->from_step < mark && !said) {
      return sim_broken(why, why_len,
                        "%s falls from step %lld to %lld without a rollback "
                        "that says why",
                        sim_record_words(r), (long long)mark,
                        (long long)r->from_step);
    }
    if (r->from_step > mark) {
      return sim_broken(why, why_len, "%s is beyond step %lld",
                        sim_record_words(r), (long long)mark);
    }
    mark = reached(h, r, &wrong);
    if (wrong) {
      return sim_broken(why, why_len, "%s is out of order",
                        sim_record_words(wrong));
    }
    rollback = NULL;
  }
  return 0;
}

/* Has the run gone back between these times? */
static bool went_back(const sim_history_t *h, int64_t from_ms, int64_t to_ms) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_ROLLBACK && r->at_ms >= from_ms &&
        r->at_ms <= to_ms) {
      return true;
    }
  }
  return false;
}

/* When the journal had it: a loop may look at its future later. */
static int64_t recorded_ms(const sim_history_t *h, const sim_shadow_t *s) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_STEP_COMMIT && r->step == s->step &&
        r->at_ms <= s->now_ms && !memcmp(&r->loss, &s->loss, sizeof r->loss)) {
      return r->at_ms;
    }
  }
  return s->now_ms;
}

/* What a loop was told: a step that was committed comes again only after a
 * rollback, and the process that knew of it is told. */
static int told(const sim_history_t *h, char *why, size_t why_len) {
  int64_t committed = 0, committed_ms = 0, back_ms = -1;
  int life = -1;
  for (size_t i = 0; i < h->shadow_count; i++) {
    const sim_shadow_t *s = &h->shadow[i];
    if (s->kind == SIM_SHADOW_NEXT && s->rolled_back) back_ms = s->now_ms;
    /* A loop that is ahead hears late of what was before a rollback. */
    if (s->kind == SIM_SHADOW_COMMIT && recorded_ms(h, s) > back_ms) {
      committed = s->step;
      committed_ms = recorded_ms(h, s);
      life = s->life;
    }
    if (s->kind != SIM_SHADOW_NEXT || s->step > committed) continue;
    bool fine = went_back(h, committed_ms, s->now_ms) &&
                (s->rolled_back || s->life != life);
    if (!fine) {
      return sim_broken(why, why_len,
                        "line %zu of the shadow log: step %lld again at %lld "
                        "ms, which was committed at %lld ms",
                        i, (long long)s->step, (long long)s->now_ms,
                        (long long)committed_ms);
    }
    committed = s->step - 1;
  }
  return 0;
}

int sim_check_i5(const sim_history_t *h, char *why, size_t why_len) {
  return marks(h, why, why_len) || told(h, why, why_len);
}

/* --- I6: how many steps were lost ----------------------------------------- */

int sim_check_i6(const sim_history_t *h, char *why, size_t why_len) {
  const sim_demand_t *d = &h->script->demand;
  const sim_record_t *wrong;
  int64_t mark = 0, all = 0;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type != TINKER__REC_EPOCH_ACTIVE) continue;
    int64_t lost = mark > r->from_step ? mark - r->from_step : 0;
    all += lost;
    if (lost > d->most_lost || all > d->most_lost_all) {
      return sim_broken(why, why_len,
                        "%s costs %lld steps, %lld so far; at most %lld and "
                        "%lld may be lost",
                        sim_record_words(r), (long long)lost, (long long)all,
                        (long long)d->most_lost, (long long)d->most_lost_all);
    }
    mark = reached(h, r, &wrong);
  }
  return 0;
}

/* --- I16: the batches, as a sum, by the ledger alone ---------------------- */

typedef struct {
  uint64_t words[4];
  int64_t count;
} sum_t;

static void add(sum_t *s, const sim_entry_t *e) {
  uint64_t words[4];
  memcpy(words, e->batch, sizeof words);
  for (size_t i = 0; i < 4; i++) s->words[i] += words[i];
  s->count++;
}

/* The call that made the checkpoint. */
static const sim_entry_t *save_of(const sim_history_t *h, int32_t checkpoint) {
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if (e->kind == SIM_SAVE && e->checkpoint == checkpoint &&
        sim_is_applied(e)) {
      return e;
    }
  }
  return NULL;
}

/* The batches that are in the weights: the model's until `steps` of the run or
 * its save, then those of what it was loaded from. */
static sum_t consumed(const sim_history_t *h, int32_t model, int64_t steps) {
  sum_t s = {{0}, 0};
  int64_t until = INT64_MAX, depth = 0;
  while (model >= 0 && depth++ < 1000) {
    size_t n;
    sim_taken_t *taken = sim_taken_by(h, model, &n);
    const sim_model_t *m = &h->models[model];
    for (size_t i = 0; i < n; i++) {
      bool in = taken[i].optim->order < until && steps-- > 0;
      for (size_t k = 0; in && k < taken[i].pass_count; k++) {
        add(&s, taken[i].passes[k]);
      }
    }
    free(taken);
    const sim_entry_t *save = m->loaded < 0 ? NULL : save_of(h, m->loaded);
    model = save ? save->model : -1;
    until = save ? save->order : 0;
    steps = INT64_MAX;
  }
  return s;
}

static sum_t consumed_by_run(const sim_history_t *h) {
  const sim_record_t *active = sim_last_active(h);
  sim_branch_t b;
  int64_t own = 0;
  sum_t none = {{0}, 0};
  if (!active) return none;
  sim_branch_make(h, &b);
  for (size_t i = 0; i < b.count; i++) {
    own += b.commits[i]->epoch == active->of_epoch;
  }
  sim_branch_free(&b);
  return consumed(h, sim_model_of(h, active->model), own);
}

int sim_check_i16(const sim_history_t *h, char *why, size_t why_len) {
  if (!h->undisturbed || !sim_done_line(h)) return 0;
  if (h->script->trainer.other_data || h->script->demand.unseen) return 0;
  sum_t a = consumed_by_run(h), b = consumed_by_run(h->undisturbed);
  if (memcmp(&a, &b, sizeof a) == 0) return 0;
  return sim_broken(why, why_len,
                    "the final model %s has consumed %lld batches, planned "
                    "are %lld, or others than those",
                    sim_last_active(h) ? sim_last_active(h)->model : "(none)",
                    (long long)a.count, (long long)b.count);
}

/* --- I17: the same bits --------------------------------------------------- */

static const sim_entry_t *final_move(const sim_history_t *h,
                                     const sim_branch_t *b) {
  size_t n = 0;
  const sim_record_t *active = sim_last_active(h);
  const sim_entry_t *out = NULL;
  if (!active || !b->count) return NULL;
  sim_taken_t *taken = sim_taken_by(h, sim_model_of(h, active->model), &n);
  int64_t at = b->commits[b->count - 1]->step - active->from_step;
  if (at > 0 && (size_t)at <= n) out = taken[at - 1].optim;
  if (at == 0) out = maker_of(h, sim_model_of(h, active->model));
  free(taken);
  return out;
}

static int same_losses(const sim_branch_t *a, const sim_branch_t *b, char *why,
                       size_t why_len) {
  if (a->count != b->count) {
    return sim_broken(why, why_len, "%zu steps, undisturbed %zu", a->count,
                      b->count);
  }
  for (size_t i = 0; i < a->count; i++) {
    if (memcmp(&a->commits[i]->loss, &b->commits[i]->loss, sizeof(double))) {
      return sim_broken(why, why_len, "%s has loss %a, undisturbed %a",
                        sim_record_words(a->commits[i]), a->commits[i]->loss,
                        b->commits[i]->loss);
    }
  }
  return 0;
}

static int same_end(const sim_history_t *h, const sim_entry_t *a,
                    const sim_entry_t *b, char *why, size_t why_len) {
  if (!a || !b) return a != b && sim_broken(why, why_len, "no last step");
  if (memcmp(a->weights, b->weights, SIM_DIGEST_LEN) != 0) {
    return sim_broken(why, why_len, "%s: other weights than undisturbed",
                      sim_entry_words(h, a));
  }
  if (memcmp(a->optimizer, b->optimizer, SIM_DIGEST_LEN) != 0) {
    return sim_broken(why, why_len, "%s: another optimizer than undisturbed",
                      sim_entry_words(h, a));
  }
  return 0;
}

int sim_check_i17(const sim_history_t *h, char *why, size_t why_len) {
  sim_branch_t a, b;
  const sim_demand_t *d = &h->script->demand;
  if (!h->undisturbed || !d->same_bits) return 0;
  if (d->end != SIM_END_DONE && !sim_done_line(h)) return 0;
  sim_branch_make(h, &a);
  sim_branch_make(h->undisturbed, &b);
  int bad = same_losses(&a, &b, why, why_len) ||
            same_end(h, final_move(h, &a), final_move(h->undisturbed, &b), why,
                     why_len);
  sim_branch_free(&a);
  sim_branch_free(&b);
  return bad;
}
