/* Memory for caches goes by age: everybody gets on with little of it, and
 * tokens are those of a run with all of it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "engine/claim.h"
#include "row_engine.h"
#include "support/fail_alloc.h"

enum { REQUESTS = 9, PAGE = TINKER__CLAIM_PAGE };

/* Prompts of up to three pieces, one to three samples of up to five pages. */
static size_t prompt_of(size_t i) {
  return 1 + i * 163 % 1200;
}

static size_t most_of(size_t i) {
  return 5 + i * 401 % 640;
}

static tinker__eng_gen_t *request(tinker__mem_t *mem, size_t i) {
  return make(mem, i, prompt_of(i), 1 + i % 3, most_of(i));
}

/* What the largest takes alone. */
static uint64_t largest(void) {
  uint64_t most = 0;
  for (size_t i = 0; i < REQUESTS; i++) {
    uint64_t n = 10 * (1 + i % 3) * (prompt_of(i) + most_of(i));
    if (n > most) most = n;
  }
  return most;
}

/* The largest alone has room, not a token more. */
Test(claim, everybody_gets_on) {
  tinker__mem_t mem;
  tinker__eng_gen_t *gens[REQUESTS], *want;
  tinker__mem_init(&mem, NULL, 0);
  failed = finished = 0;
  slots_made = slots_grown = 0;
  for (size_t i = 0; i < REQUESTS; i++) gens[i] = request(&mem, i);
  slots.limit = largest();
  run(&mem, gens, REQUESTS);
  cr_assert_eq(finished, REQUESTS);
  cr_assert_eq(failed, 0);
  cr_assert_gt(slots_grown, REQUESTS);
  /* More than one for each sequence: some were given up and made again. */
  cr_assert_gt(slots_made, 18);
  slots.limit = UINT64_MAX;
  for (size_t i = 0; i < REQUESTS; i++) {
    want = request(&mem, i);
    run(&mem, &want, 1);
    assert_same(gens[i], want);
    tinker__eng_gen_free(want);
    tinker__eng_gen_free(gens[i]);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

/* One that asks for everything does not keep a small one waiting. */
Test(claim, a_whole_context) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *large = make(&mem, 1, 5, 1, 100000);
  tinker__eng_gen_t *small = make(&mem, 2, 5, 1, 1);
  slot_mem = &mem;
  slots.limit = 10 * 100000; /* less than it asks for */
  tinker__eng_batch_init(&b, &mem);
  add(&b, large);
  for (int i = 0; i < 10; i++) tinker__eng_batch_round(&b);
  finished = failed = 0;
  add(&b, small);
  tinker__eng_batch_round(&b);
  cr_assert_eq(finished, 1);
  cr_assert_eq(failed, 0);
  cr_assert_eq(small->seqs[0].n, 1);
  tinker__eng_gen_free(small);
  tinker__eng_batch_free(&b);
  cr_assert_eq(slots.claimed, 0);
  cr_assert_eq(mem.live_blocks, 0);
}

static tinker__eng_gen_state_t states[3];

static void rounds(tinker__eng_batch_t *b, tinker__eng_gen_t **gens, size_t n) {
  while (n--) tinker__eng_batch_round(b);
  for (size_t i = 0; i < 3; i++) states[i] = gens[i]->state;
}

/* Three of equal size with room for two pages and a bit each: the first to need
 * a third takes it from the youngest, which returns when there is room again,
 * before one that came later. */
Test(claim, by_age) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) gens[i] = make(&mem, i, 1, 1, 3 * PAGE);
  slot_mem = &mem;
  slots.limit = 10 * (6 * PAGE + 10);
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) add(&b, gens[i]);
  tinker__eng_gen_t *later = make(&mem, 3, 4 * PAGE, 1, 5);
  add(&b, later);
  rounds(&b, gens, 1); /* each has a page, and the first has one more free */
  cr_assert_eq(states[2], TINKER__GEN_DECODE);
  rounds(&b, gens, 2 * PAGE); /* each has used two */
  cr_assert_eq(states[0], TINKER__GEN_DECODE);
  cr_assert_eq(states[1], TINKER__GEN_DECODE);
  cr_assert_eq(states[2], TINKER__GEN_DECODE);
  size_t made = gens[2]->seqs[0].n;
  rounds(&b, gens, 2);
  cr_assert_eq(states[0], TINKER__GEN_DECODE);
  cr_assert_eq(states[1], TINKER__GEN_DECODE);
  cr_assert_eq(states[2], TINKER__GEN_WAITS);
  cr_assert_geq(gens[2]->seqs[0].n, made); /* what it made, it keeps */
  finished = failed = 0;
  while (finished < 4) {
    rounds(&b, gens, 1);
    cr_assert(later->state == TINKER__GEN_WAITS ||
                  states[2] != TINKER__GEN_WAITS,
              "overtaken");
  }
  cr_assert_eq(failed, 0);
  for (size_t i = 0; i < 3; i++) {
    cr_assert_eq(gens[i]->seqs[0].n, 3 * PAGE);
    tinker__eng_gen_free(gens[i]);
  }
  tinker__eng_gen_free(later);
  tinker__eng_batch_free(&b);
  cr_assert_eq(mem.live_blocks, 0);
}

