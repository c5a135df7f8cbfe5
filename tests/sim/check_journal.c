/* check_journal: what had to be in the journal, and when: I3, I7, I8, I9, I11,
 * I12. */
#include <stdio.h>
#include <string.h>

#include "journal/record.h"
#include "sim/check_in.h"

/* --- I3: no model counts that was not proven ------------------------------ */

static bool is_proved(const sim_history_t *h, const sim_record_t *active) {
  for (const sim_record_t *r = h->records; r < active; r++) {
    if (r->type == TINKER__REC_PROVED && r->of_epoch == active->of_epoch &&
        r->level >= 3 && strcmp(r->path, active->path) == 0) {
      return true;
    }
  }
  return false;
}

int sim_check_i3(const sim_history_t *h, char *why, size_t why_len) {
  const sim_record_t *before = NULL;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type != TINKER__REC_EPOCH_ACTIVE) continue;
    if (!*r->path && before && !h->script->trainer.zero) {
      return sim_broken(why, why_len, "%s begins again, which is not allowed",
                        sim_record_words(r));
    }
    if (*r->path && !is_proved(h, r)) {
      return sim_broken(why, why_len, "%s: %s was not proven to level 3",
                        sim_record_words(r), r->path);
    }
    before = r;
  }
  return 0;
}

/* --- I7: nothing that was acknowledged is lost or altered ----------------- */

static const sim_record_t *commit_of(const sim_history_t *h,
                                     const sim_shadow_t *s) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_STEP_COMMIT && r->step == s->step &&
        r->at_ms <= s->now_ms &&
        memcmp(&r->loss, &s->loss, sizeof r->loss) == 0) {
      return r;
    }
  }
  return NULL;
}

/* What is said of a decision is in the journal before. */
static const struct {
  const char *event;
  int64_t type;
} said[] = {{"epoch_active", TINKER__REC_EPOCH_ACTIVE},
            {"attached", TINKER__REC_ATTACH},
            {"checkpoint", TINKER__REC_CKPT_SAVED},
            {"incident", TINKER__REC_INC_OPEN},
            {"proved", TINKER__REC_PROVED},
            {"rollback", TINKER__REC_ROLLBACK},
            {"stopped", TINKER__REC_INC_STOP},
            {"finished", TINKER__REC_FINISH}};

static bool is_event(const sim_shadow_t *s, const char *name) {
  char begin[64];
  int n = snprintf(begin, sizeof begin, "{\"event\":\"%s\"", name);
  return s->kind == SIM_SHADOW_EVENT && s->text &&
         strncmp(s->text, begin, (size_t)n) == 0;
}

static int events_recorded(const sim_history_t *h, char *why, size_t why_len) {
  for (size_t k = 0; k < sizeof said / sizeof said[0]; k++) {
    int64_t heard = 0, there = sim_count(h, said[k].type);
    for (size_t i = 0; i < h->shadow_count; i++) {
      heard += is_event(&h->shadow[i], said[k].event);
    }
    if (heard > there) {
      return sim_broken(why, why_len,
                        "%lld events \"%s\" were said, the journal has %lld",
                        (long long)heard, said[k].event, (long long)there);
    }
  }
  return 0;
}

int sim_check_i7(const sim_history_t *h, char *why, size_t why_len) {
  if (h->script->demand.damaged) return 0; /* the disk has altered it */
  if (!h->journal_whole) {
    return sim_broken(why, why_len, "the journal is damaged");
  }
  for (size_t i = 0; i < h->shadow_count; i++) {
    const sim_shadow_t *s = &h->shadow[i];
    if (s->kind == SIM_SHADOW_COMMIT && !commit_of(h, s)) {
      return sim_broken(why, why_len,
                        "line %zu of the shadow log: step %lld was said to be "
                        "committed with loss %a at %lld ms; the journal has no "
                        "such record",
                        i, (long long)s->step, s->loss, (long long)s->now_ms);
    }
  }
  return events_recorded(h, why, why_len);
}

/* --- I8: no effect without an intent -------------------------------------- */

static const sim_record_t *intent_of(const sim_history_t *h,
                                     const sim_entry_t *e) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type != TINKER__REC_OP_INTENT) continue;
    for (size_t k = 0; k < r->request_count; k++) {
      if (memcmp(r->requests[k].sha256, e->body, SIM_DIGEST_LEN) == 0) return r;
    }
  }
  return NULL;
}

/* A session that an epoch's client has made: its intents are journaled. Any
 * other one is of a proof, which has a client of its own. */
static bool is_epochs_session(const sim_history_t *h, int32_t session) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_EPOCH_ACTIVE && session >= 0 &&
        strcmp(r->session, h->sessions[session].id) == 0) {
      return true;
    }
  }
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    bool makes = e->kind == SIM_CREATE_MODEL || e->kind == SIM_LOAD_NEW;
    if (makes && e->session == session && intent_of(h, e)) return true;
  }
  return false;
}

