/* The run, see play.h. */
#include "play.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "support/why.h"

#define BATCH 2
#define TIMEOUT_MS 60000
#define LEDGER_MAX (1 << 20)

static char ledger[LEDGER_MAX];
static int32_t text[BATCH][LEN + 1];

void play_connect(play_t *p, const char *url) {
  tinker_client_options_t o;
  char why[256] = "";
  tinker_client_options_init(&o);
  o.base_url = url;
  o.api_key = "tml-local";
  o.default_timeout_ms = TIMEOUT_MS;
  cr_assert_eq(why_client(&p->client, &o, why, sizeof why), 0, "%s", why);
}

static void begin(play_t *p, int seed, const char *rules,
                  const char *const *flags) {
  *p = (play_t){.flags = flags, .steps = STEPS, .chunks = 1};
  faulty_init(&p->service, seed, rules);
  faulty_start(&p->service, flags, true);
}

void play_begin(play_t *p, const char *rules, const char *const *flags) {
  begin(p, 1, rules, flags);
  play_connect(p, p->service.url);
}

void play_begin_tcp(play_t *p, int seed, const char *rules,
                    const char *const *flags) {
  begin(p, seed, rules, flags);
  play_connect(p, p->service.http);
}

static unsigned advice_of(const tinker_error_t *e) {
  return (tinker_error_outcome_is_unknown(e) ? UNKNOWN : 0u) |
         (tinker_error_is_retriable(e) ? RETRIABLE : 0u) |
         (tinker_error_is_fatal(e) ? FATAL : 0u) |
         (tinker_error_needs_recovery(e) ? RECOVER : 0u);
}

ended_t play_wait(tinker_future_t *f) {
  ended_t out = {.code = tinker_future_wait(f, 2 * TIMEOUT_MS)};
  const tinker_error_t *e = tinker_future_error(f);
  out.advice = advice_of(e);
  out.category = tinker_error_category(e);
  out.status = tinker_error_http_status(e);
  out.retry_after_ms = tinker_error_retry_after_ms(e);
  snprintf(out.text, sizeof out.text, "%s", tinker_error_message(e));
  return out;
}

ended_t play_create(play_t *p) {
  tinker_trainer_options_t o;
  tinker_trainer_options_init(&o);
  o.base_model = "qwen3_tied";
  o.rank = 8;
  o.seed = 5;
  tinker_future_t *f = tinker_client_create_trainer(p->client, &o, NULL);
  ended_t e = play_wait(f);
  if (!e.code) tinker_future_get_trainer(f, &p->trainer);
  tinker_future_release(f);
  return e;
}

/* --- the calls --- */

static void make_batch(tinker_datum_t **batch) {
  for (int i = 0; i < BATCH; i++) {
    for (int k = 0; k <= LEN; k++) text[i][k] = (7 * i + 3 * k + k * k) % 60;
    cr_assert_eq(tinker_datum_new_supervised(&batch[i], text[i], NULL, LEN + 1,
                                             NULL, NULL),
                 0);
  }
}

/* One call by its place in the run. */
static tinker_future_t *submit(play_t *p, int i, tinker_datum_t **batch) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  if (p->timeout_ms[i]) call.timeout_ms = p->timeout_ms[i];
  adam.learning_rate = 0.02;
  if (i == 2 * p->steps) {
    return tinker_trainer_save_state(p->trainer, "end", NULL, &call);
  }
  if (i == 2 * p->steps + 1) {
    return tinker_trainer_forward(p->trainer, batch, 1, NULL, &call);
  }
  if (i == 2 * p->steps + 2) {
    return tinker_trainer_create_sampler(p->trainer, &call);
  }
  if (p->whole) {
    return tinker_trainer_step(p->trainer, batch, BATCH, NULL, &adam, &call);
  }
  if (i % 2) return tinker_trainer_optim_step(p->trainer, &adam, &call);
  return tinker_trainer_forward_backward(p->trainer, batch, BATCH, NULL, &call);
}

static void take_weights(play_t *p, tinker_future_t *f) {
  const tinker_forward_result_t *r;
  tinker_tensor_view_t v;
  if (tinker_future_get_forward(f, &r)) return;
  cr_assert_eq(tinker_forward_result_tensor(r, 0, "logprobs", &v), 0);
  cr_assert_eq(v.count, (size_t)LEN);
  memcpy(p->weights, v.f32, sizeof p->weights);
}

static ended_t draw(play_t *p, tinker_sampler_t *s) {
  tinker_sampling_params_t o;
  tinker_call_options_t call;
  tinker_input_t *prompt = NULL;
  const tinker_sample_result_t *r;
  size_t n = 0;
  tinker_sampling_params_init(&o);
  o.max_tokens = DRAWN;
  o.no_stop = 1;
  o.seed = 11;
  tinker_call_options_init(&call);
  int64_t timeout_ms = p->timeout_ms[2 * p->steps + 3];
  if (timeout_ms) call.timeout_ms = timeout_ms;
  cr_assert_eq(tinker_input_from_tokens(&prompt, text[0], LEN, NULL, NULL), 0);
  tinker_future_t *f = tinker_sampler_sample(s, prompt, &o, &call);
  ended_t e = play_wait(f);
  if (!tinker_future_get_sample(f, &r)) {
    const tinker_sequence_t *q = tinker_sample_result_sequences(r, &n);
    cr_assert(n == 1 && q->count == DRAWN);
    memcpy(p->drawn, q->tokens, sizeof p->drawn);
  }
  tinker_future_release(f);
  tinker_input_release(prompt);
  return e;
}

