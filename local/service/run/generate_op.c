/* generate_op: a sample, executed: the adapter of its sampler, the generation,
 * its result. Engine thread. */
#include <signal.h>
#include <string.h>

#include <tinker/error.h>

#include "service/run/exec.h"

#define MAX_ADAPTERS 8 /* in memory for samplers; more are in files */

void tinker__svc_sampler_unload(tinker__svc_sampler_t *p) {
  tinker__list_remove(&p->loaded);
  p->base->backend->api->adapter_release(p->adapter);
  p->adapter = NULL;
  p->service->n_adapters--;
}

void tinker__svc_sampler_keep(tinker__svc_sampler_t *p,
                              tinker__eng_adapter_t *adapter) {
  tinker__svc_t *s = p->service;
  if (!p->adapter) s->n_adapters++;
  p->adapter = adapter;
  tinker__list_remove(&p->loaded);
  tinker__list_push_back(&s->adapters, &p->loaded);
  if (s->n_adapters <= MAX_ADAPTERS) return;
  /* Those that sample from it hold it for themselves. */
  tinker__svc_sampler_unload(TINKER__CONTAINER(tinker__list_first(&s->adapters),
                                               tinker__svc_sampler_t, loaded));
}

/* Nothing joins the samplers of a session that leaves: no lock is needed to
 * walk over them. Without memory for the write: at the next tick. */
bool tinker__svc_leave(tinker__eng_task_t *task) {
  tinker__svc_session_t *n =
      TINKER__CONTAINER(task, tinker__svc_session_t, task);
  tinker__svc_t *s = n->service;
  TINKER__LIST_EACH(l, tmp, &n->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(l, tinker__svc_sampler_t, by_session);
    if (p->adapter) tinker__svc_sampler_unload(p);
  }
  if (tinker__svc_session_delete(n) == 0) return false;
  tinker__svc_lock(s);
  n->leaves = false;
  tinker__svc_unlock(s);
  return false;
}

/* Engine thread: base and adapter of the sampler, the adapter loaded. One
 * whose checkpoint is gone samples no more, whether or not it is loaded: a
 * restart must not change the answer. */
static int prepare(tinker__eng_gen_t *gen, char *why, size_t why_len) {
  char dir[1200];
  tinker__svc_op_t *op = gen->user;
  tinker__svc_sampler_t *p = op->sampler;
  tinker__svc_t *s = op->service;
  if (op->acts & TINKER__ACT_CRASH) raise(SIGSEGV);
  gen->base = p->base->base;
  gen->adapter = p->adapter;
  if (!p->checkpoint) return 0;
  tinker__svc_lock(s);
  bool there = tinker__svc_checkpoint_by_row(s, p->checkpoint) != NULL;
  tinker__svc_unlock(s);
  if (!there) {
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "the checkpoint %s was deleted",
                       p->path ? p->path : "of this sampling session");
  }
  if (!gen->adapter) {
    tinker__svc_checkpoint_dir(s, "checkpoints", p->checkpoint, dir,
                               sizeof dir);
    int rc = gen->backend->api->adapter_load(gen->base, dir, &gen->adapter, why,
                                             why_len);
    if (rc != 0) return rc;
  }
  tinker__svc_sampler_keep(p, gen->adapter);
  return 0;
}

/* A result that has no room is the request's error: made once more after a
 * restart it would have no room again. */
static void complete(tinker__svc_op_t *op, const tinker__eng_gen_t *gen) {
  tinker__buf_t out;
  tinker__buf_init(&out, op->service->mem, op->service->max_result);
  int rc = tinker__svc_result_sample(&out, gen, op->work->target);
  if (rc == 0) rc = tinker__buf_error(&out);
  if (rc == 0) {
    tinker__svc_op_complete(op, TINKER__SVC_OP_DONE, TINKER__FORMAT_PROTO, &out,
                            NULL, NULL, NULL);
    return;
  }
  tinker__buf_free(&out);
  if (rc == TINKER_EOVERFLOW) {
    tinker__svc_op_fail(op, "user", "the result is larger than %zu bytes",
                        op->service->max_result);
  } else {
    tinker__svc_op_fail(op, "server", "out of memory for the result");
  }
}

static void on_generated(tinker__eng_gen_t *gen, int rc, const char *why) {
  tinker__svc_op_t *op = gen->user;
  tinker__svc_lock(op->service);
  op->running = NULL;
  tinker__svc_base_drop(op->sampler->base, &op->holds);
  tinker__svc_unlock(op->service);
  if (rc == TINKER_ECANCELED) {
    tinker__svc_sampler_fail_ended(op);
  } else if (rc != 0) {
    bool user = rc == TINKER_EINVAL || rc == TINKER_ENOENT;
    tinker__svc_op_fail(op, user ? "user" : "server", "%s",
                        *why ? why : tinker_code_text(rc));
  } else {
    complete(op, gen);
  }
  tinker__eng_gen_free(gen);
}

void tinker__svc_generate(tinker__svc_op_t *op, tinker__eng_gen_t *gen) {
  tinker__svc_debug_op(op, "executes");
  op->running = gen;
  tinker__svc_base_hold(op->sampler->base, &op->holds);
  gen->user = op;
  gen->backend = op->sampler->base->backend;
  gen->prepare = prepare;
  gen->done = on_generated;
  tinker__eng_scheduler_sample(op->service->scheduler, gen);
}
