/* load: see load.h. */
#include "journal/load.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/file.h"

#define MAX_SNAPSHOT (64 << 20) /* bytes */

typedef struct {
  const tinker__rec_folder_t *folder;
  tinker__rec_state_t *state;
  tinker__rec_marks_t *marks; /* NULL = files are read from the beginning */
  int64_t epoch;
  tinker__rec_show_cb show;
  void *user;
} walk_t;

/* Which records of a file. */
typedef struct {
  int64_t to;   /* the last one; 0 = all that are behind its mark */
  bool saves;   /* only what was saved; the mark stays where it is */
  bool looking; /* the mark stays; `end` gets where it ended */
  tinker__rec_mark_t end;
} part_t;

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

static int walk_there(walk_t *w, int64_t epoch, part_t *part, char *why,
                      size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__rec_mark_t *mark =
      w->marks ? tinker__rec_marks_at(w->marks, epoch) : NULL;
  tinker__rec_file_spec_t spec = {.mem = w->folder->mem,
                                  .world = w->folder->world,
                                  .path = path,
                                  .lineage = w->folder->lineage,
                                  .epoch = epoch,
                                  .own = w->folder->own,
                                  .each = each,
                                  .user = w,
                                  .from = mark,
                                  .to = part->to,
                                  .end = &part->end};
  if (w->marks && !mark) return TINKER_ENOMEM;
  if (part->saves) {
    spec.first_type = TINKER__REC_CKPT_SAVED;
    spec.last_type = TINKER__REC_CKPT_FINGERPRINT;
  }
  w->epoch = epoch;
  int rc = tinker__rec_folder_file(w->folder, epoch, path, why, why_len);
  if (rc == 0) rc = tinker__rec_file_read(&spec, why, why_len);
  if (rc == TINKER_ENOENT && mark && mark->id > 0) return TINKER_ESTATE;
  if (rc == 0 && mark && !part->saves && !part->looking) *mark = part->end;
  return rc;
}

/* A file that is not there has no records. */
static int walk(walk_t *w, int64_t epoch, part_t part, char *why,
                size_t why_len) {
  int rc = walk_there(w, epoch, &part, why, why_len);
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

/* What the supervisor's file says now. */
typedef struct {
  int64_t active, last; /* epochs */
  int64_t end;          /* its last record */
} now_t;

/* The active epoch and the last one that was begun, from where a state is. */
static int find_epochs(const walk_t *from, now_t *now, char *why,
                       size_t why_len) {
  tinker__rec_state_t s;
  walk_t w = *from;
  part_t part = {.looking = true};
  w.state = &s;
  int rc = tinker__rec_state_init(&s, w.folder->mem);
  if (rc == 0 && from->state) {
    s.epoch = from->state->epoch;
    s.last_epoch = from->state->last_epoch;
  }
  if (rc == 0) rc = walk_there(&w, 0, &part, why, why_len);
  if (rc == TINKER_ENOENT) rc = 0;
  *now = (now_t){s.epoch, s.last_epoch, part.end.id};
  tinker__rec_state_free(&s);
  return rc;
}

typedef struct {
  const tinker__rec_folder_t *folder;
  int64_t epoch;
  bool found;
} committed_t;

static int on_commit(void *user, const tinker__rec_record_t *r, char *why,
                     size_t why_len) {
  committed_t *c = user;
  c->found = true;
  return tinker__why(why, why_len, TINKER_EFORMAT,
                     "%s: e%lld.db has step %lld committed, and supervisor.db "
                     "does not know that this epoch became active: it has lost "
                     "its end",
                     c->folder->path, (long long)c->epoch, (long long)r->step);
}

/* Steps are committed by active epochs alone. What else an attempt has left
 * counts for nothing, so that damage there does no harm. Beside a writer an
 * epoch may have become active since, and nothing is concluded. */
static int check_attempts(const tinker__rec_folder_t *f, const now_t *now,
                          char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM], text[512];
  int rc = 0;
  for (int64_t e = now->active + 1; f->own && e <= now->last && rc == 0; e++) {
    committed_t c = {f, e, false};
    const tinker__rec_file_spec_t spec = {.mem = f->mem,
                                          .world = f->world,
                                          .path = path,
                                          .lineage = f->lineage,
                                          .epoch = e,
                                          .own = true,
                                          .each = on_commit,
                                          .user = &c,
                                          .first_type = TINKER__REC_STEP_COMMIT,
                                          .last_type = TINKER__REC_STEP_COMMIT};
    rc = tinker__rec_folder_file(f, e, path, why, why_len);
    if (rc != 0) return rc;
    rc = tinker__rec_file_read(&spec, text, sizeof text);
    if (c.found) return tinker__why(why, why_len, TINKER_EFORMAT, "%s", text);
    if (rc != TINKER_ENOMEM) rc = 0;
  }
  return rc;
}

/* The active epoch's commits are of the last pass. */
static int load_history(walk_t *w, int64_t active, char *why, size_t why_len) {
  int64_t was = w->state->epoch;
  int rc = 0;
  w->state->history = true;
  w->state->epoch = active;
  for (int64_t e = 1; e <= active && rc == 0; e++) {
    rc = walk(w, e, (part_t){.saves = e == active}, why, why_len);
  }
  w->state->history = false;
  w->state->epoch = was;
  return rc;
}

/* The supervisor's file goes no further than it was when the epochs' files were
 * read, since what it says of their checkpoints was later than those. */
