/* core: row numbers, the log, the request to end, and the hooks. Any thread
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

const char *tinker__svc_op_endpoint(tinker__svc_op_kind_t kind) {
  static const char *const names[] = {
      [TINKER__SVC_OP_CREATE] = "create_model",
      [TINKER__SVC_OP_LOAD_NEW] = "load_weights",
      [TINKER__SVC_OP_LOAD] = "load_weights",
      [TINKER__SVC_OP_FORWARD_BACKWARD] = "forward_backward",
      [TINKER__SVC_OP_OPTIM] = "optim_step",
      [TINKER__SVC_OP_SAVE] = "save_weights",
      [TINKER__SVC_OP_SAVE_SAMPLER] = "save_weights_for_sampler",
      [TINKER__SVC_OP_SAMPLE] = "asample",
      [TINKER__SVC_OP_SAVE_EXTERNAL] = "save_weights_external",
  };
  return names[kind];
}

void tinker__svc_debug_op(const tinker__svc_op_t *op, const char *event) {
  if (!op->service->config.debug) return;
  tinker__svc_log(op->service, "debug", event, "request_id", op->request_id,
                  "endpoint", tinker__svc_op_endpoint(op->kind), NULL);
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
