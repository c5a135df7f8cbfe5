/* order: the calls of a model, which run strictly by number, whatever the order
 * of their arrival. All under the service's lock. */
#include <stdio.h>

#include <tinker/error.h>

#include "service/calls/calls.h"

/* When others wait for memory a model rests after this. */
#define PRESSED_MS 1000

int tinker__svc_model_add(tinker__svc_t *s, tinker__svc_model_t *m) {
  int rc = tinker__map_put(s->model_by_id, tinker__str(m->id), m, NULL);
  if (rc != 0) return rc;
  tinker__list_push_back(&s->models, &m->link);
  tinker__list_push_back(&m->session->models, &m->by_session);
  tinker__svc_base_hold(m->base, &m->holds);
  return 0;
}

tinker__svc_model_t *tinker__svc_model_find(tinker__svc_t *s,
                                            tinker__str_t id) {
  tinker__svc_model_t *m = tinker__map_get(s->model_by_id, id);
  return m && m->state != TINKER__SVC_MODEL_STORING ? m : NULL;
}

void tinker__svc_model_forget(tinker__svc_t *s, tinker__svc_model_t *m) {
  tinker__map_remove(s->model_by_id, tinker__str(m->id));
  tinker__list_remove(&m->link);
  tinker__list_remove(&m->by_session);
  tinker__svc_model_free(s, m);
}

void tinker__svc_model_free(tinker__svc_t *s, tinker__svc_model_t *m) {
  tinker__link_t *l;
  if (!m) return;
  tinker__list_remove(&m->parked);
  if (m->base) tinker__svc_base_drop(m->base, &m->holds);
  while ((l = tinker__list_pop_front(&m->ops)) != NULL) {
    tinker__svc_op_free(TINKER__CONTAINER(l, tinker__svc_op_t, all));
  }
  while ((l = tinker__list_pop_front(&m->checkpoints)) != NULL) {
    tinker__svc_checkpoint_free(
        s, TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link));
  }
  tinker__mem_free(s->mem, m->id);
  tinker__mem_free(s->mem, m->metadata);
  tinker__mem_free(s->mem, m->broken);
  tinker__mem_free(s->mem, m);
}

tinker__svc_model_t *tinker__svc_model_new(tinker__svc_t *s,
                                           tinker__svc_session_t *session,
                                           int64_t seq) {
  tinker__svc_model_t *m = tinker__mem_zalloc(s->mem, sizeof *m);
  if (!m) return NULL;
  tinker__list_init(&m->link);
  tinker__list_init(&m->by_session);
  tinker__list_init(&m->pending);
  tinker__list_init(&m->ops);
  tinker__list_init(&m->checkpoints);
  tinker__list_init(&m->parked);
  tinker__list_init(&m->task.link);
  m->task.step = s->runner->step;
  m->service = s;
  m->session = session;
  m->seq = seq;
  m->id = tinker__mem_alloc(s->mem, 80);
  if (!m->id) {
    tinker__mem_free(s->mem, m);
    return NULL;
  }
  snprintf(m->id, 80, "%s:train:%lld", session->id, (long long)seq);
  return m;
}

void tinker__svc_model_enqueue(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  tinker__link_t *at = m->pending.prev;
  while (at != &m->pending &&
         TINKER__CONTAINER(at, tinker__svc_op_t, link)->seq > op->seq) {
    at = at->prev;
  }
  tinker__list_insert_before(at->next, &op->link);
}

/* The call to execute next, or NULL. Steps over numbers of rejected calls. */
static tinker__svc_op_t *next_op(tinker__svc_model_t *m) {
  tinker__link_t *l;
  while ((l = tinker__list_first(&m->pending)) != NULL) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, link);
    if (op->seq != m->next_seq || !tinker__svc_op_logged(op) ||
        op->paused_until_ms) {
      return NULL;
    }
    if (op->state != TINKER__SVC_OP_REJECTED) return op;
    tinker__list_remove(l);
    m->next_seq++;
  }
  return NULL;
}

bool tinker__svc_model_is_over(const tinker__svc_model_t *m) {
  return tinker__svc_session_over(m->session) &&
         tinker__list_empty(&m->pending);
}

/* Moves the model and pushes its task. */
static void push(tinker__svc_model_t *m, tinker__svc_model_state_t state) {
  if (!tinker__svc_model_move(m, state)) return;
  tinker__eng_scheduler_push(m->service->scheduler, &m->task);
}

void tinker__svc_model_kick(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  if (m->state != TINKER__SVC_MODEL_IDLE || s->stopping || !s->scheduler) {
    return;
  }
  if (next_op(m) || tinker__svc_model_is_over(m)) {
    push(m, TINKER__SVC_MODEL_QUEUED);
  }
}

/* True for a parked model that could not leave memory since it was parked. It
 * is tried again first, even with its memory. */
static bool has_stayed(const tinker__svc_model_t *m) {
  return m->rests_ms > m->retry_ms - m->pause_ms;
}

