/* The calls of a trainer. */
#include <math.h>
#include <string.h>

#include "api/checks.h"
#include "api/data.h"
#include "api/handles.h"
#include "api/job.h"
#include "base/options.h"
#include "wire/fb_request.h"
#include "wire/path.h"

#define TTL_MIN 3600
#define TTL_MAX 315360000 /* ten years */

static tinker__args_t call_of(tinker_trainer_t *t,
                              const tinker_call_options_t *options,
                              tinker_done_cb cb, void *user,
                              tinker_future_t **out) {
  return (tinker__args_t){t->core, t->turn, options, cb, user, out};
}

/* --- forward and forward_backward --- */

/* The inputs that a loss reads (protocol 7.1). */
static const struct loss {
  const char *name;
  const char *inputs[4];
} losses[] = {
    [TINKER_LOSS_CROSS_ENTROPY] = {"cross_entropy",
                                   {"target_tokens", "weights"}},
    [TINKER_LOSS_IMPORTANCE_SAMPLING] = {"importance_sampling",
                                         {"target_tokens", "logprobs",
                                          "advantages"}},
    [TINKER_LOSS_PPO] = {"ppo", {"target_tokens", "logprobs", "advantages"}},
    [TINKER_LOSS_CISPO] = {"cispo",
                           {"target_tokens", "logprobs", "advantages"}},
    [TINKER_LOSS_DRO] = {"dro", {"target_tokens", "logprobs", "advantages"}},
    [TINKER_LOSS_GSPO] = {"gspo",
                          {"target_tokens", "logprobs", "advantages",
                           "sequence_ratio_mask"}},
};

/* A batch on its way into requests. */
typedef struct batch_s {
  const tinker_datum_t *const *data;
  size_t n;
  const struct loss *loss;
  tinker__config_entry_t config[3];
  size_t config_count;
  bool forward_only;
  tinker__arena_t arena; /* views, for the time of the call */
  tinker__datum_view_t *views;
  uint64_t *estimates;
} batch_t;

/* Refuses a datum that the service would refuse, before it uses a number up. */
static int check_datum(const tinker_datum_t *d, const struct loss *loss) {
  if (!d) return TINKER_EINVAL;
  for (size_t i = 0; i < 4 && loss->inputs[i]; i++) {
    const tinker__input_tensor_t *t = tinker__datum_tensor(d, loss->inputs[i]);
    bool is_target = i == 0;
    if (!t || t->is_float == is_target || t->rows != d->input->len) {
      return TINKER_EINVAL;
    }
    if (t->cols && loss != &losses[TINKER_LOSS_CROSS_ENTROPY]) {
      return TINKER_EINVAL;
    }
  }
  return 0;
}

static int check_loss(batch_t *b, const tinker_loss_t *given) {
  tinker_loss_t o;
  int rc = tinker__options_take(&o, sizeof o, given, "loss", NULL, 0);
  if (rc) return rc;
  if (o.kind < 0 || (size_t)o.kind >= sizeof losses / sizeof losses[0]) {
    return TINKER_EINVAL;
  }
  const bool dro = o.kind == TINKER_LOSS_DRO;
  const bool clips = o.kind == TINKER_LOSS_PPO || o.kind == TINKER_LOSS_CISPO ||
                     o.kind == TINKER_LOSS_GSPO;
  const double values[3] = {o.clip_low_threshold, o.clip_high_threshold,
                            o.beta};
  const char *names[3] = {"clip_low_threshold", "clip_high_threshold", "beta"};
  if (dro && o.beta == 0) return TINKER_EINVAL;
  for (int i = 0; i < 3; i++) {
    if (!(values[i] >= 0 && isfinite(values[i]))) return TINKER_EINVAL;
    if (values[i] == 0) continue;
    if (!(i == 2 ? dro : clips)) return TINKER_EINVAL;
    b->config[b->config_count++] = (tinker__config_entry_t){
        .name = tinker__str(names[i]),
        .number = values[i],
    };
  }
  b->loss = &losses[o.kind];
  return 0;
}

static int view_batch(batch_t *b) {
  b->views = tinker__arena_array(&b->arena, b->n, sizeof *b->views);
  b->estimates = tinker__arena_array(&b->arena, b->n, sizeof *b->estimates);
  if (!b->views || !b->estimates) return TINKER_ENOMEM;
  for (size_t i = 0; i < b->n; i++) {
    int rc = tinker__datum_view(b->data[i], &b->arena, &b->views[i]);
    if (rc) return rc;
    b->estimates[i] = tinker__datum_estimate(&b->views[i]);
  }
  return 0;
}

