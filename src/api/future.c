/* The public face of futures: waiting, canceling, typed results. */
#include "api/handles.h"
#include "api/job.h"
#include "api/results.h"

static tinker_client_t *core_of(const tinker_future_t *f) {
  return f->owner;
}

/* A result that is decoded can be read in a forked child too; nothing else
 * may be touched there. */
static bool is_out_of_reach(const tinker_future_t *f) {
  return tinker__future_state(f) != TINKER__FUTURE_DONE &&
         !tinker__core_is_here(core_of(f));
}

int tinker_future_status(const tinker_future_t *future) {
  if (!future) return TINKER_EINVAL;
  if (is_out_of_reach(future)) return TINKER_EFORKED;
  /* A caller can't see that decoding changes anything. */
  if (!tinker__future_decode((tinker_future_t *)(uintptr_t)future, false)) {
    return TINKER_EAGAIN;
  }
  return tinker__future_code(future);
}

const tinker_error_t *tinker_future_error(const tinker_future_t *future) {
  int status = tinker_future_status(future);
  if (!future || !status || status == TINKER_EAGAIN) return NULL;
  return is_out_of_reach(future) ? NULL : future->error;
}

static bool is_settled(void *user) {
  return tinker__future_state(user) != TINKER__FUTURE_PENDING;
}

int tinker_future_wait(tinker_future_t *future, int64_t timeout_ms) {
  if (!future || timeout_ms < -1) return TINKER_EINVAL;
  if (is_out_of_reach(future)) return TINKER_EFORKED;
  tinker_client_t *core = core_of(future);
  if (!is_settled(future) && tinker__core_enter(core)) {
    int rc = tinker__future_wait_any(&future, 1, core->loop, timeout_ms);
    tinker__core_leave(core);
    if (rc) return rc;
  }
  tinker__future_decode(future, true);
  return tinker__future_code(future);
}

static void cancel_run(tinker__task_t *task) {
  tinker_future_t *f = TINKER__CONTAINER(task, tinker_future_t, cancel);
  tinker_client_t *core = core_of(f);
  if (f->op) {
    tinker__flow_cancel(&core->flow, f->op, tinker__loop_now(core->loop));
  }
  tinker__driver_look(core);
  tinker__future_unref(f);
}

void tinker_future_cancel(tinker_future_t *future) {
  if (!future || is_settled(future) || is_out_of_reach(future)) return;
  tinker_client_t *core = core_of(future);
  if (!tinker__core_enter(core)) return;
  /* Once is enough: the task takes one reference, whoever posts it. */
  if (!atomic_exchange(&future->canceling, true)) {
    tinker__future_ref(future);
    tinker__task_init(&future->cancel, cancel_run);
    tinker__loop_post(core->loop, &future->cancel);
  }
  tinker__core_leave(core);
}

tinker_future_t *tinker_future_retain(tinker_future_t *future) {
  if (future) tinker__future_ref(future);
  return future;
}

tinker_future_t *tinker_future_release(tinker_future_t *future) {
  tinker__future_unref(future);
  return NULL;
}

/* 0 when it has ended well and is of this kind. */
static int ended(tinker_future_t *f, const tinker__future_ops_t *kind,
                 const void *out) {
  if (!f || !out || f->ops != kind) return TINKER_EINVAL;
  return tinker_future_status(f);
}

int tinker_future_get_trainer(tinker_future_t *future, tinker_trainer_t **out) {
  int rc = ended(future, &tinker__result_trainer, out);
  if (!rc) *out = tinker_trainer_retain(future->result);
  return rc;
}

int tinker_future_get_sampler(tinker_future_t *future, tinker_sampler_t **out) {
  int rc = ended(future, &tinker__result_sampler, out);
  if (rc == TINKER_EINVAL) rc = ended(future, &tinker__result_ephemeral, out);
  if (!rc) *out = tinker_sampler_retain(future->result);
  return rc;
}

int tinker_future_get_forward(tinker_future_t *future,
                              const tinker_forward_result_t **out) {
  int rc = ended(future, &tinker__result_forward, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_optim(tinker_future_t *future,
                            const tinker_optim_result_t **out) {
  int rc = ended(future, &tinker__result_optim, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_path(tinker_future_t *future, const char **out) {
  int rc = ended(future, &tinker__result_path, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_sample(tinker_future_t *future,
                             const tinker_sample_result_t **out) {
  int rc = ended(future, &tinker__result_sample, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_info(tinker_future_t *future,
                           const tinker_model_info_t **out) {
  int rc = ended(future, &tinker__result_info, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_capabilities(tinker_future_t *future,
                                   const tinker_capabilities_t **out) {
  int rc = ended(future, &tinker__result_capabilities, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_dump(tinker_future_t *future, const char **out) {
  int rc = ended(future, &tinker__result_dump, out);
  if (!rc) *out = future->result;
  return rc;
}
