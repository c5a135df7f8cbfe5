/* work_sample: turns an asample request into a generation. A field that this
 * service does not support is refused by its name. Pure. */
#include <inttypes.h>
#include <string.h>

#include <tinker/error.h>

#include "service/parse/work.h"

/* Pairs of an id and a log-probability in one result; they take 512 MiB. */
#define MAX_PAIRS ((uint64_t)1 << 26)

static int refuse(const tinker__sample_request_t *q, char *why,
                  size_t why_len) {
  if (!q->record_stability_info) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "record_stability_info is not supported by this service");
}

static int take_prompt(tinker__svc_work_t *w, const tinker__sample_request_t *q,
                       const tinker__eng_base_info_t *info,
                       tinker__eng_gen_spec_t *spec, char *why,
                       size_t why_len) {
  size_t n = tinker__chunks_length(q->chunks, q->chunk_count);
  if (n == 0) {
    return tinker__why(why, why_len, TINKER_EINVAL, "prompt: no tokens");
  }
  int32_t *tokens = tinker__arena_array(&w->arena, n, sizeof *tokens);
  if (!tokens) return TINKER_ENOMEM;
  tinker__chunks_text(q->chunks, q->chunk_count, tokens);
  for (size_t i = 0; i < n; i++) {
    if (tokens[i] < 0 || (size_t)tokens[i] >= info->vocab_size) {
      return tinker__why(
          why, why_len, TINKER_EINVAL,
          "prompt: token %d at position %zu is outside the vocabulary",
          (int)tokens[i], i);
    }
  }
  spec->prompt = tokens;
  spec->n_prompt = n;
  return 0;
}

/* Bounds the entries of top-k lists before anything is sampled, because a
 * result with many more could not be stored. */
static int check_top(const tinker__eng_gen_spec_t *spec, char *why,
                     size_t why_len) {
  uint64_t sampled = (uint64_t)spec->num_samples * spec->max_tokens;
  uint64_t pairs = (uint64_t)spec->n_prompt * spec->top_prompt +
                   sampled * spec->top_sample; /* each below 2^60 */
  if (pairs <= MAX_PAIRS) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "topk_prompt_logprobs for %zu tokens and "
                     "topk_sample_logprobs for num_samples times max_tokens: "
                     "%" PRIu64 " entries are more than %" PRIu64,
                     spec->n_prompt, pairs, MAX_PAIRS);
}

static int check_ranges(const tinker__sample_request_t *q,
                        const tinker__eng_base_info_t *info, size_t prompt,
                        tinker__eng_gen_spec_t *spec, char *why,
                        size_t why_len) {
  size_t limit = info->context_length;
  int64_t top = q->topk_prompt_logprobs > q->topk_sample_logprobs
                    ? q->topk_prompt_logprobs
                    : q->topk_sample_logprobs;
  if ((uint64_t)top > info->vocab_size) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: must be at most %zu, the size of the vocabulary, "
                       "not %lld",
                       top == q->topk_prompt_logprobs ? "topk_prompt_logprobs"
                                                      : "topk_sample_logprobs",
                       info->vocab_size, (long long)top);
  }
  size_t left = prompt < limit ? limit - prompt : 0;
  int64_t want = q->params.has_max_tokens ? q->params.max_tokens
                                          : (int64_t)(left ? left : 1);
  if (want < 1 || (uint64_t)want > left) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "Prompt length plus max_tokens exceeds the model's "
                       "context window: %zu + %lld > %zu",
                       prompt, (long long)want, limit);
  }
  spec->max_tokens = (size_t)want;
  spec->num_samples = (size_t)q->num_samples;
  spec->prompt_logprobs = q->prompt_logprobs;
  spec->top_prompt = (size_t)q->topk_prompt_logprobs;
  spec->top_sample = (size_t)q->topk_sample_logprobs;
  return check_top(spec, why, why_len);
}

