/* Which generations a round has, in which calls, and what becomes of a round
 * that fails or is given up. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "row_engine.h"

/* --- Engines with another decode ------------------------------------------ */

static int calls;
static int script[8]; /* what the first calls return; 0 = the row engine's */

static int scripted(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                    size_t n, const atomic_bool *cancel, char *why,
                    size_t why_len) {
  int rc = calls < 8 ? script[calls] : 0;
  calls++;
  if (rc) return tinker__why(why, why_len, rc, "scripted");
  return row_api.decode(e, items, n, cancel, why, why_len);
}

static tinker__engine_api_t other_api;
static tinker__eng_backend_t other = {.api = &other_api, .slots = &slots};

static void scripted_engine(tinker__mem_t *mem) {
  tinker__mem_init(mem, NULL, 0);
  slot_mem = mem;
  slots.limit = UINT64_MAX;
  calls = finished = failed = 0;
  memset(script, 0, sizeof script);
  other_api = row_api;
  other_api.decode = scripted;
}

/* --- How many at once ----------------------------------------------------- */

/* Ten of ten samples: at most 64 sequences are fed in a round. */
Test(batch, at_most_so_many_sequences) {
  enum { MANY = 10 };
  tinker__mem_t mem;
  tinker__eng_gen_t *g[MANY];
  tinker__mem_init(&mem, NULL, 0);
  largest_round = finished = failed = 0;
  for (size_t i = 0; i < MANY; i++) g[i] = make(&mem, i, 3, 10, 30);
  run(&mem, g, MANY);
  cr_assert_eq(finished, MANY);
  cr_assert_eq(largest_round, 60u);
  for (size_t i = 0; i < MANY; i++) tinker__eng_gen_free(g[i]);
  cr_assert_eq(mem.live_blocks, 0u);
}

/* A request for more samples than that runs alone: it waits for those before
 * it, and those after it wait. */
Test(batch, a_large_one_runs_alone) {
  enum { SAMPLES = 70 };
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g[3];
  tinker__mem_init(&mem, NULL, 0);
  slot_mem = &mem;
  slots.limit = UINT64_MAX;
  finished = failed = 0;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 3; i++) {
    g[i] = make(&mem, i, 3, i == 1 ? SAMPLES : 1, 6);
    add(&b, g[i]);
  }
  for (int rounds = 0; !tinker__eng_batch_idle(&b); rounds++) {
    cr_assert_lt(rounds, 100, "it never begins");
    tinker__eng_batch_round(&b);
    cr_assert(b.sequences <= 2 || b.sequences == SAMPLES);
    if (g[2]->state != TINKER__GEN_NEW) cr_assert(finished >= 2);
  }
  cr_assert_eq(failed, 0);
  cr_assert_eq(g[1]->seqs[SAMPLES - 1].n, 6u);
  tinker__eng_batch_free(&b);
  for (size_t i = 0; i < 3; i++) tinker__eng_gen_free(g[i]);
}

/* --- Calls ---------------------------------------------------------------- */

/* Each base model of each backend has a call of its own, whatever the pointers
 * of the others are. */
Test(batch, a_call_for_each_base) {
  static char models[2];
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g[5];
  scripted_engine(&mem);
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 5; i++) {
    g[i] = make(&mem, i, 3, 1, 4);
    /* Backends 0 0 1 1 0, models 0 1 0 1 0. */
    g[i]->backend = i == 2 || i == 3 ? &other : &backend;
    g[i]->base = (tinker__eng_base_t *)(void *)&models[i % 2];
    tinker__eng_batch_add(&b, g[i]);
  }
  decode_calls = largest_round = 0;
  tinker__eng_batch_round(&b);
  cr_assert_eq(decode_calls, 4u);
  cr_assert_eq(calls, 2, "of the other engine");
  cr_assert_eq(largest_round, 2u);
  while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  cr_assert_eq(failed, 0);
  tinker__eng_batch_free(&b);
  for (size_t i = 0; i < 5; i++) tinker__eng_gen_free(g[i]);
}

/* --- Rounds that are given up --------------------------------------------- */

/* After the rounds of the script, the tokens are those of rounds that were
 * never given up. */
static void check_given_up(const int *rcs, int n, int calls_of_round) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g[2], *want;
  scripted_engine(&mem);
  memcpy(script, rcs, n * sizeof *rcs);
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 2; i++) {
    g[i] = make(&mem, i, 5, 2, 6);
    g[i]->backend = &other;
    tinker__eng_batch_add(&b, g[i]);
  }
  while (calls < n) tinker__eng_batch_round(&b);
  cr_assert_eq(calls, calls_of_round);
  cr_assert_eq(finished, 0);
  while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  cr_assert_eq(failed, 0);
  tinker__eng_batch_free(&b);
  for (size_t i = 0; i < 2; i++) {
    want = make(&mem, i, 5, 2, 6);
    run(&mem, &want, 1);
    assert_same(g[i], want);
    tinker__eng_gen_free(want);
    tinker__eng_gen_free(g[i]);
  }
  cr_assert_eq(mem.live_blocks, 0u);
}

/* Given up is not failed: nobody is tried alone, nobody ends. */
Test(batch, a_round_is_given_up) {
  static const int first[] = {TINKER_ECANCELED};
  static const int third[] = {0, 0, TINKER_ECANCELED};
  check_given_up(first, 1, 1);
  check_given_up(third, 3, 3);
}

/* The same where a failed round is repeated for each alone. */
Test(batch, a_round_alone_is_given_up) {
  static const int rcs[] = {TINKER_ENOMEM, TINKER_ECANCELED, TINKER_ECANCELED};
  check_given_up(rcs, 3, 3);
}

