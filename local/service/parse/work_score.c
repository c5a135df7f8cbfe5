/* work_score: checks which scores an asample request wants of its prompt, and
 * lays them out for the engine. A dense target gets row starts, as a CSR target
 * has them. Pure. */
#include <string.h>

#include <tinker/error.h>

#include "service/parse/work.h"

/* Bounds prompt tokens times draws, and prompt tokens times distinct ids of a
 * target. Both take memory in the reply, and time of the engine thread, for
 * which other requests wait. */
#define MAX_CELLS ((size_t)1 << 23)

static int check_last_n(const tinker__sample_request_t *q,
                        tinker__eng_gen_spec_t *spec, char *why,
                        size_t why_len) {
  int64_t last = (int64_t)spec->n_prompt - 1;
  if (!q->has_last_n) return 0;
  if (q->prompt_logprobs_last_n > last) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "prompt_logprobs_last_n must be from 1 to %lld, the "
                       "prompt's length less one: %lld",
                       (long long)last, (long long)q->prompt_logprobs_last_n);
  }
  spec->prompt_from = spec->n_prompt - (size_t)q->prompt_logprobs_last_n;
  return 0;
}

static int too_many(const char *name, const char *what, size_t prompt,
                    size_t width, char *why, size_t why_len) {
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "%s: %zu prompt tokens times %zu %s are more than %zu",
                     name, prompt, width, what, MAX_CELLS);
}

static int check_draws(const tinker__sample_request_t *q,
                       tinker__eng_gen_spec_t *spec, char *why,
                       size_t why_len) {
  size_t k = (size_t)q->prompt_alt_tokens_k;
  if (k && spec->n_prompt > MAX_CELLS / k) {
    return too_many("prompt_alt_tokens_k", "draws", spec->n_prompt, k, why,
                    why_len);
  }
  spec->draws = k;
  return 0;
}

/* Checks each id and counts the different ones. seen has a cleared bit for
 * every token of the vocabulary. */
static int count_ids(const tinker__tensor_view_t *t, size_t vocab,
                     unsigned char *seen, size_t *distinct, char *why,
                     size_t why_len) {
  const int64_t *ids = t->data;
  *distinct = 0;
  for (size_t i = 0; i < t->count; i++) {
    if (ids[i] == -1) continue;
    if (ids[i] < 0 || (uint64_t)ids[i] >= vocab) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "target_prompt_logprobs: token %lld (value %zu) is "
                         "outside the vocabulary",
                         (long long)ids[i], i);
    }
    unsigned char bit = (unsigned char)(1u << (ids[i] & 7));
    if (!(seen[ids[i] >> 3] & bit)) ++*distinct;
    seen[ids[i] >> 3] |= bit;
  }
  return 0;
}

static int check_target(tinker__svc_work_t *w, const tinker__tensor_view_t *t,
                        size_t vocab, size_t prompt, char *why,
                        size_t why_len) {
  static const char name[] = "target_prompt_logprobs";
  size_t distinct = 0;
  if ((uint64_t)t->shape[0] != prompt - 1) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s: must have %zu rows, the prompt's length less one, "
                       "not %lld",
                       name, prompt - 1, (long long)t->shape[0]);
  }
  unsigned char *seen = tinker__arena_array(&w->arena, vocab / 8 + 1, 1);
  if (!seen) return TINKER_ENOMEM;
  int rc = count_ids(t, vocab, seen, &distinct, why, why_len);
  if (rc != 0) return rc;
  if (!distinct) {
    return tinker__why(why, why_len, TINKER_EINVAL, "%s: names no id", name);
  }
  if (prompt > MAX_CELLS / distinct) {
    return too_many(name, "different ids", prompt, distinct, why, why_len);
  }
  return 0;
}

static int take_target(tinker__svc_work_t *w, const tinker__sample_request_t *q,
                       size_t vocab, tinker__eng_gen_spec_t *spec, char *why,
                       size_t why_len) {
  if (!q->has_target) return 0;
  const tinker__tensor_view_t *t = &q->target;
  int rc = check_target(w, t, vocab, spec->n_prompt, why, why_len);
  if (rc != 0) return rc;
  tinker__tensor_view_t *copy = tinker__arena_alloc(&w->arena, sizeof *copy);
  int64_t *starts =
      tinker__arena_array(&w->arena, spec->n_prompt, sizeof *starts);
  if (!copy || !starts) return TINKER_ENOMEM;
  *copy = *t;
  for (size_t r = 0; r < spec->n_prompt; r++) {
    starts[r] = t->crow ? t->crow[r] : (int64_t)r * t->shape[1];
  }
  spec->target = (tinker__eng_gen_target_t){starts, t->data};
  w->target = copy;
  return 0;
}

int tinker__svc_work_scores(tinker__svc_work_t *w,
                            const tinker__sample_request_t *q,
                            const tinker__eng_base_info_t *info,
                            tinker__eng_gen_spec_t *spec, char *why,
                            size_t why_len) {
  int rc = check_last_n(q, spec, why, why_len);
  if (rc == 0) rc = check_draws(q, spec, why, why_len);
  if (rc == 0) {
    rc = take_target(w, q, info->vocab_size, spec, why, why_len);
  }
  return rc;
}
