/* cookbook: what the run has done as the files of tinker-cookbook, in the run's
 * folder: metrics.jsonl, a line for each committed step, and checkpoints.jsonl,
 * a line for each checkpoint that can be gone back to. Its programs and readers
 * take them; further keys are ours. They are made of the journal and say
 * nothing that it does not: after a death the missing lines are added, and none
 * twice. A failure is said, and holds nothing up. The run's thread.
 *
 * The cookbook counts batches from 0, so the line of step N has "step": N - 1,
 * and a checkpoint of step N goes on with "batch": N. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json_read.h"
#include "base/json_write.h"
#include "run/run.h"

#define TAIL 4096 /* bytes that surely have the last line */

static void say_failed(tinker_run_t *run, const char *file, const char *why) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.name = tinker__str(file);
  facts.why = tinker__str(why);
  tinker__rec_say(run, "log_failed", run->state.committed, &facts);
}

static void path_of(const tinker_run_t *run, const char *file,
                    char out[TINKER__REC_PATH_ROOM + 32]) {
  snprintf(out, TINKER__REC_PATH_ROOM + 32, "%s/%s", run->dir, file);
}

/* --- metrics.jsonl -------------------------------------------------------- */

/* The step and epoch of a line; false = it is none of ours. */
static bool read_line(tinker_run_t *run, const char *line, size_t len) {
  tinker__rec_metrics_t *m = &run->metrics;
  int64_t step = 0, epoch = 0;
  tinker__json_t j;
  tinker__str_t key;
  tinker__json_init(&j, &run->mem, line, len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      if (tinker__str_eqs(key, "run_step")) {
        tinker__json_i64(&j, &step);
      } else if (tinker__str_eqs(key, "run_epoch")) {
        tinker__json_i64(&j, &epoch);
      } else {
        tinker__json_skip(&j);
      }
    }
  }
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  m->step = step;
  m->epoch = epoch;
  return rc == 0 && step > 0 && epoch > 0;
}

/* Finds the last whole line; what a death has left of another one is cut off.
 */
static int read_tail(tinker_run_t *run) {
  const tinker__world_t *w = run->world;
  char tail[TAIL];
  off_t size = lseek(run->metrics.fd, 0, SEEK_END);
  off_t from = size > TAIL ? size - TAIL : 0;
  if (size < 0 || lseek(run->metrics.fd, from, SEEK_SET) < 0) return TINKER_EIO;
  ssize_t n = w->read(w->user, run->metrics.fd, tail, sizeof tail);
  if (n != size - from) return TINKER_EIO;
  size_t end = (size_t)n;
  while (end > 0 && tail[end - 1] != '\n') end--;
  if (end < (size_t)n && ftruncate(run->metrics.fd, from + (off_t)end) != 0) {
    return TINKER_EIO;
  }
  size_t begin = end ? end - 1 : 0;
  while (begin > 0 && tail[begin - 1] != '\n') begin--;
  if (end == 0) return from == 0 ? 0 : TINKER_EFORMAT;
  return read_line(run, tail + begin, end - begin) ? 0 : TINKER_EFORMAT;
}

static int open_metrics(tinker_run_t *run) {
  const tinker__world_t *w = run->world;
  char path[TINKER__REC_PATH_ROOM + 32];
  path_of(run, "metrics.jsonl", path);
  run->metrics.opened = true;
  run->metrics.fd =
      w->open(w->user, path,
              O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (run->metrics.fd < 0) return TINKER_EIO;
  return read_tail(run);
}

static void write_step(const tinker_run_t *run, const tinker__rec_past_t *p,
                       tinker__buf_t *out) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "step");
  tinker__jsonw_i64(&w, p->step - 1);
  if (p->has_loss) {
    tinker__jsonw_key(&w, "loss");
    tinker__jsonw_f64(&w, p->loss);
  }
  if (run->plan.steps > 0) {
    tinker__jsonw_key(&w, "progress");
    tinker__jsonw_f64(&w, (double)p->step / (double)run->plan.steps);
  }
  tinker__jsonw_key(&w, "run_step");
  tinker__jsonw_i64(&w, p->step);
  tinker__jsonw_key(&w, "run_epoch");
  tinker__jsonw_i64(&w, p->epoch);
  tinker__jsonw_end_object(&w);
  tinker__buf_add(out, "\n", 1);
}

static bool is_new(const tinker__rec_metrics_t *m,
                   const tinker__rec_past_t *p) {
  return p->epoch > m->epoch || (p->epoch == m->epoch && p->step > m->step);
}