/* --- Failures ------------------------------------------------------------- */

static int no_model(tinker__eng_gen_t *gen, char *why, size_t why_len) {
  gen->adapter = the_adapter(); /* of nobody's: it failed */
  return tinker__why(why, why_len, TINKER_ENOENT, "gone");
}

/* A generation whose model is not found ends before it has begun, and lets go
 * of nothing. */
Test(batch, preparing_fails) {
  tinker__mem_t mem;
  tinker__eng_gen_t *g[2];
  scripted_engine(&mem);
  for (size_t i = 0; i < 2; i++) g[i] = make(&mem, i, 5, 2, 6);
  g[0]->prepare = no_model;
  decode_calls = 0;
  run(&mem, g, 2);
  cr_assert_eq(finished, 2);
  cr_assert_eq(failed, 1);
  cr_assert_eq(g[0]->error, TINKER_ENOENT);
  cr_assert_str_eq(g[0]->why, "gone");
  cr_assert_eq(g[0]->seqs[0].n, 0u);
  cr_assert_eq(g[1]->seqs[0].n, 6u);
  cr_assert_eq(adapter_refs, 0);
  for (size_t i = 0; i < 2; i++) tinker__eng_gen_free(g[i]);
}

/* The first reason is the one that is told. */
Test(batch, the_first_failure_stays) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *g = make(&mem, 1, 5, 2, 6);
  tinker__eng_gen_fail(g, TINKER_EINVAL, "first");
  tinker__eng_gen_fail(g, TINKER_ENOMEM, "second");
  cr_assert_eq(g->error, TINKER_EINVAL);
  cr_assert_str_eq(g->why, "first");
  tinker__eng_gen_free(g);
}

/* --- Waiting -------------------------------------------------------------- */

static int prepared;

static int late_backend(tinker__eng_gen_t *gen, char *why, size_t why_len) {
  (void)why;
  (void)why_len;
  prepared++;
  gen->backend = &backend;
  return 0;
}

/* The second waits for memory. The third has room, and still waits after it,
 * even if nobody knows yet which memory it will use. */
Test(batch, nobody_is_overtaken) {
  for (int known = 0; known < 2; known++) {
    tinker__mem_t mem;
    tinker__eng_batch_t b;
    tinker__eng_gen_t *g[3];
    scripted_engine(&mem);
    slots.limit = 10 * 100;
    prepared = 0;
    tinker__eng_batch_init(&b, &mem);
    for (size_t i = 0; i < 3; i++) {
      g[i] = make(&mem, i, 5, 1, i == 2 ? 1 : 80 + i);
      if (i < 2 || known) g[i]->backend = &backend;
      if (i == 2 && !known) g[i]->prepare = late_backend;
      tinker__eng_batch_add(&b, g[i]);
    }
    for (int i = 0; i < 5; i++) tinker__eng_batch_round(&b);
    cr_assert_eq(g[0]->state, TINKER__GEN_DECODE);
    cr_assert_eq(g[1]->state, TINKER__GEN_WAITS);
    cr_assert_eq(g[2]->state, TINKER__GEN_NEW);
    cr_assert(finished == 0 && prepared == 0);
    while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
    cr_assert_eq(failed, 0);
    cr_assert_eq(prepared, !known);
    tinker__eng_batch_free(&b);
    for (size_t i = 0; i < 3; i++) tinker__eng_gen_free(g[i]);
  }
}

/* Another kind of memory that was full once does not keep its generations from
 * running while the first in the queue waits. */
Test(batch, full_is_of_this_round) {
  static tinker__eng_slots_t kinds[2] = {{.limit = 200}, {.limit = 1100}};
  static tinker__eng_backend_t ends[2] = {
      {.api = &row_api, .slots = &kinds[0]},
      {.api = &row_api, .slots = &kinds[1]}};
  static const size_t tokens[5] = {10, 10, 100, 90, 1};
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g[5];
  scripted_engine(&mem);
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 5; i++) {
    g[i] = make(&mem, i, 5, 1, tokens[i]);
    g[i]->backend = &ends[i == 2 || i == 3];
    tinker__eng_batch_add(&b, g[i]);
    if (i == 0) continue;
    tinker__eng_batch_round(&b);
    if (i > 1) continue;
    cr_assert_eq(g[1]->state, TINKER__GEN_WAITS);
    while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  }
  cr_assert_eq(g[2]->state, TINKER__GEN_DECODE);
  cr_assert_eq(g[3]->state, TINKER__GEN_WAITS);
  cr_assert_eq(g[4]->state, TINKER__GEN_ENDED);
  while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  cr_assert_eq(failed, 0);
  tinker__eng_batch_free(&b);
  for (size_t i = 0; i < 5; i++) tinker__eng_gen_free(g[i]);
}

/* --- Memory of the batch -------------------------------------------------- */

static void wide_info(const tinker__eng_base_t *b,
                      tinker__eng_base_info_t *out) {
  (void)b;
  *out = (tinker__eng_base_info_t){.vocab_size = 5000};
}

/* There is room for drawing from a row of every model, not only the first. */
Test(batch, scratch_for_each_model) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g[2];
  scripted_engine(&mem);
  other_api.base_info = wide_info;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 2; i++) {
    g[i] = make(&mem, i, 5, 1, 5);
    g[i]->backend = i ? &other : &backend;
    tinker__eng_batch_add(&b, g[i]);
    tinker__eng_batch_round(&b);
    cr_assert_geq(b.scratch_len, tinker__eng_pick_scratch(i ? 5000 : VOCAB));
  }
  tinker__eng_batch_free(&b);
}
