/* Life of trainers and samplers, see handles.h. */
#include "api/handles.h"

int tinker__trainer_new(tinker_trainer_t **out, tinker_client_t *core,
                        const char *model_id) {
  tinker_trainer_t *t = tinker__mem_zalloc(core->mem, sizeof *t);
  if (!t) return TINKER_ENOMEM;
  if (tinker__turn_new(&t->turn, core->mem, model_id, true)) {
    tinker__mem_free(core->mem, t);
    return TINKER_ENOMEM;
  }
  tinker__ref_init(&t->ref);
  tinker__core_hold(core);
  t->core = core;
  *out = t;
  return 0;
}

tinker_trainer_t *tinker_trainer_retain(tinker_trainer_t *trainer) {
  if (trainer) tinker__ref_retain(&trainer->ref);
  return trainer;
}

tinker_trainer_t *tinker_trainer_release(tinker_trainer_t *trainer) {
  if (!trainer || !tinker__ref_release(&trainer->ref)) return NULL;
  tinker_client_t *core = trainer->core;
  tinker__turn_release(trainer->turn);
  tinker__mem_free(core->mem, trainer);
  tinker__core_unhold(core);
  return NULL;
}

const char *tinker_trainer_model_id(const tinker_trainer_t *trainer) {
  return trainer ? trainer->turn->id : "";
}

int tinker__sampler_new(tinker_sampler_t **out, tinker_client_t *core,
                        const char *sampling_session_id) {
  tinker_sampler_t *s = tinker__mem_zalloc(core->mem, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  if (tinker__turn_new(&s->turn, core->mem, sampling_session_id, false)) {
    tinker__mem_free(core->mem, s);
    return TINKER_ENOMEM;
  }
  tinker__ref_init(&s->ref);
  tinker__core_hold(core);
  s->core = core;
  *out = s;
  return 0;
}

tinker_sampler_t *tinker_sampler_retain(tinker_sampler_t *sampler) {
  if (sampler) tinker__ref_retain(&sampler->ref);
  return sampler;
}

tinker_sampler_t *tinker_sampler_release(tinker_sampler_t *sampler) {
  if (!sampler || !tinker__ref_release(&sampler->ref)) return NULL;
  tinker_client_t *core = sampler->core;
  tinker__turn_release(sampler->turn);
  tinker__mem_free(core->mem, sampler);
  tinker__core_unhold(core);
  return NULL;
}

const char *tinker_sampler_id(const tinker_sampler_t *sampler) {
  return sampler ? sampler->turn->id : "";
}
