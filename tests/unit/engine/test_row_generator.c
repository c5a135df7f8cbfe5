/* The generator made of row engines: its tokens are the batch's, whatever field
 * is asked for, and each generation ends once. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "collect.h"
#include "engine/row_generator.h"
#include "row_engine.h"
#include "support/fail_alloc.h"

static const tinker__eng_base_info_t info = {
    .vocab_size = VOCAB,
    .context_length = 250,
};
static atomic_int held;
/* What the model's tokenizer gives; NULL = it has none. */
static const tinker__eng_gen_text_t *lease_text = &text;
static const char *no_text;
static tinker__eng_backend_t *lease_backend = &backend;

static int hold(void *user, const char *model, tinker__eng_row_lease_t *out,
                char *why, size_t why_len) {
  (void)user;
  if (strcmp(model, "rows") != 0) {
    return tinker__why(why, why_len, TINKER_ENOENT, "no model '%s'", model);
  }
  atomic_fetch_add(&held, 1);
  *out = (tinker__eng_row_lease_t){
      .backend = lease_backend,
      .info = &info,
      .text = lease_text,
      .no_text = no_text,
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

static tinker__eng_row_models_t row_models = {hold, base, drop, each, NULL};
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
Test(row_generator, of_row_engines) {
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
  r.g->api->models(r.g, collect_model, list);
  cr_assert_str_eq(list, "rows:250 ");
  rows_close(&r);
}

/* To the end of the context, cancelled, given up by its reader, or cut off by
 * the end of the engine thread. */
Test(row_generator, ends) {
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
  /* Where this thread was kept waiting it may have been through before. */
  cr_assert(c[3].rc == TINKER_ECANCELED || c[3].n[1] == 245,
            "cut off is not complete");
}

Test(row_generator, bounds_of_a_model) {
  static const int32_t wrong[2] = {1, VOCAB};
  rows_t r;
  rows_open(&r);
  tinker__eng_generate_t s = ask_rows();
  s.max_tokens = 246;
  collect_refused(r.g, &s, TINKER_EINVAL, "do not fit into the context of 250");
  s = ask_rows();
  s.tokens = wrong;
  s.n_tokens = 2;
  collect_refused(r.g, &s, TINKER_EINVAL, "tokens[1]: 17 is not in 0 to 16");
  for (s.max_tokens = 0; s.max_tokens < 2; s.max_tokens++) {
    static const int32_t whole[250];
    s.tokens = whole;
    s.n_tokens = 250; /* all of the context */
    collect_refused(r.g, &s, TINKER_EINVAL,
                    "max_tokens: a prompt of 250 tokens and 1 more");
  }
  s = ask_rows();
  s.model = "others";
  collect_refused(r.g, &s, TINKER_ENOENT, "no model 'others'");
  s = ask_rows();
  s.top_logprobs = VOCAB + 1;
  collect_refused(r.g, &s, TINKER_EINVAL, "top_logprobs: 18");
  s = ask_rows();
  s.tokens = NULL;
  s.n_tokens = 0;
  s.text = tinker__str("text");
  collect_refused(r.g, &s, TINKER_ENOTSUP, "text: the generator 'rows'");
  rows_close(&r);
}

/* --- Every field counts --------------------------------------------------- */

/* The same request as a generation of the batch alone. */
static tinker__eng_gen_t *as_generation(rows_t *r,
                                        const tinker__eng_generate_t *s) {
  tinker__eng_gen_spec_t spec = {
      .prompt = s->tokens,
      .n_prompt = s->n_tokens,
      .num_samples = s->num_samples,
      .max_tokens = s->max_tokens,
      .sampling = {s->temperature, s->top_k, s->top_p, s->seed},
      .stop_tokens = s->stop_tokens,
      .n_stop_tokens = s->n_stop_tokens,
      .stop_strings = s->stop_strings,
      .n_stop_strings = s->n_stop_strings,
      .text = &text,
      .top_sample = s->top_logprobs,
  };
  tinker__eng_gen_t *g = NULL;
  cr_assert_eq(tinker__eng_gen_new(&g, &r->mem, &spec), 0);
  g->done = on_done;
  run(&r->mem, &g, 1);
  return g;
}

static void check_sample(const collect_t *c, const tinker__eng_gen_t *want,
                         size_t k) {
  const tinker__eng_gen_seq_t *q = &want->seqs[k];
  size_t top = want->top_sample;
  cr_assert_eq(c->n[k], q->n);
  cr_assert_arr_eq(c->tokens[k], q->tokens, q->n * sizeof(int32_t));
  cr_assert_arr_eq(c->logprobs[k], q->logprobs, q->n * sizeof(float));
  cr_assert_eq(c->end[k],
               q->stopped ? TINKER__GENERATED_STOP : TINKER__GENERATED_LENGTH);
  cr_assert_eq(c->n_top[k], q->n * top);
  for (size_t i = 0; top && i < q->n; i++) {
    cr_assert_arr_eq(c->top_ids[k][i], q->top_ids + i * top,
                     top * sizeof(int32_t));
    cr_assert_arr_eq(c->top_logprobs[k][i], q->top_logprobs + i * top,
                     top * sizeof(float));
  }
}

static void ask(rows_t *r, const tinker__eng_generate_t *s, collect_t *c) {
  char why[300] = "";
  uint64_t id;
  collect_init(c);
  tinker__eng_generate_cb_t cb = collect_cb(c);
  cr_assert_eq(tinker__eng_generate(r->g, s, &cb, &id, why, sizeof why), 0,
               "%s", why);
  collect_wait(c);
  cr_assert_eq(c->rc, 0, "%s", c->why);
}

/* No field is ignored: each changes what is generated, to what the batch
 * gives. */
Test(row_generator, no_field_is_ignored) {
  static const int32_t stop_token = 6;
  static collect_t plain, c;
  const tinker__str_t stop_string = TINKER__STR("hh");
  rows_t r;
  rows_open(&r);
  tinker__eng_generate_t all[9];
  for (size_t i = 0; i < 9; i++) {
    all[i] = ask_rows();
    all[i].max_tokens = 60;
  }
  all[1].temperature = 3;
  all[2].temperature = 0;
  all[3].top_k = 2;
  all[4].top_p = 0.4;
  all[5].seed = 4;
  all[6].top_logprobs = 3;
  all[7].stop_tokens = &stop_token;
  all[7].n_stop_tokens = 1;
  all[8].stop_strings = &stop_string;
  all[8].n_stop_strings = 1;
  ask(&r, &all[0], &plain);
  for (size_t i = 0; i < 9; i++) {
    tinker__eng_gen_t *want = as_generation(&r, &all[i]);
    ask(&r, &all[i], &c);
    for (size_t k = 0; k < 2; k++) check_sample(&c, want, k);
    if (i > 0 && i != 6) {
      cr_assert(memcmp(c.tokens, plain.tokens, sizeof c.tokens) != 0, "%zu", i);
    }
    if (i > 6) cr_assert_eq(c.end[0], TINKER__GENERATED_STOP, "%zu", i);
    tinker__eng_gen_free(want);
  }
  rows_close(&r);
}

/* --- Text ----------------------------------------------------------------- */

static int no_bytes(void *user, int32_t token, const char **bytes, size_t *n) {
  (void)user;
  *bytes = "?";
  *n = 1;
  return token % 2 ? TINKER_ENOENT : 0;
}

/* Without a tokenizer tokens have no text, and stop strings are refused with
 * the reason why there is none. */
Test(row_generator, models_without_text) {
  const tinker__str_t stop_string = TINKER__STR("hh");
  static const tinker__eng_gen_text_t some = {no_bytes, NULL};
  static collect_t c;
  rows_t r;
  rows_open(&r);
  tinker__eng_generate_t s = ask_rows();
  lease_text = NULL;
  ask(&r, &s, &c);
  cr_assert_str_eq(c.text, "");
  s.stop_strings = &stop_string;
  s.n_stop_strings = 1;
  collect_refused(r.g, &s, TINKER_EINVAL,
                  "they need a tokenizer.json in the model's folder");
  no_text = "its model is unknown";
  collect_refused(r.g, &s, TINKER_EINVAL, "read: its model is unknown");
  lease_text = &some;
  s = ask_rows();
  ask(&r, &s, &c);
  size_t even = 0;
  for (size_t i = 0; i < 24; i++) even += c.tokens[i / 12][i % 12] % 2 == 0;
  cr_assert(even > 0 && even < 24);
  cr_assert_eq(strlen(c.text), even, "an id without text gives none");
  rows_close(&r);
}

/* --- The owner's models --------------------------------------------------- */

static char the_base;

static tinker__eng_base_t *one_base(void *user,
                                    const tinker__eng_row_lease_t *l) {
  (void)user;
  (void)l;
  return (tinker__eng_base_t *)(void *)&the_base;
}

static int slot_of_base(tinker__eng_base_t *b, tinker__eng_adapter_t *a,
                        size_t max, tinker__eng_slot_t **out, char *why,
                        size_t why_len) {
  cr_assert_eq((void *)b, &the_base);
  cr_assert_null(a);
  return row_api.slot_new(b, a, max, out, why, why_len);
}

/* It samples from the base model that the owner names. */
Test(row_generator, samples_from_the_owners_base) {
  static tinker__engine_api_t api;
  static tinker__eng_backend_t checked = {.api = &api, .slots = &slots};
  static collect_t c;
  rows_t r;
  api = row_api;
  api.slot_new = slot_of_base;
  lease_backend = &checked;
  row_models.base = one_base;
  rows_open(&r);
  tinker__eng_generate_t s = ask_rows();
  ask(&r, &s, &c);
  cr_assert_eq(c.n[1], 12u);
  rows_close(&r);
}

/* --- Cancel --------------------------------------------------------------- */

/* Of two under way the named one ends; an id is of one generation alone. */
Test(row_generator, cancels_the_named_one) {
  static collect_t c[2];
  rows_t r;
  uint64_t id[2];
  rows_open(&r);
  tinker__eng_generate_t s = ask_rows();
  s.max_tokens = 200;
  for (int i = 0; i < 2; i++) {
    collect_init(&c[i]);
    c[i].shut = i == 0; /* holds the engine thread at its first token */
    tinker__eng_generate_cb_t cb = collect_cb(&c[i]);
    cr_assert_eq(tinker__eng_generate(r.g, &s, &cb, &id[i], NULL, 0), 0);
    if (i == 0) collect_wait_for(&c[0], 1);
  }
  cr_assert_neq(id[0], id[1]);
  r.g->api->cancel(r.g, id[1]);
  collect_open(&c[0]);
  for (int i = 0; i < 2; i++) collect_wait(&c[i]);
  cr_assert_eq(c[0].rc, 0, "%s", c[0].why);
  cr_assert_eq(c[0].n[0], 200u);
  cr_assert_eq(c[1].rc, TINKER_ECANCELED);
  cr_assert_lt(c[1].count, 400u);
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

Test(row_generator, every_allocation) {
  cr_assert_geq(tinker__fail_sweep(one_generation, NULL, TINKER_ENOMEM), 12);
}
