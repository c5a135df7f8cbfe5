/* view: see view.h. */
#include "view.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "journal/file.h"

typedef struct {
  tinker__rec_state_t *state;
} walk_t;

static int fold(void *user, const tinker__rec_record_t *r, char *why,
                size_t why_len) {
  return tinker__rec_state_fold(((walk_t *)user)->state, 0, r, why, why_len);
}

static int read_decisions(const tinker__rec_folder_t *folder,
                          tinker__rec_state_t *s, char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  walk_t walk = {s};
  const tinker__rec_file_spec_t spec = {.mem = folder->mem,
                                        .world = folder->world,
                                        .path = path,
                                        .lineage = folder->lineage,
                                        .each = fold,
                                        .user = &walk};
  int rc = tinker__rec_state_init(s, folder->mem);
  if (rc == 0) rc = tinker__rec_folder_file(folder, 0, path, why, why_len);
  if (rc == 0) rc = tinker__rec_file_read(&spec, why, why_len);
  if (rc == TINKER_ENOENT) rc = 0;
  if (rc != 0) tinker__rec_state_free(s);
  return rc;
}

/* The last step of the plan, -1 = there is none. */
static int64_t last_step(tinker__mem_t *mem, const char *plan) {
  int64_t steps = -1;
  tinker__json_t j;
  tinker__str_t key;
  if (!plan) return steps;
  tinker__json_init(&j, mem, plan, strlen(plan));
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      if (tinker__str_eqs(key, "steps")) {
        tinker__json_i64(&j, &steps);
      } else {
        tinker__json_skip(&j);
      }
    }
  }
  if (tinker__json_end(&j) != 0) steps = -1;
  tinker__json_done(&j);
  return steps;
}

static void take(tinker__rec_view_t *v, const tinker__rec_state_t *s) {
  v->reach = (tinker__rec_reach_t){.readable = true,
                                   .finished = s->finished,
                                   .stopped = s->stopped != NULL,
                                   .epoch = s->epoch,
                                   .from_step = s->from_step,
                                   .committed = s->committed,
                                   .target = last_step(s->mem, s->plan)};
  snprintf(v->session, sizeof v->session, "%s", s->session ? s->session : "");
  snprintf(v->model, sizeof v->model, "%s", s->model ? s->model : "");
  snprintf(v->why, sizeof v->why, "%s", s->stopped ? s->stopped : "");
}

void tinker__rec_view_read(tinker__rec_view_t *v,
                           const tinker__rec_folder_t *folder, bool all) {
  tinker__rec_state_t state;
  const tinker__rec_reach_t before = v->reach;
  memset(v, 0, sizeof *v);
  v->reach.target = -1;
  int rc = all ? tinker__rec_load(folder, &state, v->why, sizeof v->why)
               : read_decisions(folder, &state, v->why, sizeof v->why);
  if (rc != 0) return;
  take(v, &state);
  tinker__rec_state_free(&state);
  if (!all && before.epoch == v->reach.epoch &&
      before.committed > v->reach.committed) {
    v->reach.committed = before.committed;
  }
}

/* --- Stamps --------------------------------------------------------------- */

/* A write changes the time or the size of the file or of its log. */
static int64_t stamp_of(const tinker__rec_folder_t *folder, int64_t epoch) {
  static const char *const ends[] = {"", "-wal"};
  char path[TINKER__REC_PATH_ROOM], whole[TINKER__REC_PATH_ROOM + 8];
  uint64_t stamp = 14695981039346656037u;
  if (tinker__rec_folder_file(folder, epoch, path, NULL, 0) != 0) return 0;
  for (int i = 0; i < 2; i++) {
    struct stat st;
    snprintf(whole, sizeof whole, "%s%s", path, ends[i]);
    if (stat(whole, &st) != 0) memset(&st, 0, sizeof st);
#ifdef __APPLE__
    struct timespec at = st.st_mtimespec;
#else
    struct timespec at = st.st_mtim;
#endif
    uint64_t parts[] = {(uint64_t)at.tv_sec, (uint64_t)at.tv_nsec,
                        (uint64_t)st.st_size, (uint64_t)st.st_ino};
    for (int k = 0; k < 4; k++) stamp = (stamp ^ parts[k]) * 1099511628211u;
  }
  return (int64_t)stamp;
}

tinker__rec_stamp_t tinker__rec_view_stamp(const tinker__rec_folder_t *folder,
                                           int64_t epoch) {
  return (tinker__rec_stamp_t){stamp_of(folder, 0),
                               epoch ? stamp_of(folder, epoch) : 0};
}
