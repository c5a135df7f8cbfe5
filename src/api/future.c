/* The public face of futures: waiting, canceling, typed results. */
#include "api/compound.h"
#include "api/handles.h"
#include "api/hook.h"
#include "api/results.h"

static tinker_client_t *core_of(const tinker_future_t *f) {
  return f->owner;
}

/* A result that is decoded can be read in a forked child too; nothing else
 * may be touched there. */
static bool is_out_of_reach(const tinker_future_t *f) {
  return !f->constant && tinker__future_state(f) != TINKER__FUTURE_DONE &&
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
  return is_out_of_reach(future) ? NULL : tinker__future_error(future);
}

tinker_kind_t tinker_future_kind(const tinker_future_t *future) {
  return future ? future->kind : TINKER_KIND_NONE;
}

void *tinker_future_user(const tinker_future_t *future) {
  return future ? future->user : NULL;
}

int tinker_future_runs_callback(const tinker_future_t *future) {
  return future && future->cb;
}

/* --- waiting --- */

static bool is_settled(const tinker_future_t *f) {
  return tinker__future_state(f) != TINKER__FUTURE_PENDING;
}

/* Place of the first that has ended; n if none has. */
static size_t first_ended(tinker_future_t *const *futures, size_t n) {
  size_t i = 0;
  while (i < n && !is_settled(futures[i])) i++;
  return i;
}

/* Waits until one of n has ended; place: which. 0, TINKER_EAGAIN (not yet), or
 * another code of tinker__loop_sleep. Those that run are of one client; a
 * constant one that runs never ends. */
static int wait_for(tinker_future_t *const *futures, size_t n,
                    int64_t timeout_ms, size_t *place) {
  tinker_client_t *core = NULL;
  int rc = 0;
  for (size_t i = 0; i < n && !core; i++) {
    if (!is_settled(futures[i])) core = core_of(futures[i]);
  }
  if (first_ended(futures, n) == n) {
    if (!core) return TINKER_EAGAIN;
    if (timeout_ms && tinker__hook_is_here(core)) return TINKER_EDEADLK;
    if (tinker__core_enter(core)) {
      rc = tinker__future_wait_any(futures, n, core->loop, timeout_ms);
      tinker__core_leave(core);
    }
  }
  if (rc) return rc == TINKER_ETIMEDOUT ? TINKER_EAGAIN : rc;
  *place = first_ended(futures, n);
  return *place < n ? 0 : TINKER_ECLOSED;
}

int tinker_future_wait(tinker_future_t *future, int64_t timeout_ms) {
  if (!future || timeout_ms < -1) return TINKER_EINVAL;
  if (is_out_of_reach(future)) return TINKER_EFORKED;
  size_t place;
  int rc = wait_for(&future, 1, timeout_ms, &place);
  if (rc) return rc;
  tinker__future_decode(future, true);
  return tinker__future_code(future);
}

/* 0, or why these can't be waited for. */
static int check_all(tinker_future_t *const *futures, size_t n) {
  if (!futures && n) return TINKER_EINVAL;
  for (size_t i = 0; i < n; i++) {
    if (!futures[i]) return TINKER_EINVAL;
    if (is_out_of_reach(futures[i])) return TINKER_EFORKED;
  }
  return 0;
}

static bool one_client(tinker_future_t *const *futures, size_t n) {
  const tinker_client_t *core = NULL;
  for (size_t i = 0; i < n; i++) {
    if (is_settled(futures[i])) continue;
    if (core && core_of(futures[i]) != core) return false;
    core = core_of(futures[i]);
  }
  return true;
}

int tinker_future_wait_any(tinker_future_t *const *futures, size_t n,
                           int64_t timeout_ms, size_t *index) {
  int rc = check_all(futures, n);
  if (rc || n == 0 || timeout_ms < -1) return rc ? rc : TINKER_EINVAL;
  if (!one_client(futures, n)) return TINKER_EINVAL;
  size_t place;
  rc = wait_for(futures, n, timeout_ms, &place);
  if (!rc && index) *index = place;
  return rc;
}

/* From the last to the first: operations mostly end in the order of their
 * calls, and each wait that has to sleep costs its thread a wake-up. */
int tinker_future_wait_all(tinker_future_t *const *futures, size_t n,
                           int64_t timeout_ms) {
  int rc = check_all(futures, n);
  if (timeout_ms < -1) return TINKER_EINVAL;
  const tinker__world_t *world = tinker__world_real();
  int64_t start = world->now_ms(world->user);
  for (size_t i = n; i > 0 && !rc; i--) {
    int64_t spent = world->now_ms(world->user) - start;
    int64_t left = timeout_ms < 0       ? -1
                   : timeout_ms > spent ? timeout_ms - spent
                                        : 0;
    size_t place;
    rc = wait_for(&futures[i - 1], 1, left, &place);
  }
  return rc;
}

/* --- ending early --- */

