/* load: see load.h. */
#include "journal/load.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

typedef struct {
  const tinker__rec_folder_t *folder;
  tinker__rec_state_t *state;
  int64_t epoch;
  tinker__rec_show_cb show;
  void *user;
} walk_t;

int tinker__rec_folder_file(const tinker__rec_folder_t *f, int64_t epoch,
                            char out[TINKER__REC_PATH_ROOM], char *why,
                            size_t why_len) {
  int n = epoch == 0 ? snprintf(out, TINKER__REC_PATH_ROOM, "%s/supervisor.db",
                                f->path)
                     : snprintf(out, TINKER__REC_PATH_ROOM, "%s/e%lld.db",
                                f->path, (long long)epoch);
  if (n > 0 && n < TINKER__REC_PATH_ROOM) return 0;
  return tinker__why(why, why_len, TINKER_EOVERFLOW, "%s: the path is too long",
                     f->path);
}

static int each(void *user, const tinker__rec_record_t *r, char *why,
                size_t why_len) {
  walk_t *w = user;
  if (w->show) return w->show(w->user, w->epoch, r);
  return tinker__rec_state_fold(w->state, w->epoch, r, why, why_len);
}

static int walk_there(walk_t *w, int64_t epoch, char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_spec_t spec = {.mem = w->folder->mem,
                                  .world = w->folder->world,
                                  .path = path,
                                  .lineage = w->folder->lineage,
                                  .epoch = epoch,
                                  .own = w->folder->own,
                                  .each = each,
                                  .user = w};
  w->epoch = epoch;
  int rc = tinker__rec_folder_file(w->folder, epoch, path, why, why_len);
  return rc == 0 ? tinker__rec_file_read(&spec, why, why_len) : rc;
}

/* A file that is not there has no records. */
static int walk(walk_t *w, int64_t epoch, char *why, size_t why_len) {
  int rc = walk_there(w, epoch, why, why_len);
  return rc == TINKER_ENOENT ? 0 : rc;
}

/* The highest number of a file that is in the folder; 0 = there is none. */
static int find_file(const tinker__rec_folder_t *f, int64_t *out, char *why,
                     size_t why_len) {
  DIR *dir = opendir(f->path);
  const struct dirent *e;
  *out = 0;
  if (!dir) {
    return errno == ENOENT ? 0
                           : tinker__why(why, why_len, TINKER_EIO, "%s: %s",
                                         f->path, strerror(errno));
  }
  while ((e = readdir(dir)) != NULL) {
    long long n = 0;
    int end = 0;
    if (sscanf(e->d_name, "e%18lld.db%n", &n, &end) != 1 || !end ||
        e->d_name[end]) {
      continue;
    }
    if (n > *out) *out = n;
  }
  closedir(dir);
  return 0;
}

/* An attempt is in the supervisor's file before its own file is made. */
static int check_last(const tinker__rec_folder_t *f, int64_t file, int64_t last,
                      char *why, size_t why_len) {
  if (file <= last) return 0;
  return tinker__why(why, why_len, TINKER_EFORMAT,
                     "%s: e%lld.db is there, and supervisor.db knows of no "
                     "epoch after %lld: it is not the one that was written "
                     "with it",
                     f->path, (long long)file, (long long)last);
}

/* The active epoch and the last one that was begun. */
static int find_epochs(const tinker__rec_folder_t *f, int64_t *active,
                       int64_t *last, char *why, size_t why_len) {
  tinker__rec_state_t s;
  walk_t w = {.folder = f, .state = &s};
  int rc = tinker__rec_state_init(&s, f->mem);
  if (rc == 0) rc = walk(&w, 0, why, why_len);
  *active = s.epoch;
  *last = s.last_epoch;
  tinker__rec_state_free(&s);
  return rc;
}

static int load(walk_t *w, int64_t active, char *why, size_t why_len) {
  int rc = 0;
  w->state->history = true;
  w->state->epoch = active;
  for (int64_t e = 1; e <= active && rc == 0; e++) {
    rc = walk(w, e, why, why_len);
  }
  w->state->history = false;
  w->state->epoch = 0;
  if (rc == 0) rc = walk(w, 0, why, why_len);
  if (rc == 0 && active > 0) rc = walk_there(w, active, why, why_len);
  /* Its file was made before it became active. */
  return rc == TINKER_ENOENT ? TINKER_EFORMAT : rc;
}

int tinker__rec_load(const tinker__rec_folder_t *f, tinker__rec_state_t *s,
                     char *why, size_t why_len) {
  int64_t active = 0, last = 0, file = 0;
  walk_t w = {.folder = f, .state = s};
  int rc = tinker__rec_state_init(s, f->mem);
  if (rc == 0) rc = find_file(f, &file, why, why_len);
  if (rc == 0) rc = find_epochs(f, &active, &last, why, why_len);
  if (rc == 0) rc = check_last(f, file, last, why, why_len);
  if (rc == 0) rc = load(&w, active, why, why_len);
  if (rc != 0) tinker__rec_state_free(s);
  return rc;
}

int tinker__rec_show(const tinker__rec_folder_t *f, tinker__rec_show_cb show,
                     void *user, char *why, size_t why_len) {
  int64_t active = 0, last = 0;
  walk_t w = {.folder = f, .show = show, .user = user};
  int rc = find_epochs(f, &active, &last, why, why_len);
  for (int64_t e = 0; e <= last && rc == 0; e++) {
    rc = walk(&w, e, why, why_len);
  }
  return rc;
}
