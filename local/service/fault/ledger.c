/* ledger: see ledger.h. The queue keeps the lines in order. The lock is for a
 * thread that reads the file, so that it finds whole lines. */
#include "service/fault/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <tinker/error.h>

#include "base/file.h"
#include "base/json_write.h"
#include "service/core/log.h"

#define QUEUE ((size_t)1 << 20)

struct tinker__svc_ledger_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;
  char *path;
  int fd;
  tinker__svc_lines_t *lines;
  pthread_mutex_t lock;
  bool failed; /* a line is missing. Under the lock */
};

/* Removes a last line that a kill or a full disk has cut: the next line would
 * be appended to it, and neither could be read. */
static int drop_cut_line(tinker__svc_ledger_t *l, char *why, size_t why_len) {
  tinker__buf_t lines;
  tinker__buf_init(&lines, l->mem, TINKER__MAX_LEDGER);
  int rc = tinker__file_read(l->world, l->path, &lines, why, why_len);
  size_t whole = lines.len;
  while (whole && lines.data[whole - 1] != '\n') whole--;
  if (rc == 0 && whole < lines.len && ftruncate(l->fd, (off_t)whole) != 0) {
    rc = tinker__why(why, why_len, TINKER_EIO, "%s: %s", l->path,
                     strerror(errno));
  }
  tinker__buf_free(&lines);
  return rc;
}

/* Writes a line at once with O_APPEND, so that it stays whole. The queue's
 * thread. */
static void append(void *user, const char *line, size_t len) {
  tinker__svc_ledger_t *l = user;
  pthread_mutex_lock(&l->lock);
  if (l->world->write(l->world->user, l->fd, line, len) != (ssize_t)len) {
    l->failed = true;
  }
  pthread_mutex_unlock(&l->lock);
}

int tinker__svc_ledger_open(tinker__svc_ledger_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world, const char *state_dir,
                            char *why, size_t why_len) {
  tinker__buf_t path;
  tinker__svc_ledger_t *l = tinker__mem_zalloc(mem, sizeof *l);
  tinker__buf_init(&path, mem, 4096);
  tinker__buf_addf(&path, "%s/ledger.jsonl", state_dir);
  if (!l || !tinker__buf_cstr(&path)) {
    tinker__buf_free(&path);
    tinker__mem_free(mem, l);
    return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  l->mem = mem;
  l->world = world;
  l->path = tinker__buf_take(&path, NULL);
  pthread_mutex_init(&l->lock, NULL);
  l->fd = world->open(world->user, l->path,
                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int rc = l->fd < 0 ? tinker__why(why, why_len, TINKER_EIO, "%s: %s", l->path,
                                   strerror(errno))
                     : drop_cut_line(l, why, why_len);
  if (rc == 0) {
    rc = tinker__svc_lines_new(&l->lines, mem, world, QUEUE, TINKER__LINES_WAIT,
                               append, l);
    if (rc != 0) tinker__why(why, why_len, rc, "out of memory");
  }
  if (rc != 0) {
    tinker__svc_ledger_free(l);
    return rc;
  }
  *out = l;
  return 0;
}

void tinker__svc_ledger_free(tinker__svc_ledger_t *l) {
  if (!l) return;
  tinker__svc_lines_free(l->lines);
  if (l->fd >= 0) l->world->close(l->world->user, l->fd);
  pthread_mutex_destroy(&l->lock);
  tinker__mem_free(l->mem, l->path);
  tinker__mem_free(l->mem, l);
}

static void write_line(tinker__buf_t *out, const tinker__svc_ledger_t *l,
                       const tinker__svc_ledger_line_t *line) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "at_ms");
  tinker__jsonw_i64(&w, l->world->wall_ms(l->world->user));
  tinker__jsonw_key(&w, "event");
  tinker__jsonw_cstr(&w, line->event);
  tinker__jsonw_key(&w, "endpoint");
  tinker__jsonw_cstr(&w, line->endpoint);
  tinker__jsonw_key(&w, "id");
  tinker__jsonw_cstr(&w, line->id);
  if (line->seq >= 0) {
    tinker__jsonw_key(&w, "seq_id");
    tinker__jsonw_i64(&w, line->seq);
  }
  if (line->act) {
    tinker__jsonw_key(&w, "act");
    tinker__jsonw_cstr(&w, line->act);
    tinker__jsonw_key(&w, "rule");
    tinker__jsonw_u64(&w, line->rule);
  }
  tinker__jsonw_end_object(&w);
  tinker__buf_addc(out, '\n');
}

bool tinker__svc_ledger_add(tinker__svc_ledger_t *l,
                            const tinker__svc_ledger_line_t *line) {
  tinker__buf_t out;
  tinker__buf_init(&out, l->mem, 65536);
  write_line(&out, l, line);
  return tinker__svc_lines_add(l->lines, &out);
}

bool tinker__svc_ledger_settle(tinker__svc_ledger_t *l) {
  tinker__svc_lines_settle(l->lines);
  pthread_mutex_lock(&l->lock);
  bool ok = !l->failed;
  pthread_mutex_unlock(&l->lock);
  return ok;
}

int tinker__svc_ledger_read(tinker__svc_ledger_t *l, tinker__buf_t *out,
                            char *why, size_t why_len) {
  tinker__svc_lines_settle(l->lines);
  pthread_mutex_lock(&l->lock); /* so that no line is half written */
  int rc = tinker__file_read(l->world, l->path, out, why, why_len);
  pthread_mutex_unlock(&l->lock);
  return rc;
}