/* The youngest of two that needs a page waits for it, with all it has. */
Test(claim, the_youngest_waits) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  gens[0] = make(&mem, 0, 1, 1, PAGE - 1);
  gens[1] = gens[2] = make(&mem, 1, 1, 1, 3 * PAGE);
  slot_mem = &mem;
  slots.limit = 10 * (3 * PAGE + 5);
  tinker__eng_batch_init(&b, &mem);
  add(&b, gens[1]); /* the older one, after the younger has been let in */
  rounds(&b, gens, 1);
  add(&b, gens[0]);
  finished = failed = 0;
  slots_made = 0;
  while (finished < 1) rounds(&b, gens, 1);
  cr_assert_eq(last_rc, 0);
  while (finished < 2) rounds(&b, gens, 1);
  cr_assert_eq(failed, 0);
  cr_assert_eq(slots_made, 1, "no caches were given up");
  tinker__eng_gen_free(gens[0]);
  tinker__eng_gen_free(gens[1]);
  tinker__eng_batch_free(&b);
  cr_assert_eq(mem.live_blocks, 0);
}

/* A load takes memory away: the youngest go back, and all end the same. */
Test(claim, the_limit_falls) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3], *want;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) gens[i] = make(&mem, i, 40, 2, 90);
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) add(&b, gens[i]);
  rounds(&b, gens, 20);
  slots.limit = slots.claimed / 2;
  rounds(&b, gens, 1);
  cr_assert_leq(slots.claimed, slots.limit);
  cr_assert_eq(states[0], TINKER__GEN_DECODE);
  cr_assert_eq(states[2], TINKER__GEN_WAITS);
  finished = failed = 0;
  while (finished < 3) rounds(&b, gens, 1);
  cr_assert_eq(failed, 0);
  tinker__eng_batch_free(&b);
  slots.limit = UINT64_MAX;
  for (size_t i = 0; i < 3; i++) {
    want = make(&mem, i, 40, 2, 90);
    run(&mem, &want, 1);
    assert_same(gens[i], want);
    tinker__eng_gen_free(want);
    tinker__eng_gen_free(gens[i]);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

/* What is fed again shares a round with other prompts: no round is longer than
 * one prompt makes it, but for a token of each sequence. */
Test(claim, fed_again_in_shares) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) gens[i] = make(&mem, i, 40, 2, 900);
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) add(&b, gens[i]);
  rounds(&b, gens, 800);
  slots.limit = slots.claimed / 3; /* for one of them */
  rounds(&b, gens, 1);
  cr_assert_eq(states[0], TINKER__GEN_DECODE);
  for (int i = 1; i < 3; i++) cr_assert_eq(states[i], TINKER__GEN_WAITS);
  slots.limit = UINT64_MAX;
  most_tokens = finished = failed = 0;
  rounds(&b, gens, 2); /* prompts; then the first of what they have made */
  cr_assert_eq(gens[1]->seqs[0].fed, 512 / 2 / 2);
  cr_assert_geq(gens[2]->seqs[1].fed, 512 / 2 / 2);
  while (finished < 3) rounds(&b, gens, 1);
  cr_assert_eq(failed, 0);
  cr_assert_leq(most_tokens, 512 + 6);
  cr_assert_geq(most_tokens, 400);
  tinker__eng_batch_free(&b);
  for (size_t i = 0; i < 3; i++) tinker__eng_gen_free(gens[i]);
  cr_assert_eq(mem.live_blocks, 0);
}

