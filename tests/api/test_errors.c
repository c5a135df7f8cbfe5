/* Every row of error_cases.h, through the client's own code. */
#include <stdio.h>

#include "faults.h"
#include "support/why.h"

#define URL "http://127.0.0.1:9/base"
#define LOG_ID "log-42"
#define LOAD_WEIGHTS "api/v1/load_weights"
#define CHECKPOINT "api/v1/training_runs/r/checkpoints/weights/a"

enum {
  TIMES = 700, /* a request is answered in the same way */
  DEADLINE_MS = 600000
};

typedef enum {
  AT_config,
  AT_create_session,
  AT_get_run,
  AT_set_checkpoint_ttl,
  AT_delete_checkpoint,
  AT_create_trainer,
  AT_create_trainer_from_state,
  AT_create_trainer_result,
  AT_get_info,
  AT_optim_step,
  AT_save_state,
  AT_load_state,
  AT_sample,
  AT_optim_step_result,
  AT_save_state_result,
  AT_load_state_result,
  AT_sample_result,
  AT_behind_a_lost_save,
  AT_close
} moment_t;

static const char *const paths[] = {
    [AT_config] = "api/v1/client/config",
    [AT_create_session] = "api/v1/create_session",
    [AT_get_run] = "api/v1/training_runs/r?access_scope=owned",
    [AT_set_checkpoint_ttl] = CHECKPOINT "/ttl",
    [AT_delete_checkpoint] = CHECKPOINT,
    [AT_create_trainer] = CREATE,
    [AT_create_trainer_from_state] = LOAD_WEIGHTS,
    [AT_create_trainer_result] = RETRIEVE,
    [AT_get_info] = "api/v1/get_info",
    [AT_optim_step] = OPTIM,
    [AT_save_state] = SAVE,
    [AT_load_state] = LOAD_WEIGHTS,
    [AT_sample] = ASAMPLE,
    [AT_optim_step_result] = RETRIEVE,
    [AT_save_state_result] = RETRIEVE,
    [AT_load_state_result] = RETRIEVE,
    [AT_sample_result] = RETRIEVE,
    [AT_behind_a_lost_save] = SAVE,
    [AT_close] = OPTIM};

typedef struct case_s {
  const char *name;
  moment_t moment;
  script_reply_t reply;
  const char *words; /* of the service, that the error repeats; NULL = none */
  int code;
  tinker_category_t category;
  const char *advice;
} case_t;

/* clang-format off */
#define JSON(status_, words_)                                                  \
  {.status = (status_), .body = DETAIL(words_), .log_id = LOG_ID}, words_
#define PAGE(status_)                                                          \
  {.status = (status_), .body = "<html>blocked</html>",                        \
   .content_type = "text/html", .log_id = LOG_ID}, NULL
#define BODY(status_, text_)                                                   \
  {.status = (status_), .body = (text_), .log_id = LOG_ID}, NULL
#define ENDED(category_, words_)                                               \
  {.body = "{\"error\":\"" words_ "\",\"category\":\"" category_ "\"}",        \
   .log_id = LOG_ID}, words_
#define LOST(code_) {.error = TINKER_##code_, .sent = true}, NULL
#define UNSENT(code_) {.error = TINKER_##code_}, NULL
#define CASE(moment_, what, code_, category_, advice_)                         \
  {#moment_ " " #what, AT_##moment_, what, TINKER_##code_,                          \
   TINKER_CATEGORY_##category_, advice_},
static const case_t cases[] = {
#include "error_cases.h"
};
/* clang-format on */

/* --- the calls --- */

typedef struct scene_s {
  rig_t rig;
  tinker_trainer_t *trainer; /* NULL: the case is about its birth */
  tinker_sampler_t *sampler;
} scene_t;

static void fail_all(scene_t *s, const case_t *c) {
  static const tinker__http_method_t others[] = {
      [AT_get_run] = TINKER__HTTP_GET,
      [AT_set_checkpoint_ttl] = TINKER__HTTP_PUT,
      [AT_delete_checkpoint] = TINKER__HTTP_DELETE};
  bool rest = c->moment >= AT_get_run && c->moment <= AT_delete_checkpoint;
  for (int i = 0; i < TIMES; i++) {
    script_expect(s->rig.script, rest ? others[c->moment] : TINKER__HTTP_POST,
                  paths[c->moment], c->reply);
  }
}

#define TIMELY CALLS_TIMEOUT(DEADLINE_MS)

static tinker_future_t *make(scene_t *s) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "tiny";
  return tinker_client_create_trainer(s->rig.client, &o, TIMELY);
}

