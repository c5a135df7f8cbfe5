/* Generators: one that only says words, alone, and the one made of row engines:
 * the same user of both, by the table. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "collect.h"
#include "engine/row_generator.h"
#include "row_engine.h"
#include "support/fail_alloc.h"

static const char *const words[] = {"Call ", "me ", "Ishmael"};

/* --- A generator of words: no engine, no rows, no ids --------------------- */

typedef struct {
  tinker__eng_generator_t face;
  uint64_t cancelled;
  bool closed;
} parrot_t;

/* Says its words at once, each sample in turn. */
static int parrot_begin(tinker__eng_generator_t *g,
                        const tinker__eng_generate_t *spec,
                        const tinker__eng_generate_cb_t *cb, uint64_t *id,
                        char *why, size_t why_len) {
  int rc = 0;
  (void)g;
  if (strcmp(spec->model, "parrot") != 0) {
    return tinker__why(why, why_len, TINKER_ENOENT, "no such model");
  }
  *id = 1;
  size_t n = spec->max_tokens && spec->max_tokens < 3 ? spec->max_tokens : 3;
  for (size_t i = 0; i < n && !rc; i++) {
    tinker__eng_generated_t t = {
        .token = -1,
        .text = tinker__str(words[i]),
        .logprob = NAN,
        .end = TINKER__GENERATED_MORE,
    };
    if (i == n - 1) {
      t.end = n < 3 ? TINKER__GENERATED_LENGTH : TINKER__GENERATED_STOP;
    }
    rc = cb->on_token(cb->user, &t);
  }
  cb->done(cb->user, rc, rc ? "given up" : "");
  return 0;
}

static void parrot_cancel(tinker__eng_generator_t *g, uint64_t id) {
  TINKER__CONTAINER(g, parrot_t, face)->cancelled = id;
}

static void parrot_models(tinker__eng_generator_t *g,
                          void (*each)(void *to, const char *name,
                                       size_t context),
                          void *to) {
  (void)g;
  each(to, "parrot", 0);
}

static void parrot_close(tinker__eng_generator_t *g) {
  TINKER__CONTAINER(g, parrot_t, face)->closed = true;
}

static const tinker__eng_generator_api_t parrot_api = {
    .abi = TINKER_GENERATOR_ABI,
    .size = sizeof(tinker__eng_generator_api_t),
    .caps = TINKER_GENERATOR_TEXT,
    .name = "parrot",
    .begin = parrot_begin,
    .cancel = parrot_cancel,
    .models = parrot_models,
    .close = parrot_close,
};

static tinker__eng_generate_t ask_text(const char *say) {
  return (tinker__eng_generate_t){
      .model = "parrot",
      .text = tinker__str(say),
      .num_samples = 1,
      .temperature = 1,
      .top_p = 1,
  };
}

static void list_model(void *to, const char *name, size_t context) {
  size_t len = strlen(to);
  snprintf((char *)to + len, 200 - len, "%s:%zu ", name, context);
}

Test(generator, one_that_only_generates) {
  parrot_t parrot = {.face = {&parrot_api}};
  tinker__eng_generator_t *g = &parrot.face;
  char why[300] = "", list[200] = "";
  uint64_t id;
  collect_t c;
  collect_init(&c);
  tinker__eng_generate_t spec = ask_text("What is your name?");
  tinker__eng_generate_cb_t cb = collect_cb(&c);
  cr_assert_eq(tinker__eng_generate(g, &spec, &cb, &id, why, sizeof why), 0);
  collect_wait(&c);
  cr_assert_eq(c.rc, 0);
  cr_assert_str_eq(c.text, "Call me Ishmael");
  cr_assert_eq(c.end[0], TINKER__GENERATED_STOP);
  cr_assert_eq(c.tokens[0][0], -1);
  collect_init(&c);
  spec.max_tokens = 2;
  cr_assert_eq(tinker__eng_generate(g, &spec, &cb, &id, why, sizeof why), 0);
  cr_assert_str_eq(c.text, "Call me ");
  cr_assert_eq(c.end[0], TINKER__GENERATED_LENGTH);
  g->api->models(g, list_model, list);
  cr_assert_str_eq(list, "parrot:0 ");
  g->api->cancel(g, id);
  g->api->close(g);
  cr_assert(parrot.closed && parrot.cancelled == 1);
}

static void refused(tinker__eng_generator_t *g,
                    const tinker__eng_generate_t *spec, int code,
                    const char *reason) {
  char why[300] = "";
  uint64_t id;
  collect_t c;
  collect_init(&c);
  tinker__eng_generate_cb_t cb = collect_cb(&c);
  int rc = tinker__eng_generate(g, spec, &cb, &id, why, sizeof why);
  cr_assert_eq(rc, code, "%d %s", rc, why);
  cr_assert_neq(strstr(why, reason), NULL, "%s", why);
  cr_assert(!c.over && !c.count);
}

