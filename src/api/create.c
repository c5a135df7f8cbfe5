/* The calls of a client that make things or ask about the service. */

#include "api/checks.h"
#include "api/job.h"
#include "base/options.h"

int tinker_client_get_capabilities(tinker_client_t *client,
                                   const tinker_call_options_t *call,
                                   tinker_done_cb cb, void *user,
                                   tinker_future_t **out) {
  if (!client) return TINKER_EINVAL;
  tinker__args_t c = {client, NULL, call, cb, user, out};
  tinker__op_t *op = NULL;
  int rc = tinker__job_begin(&c, &tinker__kind_capabilities,
                             &tinker__result_capabilities, 1, &op);
  return tinker__job_end(&c, op, rc);
}

static int check_trainer(const tinker_trainer_options_t *o) {
  uint32_t all =
      TINKER_FREEZE_ATTENTION | TINKER_FREEZE_MLP | TINKER_FREEZE_UNEMBED;
  if (!tinker__text_ok(o->base_model)) return TINKER_EINVAL;
  if (o->rank & (o->rank - 1)) return TINKER_EINVAL;
  if (o->freeze & ~all || o->freeze == all) return TINKER_EINVAL;
  return 0;
}

static int fill_create(tinker__job_t *job, const tinker_trainer_options_t *o) {
  tinker__create_model_t *m = &job->request.create;
  *m = (tinker__create_model_t){
      .base_model = tinker__job_str(job, o->base_model),
      .has_lora_config = true,
      .lora_config = {.rank = o->rank ? o->rank : 32,
                      .has_seed = o->has_seed != 0,
                      .seed = o->seed,
                      .train_unembed = !(o->freeze & TINKER_FREEZE_UNEMBED),
                      .train_mlp = !(o->freeze & TINKER_FREEZE_MLP),
                      .train_attn = !(o->freeze & TINKER_FREEZE_ATTENTION)},
      .optimizer_config = TINKER__STR("{\"type\":\"adamw\"}")};
  return m->base_model ? 0 : TINKER_ENOMEM;
}

int tinker_client_create_trainer(tinker_client_t *client,
                                 const tinker_trainer_options_t *options,
                                 const tinker_call_options_t *call,
                                 tinker_done_cb cb, void *user,
                                 tinker_future_t **out) {
  if (!client) return TINKER_EINVAL;
  tinker__args_t c = {client, NULL, call, cb, user, out};
  tinker_trainer_options_t o;
  tinker__op_t *op = NULL;
  int rc =
      tinker__options_take(&o, sizeof o, options, "trainer_options", NULL, 0);
  if (!rc) rc = check_trainer(&o);
  if (!rc) {
    rc = tinker__job_begin(&c, &tinker__kind_create_model,
                           &tinker__result_trainer, 1, &op);
  }
  if (!rc) rc = fill_create(tinker__op_job(op), &o);
  return tinker__job_end(&c, op, rc);
}

int tinker_client_create_trainer_from_state(tinker_client_t *client,
                                            const char *path,
                                            int with_optimizer,
                                            const tinker_call_options_t *call,
                                            tinker_done_cb cb, void *user,
                                            tinker_future_t **out) {
  if (!client || !tinker__path_ok(path)) return TINKER_EINVAL;
  tinker__args_t c = {client, NULL, call, cb, user, out};
  tinker__op_t *op = NULL;
  int rc = tinker__job_begin(&c, &tinker__kind_load_new,
                             &tinker__result_trainer, 1, &op);
  if (!rc) {
    tinker__job_t *job = tinker__op_job(op);
    job->request.load = (tinker__load_weights_t){
        .path = tinker__job_str(job, path),
        .optimizer = with_optimizer != 0,
    };
    if (!job->request.load.path) rc = TINKER_ENOMEM;
  }
  return tinker__job_end(&c, op, rc);
}

static int create_sampler(const tinker__args_t *c, const char *base_model,
                          const char *path) {
  tinker__op_t *op = NULL;
  int rc = tinker__job_begin(c, &tinker__kind_create_sampling,
                             &tinker__result_sampler, 1, &op);
  if (!rc) {
    tinker__job_t *job = tinker__op_job(op);
    job->request.sampling = (tinker__create_sampling_t){
        .base_model = tinker__job_str(job, base_model),
        .model_path = tinker__job_str(job, path),
    };
    if (!job->request.sampling.base_model &&
        !job->request.sampling.model_path) {
      rc = TINKER_ENOMEM;
    }
  }
  return tinker__job_end(c, op, rc);
}

int tinker_client_create_sampler(tinker_client_t *client,
                                 const char *base_model,
                                 const tinker_call_options_t *call,
                                 tinker_done_cb cb, void *user,
                                 tinker_future_t **out) {
  if (!client || !tinker__text_ok(base_model)) return TINKER_EINVAL;
  tinker__args_t c = {client, NULL, call, cb, user, out};
  return create_sampler(&c, base_model, NULL);
}

int tinker_client_create_sampler_from_path(tinker_client_t *client,
                                           const char *path,
                                           const tinker_call_options_t *call,
                                           tinker_done_cb cb, void *user,
                                           tinker_future_t **out) {
  if (!client || !tinker__path_ok(path)) return TINKER_EINVAL;
  tinker__args_t c = {client, NULL, call, cb, user, out};
  return create_sampler(&c, NULL, path);
}
