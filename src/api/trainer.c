/* The calls of a trainer without examples. */
#include <math.h>
#include <string.h>

#include "api/call.h"
#include "api/checks.h"
#include "api/handles.h"
#include "api/metadata.h"

static void begin(tinker__call_t *c, tinker_trainer_t *t,
                  const tinker__kind_t *kind,
                  const tinker_call_options_t *options) {
  tinker__call_begin(c, t->core, t->turn, kind, options);
}

/* Adds a numbered operation of one message. */
static void add_message(tinker__call_t *c, const tinker__kind_t *kind,
                        const tinker__future_ops_t *result,
                        const tinker__bind_table_t *table,
                        const void *message) {
  tinker__op_t *op = tinker__call_op(c, kind, result, 1);
  if (!op) return;
  op->partial_ok = c->partial;
  tinker__call_check(
      c, tinker__message_encode_numbered(&op->parts[0].body, op->mem, table,
                                         message, tinker__str(op->turn->id)));
}

/* A call of one message. */
static tinker_future_t *message_call(tinker__call_t *c,
                                     const tinker__future_ops_t *result,
                                     const tinker__bind_table_t *table,
                                     const void *message) {
  add_message(c, c->kind, result, table, message);
  return tinker__call_end(c);
}

/* --- optim_step --- */

static void check_adam(tinker__call_t *c, const tinker_adam_params_t *o) {
  const char *plain = "0 or more", *below = "0 or more, below 1";
  const struct {
    const char *name;
    double value;
    bool below_one;
  } all[] = {
      {"learning_rate", o->learning_rate, false},
      {"beta1", o->beta1, true},
      {"beta2", o->beta2, true},
      {"eps", o->eps, false},
      {"weight_decay", o->weight_decay, false},
      {"grad_clip_norm", o->grad_clip_norm, false},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0] && !c->rc; i++) {
    double v = all[i].value;
    tinker__call_want(c, v >= 0 && isfinite(v) && !(all[i].below_one && v >= 1),
                      all[i].name, v, all[i].below_one ? below : plain);
  }
  tinker__call_flag(c, "allow_partial", o->allow_partial);
}

void tinker__call_take_adam(tinker__call_t *call, tinker__optim_step_t *out,
                            const tinker_adam_params_t *given) {
  static const tinker_adam_params_t defaults = TINKER_ADAM_PARAMS_INIT;
  tinker_adam_params_t o;
  tinker__call_take(call, &o, sizeof o, &defaults, given, "adam_params");
  if (call->rc) return;
  check_adam(call, &o);
  call->partial = o.allow_partial != 0;
  *out = (tinker__optim_step_t){.has_adam_params = true,
                                .adam_params = {
                                    .learning_rate = o.learning_rate,
                                    .beta1 = o.beta1,
                                    .beta2 = o.beta2,
                                    .eps = o.eps,
                                    .weight_decay = o.weight_decay,
                                    .grad_clip_norm = o.grad_clip_norm,
                                }};
}

void tinker__call_optim(tinker__call_t *call,
                        const tinker__optim_step_t *step) {
  add_message(call, &tinker__kind_optim_step, &tinker__result_optim,
              &tinker__optim_step_msg, step);
}

tinker_future_t *tinker_trainer_optim_step(tinker_trainer_t *trainer,
                                           const tinker_adam_params_t *params,
                                           const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__optim_step_t step;
  begin(&c, trainer, &tinker__kind_optim_step, call);
  tinker__call_take_adam(&c, &step, params);
  tinker__call_optim(&c, &step);
  return tinker__call_end(&c);
}

/* --- saves and loads --- */

static void take_save(tinker__call_t *c, tinker_save_options_t *o,
                      const tinker_save_options_t *given, const char *name) {
  static const tinker_save_options_t defaults = TINKER_SAVE_OPTIONS_INIT;
  tinker__call_take(c, o, sizeof *o, &defaults, given, "save_options");
  if (c->rc) return;
  const char *fault = tinker__name_fault(name);
  if (fault) tinker__call_refuse(c, TINKER_EINVAL, "name %s", fault);
  tinker__call_ttl(c, o->ttl_seconds);
  tinker__call_flag(c, "overwrite", o->overwrite);
  tinker__call_reserved(c, "save_options", o->reserved0);
}