void tinker__svc_models_rest(tinker__svc_t *s, int64_t now_ms) {
  int64_t idle = s->config.idle_ms;
  if (s->stopping || !s->scheduler) return;
  if (atomic_exchange(&s->pressed, false) && idle > PRESSED_MS) {
    idle = PRESSED_MS;
  }
  TINKER__LIST_EACH(l, tmp, &s->models) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    if (!m->rests_ms || now_ms - m->rests_ms < idle) continue;
    if (m->state == TINKER__SVC_MODEL_IDLE) push(m, TINKER__SVC_MODEL_LEAVING);
    if (m->state == TINKER__SVC_MODEL_PARKED && !has_stayed(m)) {
      push(m, TINKER__SVC_MODEL_YIELDING);
    }
  }
}

/* A parked model's task only takes it out of memory and begins no call. */
tinker__svc_op_t *tinker__svc_model_begin(tinker__svc_model_t *m) {
  tinker__svc_op_t *op =
      m->state == TINKER__SVC_MODEL_YIELDING ? NULL : next_op(m);
  if (!op || !tinker__svc_model_move(m, TINKER__SVC_MODEL_RUNNING)) return NULL;
  tinker__list_remove(&op->link);
  if (!op->redo) tinker__svc_op_move(op, TINKER__SVC_OP_RUNNING);
  m->current = op;
  return op;
}

void tinker__svc_model_done(tinker__svc_model_t *m) {
  bool yields = m->state == TINKER__SVC_MODEL_YIELDING;
  tinker__svc_model_move(m, yields ? TINKER__SVC_MODEL_PARKED
                                   : TINKER__SVC_MODEL_IDLE);
  tinker__svc_model_kick(m);
}

void tinker__svc_model_retire(tinker__svc_model_t *m) {
  tinker__list_remove(&m->parked);
  m->rests_ms = 0;
  tinker__svc_base_drop(m->base, &m->holds);
  tinker__svc_model_move(m, TINKER__SVC_MODEL_OVER);
}

/* Fails a call after a gap. A call that is still being written to the log is
 * left alone: log.c ends the model once more when that is done. */
static void fail_gap(tinker__svc_op_t *op, int64_t missing) {
  if (!tinker__svc_op_logged(op)) return;
  tinker__list_remove(&op->link);
  if (op->state != TINKER__SVC_OP_WAITING) return;
  tinker__svc_op_fail_locked(
      op, "user", "waiting for seq_id %lld, and the session has ended",
      (long long)missing);
}

bool tinker__svc_model_awaited(const tinker__svc_model_t *m) {
  TINKER__LIST_EACH(l, tmp, &m->pending) {
    if (tinker__svc_op_pending(TINKER__CONTAINER(l, tinker__svc_op_t, link))) {
      return true;
    }
  }
  return false;
}

void tinker__svc_model_end(tinker__svc_model_t *m) {
  int64_t next = m->next_seq;
  /* Calls before the first gap still run. The call that is being executed is
   * not in the list any more. */
  if (m->current) next = m->current->seq + 1;
  bool gap = false;
  if (!tinker__svc_model_awaited(m)) { /* no result needs the restored model */
    while (tinker__list_pop_front(&m->pending)) {
    }
  }
  TINKER__LIST_EACH(l, tmp, &m->pending) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, link);
    if (op->seq != next) gap = true;
    if (gap) {
      fail_gap(op, next);
    } else {
      next++;
    }
  }
  /* The call that it was parked for is not executed any more. */
  if (m->state == TINKER__SVC_MODEL_PARKED && tinker__svc_model_is_over(m)) {
    tinker__svc_model_unpark(m);
  } else {
    tinker__svc_model_kick(m);
  }
}

static void on_broken(void *user, int rc) {
  tinker__svc_model_t *m = user;
  if (rc == 0) return;
  tinker__svc_fatal(m->service, "a broken model could not be noted");
}

int tinker__svc_model_break(tinker__svc_model_t *m, const char *why) {
  tinker__mem_t *mem = m->service->mem;
  if (m->broken) return 0;
  char *copy = tinker__mem_strdup(mem, why);
  if (!copy) return TINKER_ENOMEM;
  tinker__db_write_t *w = tinker__db_write_new(m->service->store, on_broken, m);
  tinker__db_write_sql(w, "UPDATE models SET broken = ? WHERE row = ?");
  tinker__db_write_text(w, why);
  tinker__db_write_i64(w, m->row);
  int rc = tinker__db_write_submit(w);
  if (rc == 0) {
    m->broken = copy;
  } else {
    tinker__mem_free(mem, copy);
  }
  return rc;
}

bool tinker__svc_model_refused(tinker__svc_t *s, tinker__svc_req_t *r) {
  int64_t live = 0;
  TINKER__LIST_EACH(l, tmp, &s->models) {
    if (!tinker__svc_session_over(
            TINKER__CONTAINER(l, tinker__svc_model_t, link)->session)) {
      live++;
    }
  }
  if (live < s->config.max_models) return false;
  r->retry_after_s = 5;
  tinker__svc_reply_error(r, 429,
                          "there are %lld models of live sessions, as many as "
                          "--max-models lets in: end a session",
                          (long long)live);
  return true;
}
