/* The calls of a client that make things or ask about the service. */

#include "api/metadata.h"

tinker_future_t *
tinker_client_get_capabilities(tinker_client_t *client,
                               const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_capabilities, call);
  tinker__call_open(&c, &tinker__result_capabilities, 1);
  return tinker__call_end(&c);
}

static void check_trainer(tinker__call_t *c,
                          const tinker_trainer_options_t *o) {
  const uint32_t all =
      TINKER_FREEZE_ATTENTION | TINKER_FREEZE_MLP | TINKER_FREEZE_UNEMBED;
  if (c->rc) return;
  tinker__call_text(c, "base_model", o->base_model);
  tinker__call_want(c, o->rank && !(o->rank & (o->rank - 1)), "rank", o->rank,
                    "a power of two");
  tinker__call_want(c, !(o->freeze & ~all) && o->freeze != all, "freeze",
                    o->freeze, "bits of TINKER_FREEZE_*, not all three");
  tinker__call_want(c, o->seed >= TINKER_NO_SEED, "seed", (double)o->seed,
                    "0 or more, or TINKER_NO_SEED");
}

/* A copy of the metadata in the job; empty without memory. */
static tinker__str_t keep_metadata(tinker__call_t *c, tinker__job_t *job,
                                   const tinker__buf_t *json) {
  const char *copy = tinker__arena_str(&job->arena, tinker__buf_str(json));
  if (!copy) tinker__call_check(c, TINKER_ENOMEM);
  return (tinker__str_t){copy, copy ? json->len : 0};
}

static int fill_create(tinker__job_t *job, const tinker_trainer_options_t *o) {
  tinker__create_model_t *m = &job->request.create;
  *m = (tinker__create_model_t){
      .base_model = tinker__job_str(job, o->base_model),
      .has_lora_config = true,
      .lora_config = {.rank = o->rank,
                      .has_seed = o->seed != TINKER_NO_SEED,
                      .seed = o->seed,
                      .train_unembed = !(o->freeze & TINKER_FREEZE_UNEMBED),
                      .train_mlp = !(o->freeze & TINKER_FREEZE_MLP),
                      .train_attn = !(o->freeze & TINKER_FREEZE_ATTENTION)},
      .optimizer_config = TINKER__STR("{\"type\":\"adamw\"}")};
  return m->base_model ? 0 : TINKER_ENOMEM;
}

tinker_future_t *
tinker_client_create_trainer(tinker_client_t *client,
                             const tinker_trainer_options_t *options,
                             const tinker_call_options_t *call) {
  static const tinker_trainer_options_t defaults = TINKER_TRAINER_OPTIONS_INIT;
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_trainer_options_t o;
  tinker__buf_t metadata;
  tinker__call_begin(&c, client, NULL, &tinker__kind_create_model, call);
  tinker__call_take(&c, &o, sizeof o, &defaults, options, "trainer_options");
  check_trainer(&c, &o);
  tinker__call_metadata(&c, &metadata, o.metadata, o.metadata_count);
  if (tinker__call_open(&c, &tinker__result_trainer, 1)) {
    tinker__job_t *job = tinker__call_job(&c);
    tinker__call_check(&c, fill_create(job, &o));
    job->request.create.user_metadata = keep_metadata(&c, job, &metadata);
  }
  tinker__buf_free(&metadata);
  return tinker__call_end(&c);
}

static void check_state(tinker__call_t *c, const tinker_state_options_t *o) {
  if (c->rc) return;
  tinker__call_flag(c, "with_optimizer", o->with_optimizer);
  tinker__call_reserved(c, "state_options", o->reserved0);
}

tinker_future_t *
tinker_client_create_trainer_from_state(tinker_client_t *client,
                                        const char *path, int with_optimizer,
                                        const tinker_call_options_t *call) {
  tinker_state_options_t o = TINKER_STATE_OPTIONS_INIT;
  o.with_optimizer = with_optimizer;
  return tinker_client_create_trainer_from_state_with(client, path, &o, call);
}

tinker_future_t *tinker_client_create_trainer_from_state_with(
    tinker_client_t *client, const char *path,
    const tinker_state_options_t *options, const tinker_call_options_t *call) {
  static const tinker_state_options_t defaults = TINKER_STATE_OPTIONS_INIT;
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_state_options_t o;
  tinker__buf_t metadata;
  tinker__call_begin(&c, client, NULL, &tinker__kind_load_new, call);
  tinker__call_take(&c, &o, sizeof o, &defaults, options, "state_options");
  tinker__call_path(&c, "path", path);
  check_state(&c, &o);
  tinker__call_metadata(&c, &metadata, o.metadata, o.metadata_count);
  if (tinker__call_open(&c, &tinker__result_trainer, 1)) {
    tinker__job_t *job = tinker__call_job(&c);
    job->request.load = (tinker__load_weights_t){
        .path = tinker__job_str(job, path),
        .optimizer = o.with_optimizer != 0,
        .user_metadata = keep_metadata(&c, job, &metadata),
    };
    if (!job->request.load.path) tinker__call_check(&c, TINKER_ENOMEM);
  }
  tinker__buf_free(&metadata);
  return tinker__call_end(&c);
}

/* One of the two is NULL. */
static tinker_future_t *
create_sampler(tinker__call_t *c, const char *base_model, const char *path) {
  if (tinker__call_open(c, &tinker__result_sampler, 1)) {
    tinker__job_t *job = tinker__call_job(c);
    job->request.sampling = (tinker__create_sampling_t){
        .base_model = tinker__job_str(job, base_model),
        .model_path = tinker__job_str(job, path),
    };
    if (!job->request.sampling.base_model &&
        !job->request.sampling.model_path) {
      tinker__call_check(c, TINKER_ENOMEM);
    }
  }
  return tinker__call_end(c);
}

tinker_future_t *
tinker_client_create_sampler(tinker_client_t *client, const char *base_model,
                             const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_create_sampling, call);
  tinker__call_text(&c, "base_model", base_model);
  return create_sampler(&c, base_model, NULL);
}

tinker_future_t *
tinker_client_create_sampler_from_path(tinker_client_t *client,
                                       const char *path,
                                       const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_create_sampling, call);
  tinker__call_path(&c, "path", path);
  return create_sampler(&c, NULL, path);
}
