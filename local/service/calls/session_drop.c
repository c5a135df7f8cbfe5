/* session_drop: forgets a session whose results are gone and that left no
 * checkpoint. Its rows are deleted first, then the session and its models and
 * samplers are freed. Their ids are unknown from then on.
 *
 * No other code can change such a session, since it has ended, all its calls
 * are over, and the engine has no task of its models any more. There are three
 * steps. The sweep chooses the session (timer thread, under the service's
 * lock). The engine thread releases the adapters of its samplers. The store
 * thread frees the session when its rows are gone. The callbacks of all earlier
 * writes that name the session have run by then, since the store's thread keeps
 * the order. */
#include "service/calls/calls.h"

/* True when the engine has no part of the session any more, and no checkpoint
 * is left. A checkpoint stays in the list until its row is deleted. */
static bool is_empty(const tinker__svc_session_t *n) {
  TINKER__LIST_EACH(l, tmp, &n->models) {
    const tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    if (m->state != TINKER__SVC_MODEL_OVER) return false;
    if (!tinker__list_empty(&m->checkpoints)) return false;
  }
  return true;
}

/* A client that was asleep for some hours must find that its session has ended,
 * which ends its work, and not that somebody has mistaken an id. */
bool tinker__svc_session_drop(tinker__svc_session_t *n, int64_t now_ms) {
  tinker__svc_t *s = n->service;
  if (n->state != TINKER__SVC_SESSION_PURGED || !is_empty(n)) return false;
  if (now_ms - n->ended_ms < s->config.forget_ms) return false;
  if (s->stopping || !s->scheduler) return false;
  if (!tinker__svc_session_move(n, TINKER__SVC_SESSION_LEAVING)) return false;
  n->task.step = s->runner->leave;
  tinker__eng_scheduler_push(s->scheduler, &n->task);
  return true;
}

/* Removes the snapshots that were still being stored when the results were
 * dropped. */
static void remove_snapshots(const tinker__svc_session_t *n) {
  char dir[1200];
  TINKER__LIST_EACH(l, tmp, &n->models) {
    const tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    if (!m->snapshot) continue;
    tinker__svc_checkpoint_dir(n->service, "snapshots", m->snapshot, dir,
                               sizeof dir);
    tinker__svc_folder_remove(dir);
  }
}

static void forget(tinker__svc_t *s, tinker__svc_session_t *n) {
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_forget(
        s, TINKER__CONTAINER(l, tinker__svc_model_t, by_session));
  }
  TINKER__LIST_EACH(k, next, &n->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session);
    tinker__svc_sampler_forget(s, p);
    tinker__svc_sampler_free(s, p);
  }
  tinker__map_remove(s->session_by_id, tinker__str(n->id));
  if (n->idem_key) {
    tinker__map_remove(s->session_by_key, tinker__str(n->idem_key));
  }
  tinker__list_remove(&n->link);
  tinker__svc_session_free(s, n);
}

/* Frees a session whose rows were deleted. If that failed the next start tries
 * again. While the service stops nothing is freed here: the stop walks over
 * models without the lock, and frees them itself. Store thread. */
static void on_deleted(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) return;
  remove_snapshots(n);
  tinker__svc_lock(s);
  if (!s->stopping) forget(s, n);
  tinker__svc_unlock(s);
}

/* The first statement clears the models' snapshots, so that a trigger notes
 * that their folders are of no use. */
int tinker__svc_session_delete(tinker__svc_session_t *n) {
  static const char *const statements[] = {
      "UPDATE models SET snapshot = NULL, snapshot_seq = NULL"
      " WHERE session = ?",
      "DELETE FROM requests WHERE owner_kind = 0 AND owner IN"
      " (SELECT row FROM models WHERE session = ?)",
      "DELETE FROM requests WHERE owner_kind = 1 AND owner IN"
      " (SELECT row FROM samplers WHERE session = ?)",
      "DELETE FROM models WHERE session = ?",
      "DELETE FROM samplers WHERE session = ?",
      "DELETE FROM sessions WHERE row = ?"};
  tinker__svc_t *s = n->service;
  tinker__db_write_t *w = tinker__db_write_new(s->store, on_deleted, n);
  for (size_t i = 0; w && i < sizeof statements / sizeof *statements; i++) {
    tinker__db_write_sql(w, statements[i]);
    tinker__db_write_i64(w, n->row);
  }
  return tinker__db_write_submit(w);
}
