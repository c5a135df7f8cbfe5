/* The public calls against a local service that goes wrong as a plan says:
 * what the caller is told is what the headers promise and what the service's
 * ledger says, and what only disturbs the way changes no bit of the weights. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "play.h"
#include "support/calls.h"

static play_t hit;

TestSuite(faults, .timeout = 120);

static const char *const inline_flags[] = {"--inline-result", "1", NULL};
/* A file of the service's folder. */
static const char *const chunk_flags[] = {"--client-config", "chunks", NULL};

/* Nobody notices. */
static void unnoticed(const char *rules, size_t least, const char *const *flags,
                      int tcp) {
  if (tcp) {
    play_begin_tcp(&hit, 1, rules, flags);
  } else {
    play_begin(&hit, rules, flags);
  }
  ended_t e = play_create(&hit);
  cr_assert_eq(e.code, 0, "%s", e.text);
  play_train(&hit);
  play_check(&hit, (ended_t[MAX_CALLS]){{0}});
  play_check_ledger(&hit);
  play_check_fired(&hit, least);
  play_check_undisturbed(&hit);
  play_end(&hit);
}

/* clang-format off */
#define ON(endpoint_, more_) "{\"endpoint\":\"" endpoint_ "\"," more_ "}"
/* One of each kind of request that is sent again. */
#define EACH(more_)                                                            \
  ON("client/config", "\"nth\":1," more_)                                      \
  "," ON("get_info", "\"nth\":1," more_) ","                                   \
  ON("forward_backward", "\"nth\":1," more_) ","                               \
  ON("optim_step", "\"seq_id\":4,\"nth\":1," more_) ","                        \
  ON("save_weights", "\"nth\":1," more_) ","                                   \
  ON("save_weights_for_sampler", "\"nth\":1," more_) ","                       \
  ON("asample", "\"nth\":1," more_) ","                                        \
  ON("retrieve_future", "\"of\":\"create_model\",\"nth\":1," more_) ","        \
  ON("retrieve_future", "\"of\":\"forward_backward\",\"nth\":2," more_) ","    \
  ON("retrieve_future", "\"of\":\"optim_step\",\"nth\":1," more_) ","          \
  ON("retrieve_future", "\"of\":\"asample\",\"nth\":1," more_)
/* --- the way is disturbed --- */
/* clang-format on */

Test(faults, drop) {
  unnoticed(EACH("\"act\":\"drop\""), 11, NULL, 0);
}

Test(faults, reset) {
  unnoticed(EACH("\"act\":\"reset\""), 11, NULL, 1);
}

Test(faults, lose_reply) {
  unnoticed(EACH("\"act\":\"lose_reply\""), 11, NULL, 0);
}

Test(faults, cut_behind_the_headers) {
  unnoticed(EACH("\"act\":\"cut\",\"bytes\":0"), 11, NULL, 0);
}

Test(faults, cut_in_the_body) {
  unnoticed(EACH("\"act\":\"cut\",\"bytes\":1"), 11, NULL, 1);
}

Test(faults, cut_late) {
  unnoticed(EACH("\"act\":\"cut\",\"bytes\":25"), 8, NULL, 0);
}

Test(faults, trickle) {
  unnoticed(EACH("\"act\":\"trickle\",\"bytes\":9,\"ms\":5"), 11, NULL, 1);
}

Test(faults, delay) {
  unnoticed(EACH("\"act\":\"delay\",\"ms\":150"), 11, NULL, 0);
}

/* clang-format off */
Test(faults, duplicate) {
  unnoticed(EACH("\"act\":\"duplicate\"") "," ON("create_session",
                                                 "\"act\":\"duplicate\""),
            12, NULL, 0);
}
/* clang-format on */

/* clang-format off */
Test(faults, reorder) {
  unnoticed(ON("forward_backward", "\"nth\":2,\"act\":\"reorder\"") ","
            ON("optim_step", "\"nth\":1,\"act\":\"reorder\""),
            2, NULL, 0);
}
/* clang-format on */

