/* log: see log.h. One mutex around the ring; formatting happens outside it. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <tinker/error.h>

#include "base/show.h"
#include "base/str.h"

typedef struct tinker__log_entry_s {
  tinker_log_level_t level;
  const char *component;
  char message[TINKER__LOG_MESSAGE_LEN];
} tinker__log_entry_t;

struct tinker__log_s {
  tinker__mem_t *mem;
  tinker_log_level_t level;
  void (*wake)(void *user);
  void *user;
  pthread_mutex_t lock; /* guards all below */
  size_t head, len, mask;
  uint64_t dropped;
  bool woken; /* and no drain has begun since */
  tinker__log_entry_t ring[];
};

const char *tinker_log_level_name(tinker_log_level_t level) {
  static const char *const names[] = {"unknown", "debug", "info",
                                      "warning", "error", "off"};
  unsigned i = (unsigned)level;
  return names[i < sizeof(names) / sizeof(*names) ? i : 0];
}

int tinker__log_new(tinker__log_t **out, tinker__mem_t *mem,
                    tinker_log_level_t level, size_t capacity,
                    void (*wake)(void *user), void *user) {
  size_t n = 1;
  while (n < capacity && n < 65536) n *= 2;
  tinker__log_t *log =
      tinker__mem_zalloc(mem, sizeof(*log) + n * sizeof(log->ring[0]));
  if (!log) return TINKER_ENOMEM;
  if (pthread_mutex_init(&log->lock, NULL)) {
    tinker__mem_free(mem, log);
    return TINKER_ENOMEM;
  }
  log->mem = mem;
  log->mask = n - 1;
  log->wake = wake;
  log->user = user;
  log->level = level;
  *out = log;
  return 0;
}

void tinker__log_free(tinker__log_t *log) {
  if (!log) return;
  pthread_mutex_destroy(&log->lock);
  tinker__mem_free(log->mem, log);
}

bool tinker__log_on(const tinker__log_t *log, tinker_log_level_t level) {
  return log && level >= log->level;
}

/* Under the lock. */
static bool wants_wake(tinker__log_t *log) {
  bool wanted = log->wake && log->len > 0 && !log->woken;
  log->woken |= wanted;
  return wanted;
}

void tinker__log_add(tinker__log_t *log, tinker_log_level_t level,
                     const char *component, const char *fmt, ...) {
  char message[TINKER__LOG_MESSAGE_LEN];
  va_list ap;
  va_start(ap, fmt);
  if (vsnprintf(message, sizeof(message), fmt, ap) < 0) message[0] = 0;
  va_end(ap);
  pthread_mutex_lock(&log->lock);
  if (log->len > log->mask) {
    log->dropped++;
  } else {
    tinker__log_entry_t *e = &log->ring[(log->head + log->len++) & log->mask];
    e->level = level;
    e->component = component;
    tinker__show(e->message, sizeof(e->message), tinker__str(message));
  }
  bool wake = wants_wake(log);
  pthread_mutex_unlock(&log->lock);
  if (wake) log->wake(log->user);
}

/* Takes the oldest message, or the count of dropped ones once it is empty. */
static bool take(tinker__log_t *log, tinker__log_entry_t *out) {
  bool any = true;
  pthread_mutex_lock(&log->lock);
  if (log->len) {
    *out = log->ring[log->head];
    log->head = (log->head + 1) & log->mask;
    log->len--;
  } else if (log->dropped) {
    out->level = TINKER_LOG_WARNING;
    out->component = "log";
    snprintf(out->message, sizeof(out->message), "%llu messages were dropped",
             (unsigned long long)log->dropped);
    log->dropped = 0;
  } else {
    any = false;
  }
  pthread_mutex_unlock(&log->lock);
  return any;
}

size_t tinker__log_drain(tinker__log_t *log, tinker_log_cb cb, void *user) {
  tinker__log_entry_t e;
  size_t n = 0;
  pthread_mutex_lock(&log->lock);
  log->woken = false;
  pthread_mutex_unlock(&log->lock);
  /* Bounded: a callback that logs must not keep this going for ever. All that
   * was there before the drain is taken; what it leaves has woken anew. */
  while (n < log->mask + 2 && take(log, &e)) {
    cb(user, e.level, e.component, e.message);
    n++;
  }
  return n;
}
