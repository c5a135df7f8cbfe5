/* Decode rounds on a made-up engine. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "row_engine.h"
#include "support/fail_alloc.h"

/* Alone or with 29 others, of long prompts and short ones, many samples or
 * few: the same tokens. */
static void compare_with_neighbours(void) {
  enum { REQUESTS = 30 };
  tinker__mem_t mem;
  tinker__eng_gen_t *together[REQUESTS], *alone;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < REQUESTS; i++) {
    together[i] = make(&mem, i, 1 + i * 47, 1 + i % 5, 3 + i);
    cr_assert_neq(together[i], NULL);
  }
  decode_calls = largest_round = 0;
  run(&mem, together, REQUESTS);
  for (size_t i = 0; i < REQUESTS; i++) {
    size_t largest = largest_round, calls = decode_calls;
    alone = make(&mem, i, 1 + i * 47, 1 + i % 5, 3 + i);
    run(&mem, &alone, 1);
    largest_round = largest;
    decode_calls = calls;
    assert_same(together[i], alone);
    if (i % 5 > 0) { /* samples differ from each other */
      cr_assert(memcmp(alone->seqs[0].tokens, alone->seqs[1].tokens, 12));
    }
    tinker__eng_gen_free(alone);
    tinker__eng_gen_free(together[i]);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

Test(generate, neighbours_change_nothing) {
  failed = 0;
  compare_with_neighbours();
  cr_assert_gt(largest_round, 20);
  cr_assert_leq(largest_round, 64);
  cr_assert_lt(decode_calls, 200);
  cr_assert_eq(failed, 0);
}

/* Many long prompts at once make no longer round than one, and a short one
 * does not wait for them. */
Test(generate, prompts_share_a_round) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g[5];
  slot_mem = &mem;
  failed = finished = 0;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 5; i++) {
    g[i] = make(&mem, i, i < 4 ? 2000 : 60, 1, 2);
    add(&b, g[i]);
  }
  for (int i = 0; i < 2; i++) tinker__eng_batch_round(&b);
  cr_assert_eq(finished, 1);
  cr_assert_eq(g[4]->seqs[0].n, 2);
  while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  cr_assert_eq(failed, 0);
  cr_assert_leq(most_tokens, 512 + 5);
  cr_assert_geq(most_tokens, 500);
  tinker__eng_batch_free(&b);
  for (size_t i = 0; i < 5; i++) tinker__eng_gen_free(g[i]);
}

/* A round takes the fewer tokens of a prompt the more keys they see. */
Test(generate, late_tokens_of_a_prompt) {
  static int32_t ids[40000];
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__eng_gen_t *g = NULL;
  tinker__eng_gen_spec_t spec = {.prompt = ids,
                                 .n_prompt = 40000,
                                 .num_samples = 1,
                                 .max_tokens = 1,
                                 .sampling = {1.0f, -1, 1.0, 1}};
  slot_mem = &mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_batch_init(&b, &mem);
  cr_assert_eq(tinker__eng_gen_new(&g, &mem, &spec), 0);
  g->done = on_done;
  add(&b, g);
  while (g->fed < 36000) tinker__eng_batch_round(&b);
  most_tokens = 0;
  while (!tinker__eng_batch_idle(&b)) tinker__eng_batch_round(&b);
  cr_assert_leq(most_tokens, 64);
  tinker__eng_batch_free(&b);
  tinker__eng_gen_free(g);
}

/* The largest fits to the byte: it waits, and all others after it. */
Test(generate, slots_wait_for_memory) {
  failed = 0;
  compare_with_neighbours();
  size_t calls = decode_calls;
  slots.limit = 10 * 5 * (1 + 29 * 47 + 3 + 29);
  compare_with_neighbours();
  cr_assert_gt(decode_calls, calls);
  cr_assert_eq(failed, 0);
}

