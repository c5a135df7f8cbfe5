/* keep: decides when the state of a model is written to a snapshot, and when it
 * leaves memory. Engine thread.
 *
 * A restart repeats the calls after the last snapshot. Their time is bounded
 * for all models together (config.snapshot_ms), as far as snapshots for that
 * take at most a tenth of the engine's time. Gradients that wait for an
 * optim_step are in a snapshot where the log could not shorten otherwise: not
 * when that step is the next call, and not when the engine can't store them. */
#include <tinker/error.h>

#include "service/run/exec.h"

#define STOP_MS 5000               /* a stop begins no snapshot after this */
#define LOG_MAX ((size_t)64 << 20) /* bytes of a model's log */
/* For the bound on all models a snapshot must save so many times its own time.
 */
#define COST_FACTOR 10

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

/* True when a snapshot of m is due. When all models together have too much to
 * repeat, those with more than the average are first, since their snapshots
 * save most. A snapshot with gradients must pay for one model alone, too, since
 * the next optim_step would be the better moment. */
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

/* True when gradients wait and the next call, which is in the log, uses them. A
 * snapshot after that call is smaller, since it has no gradients. */
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
  count(m, 1); /* pieces below a millisecond count, too */
  m->unsaved_bytes += op->log_size;
  if (is_due(m) && tinker__svc_keep_can(m) && !steps_next(m, next)) {
    snapshot(m, next);
  }
}

static bool is_kept(const tinker__svc_model_t *m, int64_t next) {
  return m->snapshot && m->snapshot_seq == next;
}

/* Lets a model that rests leave memory if its snapshot is stored, so that the
 * next call finds it there; else makes the snapshot first. */
void tinker__svc_keep_resting(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  bool can = m->train && tinker__svc_keep_can(m);
  tinker__svc_lock(s);
  int64_t next = m->next_seq;
  bool saving = m->saving;
  bool kept = is_kept(m, next) && !saving;
  tinker__svc_unlock(s);
  if (can && kept) {
    tinker__svc_exec_model_free(m);
  } else if (can && !saving) {
    snapshot(m, next);
  }
  tinker__svc_lock(s);
  if (!m->train) {
    m->rests_ms = 0;
  } else if (!m->saving && !(can && is_kept(m, next))) {
    m->rests_ms = now(s); /* it can't leave now and is looked at again later */
  }
  tinker__svc_model_done(m);
  tinker__svc_unlock(s);
}

/* --- The end -------------------------------------------------------------- */

/* The first number that is not in the model's state. -1 = the state can't be
 * kept, for example because it is in the middle of an optimizer step. */
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
  tinker__svc_exec_pass_end(m);
  if (next >= 0) tinker__svc_exec_snapshot(m, next);
}

/* The next model after l whose row is stored; such models stay in the list. */
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