/* The adapter stays while no cache holds it: who lent it may have let it go. */
Test(claim, the_adapter_is_held) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) {
    gens[i] = make(&mem, i, 40, 2, 90);
    gens[i]->adapter = the_adapter();
  }
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) add(&b, gens[i]);
  cr_assert_eq(adapter_refs, 0);
  rounds(&b, gens, 5);
  cr_assert_eq(adapter_refs, 3);
  slots.limit = slots.claimed / 3;
  rounds(&b, gens, 1);
  cr_assert_eq(states[2], TINKER__GEN_WAITS);
  cr_assert_eq(adapter_refs, 3);
  finished = 0;
  while (finished < 1) rounds(&b, gens, 1);
  cr_assert_eq(adapter_refs, 2);
  tinker__eng_batch_free(&b); /* with the others */
  cr_assert_eq(adapter_refs, 0);
  tinker__eng_gen_free(gens[0]);
  cr_assert_eq(mem.live_blocks, 0);
}

/* Who is sent back can be cancelled there, and freed there. */
Test(claim, ends_while_it_waits_again) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) gens[i] = make(&mem, i, 40, 2, 90);
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) add(&b, gens[i]);
  rounds(&b, gens, 20);
  slots.limit = slots.claimed / 3;
  rounds(&b, gens, 1);
  cr_assert_eq(states[1], TINKER__GEN_WAITS);
  finished = 0;
  atomic_store(&gens[1]->cancel, true);
  tinker__eng_batch_round(&b);
  cr_assert_eq(finished, 1);
  cr_assert_eq(last_rc, TINKER_ECANCELED);
  cr_assert_eq(b.sequences, 2);
  tinker__eng_gen_free(gens[1]);
  tinker__eng_batch_free(&b);
  cr_assert_eq(slots.claimed, 0);
  cr_assert_eq(mem.live_blocks, 0);
}

/* Other memory, other queue: one that waits for the first kind does not keep
 * those of the second from running. */
Test(claim, two_kinds_of_memory) {
  static tinker__eng_slots_t others = {.limit = UINT64_MAX};
  static tinker__eng_backend_t second = {.api = &row_api, .slots = &others};
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) {
    gens[i] = make(&mem, i, 5, 1, i == 2 ? 1 : 80 + i);
    gens[i]->backend = i == 2 ? &second : &backend;
  }
  slot_mem = &mem;
  slots.limit = 10 * 100;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) add(&b, gens[i]);
  finished = 0;
  tinker__eng_batch_round(&b);
  cr_assert_eq(gens[0]->state, TINKER__GEN_DECODE);
  cr_assert_eq(gens[1]->state, TINKER__GEN_WAITS);
  cr_assert_eq(finished, 1);
  cr_assert_eq(gens[2]->seqs[0].n, 1);
  tinker__eng_gen_free(gens[2]);
  tinker__eng_batch_free(&b);
  cr_assert_eq(mem.live_blocks, 0);
}

/* A generation starts only with room for a page of each that runs: it would
 * lose its caches to the next page of the older one. */
Test(claim, leaves_a_page_for_those_that_run) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  gens[0] = make(&mem, 0, 1, 1, 3 * PAGE);
  gens[1] = gens[2] = make(&mem, 1, 5, 1, 1);
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  tinker__eng_batch_init(&b, &mem);
  add(&b, gens[0]);
  rounds(&b, gens, 1);
  add(&b, gens[1]);
  finished = failed = 0;
  /* The new one needs 6 tokens, the page of the first 128. */
  slots.limit = slots.claimed + 10 * (PAGE + 5);
  rounds(&b, gens, 3);
  cr_assert_eq(states[1], TINKER__GEN_WAITS);
  slots.limit = slots.claimed + 10 * (PAGE + 6);
  rounds(&b, gens, 1);
  cr_assert_eq(finished, 1);
  cr_assert_eq(states[0], TINKER__GEN_DECODE);
  tinker__eng_batch_free(&b);
  tinker__eng_gen_free(gens[1]);
  cr_assert_eq(mem.live_blocks, 0);
}

/* The youngest finds not a byte for its next page: it waits, it does not fail,
 * and gives way when an older one needs the memory. */