/* What waits is cancelled at once, whoever has the memory. */
Test(generate, cancelled_while_it_waits) {
  tinker__mem_t mem;
  tinker__eng_batch_t b;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *gens[2];
  for (size_t i = 0; i < 2; i++) gens[i] = make(&mem, i, 5, 1, 50);
  slot_mem = &mem;
  slots.limit = 10 * 55;
  finished = 0;
  tinker__eng_batch_init(&b, &mem);
  for (size_t i = 0; i < 2; i++) add(&b, gens[i]);
  tinker__eng_batch_round(&b);
  cr_assert_eq(b.sequences, 1);
  cr_assert_eq(finished, 0);
  atomic_store(&gens[1]->cancel, true);
  tinker__eng_batch_round(&b);
  cr_assert_eq(finished, 1);
  cr_assert_eq(last_rc, TINKER_ECANCELED);
  cr_assert_eq(b.sequences, 1);
  tinker__eng_gen_free(gens[1]);
  tinker__eng_batch_free(&b); /* with the other one */
  cr_assert_eq(mem.live_blocks, 0);
}

/* Two sequences of a prompt of 5 that want 100 tokens each, with memory for 15
 * in a slot. */
Test(generate, more_than_all_memory) {
  static const int32_t any[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                  8, 9, 10, 11, 12, 13, 14, 15};
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  slots.limit = 2 * 10 * 15 + 9;
  tinker__eng_gen_t *g = make(&mem, 3, 5, 2, 100);
  run(&mem, &g, 1);
  cr_assert_eq(last_rc, TINKER_EINVAL);
  cr_assert_eq(g->seqs[0].n, 11); /* the last is in no slot yet */
  cr_assert_str_eq(g->why, "num_samples, max_tokens: 2 times 1050 bytes for "
                           "caches of 105 tokens are needed, 309 are "
                           "available");
  tinker__eng_gen_free(g);
  g = make(&mem, 3, 5, 2, 100); /* stops early: it has what it needs */
  g->stop_tokens = tinker__mem_dup(&mem, any, sizeof any);
  g->n_stop_tokens = 16;
  run(&mem, &g, 1);
  cr_assert_eq(last_rc, 0);
  tinker__eng_gen_free(g);
  slots.limit = 2 * 10 * 5;
  decode_calls = 0;
  g = make(&mem, 3, 5, 2, 1);
  run(&mem, &g, 1);
  cr_assert_eq(last_rc, TINKER_EINVAL);
  cr_assert_eq(decode_calls, 0);
  tinker__eng_gen_free(g);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(generate, stops) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *free_run = make(&mem, 5, 4, 1, 12);
  run(&mem, &free_run, 1);
  const int32_t *t = free_run->seqs[0].tokens;
  cr_assert_eq(free_run->seqs[0].n, 12);
  cr_assert_not(free_run->seqs[0].stopped);
  /* A token stops and is part of the output. */
  int32_t prompt[4] = {5, 6, 7, 8};
  size_t first = 6;
  for (size_t i = 0; i < 6; i++) {
    if (t[i] == t[6]) first = first < i ? first : i;
  }
  tinker__eng_gen_spec_t spec = {
      .prompt = prompt,
      .n_prompt = 4,
      .num_samples = 1,
      .max_tokens = 12,
      .sampling = {1.0f, -1, 1.0, 5},
      .stop_tokens = &t[6],
      .n_stop_tokens = 1,
  };
  tinker__eng_gen_t *g;
  cr_assert_eq(tinker__eng_gen_new(&g, &mem, &spec), 0);
  g->done = on_done;
  run(&mem, &g, 1);
  cr_assert(g->seqs[0].stopped);
  cr_assert_eq(g->seqs[0].n, first + 1);
  cr_assert_arr_eq(g->seqs[0].tokens, t, (first + 1) * sizeof *t);
  tinker__eng_gen_free(g);
  /* So does one of many, in any order. */
  int32_t many[VOCAB];
  size_t count = 0;
  for (int32_t id = VOCAB - 1; id >= 0; id--) {
    bool earlier = false;
    for (size_t i = 0; i < first; i++) earlier = earlier || t[i] == id;
    if (!earlier) many[count++] = id;
  }
  cr_assert_gt(count, 2u);
  spec.stop_tokens = many;
  spec.n_stop_tokens = count;
  cr_assert_eq(tinker__eng_gen_new(&g, &mem, &spec), 0);
  g->done = on_done;
  run(&mem, &g, 1);
  cr_assert(g->seqs[0].stopped);
  cr_assert_eq(g->seqs[0].n, first + 1);
  tinker__eng_gen_free(g);
  /* A string that ends in the middle of a token, over a token's border. */
  char stop[3] = {(char)('a' + t[2]), (char)('a' + t[2]), (char)('a' + t[3])};
  tinker__str_t strings[2] = {TINKER__STR("ZZZZZZZZZZ"), {stop, 3}};
  spec.n_stop_tokens = 0;
  spec.stop_strings = strings;
  spec.n_stop_strings = 2;
  spec.text = &text;
  cr_assert_eq(tinker__eng_gen_new(&g, &mem, &spec), 0);
  g->done = on_done;
  run(&mem, &g, 1);
  cr_assert(g->seqs[0].stopped);
  cr_assert_leq(g->seqs[0].n, 4);
  tinker__eng_gen_free(g);
  tinker__eng_gen_free(free_run);
  cr_assert_eq(mem.live_blocks, 0);
}

