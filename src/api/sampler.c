/* The calls of a sampler. */
#include <math.h>

#include "api/data.h"
#include "api/handles.h"
#include "api/job.h"
#include "base/options.h"
#include "wire/sample.h"

static int check_numbers(const tinker_sampling_params_t *o) {
  if (o->has_temperature &&
      !(o->temperature >= 0 && isfinite(o->temperature))) {
    return TINKER_EINVAL;
  }
  if (!(o->top_p >= 0 && o->top_p <= 1) || o->top_k < -1) return TINKER_EINVAL;
  if (o->topk_prompt_logprobs < 0) return TINKER_EINVAL;
  return 0;
}

static int check_stop(const tinker_sampling_params_t *o) {
  size_t kinds = (o->stop_string_count > 0) + (o->stop_token_count > 0) +
                 (o->no_stop != 0);
  if (kinds > 1) return TINKER_EINVAL;
  if (o->stop_string_count > TINKER__MAX_STOP_STRINGS ||
      o->stop_token_count > TINKER__MAX_STOP_TOKENS) {
    return TINKER_EOVERFLOW;
  }
  if ((o->stop_string_count && !o->stop_strings) ||
      (o->stop_token_count && !o->stop_tokens)) {
    return TINKER_EINVAL;
  }
  for (size_t i = 0; i < o->stop_string_count; i++) {
    if (!o->stop_strings[i] || !o->stop_strings[i][0]) return TINKER_EINVAL;
  }
  return 0;
}

static void fill_params(tinker__sample_params_t *p,
                        const tinker_sampling_params_t *o,
                        tinker__str_t *strings) {
  p->has_max_tokens = o->max_tokens > 0;
  p->max_tokens = o->max_tokens;
  p->has_seed = o->has_seed != 0;
  p->seed = o->seed;
  if (o->has_temperature) p->temperature = o->temperature;
  if (o->top_k > 0) p->top_k = o->top_k;
  if (o->top_p > 0) p->top_p = o->top_p;
  if (o->no_stop) p->stop = TINKER__STOP_NONE;
  if (o->stop_string_count) {
    for (size_t i = 0; i < o->stop_string_count; i++) {
      strings[i] = tinker__str(o->stop_strings[i]);
    }
    p->stop = TINKER__STOP_STRINGS;
    p->stop_strings = strings;
    p->stop_count = o->stop_string_count;
  } else if (o->stop_token_count) {
    p->stop = TINKER__STOP_TOKENS;
    p->stop_tokens = o->stop_tokens;
    p->stop_count = o->stop_token_count;
  }
}

static int encode(tinker__op_t *op, const tinker_input_t *prompt,
                  const tinker_sampling_params_t *o) {
  tinker__sample_request_t r;
  tinker__arena_t *arena = &tinker__op_job(op)->arena;
  tinker__str_t *strings =
      tinker__arena_array(arena, o->stop_string_count, sizeof *strings);
  tinker__chunk_view_t *chunks =
      tinker__arena_array(arena, prompt->chunks, sizeof *chunks);
  if (!chunks || (o->stop_string_count && !strings)) return TINKER_ENOMEM;
  tinker__input_views(prompt, chunks);
  tinker__sample_request_init(&r);
  r.sampling_session_id = tinker__str(op->turn->id);
  r.chunks = chunks;
  r.chunk_count = prompt->chunks;
  r.num_samples = o->num_samples ? o->num_samples : 1;
  r.prompt_logprobs = o->prompt_logprobs != 0;
  r.topk_prompt_logprobs = o->topk_prompt_logprobs;
  fill_params(&r.params, o, strings);
  return tinker__sample_request_encode(&op->parts[0].body, op->mem, &r);
}

int tinker_sampler_sample(tinker_sampler_t *sampler,
                          const tinker_input_t *prompt,
                          const tinker_sampling_params_t *params,
                          const tinker_call_options_t *call, tinker_done_cb cb,
                          void *user, tinker_future_t **out) {
  if (!sampler || !prompt || prompt->len == 0) return TINKER_EINVAL;
  tinker__args_t c = {sampler->core, sampler->turn, call, cb, user, out};
  tinker_sampling_params_t o;
  tinker__op_t *op = NULL;
  int rc =
      tinker__options_take(&o, sizeof o, params, "sampling_params", NULL, 0);
  if (!rc) rc = check_numbers(&o);
  if (!rc) rc = check_stop(&o);
  if (!rc) {
    rc = tinker__job_begin(&c, &tinker__kind_sample, &tinker__result_sample, 1,
                           &op);
  }
  if (!rc) rc = encode(op, prompt, &o);
  return tinker__job_end(&c, op, rc);
}
