/* checkpoint_change: deletes and publishes checkpoints, gives them another time
 * to live, and deletes those whose time is over. Under the service's lock;
 * after the commit on the store thread.
 *
 * A change is stored first and acknowledged afterwards. Its checkpoint may be
 * deleted or replaced meanwhile, so it is found again by its row, whose number
 * is not reused. A folder is removed only when no row names it any more. No log
 * and no snapshot of a model needs the folder of a checkpoint. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/calls/calls.h"

typedef struct {
  tinker__svc_t *service;
  tinker__svc_req_t *r; /* parked until it is stored; NULL = by the sweep */
  tinker__svc_ckpt_change_t kind;
  int64_t row, expires_ms; /* TINKER__CKPT_EXPIRES: the new time,
                              TINKER__CKPT_EXPIRED: the old one */
} change_t;

/* Notes the change in the ledger, with its method, since publish and unpublish
 * have the same path. */
static void note(const change_t *n, const tinker__svc_checkpoint_t *c) {
  char endpoint[120] = "expired", path[TINKER__SVC_PATH_LEN];
  const tinker__svc_route_t *route = n->r ? n->r->route : NULL;
  if (!c->name) return;
  if (route) {
    snprintf(endpoint, sizeof endpoint, "%s %s", route->method,
             route->path + strlen("api/v1/"));
  }
  tinker__svc_checkpoint_path(c, path);
  tinker__svc_other(n->service, endpoint, path);
}

/* Applies a stored change. True when it has deleted the checkpoint. Under the
 * lock. */
static bool apply(const change_t *n, tinker__svc_checkpoint_t *c) {
  switch (n->kind) {
  case TINKER__CKPT_PUBLISHED: c->published = true; return false;
  case TINKER__CKPT_UNPUBLISHED: c->published = false; return false;
  case TINKER__CKPT_EXPIRES: c->expires_ms = n->expires_ms; return false;
  case TINKER__CKPT_EXPIRED:
    c->leaving = false;
    if (c->expires_ms != n->expires_ms) return false; /* its row stayed, too */
    break;
  default: break;
  }
  tinker__list_remove(&c->link);
  tinker__svc_checkpoint_free(n->service, c);
  return true;
}

static void answer(const change_t *n, int rc, bool found) {
  if (!n->r) return;
  if (rc != 0) {
    tinker__svc_reply_error(n->r, 503, "the change could not be stored");
  } else if (!found) {
    tinker__svc_reply_error(
        n->r, 404,
        "checkpoint not found: it was deleted or replaced meanwhile");
  } else {
    tinker__svc_reply_empty(n->r, 204);
  }
  tinker__svc_req_resume(n->r);
}

static void on_stored(void *user, int rc) {
  char dir[1200];
  change_t *n = user;
  tinker__svc_t *s = n->service;
  bool gone = false;
  tinker__svc_lock(s);
  tinker__svc_checkpoint_t *c = tinker__svc_checkpoint_by_row(s, n->row);
  if (rc == 0 && c) {
    note(n, c);
    gone = apply(n, c);
  } else if (c && !n->r) {
    c->leaving = false; /* the sweep tries again */
  }
  tinker__svc_unlock(s);
  if (gone) {
    tinker__svc_checkpoint_dir(s, "checkpoints", n->row, dir, sizeof dir);
    tinker__svc_folder_remove(dir);
  }
  tinker__svc_settle(s);
  answer(n, rc, c != NULL);
  tinker__mem_free(s->mem, n);
}

/* Writes the statement of a change. An expired checkpoint is deleted only if it
 * still expires at that time, so that a longer life stored before is kept. */
static void write_change(tinker__db_write_t *w, const change_t *n) {
  switch (n->kind) {
  case TINKER__CKPT_DELETED:
    tinker__db_write_sql(w, "DELETE FROM checkpoints WHERE row = ?");
    break;
  case TINKER__CKPT_EXPIRED:
    tinker__db_write_sql(
        w, "DELETE FROM checkpoints WHERE expires_ms = ? AND row = ?");
    tinker__db_write_i64(w, n->expires_ms);
    break;
  case TINKER__CKPT_EXPIRES:
    tinker__db_write_sql(w,
                         "UPDATE checkpoints SET expires_ms = ? WHERE row = ?");
    tinker__db_write_i64(w, n->expires_ms);
    break;
  default:
    tinker__db_write_sql(w, "UPDATE checkpoints SET public = ? WHERE row = ?");
    tinker__db_write_i64(w, n->kind == TINKER__CKPT_PUBLISHED);
  }
  tinker__db_write_i64(w, n->row);
}

bool tinker__svc_checkpoint_change(tinker__svc_t *s, tinker__svc_req_t *r,
                                   const tinker__svc_checkpoint_t *c,
                                   tinker__svc_ckpt_change_t kind,
                                   int64_t expires_ms) {
  change_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  if (!n) return false;
  *n = (change_t){s, r, kind, c->row, expires_ms};
  tinker__db_write_t *w = tinker__db_write_new(s->store, on_stored, n);
  if (w) write_change(w, n);
  if (tinker__db_write_submit(w) == 0) return true;
  tinker__mem_free(s->mem, n);
  return false;
}

/* True for an ephemeral checkpoint whose session is purged: only that session
 * could sample from it. */
static bool is_left_over(const tinker__svc_checkpoint_t *c) {
  return c->kind == TINKER__CKPT_EPHEMERAL &&
         tinker__svc_session_purged(c->model->session);
}

void tinker__svc_checkpoints_expire(tinker__svc_t *s) {
  int64_t now = s->world->wall_ms(s->world->user);
  TINKER__LIST_EACH(l, tmp, &s->models) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    TINKER__LIST_EACH(k, next, &m->checkpoints) {
      tinker__svc_checkpoint_t *c =
          TINKER__CONTAINER(k, tinker__svc_checkpoint_t, link);
      if (!c->durable || c->leaving) continue;
      if (c->expires_ms && c->expires_ms <= now) {
        c->leaving = tinker__svc_checkpoint_change(
            s, NULL, c, TINKER__CKPT_EXPIRED, c->expires_ms);
      } else if (is_left_over(c)) {
        c->leaving =
            tinker__svc_checkpoint_change(s, NULL, c, TINKER__CKPT_DELETED, 0);
      }
    }
  }
}