/* A token that can't be sampled would never stop anything. */
static int check_stop_tokens(const tinker__sample_params_t *p,
                             const tinker__eng_base_info_t *info, char *why,
                             size_t why_len) {
  if (p->stop_count > info->vocab_size) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "sampling_params.stop: %zu tokens are more than the "
                       "vocabulary's %zu",
                       p->stop_count, info->vocab_size);
  }
  for (size_t i = 0; i < p->stop_count; i++) {
    if ((size_t)p->stop_tokens[i] < info->vocab_size) continue;
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "sampling_params.stop[%zu]: must be a token from 0 to "
                       "%zu, not %d",
                       i, info->vocab_size - 1, (int)p->stop_tokens[i]);
  }
  return 0;
}

static int take_stops(const tinker__sample_params_t *p,
                      tinker__svc_base_model_t *base,
                      tinker__eng_gen_spec_t *spec, char *why, size_t why_len) {
  switch (p->stop) {
  case TINKER__STOP_NONE: return 0;
  case TINKER__STOP_TOKENS:
    spec->stop_tokens = p->stop_tokens;
    spec->n_stop_tokens = p->stop_count;
    return check_stop_tokens(p, &base->info, why, why_len);
  case TINKER__STOP_STRINGS:
    if (!base->tokenizer) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "sampling_params.stop: strings need a "
                         "tokenizer.json in the model's folder%s%s",
                         base->no_text ? " that can be read: " : "",
                         base->no_text ? base->no_text : "");
    }
    spec->stop_strings = p->stop_strings;
    spec->n_stop_strings = p->stop_count;
    spec->text = &base->text;
    break;
  default: break;
  }
  spec->stop_tokens = base->info.eos;
  spec->n_stop_tokens = base->info.num_eos;
  return 0;
}

/* Each entry twice: as the engine makes it, and encoded. Tokens alone are left
 * out, since the caches that they need are much larger; who asks for no entry
 * per token may leave max_tokens to the context. */
static int price(tinker__svc_work_t *w, const tinker__svc_terms_t *terms,
                 const tinker__eng_gen_spec_t *spec, char *why,
                 size_t why_len) {
  uint64_t entry = TINKER__RESULT_PARTS * (sizeof(int32_t) + sizeof(float));
  uint64_t made = (uint64_t)spec->num_samples * spec->max_tokens;
  uint64_t entries = (uint64_t)spec->n_prompt *
                     (spec->top_prompt + spec->draws + spec->prompt_logprobs);
  if (w->target) entries += w->target->count;
  entries += made * spec->top_sample;
  w->price = entry * entries;
  if (!terms->max_result || w->price <= terms->max_result) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "the result needs %" PRIu64 " bytes of memory, %" PRIu64
                     " are there for results: ask for fewer tokens or "
                     "log-probabilities, or raise --max-memory",
                     w->price, terms->max_result);
}

int tinker__svc_work_sample(tinker__svc_work_t *w,
                            const tinker__sample_request_t *q,
                            const tinker__svc_terms_t *terms, char *why,
                            size_t why_len) {
  tinker__eng_gen_spec_t spec = {.n_prompt = 0};
  const tinker__eng_base_info_t *info = &terms->base->info;
  int rc = refuse(q, why, why_len);
  if (rc == 0) rc = take_prompt(w, q, info, &spec, why, why_len);
  if (rc == 0) {
    rc = check_ranges(q, info, spec.n_prompt, &spec, why, why_len);
  }
  if (rc == 0) { /* num_samples and max_tokens are bounded, so this fits */
    rc = tinker__svc_work_check_tokens(
        w, terms, spec.n_prompt + spec.num_samples * spec.max_tokens, why,
        why_len);
  }
  if (rc == 0) rc = tinker__svc_work_scores(w, q, info, &spec, why, why_len);
  if (rc == 0) rc = price(w, terms, &spec, why, why_len);
  if (rc == 0) rc = take_stops(&q->params, terms->base, &spec, why, why_len);
  if (rc != 0) return rc;
  spec.sampling = (tinker__eng_sampling_t){
      .temperature = (float)q->params.temperature,
      .top_k = q->params.top_k,
      .top_p = q->params.top_p,
      .seed = q->params.has_seed ? q->params.seed : (uint64_t)terms->seed,
  };
  w->num_samples = spec.num_samples;
  return tinker__eng_gen_new(&w->gen, w->mem, &spec);
}
