/* core: row numbers, the log, and the end that anybody can ask for. Any thread
 * unless a function says otherwise. */
#include "service/core/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/json_write.h"

int64_t tinker__svc_row(tinker__svc_t *s) {
  return s->next_row++;
}

tinker__svc_base_model_t *tinker__svc_base_find(tinker__svc_t *s,
                                                tinker__str_t name) {
  for (size_t i = 0; i < s->n_bases; i++) {
    if (tinker__str_eqs(name, s->bases[i].name)) return &s->bases[i];
  }
  return NULL;
}

/* --- Log
 * ---------------------------------------------------------------------- */

static void write_log_time(tinker__svc_t *s, tinker__jsonw_t *w) {
  char text[40];
  int64_t ms = s->world->wall_ms(s->world->user);
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
  tinker__jsonw_key(w, "time");
  tinker__jsonw_cstr(w, text);
}

void tinker__svc_log(tinker__svc_t *s, const char *level, const char *event,
                     ...) {
  tinker__buf_t line;
  tinker__jsonw_t w;
  va_list args;
  const char *key;
  if (!s->config.log) return;
  tinker__buf_init(&line, s->mem, 16384);
  tinker__jsonw_init(&w, &line);
  tinker__jsonw_begin_object(&w);
  write_log_time(s, &w);
  tinker__jsonw_key(&w, "level");
  tinker__jsonw_cstr(&w, level);
  tinker__jsonw_key(&w, "event");
  tinker__jsonw_cstr(&w, event);
  va_start(args, event);
  while ((key = va_arg(args, const char *)) != NULL) {
    tinker__jsonw_key(&w, key);
    tinker__jsonw_cstr(&w, va_arg(args, const char *));
  }
  va_end(args);
  tinker__jsonw_end_object(&w);
  pthread_mutex_lock(&s->log_lock);
  if (!tinker__buf_error(&line)) {
    s->config.log(s->config.user, line.data, line.len);
  }
  pthread_mutex_unlock(&s->log_lock);
  tinker__buf_free(&line);
}

/* --- End
 * ---------------------------------------------------------------------- */

bool tinker__svc_ends(tinker__svc_t *s) {
  return s->stopping || atomic_load(&s->fatal);
}

void tinker__svc_fatal(tinker__svc_t *s, const char *what) {
  atomic_store(&s->fatal, true);
  tinker__svc_log(s, "error", "fatal", "why", what, NULL);
  if (s->config.ended) s->config.ended(s->config.user);
}
