/* session_end: ends and expires sessions, and drops the results of those that
 * ended long ago. Under the service's lock; after a commit on the store thread.
 */
#include <tinker/error.h>

#include "service/calls/calls.h"

#define LOOK_MS 1000 /* between two looks of the timer */
#define MOST 50      /* sessions that one call begins to purge or to drop */

/* Called when the end of a session is stored. The requests that ended it wait
 * in its ack until then. */
static void on_end_stored(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) tinker__svc_fatal(s, "a session's end could not be stored");
  tinker__svc_lock(s);
  if (rc == 0) {
    tinker__svc_session_move(n, TINKER__SVC_SESSION_ENDED);
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
  tinker__svc_session_move(n, TINKER__SVC_SESSION_ENDING);
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
    if (n->state != TINKER__SVC_SESSION_LIVE ||
        now_ms - n->seen_ms < s->config.session_ms) {
      continue;
    }
    /* Without memory it is tried again at the next tick. */
    tinker__svc_session_end(s, n, "no heartbeat");
  }
}

/* While this process was stopped (SIGSTOP, a virtual machine's pause) no
 * session could show a sign of life, so that time does not count. A look that
 * is late shows it. */
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
    if (tinker__svc_op_pending(op) || !tinker__svc_op_logged(op)) return true;
  }
  return false;
}

/* True when the session has calls that are still to be executed. Its other
 * calls are kept meanwhile, since a restart needs them to execute the rest. */
static bool is_under_way(const tinker__svc_session_t *n) {
  if (n->arriving) return true;
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

/* Frees the calls of one owner; the caller deletes their rows. */
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

/* Removes the snapshots of the session's models, which have no more calls.
 * Store thread. */
static void on_purged(void *user, int rc) {
  char dir[1200];
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) return; /* the next start purges it again */
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
  tinker__svc_session_move(n, TINKER__SVC_SESSION_PURGED);
  tinker__db_write_submit(w); /* if it fails the next start purges again */
}

static bool is_due(const tinker__svc_session_t *n, int64_t now) {
  return n->state == TINKER__SVC_SESSION_ENDED &&
         now - n->ended_ms >= n->service->config.keep_ms && !is_under_way(n);
}

bool tinker__svc_session_purge(tinker__svc_t *s) {
  int64_t now = s->world->wall_ms(s->world->user);
  int most = MOST;
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (is_due(n, now)) {
      purge(s, n);
      most--;
    } else if (tinker__svc_session_drop(n, now)) {
      most--;
    }
    if (most <= 0) return true;
  }
  return false;
}