/* One that fails, or is cancelled, fails alone. */
Test(generate, failures_stay_with_their_request) {
  tinker__mem_t mem;
  tinker__eng_gen_t *gens[3], *alone = NULL;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < 3; i++) gens[i] = make(&mem, i, 5, 2, 6);
  gens[1]->prompt[0] = POISON;
  finished = failed = 0;
  run(&mem, gens, 3);
  cr_assert_eq(finished, 3);
  cr_assert_eq(failed, 1);
  cr_assert_eq(gens[1]->error, TINKER_EINVAL);
  cr_assert_str_eq(gens[1]->why, "poisoned");
  alone = make(&mem, 2, 5, 2, 6);
  run(&mem, &alone, 1);
  assert_same(gens[2], alone);
  for (size_t i = 0; i < 3; i++) tinker__eng_gen_free(gens[i]);
  tinker__eng_gen_free(alone);
  alone = make(&mem, 0, 5, 2, 6);
  atomic_store(&alone->cancel, true);
  run(&mem, &alone, 1);
  cr_assert_eq(last_rc, TINKER_ECANCELED);
  tinker__eng_gen_free(alone);
  cr_assert_eq(mem.live_blocks, 0);
}

/* A prompt of n tokens with one sample of one token. */
static tinker__eng_gen_spec_t prompt_spec(const int32_t *ids, size_t n) {
  return (tinker__eng_gen_spec_t){.prompt = ids,
                                  .n_prompt = n,
                                  .num_samples = 1,
                                  .max_tokens = 1,
                                  .sampling = {1.0f, -1, 1.0, 9}};
}

static tinker__eng_gen_t *finish(tinker__mem_t *mem,
                                 const tinker__eng_gen_spec_t *s) {
  tinker__eng_gen_t *g;
  cr_assert_eq(tinker__eng_gen_new(&g, mem, s), 0);
  g->done = on_done;
  rows_made = 0;
  run(mem, &g, 1);
  cr_assert_eq(last_rc, 0);
  return g;
}

enum { LONG = 1300 }; /* three pieces of a prompt */

/* What is told about a prompt: the same bits as when everything is asked, and
 * no row is computed that nobody looks at. */
