/* rest_checkpoint: a checkpoint is deleted, published, or given another time
 * to live (protocol 2.6), and goes when that is over. HTTP and timer thread;
 * what follows the commit on the store thread.
 *
 * A change is stored first and told afterwards. Its checkpoint may be deleted
 * or replaced while that happens: it is known by its row, which is never used
 * again. A folder goes only when no row names it any more; no log and no
 * snapshot of a model reads one. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/fault/fault.h"
#include "service/tinker/handlers.h"

typedef enum {
  DELETED,
  PUBLISHED,
  UNPUBLISHED,
  EXPIRES, /* at another time */
  EXPIRED
} change_kind_t;

typedef struct {
  tinker__svc_t *service;
  tinker__svc_req_t *r; /* parked until it is stored; NULL = of the sweep */
  change_kind_t kind;
  int64_t row, expires_ms; /* EXPIRES: the new time, EXPIRED: the old one */
} change_t;

/* --- Which one ------------------------------------------------------------ */

/* The checkpoint of the path's run, kind and name; NULL = r is answered. Under
 * the lock. */
static tinker__svc_checkpoint_t *find(tinker__svc_t *s, tinker__svc_req_t *r) {
  char path[700], why[300];
  tinker__svc_checkpoint_t *c = NULL;
  const tinker__str_t *part = r->capture;
  size_t len = part[0].len + part[1].len + part[2].len;
  if (tinker__svc_ends(s)) {
    tinker__svc_reply_error(r, 503, "the service is shutting down");
    return NULL;
  }
  if (len > sizeof path - 20) {
    tinker__svc_reply_error(r, 404, "checkpoint not found: the id is too long");
    return NULL;
  }
  snprintf(path, sizeof path, "tinker://%.*s/%.*s/%.*s", (int)part[0].len,
           part[0].ptr, (int)part[1].len, part[1].ptr, (int)part[2].len,
           part[2].ptr);
  int rc =
      tinker__svc_checkpoint_lookup(s, tinker__str(path), &c, why, sizeof why);
  if (rc == 0) return c;
  tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
  return NULL;
}

/* In the ledger, by method: two changes share a path. */
static void note(const change_t *n, const tinker__svc_checkpoint_t *c) {
  char endpoint[120] = "expired", path[600];
  const tinker__svc_route_t *route = n->r ? n->r->route : NULL;
  if (!c->name) return;
  if (route) {
    snprintf(endpoint, sizeof endpoint, "%s %s", route->method,
             route->path + strlen("api/v1/"));
  }
  snprintf(path, sizeof path, "tinker://%s/%s/%s", c->model->id,
           c->kind == TINKER__CKPT_TRAINING ? "weights" : "sampler_weights",
           c->name);
  tinker__svc_ledger_other(n->service, endpoint, path);
}

/* --- After the commit ----------------------------------------------------- */

