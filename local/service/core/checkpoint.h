/* checkpoint: a saved state or adapter, its folder, and the lookup of both.
 * Under the service's lock, except the functions on folders, which block and
 * are called without it. */
#ifndef TINKER_SERVICE_CORE_CHECKPOINT_H
#define TINKER_SERVICE_CORE_CHECKPOINT_H

#include "base/str.h"
#include "service/core/types.h"

typedef enum {
  TINKER__CKPT_TRAINING = 0,
  TINKER__CKPT_SAMPLER = 1,
  TINKER__CKPT_EPHEMERAL = 2
} tinker__svc_ckpt_kind_t;

struct tinker__svc_checkpoint_s {
  tinker__link_t link; /* model.checkpoints, by creation */
  tinker__svc_model_t *model;
  int64_t row; /* names its folder */
  tinker__svc_ckpt_kind_t kind;
  char *name;                           /* NULL when ephemeral */
  int64_t created_ms, size, expires_ms; /* expires 0 = never */
  char *metadata;
  bool pending_grad;
  bool published;
  bool durable; /* its row is committed; clients don't see it before that */
  bool leaving; /* its removal by the sweep is being stored */
};

/* The newest checkpoint with that kind and name, durable or not. Under the
 * lock. */
tinker__svc_checkpoint_t *
tinker__svc_checkpoint_find(tinker__svc_model_t *m,
                            tinker__svc_ckpt_kind_t kind, tinker__str_t name);
tinker__svc_checkpoint_t *tinker__svc_checkpoint_by_row(tinker__svc_t *s,
                                                        int64_t row);
/* The word for a kind in a tinker:// path. */
const char *tinker__svc_checkpoint_word(tinker__svc_ckpt_kind_t kind);
/* Writes the path tinker://RUN/KIND/NAME of c, which must have a name. */
#define TINKER__SVC_PATH_LEN 600
void tinker__svc_checkpoint_path(const tinker__svc_checkpoint_t *c,
                                 char out[TINKER__SVC_PATH_LEN]);
/* The index at which KIND/NAME begins in that path. */
size_t tinker__svc_checkpoint_id_at(const tinker__svc_checkpoint_t *c);
/* Looks a tinker:// path up. 0, TINKER_EINVAL for another text than such a
 * path, or TINKER_ENOENT, with a sentence in why. Under the lock. */
int tinker__svc_checkpoint_lookup(tinker__svc_t *s, tinker__str_t path,
                                  tinker__svc_checkpoint_t **out, char *why,
                                  size_t why_len);
void tinker__svc_checkpoint_free(tinker__svc_t *s, tinker__svc_checkpoint_t *c);
/* Writes <state>/<kind>/<row> into a buffer of the caller. */
void tinker__svc_checkpoint_dir(tinker__svc_t *s, const char *kind, int64_t row,
                                char *out, size_t len);
/* Begins a new folder: makes <dir>.tmp, with a marker and nothing else in it,
 * and writes its path to tmp. An older <dir>.tmp is removed. */
int tinker__svc_folder_begin(tinker__svc_t *s, const char *dir, int64_t row,
                             char *tmp, size_t len, char *why, size_t why_len);
/* Publishes the folder tmp as dir: fsync, rename, fsync of the parent. */
int tinker__svc_folder_commit(tinker__svc_t *s, const char *tmp,
                              const char *dir, char *why, size_t why_len);
void tinker__svc_folder_remove(const char *dir);
int64_t tinker__svc_folder_size(const char *dir); /* bytes of its files */

#endif