Test(faults, announced_results) {
  unnoticed(ON("retrieve_future", "\"nth\":3,\"act\":\"drop\""), 1,
            inline_flags, 0);
}

/* clang-format off */
Test(faults, results_that_are_cut_when_announced) {
#define CUT "\"act\":\"cut\",\"bytes\":40"
  unnoticed(ON("retrieve_future", "\"seq_id\":1,\"nth\":1," CUT) ","
            ON("retrieve_future", "\"seq_id\":2,\"nth\":2," CUT) ","
            ON("retrieve_future", "\"seq_id\":3,\"nth\":2," CUT),
            3, inline_flags, 0);
}
/* clang-format on */

/* --- answers of something in between, and of a busy service --- */

#define HTML                                                                   \
  "\"content_type\":\"text/html\",\"body\":\"<html>bad gateway</html>\""

/* clang-format off */
Test(faults, statuses_of_posts) {
  unnoticed(
      ON("client/config", "\"nth\":1,\"act\":\"status\",\"status\":503,"
                          "\"retry_after\":1") ","
      ON("client/dynamic_config",
         "\"nth\":1,\"act\":\"status\",\"status\":502," HTML) ","
      ON("get_info", "\"nth\":1,\"act\":\"status\",\"status\":408") ","
      ON("forward_backward",
         "\"times\":3,\"act\":\"status\",\"status\":503") ","
      ON("optim_step", "\"nth\":1,\"act\":\"status\",\"status\":408") ","
      ON("optim_step", "\"nth\":1,\"act\":\"status\",\"status\":500") ","
      ON("optim_step", "\"nth\":1,\"act\":\"status\",\"status\":502," HTML) ","
      ON("save_weights", "\"nth\":1,\"act\":\"status\",\"status\":429,"
                         "\"retry_after\":1") ","
      ON("save_weights_for_sampler",
         "\"times\":2,\"act\":\"status\",\"status\":504") ","
      ON("asample", "\"times\":1,\"act\":\"status\",\"status\":429,"
                    "\"retry_after\":1"),
      13, NULL, 0);
}
/* clang-format on */

/* clang-format off */
Test(faults, statuses_of_polls) {
  unnoticed(
      ON("retrieve_future", "\"nth\":2,\"act\":\"status\",\"status\":408,"
                            "\"body\":\"{\\\"queue_state\\\":"
                            "\\\"paused_capacity\\\"}\"") ","
      ON("retrieve_future", "\"nth\":2,\"act\":\"status\",\"status\":500") ","
      ON("retrieve_future", "\"nth\":2,\"act\":\"status\",\"status\":502,"
         HTML) ","
      ON("retrieve_future", "\"nth\":2,\"act\":\"status\",\"status\":429,"
                            "\"retry_after\":1") ","
      ON("retrieve_future", "\"nth\":2,\"act\":\"status\",\"status\":400,"
         HTML) ","
      ON("retrieve_future", "\"of\":\"optim_step\",\"times\":3,\"act\":"
                            "\"status\",\"status\":503"),
      8, NULL, 0);
}
/* clang-format on */

/* clang-format off */
#define BILLING "\"nth\":1,\"act\":\"status\",\"status\":402"
Test(faults, billing_pauses) {
  unnoticed(ON("optim_step", BILLING) ","
            ON("retrieve_future", "\"of\":\"forward_backward\"," BILLING),
            2, NULL, 0);
}
/* clang-format on */

Test(faults, billing_pauses_samples) {
  unnoticed(ON("asample", BILLING), 1, NULL, 0);
}

/* JSON under another name is read all the same. */
Test(faults, json_by_another_name) {
  unnoticed(ON("retrieve_future",
               "\"of\":\"optim_step\",\"act\":\"content_type\","
               "\"content_type\":\"text/plain\""),
            3, NULL, 0);
}