Test(claim, the_youngest_waits_for_others) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3], *want;
  tinker__mem_init(&mem, NULL, 0);
  gens[0] = make(&mem, 0, 1, 1, 3 * PAGE);
  gens[1] = gens[2] = make(&mem, 1, 1, 1, 3 * PAGE);
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  tinker__eng_batch_init(&b, &mem);
  add(&b, gens[0]);
  rounds(&b, gens, PAGE - 20);
  add(&b, gens[1]);
  rounds(&b, gens, 40); /* the older one has its second page */
  slots.limit = slots.claimed;
  finished = failed = 0;
  while (gens[1]->state == TINKER__GEN_DECODE) rounds(&b, gens, 1);
  cr_assert_eq(states[1], TINKER__GEN_STALLED);
  cr_assert_eq(gens[1]->seqs[0].n, PAGE + 1);
  cr_assert_eq(states[0], TINKER__GEN_DECODE);
  while (finished < 2) rounds(&b, gens, 1);
  cr_assert_eq(failed, 0);
  tinker__eng_batch_free(&b);
  slots.limit = UINT64_MAX;
  for (size_t i = 0; i < 2; i++) {
    want = make(&mem, i, 1, 1, 3 * PAGE);
    run(&mem, &want, 1);
    assert_same(gens[i], want);
    tinker__eng_gen_free(want);
    tinker__eng_gen_free(gens[i]);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

/* An engine with memory of its own, which the row engine does not count. */
static int own_new(tinker__eng_base_t *b, tinker__eng_adapter_t *a, size_t max,
                   tinker__eng_slot_t **out, char *why, size_t why_len) {
  uint64_t live = slots_live;
  int rc = row_api.slot_new(b, a, max, out, why, why_len);
  slots_live = live;
  return rc;
}

static void own_free(tinker__eng_slot_t *s) {
  uint64_t live = slots_live;
  row_api.slot_free(s);
  slots_live = live;
}

/* Who finds no page takes none of another kind of memory: it is alone there,
 * and fails. */
Test(claim, takes_from_its_own_memory) {
  static tinker__eng_slots_t others = {.limit = UINT64_MAX};
  static tinker__engine_api_t api;
  static tinker__eng_backend_t second = {.api = &api, .slots = &others};
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *gens[3];
  tinker__mem_init(&mem, NULL, 0);
  api = row_api;
  api.slot_new = own_new;
  api.slot_free = own_free;
  gens[0] = make(&mem, 0, 1, 1, 3 * PAGE);
  gens[1] = gens[2] = make(&mem, 1, 1, 1, 3 * PAGE);
  gens[1]->backend = &second;
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  finished = 0;
  tinker__eng_batch_init(&b, &mem);
  add(&b, gens[0]);
  rounds(&b, gens, PAGE - 20);
  add(&b, gens[1]);
  rounds(&b, gens, 2);
  uint64_t claimed = others.claimed;
  size_t made = slots_made;
  cr_assert_eq(claimed, 10u * (PAGE + 1));
  slots.limit = slots.claimed;
  while (!finished) rounds(&b, gens, 1);
  cr_assert_eq(last_rc, TINKER_EINVAL);
  cr_assert_eq(gens[0]->error, TINKER_EINVAL);
  cr_assert_eq(states[1], TINKER__GEN_DECODE);
  cr_assert(others.claimed == claimed && slots_made == made);
  tinker__eng_gen_free(gens[0]);
  tinker__eng_batch_free(&b);
  cr_assert_eq(mem.live_blocks, 0);
}

/* Alone, with no room for a whole page: what is left is used to the last token,
 * and only then is there too little. */
Test(claim, the_last_of_the_memory) {
  enum { REST = 50 };
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *g = make(&mem, 1, 1, 1, 3 * PAGE);
  slots.limit = 10 * (1 + PAGE + REST);
  run(&mem, &g, 1);
  cr_assert_eq(last_rc, TINKER_EINVAL);
  cr_assert_eq(g->seqs[0].n, PAGE + REST + 1); /* the last is in no slot yet */
  tinker__eng_gen_free(g);
  cr_assert_eq(mem.live_blocks, 0);
}

static uint64_t huge(const tinker__eng_base_t *b, size_t max) {
  (void)b;
  (void)max;
  return (uint64_t)1 << 63;
}

/* Two slots of 2^63 bytes are more than there is, not none. */
Test(claim, sizes_do_not_wrap) {
  static tinker__engine_api_t api;
  static tinker__eng_backend_t vast = {.api = &api, .slots = &slots};
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  api = row_api;
  api.slot_bytes = huge;
  slots.limit = UINT64_MAX - 1;
  tinker__eng_gen_t *g = make(&mem, 0, 5, 2, 5);
  g->backend = &vast;
  slots_made = 0;
  run(&mem, &g, 1);
  cr_assert_eq(last_rc, TINKER_EINVAL);
  cr_assert_eq(slots_made, 0u);
  tinker__eng_gen_free(g);
}

/* A sequence that has ended gives its cache back while the others go on. */
Test(claim, an_end_frees_its_cache) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  int32_t stop = -1;
  tinker__mem_init(&mem, NULL, 0);
  slots.limit = UINT64_MAX;
  tinker__eng_gen_t *g = make(&mem, 7, 5, 2, 40);
  run(&mem, &g, 1);
  /* The token that one of the two has much earlier, but not at once. */
  for (int32_t id = 0; id < POISON; id++) {
    size_t at[2] = {0, 0};
    for (int k = 0; k < 2; k++) {
      while (at[k] < 40 && g->seqs[k].tokens[at[k]] != id) at[k]++;
    }
    size_t first = at[0] < at[1] ? at[0] : at[1];
    if (first > 1 && first + 3 < at[0] + at[1] - first) stop = id;
  }
  tinker__eng_gen_free(g);
  cr_assert_geq(stop, 0);
  g = make(&mem, 7, 5, 2, 40);
  g->stop_tokens = tinker__mem_dup(&mem, &stop, sizeof stop);
  g->n_stop_tokens = 1;
  slot_mem = &mem;
  tinker__eng_batch_init(&b, &mem);
  add(&b, g);
  size_t one_ended = 0;
  while (!tinker__eng_batch_idle(&b)) {
    tinker__eng_batch_round(&b);
    uint64_t going = !g->seqs[0].finished + !g->seqs[1].finished;
    if (g->state == TINKER__GEN_ENDED) going = 0;
    cr_assert_eq(slots.claimed, going * 10 * g->room);
    cr_assert_eq(slots_live, slots.claimed);
    one_ended += going == 1;
  }
  cr_assert_geq(one_ended, 3u);
  tinker__eng_batch_free(&b);
  tinker__eng_gen_free(g);
  cr_assert_eq(mem.live_blocks, 0);
}

