/* check_keep: what is deleted, and what must not be: I10. */
#include <string.h>

#include "journal/record.h"
#include "sim/check_in.h"

#define LEAST 2 /* that are proven */

static bool marked(const sim_history_t *h, int64_t type, const char *name,
                   int64_t at_ms) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == type && r->at_ms <= at_ms && strcmp(r->name, name) == 0 &&
        (type != TINKER__REC_CKPT_LEVEL || r->level >= 3)) {
      return true;
    }
  }
  return false;
}

/* Has a rollback cut off its step by then? */
static bool cut_off(const sim_history_t *h, const sim_record_t *saved,
                    int64_t at_ms) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_EPOCH_ACTIVE && r->at_ms <= at_ms &&
        r->of_epoch > saved->epoch && r->from_step < saved->step) {
      return true;
    }
  }
  return false;
}

static bool is_good(const sim_history_t *h, const sim_checkpoint_t *c,
                    int64_t at_ms) {
  const sim_record_t *saved = sim_saved(h, c->name);
  return saved && marked(h, TINKER__REC_CKPT_LEVEL, c->name, at_ms) &&
         !marked(h, TINKER__REC_CKPT_QUARANTINED, c->name, at_ms) &&
         !cut_off(h, saved, at_ms) &&
         (c->deleted_ms == 0 || c->deleted_ms > at_ms);
}

static const sim_record_t *active_at(const sim_history_t *h, int64_t at_ms) {
  const sim_record_t *out = NULL;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_EPOCH_ACTIVE && r->at_ms <= at_ms) out = r;
  }
  return out;
}

static const sim_record_t *incident_at(const sim_history_t *h, int64_t at_ms) {
  const sim_record_t *open = NULL;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch != 0) continue;
    if (r->type == TINKER__REC_INC_OPEN && r->at_ms < at_ms) open = r;
    bool ends =
        r->type == TINKER__REC_INC_CLOSE || r->type == TINKER__REC_EPOCH_ACTIVE;
    if (ends && r->at_ms <= at_ms) open = NULL;
  }
  return open;
}

static int deleted(const sim_history_t *h, const sim_entry_t *e, char *why,
                   size_t why_len) {
  const sim_checkpoint_t *c = &h->checkpoints[e->checkpoint];
  const sim_record_t *active = active_at(h, e->at_ms);
  const sim_record_t *open = incident_at(h, e->at_ms);
  int64_t left = 0;
  if (!sim_saved(h, c->name)) {
    return sim_broken(why, why_len, "%s deletes %s, which is not the run's",
                      sim_entry_words(h, e), c->path);
  }
  if (active && strcmp(active->path, c->path) == 0) {
    return sim_broken(why, why_len, "%s deletes what %s was made of",
                      sim_entry_words(h, e), sim_record_words(active));
  }
  if (open) {
    return sim_broken(why, why_len, "%s deletes %s amid %s",
                      sim_entry_words(h, e), c->path, sim_record_words(open));
  }
  for (size_t i = 0; i < h->checkpoint_count; i++) {
    left +=
        i != (size_t)e->checkpoint && is_good(h, &h->checkpoints[i], e->at_ms);
  }
  if (left >= LEAST) return 0;
  return sim_broken(why, why_len,
                    "%s deletes %s and leaves %lld that are proven",
                    sim_entry_words(h, e), c->path, (long long)left);
}

/* Something else than the run takes them away. */
static bool is_taken(const sim_history_t *h) {
  for (size_t i = 0; i < h->script->fault_count; i++) {
    sim_bug_t bug = h->script->faults[i].bug;
    if (bug == SIM_BUG_SAVE_SHORT || bug == SIM_BUG_DELETE_NEWEST) return true;
  }
  return false;
}

static int expired(const sim_history_t *h, char *why, size_t why_len) {
  const sim_record_t *active = sim_last_active(h);
  for (size_t i = 0; i < h->checkpoint_count; i++) {
    const sim_checkpoint_t *c = &h->checkpoints[i];
    bool gone = c->deleted_ms != 0 && !c->by_request && c->expires_ms != 0;
    if (!gone || !active) continue;
    bool in_use = strcmp(active->path, c->path) == 0;
    bool good = is_good(h, c, c->deleted_ms - 1);
    int64_t left = 0;
    for (size_t k = 0; k < h->checkpoint_count; k++) {
      left += is_good(h, &h->checkpoints[k], c->deleted_ms);
    }
    if (in_use || (good && left < LEAST)) {
      return sim_broken(why, why_len,
                        "checkpoint %s has expired at %lld ms%s, %lld that are "
                        "proven are left",
                        c->path, (long long)c->deleted_ms,
                        in_use ? " in use" : "", (long long)left);
    }
  }
  return 0;
}

int sim_check_i10(const sim_history_t *h, char *why, size_t why_len) {
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if (e->kind == SIM_DELETE && e->first < 0 && e->fate == SIM_APPLIED &&
        e->checkpoint >= 0 && deleted(h, e, why, why_len)) {
      return 1;
    }
  }
  return is_taken(h) ? 0 : expired(h, why, why_len);
}