/* clang-format off */
Test(faults, pauses) {
  unnoticed(ON("optim_step", "\"seq_id\":2,\"act\":\"pause\",\"ms\":300") ","
            ON("forward_backward",
               "\"seq_id\":3,\"act\":\"pause\",\"ms\":300,"
               "\"state\":\"paused_rate_limit\",\"reason\":\"too many\"") ","
            ON("optim_step", "\"seq_id\":6,\"act\":\"pause\",\"ms\":300,"
                             "\"state\":\"active\"") ","
            ON("asample", "\"act\":\"pause\",\"ms\":300"),
            4, NULL, 0);
}
/* clang-format on */

/* --- what the caller has to know --- */

/* A run of which some calls shall fail. */
static void told(const char *rules, const char *const *flags,
                 const ended_t *want) {
  play_begin(&hit, rules, flags);
  ended_t e = play_create(&hit);
  cr_assert_eq(e.code, 0, "%s", e.text);
  play_train(&hit);
  play_check(&hit, want);
  play_check_ledger(&hit);
  play_check_fired(&hit, 1);
}

#define FAILS(call_, code_, advice_)                                           \
  [call_] = {.code = (code_), .advice = (advice_)}

Test(faults, forgotten_but_applied) {
  told(ON("optim_step", "\"seq_id\":4,\"act\":\"forget\""), NULL,
       (ended_t[MAX_CALLS]){FAILS(OPTIM(1), TINKER_ELOST, UNKNOWN)});
  play_check_undisturbed(&hit);
  play_end(&hit);
}

Test(faults, forgotten_and_not_applied) {
  told(ON("optim_step", "\"seq_id\":4,\"act\":\"forget\",\"applied\":false"),
       NULL, (ended_t[MAX_CALLS]){FAILS(OPTIM(1), TINKER_ELOST, UNKNOWN)});
  play_end(&hit);
}

/* clang-format off */
/* The result of a sample is drawn again, and the same. */
Test(faults, forgotten_sample) {
  unnoticed(ON("asample", "\"nth\":1,\"act\":\"forget\"") ","
            ON("asample", "\"nth\":1,\"act\":\"forget\",\"applied\":false"),
            2, NULL, 0);
}
/* clang-format on */

static void ends(tinker_future_t *f, int code) {
  int rc = tinker_future_wait(f, 30000);
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert_eq(rc, code, "%s", tinker_error_message(e));
  if (code) {
    cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_USER);
    cr_assert(!tinker_error_is_fatal(e) && !tinker_error_outcome_is_unknown(e));
    cr_assert_not_null(strstr(tinker_error_message(e), "(base URL unix:"));
  }
  tinker_future_release(f);
}

/* What the service has already, and what it does not have. */
Test(faults, names) {
  play_begin(&hit, ON("optim_step", "\"seq_id\":99,\"act\":\"corrupt\""), NULL);
  cr_assert_eq(play_create(&hit).code, 0);
  ends(tinker_trainer_save_state(hit.trainer, "a", NULL, NULL), 0);
  ends(tinker_trainer_save_state(hit.trainer, "a", NULL, NULL), TINKER_EEXIST);
  ends(tinker_trainer_optim_step(hit.trainer, NULL, NULL), 0);
  ends(tinker_client_create_trainer_from_state(
           hit.client, "tinker://nobody/weights/a", 1, NULL),
       TINKER_ENOENT);
  ends(tinker_client_create_sampler_from_path(
           hit.client, "tinker://nobody/sampler_weights/a", NULL),
       TINKER_ENOENT);
  ends(tinker_client_create_sampler(hit.client, "no such model", NULL),
       TINKER_ENOENT);
  play_end(&hit);
}

/* The model can't go on: each call that the service has accepted says so, and
 * what was not sent by then is not sent any more. */