static int encode_chunks(const batch_t *b, tinker__op_t *op,
                         const tinker__chunk_limits_t *limits) {
  tinker__fb_view_t view = {
      .model_id = tinker__str(op->turn->id),
      .loss_fn = tinker__str(b->loss->name),
      .config = b->config,
      .config_count = b->config_count,
      .forward_only = b->forward_only,
  };
  size_t at = 0;
  for (size_t i = 0; i < op->count; i++) {
    size_t end = tinker__chunk_end(limits, b->estimates, b->n, at);
    op->parts[i].first = at;
    view.datums = b->views + at;
    view.datum_count = end - at;
    int rc =
        tinker__fb_request_encode(&op->parts[i].body, op->mem, &view, NULL, 0);
    if (rc) return rc;
    at = end;
  }
  return 0;
}

static int submit_batch(const tinker__args_t *c, batch_t *b) {
  const tinker__chunk_limits_t *limits = &c->core->chunks;
  tinker__op_t *op = NULL;
  const tinker__kind_t *kind =
      b->forward_only ? &tinker__kind_forward : &tinker__kind_forward_backward;
  int rc = view_batch(b);
  if (!rc) {
    rc =
        tinker__job_begin(c, kind, &tinker__result_forward,
                          tinker__chunk_count(limits, b->estimates, b->n), &op);
  }
  if (!rc) rc = encode_chunks(b, op, limits);
  if (!rc) op->parallel = c->core->parallel_chunks;
  return tinker__job_end(c, op, rc);
}

static int batch_call(tinker_trainer_t *t, const tinker_datum_t *const *data,
                      size_t n, const tinker_loss_t *loss, bool forward_only,
                      const tinker__args_t *c) {
  batch_t b = {.data = data, .n = n, .forward_only = forward_only};
  if (!data || n == 0) return TINKER_EINVAL;
  if (!tinker__core_is_here(t->core)) return TINKER_EFORKED;
  int rc = check_loss(&b, loss);
  for (size_t i = 0; i < n && !rc; i++) rc = check_datum(data[i], b.loss);
  if (rc) return rc;
  tinker__arena_init(&b.arena, t->core->mem);
  rc = submit_batch(c, &b);
  tinker__arena_free(&b.arena);
  return rc;
}

int tinker_trainer_forward(tinker_trainer_t *trainer,
                           const tinker_datum_t *const *data, size_t n,
                           const tinker_loss_t *loss,
                           const tinker_call_options_t *call, tinker_done_cb cb,
                           void *user, tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return batch_call(trainer, data, n, loss, true, &c);
}

int tinker_trainer_forward_backward(tinker_trainer_t *trainer,
                                    const tinker_datum_t *const *data, size_t n,
                                    const tinker_loss_t *loss,
                                    const tinker_call_options_t *call,
                                    tinker_done_cb cb, void *user,
                                    tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return batch_call(trainer, data, n, loss, false, &c);
}

/* --- the small numbered calls --- */

static int message_call(const tinker__args_t *c, const tinker__kind_t *kind,
                        const tinker__future_ops_t *result,
                        const tinker__bind_table_t *table,
                        const void *message) {
  tinker__op_t *op = NULL;
  int rc = tinker__job_begin(c, kind, result, 1, &op);
  if (!rc) {
    rc = tinker__message_encode_numbered(&op->parts[0].body, op->mem, table,
                                         message, tinker__str(op->turn->id));
  }
  return tinker__job_end(c, op, rc);
}

static double or_default(double value, double otherwise) {
  return value == 0 ? otherwise : value;
}

int tinker_trainer_optim_step(tinker_trainer_t *trainer,
                              const tinker_adam_params_t *params,
                              const tinker_call_options_t *call,
                              tinker_done_cb cb, void *user,
                              tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker_adam_params_t o;
  int rc = tinker__options_take(&o, sizeof o, params, "adam_params", NULL, 0);
  if (rc) return rc;
  const tinker__adam_wire_t d = tinker__adam_wire_default;
  tinker__adam_wire_t a = {
      .learning_rate = o.has_learning_rate
                           ? o.learning_rate
                           : or_default(o.learning_rate, d.learning_rate),
      .beta1 = or_default(o.beta1, d.beta1),
      .beta2 = or_default(o.beta2, d.beta2),
      .eps = or_default(o.eps, d.eps),
      .weight_decay = o.weight_decay,
      .grad_clip_norm = o.grad_clip_norm,
  };
  if (!(a.learning_rate >= 0 && isfinite(a.learning_rate)) ||
      !(a.beta1 >= 0 && a.beta1 < 1) || !(a.beta2 >= 0 && a.beta2 < 1) ||
      !(a.eps >= 0 && isfinite(a.eps)) ||
      !(a.weight_decay >= 0 && isfinite(a.weight_decay)) ||
      !(a.grad_clip_norm >= 0 && isfinite(a.grad_clip_norm))) {
    return TINKER_EINVAL;
  }
  tinker__optim_step_t m = {.has_adam_params = true, .adam_params = a};
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return message_call(&c, &tinker__kind_optim_step, &tinker__result_optim,
                      &tinker__optim_step_msg, &m);
}

