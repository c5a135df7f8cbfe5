/* claim: see claim.h. */
#include "engine/claim.h"

#include <inttypes.h>

#include <tinker/error.h>

static uint64_t limit(const tinker__eng_gen_t *g) {
  return g->backend->slots->limit;
}

static bool fits(const tinker__eng_gen_t *g, size_t room) {
  return g->backend->api->slot_bytes(g->base, room) <=
         limit(g) / g->num_samples;
}

int tinker__eng_claim_too_large(tinker__eng_gen_t *g) {
  size_t tokens = g->n_prompt + g->max_tokens;
  return tinker__why(
      g->why, sizeof g->why, TINKER_EINVAL,
      "num_samples, max_tokens: %zu times %" PRIu64
      " bytes for caches of %zu tokens are needed, %" PRIu64 " are available",
      g->num_samples, g->backend->api->slot_bytes(g->base, tokens), tokens,
      limit(g));
}

int tinker__eng_claim_room(tinker__eng_gen_t *g) {
  size_t good = g->n_prompt + 1, bad = g->n_prompt + g->max_tokens;
  if (!fits(g, good)) return tinker__eng_claim_too_large(g);
  if (fits(g, bad)) good = bad;
  while (good + 1 < bad) {
    size_t middle = good + (bad - good) / 2;
    if (fits(g, middle)) {
      good = middle;
    } else {
      bad = middle;
    }
  }
  g->room = good;
  g->slot_bytes = g->backend->api->slot_bytes(g->base, good);
  return 0;
}

bool tinker__eng_claim_now(const tinker__eng_gen_t *g) {
  return g->num_samples * g->slot_bytes <=
         limit(g) - g->backend->slots->claimed;
}

void tinker__eng_claim_take(tinker__eng_gen_t *g) {
  g->claims = g->num_samples;
  g->backend->slots->claimed += g->claims * g->slot_bytes;
}

void tinker__eng_claim_drop(tinker__eng_gen_t *g, size_t slots) {
  if (!slots) return; /* it may not even have been prepared */
  g->claims -= slots;
  g->backend->slots->claimed -= slots * g->slot_bytes;
}