static int load(walk_t *w, const now_t *now, char *why, size_t why_len) {
  part_t all = {.to = 0};
  int rc = load_history(w, now->active, why, why_len);
  if (rc == 0 && now->end > 0) {
    rc = walk(w, 0, (part_t){.to = now->end}, why, why_len);
  }
  if (rc == 0 && now->active > 0) {
    rc = walk_there(w, now->active, &all, why, why_len);
  }
  /* Its file was made before it became active. */
  return rc == TINKER_ENOENT ? TINKER_EFORMAT : rc;
}

/* --- Snapshots ------------------------------------------------------------ */

static int snapshot_path(const tinker__rec_folder_t *f,
                         char out[TINKER__REC_PATH_ROOM], char *why,
                         size_t why_len) {
  int n = snprintf(out, TINKER__REC_PATH_ROOM, "%s/snapshot", f->path);
  if (n > 0 && n < TINKER__REC_PATH_ROOM) return 0;
  return tinker__why(why, why_len, TINKER_EOVERFLOW, "%s: the path is too long",
                     f->path);
}

static int begin(walk_t *w) {
  tinker__rec_marks_init(w->marks, w->folder->mem);
  return tinker__rec_state_init(w->state, w->folder->mem);
}

static void drop(walk_t *w) {
  tinker__rec_state_free(w->state);
  tinker__rec_marks_free(w->marks);
}

/* State and marks of the snapshot. One that can't be used is as none. */
static int take_snapshot(walk_t *w, bool *used) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__buf_t bytes;
  tinker__buf_init(&bytes, w->folder->mem, MAX_SNAPSHOT);
  int rc = begin(w);
  if (rc == 0) rc = snapshot_path(w->folder, path, NULL, 0);
  if (rc == 0) {
    rc = tinker__file_read(w->folder->world, path, &bytes, NULL, 0);
  }
  if (rc == 0) {
    rc = tinker__rec_snapshot_read(w->state, w->marks, w->folder->lineage,
                                   tinker__buf_str(&bytes));
  }
  tinker__buf_free(&bytes);
  *used = rc == 0;
  for (size_t i = 0; *used && i < w->marks->count; i++) {
    w->marks->skipped += w->marks->marks[i].id;
  }
  if (rc != 0) drop(w);
  return rc == TINKER_ENOMEM ? rc : 0;
}

int tinker__rec_load_keep(const tinker__rec_folder_t *f,
                          const tinker__rec_state_t *s,
                          const tinker__rec_marks_t *marks, char *why,
                          size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__buf_t bytes;
  tinker__buf_init(&bytes, f->mem, MAX_SNAPSHOT);
  int rc = snapshot_path(f, path, why, why_len);
  if (rc == 0) rc = tinker__rec_snapshot_write(s, marks, f->lineage, &bytes);
  if (rc == 0) {
    rc = tinker__file_publish(f->world, path, bytes.data, bytes.len, 0600, why,
                              why_len);
  }
  tinker__buf_free(&bytes);
  return rc;
}

void tinker__rec_load_doubt(const tinker__rec_folder_t *f) {
  char path[TINKER__REC_PATH_ROOM];
  if (snapshot_path(f, path, NULL, 0) == 0) {
    f->world->unlink(f->world->user, path);
  }
}

/* --- All of it ------------------------------------------------------------ */

static int load_on(walk_t *w, int64_t file, char *why, size_t why_len) {
  now_t now;
  int rc = find_epochs(w, &now, why, why_len);
  if (rc == 0) rc = check_last(w->folder, file, now.last, why, why_len);
  if (rc == 0) rc = check_attempts(w->folder, &now, why, why_len);
  if (rc == 0) rc = load(w, &now, why, why_len);
  if (rc != 0) drop(w);
  return rc;
}

int tinker__rec_load_marked(const tinker__rec_folder_t *f,
                            tinker__rec_state_t *s, tinker__rec_marks_t *marks,
                            char *why, size_t why_len) {
  int64_t file = 0;
  bool used = false;
  walk_t w = {.folder = f, .state = s, .marks = marks};
  int rc = find_file(f, &file, why, why_len);
  if (rc == 0) rc = take_snapshot(&w, &used);
  if (rc == 0 && used) rc = load_on(&w, file, why, why_len);
  if (used && rc != TINKER_ESTATE) return rc; /* else it does not fit */
  if (rc != 0 && !used) return rc;
  rc = begin(&w);
  if (rc == 0) return load_on(&w, file, why, why_len);
  drop(&w);
  return rc;
}

int tinker__rec_load(const tinker__rec_folder_t *f, tinker__rec_state_t *s,
                     char *why, size_t why_len) {
  tinker__rec_marks_t marks;
  int rc = tinker__rec_load_marked(f, s, &marks, why, why_len);
  if (rc == 0) tinker__rec_marks_free(&marks);
  return rc;
}

int tinker__rec_show(const tinker__rec_folder_t *f, tinker__rec_show_cb show,
                     void *user, char *why, size_t why_len) {
  now_t now;
  const walk_t from = {.folder = f};
  walk_t w = {.folder = f, .show = show, .user = user};
  int rc = find_epochs(&from, &now, why, why_len);
  for (int64_t e = 0; e <= now.last && rc == 0; e++) {
    rc = walk(&w, e, (part_t){.to = 0}, why, why_len);
  }
  return rc;
}
