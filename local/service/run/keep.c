/* keep: when the state of a model goes into a snapshot, and out of memory.
 * Engine thread.
 *
 * A restart repeats what no snapshot has. That is bounded for all models
 * together (config.snapshot_ms), but so that snapshots take a tenth of the
 * engine's time at most. Gradients that wait for an optim_step are in a
 * snapshot where the log could not shorten otherwise: not when that step is
 * the next call, and not where the engine can't store them. */
#include <tinker/error.h>

#include "service/run/exec.h"

#define STOP_MS 5000               /* as long as a stop writes snapshots */
#define LOG_MAX ((size_t)64 << 20) /* bytes of a model's log */
#define COST_FACTOR 10 /* work that a snapshot saves, by what it takes */

static int64_t now(const tinker__svc_t *s) {
  return s->world->now_ms(s->world->user);
}

static void count(tinker__svc_model_t *m, int64_t ms) {
  tinker__svc_t *s = m->service;
  if (ms <= 0) return;
  if (!m->unsaved_ms) s->n_unsaved++;
  m->unsaved_ms += ms;
  s->unsaved_ms += ms;
}

void tinker__svc_keep_worked(tinker__svc_model_t *m, int64_t start_ms) {
  m->changed = true;
  count(m, now(m->service) - start_ms);
}

void tinker__svc_keep_settled(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  if (m->unsaved_ms) s->n_unsaved--;
  s->unsaved_ms -= m->unsaved_ms;
  m->unsaved_ms = 0;
  m->unsaved_bytes = 0;
  m->changed = m->worked = false;
}

/* Those that have more than their share of what would be repeated give it up
 * first: their snapshots save most. One with gradients is made where the work
 * is worth it alone: the next optim_step would be the better moment. */
static bool is_due(const tinker__svc_model_t *m) {
  const tinker__svc_t *s = m->service;
  int64_t bound = s->config.snapshot_ms;
  bool pays = m->unsaved_ms >= COST_FACTOR * s->snapshot_took_ms;
  bool waits = tinker__svc_model_api(m)->train_has_grad(m->train);
  if (m->unsaved_bytes >= LOG_MAX) return true;
  if (m->unsaved_ms >= bound && (pays || !waits)) return true;
  return pays && s->unsaved_ms >= bound &&
         m->unsaved_ms >= s->unsaved_ms / s->n_unsaved;
}

bool tinker__svc_keep_can(const tinker__svc_model_t *m) {
  const tinker__engine_api_t *api = tinker__svc_model_api(m);
  return api->train_keep || !api->train_has_grad(m->train);
}

/* The next call is here and uses the gradients: a snapshot after it is smaller.
 */
static bool steps_next(tinker__svc_model_t *m, int64_t next) {
  tinker__svc_t *s = m->service;
  if (!tinker__svc_model_api(m)->train_has_grad(m->train)) return false;
  tinker__svc_lock(s);
  tinker__link_t *l = tinker__list_first(&m->pending);
  const tinker__svc_op_t *op =
      l ? TINKER__CONTAINER(l, tinker__svc_op_t, link) : NULL;
  bool steps = op && op->kind == TINKER__SVC_OP_OPTIM && op->seq == next;
  tinker__svc_unlock(s);
  return steps;
}

static void snapshot(tinker__svc_model_t *m, int64_t next) {
  tinker__svc_t *s = m->service;
  int64_t start = now(s);
  tinker__svc_exec_snapshot(m, next);
  s->snapshot_took_ms = now(s) - start;
}

void tinker__svc_keep_due(tinker__svc_model_t *m, const tinker__svc_op_t *op) {
  int64_t next = op->seq + 1;
  count(m, 1); /* pieces below a millisecond are work, too */
  m->unsaved_bytes += op->log_size;
  if (is_due(m) && tinker__svc_keep_can(m) && !steps_next(m, next)) {
    snapshot(m, next);
  }
}

/* The snapshot is stored before the state leaves: whoever needs it next finds
 * it there. */
void tinker__svc_keep_resting(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  bool can = m->train && tinker__svc_keep_can(m);
  tinker__svc_lock(s);
  int64_t next = m->next_seq;
  bool saving = m->saving;
  bool kept = m->snapshot && m->snapshot_seq == next && !saving;
  tinker__svc_unlock(s);
  if (can && kept) {
    tinker__svc_exec_model_free(m);
  } else if (can && !saving) {
    snapshot(m, next);
  }
  tinker__svc_lock(s);
  if (!m->train) {
    m->rests_ms = 0;
  } else if (!m->saving) { /* not now: later, or when it is stored */
    m->rests_ms = now(s);
  }
  tinker__svc_model_done(m);
  tinker__svc_unlock(s);
}

/* --- The end -------------------------------------------------------------- */

/* The first number that is not in the state; -1 = it is between two. */
static int64_t next_number(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  tinker__svc_lock(s);
  bool between = m->current && m->current->kind == TINKER__SVC_OP_OPTIM;
  bool over = tinker__svc_session_over(m->session) && !m->current;
  int64_t next = between || over || m->saving || m->broken ? -1 : m->next_seq;
  tinker__svc_unlock(s);
  return next;
}

static void keep(tinker__svc_model_t *m) {
  int64_t next = m->changed && m->train ? next_number(m) : -1;
  if (m->pass) tinker__svc_model_api(m)->pass_end(m->pass);
  m->pass = NULL;
  if (next >= 0) tinker__svc_exec_snapshot(m, next);
}

/* Models that are stored stay in the list. */
static tinker__svc_model_t *after(tinker__svc_t *s, tinker__link_t *l) {
  tinker__svc_model_t *m = NULL;
  tinker__svc_lock(s);
  for (l = l->next; l != &s->models && !m; l = l->next) {
    m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    if (m->state == TINKER__SVC_MODEL_STORING) m = NULL;
  }
  tinker__svc_unlock(s);
  return m;
}

void tinker__svc_keep_all(tinker__svc_t *s) {
  int64_t end = now(s) + STOP_MS;
  if (atomic_load(&s->fatal)) return;
  tinker__svc_model_t *m = after(s, &s->models);
  for (; m && now(s) < end; m = after(s, &m->link)) keep(m);
}