void play_train(play_t *p) {
  tinker_datum_t *batch[BATCH];
  tinker_future_t *f[MAX_CALLS] = {NULL};
  tinker_sampler_t *s = NULL;
  int n = 2 * p->steps + 3;
  make_batch(batch);
  for (int i = 0; i < n; i++) {
    bool half = p->whole && i % 2 && i < 2 * p->steps;
    f[i] = half ? tinker_future_retain(f[i - 1]) : submit(p, i, batch);
    if (p->apart) tinker_future_wait(f[i], 2 * TIMEOUT_MS);
  }
  for (int i = 0; i < n; i++) p->calls[i] = play_wait(f[i]);
  take_weights(p, f[n - 2]);
  tinker_future_get_sampler(f[n - 1], &s);
  if (s) p->calls[n] = draw(p, s);
  tinker_sampler_release(s);
  for (int i = 0; i < n; i++) tinker_future_release(f[i]);
  for (int i = 0; i < BATCH; i++) tinker_datum_release(batch[i]);
}

void play_close(play_t *p) {
  tinker_trainer_release(p->trainer);
  tinker_client_release(p->client);
  p->trainer = NULL;
  p->client = NULL;
  cr_assert_eq(tinker_shutdown(TIMEOUT_MS), 0);
}

void play_end(play_t *p) {
  if (p->client) play_close(p);
  faulty_end(&p->service);
}

/* --- what has to hold --- */

static bool is_batch(const play_t *p, int call) {
  return call < 2 * p->steps && call % 2 == 0;
}

/* Ended while it waited for its turn. */
static bool took_no_number(const ended_t *e) {
  return e->code == TINKER_EFATAL || e->code == TINKER_ESTATE ||
         (e->code == TINKER_ETIMEDOUT && !(e->advice & UNKNOWN));
}

/* One request of a call, by its number. */
static void check_number(const play_t *p, const ended_t *e, int seq) {
  char id[300];
  snprintf(id, sizeof id, "%s:%d", tinker_trainer_model_id(p->trainer), seq);
  size_t applied = faulty_count(ledger, "applied", id, NULL);
  size_t accepted = faulty_count(ledger, "accepted", id, NULL);
  cr_assert(applied <= 1 && accepted <= 1, "%s: %zu %zu", id, applied,
            accepted);
  if (!e->code) {
    cr_assert_eq(applied, 1u, "%s: told that it was done", id);
  } else if (!(e->advice & UNKNOWN)) {
    cr_assert_eq(applied, 0u, "%s: told that it was not done: %s", id, e->text);
  }
}

/* Every number is applied behind those before it. */
static void check_order(const play_t *p) {
  int last = -1, seq; /* 0 is the creation */
  const char *at = ledger;
  while ((at = strstr(at, "\"applied\""))) {
    const char *id = strstr(at, tinker_trainer_model_id(p->trainer));
    if (!id) break;
    if (id < at + strcspn(at, "}") &&
        sscanf(id + strlen(tinker_trainer_model_id(p->trainer)), ":%d", &seq) ==
            1) {
      cr_assert_gt(seq, last, "%d applied behind %d", seq, last);
      last = seq;
    }
    at++;
  }
}

void play_check_ledger(const play_t *p) {
  faulty_ledger(&p->service, ledger, sizeof ledger);
  for (int i = 0, seq = 1; i < 2 * p->steps + 3; i++) {
    int count = is_batch(p, i) ? p->chunks : 1;
    if (took_no_number(&p->calls[i])) count = 0;
    for (int k = 0; k < count; k++) check_number(p, &p->calls[i], seq++);
  }
  check_order(p);
}

void play_check(const play_t *p, const ended_t *want) {
  for (int i = 0; i < 2 * p->steps + 4; i++) {
    cr_assert(p->calls[i].code == want[i].code &&
                  p->calls[i].advice == want[i].advice,
              "call %d: %s, advice %x: %s", i,
              tinker_code_name(p->calls[i].code), p->calls[i].advice,
              p->calls[i].text);
  }
}

void play_check_undisturbed(const play_t *p) {
  static play_t well;
  play_begin(&well, "", p->flags);
  well.steps = p->steps;
  cr_assert_eq(play_create(&well).code, 0);
  play_train(&well);
  play_check(&well, (ended_t[MAX_CALLS]){{0}});
  cr_assert_eq(memcmp(well.weights, p->weights, sizeof well.weights), 0);
  cr_assert_eq(memcmp(well.drawn, p->drawn, sizeof well.drawn), 0);
  play_end(&well);
}

void play_check_applied(const play_t *p, const char *endpoint, size_t n) {
  faulty_ledger(&p->service, ledger, sizeof ledger);
  cr_assert_eq(faulty_count(ledger, "applied", NULL, endpoint), n);
}

void play_check_fired(const play_t *p, size_t least) {
  faulty_ledger(&p->service, ledger, sizeof ledger);
  size_t n = faulty_count(ledger, "fault", NULL, NULL);
  cr_assert_geq(n, least, "%zu faults: %s", n, ledger);
}