/* What it has no bit for never reaches it. */
Test(generator, refuses_by_name) {
  static const int32_t ids[] = {1};
  parrot_t parrot = {.face = {&parrot_api}};
  tinker__eng_generator_t *g = &parrot.face;
  tinker__eng_generate_t s = ask_text("?");
  s.seeded = true;
  refused(g, &s, TINKER_ENOTSUP, "seed: the generator 'parrot' does not");
  s = ask_text("?");
  s.logprobs = true;
  refused(g, &s, TINKER_ENOTSUP, "logprobs: ");
  s = ask_text("?");
  s.top_logprobs = 2;
  refused(g, &s, TINKER_ENOTSUP, "top_logprobs: ");
  s = ask_text("?");
  s.top_k = 2;
  refused(g, &s, TINKER_ENOTSUP, "top_k: ");
  s = ask_text("?");
  s.stop_tokens = ids;
  s.n_stop_tokens = 1;
  refused(g, &s, TINKER_ENOTSUP, "stop_tokens: ");
  s = ask_text("?");
  s.tokens = ids;
  refused(g, &s, TINKER_EINVAL, "tokens: none");
  s.n_tokens = 1;
  refused(g, &s, TINKER_ENOTSUP, "tokens: ");
  s = ask_text("?");
  s.top_p = 0;
  refused(g, &s, TINKER_EINVAL, "top_p");
  s = ask_text("?");
  s.temperature = NAN;
  refused(g, &s, TINKER_EINVAL, "temperature");
  s.temperature = INFINITY;
  refused(g, &s, TINKER_EINVAL, "temperature");
  s = ask_text("?");
  s.num_samples = 0;
  refused(g, &s, TINKER_EINVAL, "num_samples");
  s = ask_text("?");
  s.stop_strings = &(tinker__str_t){"", 0};
  s.n_stop_strings = 1;
  refused(g, &s, TINKER_EINVAL, "stop_strings");
}

/* --- Row engines ---------------------------------------------------------- */

static const tinker__eng_base_info_t info = {
    .vocab_size = VOCAB,
    .context_length = 250,
};
static atomic_int held;

static int hold(void *user, const char *model, tinker__eng_row_lease_t *out,
                char *why, size_t why_len) {
  (void)user;
  if (strcmp(model, "rows") != 0) {
    return tinker__why(why, why_len, TINKER_ENOENT, "no model '%s'", model);
  }
  atomic_fetch_add(&held, 1);
  *out = (tinker__eng_row_lease_t){
      .backend = &backend,
      .info = &info,
      .text = &text,
      .holds = true,
  };
  return 0;
}

static tinker__eng_base_t *base(void *user, const tinker__eng_row_lease_t *l) {
  (void)user;
  cr_assert(l->holds);
  return NULL;
}

static void drop(void *user, tinker__eng_row_lease_t *l) {
  (void)user;
  (void)l;
  atomic_fetch_sub(&held, 1);
}

static void each(void *user, void (*fn)(void *to, const char *n, size_t ctx),
                 void *to) {
  (void)user;
  fn(to, "rows", info.context_length);
}

static const tinker__eng_row_models_t row_models = {hold, base, drop, each,
                                                    NULL};
static _Atomic int64_t doing;

static int new_scheduler(tinker__eng_scheduler_t **out, tinker__mem_t *mem) {
  tinker__eng_scheduler_policy_t policy = {tinker__world_real(), 50};
  return tinker__eng_scheduler_new(out, mem, &policy, &doing, NULL, NULL, NULL);
}

typedef struct {
  tinker__mem_t mem;
  tinker__eng_scheduler_t *scheduler;
  tinker__eng_generator_t *g;
} rows_t;

static void rows_open(rows_t *r) {
  tinker__mem_init(&r->mem, NULL, 0);
  slot_mem = &r->mem;
  cr_assert_eq(new_scheduler(&r->scheduler, &r->mem), 0);
  cr_assert_eq(
      tinker__eng_row_generator_new(&r->g, &r->mem, r->scheduler, &row_models),
      0);
}

static void rows_close(rows_t *r) {
  tinker__eng_scheduler_free(r->scheduler, NULL);
  r->g->api->close(r->g);
  cr_assert_eq(atomic_load(&held), 0);
  cr_assert_eq(r->mem.live_blocks, 0);
}

static const int32_t prompt[5] = {3, 4, 5, 6, 7};

static tinker__eng_generate_t ask_rows(void) {
  return (tinker__eng_generate_t){
      .model = "rows",
      .tokens = prompt,
      .n_tokens = 5,
      .num_samples = 2,
      .max_tokens = 12,
      .temperature = 1,
      .top_p = 1,
      .seeded = true,
      .seed = 3,
      .logprobs = true,
  };
}