tinker_future_t *tinker_trainer_save_state(tinker_trainer_t *trainer,
                                           const char *name,
                                           const tinker_save_options_t *options,
                                           const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_save_options_t o;
  tinker__buf_t metadata;
  begin(&c, trainer, &tinker__kind_save_weights, call);
  take_save(&c, &o, options, name);
  tinker__save_weights_t m = {
      .path = name,
      .has_ttl_seconds = o.ttl_seconds != TINKER_NO_TTL,
      .ttl_seconds = o.ttl_seconds,
      .overwrite = o.overwrite != 0,
      .user_metadata =
          tinker__call_metadata(&c, &metadata, o.metadata, o.metadata_count),
  };
  tinker_future_t *f =
      message_call(&c, &tinker__result_path, &tinker__save_weights_msg, &m);
  tinker__buf_free(&metadata);
  return f;
}

tinker_future_t *tinker_trainer_save_weights_for_sampler(
    tinker_trainer_t *trainer, const char *name,
    const tinker_save_options_t *options, const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_save_options_t o;
  tinker__buf_t metadata;
  begin(&c, trainer, &tinker__kind_save_sampler, call);
  take_save(&c, &o, options, name);
  if (!c.rc && o.overwrite) {
    tinker__call_refuse(&c, TINKER_EINVAL,
                        "overwrite is set, which the service does not offer "
                        "for sampler weights");
  }
  tinker__save_sampler_t m = {
      .path = name,
      .kind = "snapshot",
      .has_ttl_seconds = o.ttl_seconds != TINKER_NO_TTL,
      .ttl_seconds = o.ttl_seconds,
      .user_metadata =
          tinker__call_metadata(&c, &metadata, o.metadata, o.metadata_count),
  };
  tinker_future_t *f =
      message_call(&c, &tinker__result_path, &tinker__save_sampler_msg, &m);
  tinker__buf_free(&metadata);
  return f;
}

static tinker_future_t *load(tinker_trainer_t *trainer, const char *path,
                             bool optimizer,
                             const tinker_call_options_t *options) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  begin(&c, trainer, &tinker__kind_load_weights, options);
  tinker__call_path(&c, "path", path);
  tinker__load_weights_t m = {.path = path, .optimizer = optimizer};
  return message_call(&c, &tinker__result_none, &tinker__load_weights_msg, &m);
}

tinker_future_t *tinker_trainer_load_state(tinker_trainer_t *trainer,
                                           const char *path,
                                           const tinker_call_options_t *call) {
  return load(trainer, path, false, call);
}

tinker_future_t *
tinker_trainer_load_state_with_optimizer(tinker_trainer_t *trainer,
                                         const char *path,
                                         const tinker_call_options_t *call) {
  return load(trainer, path, true, call);
}

/* --- the others --- */

tinker_future_t *
tinker_trainer_create_sampler(tinker_trainer_t *trainer,
                              const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  begin(&c, trainer, &tinker__kind_save_ephemeral, call);
  tinker__call_open(&c, &tinker__result_ephemeral, 1);
  return tinker__call_end(&c);
}

/* The call has no number and so no turn: it may overtake queued calls. */
tinker_future_t *tinker_trainer_get_info(tinker_trainer_t *trainer,
                                         const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, trainer->core, NULL, &tinker__kind_get_info, call);
  if (tinker__call_open(&c, &tinker__result_info, 1)) {
    tinker__job_t *job = tinker__call_job(&c);
    job->model_id = tinker__job_str(job, trainer->turn->id);
    if (!job->model_id) tinker__call_check(&c, TINKER_ENOMEM);
    c.op->about = tinker__turn_retain(trainer->turn);
  }
  return tinker__call_end(&c);
}
