/* An operation that is several of the flow's, see compound.h. */
#include "api/compound.h"

static bool has_ended(const tinker_future_t *f) {
  return tinker__future_state(f) != TINKER__FUTURE_PENDING;
}

static tinker_client_t *core_of(const tinker__compound_t *c) {
  return c->future->owner;
}

static void on_deadline(tinker__timer_t *timer) {
  tinker__compound_t *c =
      TINKER__CONTAINER(timer, tinker__compound_t, deadline);
  tinker_client_t *core = core_of(c);
  char why[80];
  tinker__flow_late(why, sizeof why, c->timeout_ms);
  tinker__compound_stop(c, TINKER_ETIMEDOUT, why);
  tinker__ending_look(core);
}

static void begin_run(tinker__task_t *task) {
  tinker__compound_t *c = TINKER__CONTAINER(task, tinker__compound_t, begin);
  if (c->deadline_ms >= 0) {
    tinker__timer_start(core_of(c)->loop, &c->deadline, c->deadline_ms);
  }
  if (c->ops->begin) c->ops->begin(c);
}

tinker__compound_t *tinker__compound_new(tinker_future_t *future,
                                         const tinker__compound_ops_t *ops,
                                         size_t room) {
  tinker__compound_t *c =
      room > (SIZE_MAX - sizeof *c) / sizeof c->children[0]
          ? NULL
          : tinker__mem_zalloc(future->mem,
                               sizeof *c + room * sizeof c->children[0]);
  if (!c) return NULL;
  c->ops = ops;
  c->future = future;
  c->deadline_ms = -1;
  tinker__list_init(&c->link);
  tinker__task_init(&c->begin, begin_run);
  tinker__timer_init(&c->deadline, on_deadline);
  tinker__job_of(future)->compound = c;
  return c;
}

tinker__op_t *tinker__compound_add(tinker__compound_t *compound,
                                   tinker_client_t *core, tinker__turn_t *turn,
                                   const tinker__kind_t *kind,
                                   const tinker__future_ops_t *result,
                                   size_t parts) {
  tinker__child_t *child = &compound->children[compound->count];
  *child = (tinker__child_t){.compound = compound};
  if (tinker__job_new(&child->future, core, kind, result, parts)) return NULL;
  compound->count++;
  child->future->parent = compound->future;
  child->future->user = compound->future->user; /* for events */
  if (tinker__job_op(&child->op, child->future, kind, parts)) return NULL;
  if (turn) child->op->turn = tinker__turn_retain(turn);
  return child->op;
}

int tinker__compound_start(tinker__child_t *child) {
  tinker__op_t *op = child->op;
  tinker_future_t *parent = child->compound->future;
  child->op = NULL;
  tinker__future_ref(parent); /* until child_ended */
  int rc = tinker__driver_submit(child->future->owner, op);
  if (!rc) return 0;
  child->op = op;
  tinker__future_unref(parent);
  return rc;
}

static tinker__child_t *child_of(tinker__compound_t *c,
                                 const tinker_future_t *f) {
  size_t i = 0;
  while (c->children[i].future != f) i++;
  return &c->children[i];
}

void tinker__compound_child_ended(tinker_future_t *future) {
  tinker_future_t *parent = future->parent;
  tinker__compound_t *c = tinker__compound_of(parent);
  c->ops->ended(child_of(c, future));
  tinker__future_unref(future);
  tinker__future_unref(parent);
}

void tinker__compound_settle(tinker__compound_t *compound,
                             tinker_error_t *error) {
  tinker_future_t *f = compound->future;
  tinker_client_t *core = core_of(compound);
  tinker__timer_stop(core->loop, &compound->deadline);
  tinker__list_remove(&compound->link);
  tinker__future_settle(f, error);
  tinker__driver_report(core, f);
  tinker__loop_unhold(core->loop);
}

void tinker__compound_stop(tinker__compound_t *compound, int code,
                           const char *why) {
  if (has_ended(compound->future)) return;
  tinker_future_t *f = compound->future;
  tinker__future_ref(f);
  compound->ops->stop(compound, code, why);
  tinker__future_unref(f);
}

tinker_future_t *tinker__compound_find(tinker_future_t *f,
                                       const tinker__future_ops_t *kind) {
  const tinker__compound_t *c = tinker__compound_of(f);
  if (f->ops == kind) return f;
  for (size_t i = 0; c && i < c->count; i++) {
    const tinker__child_t *child = &c->children[i];
    if (child->future->ops != kind) continue;
    if (!c->chosen || c->chosen == child) return child->future;
  }
  return NULL;
}

tinker_future_t *tinker__compound_running(tinker_future_t *f) {
  const tinker__compound_t *c = tinker__compound_of(f);
  for (size_t i = 0; c && i < c->count; i++) {
    if (!has_ended(c->children[i].future)) return c->children[i].future;
  }
  return f;
}

void tinker__compound_free(tinker__compound_t *compound, tinker__mem_t *mem) {
  if (!compound) return;
  for (size_t i = 0; i < compound->count; i++) {
    tinker__op_free(compound->children[i].op);
    tinker__future_unref(compound->children[i].future);
  }
  if (compound->ops->free) compound->ops->free(compound);
  tinker__mem_free(mem, compound);
}
