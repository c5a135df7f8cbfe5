/* checkpoint: see checkpoint.h. A folder appears whole or not at all.
 *
 * <state>/checkpoints/<row> and <state>/snapshots/<row> are written as
 * <row>.tmp, whose files the engine fsyncs. The folder is then renamed and its
 * parent fsynced, and only after that its row is committed. state_dir.h says
 * how a start treats a folder without a row. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tinker/error.h>

#include "base/file.h"
#include "service/core/core.h"
#include "service/store/marker.h"
#include "wire/path.h"

/* --- Folders -------------------------------------------------------------- */

void tinker__svc_checkpoint_dir(tinker__svc_t *s, const char *kind, int64_t row,
                                char *out, size_t len) {
  snprintf(out, len, "%s/%s/%lld", s->state_dir, kind, (long long)row);
}

/* Removes a folder of ours, which holds files only. A link in its place is not
 * followed. */
void tinker__svc_folder_remove(const char *dir) {
  struct dirent *e;
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d) {
    if (fd >= 0) close(fd);
    return;
  }
  while ((e = readdir(d)) != NULL) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    unlinkat(fd, e->d_name, 0);
  }
  closedir(d);
  rmdir(dir);
}

int tinker__svc_folder_begin(tinker__svc_t *s, const char *dir, int64_t row,
                             char *tmp, size_t len, char *why, size_t why_len) {
  tinker__svc_marker_t m = {
      .row = row,
      .commits = tinker__db_commits(s->store),
  };
  snprintf(m.store, sizeof m.store, "%s", s->store_id);
  snprintf(tmp, len, "%s.tmp", dir);
  tinker__svc_folder_remove(tmp);
  if (mkdir(tmp, 0700) == 0) {
    return tinker__svc_marker_write(s->world, s->mem, tmp, &m, why, why_len);
  }
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", tmp, strerror(errno));
}

int tinker__svc_folder_commit(tinker__svc_t *s, const char *tmp,
                              const char *dir, char *why, size_t why_len) {
  char parent[1200];
  int rc = tinker__file_sync_dir(s->world, tmp, why, why_len);
  if (rc != 0) return rc;
  if (s->world->rename(s->world->user, tmp, dir) != 0) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", dir,
                       strerror(errno));
  }
  snprintf(parent, sizeof parent, "%.*s", (int)(strrchr(dir, '/') - dir), dir);
  rc = tinker__file_sync_dir(s->world, parent, why, why_len);
  if (rc != 0) tinker__svc_folder_remove(dir);
  return rc;
}

int64_t tinker__svc_folder_size(const char *dir) {
  char path[1200];
  struct dirent *e;
  struct stat st;
  int64_t sum = 0;
  DIR *d = opendir(dir);
  if (!d) return 0;
  while ((e = readdir(d)) != NULL) {
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) sum += st.st_size;
  }
  closedir(d);
  return sum;
}

/* --- Lookups -------------------------------------------------------------- */

void tinker__svc_checkpoint_free(tinker__svc_t *s,
                                 tinker__svc_checkpoint_t *c) {
  if (!c) return;
  tinker__mem_free(s->mem, c->name);
  tinker__mem_free(s->mem, c->metadata);
  tinker__mem_free(s->mem, c);
}

static bool is_named(const tinker__svc_checkpoint_t *c,
                     tinker__svc_ckpt_kind_t kind, tinker__str_t name) {
  return c->kind == kind && c->name && tinker__str_eqs(name, c->name);
}

tinker__svc_checkpoint_t *
tinker__svc_checkpoint_find(tinker__svc_model_t *m,
                            tinker__svc_ckpt_kind_t kind, tinker__str_t name) {
  for (tinker__link_t *l = m->checkpoints.prev; l != &m->checkpoints;
       l = l->prev) {
    tinker__svc_checkpoint_t *c =
        TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
    if (is_named(c, kind, name)) return c;
  }
  return NULL;
}

static tinker__svc_checkpoint_t *find_durable(tinker__svc_model_t *m,
                                              tinker__svc_ckpt_kind_t kind,
                                              tinker__str_t name) {
  TINKER__LIST_EACH(l, tmp, &m->checkpoints) {
    tinker__svc_checkpoint_t *c =
        TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
    if (c->durable && is_named(c, kind, name)) return c;
  }
  return NULL;
}

tinker__svc_checkpoint_t *tinker__svc_checkpoint_by_row(tinker__svc_t *s,
                                                        int64_t row) {
  TINKER__LIST_EACH(l, tmp, &s->models) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    TINKER__LIST_EACH(k, next, &m->checkpoints) {
      tinker__svc_checkpoint_t *c =
          TINKER__CONTAINER(k, tinker__svc_checkpoint_t, link);
      if (c->row == row) return c;
    }
  }
  return NULL;
}

const char *tinker__svc_checkpoint_word(tinker__svc_ckpt_kind_t kind) {
  return kind == TINKER__CKPT_TRAINING ? TINKER__PATH_TRAINING
                                       : TINKER__PATH_SAMPLER;
}

void tinker__svc_checkpoint_path(const tinker__svc_checkpoint_t *c,
                                 char out[TINKER__SVC_PATH_LEN]) {
  snprintf(out, TINKER__SVC_PATH_LEN, TINKER__PATH_PREFIX "%s/%s/%s",
           c->model->id, tinker__svc_checkpoint_word(c->kind), c->name);
}

size_t tinker__svc_checkpoint_id_at(const tinker__svc_checkpoint_t *c) {
  return strlen(TINKER__PATH_PREFIX) + strlen(c->model->id) + 1;
}

int tinker__svc_checkpoint_lookup(tinker__svc_t *s, tinker__str_t path,
                                  tinker__svc_checkpoint_t **out, char *why,
                                  size_t why_len) {
  tinker__str_t part[3];
  int shown = (int)(path.len < 200 ? path.len : 200);
  tinker__svc_ckpt_kind_t kind = TINKER__CKPT_EPHEMERAL;
  if (tinker__path_split(path, part)) {
    if (tinker__str_eqs(part[1], TINKER__PATH_TRAINING)) {
      kind = TINKER__CKPT_TRAINING;
    } else if (tinker__str_eqs(part[1], TINKER__PATH_SAMPLER)) {
      kind = TINKER__CKPT_SAMPLER;
    }
  }
  if (kind == TINKER__CKPT_EPHEMERAL) {
    return tinker__why(why, why_len, TINKER_EINVAL, "Invalid tinker path: %.*s",
                       shown, path.ptr);
  }
  tinker__svc_model_t *m = tinker__map_get(s->model_by_id, part[0]);
  tinker__svc_checkpoint_t *c = m ? find_durable(m, kind, part[2]) : NULL;
  if (!c) {
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "checkpoint not found: %.*s", shown, path.ptr);
  }
  *out = c;
  return 0;
}