/* The k-th newest step. */
static const tinker__rec_past_t *nth(const tinker_run_t *run, size_t k) {
  const tinker__rec_state_t *s = &run->state;
  return &s->past[(s->past_at + TINKER__REC_PAST - 1 - k) % TINKER__REC_PAST];
}

static int append(tinker_run_t *run) {
  const tinker__world_t *w = run->world;
  tinker__buf_t lines;
  size_t n = 0;
  while (n < run->state.past_count && is_new(&run->metrics, nth(run, n))) n++;
  if (n == 0) return 0;
  tinker__buf_init(&lines, &run->mem, SIZE_MAX);
  for (size_t k = n; k-- > 0;) write_step(run, nth(run, k), &lines);
  int rc = tinker__buf_error(&lines);
  if (rc == 0 && w->write(w->user, run->metrics.fd, lines.data, lines.len) !=
                     (ssize_t)lines.len) {
    rc = TINKER_EIO; /* a part may be there: the next process cuts it off */
  }
  tinker__buf_free(&lines);
  run->metrics.step = nth(run, 0)->step;
  run->metrics.epoch = nth(run, 0)->epoch;
  return rc;
}

static void end_metrics(tinker_run_t *run) {
  if (run->metrics.fd >= 0) {
    run->world->close(run->world->user, run->metrics.fd);
  }
  run->metrics.fd = -1;
}

static void log_steps(tinker_run_t *run) {
  int rc = run->metrics.opened ? 0 : open_metrics(run);
  if (rc == 0 && run->metrics.fd >= 0) rc = append(run);
  if (rc == 0) return;
  say_failed(run, "metrics.jsonl",
             rc == TINKER_EFORMAT ? "its last line is not a line of this run"
                                  : strerror(errno));
  end_metrics(run);
}

/* --- checkpoints.jsonl ---------------------------------------------------- */

static bool is_shown(const tinker__rec_ckpt_t *c) {
  return *c->path && !c->quarantined && !c->deleting;
}

/* Changes with whatever the file says. */
static uint64_t signature(const tinker_run_t *run) {
  uint64_t h = 1;
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    const tinker__rec_ckpt_t *c =
        TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    h = h * 1099511628211u + (is_shown(c) ? 1 : 0) + (c->level >= 3 ? 2 : 0);
  }
  return h;
}

static void write_ckpt(const tinker_run_t *run, const tinker__rec_ckpt_t *c,
                       tinker__buf_t *out) {
  tinker__jsonw_t w;
  char name[32];
  bool final = c->step == run->plan.steps;
  snprintf(name, sizeof name, "%06lld", (long long)c->step);
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "name");
  tinker__jsonw_cstr(&w, final ? "final" : name);
  tinker__jsonw_key(&w, "batch");
  tinker__jsonw_i64(&w, c->step);
  if (final) {
    tinker__jsonw_key(&w, "final");
    tinker__jsonw_bool(&w, true);
  }
  tinker__jsonw_key(&w, "state_path");
  tinker__jsonw_cstr(&w, c->path);
  tinker__jsonw_key(&w, "run");
  tinker__jsonw_cstr(&w, run->options.name);
  tinker__jsonw_key(&w, "run_epoch");
  tinker__jsonw_i64(&w, c->epoch);
  tinker__jsonw_key(&w, "proven");
  tinker__jsonw_bool(&w, c->level >= 3);
  tinker__jsonw_end_object(&w);
  tinker__buf_add(out, "\n", 1);
}

/* As a whole, since a checkpoint may leave it: the cookbook goes on from the
 * last line. */
static void log_ckpts(tinker_run_t *run) {
  char path[TINKER__REC_PATH_ROOM + 32], why[TINKER__REC_WHY] = "out of memory";
  tinker__buf_t lines;
  uint64_t now = signature(run);
  if (now == run->metrics.listed) return;
  run->metrics.listed = now;
  path_of(run, "checkpoints.jsonl", path);
  tinker__buf_init(&lines, &run->mem, SIZE_MAX);
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    const tinker__rec_ckpt_t *c =
        TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (is_shown(c)) write_ckpt(run, c, &lines);
  }
  int rc = tinker__buf_error(&lines);
  if (rc == 0) {
    rc = tinker__file_publish(run->world, path, lines.data, lines.len, 0600,
                              why, sizeof why);
  }
  tinker__buf_free(&lines);
  if (rc != 0) say_failed(run, "checkpoints.jsonl", why);
}

void tinker__rec_cookbook(tinker_run_t *run) {
  log_steps(run);
  log_ckpts(run);
}

void tinker__rec_cookbook_end(tinker_run_t *run) {
  if (run->metrics.opened) end_metrics(run);
}