Test(generate, scores_of_a_prompt) {
  static int32_t ids[LONG];
  static int64_t starts[LONG], wanted[5] = {4, -1, 15, 0, 4};
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < LONG; i++) ids[i] = (int32_t)(i * i % 16);
  tinker__eng_gen_spec_t spec = prompt_spec(ids, LONG);
  tinker__eng_gen_t *plain = finish(&mem, &spec), *all, *g;
  cr_assert_eq(rows_made, 1);
  spec.prompt_logprobs = true;
  spec.top_prompt = 16;
  all = finish(&mem, &spec);
  cr_assert_eq(rows_made, LONG);
  cr_assert_eq(all->seqs[0].tokens[0], plain->seqs[0].tokens[0]);
  spec.top_prompt = 2;
  for (size_t last = 1; last < LONG; last = last * 5 + 4) {
    spec.prompt_from = LONG - last;
    g = finish(&mem, &spec);
    cr_assert_eq(rows_made, last + 1);
    cr_assert_arr_eq(g->prompt_logprobs + LONG - last,
                     all->prompt_logprobs + LONG - last, last * sizeof(float));
    cr_assert(isnan(g->prompt_logprobs[LONG - last - 1]));
    cr_assert_eq(g->top_prompt_ids[(LONG - last) * 2 + 1],
                 all->top_prompt_ids[(LONG - last) * 16 + 1]);
    tinker__eng_gen_free(g);
  }
  /* Rows 600 and 700 name ids: rows 600 to 700 are scored, and the last. */
  for (size_t r = 601; r < LONG; r++) starts[r] = r < 701 ? 3 : 5;
  spec = prompt_spec(ids, LONG);
  spec.target = (tinker__eng_gen_target_t){starts, wanted};
  g = finish(&mem, &spec);
  cr_assert_eq(rows_made, 101 + 1);
  cr_assert_eq(g->seqs[0].tokens[0], plain->seqs[0].tokens[0]);
  for (size_t i = 0; i < 5; i++) {
    size_t next = i < 3 ? 601 : 701;
    float want = 0;
    for (size_t k = 0; k < 16; k++) {
      if (all->top_prompt_ids[next * 16 + k] == wanted[i]) {
        want = all->top_prompt_logprobs[next * 16 + k];
      }
    }
    cr_assert_eq(g->target_logprobs[i], want, "id %zu", i);
  }
  tinker__eng_gen_free(g);
  tinker__eng_gen_free(all);
  tinker__eng_gen_free(plain);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(generate, draws_of_a_prompt) {
  static int32_t ids[LONG];
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < LONG; i++) ids[i] = (int32_t)(i % 16);
  tinker__eng_gen_spec_t spec = prompt_spec(ids, LONG);
  spec.top_prompt = 16;
  spec.draws = 3;
  tinker__eng_gen_t *g = finish(&mem, &spec), *again;
  size_t differ = 0;
  for (size_t i = 0; i < (LONG - 1) * 3; i++) {
    size_t next = i / 3 + 1, k = 0;
    while (g->top_prompt_ids[next * 16 + k] != g->draw_ids[i]) {
      cr_assert_lt(++k, 16);
    }
    cr_assert_eq(g->draw_logprobs[i], g->top_prompt_logprobs[next * 16 + k]);
    differ += k > 0;
  }
  cr_assert_gt(differ, LONG / 2);
  spec.num_samples = 2; /* changes nothing about the prompt */
  again = finish(&mem, &spec);
  cr_assert_arr_eq(g->draw_ids, again->draw_ids, (LONG - 1) * 3 * 4);
  tinker__eng_gen_free(again);
  spec.sampling.seed++;
  again = finish(&mem, &spec);
  cr_assert(memcmp(g->draw_ids, again->draw_ids, (LONG - 1) * 3 * 4) != 0);
  tinker__eng_gen_free(again);
  tinker__eng_gen_free(g);
  spec.n_prompt = 1; /* nothing predicts the first token */
  g = finish(&mem, &spec);
  tinker__eng_gen_free(g);
  cr_assert_eq(mem.live_blocks, 0);
}

/* What it is given is copied: the caller may use its arrays again at once. */
Test(generate, copies_what_it_is_given) {
  enum { SAMPLES = 12 };
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *gens[2];
  for (int spoilt = 0; spoilt < 2; spoilt++) {
    int32_t prompt[4] = {5, 6, 7, 8}, stops[3] = {14, 2, 9};
    char letters[] = "kk";
    tinker__str_t strings[1] = {{letters, 2}};
    tinker__eng_gen_spec_t spec = {
        .prompt = prompt,
        .n_prompt = 4,
        .num_samples = SAMPLES,
        .max_tokens = 60,
        .sampling = {1.0f, -1, 1.0, 5},
        .stop_tokens = stops,
        .n_stop_tokens = 3,
        .stop_strings = strings,
        .n_stop_strings = 1,
        .text = &text,
    };
    cr_assert_eq(tinker__eng_gen_new(&gens[spoilt], &mem, &spec), 0);
    gens[spoilt]->done = on_done;
    cr_assert(stops[0] == 14 && stops[1] == 2 && stops[2] == 9);
    if (spoilt) {
      memset(prompt, 0, sizeof prompt);
      memset(stops, 1, sizeof stops);
      memset(letters, '?', 2);
      memset(strings, 0, sizeof strings);
      memset(&spec, 0, sizeof spec);
    }
    run(&mem, &gens[spoilt], 1);
  }
  bool by_string = false;
  for (size_t i = 0; i < SAMPLES; i++) {
    const tinker__eng_gen_seq_t *x = &gens[0]->seqs[i], *y = &gens[1]->seqs[i];
    cr_assert_eq(x->n, y->n);
    cr_assert(x->stopped && y->stopped);
    cr_assert_arr_eq(x->tokens, y->tokens, x->n * sizeof *x->tokens);
    by_string = by_string || x->tokens[x->n - 1] == 'k' - 'a';
  }
  cr_assert(by_string, "a stop string is among what stopped");
  for (int i = 0; i < 2; i++) tinker__eng_gen_free(gens[i]);
  cr_assert_eq(mem.live_blocks, 0);
}

