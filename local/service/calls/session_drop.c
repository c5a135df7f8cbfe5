/* session_drop: a session whose results are gone and that left no checkpoint
 * is forgotten: its rows first, then what memory holds of it. Its ids are
 * unknown from then on.
 *
 * Nobody else can change such a session or anything of it: it has ended, all
 * its calls are over, and no task of its models is with the engine any more.
 * Three steps follow each other: the sweep chooses it (timer thread, under the
 * service's lock), the engine thread lets go of the adapters of its samplers,
 * and when its rows are gone the store thread frees it. A write that was
 * submitted earlier and names a part of it has been told by then: the store's
 * thread keeps the order. */
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

bool tinker__svc_session_drop(tinker__svc_session_t *n) {
  tinker__svc_t *s = n->service;
  if (n->state != TINKER__SVC_SESSION_PURGED || !is_empty(n)) return false;
  if (s->stopping || !s->scheduler) return false;
  if (!tinker__svc_session_move(n, TINKER__SVC_SESSION_LEAVING)) return false;
  n->task.step = s->runner->leave;
  tinker__eng_scheduler_push(s->scheduler, &n->task);
  return true;
}

/* A snapshot that was being stored when the results went has come after
 * them. */
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

/* Where the store can't, the next start tries again. A stop walks over models
 * without the lock, and frees them itself. Store thread. */
static void on_deleted(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) return;
  remove_snapshots(n);
  tinker__svc_lock(s);
  if (!s->stopping) forget(s, n);
  tinker__svc_unlock(s);
}

/* That a snapshot's folder is of no use is noted by a trigger when its row lets
 * go of it. */
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