/* --- Tokens drawn by the engine ------------------------------------------- */

static void check_picks(size_t top_sample) {
  tinker__mem_t mem;
  tinker__eng_gen_t *gens[REQUESTS], *want[REQUESTS];
  size_t rows[2];
  tinker__mem_init(&mem, NULL, 0);
  slots.limit = largest();
  for (int by_engine = 0; by_engine < 2; by_engine++) {
    tinker__eng_gen_t **all = by_engine ? gens : want;
    for (size_t i = 0; i < REQUESTS; i++) {
      all[i] = request(&mem, i);
      all[i]->top_sample = top_sample;
      all[i]->sampling.temperature = (float)(i % 3) * 0.7f;
      all[i]->sampling.top_k = i % 4 == 1 ? 5 : -1;
      all[i]->sampling.top_p = i % 4 == 2 ? 0.7 : 1.0;
      if (by_engine) all[i]->backend = &picking;
    }
    rows_made = 0;
    run(&mem, all, REQUESTS);
    rows[by_engine] = rows_made;
  }
  cr_assert_eq(failed, 0);
  if (top_sample) cr_assert_eq(rows[0], rows[1]);
  if (!top_sample) cr_assert_lt(rows[1], rows[0] / 2 + 7000);
  for (size_t i = 0; i < REQUESTS; i++) {
    if (top_sample) assert_same(gens[i], want[i]);
    for (size_t k = 0; k < gens[i]->num_samples; k++) {
      const tinker__eng_gen_seq_t *x = &gens[i]->seqs[k],
                                  *y = &want[i]->seqs[k];
      cr_assert_eq(x->n, y->n);
      cr_assert_arr_eq(x->tokens, y->tokens, x->n * sizeof *x->tokens);
      cr_assert_arr_eq(x->logprobs, y->logprobs, x->n * sizeof(float));
    }
    tinker__eng_gen_free(gens[i]);
    tinker__eng_gen_free(want[i]);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

/* The same tokens and log-probs from the engine as from rows, also when caches
 * are given up on the way; rows are handed over for scores alone. */
Test(claim, picks_of_the_engine) {
  failed = 0;
  check_picks(0);
}

/* Alternatives need the row: then everything is taken from it. */
Test(claim, picks_beside_alternatives) {
  failed = 0;
  check_picks(3);
}

static int two_requests(tinker__mem_t *mem, void *user) {
  tinker__eng_gen_t *gens[2] = {make(mem, 3, 5, 2, 200),
                                make(mem, 4, 5, 1, 200)};
  (void)user;
  last_rc = failed = 0;
  if (gens[0] && gens[1]) {
    slots.limit = 10 * (2 * 205 + 1);
    gens[0]->backend = gens[1]->backend = &picking;
    gens[0]->top_sample = 0;
    run(mem, gens, 2);
  } else {
    failed = 1;
  }
  tinker__eng_gen_free(gens[0]);
  tinker__eng_gen_free(gens[1]);
  return failed ? TINKER_ENOMEM : 0;
}

Test(claim, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(two_requests, NULL, TINKER_ENOMEM), 30);
}