/* The alternatives of a token are its position's, the most likely first: where
 * the token is among them, its log-probability is theirs. */
Test(generate, alternatives_of_each_token) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__eng_gen_t *g = make(&mem, 11, 9, 2, 100);
  size_t found = 0;
  run(&mem, &g, 1);
  for (size_t i = 0; i < 2 * 100 * 3; i++) {
    const tinker__eng_gen_seq_t *q = &g->seqs[i / 300];
    size_t at = i % 300, token = at / 3;
    if (at % 3) {
      cr_assert_geq(q->top_logprobs[at - 1], q->top_logprobs[at]);
      cr_assert_neq(q->top_ids[at - 1], q->top_ids[at]);
    }
    if (q->top_ids[at] != q->tokens[token]) continue;
    cr_assert_eq(q->top_logprobs[at], q->logprobs[token]);
    found++;
  }
  cr_assert_gt(found, 40u);
  tinker__eng_gen_free(g);
}

static const float flat_row[VOCAB] = {0, 1, 2, 1, 0};

static int flat(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                size_t n, const atomic_bool *cancel, char *why,
                size_t why_len) {
  (void)e;
  (void)cancel;
  (void)why;
  (void)why_len;
  for (size_t i = 0; i < n; i++) {
    for (size_t k = items[i].first_row; k < items[i].n; k++) {
      items[i].on_row(items[i].user, k, flat_row, VOCAB);
    }
  }
  return 0;
}

/* The draws of a prompt's position are keyed by it: here every row is the
 * same. */
Test(generate, draws_are_keyed_by_position) {
  enum { PROMPT = 40, DRAWS = 4 };
  static int32_t ids[PROMPT];
  static tinker__engine_api_t api;
  static tinker__eng_backend_t same = {.api = &api, .slots = &slots};
  char scratch[VOCAB * 16];
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  api = row_api;
  api.decode = flat;
  tinker__eng_gen_spec_t spec = prompt_spec(ids, PROMPT);
  spec.draws = DRAWS;
  tinker__eng_gen_t *g;
  cr_assert_eq(tinker__eng_gen_new(&g, &mem, &spec), 0);
  g->done = on_done;
  g->backend = &same;
  run(&mem, &g, 1);
  for (uint64_t next = 1; next < PROMPT; next++) {
    int32_t want[DRAWS];
    cr_assert_eq(tinker__eng_pick_draws(&spec.sampling, next, flat_row, VOCAB,
                                        DRAWS, want, scratch),
                 0);
    cr_assert_arr_eq(g->draw_ids + (next - 1) * DRAWS, want, sizeof want);
  }
  tinker__eng_gen_free(g);
}

static int scored_request(tinker__mem_t *mem, void *user) {
  static const int32_t ids[3] = {1, 2, 3};
  static const int64_t starts[3] = {0, 1, 2}, wanted[2] = {3, 4};
  tinker__eng_gen_spec_t spec = prompt_spec(ids, 3);
  tinker__eng_gen_t *g;
  (void)user;
  spec.target = (tinker__eng_gen_target_t){starts, wanted};
  spec.draws = 2;
  if (tinker__eng_gen_new(&g, mem, &spec) != 0) return TINKER_ENOMEM;
  g->done = on_done;
  run(mem, &g, 1);
  tinker__eng_gen_free(g);
  return last_rc;
}

static int one_request(tinker__mem_t *mem, void *user) {
  tinker__eng_gen_t *g = make(mem, 3, 5, 3, 40);
  (void)user;
  if (!g) return TINKER_ENOMEM;
  run(mem, &g, 1);
  tinker__eng_gen_free(g);
  return last_rc;
}

Test(generate, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(one_request, NULL, TINKER_ENOMEM), 20);
  cr_assert_geq(tinker__fail_sweep(scored_request, NULL, TINKER_ENOMEM), 8);
}
