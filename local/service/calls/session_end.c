/* session_end: a session ends, is expired, and its results are dropped. Under
 * the service's lock; what follows a commit on the store thread. */
#include <tinker/error.h>

#include "service/calls/calls.h"

#define LOOK_MS 1000 /* between two looks of the timer */
#define MOST 50      /* sessions that one call begins to purge or to drop */

/* Until this is stored the ack of the session holds those who ended it. */
static void on_end_stored(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) tinker__svc_fatal(s, "a session's end could not be stored");
  tinker__svc_lock(s);
  if (rc == 0) {
    tinker__svc_other(s, "sessions/*/finish", n->id);
    tinker__svc_ack_commit(s, &n->ack);
  } else {
    tinker__svc_ack_fail(s, &n->ack);
  }
  tinker__svc_unlock(s);
}

int tinker__svc_session_end(tinker__svc_t *s, tinker__svc_session_t *n,
                            const char *reason) {
  int64_t now = s->world->wall_ms(s->world->user);
  tinker__db_write_t *w = tinker__db_write_new(s->store, on_end_stored, n);
  tinker__db_write_sql(
      w, "UPDATE sessions SET ended_ms = ?, end_reason = ? WHERE row = ?");
  tinker__db_write_i64(w, now);
  tinker__db_write_text(w, reason);
  tinker__db_write_i64(w, n->row);
  int rc = tinker__db_write_submit(w);
  if (rc != 0) return rc;
  n->ack.durable = false;
  n->ended_ms = now;
  n->end_reason = tinker__mem_strdup(s->mem, reason);
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_end(
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session));
  }
  TINKER__LIST_EACH(k, next, &n->samplers) {
    tinker__svc_sampler_end(
        TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session));
  }
  return 0;
}

void tinker__svc_session_expire(tinker__svc_t *s, int64_t now_ms) {
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (n->ended_ms || !n->ack.durable ||
        now_ms - n->seen_ms < s->config.session_ms) {
      continue;
    }
    /* Without memory: at the next tick. */
    tinker__svc_session_end(s, n, "no heartbeat");
  }
}

/* Nobody could show a sign of life while this process was stopped (SIGSTOP, a
 * virtual machine's pause): that time does not count against anybody. It is
 * seen as a look that is late. */
static void grant_pause(tinker__svc_t *s, int64_t now_ms) {
  int64_t lost = now_ms - s->looked_ms - LOOK_MS;
  s->looked_ms = now_ms;
  if (lost < LOOK_MS) return;
  s->beat_ms += lost;
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    n->seen_ms += lost < now_ms - n->seen_ms ? lost : now_ms - n->seen_ms;
  }
}

void tinker__svc_session_look(tinker__svc_t *s, int64_t now_ms) {
  grant_pause(s, now_ms);
  tinker__svc_session_expire(s, now_ms);
}

static bool has_pending(const tinker__link_t *ops) {
  TINKER__LIST_EACH(l, tmp, ops) {
    const tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->state == TINKER__SVC_OP_PENDING || !op->ack.durable) return true;
  }
  return false;
}

/* Something of it is still to be executed. Calls that are done, or were
 * refused, are what the next ones stand on, after a restart too. */
static bool is_under_way(const tinker__svc_session_t *n) {
  TINKER__LIST_EACH(l, tmp, &n->models) {
    const tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    if (m->current || !tinker__list_empty(&m->pending) ||
        has_pending(&m->ops)) {
      return true;
    }
  }
  TINKER__LIST_EACH(k, next, &n->samplers) {
    if (has_pending(
            &TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session)->ops)) {
      return true;
    }
  }
  return false;
}

/* Results of one owner: out of memory; the caller drops the rows. */
static void drop_ops(tinker__svc_t *s, tinker__link_t *ops) {
  TINKER__LIST_EACH(l, tmp, ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    tinker__map_remove(s->op_by_id, tinker__str(op->request_id));
    tinker__list_remove(&op->all);
    tinker__list_remove(&op->link);
    tinker__svc_op_free(op);
  }
}

static void drop_rows(tinker__db_write_t *w, int owner_kind, int64_t owner) {
  tinker__db_write_sql(w,
                       "DELETE FROM requests WHERE owner_kind = ? AND owner = ?"
                       " AND state != 0");
  tinker__db_write_i64(w, owner_kind);
  tinker__db_write_i64(w, owner);
}

/* Snapshots are for the calls to come: there are none. Store thread. */
static void on_purged(void *user, int rc) {
  char dir[1200];
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) return; /* at the next start */
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    tinker__svc_lock(s);
    int64_t row = m->snapshot;
    m->snapshot = 0;
    tinker__svc_unlock(s);
    tinker__svc_checkpoint_dir(s, "snapshots", row, dir, sizeof dir);
    if (row) tinker__svc_folder_remove(dir);
  }
}

static void purge(tinker__svc_t *s, tinker__svc_session_t *n) {
  tinker__db_write_t *w = tinker__db_write_new(s->store, on_purged, n);
  tinker__db_write_sql(w,
                       "UPDATE models SET snapshot = NULL, snapshot_seq = NULL"
                       " WHERE session = ?");
  tinker__db_write_i64(w, n->row);
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    drop_ops(s, &m->ops);
    drop_rows(w, 0, m->row);
  }
  TINKER__LIST_EACH(l, tmp, &n->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(l, tinker__svc_sampler_t, by_session);
    drop_ops(s, &p->ops);
    drop_rows(w, 1, p->row);
  }
  n->purged = true;
  tinker__db_write_submit(w);
}

/* Its end is stored, and so is what was submitted before. */
static bool is_over(const tinker__svc_session_t *n, int64_t now) {
  return n->ended_ms && n->ack.durable &&
         now - n->ended_ms >= n->service->config.keep_ms && !is_under_way(n);
}

bool tinker__svc_session_purge(tinker__svc_t *s) {
  int64_t now = s->world->wall_ms(s->world->user);
  int most = MOST;
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (n->purged) {
      if (tinker__svc_session_drop(n)) most--;
    } else if (is_over(n, now)) {
      purge(s, n);
      most--;
    }
    if (most <= 0) return true;
  }
  return false;
}