static bool has_before(const sim_history_t *h, int64_t type, int64_t at_ms,
                       const char *name, int64_t level) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == type && r->at_ms <= at_ms && r->level >= level &&
        (!name || strcmp(r->name, name) == 0)) {
      return true;
    }
  }
  return false;
}

/* A proof touches only models that it has made itself, of a checkpoint. */
static bool is_proof(const sim_history_t *h, const sim_entry_t *e) {
  bool due = has_before(h, TINKER__REC_CKPT_CHOSEN, e->at_ms, NULL, 4) ||
             (h->script->trainer.keep > 0 &&
              has_before(h, TINKER__REC_CKPT_SAVED, e->at_ms, NULL, -1));
  if (!due || is_epochs_session(h, e->session)) return false;
  return e->kind == SIM_CREATE_SESSION || e->kind == SIM_FINISH_SESSION ||
         e->kind == SIM_LOAD_NEW || e->kind == SIM_FORWARD || sim_moves(e);
}

/* The session of a model that counts ends with the run, or when another model
 * counts; that of an attempt which came to nothing at any time. */
static bool may_finish(const sim_history_t *h, const sim_entry_t *e) {
  bool counts = false;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type != TINKER__REC_EPOCH_ACTIVE || r->at_ms > e->at_ms) continue;
    counts =
        e->session >= 0 && strcmp(r->session, h->sessions[e->session].id) == 0;
  }
  return !counts || has_before(h, TINKER__REC_FINISH, e->at_ms, NULL, -1);
}

static bool is_intended(const sim_history_t *h, const sim_entry_t *e) {
  const char *name =
      e->checkpoint < 0 ? "" : h->checkpoints[e->checkpoint].name;
  const sim_record_t *intent = intent_of(h, e);
  if (intent) return intent->at_ms <= e->at_ms;
  bool keeps = e->kind == SIM_SET_TTL || e->kind == SIM_DELETE;
  if (keeps && e->checkpoint < 0) return true; /* it is gone: no effect */
  switch (e->kind) {
  case SIM_SET_TTL:
    return has_before(h, TINKER__REC_CKPT_TTL, e->at_ms, name, -1);
  case SIM_DELETE:
    return has_before(h, TINKER__REC_CKPT_DELETED, e->at_ms, name, -1);
  case SIM_FINISH_SESSION: return may_finish(h, e);
  default: return is_proof(h, e);
  }
}

int sim_check_i8(const sim_history_t *h, char *why, size_t why_len) {
  if (h->script->demand.damaged) return 0;
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if (e->first >= 0 || is_intended(h, e)) continue;
    return sim_broken(why, why_len,
                      "%s was sent without an intent in the journal before it",
                      sim_entry_words(h, e));
  }
  return 0;
}

/* --- I9: everything that was made is known -------------------------------- */

static const sim_entry_t *made_by(const sim_history_t *h, sim_kind_t a,
                                  sim_kind_t b, int32_t model,
                                  int32_t checkpoint) {
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if ((e->kind == a || e->kind == b) && e->first < 0 &&
        (model < 0 || e->model == model) &&
        (checkpoint < 0 || e->checkpoint == checkpoint)) {
      return e;
    }
  }
  return NULL;
}

static int models_known(const sim_history_t *h, char *why, size_t why_len) {
  for (size_t i = 0; i < h->model_count; i++) {
    const sim_entry_t *e =
        made_by(h, SIM_CREATE_MODEL, SIM_LOAD_NEW, (int32_t)i, -1);
    if (e && (intent_of(h, e) || is_proof(h, e))) continue;
    return sim_broken(why, why_len, "nobody knows of model %s, made by %s",
                      h->models[i].id, e ? sim_entry_words(h, e) : "nothing");
  }
  return 0;
}

static int checkpoints_known(const sim_history_t *h, char *why,
                             size_t why_len) {
  for (size_t i = 0; i < h->checkpoint_count; i++) {
    const sim_entry_t *e =
        made_by(h, SIM_SAVE, SIM_SAVE_SAMPLER, -1, (int32_t)i);
    bool foreign = !e; /* a bug's own */
    if (foreign || sim_saved(h, h->checkpoints[i].name) || intent_of(h, e)) {
      continue;
    }
    return sim_broken(why, why_len, "nobody knows of checkpoint %s, made by %s",
                      h->checkpoints[i].path, sim_entry_words(h, e));
  }
  return 0;
}

int sim_check_i9(const sim_history_t *h, char *why, size_t why_len) {
  if (h->script->demand.damaged) return 0;
  return models_known(h, why, why_len) || checkpoints_known(h, why, why_len);
}

/* --- I11: incidents end --------------------------------------------------- */

