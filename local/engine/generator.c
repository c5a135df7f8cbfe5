/* generator: see generator.h. */
#include "engine/generator.h"

#include <math.h>
#include <tinker/error.h>

static int check_ranges(const tinker__eng_generate_t *s, char *why,
                        size_t why_len) {
  const char *wrong = NULL;
  if (s->tokens && !s->n_tokens) wrong = "tokens: none";
  if (!s->num_samples) wrong = "num_samples: 0 is not at least 1";
  if (!(s->temperature >= 0) || isinf(s->temperature)) {
    wrong = "temperature: not a number from 0 on";
  }
  if (!(s->top_p > 0 && s->top_p <= 1)) {
    wrong = "top_p: not above 0 and at most 1";
  }
  for (size_t i = 0; i < s->n_stop_strings; i++) {
    if (!s->stop_strings[i].len) wrong = "stop_strings: an empty string";
  }
  return wrong ? tinker__why(why, why_len, TINKER_EINVAL, "%s", wrong) : 0;
}

int tinker__eng_generate(tinker__eng_generator_t *g,
                         const tinker__eng_generate_t *spec,
                         const tinker__eng_generate_cb_t *cb, uint64_t *id,
                         char *why, size_t why_len) {
  const struct {
    bool asked;
    uint64_t cap;
    const char *name;
  } wants[] = {
      {spec->tokens != NULL, TINKER_GENERATOR_TOKENS, "tokens"},
      {spec->n_stop_tokens > 0, TINKER_GENERATOR_TOKENS, "stop_tokens"},
      {!spec->tokens, TINKER_GENERATOR_TEXT, "text"},
      {spec->seeded, TINKER_GENERATOR_SEED, "seed"},
      {spec->logprobs, TINKER_GENERATOR_LOGPROBS, "logprobs"},
      {spec->top_logprobs > 0, TINKER_GENERATOR_LOGPROBS, "top_logprobs"},
      {spec->top_k > 0, TINKER_GENERATOR_TOP_K, "top_k"}};
  int rc = check_ranges(spec, why, why_len);
  if (rc) return rc;
  for (size_t i = 0; i < sizeof wants / sizeof *wants; i++) {
    if (!wants[i].asked || g->api->caps & wants[i].cap) continue;
    return tinker__why(why, why_len, TINKER_ENOTSUP,
                       "%s: the generator '%s' does not support it",
                       wants[i].name, g->api->name);
  }
  return g->api->begin(g, spec, cb, id, why, why_len);
}