static void cancel_run(tinker__task_t *task) {
  tinker_future_t *f = TINKER__CONTAINER(task, tinker_future_t, cancel);
  tinker_client_t *core = core_of(f);
  tinker__compound_t *compound = tinker__compound_of(f);
  if (f->op) {
    tinker__flow_cancel(&core->flow, f->op, tinker__loop_now(core->loop));
  } else if (compound) {
    tinker__compound_stop(compound, TINKER_ECANCELED, "it was canceled");
  }
  tinker__ending_look(core);
  tinker__future_unref(f);
}

void tinker_future_cancel(tinker_future_t *future) {
  if (!future || future->constant || is_settled(future) ||
      is_out_of_reach(future)) {
    return;
  }
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
  if (future) tinker__future_user_ref(future);
  return future;
}

tinker_future_t *tinker_future_release(tinker_future_t *future) {
  tinker__future_user_unref(future);
  return NULL;
}

/* --- results --- */

/* 0 when it has ended well and has a result of this kind; then *f becomes the
 * future that has it, which may be a child's. */
static int ended(tinker_future_t **f, const tinker__future_ops_t *kind,
                 const void *out) {
  int status = *f && out ? tinker_future_status(*f) : TINKER_EINVAL;
  if (status) return status;
  tinker_future_t *with = tinker__compound_find(*f, kind);
  if (with) *f = with;
  return with ? 0 : TINKER_EINVAL;
}

int tinker_future_get_trainer(tinker_future_t *future, tinker_trainer_t **out) {
  int rc = ended(&future, &tinker__result_trainer, out);
  if (!rc) *out = tinker_trainer_retain(future->result);
  return rc;
}

int tinker_future_get_sampler(tinker_future_t *future, tinker_sampler_t **out) {
  int rc = ended(&future, &tinker__result_sampler, out);
  if (rc == TINKER_EINVAL) rc = ended(&future, &tinker__result_ephemeral, out);
  if (!rc) *out = tinker_sampler_retain(future->result);
  return rc;
}

int tinker_future_get_forward(tinker_future_t *future,
                              const tinker_forward_result_t **out) {
  int rc = ended(&future, &tinker__result_forward, out);
  if (!rc) *out = future->result;
  return rc;
}

/* Sums a tensor over all examples; false if one of them does not have it. */
static bool add_up(const tinker_forward_result_t *result, const char *name,
                   double *sum) {
  tinker_tensor_view_t tensor;
  size_t n = tinker_forward_result_count(result);
  *sum = 0;
  for (size_t i = 0; i < n; i++) {
    int rc = tinker_forward_result_tensor(result, i, name, &tensor);
    if (rc || (tensor.count && !tensor.f32)) return false;
    for (size_t k = 0; k < tensor.count; k++) *sum += (double)tensor.f32[k];
  }
  return n > 0;
}

int tinker_future_loss(tinker_future_t *future, double *out) {
  double sum;
  const tinker_forward_result_t *result;
  if (!out) return TINKER_EINVAL;
  int rc = tinker_future_get_forward(future, &result);
  if (rc) return rc;
  if (tinker_forward_result_metric(result, "loss:sum", &sum) &&
      !add_up(result, "elementwise_loss", &sum)) {
    return TINKER_ENOENT;
  }
  *out = sum;
  return 0;
}

int tinker_future_get_optim(tinker_future_t *future,
                            const tinker_optim_result_t **out) {
  int rc = ended(&future, &tinker__result_optim, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_path(tinker_future_t *future, const char **out) {
  int rc = ended(&future, &tinker__result_path, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_sample(tinker_future_t *future,
                             const tinker_sample_result_t **out) {
  int rc = ended(&future, &tinker__result_sample, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_info(tinker_future_t *future,
                           const tinker_model_info_t **out) {
  int rc = ended(&future, &tinker__result_info, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_capabilities(tinker_future_t *future,
                                   const tinker_capabilities_t **out) {
  int rc = ended(&future, &tinker__result_capabilities, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_dump(tinker_future_t *future, const char **out) {
  int rc = ended(&future, &tinker__result_dump, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_run(tinker_future_t *future,
                          const tinker_training_run_t **out) {
  int rc = ended(&future, &tinker__result_run, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_run_list(tinker_future_t *future,
                               const tinker_training_run_list_t **out) {
  int rc = ended(&future, &tinker__result_run_list, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_checkpoint_list(tinker_future_t *future,
                                      const tinker_checkpoint_list_t **out) {
  int rc = ended(&future, &tinker__result_checkpoint_list, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_weights_info(tinker_future_t *future,
                                   const tinker_weights_info_t **out) {
  int rc = ended(&future, &tinker__result_weights_info, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_session_list(tinker_future_t *future,
                                   const tinker_session_list_t **out) {
  int rc = ended(&future, &tinker__result_session_list, out);
  if (!rc) *out = future->result;
  return rc;
}

int tinker_future_get_session(tinker_future_t *future,
                              const tinker_session_info_t **out) {
  int rc = ended(&future, &tinker__result_session, out);
  if (!rc) *out = future->result;
  return rc;
}