static bool is_name(const char *name) {
  size_t n = name ? strlen(name) : 0;
  return n > 0 && n <= 255 &&
         strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                      "0123456789_.-") == n;
}

static int take_save(tinker_save_options_t *o,
                     const tinker_save_options_t *given, const char *name) {
  int rc = tinker__options_take(o, sizeof *o, given, "save_options", NULL, 0);
  if (rc) return rc;
  bool ttl_ok = o->ttl_seconds == 0 ||
                (o->ttl_seconds >= TTL_MIN && o->ttl_seconds <= TTL_MAX);
  return is_name(name) && ttl_ok ? 0 : TINKER_EINVAL;
}

int tinker_trainer_save_state(tinker_trainer_t *trainer, const char *name,
                              const tinker_save_options_t *options,
                              const tinker_call_options_t *call,
                              tinker_done_cb cb, void *user,
                              tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker_save_options_t o;
  int rc = take_save(&o, options, name);
  if (rc) return rc;
  tinker__save_weights_t m = {
      .path = name,
      .has_ttl_seconds = o.ttl_seconds != 0,
      .ttl_seconds = o.ttl_seconds,
      .overwrite = o.overwrite != 0,
  };
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return message_call(&c, &tinker__kind_save_weights, &tinker__result_path,
                      &tinker__save_weights_msg, &m);
}

int tinker_trainer_save_weights_for_sampler(
    tinker_trainer_t *trainer, const char *name,
    const tinker_save_options_t *options, const tinker_call_options_t *call,
    tinker_done_cb cb, void *user, tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker_save_options_t o;
  int rc = take_save(&o, options, name);
  if (rc || o.overwrite) return rc ? rc : TINKER_EINVAL;
  tinker__save_sampler_t m = {
      .path = name,
      .kind = "snapshot",
      .has_ttl_seconds = o.ttl_seconds != 0,
      .ttl_seconds = o.ttl_seconds,
  };
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return message_call(&c, &tinker__kind_save_sampler, &tinker__result_path,
                      &tinker__save_sampler_msg, &m);
}

static int load(const tinker__args_t *c, const char *path, bool optimizer) {
  if (!tinker__path_ok(path)) return TINKER_EINVAL;
  tinker__load_weights_t m = {.path = path, .optimizer = optimizer};
  return message_call(c, &tinker__kind_load_weights, &tinker__result_none,
                      &tinker__load_weights_msg, &m);
}

int tinker_trainer_load_state(tinker_trainer_t *trainer, const char *path,
                              const tinker_call_options_t *call,
                              tinker_done_cb cb, void *user,
                              tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return load(&c, path, false);
}

int tinker_trainer_load_state_with_optimizer(tinker_trainer_t *trainer,
                                             const char *path,
                                             const tinker_call_options_t *call,
                                             tinker_done_cb cb, void *user,
                                             tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  return load(&c, path, true);
}

/* --- the others --- */

int tinker_trainer_create_sampler(tinker_trainer_t *trainer,
                                  const tinker_call_options_t *call,
                                  tinker_done_cb cb, void *user,
                                  tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker__args_t c = call_of(trainer, call, cb, user, out);
  tinker__op_t *op = NULL;
  int rc = tinker__job_begin(&c, &tinker__kind_save_ephemeral,
                             &tinker__result_ephemeral, 1, &op);
  return tinker__job_end(&c, op, rc);
}

/* The call has no number and so no turn: it may overtake queued calls. */
int tinker_trainer_get_info(tinker_trainer_t *trainer,
                            const tinker_call_options_t *call,
                            tinker_done_cb cb, void *user,
                            tinker_future_t **out) {
  if (!trainer) return TINKER_EINVAL;
  tinker__args_t c = {trainer->core, NULL, call, cb, user, out};
  tinker__op_t *op = NULL;
  int rc = tinker__job_begin(&c, &tinker__kind_get_info, &tinker__result_info,
                             1, &op);
  if (!rc) {
    tinker__job_t *job = tinker__op_job(op);
    job->model_id = tinker__job_str(job, trainer->turn->id);
    if (!job->model_id) rc = TINKER_ENOMEM;
  }
  return tinker__job_end(&c, op, rc);
}