static tinker_future_t *optim(scene_t *s) {
  return tinker_trainer_optim_step(s->trainer, NULL, TIMELY);
}

static tinker_future_t *save(scene_t *s) {
  return tinker_trainer_save_state(s->trainer, "a", NULL, TIMELY);
}

static tinker_future_t *load(scene_t *s, moment_t moment) {
  static const char path[] = "tinker://s1:train:0/weights/a";
  if (moment == AT_create_trainer_from_state) {
    return tinker_client_create_trainer_from_state(s->rig.client, path, 1,
                                                   TIMELY);
  }
  return tinker_trainer_load_state(s->trainer, path, TIMELY);
}

static tinker_future_t *sample(scene_t *s) {
  static const int32_t tokens[2] = {1, 2};
  tinker_input_t *prompt = NULL;
  cr_assert_eq(tinker_input_new(&prompt, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(prompt, tokens, 2, NULL), 0);
  tinker_future_t *f = tinker_sampler_sample(s->sampler, prompt, NULL, TIMELY);
  tinker_input_release(prompt);
  return f;
}

static tinker_future_t *info(scene_t *s) {
  return tinker_trainer_get_info(s->trainer, TIMELY);
}

static tinker_future_t *behind(scene_t *s) {
  tinker_future_release(save(s));
  return optim(s);
}

static tinker_future_t *closed(scene_t *s) {
  tinker_future_t *f = optim(s);
  fake_loop_advance(&s->rig.loop, 20000);
  tinker_future_release(tinker_client_close(s->rig.client, NULL));
  return f;
}

static tinker_future_t *rest(scene_t *s, moment_t moment) {
  static const char path[] = "tinker://r/weights/a";
  tinker_client_t *c = s->rig.client;
  if (moment == AT_get_run) return tinker_client_get_run(c, "r", TIMELY);
  return moment == AT_delete_checkpoint
             ? tinker_client_delete_checkpoint(c, path, TIMELY)
             : tinker_client_set_checkpoint_ttl(c, path, 3600, TIMELY);
}

static tinker_future_t *call(scene_t *s, moment_t moment) {
  switch (moment) {
  case AT_get_run:
  case AT_set_checkpoint_ttl:
  case AT_delete_checkpoint: return rest(s, moment);
  case AT_config:
  case AT_create_session:
  case AT_create_trainer:
  case AT_create_trainer_result: return make(s);
  case AT_get_info: return info(s);
  case AT_optim_step:
  case AT_optim_step_result: return optim(s);
  case AT_save_state:
  case AT_save_state_result: return save(s);
  case AT_create_trainer_from_state:
  case AT_load_state:
  case AT_load_state_result: return load(s, moment);
  case AT_sample:
  case AT_sample_result: return sample(s);
  case AT_behind_a_lost_save: return behind(s);
  case AT_close: return closed(s);
  }
  return NULL;
}

static void open_scene(scene_t *s, moment_t moment) {
  *s = (scene_t){0};
  rig_init(&s->rig, "{\"billing_exception_max_pause_duration_sec\":12}");
  s->rig.base_url = URL;
  cr_assert_eq(rig_client(&s->rig), 0);
  if (moment == AT_sample || moment == AT_sample_result) {
    s->sampler = rig_sampler(&s->rig);
  } else if (moment >= AT_get_info) {
    s->trainer = rig_trainer(&s->rig);
  }
}

static void close_scene(scene_t *s) {
  tinker_trainer_release(s->trainer);
  tinker_sampler_release(s->sampler);
  rig_done(&s->rig);
}

/* --- what is looked at --- */

static const char *advice_of(const tinker_error_t *e, char out[5]) {
  char *at = out;
  if (tinker_error_is_retriable(e)) *at++ = 'r';
  if (tinker_error_is_fatal(e)) *at++ = 'f';
  if (tinker_error_outcome_is_unknown(e)) *at++ = 'u';
  if (tinker_error_needs_recovery(e)) *at++ = 'n';
  *at = 0;
  return out;
}

/* Where it happened, in whose words, and how the server calls it. */
static void check_sentence(const case_t *c, const tinker_error_t *e) {
  const char *text = tinker_error_message(e);
  cr_expect(strstr(text, "(base URL " URL ")"), "%s: %s", c->name, text);
  if (c->words) cr_expect(strstr(text, c->words), "%s: %s", c->name, text);
  if (c->reply.status && c->code != TINKER_EFATAL) {
    char number[8];
    snprintf(number, sizeof number, "%d", c->reply.status);
    cr_expect(c->reply.status == 200 || strstr(text, number), "%s: %s", c->name,
              text);
    cr_expect_str_neq(tinker_error_request_id(e), "", "%s", c->name);
  }
  if (c->reply.error) {
    cr_expect(strstr(text, "scripted failure"), "%s: %s", c->name, text);
  }
}

/* What is fatal for its trainer is so in fact, and nothing else is. */
static void check_trainer(scene_t *s, const case_t *c) {
  tinker_future_t *f = NULL;
  if (!s->trainer || c->moment == AT_close) return;
  int rc = calls_begun(optim(s), &f);
  cr_expect_eq(rc, strchr(c->advice, 'f') ? TINKER_EFATAL : 0, "%s", c->name);
  tinker_future_release(f);
}

static void check(const case_t *c) {
  scene_t s;
  char advice[5];
  open_scene(&s, c->moment);
  fail_all(&s, c);
  tinker_future_t *f = call(&s, c->moment);
  cr_assert_not_null(f, "%s", c->name);
  int rc = tinker_future_wait(f, 2 * DEADLINE_MS);
  const tinker_error_t *e = tinker_future_error(f);
  cr_expect_eq(rc, c->code, "%s: %s: %s", c->name, tinker_code_name(rc),
               tinker_error_message(e));
  cr_expect_eq(tinker_error_category(e), c->category, "%s: %d", c->name,
               (int)tinker_error_category(e));
  cr_expect_str_eq(advice_of(e, advice), c->advice, "%s: %s", c->name, advice);
  check_sentence(c, e);
  check_trainer(&s, c);
  tinker_future_release(f);
  close_scene(&s);
}

Test(errors, every_case) {
  size_t n = sizeof cases / sizeof *cases;
  cr_assert_geq(n, 100u);
  for (size_t i = 0; i < n; i++) check(&cases[i]);
}

static int new_client(const char *url, int over_http, char *why,
                      size_t why_len) {
  tinker_client_t *client = NULL;
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  o.base_url = url;
  o.api_key = "tml-secret";
  o.key_over_http = over_http;
  int rc = why_client(&client, &o, why, why_len);
  tinker_client_release(client);
  return rc;
}

/* Nothing is sent: a client asks for its configuration when it is needed. */
Test(errors, no_key_in_clear) {
  char why[300];
  cr_assert_eq(new_client("http://192.0.2.1:8000", 0, why, sizeof why),
               TINKER_EAUTH);
  cr_assert(strstr(why, "key_over_http") && !strstr(why, "secret"), "%s", why);
  cr_assert_eq(new_client("http://192.0.2.1:8000", 1, why, sizeof why), 0);
  cr_assert_eq(new_client("http://127.0.0.1:9", 0, why, sizeof why), 0);
  cr_assert_eq(new_client("https://192.0.2.1", 0, why, sizeof why), 0);
  cr_assert_eq(tinker_shutdown(10000), 0);
}