static bool ends(const sim_record_t *r) {
  return r->type == TINKER__REC_INC_STOP || r->type == TINKER__REC_INC_CLOSE ||
         r->type == TINKER__REC_EPOCH_ACTIVE;
}

/* From the incident, or from the last thing that went wrong in it. */
static int bounded(const sim_history_t *h, const sim_record_t *open,
                   const sim_record_t *end, int64_t attempts, char *why,
                   size_t why_len) {
  const sim_demand_t *d = &h->script->demand;
  int64_t until = end ? end->at_ms : h->end_ms;
  int64_t from = open->at_ms;
  if (h->last_fault_ms > from) {
    from = h->last_fault_ms < until ? h->last_fault_ms : until;
  }
  if (until - from > d->bound_ms) {
    return sim_broken(why, why_len,
                      "%s is open for %lld ms after the last fault; bound %lld",
                      sim_record_words(open), (long long)(until - from),
                      (long long)d->bound_ms);
  }
  if (!end && d->end != SIM_END_REFUSED) {
    return sim_broken(why, why_len, "%s never ends", sim_record_words(open));
  }
  if (attempts > d->most_attempts) {
    return sim_broken(why, why_len, "%s has %lld attempts, at most %lld",
                      sim_record_words(open), (long long)attempts,
                      (long long)d->most_attempts);
  }
  return 0;
}

int sim_check_i11(const sim_history_t *h, char *why, size_t why_len) {
  const sim_record_t *open = NULL;
  int64_t attempts = 0;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch != 0) continue;
    if (r->type == TINKER__REC_INC_OPEN) {
      open = r;
      attempts = 0;
    }
    if (r->type == TINKER__REC_ATTEMPT_BEGIN) attempts++;
    if (!open || !ends(r)) continue;
    if (bounded(h, open, r, attempts, why, why_len)) return 1;
    open = NULL;
  }
  return open ? bounded(h, open, NULL, attempts, why, why_len) : 0;
}

/* --- I12: what counts as an attempt --------------------------------------- */

typedef struct {
  bool open;
  int64_t fruitless, progress, mark;
} ledger_t;

static bool is_first_refusal(const sim_history_t *h, const sim_record_t *r) {
  for (const sim_record_t *b = h->records; b < r; b++) {
    if (b->type == TINKER__REC_CKPT_QUARANTINED && !strcmp(b->name, r->name)) {
      return false;
    }
  }
  return true;
}

static void count(const sim_history_t *h, const sim_record_t *r, ledger_t *l) {
  switch (r->type) {
  case TINKER__REC_INC_OPEN:
    l->open = true;
    if (r->step > l->progress) l->progress = r->step;
    break;
  case TINKER__REC_ATTEMPT_END: l->fruitless += l->open; break;
  case TINKER__REC_EPOCH_ACTIVE:
    l->fruitless += l->open;
    l->open = false;
    break;
  case TINKER__REC_CKPT_QUARANTINED:
    if (l->open && l->fruitless && is_first_refusal(h, r)) l->fruitless--;
    break;
  case TINKER__REC_RELEASE: l->fruitless = 0; break;
  case TINKER__REC_INC_CLOSE: l->open = false; break;
  default: break;
  }
}

/* Only a step beyond where it was lost lets them count from 0 again. */
static int reset(const sim_history_t *h, const sim_record_t *r, ledger_t *l,
                 char *why, size_t why_len) {
  (void)h;
  l->fruitless = r->count;
  if (r->step > l->progress) return 0;
  return sim_broken(why, why_len,
                    "%s lets attempts count anew, and the run was lost at step "
                    "%lld",
                    sim_record_words(r), (long long)l->progress);
}

static int stopped(const sim_history_t *h, const sim_record_t *r,
                   const ledger_t *l, char *why, size_t why_len) {
  int64_t attempts = h->script->trainer.attempts;
  if (!strstr(r->why, "attempts to go back") || l->fruitless >= attempts) {
    return 0;
  }
  return sim_broken(why, why_len,
                    "%s gives up after %lld attempts that were seen to fail; "
                    "%lld are allowed",
                    sim_record_words(r), (long long)l->fruitless,
                    (long long)attempts);
}

int sim_check_i12(const sim_history_t *h, char *why, size_t why_len) {
  ledger_t l = {false, 0, 0, 0};
  int bad = 0;
  for (size_t i = 0; i < h->record_count && !bad; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch != 0) continue;
    count(h, r, &l);
    if (r->type == TINKER__REC_LEDGER) bad = reset(h, r, &l, why, why_len);
    if (r->type == TINKER__REC_INC_STOP) bad = stopped(h, r, &l, why, why_len);
    if (!bad && l.fruitless > h->script->trainer.attempts) {
      bad = sim_broken(why, why_len, "%s is attempt %lld of %lld",
                       sim_record_words(r), (long long)l.fruitless,
                       (long long)h->script->trainer.attempts);
    }
  }
  return bad;
}
