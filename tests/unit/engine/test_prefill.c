/* How many tokens of a prompt a round takes. What rounds make of it is in
 * test_generate.c and test_claim.c. */
#include <criterion/criterion.h>

#include "engine/prefill.h"

/* However many keys its tokens see, and however many prompts there are, a
 * prompt gets on: at least 32 tokens alone, at least one beside others. */
Test(prefill, every_prompt_gets_on) {
  tinker__eng_gen_t g = {.state = TINKER__GEN_PREFILL, .n_prompt = 4000000};
  for (g.fed = 0; g.fed < g.n_prompt - 512; g.fed += 99991) {
    tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 1};
    size_t n = tinker__eng_prefill_take(&left, &g);
    cr_assert(n >= 32 && n <= TINKER__PREFILL_TOKENS, "%zu: %zu", g.fed, n);
    cr_assert_eq(left.tokens, TINKER__PREFILL_TOKENS - n);
    left = (tinker__eng_prefill_t){TINKER__PREFILL_TOKENS, 64};
    for (int i = 0; i < 64; i++) {
      cr_assert_geq(tinker__eng_prefill_take(&left, &g), 1u);
    }
    cr_assert_leq(left.tokens, (size_t)TINKER__PREFILL_TOKENS);
    cr_assert_eq(left.prompts, 0u);
  }
  tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 1};
  g.fed = g.n_prompt - 3;
  cr_assert_eq(tinker__eng_prefill_take(&left, &g), 3u, "and no more");
}

/* A piece ends at the last row that is needed. */
Test(prefill, a_piece_ends_with_the_scores) {
  tinker__eng_gen_t g = {
      .state = TINKER__GEN_PREFILL, .n_prompt = 1000, .score_to = 700};
  tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 1};
  g.fed = 400;
  cr_assert_eq(tinker__eng_prefill_take(&left, &g), 300u);
  left = (tinker__eng_prefill_t){TINKER__PREFILL_TOKENS, 1};
  g.fed = 700;
  cr_assert_eq(tinker__eng_prefill_take(&left, &g), 300u, "to the end");
}
