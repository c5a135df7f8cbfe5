/* The calls of a sampler. */
#include <math.h>

#include "api/call.h"
#include "api/checks.h"
#include "api/data.h"
#include "api/handles.h"
#include "wire/sample.h"

#define FEW_CHUNKS 4

static void check_numbers(tinker__call_t *c,
                          const tinker_sampling_params_t *o) {
  tinker__call_want(c, o->max_tokens == -1 || o->max_tokens >= 1, "max_tokens",
                    (double)o->max_tokens, "1 or more, or -1");
  tinker__call_want(c, o->num_samples >= 1, "num_samples", o->num_samples,
                    "1 or more");
  tinker__call_want(c, o->temperature >= 0 && isfinite(o->temperature),
                    "temperature", o->temperature, "0 or more");
  tinker__call_want(c, o->top_k == -1 || o->top_k >= 1, "top_k", o->top_k,
                    "1 or more, or -1");
  tinker__call_want(c, o->top_p > 0 && o->top_p <= 1, "top_p", o->top_p,
                    "above 0, at most 1");
  tinker__call_want(c, o->seed >= TINKER_NO_SEED, "seed", (double)o->seed,
                    "0 or more, or TINKER_NO_SEED");
  tinker__call_want(c, o->topk_prompt_logprobs >= 0, "topk_prompt_logprobs",
                    o->topk_prompt_logprobs, "0 or more");
  tinker__call_reserved(c, "sampling_params", o->reserved0);
  tinker__call_flag(c, "no_stop", o->no_stop);
  tinker__call_flag(c, "prompt_logprobs", o->prompt_logprobs);
}

static void check_count(tinker__call_t *c, const char *name, size_t n,
                        size_t limit, const void *items) {
  if (n > limit) {
    tinker__call_refuse(c, TINKER_EOVERFLOW,
                        "%s: there are %zu: want at most %zu", name, n, limit);
  }
  if (n && !items) {
    tinker__call_refuse(c, TINKER_EINVAL, "%s is NULL, and its count is %zu",
                        name, n);
  }
}

static void check_stop(tinker__call_t *c, const tinker_sampling_params_t *o) {
  size_t kinds = (o->stop_string_count > 0) + (o->stop_token_count > 0) +
                 (o->no_stop != 0);
  if (kinds > 1) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "more than one of no_stop, stop_strings and "
                        "stop_tokens is set");
  }
  check_count(c, "stop_strings", o->stop_string_count, TINKER__MAX_STOP_STRINGS,
              o->stop_strings);
  check_count(c, "stop_tokens", o->stop_token_count, TINKER__MAX_STOP_TOKENS,
              o->stop_tokens);
  for (size_t i = 0; i < o->stop_string_count && !c->rc; i++) {
    const char *fault = tinker__text_fault(o->stop_strings[i]);
    if (fault) {
      tinker__call_refuse(c, TINKER_EINVAL, "stop_strings[%zu] %s", i, fault);
    }
  }
  for (size_t i = 0; i < o->stop_token_count && !c->rc; i++) {
    if (o->stop_tokens[i] < 0) {
      tinker__call_refuse(c, TINKER_EINVAL,
                          "stop_tokens[%zu] is %d: want 0 or more", i,
                          o->stop_tokens[i]);
    }
  }
}

static void fill_params(tinker__sample_params_t *p,
                        const tinker_sampling_params_t *o,
                        tinker__str_t *strings) {
  p->has_max_tokens = o->max_tokens >= 1;
  p->max_tokens = o->max_tokens;
  p->has_seed = o->seed != TINKER_NO_SEED;
  p->seed = (uint64_t)o->seed;
  p->temperature = o->temperature;
  p->top_k = o->top_k;
  p->top_p = o->top_p;
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

/* Nearly every call has few chunks and no stop strings, and needs no memory for
 * them. */
static int encode(tinker__op_t *op, const tinker_input_t *prompt,
                  const tinker_sampling_params_t *o) {
  tinker__sample_request_t r;
  tinker__arena_t *arena = &tinker__op_job(op)->arena;
  tinker__str_t *strings = NULL;
  tinker__chunk_view_t few[FEW_CHUNKS], *chunks = few;
  if (o->stop_string_count) {
    strings = tinker__arena_array(arena, o->stop_string_count, sizeof *strings);
    if (!strings) return TINKER_ENOMEM;
  }
  if (prompt->chunks > FEW_CHUNKS) {
    chunks = tinker__arena_array(arena, prompt->chunks, sizeof *chunks);
    if (!chunks) return TINKER_ENOMEM;
  }
  tinker__input_views(prompt, chunks);
  tinker__sample_request_init(&r);
  r.sampling_session_id = tinker__str(op->turn->id);
  r.chunks = chunks;
  r.chunk_count = prompt->chunks;
  r.num_samples = o->num_samples;
  r.prompt_logprobs = o->prompt_logprobs != 0;
  r.topk_prompt_logprobs = o->topk_prompt_logprobs;
  fill_params(&r.params, o, strings);
  return tinker__sample_request_encode(&op->parts[0].body, op->mem, &r);
}

void tinker__call_take_sample(tinker__call_t *call,
                              tinker_sampling_params_t *out,
                              const tinker_input_t *prompt,
                              const tinker_sampling_params_t *given) {
  static const tinker_sampling_params_t defaults = TINKER_SAMPLING_PARAMS_INIT;
  if (!prompt || prompt->len == 0) {
    tinker__call_refuse(call, TINKER_EINVAL, "prompt is %s",
                        prompt ? "empty" : "NULL");
  }
  tinker__call_take(call, out, sizeof *out, &defaults, given,
                    "sampling_params");
  if (!call->rc) check_numbers(call, out);
  if (!call->rc) check_stop(call, out);
}

/* One of several may be another client's. */
void tinker__call_sample(tinker__call_t *call, tinker_sampler_t *sampler,
                         const tinker_input_t *prompt,
                         const tinker_sampling_params_t *params) {
  tinker__op_t *op =
      tinker__call_op_of(call, sampler->core, sampler->turn,
                         &tinker__kind_sample, &tinker__result_sample, 1);
  if (op) tinker__call_check(call, encode(op, prompt, params));
}

tinker_future_t *tinker_sampler_sample(tinker_sampler_t *sampler,
                                       const tinker_input_t *prompt,
                                       const tinker_sampling_params_t *params,
                                       const tinker_call_options_t *call) {
  if (!sampler) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_sampling_params_t o;
  tinker__call_begin(&c, sampler->core, sampler->turn, &tinker__kind_sample,
                     call);
  tinker__call_take_sample(&c, &o, prompt, params);
  tinker__call_sample(&c, sampler, prompt, &o);
  return tinker__call_end(&c);
}
