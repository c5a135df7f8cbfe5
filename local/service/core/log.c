/* log: see log.h. The queue has a lock of its own; nobody takes another lock
 * under it. */
#include "service/core/log.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <tinker/error.h>

#include "base/json_write.h"
#include "base/list.h"
#include "base/show.h"

#define LINE_MAX_BYTES 16384

typedef struct {
  tinker__link_t link;
  uint64_t dropped; /* lines that were dropped just before this one */
  char *text;
  size_t len;
} line_t;

struct tinker__svc_lines_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;
  void (*write)(void *user, const char *line, size_t len);
  void *user;
  size_t max;
  tinker__svc_full_t full;
  pthread_t thread;
  pthread_mutex_t lock; /* guards all below */
  pthread_cond_t wake, moved;
  tinker__link_t lines; /* of line_t, oldest first */
  size_t bytes;
  uint64_t added, written; /* lines since the start */
  uint64_t dropped;        /* since the newest line was added */
  bool ends;
};

/* --- The text of a line --------------------------------------------------- */

static void put_time(tinker__jsonw_t *w, const tinker__world_t *world) {
  char text[40];
  int64_t ms = world->wall_ms(world->user);
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
  tinker__jsonw_key(w, "time");
  tinker__jsonw_cstr(w, text);
}

void tinker__svc_lines_begin(tinker__buf_t *line, const tinker__world_t *world,
                             const char *level, const char *event) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, line);
  tinker__jsonw_begin_object(&w);
  put_time(&w, world);
  tinker__jsonw_key(&w, "level");
  tinker__jsonw_cstr(&w, level);
  tinker__jsonw_key(&w, "event");
  tinker__jsonw_cstr(&w, event);
}

void tinker__svc_lines_put(tinker__buf_t *line, const char *key,
                           const char *value) {
  char text[LINE_MAX_BYTES / 2];
  tinker__jsonw_t w = {line, true};
  tinker__jsonw_key(&w, key);
  if (!tinker__utf8_valid(value, strlen(value))) {
    tinker__show(text, sizeof text, tinker__str(value));
    value = text;
  }
  tinker__jsonw_cstr(&w, value);
}

void tinker__svc_lines_end(tinker__buf_t *line) {
  tinker__buf_addc(line, '}');
}

/* --- The queue ------------------------------------------------------------ */

/* Bytes of the queue's room that a line takes. */
static size_t size_of(const line_t *l) {
  return sizeof *l + l->len;
}

static void line_free(tinker__svc_lines_t *q, line_t *l) {
  tinker__mem_free(q->mem, l->text);
  tinker__mem_free(q->mem, l);
}

/* True when there is room for a line. A queue whose lines wait for room waits
 * here; if it is empty it takes a line of any size. */
static bool has_room(tinker__svc_lines_t *q, const line_t *l) {
  if (q->full == TINKER__LINES_DROP) return size_of(l) <= q->max - q->bytes;
  while (q->bytes && size_of(l) > q->max - q->bytes) {
    pthread_cond_wait(&q->moved, &q->lock);
  }
  return true;
}

bool tinker__svc_lines_add(tinker__svc_lines_t *q, tinker__buf_t *line) {
  bool whole = !tinker__buf_error(line) && line->len;
  line_t *l = whole ? tinker__mem_zalloc(q->mem, sizeof *l) : NULL;
  if (l) l->text = tinker__buf_take(line, &l->len);
  tinker__buf_free(line);
  pthread_mutex_lock(&q->lock);
  bool added = l && has_room(q, l);
  if (added) {
    l->dropped = q->dropped;
    q->dropped = 0;
    q->bytes += size_of(l);
    q->added++;
    tinker__list_push_back(&q->lines, &l->link);
    l = NULL;
  } else {
    q->dropped++;
  }
  pthread_cond_signal(&q->wake);
  pthread_mutex_unlock(&q->lock);
  if (l) line_free(q, l);
  return added;
}

