/* trying: see trying.h. */
#include "service/core/trying.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "service/core/core.h"

#define MAX_SUSPECTS 64

typedef struct {
  char magic[24];
  _Atomic int64_t doing;
  int64_t samples_before; /* a row, see tinker__svc_trying_suspects */
  struct {
    int64_t call, deaths; /* deaths 0 = a free place */
  } suspects[MAX_SUSPECTS];
} page_t;

static const char magic[24] = "tinker-locald trying 2\n";

struct tinker__svc_trying_s {
  page_t page;
};

/* Opens the file and writes all of it, so that the map has its blocks on the
 * disk and a full disk can't make a note fault later. */
static int open_file(const tinker__svc_t *s, page_t *page) {
  char path[1200];
  const tinker__world_t *w = s->world;
  snprintf(path, sizeof path, "%s/trying", s->state_dir);
  int fd = w->open(w->user, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fd;
  ssize_t n = w->read(w->user, fd, page, sizeof *page);
  bool ours = n == (ssize_t)sizeof *page &&
              !memcmp(page->magic, magic, sizeof page->magic);
  if (!ours) {
    memset(page, 0, sizeof *page);
    memcpy(page->magic, magic, sizeof magic);
  }
  if (w->pwrite(w->user, fd, page, sizeof *page, 0) == (ssize_t)sizeof *page) {
    return fd;
  }
  w->close(w->user, fd);
  return -1;
}

/* After a signal that was caught no death is counted, since config.crash_call
 * names the call. */
static void count_death(tinker__svc_t *s) {
  int64_t call = atomic_exchange(&s->trying->page.doing, 0);
  if (!call || s->config.crash_signal) return;
  tinker__svc_trying_set(s, call, tinker__svc_trying_deaths(s, call) + 1);
}

void tinker__svc_trying_open(tinker__svc_t *s) {
  page_t page;
  int fd = open_file(s, &page);
  void *map = MAP_FAILED;
  if (fd >= 0) {
    map = mmap(NULL, sizeof page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (map == MAP_FAILED) {
    tinker__svc_log(s, "warning", "trying_failed", "why", strerror(errno),
                    NULL);
  } else {
    s->trying = map;
    count_death(s);
    s->doing = &s->trying->page.doing;
  }
  if (fd >= 0) s->world->close(s->world->user, fd);
}

int64_t tinker__svc_trying_deaths(const tinker__svc_t *s, int64_t call) {
  for (int i = 0; s->trying && i < MAX_SUSPECTS; i++) {
    if (s->trying->page.suspects[i].call != call) continue;
    int64_t deaths = s->trying->page.suspects[i].deaths;
    return deaths < 0 ? 0 : deaths < INT32_MAX ? deaths : INT32_MAX;
  }
  return 0;
}

/* Uses the call's own place, else a free one, else the last one. */
void tinker__svc_trying_set(tinker__svc_t *s, int64_t call, int64_t deaths) {
  int at = MAX_SUSPECTS - 1;
  if (!s->trying) return;
  page_t *p = &s->trying->page;
  for (int i = MAX_SUSPECTS - 1; i >= 0; i--) {
    if (!p->suspects[i].deaths) at = i;
  }
  for (int i = 0; i < MAX_SUSPECTS; i++) {
    if (p->suspects[i].deaths && p->suspects[i].call == call) at = i;
  }
  p->suspects[at].call = deaths ? call : 0;
  p->suspects[at].deaths = deaths;
}

int64_t *tinker__svc_trying_suspects(tinker__svc_t *s) {
  return s->trying ? &s->trying->page.samples_before : NULL;
}

void tinker__svc_trying_close(tinker__svc_t *s) {
  s->doing = &s->doing_here;
  if (s->trying) munmap(s->trying, sizeof *s->trying);
  s->trying = NULL;
}