Test(faults, corrupted) {
  play_begin(&hit, ON("optim_step", "\"seq_id\":4,\"act\":\"corrupt\""), NULL);
  cr_assert_eq(play_create(&hit).code, 0);
  play_train(&hit);
  for (int i = 0; i < CALLS - 1; i++) {
    const ended_t *e = &hit.calls[i];
    bool sent = e->code != TINKER_EFATAL;
    if (i < OPTIM(1)) {
      cr_assert_eq(e->code, 0, "%d: %s", i, e->text);
      continue;
    }
    cr_assert_eq(e->advice, (unsigned)(FATAL | RECOVER), "%d: %s", i, e->text);
    cr_assert(e->code == TINKER_ESERVER || (!sent && i > OPTIM(1)), "%d: %s", i,
              e->text);
    if (sent) cr_assert_eq(e->category, TINKER_CATEGORY_SERVER);
  }
  play_check_ledger(&hit);
  play_check_fired(&hit, 1);
  play_end(&hit);
}

/* One call is an error, and no optim_step uses what there may be of it; calls
 * that have nothing to do with it go on over the restart. Apart: the ledger's
 * line of a call that has just been applied may be lost in a crash. */
Test(faults, crash) {
  play_begin(&hit, ON("forward_backward", "\"seq_id\":3,\"act\":\"crash\""),
             NULL);
  hit.apart = true;
  cr_assert_eq(play_create(&hit).code, 0);
  play_train(&hit);
  ended_t want[MAX_CALLS] = {FAILS(FB(1), TINKER_ESERVER, 0)};
  for (int i = OPTIM(1); i < 2 * hit.steps; i++) {
    want[i] = (ended_t){.code = TINKER_ESTATE, .advice = RECOVER};
  }
  play_check(&hit, want);
  play_check_ledger(&hit);
  play_check_fired(&hit, 1);
  cr_assert_eq(hit.calls[FB(1)].category, TINKER_CATEGORY_SERVER);
  play_end(&hit);
}

/* From `first` on the trainer is fatal: refused or not sent. */
static void want_fatal(ended_t *want, int first) {
  for (int i = first; i < CALLS - 1; i++) {
    want[i] = (ended_t){.code = TINKER_EFATAL, .advice = FATAL | RECOVER};
  }
}

/* The session's end: the trainer is fatal, the client is over, and another
 * one begins again. */
Test(faults, session_gone) {
  ended_t want[MAX_CALLS] = {FAILS(OPTIM(1), TINKER_ESESSION, FATAL | RECOVER)};
  want_fatal(want, FB(2));
  told(ON("optim_step", "\"seq_id\":4,\"nth\":1,\"act\":\"session_gone\""),
       NULL, want);
  tinker_trainer_release(hit.trainer);
  hit.trainer = NULL;
  cr_assert_eq(play_create(&hit).code, TINKER_ESESSION);
  play_close(&hit);
  play_connect(&hit, hit.service.url);
  cr_assert_eq(play_create(&hit).code, 0);
  play_train(&hit);
  play_check(&hit, (ended_t[MAX_CALLS]){{0}});
  play_check_undisturbed(&hit);
  play_end(&hit);
}

/* A number that nobody has read is a hole in the order. */
Test(faults, key_refused_for_a_post) {
  ended_t want[MAX_CALLS] = {FAILS(OPTIM(1), TINKER_EAUTH, FATAL | RECOVER)};
  want_fatal(want, FB(2));
  told(ON("optim_step", "\"nth\":2,\"act\":\"status\",\"status\":401"), NULL,
       want);
  play_end(&hit);
}

Test(faults, body_too_large) {
  static const char *const flags[] = {"--max-body", "400", NULL};
  ended_t want[MAX_CALLS] = {FAILS(FB(0), TINKER_EREJECTED, FATAL | RECOVER)};
  want_fatal(want, OPTIM(0));
  told(ON("get_info", "\"act\":\"delay\",\"ms\":1"), flags, want);
  play_end(&hit);
}

