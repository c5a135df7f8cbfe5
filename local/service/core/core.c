/* core: row numbers, the log, and the end that anybody can ask for. Any thread
 * unless a function says otherwise. */
#include "service/core/core.h"

#include <stdarg.h>

#include "service/core/log.h"

#define LOG_LINE 16384

int64_t tinker__svc_row(tinker__svc_t *s) {
  return s->next_row++;
}

/* --- Log ------------------------------------------------------------------ */

void tinker__svc_log(tinker__svc_t *s, const char *level, const char *event,
                     ...) {
  tinker__buf_t line;
  va_list args;
  const char *key;
  if (!s->log) return;
  tinker__buf_init(&line, s->mem, LOG_LINE);
  tinker__svc_lines_begin(&line, s->world, level, event);
  va_start(args, event);
  while ((key = va_arg(args, const char *)) != NULL) {
    tinker__svc_lines_put(&line, key, va_arg(args, const char *));
  }
  va_end(args);
  tinker__svc_lines_end(&line);
  tinker__svc_lines_add(s->log, &line);
}

/* --- End ------------------------------------------------------------------ */

bool tinker__svc_ends(tinker__svc_t *s) {
  return s->stopping || atomic_load(&s->fatal);
}

void tinker__svc_fatal(tinker__svc_t *s, const char *what) {
  atomic_store(&s->fatal, true);
  tinker__svc_log(s, "error", "fatal", "why", what, NULL);
  if (s->config.ended) s->config.ended(s->config.user);
}

/* --- Hooks ---------------------------------------------------------------- */

void tinker__svc_accepting(tinker__svc_op_t *op) {
  const tinker__svc_observer_t *o = op->service->observer;
  if (o) o->accepting(op);
}

void tinker__svc_heard(const tinker__svc_op_t *op, tinker__svc_event_t event) {
  const tinker__svc_observer_t *o = op->service->observer;
  if (o) o->heard(op, event);
}

void tinker__svc_other(tinker__svc_t *s, const char *endpoint, const char *id) {
  if (s->observer) s->observer->other(s, endpoint, id);
}