/* The tokens are those of the batch, each given as it is made. */
Test(generator, of_row_engines) {
  rows_t r;
  collect_t c;
  char list[200] = "", text_want[200] = "";
  uint64_t id = 0;
  rows_open(&r);
  tinker__eng_gen_t *want = make(&r.mem, 3, 5, 2, 12);
  run(&r.mem, &want, 1);
  collect_init(&c);
  tinker__eng_generate_t spec = ask_rows();
  tinker__eng_generate_cb_t cb = collect_cb(&c);
  cr_assert_eq(tinker__eng_generate(r.g, &spec, &cb, &id, NULL, 0), 0);
  collect_wait(&c);
  cr_assert_eq(c.rc, 0, "%s", c.why);
  cr_assert_neq(id, 0);
  for (size_t k = 0; k < 2; k++) {
    cr_assert_eq(c.n[k], 12);
    cr_assert_eq(c.end[k], TINKER__GENERATED_LENGTH);
    cr_assert_arr_eq(c.tokens[k], want->seqs[k].tokens, 12 * sizeof(int32_t));
    cr_assert_arr_eq(c.logprobs[k], want->seqs[k].logprobs, 12 * sizeof(float));
  }
  for (size_t i = 0; i < 12; i++) {
    for (size_t k = 0; k < 4; k++) {
      text_want[4 * i + k] = (char)('a' + want->seqs[k / 2].tokens[i]);
    }
  }
  cr_assert_str_eq(c.text, text_want);
  tinker__eng_gen_free(want);
  r.g->api->models(r.g, list_model, list);
  cr_assert_str_eq(list, "rows:250 ");
  rows_close(&r);
}

/* To the end of the context, cancelled, given up by its reader, or cut off by
 * the end of the engine thread. */
Test(generator, ends) {
  rows_t r;
  static collect_t c[4];
  uint64_t id[4];
  rows_open(&r);
  tinker__eng_generate_t spec = ask_rows();
  spec.max_tokens = 0;
  for (int i = 0; i < 4; i++) {
    collect_init(&c[i]);
    tinker__eng_generate_cb_t cb = collect_cb(&c[i]);
    if (i == 1) {
      c[i].give_up_at = 7;
      c[i].give_up = TINKER_EOVERFLOW;
    }
    cr_assert_eq(tinker__eng_generate(r.g, &spec, &cb, &id[i], NULL, 0), 0);
    if (i == 2) r.g->api->cancel(r.g, id[i]);
    if (i < 3) collect_wait(&c[i]);
    r.g->api->cancel(r.g, id[i] + 100); /* of nobody */
    if (i == 3) collect_wait_for(&c[i], 1);
  }
  rows_close(&r);
  cr_assert_eq(c[0].n[1], 245);
  cr_assert_eq(c[0].end[0], TINKER__GENERATED_LENGTH);
  cr_assert_eq(c[1].rc, TINKER_EOVERFLOW);
  cr_assert_eq(c[1].count, 7, "nothing after it");
  cr_assert_eq(c[2].rc, TINKER_ECANCELED);
  cr_assert(c[3].over);
}

Test(generator, bounds_of_a_model) {
  static const int32_t wrong[2] = {1, VOCAB};
  rows_t r;
  rows_open(&r);
  tinker__eng_generate_t s = ask_rows();
  s.max_tokens = 246;
  refused(r.g, &s, TINKER_EINVAL, "do not fit into the context of 250");
  s = ask_rows();
  s.tokens = wrong;
  s.n_tokens = 2;
  refused(r.g, &s, TINKER_EINVAL, "tokens[1]: 17 is not in 0 to 16");
  s = ask_rows();
  s.model = "others";
  refused(r.g, &s, TINKER_ENOENT, "no model 'others'");
  s = ask_rows();
  s.top_logprobs = VOCAB + 1;
  refused(r.g, &s, TINKER_EINVAL, "top_logprobs: 18");
  s = ask_text("text");
  refused(r.g, &s, TINKER_ENOTSUP, "text: the generator 'rows'");
  rows_close(&r);
}

static int one_generation(tinker__mem_t *mem, void *user) {
  rows_t r;
  static collect_t c;
  uint64_t id;
  (void)user;
  slot_mem = mem;
  collect_init(&c);
  tinker__eng_generate_t spec = ask_rows();
  tinker__eng_generate_cb_t cb = collect_cb(&c);
  int rc = new_scheduler(&r.scheduler, mem);
  if (rc) return rc;
  rc = tinker__eng_row_generator_new(&r.g, mem, r.scheduler, &row_models);
  if (!rc) {
    rc = tinker__eng_generate(r.g, &spec, &cb, &id, NULL, 0);
    if (!rc) collect_wait(&c);
    if (!rc) rc = c.rc;
  } else {
    r.g = NULL;
  }
  tinker__eng_scheduler_free(r.scheduler, NULL);
  if (r.g) r.g->api->close(r.g);
  cr_assert_eq(atomic_load(&held), 0);
  return rc;
}

Test(generator, every_allocation) {
  cr_assert_geq(tinker__fail_sweep(one_generation, NULL, TINKER_ENOMEM), 12);
}