void tinker__svc_lines_settle(tinker__svc_lines_t *q) {
  pthread_mutex_lock(&q->lock);
  uint64_t until = q->added;
  while (q->written < until) pthread_cond_wait(&q->moved, &q->lock);
  pthread_mutex_unlock(&q->lock);
}

/* Hands over a line that says how many lines were dropped, if any were. */
static void report(tinker__svc_lines_t *q, uint64_t dropped) {
  tinker__buf_t line;
  char count[24];
  if (!dropped) return;
  *tinker__put_u64(count, dropped) = 0;
  tinker__buf_init(&line, q->mem, LINE_MAX_BYTES);
  tinker__svc_lines_begin(&line, q->world, "warning", "log_dropped");
  tinker__svc_lines_put(&line, "lines", count);
  tinker__svc_lines_end(&line);
  if (!tinker__buf_error(&line)) q->write(q->user, line.data, line.len);
  tinker__buf_free(&line);
}

/* Waits for a line, a count of dropped lines, or the end. *l is NULL if there
 * is only a count. False at the end, when neither is left. */
static bool take(tinker__svc_lines_t *q, line_t **l, uint64_t *dropped) {
  pthread_mutex_lock(&q->lock);
  while (tinker__list_empty(&q->lines) && !q->dropped && !q->ends) {
    pthread_cond_wait(&q->wake, &q->lock);
  }
  tinker__link_t *link = tinker__list_pop_front(&q->lines);
  *l = link ? TINKER__CONTAINER(link, line_t, link) : NULL;
  *dropped = *l ? (*l)->dropped : q->dropped;
  if (*l) {
    q->bytes -= size_of(*l);
  } else {
    q->dropped = 0;
  }
  bool any = *l || *dropped;
  pthread_mutex_unlock(&q->lock);
  return any;
}

static void count_written(tinker__svc_lines_t *q) {
  pthread_mutex_lock(&q->lock);
  q->written++;
  pthread_cond_broadcast(&q->moved);
  pthread_mutex_unlock(&q->lock);
}

static void *lines_thread(void *user) {
  tinker__svc_lines_t *q = user;
  uint64_t dropped;
  line_t *l;
  while (take(q, &l, &dropped)) {
    report(q, dropped);
    if (!l) continue;
    q->write(q->user, l->text, l->len);
    line_free(q, l);
    count_written(q);
  }
  return NULL;
}

int tinker__svc_lines_new(
    tinker__svc_lines_t **out, tinker__mem_t *mem, const tinker__world_t *world,
    size_t max, tinker__svc_full_t full,
    void (*write)(void *user, const char *line, size_t len), void *user) {
  tinker__svc_lines_t *q = tinker__mem_zalloc(mem, sizeof *q);
  if (!q) return TINKER_ENOMEM;
  q->mem = mem;
  q->world = world;
  q->max = max;
  q->full = full;
  q->write = write;
  q->user = user;
  tinker__list_init(&q->lines);
  pthread_mutex_init(&q->lock, NULL);
  pthread_cond_init(&q->wake, NULL);
  pthread_cond_init(&q->moved, NULL);
  if (pthread_create(&q->thread, NULL, lines_thread, q) == 0) {
    *out = q;
    return 0;
  }
  pthread_mutex_destroy(&q->lock);
  pthread_cond_destroy(&q->wake);
  pthread_cond_destroy(&q->moved);
  tinker__mem_free(mem, q);
  return TINKER_ENOMEM;
}

void tinker__svc_lines_free(tinker__svc_lines_t *q) {
  if (!q) return;
  pthread_mutex_lock(&q->lock);
  q->ends = true;
  pthread_cond_signal(&q->wake);
  pthread_mutex_unlock(&q->lock);
  pthread_join(q->thread, NULL);
  pthread_mutex_destroy(&q->lock);
  pthread_cond_destroy(&q->wake);
  pthread_cond_destroy(&q->moved);
  tinker__mem_free(q->mem, q);
}