/* True when the checkpoint is gone by it. Under the lock. */
static bool apply(const change_t *n, tinker__svc_checkpoint_t *c) {
  switch (n->kind) {
  case PUBLISHED: c->published = true; return false;
  case UNPUBLISHED: c->published = false; return false;
  case EXPIRES: c->expires_ms = n->expires_ms; return false;
  case EXPIRED:
    c->leaving = false;
    if (c->expires_ms != n->expires_ms) return false; /* nor was its row */
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
  pthread_mutex_lock(&s->lock);
  tinker__svc_checkpoint_t *c = tinker__svc_checkpoint_by_row(s, n->row);
  if (rc == 0 && c) {
    note(n, c);
    gone = apply(n, c);
  } else if (c && !n->r) {
    c->leaving = false; /* at another tick */
  }
  pthread_mutex_unlock(&s->lock);
  if (gone) {
    tinker__svc_checkpoint_dir(s, "checkpoints", n->row, dir, sizeof dir);
    tinker__svc_folder_remove(dir);
  }
  answer(n, rc, c != NULL);
  tinker__mem_free(s->mem, n);
}

/* --- Storing it ----------------------------------------------------------- */

/* An expired one goes if it still expires then: a longer life that was stored
 * before is kept. */
static void write_change(tinker__svc_write_t *w, const change_t *n) {
  switch (n->kind) {
  case DELETED:
    tinker__svc_write_sql(w, "DELETE FROM checkpoints WHERE row = ?");
    break;
  case EXPIRED:
    tinker__svc_write_sql(
        w, "DELETE FROM checkpoints WHERE expires_ms = ? AND row = ?");
    tinker__svc_write_i64(w, n->expires_ms);
    break;
  case EXPIRES:
    tinker__svc_write_sql(
        w, "UPDATE checkpoints SET expires_ms = ? WHERE row = ?");
    tinker__svc_write_i64(w, n->expires_ms);
    break;
  default:
    tinker__svc_write_sql(w, "UPDATE checkpoints SET public = ? WHERE row = ?");
    tinker__svc_write_i64(w, n->kind == PUBLISHED);
  }
  tinker__svc_write_i64(w, n->row);
}

/* False without memory. Under the lock. */
static bool submit(tinker__svc_t *s, tinker__svc_req_t *r,
                   const tinker__svc_checkpoint_t *c, change_kind_t kind,
                   int64_t expires_ms) {
  change_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  if (!n) return false;
  *n = (change_t){s, r, kind, c->row, expires_ms};
  tinker__svc_write_t *w = tinker__svc_write_new(s->store, on_stored, n);
  if (w) write_change(w, n);
  if (tinker__svc_write_submit(w) == 0) return true;
  tinker__mem_free(s->mem, n);
  return false;
}

static tinker__svc_handled_t change(tinker__svc_t *s, tinker__svc_req_t *r,
                                    change_kind_t kind, int64_t expires_ms) {
  tinker__svc_handled_t h = TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  tinker__svc_checkpoint_t *c = find(s, r);
  if (c && (kind == PUBLISHED || kind == UNPUBLISHED) &&
      c->published == (kind == PUBLISHED)) {
    tinker__svc_reply_error(r, 409, "the checkpoint is already %s",
                            c->published ? "public" : "private");
  } else if (c && submit(s, r, c, kind, expires_ms)) {
    h = TINKER__PARKED;
  } else if (c) {
    tinker__svc_reply_error(r, 503, "out of memory");
  }
  pthread_mutex_unlock(&s->lock);
  return h;
}

tinker__svc_handled_t
tinker__svc_handle_delete_checkpoint(tinker__svc_t *s, tinker__svc_req_t *r) {
  return change(s, r, DELETED, 0);
}

tinker__svc_handled_t tinker__svc_handle_publish(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  return change(s, r, PUBLISHED, 0);
}

tinker__svc_handled_t tinker__svc_handle_unpublish(tinker__svc_t *s,
                                                   tinker__svc_req_t *r) {
  return change(s, r, UNPUBLISHED, 0);
}

/* --- Expiry --------------------------------------------------------------- */

/* The only ones that could sample from it were those of its own session. */
static bool is_left_over(const tinker__svc_checkpoint_t *c) {
  return c->kind == TINKER__CKPT_EPHEMERAL && c->model->session->purged;
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
        c->leaving = submit(s, NULL, c, EXPIRED, c->expires_ms);
      } else if (is_left_over(c)) {
        c->leaving = submit(s, NULL, c, DELETED, 0);
      }
    }
  }
}

/* --- ttl ------------------------------------------------------------------ */

/* Whether the body, a valid object, has the key at all: null means something
 * here. */
static bool has_key(tinker__svc_t *s, tinker__str_t body, const char *name) {
  tinker__json_t j;
  tinker__str_t key;
  bool found = false;
  tinker__json_init(&j, s->mem, body.ptr, body.len);
  bool ok = tinker__json_object(&j);
  while (ok && !found && tinker__json_key(&j, &key)) {
    found = tinker__str_eqs(key, name);
    if (!found) ok = tinker__json_skip(&j);
  }
  tinker__json_done(&j);
  return found;
}

tinker__svc_handled_t tinker__svc_handle_set_ttl(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  char why[200];
  tinker__svc_body_t b;
  int64_t ttl = 0, expires = 0;
  bool given = false;
  const tinker__svc_field_t fields[] = {
      {"ttl_seconds", TINKER__FIELD_I64, false, &ttl, &given}};
  if (tinker__svc_body_read(&b, r, fields, 1) != 0) return TINKER__ANSWERED;
  tinker__svc_body_done(&b);
  if (!has_key(s, tinker__buf_str(&r->body), "ttl_seconds")) {
    return tinker__svc_reply_error(r, 422,
                                   "ttl_seconds is required: seconds from "
                                   "now, or null for no expiry");
  }
  if (tinker__svc_check_ttl(ttl, given, why, sizeof why) != 0) {
    return tinker__svc_reply_error(r, 400, "%s", why);
  }
  if (given) expires = s->world->wall_ms(s->world->user) + ttl * 1000;
  return change(s, r, EXPIRES, expires);
}
