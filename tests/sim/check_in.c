/* check_in: see check_in.h. */
#include "sim/check_in.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journal/record.h"

int sim_broken(char *why, size_t why_len, const char *form, ...) {
  va_list args;
  va_start(args, form);
  vsnprintf(why, why_len, form, args);
  va_end(args);
  return 1;
}

static char *room(size_t *len) {
  static char rooms[8][192];
  static size_t next;
  *len = sizeof rooms[0];
  return rooms[next++ % 8];
}

const char *sim_entry_words(const sim_history_t *h, const sim_entry_t *e) {
  static const char *const kinds[SIM_KINDS] = {
      "create_session", "finish_session", "create_model",
      "load_new",       "forward",        "forward_backward",
      "optim_step",     "save",           "save_for_sampler",
      "load",           "set_ttl",        "delete"};
  size_t len;
  char *out = room(&len);
  snprintf(out, len, "entry %zu (%s of model %d, number %lld, at %lld ms)",
           (size_t)(e - h->entries), kinds[e->kind], (int)e->model,
           (long long)e->seq, (long long)e->at_ms);
  return out;
}

const char *sim_record_words(const sim_record_t *r) {
  size_t len;
  char *out = room(&len), file[32] = "supervisor.db";
  const char *name = tinker__rec_type_name(r->type);
  if (r->epoch) snprintf(file, sizeof file, "e%lld.db", (long long)r->epoch);
  snprintf(out, len, "record %lld of %s (%s of step %lld, at %lld ms)",
           (long long)r->id, file, name ? name : "?", (long long)r->step,
           (long long)r->at_ms);
  return out;
}

bool sim_is_applied(const sim_entry_t *e) {
  return e->first < 0 && e->fate == SIM_APPLIED;
}

bool sim_moves(const sim_entry_t *e) {
  return e->kind == SIM_FORWARD_BACKWARD || e->kind == SIM_OPTIM_STEP;
}

int32_t sim_model_of(const sim_history_t *h, const char *id) {
  for (size_t i = 0; i < h->model_count; i++) {
    if (strcmp(h->models[i].id, id) == 0) return (int32_t)i;
  }
  return -1;
}

const sim_record_t *sim_active_of(const sim_history_t *h, int32_t model) {
  for (size_t i = 0; i < h->record_count && model >= 0; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch == 0 && r->type == TINKER__REC_EPOCH_ACTIVE &&
        strcmp(r->model, h->models[model].id) == 0) {
      return r;
    }
  }
  return NULL;
}

const sim_record_t *sim_last_active(const sim_history_t *h) {
  const sim_record_t *last = NULL;
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch == 0 && r->type == TINKER__REC_EPOCH_ACTIVE) last = r;
  }
  return last;
}

int64_t sim_count(const sim_history_t *h, int64_t type) {
  int64_t n = 0;
  for (size_t i = 0; i < h->record_count; i++) n += h->records[i].type == type;
  return n;
}

const sim_shadow_t *sim_done_line(const sim_history_t *h) {
  for (size_t i = h->shadow_count; i-- > 0;) {
    if (h->shadow[i].kind == SIM_SHADOW_DONE) return &h->shadow[i];
  }
  return NULL;
}

const sim_record_t *sim_saved(const sim_history_t *h, const char *name) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->type == TINKER__REC_CKPT_SAVED && strcmp(r->name, name) == 0) {
      return r;
    }
  }
  return NULL;
}

/* --- The branch ----------------------------------------------------------- */

static void append_epoch(const sim_history_t *h, int64_t epoch,
                         sim_branch_t *b) {
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch == epoch && r->type == TINKER__REC_STEP_COMMIT) {
      b->commits[b->count++] = r;
    }
  }
}

void sim_branch_make(const sim_history_t *h, sim_branch_t *b) {
  b->count = 0;
  b->commits = calloc(h->record_count + 1, sizeof(sim_record_t *));
  for (size_t i = 0; i < h->record_count; i++) {
    const sim_record_t *r = &h->records[i];
    if (r->epoch != 0 || r->type != TINKER__REC_EPOCH_ACTIVE) continue;
    while (b->count && b->commits[b->count - 1]->step > r->from_step) {
      b->count--;
    }
    append_epoch(h, r->of_epoch, b);
  }
}

void sim_branch_free(sim_branch_t *b) {
  free((void *)b->commits);
  b->commits = NULL;
}

static int by_order(const void *a, const void *b) {
  const sim_entry_t *x = *(const sim_entry_t *const *)a;
  const sim_entry_t *y = *(const sim_entry_t *const *)b;
  return (x->order > y->order) - (x->order < y->order);
}

/* Also an optimizer's step that was refused for its gradients, which are gone
 * with that. */
static bool is_executed(const sim_entry_t *e) {
  bool cleared = e->first < 0 && e->kind == SIM_OPTIM_STEP &&
                 e->fate == SIM_FAILED && e->order > 0;
  return cleared || sim_is_applied(e);
}

static const sim_entry_t **moves_of(const sim_history_t *h, int32_t model,
                                    size_t *count) {
  const sim_entry_t **list = calloc(h->entry_count + 1, sizeof(sim_entry_t *));
  size_t n = 0;
  for (size_t i = 0; i < h->entry_count; i++) {
    const sim_entry_t *e = &h->entries[i];
    if (e->model == model && is_executed(e) && sim_moves(e)) list[n++] = e;
  }
  qsort((void *)list, n, sizeof *list, by_order);
  *count = n;
  return list;
}

sim_taken_t *sim_taken_by(const sim_history_t *h, int32_t model,
                          size_t *count) {
  size_t n = 0, taken = 0;
  const sim_entry_t **moves = moves_of(h, model, &n);
  sim_taken_t *out = calloc(n + 1, sizeof *out);
  for (size_t i = 0; i < n; i++) {
    sim_taken_t *t = &out[taken];
    if (moves[i]->fate == SIM_FAILED) {
      t->pass_count = 0;
    } else if (moves[i]->kind == SIM_OPTIM_STEP) {
      t->optim = moves[i];
      taken++;
    } else if (t->pass_count < SIM_MAX_PARTS) {
      t->passes[t->pass_count++] = moves[i];
    }
  }
  free((void *)moves);
  *count = taken;
  return out;
}