Test(faults, key_refused_for_a_poll) {
  told(ON("retrieve_future",
          "\"seq_id\":4,\"nth\":1,\"act\":\"status\",\"status\":401"),
       NULL, (ended_t[MAX_CALLS]){FAILS(OPTIM(1), TINKER_EAUTH, UNKNOWN)});
  play_end(&hit);
}

#define PORTAL                                                                 \
  "\"nth\":1,\"act\":\"status\",\"status\":200,\"content_type\":"              \
  "\"text/html\",\"body\":\"<html>log in</html>\""

Test(faults, portal_answers_a_post) {
  unnoticed(ON("optim_step", PORTAL), 1, NULL, 0);
}

Test(faults, redirect_of_a_post) {
  unnoticed(ON("optim_step", "\"nth\":1,\"act\":\"status\",\"status\":302"), 1,
            NULL, 0);
}

/* clang-format off */
Test(faults, portal_answers_what_can_be_asked_again) {
  unnoticed(ON("retrieve_future", "\"seq_id\":3," PORTAL) ","
            ON("retrieve_future", "\"seq_id\":4," PORTAL) ","
            ON("retrieve_future", "\"seq_id\":5,\"nth\":1,\"act\":\"status\",\"status\":302") ","
            ON("asample", PORTAL) "," ON("get_info", PORTAL), 5, NULL, 0);
}
/* clang-format on */

Test(faults, result_by_another_name) {
  told(ON("retrieve_future", "\"seq_id\":3,\"nth\":1,\"act\":\"content_type\","
                             "\"content_type\":\"text/plain\""),
       NULL, (ended_t[MAX_CALLS]){FAILS(FB(1), TINKER_EPROTO, UNKNOWN)});
  play_end(&hit);
}

Test(faults, json_named_protobuf) {
  told(ON("retrieve_future", "\"seq_id\":4,\"nth\":1,\"act\":\"content_type\","
                             "\"content_type\":\"application/x-protobuf\""),
       NULL, (ended_t[MAX_CALLS]){{0}});
  play_end(&hit);
}

/* Not a result at all, under its own name. */
Test(faults, result_that_cannot_be_read) {
  told(ON("retrieve_future",
          "\"seq_id\":3,\"nth\":1,\"act\":\"status\",\"status\":200,"
          "\"content_type\":\"application/x-protobuf\",\"body\":\"<html>\""),
       NULL, (ended_t[MAX_CALLS]){FAILS(FB(1), TINKER_EPROTO, UNKNOWN)});
  play_end(&hit);
}

/* A poll that is never answered ends with its call's deadline. */
Test(faults, hanging_poll) {
  play_begin(&hit, ON("retrieve_future", "\"seq_id\":4,\"act\":\"hang\""),
             NULL);
  hit.timeout_ms[OPTIM(1)] = 300;
  cr_assert_eq(play_create(&hit).code, 0);
  play_train(&hit);
  play_check(&hit,
             (ended_t[MAX_CALLS]){FAILS(OPTIM(1), TINKER_ETIMEDOUT, UNKNOWN)});
  play_check_ledger(&hit);
  play_check_fired(&hit, 1);
  play_check_undisturbed(&hit);
  play_end(&hit);
}

/* clang-format off */
/* Without a deadline near, the client's own limits bring both through: that of
 * a poll (90 s), and the second try of a submission (10 s). Too long for every
 * day. */
Test(hanging, limits_of_the_client, .timeout = 300) {
  play_begin(&hit,
             ON("retrieve_future",
                "\"seq_id\":1,\"nth\":1,\"act\":\"hang\"") ","
             ON("optim_step", "\"seq_id\":4,\"nth\":1,\"act\":\"hang\""),
             NULL);
  for (int i = 0; i < CALLS; i++) hit.timeout_ms[i] = 110000;
  cr_assert_eq(play_create(&hit).code, 0);
  play_train(&hit);
  play_check(&hit, (ended_t[MAX_CALLS]){{0}});
  play_check_ledger(&hit);
  play_check_fired(&hit, 2);
  play_check_undisturbed(&hit);
  play_end(&hit);
}
/* clang-format on */

