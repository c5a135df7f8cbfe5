/* A generator that only says words, and what is refused before a generator
 * sees it. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "base/list.h"
#include "collect.h"

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
  g->api->models(g, collect_model, list);
  cr_assert_str_eq(list, "parrot:0 ");
  g->api->cancel(g, id);
  g->api->close(g);
  cr_assert(parrot.closed && parrot.cancelled == 1);
}

/* What it has no bit for never reaches it. */
Test(generator, refuses_by_name) {
  static const int32_t ids[] = {1};
  parrot_t parrot = {.face = {&parrot_api}};
  tinker__eng_generator_t *g = &parrot.face;
  tinker__eng_generate_t s = ask_text("?");
  s.seeded = true;
  collect_refused(g, &s, TINKER_ENOTSUP,
                  "seed: the generator 'parrot' does not");
  s = ask_text("?");
  s.logprobs = true;
  collect_refused(g, &s, TINKER_ENOTSUP, "logprobs: ");
  s = ask_text("?");
  s.top_logprobs = 2;
  collect_refused(g, &s, TINKER_ENOTSUP, "top_logprobs: ");
  s = ask_text("?");
  s.top_k = 2;
  collect_refused(g, &s, TINKER_ENOTSUP, "top_k: ");
  s = ask_text("?");
  s.stop_tokens = ids;
  s.n_stop_tokens = 1;
  collect_refused(g, &s, TINKER_ENOTSUP, "stop_tokens: ");
  s = ask_text("?");
  s.tokens = ids;
  collect_refused(g, &s, TINKER_EINVAL, "tokens: none");
  s.n_tokens = 1;
  collect_refused(g, &s, TINKER_ENOTSUP, "tokens: ");
  s = ask_text("?");
  s.top_p = 0;
  collect_refused(g, &s, TINKER_EINVAL, "top_p");
  s = ask_text("?");
  s.top_p = 1.0000001;
  collect_refused(g, &s, TINKER_EINVAL, "top_p");
  s.top_p = NAN;
  collect_refused(g, &s, TINKER_EINVAL, "top_p");
  s = ask_text("?");
  s.temperature = -0.1f;
  collect_refused(g, &s, TINKER_EINVAL, "temperature");
  s.temperature = NAN;
  collect_refused(g, &s, TINKER_EINVAL, "temperature");
  s.temperature = INFINITY;
  collect_refused(g, &s, TINKER_EINVAL, "temperature");
  s = ask_text("?");
  s.num_samples = 0;
  collect_refused(g, &s, TINKER_EINVAL, "num_samples");
  s = ask_text("?");
  s.stop_strings = (tinker__str_t[]){TINKER__STR("one"), TINKER__STR("")};
  s.n_stop_strings = 2;
  collect_refused(g, &s, TINKER_EINVAL, "stop_strings");
}
