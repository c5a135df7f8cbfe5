/* generate_op: executes a sample: finds the adapter of its sampler, runs the
 * generation and stores its result. Engine thread. */
#include <signal.h>
#include <string.h>

#include <tinker/error.h>

#include "service/run/exec.h"

#define MAX_ADAPTERS 8 /* of samplers in memory; the others are in files */

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
  /* Generations that use the adapter hold references of their own. */
  tinker__svc_sampler_unload(TINKER__CONTAINER(tinker__list_first(&s->adapters),
                                               tinker__svc_sampler_t, loaded));
}

/* Takes the adapters of a session that is LEAVING out of memory. No sampler is
 * added to such a session, so the list can be walked without the lock. If there
 * is no memory for the write the sweep tries again. */
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
  tinker__svc_session_move(n, TINKER__SVC_SESSION_PURGED);
  tinker__svc_unlock(s);
  return false;
}

/* Sets base and adapter of a generation, and loads the adapter if needed. If
 * the sampler's checkpoint was deleted the sample fails even while the adapter
 * is in memory, since a restart must not change the answer. */
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

/* Stores the result of a sample. A result that is too large fails the request,
 * since a restart would only make it once more. */
static void complete(tinker__svc_op_t *op, const tinker__eng_gen_t *gen) {
  tinker__buf_t out;
  tinker__buf_init(&out, op->service->mem, op->service->max_result);
  int rc = tinker__svc_result_sample(&out, gen, op->work->target);
  if (rc == 0) rc = tinker__buf_error(&out);
  if (rc == 0) {
    tinker__svc_op_complete(op, TINKER__SVC_OUTCOME_DONE, TINKER__FORMAT_PROTO,
                            &out, NULL, NULL, NULL);
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
    tinker__svc_op_fail(op, "user", TINKER__SAMPLE_CANCELED);
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