/* --- what has no number is never repeated by itself --- */

static void creation(const char *rules, const ended_t *first) {
  play_begin(&hit, rules, NULL);
  ended_t e = play_create(&hit);
  cr_assert(e.code == first->code && e.advice == first->advice &&
                e.status == first->status &&
                e.retry_after_ms == first->retry_after_ms,
            "%s, advice %x: %s", tinker_code_name(e.code), e.advice, e.text);
  e = play_create(&hit);
  cr_assert_eq(e.code, 0, "%s", e.text);
  play_train(&hit);
  play_check(&hit, (ended_t[MAX_CALLS]){{0}});
  play_check_ledger(&hit);
  play_check_fired(&hit, 1);
  play_check_undisturbed(&hit);
  play_end(&hit);
}

#define CREATION(name_, endpoint_, more_, ...)                                 \
  Test(faults, name_) {                                                        \
    creation(ON(endpoint_, "\"nth\":1,\"act\":" more_),                        \
             &(ended_t){__VA_ARGS__});                                         \
  }

CREATION(lost_session, "create_session", "\"lose_reply\"",
         .code = TINKER_ETRANSPORT, .advice = UNKNOWN)
CREATION(dropped_session, "create_session", "\"drop\"",
         .code = TINKER_ETRANSPORT, .advice = UNKNOWN)
CREATION(cut_session, "create_session", "\"cut\",\"bytes\":10",
         .code = TINKER_ETRANSPORT, .advice = UNKNOWN, .status = 200)
CREATION(busy_session, "create_session",
         "\"status\",\"status\":503,\"retry_after\":1", .code = TINKER_ESERVER,
         .advice = UNKNOWN, .status = 503, .retry_after_ms = 1000)
CREATION(lost_model, "create_model", "\"lose_reply\"",
         .code = TINKER_ETRANSPORT, .advice = UNKNOWN)
CREATION(reset_model, "create_model", "\"reset\"", .code = TINKER_ETRANSPORT,
         .advice = UNKNOWN)
CREATION(limited_model, "create_model",
         "\"status\",\"status\":429,\"retry_after\":1",
         .code = TINKER_EREJECTED, .advice = RETRIABLE, .status = 429,
         .retry_after_ms = 1000)
CREATION(blocked_model, "create_model", "\"status\",\"status\":402",
         .code = TINKER_EBILLING, .advice = RETRIABLE, .status = 402)
CREATION(refused_key, "client/config", "\"status\",\"status\":401",
         .code = TINKER_EAUTH, .status = 401)
CREATION(forgotten_model, "create_model", "\"forget\"", .code = TINKER_ELOST,
         .advice = UNKNOWN, .status = 410)

/* --- starts and limits --- */

/* Called before anything listens, and while the service starts. */
Test(faults, called_too_early) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  hit = (play_t){0};
  faulty_init(&hit.service, 1, "");
  play_connect(&hit, hit.service.url);
  tinker_trainer_options_init(&o);
  o.base_model = "qwen3_tied";
  cr_assert_eq(
      calls_begun(tinker_client_create_trainer(hit.client, &o, NULL), &f), 0);
  faulty_start(&hit.service, NULL, false);
  ended_t e = play_wait(f);
  cr_assert_eq(e.code, 0, "%s", e.text);
  tinker_future_release(f);
  play_end(&hit);
}

/* Another trainer is too many: told when to come back, and it works when the
 * first client's session has ended. */
Test(faults, too_many_models) {
  static const char *const flags[] = {"--max-models", "1", NULL};
  play_begin(&hit, "", flags);
  cr_assert_eq(play_create(&hit).code, 0);
  tinker_trainer_t *first = hit.trainer;
  ended_t e = play_create(&hit);
  cr_assert(e.code == TINKER_EREJECTED && e.status == 429 &&
                e.advice == RETRIABLE && e.retry_after_ms == 5000,
            "%s", e.text);
  cr_assert_eq(hit.trainer, first);
  cr_assert_eq(
      calls_begun(tinker_client_drain(hit.client, CALLS_TIMEOUT(-1)), NULL), 0);
  play_close(&hit);
  play_connect(&hit, hit.service.url);
  e = play_create(&hit);
  cr_assert_eq(e.code, 0, "%s", e.text);
  play_end(&hit);
}

/* Pushed back samples wait and are drawn. */
Test(faults, too_many_samples) {
  static const char *const flags[] = {"--max-samples", "1", NULL};
  enum { SAMPLES = 3 };
  tinker_future_t *f[SAMPLES] = {NULL}, *made = NULL;
  tinker_sampler_t *s = NULL;
  tinker_input_t *prompt = NULL;
  tinker_sampling_params_t o;
  play_begin(&hit, ON("asample", "\"nth\":1,\"act\":\"pause\",\"ms\":500"),
             flags);
  cr_assert_eq(
      calls_begun(tinker_client_create_sampler(hit.client, "qwen3_tied", NULL),
                  &made),
      0);
  cr_assert_eq(play_wait(made).code, 0);
  cr_assert_eq(tinker_future_get_sampler(made, &s), 0);
  cr_assert_eq(tinker_input_new(&prompt, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(prompt, (int32_t[]){1, 2, 3}, 3, NULL),
               0);
  tinker_sampling_params_init(&o);
  o.max_tokens = 4;
  for (int i = 0; i < SAMPLES; i++) {
    cr_assert_eq(calls_begun(tinker_sampler_sample(s, prompt, &o, NULL), &f[i]),
                 0);
  }
  for (int i = 0; i < SAMPLES; i++) {
    ended_t e = play_wait(f[i]);
    cr_assert_eq(e.code, 0, "%s", e.text);
    tinker_future_release(f[i]);
  }
  play_check_applied(&hit, "asample", SAMPLES);
  tinker_input_release(prompt);
  tinker_sampler_release(s);
  tinker_future_release(made);
  play_end(&hit);
}

/* --- all of it, by chance --- */

#define BY_CHANCE(more_) "{\"probability\":0.05,\"act\":" more_ "}"

/* A creation that may have happened is made again: another model, with the
 * same seed. */
static void create_somehow(play_t *p) {
  ended_t e = {.code = -1};
  for (int i = 0; e.code && i < 20; i++) {
    e = play_create(p);
    cr_assert(!e.code || e.advice & (UNKNOWN | RETRIABLE), "%s", e.text);
  }
  cr_assert_eq(e.code, 0, "%s", e.text);
}

/* clang-format off */
/* flags: of the service, or NULL. */
static void mix(int seed, const char *const *flags, int chunks) {
  static const char rules[] =
      BY_CHANCE("\"drop\"") "," BY_CHANCE("\"lose_reply\"") ","
      BY_CHANCE("\"status\",\"status\":503") "," BY_CHANCE("\"reset\"") ","
      BY_CHANCE("\"cut\",\"bytes\":30");
  play_begin_tcp(&hit, seed, rules, flags);
  hit.steps = LONG_STEPS;
  hit.chunks = chunks;
  create_somehow(&hit);
  play_train(&hit);
  play_check(&hit, (ended_t[MAX_CALLS]){{0}});
  play_check_ledger(&hit);
  play_check_fired(&hit, 10);
  play_check_undisturbed(&hit);
  play_end(&hit);
}
/* clang-format on */

#define MIX(seed_)                                                             \
  Test(faults, mix_##seed_) {                                                  \
    mix(seed_, NULL, 1);                                                       \
  }
MIX(1)
MIX(2)
MIX(3)
MIX(4)
MIX(5)

/* Each batch is two requests, of which the second goes first. */
Test(faults, mix_of_chunks) {
  mix(6, chunk_flags, 2);
}
