/* What every call has in common: a refused one returns a future that has failed
 * already, is reported like any other, and says what is wrong; the constant
 * futures; detached calls; options. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "rig.h"
#include "support/why.h"

static rig_t rig;
static tinker_trainer_t *trainer;
static tinker_sampler_t *sampler;

static void begin(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
  sampler = rig_sampler(&rig);
}

static void end(void) {
  tinker_trainer_release(trainer);
  tinker_sampler_release(sampler);
  rig_done(&rig);
}

TestSuite(call, .init = begin, .fini = end);

/* A call that was refused with this sentence, and sent nothing. */
static void says(tinker_future_t *f, int code, const char *text) {
  cr_assert_eq(tinker_future_status(f), code, "%s: %d", text,
               tinker_future_status(f));
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert_str_eq(tinker_error_message(e), text);
  cr_assert_eq(tinker_error_code(e), code);
  cr_assert_not(tinker_error_outcome_is_unknown(e));
  tinker_future_release(f);
}

#define REFUSED(f, text) says((f), TINKER_EINVAL, (text))

/* --- what a refusal is --- */

Test(call, a_refused_one_runs_its_callback_once_and_later) {
  seen_t seen = {0};
  tinker_future_t *f = tinker_trainer_save_state(
      trainer, "a/b", NULL, CALLS_WITH(NULL, rig_seen, &seen));
  cr_assert_eq(tinker_future_status(f), TINKER_EINVAL);
  cr_assert_eq(tinker_future_runs_callback(f), 1);
  cr_assert_eq(tinker_future_user(f), &seen);
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_SAVE_STATE);
  cr_assert_eq(seen.calls, 0); /* never before the call has returned */
  rig_run(&rig);
  cr_assert(seen.calls == 1 && seen.status == TINKER_EINVAL);
  cr_assert_eq(tinker_error_category(tinker_future_error(f)),
               TINKER_CATEGORY_USER);
  tinker_future_release(f);
  cr_assert_eq(rig_count(&rig, SAVE), 0u);
}

Test(call, a_getter_of_a_refused_one_returns_its_code) {
  tinker_sampler_t *s = NULL;
  double loss;
  tinker_future_t *f = tinker_client_create_sampler(rig.client, "", NULL);
  cr_assert_eq(tinker_future_get_sampler(f, &s), TINKER_EINVAL);
  cr_assert_eq(tinker_future_loss(f, &loss), TINKER_EINVAL);
  cr_assert_null(s);
  REFUSED(f, "create_sampler: base_model is empty");
}

Test(call, refusals_name_the_argument_the_value_and_the_range) {
  tinker_trainer_options_t t = TINKER_TRAINER_OPTIONS_INIT;
  REFUSED(tinker_client_create_trainer(rig.client, NULL, NULL),
          "create_trainer: base_model is NULL");
  t.base_model = "m";
  t.rank = 12;
  REFUSED(tinker_client_create_trainer(rig.client, &t, NULL),
          "create_trainer: rank is 12: want a power of two");
  t.rank = 0; /* set, and impossible */
  REFUSED(tinker_client_create_trainer(rig.client, &t, NULL),
          "create_trainer: rank is 0: want a power of two");
  t.rank = 8;
  t.seed = -2;
  REFUSED(tinker_client_create_trainer(rig.client, &t, NULL),
          "create_trainer: seed is -2: want 0 or more, or TINKER_NO_SEED");
  t.seed = 0;
  t.freeze = 7;
  REFUSED(tinker_client_create_trainer(rig.client, &t, NULL),
          "create_trainer: freeze is 7: want bits of TINKER_FREEZE_*, not all "
          "three");
  REFUSED(tinker_client_create_trainer_from_state(rig.client, "a", 1, NULL),
          "create_trainer_from_state: path is \"a\": want \"tinker://...\"");
  REFUSED(tinker_client_create_trainer_from_state(
              rig.client, "tinker://r/weights/a", 2, NULL),
          "create_trainer_from_state: with_optimizer is 2: want 0 or 1");
  REFUSED(tinker_trainer_save_state(trainer, "a b", NULL, NULL),
          "save_state: name has a character that is not one of "
          "[A-Za-z0-9_.-]");
  tinker_save_options_t s = TINKER_SAVE_OPTIONS_INIT;
  s.overwrite = 1;
  REFUSED(tinker_trainer_save_weights_for_sampler(trainer, "a", &s, NULL),
          "save_weights_for_sampler: overwrite is set, which the service does "
          "not offer for sampler weights");
  s.overwrite = 0;
  s.ttl_seconds = 60;
  REFUSED(tinker_trainer_save_state(trainer, "a", &s, NULL),
          "save_state: ttl_seconds is 60: want 3600 to 315360000, or "
          "TINKER_NO_TTL");
  tinker_adam_params_t a = TINKER_ADAM_PARAMS_INIT;
  a.beta2 = 1;
  REFUSED(tinker_trainer_optim_step(trainer, &a, NULL),
          "optim_step: beta2 is 1: want 0 or more, below 1");
}

Test(call, refusals_of_a_batch_name_the_datum) {
  tinker_datum_t **batch = rig_batch(2, 3);
  tinker_loss_t loss = TINKER_LOSS_INIT;
  const float ones[4] = {1, 1, 1, 1};
  REFUSED(tinker_trainer_forward(trainer, NULL, 1, NULL, NULL),
          "forward: data is NULL");
  REFUSED(tinker_trainer_forward(trainer, batch, 0, NULL, NULL),
          "forward: n is 0: want examples");
  loss.kind = TINKER_LOSS_PPO;
  REFUSED(tinker_trainer_forward_backward(trainer, batch, 2, &loss, NULL),
          "forward_backward: data[0] has no \"logprobs\", which ppo needs");
  loss.beta = 0.5;
  REFUSED(tinker_trainer_forward_backward(trainer, batch, 2, &loss, NULL),
          "forward_backward: loss: beta is set, which ppo has not");
  loss.kind = TINKER_LOSS_DRO;
  loss.beta = TINKER_LOSS_UNSET;
  REFUSED(tinker_trainer_forward_backward(trainer, batch, 2, &loss, NULL),
          "forward_backward: loss.beta is -1: want above 0 for dro");
  cr_assert_eq(tinker_datum_set_f32(batch[1], "weights", ones, 4, 0, NULL), 0);
  REFUSED(tinker_trainer_forward_backward(trainer, batch, 2, NULL, NULL),
          "forward_backward: data[1]: \"weights\" has 4 rows: want 3, one for "
          "each token of its input");
  tinker_datum_t *last = batch[1];
  batch[1] = NULL;
  REFUSED(tinker_trainer_forward_backward(trainer, batch, 2, NULL, NULL),
          "forward_backward: data[1] is NULL");
  batch[1] = last;
  rig_batch_free(batch, 2);
}

Test(call, refusals_of_a_sample_name_the_parameter) {
  tinker_input_t *p = NULL;
  tinker_sampling_params_t o = TINKER_SAMPLING_PARAMS_INIT;
  const struct {
    size_t at;
    double value;
    const char *text;
  } rows[] = {
      {offsetof(tinker_sampling_params_t, temperature), -1,
       "sample: temperature is -1: want 0 or more"},
      {offsetof(tinker_sampling_params_t, top_p), 0,
       "sample: top_p is 0: want above 0, at most 1"},
  };
  REFUSED(tinker_sampler_sample(sampler, NULL, NULL, NULL),
          "sample: prompt is NULL");
  cr_assert_eq(
      tinker_input_from_tokens(&p, (const int32_t[]){1}, 1, NULL, NULL), 0);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker_sampling_params_init(&o);
    memcpy((char *)&o + rows[i].at, &rows[i].value, sizeof(double));
    REFUSED(tinker_sampler_sample(sampler, p, &o, NULL), rows[i].text);
  }
  tinker_sampling_params_init(&o);
  o.max_tokens = 0;
  REFUSED(tinker_sampler_sample(sampler, p, &o, NULL),
          "sample: max_tokens is 0: want 1 or more, or -1");
  tinker_sampling_params_init(&o);
  o.top_k = 0;
  REFUSED(tinker_sampler_sample(sampler, p, &o, NULL),
          "sample: top_k is 0: want 1 or more, or -1");
  tinker_sampling_params_init(&o);
  o.num_samples = 0;
  REFUSED(tinker_sampler_sample(sampler, p, &o, NULL),
          "sample: num_samples is 0: want 1 or more");
  tinker_sampling_params_init(&o);
  o.no_stop = 1;
  o.stop_tokens = (const int32_t[]){1};
  o.stop_token_count = 1;
  REFUSED(tinker_sampler_sample(sampler, p, &o, NULL),
          "sample: more than one of no_stop, stop_strings and stop_tokens is "
          "set");
  tinker_input_release(p);
}

Test(call, a_deadline_that_has_passed_sends_nothing) {
  says(tinker_trainer_optim_step(trainer, NULL, CALLS_TIMEOUT(0)),
       TINKER_ETIMEDOUT,
       "optim_step: its deadline had passed when it was called (timeout_ms is "
       "0): nothing was sent");
  REFUSED(tinker_trainer_optim_step(trainer, NULL, CALLS_TIMEOUT(-3)),
          "optim_step: timeout_ms is -3: want milliseconds, -1 or -2");
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, OPTIM), 0u);
}

/* --- constant futures --- */

static void constant(tinker_future_t *f, int code) {
  seen_t seen = {0};
  cr_assert_eq(tinker_future_status(f), code);
  cr_assert_eq(tinker_future_wait(f, -1), code);
  cr_assert_eq(tinker_error_code(tinker_future_error(f)), code);
  cr_assert_gt(strlen(tinker_error_message(tinker_future_error(f))), 0u);
  cr_assert_eq(tinker_future_runs_callback(f), 0);
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_NONE);
  cr_assert_null(tinker_future_user(f));
  tinker_future_cancel(f);
  for (int i = 0; i < 3; i++) tinker_future_release(f);
  cr_assert_eq(tinker_future_retain(f), f);
  cr_assert_eq(seen.calls, 0);
}

Test(call, a_handle_that_is_NULL) {
  seen_t seen = {0};
  const tinker_call_options_t *call = CALLS_WITH(NULL, rig_seen, &seen);
  tinker_future_t *all[] = {
      tinker_client_create_trainer(NULL, NULL, call),
      tinker_client_create_trainer_from_state(NULL, "x", 1, call),
      tinker_client_create_sampler(NULL, "m", call),
      tinker_client_create_sampler_from_path(NULL, "x", call),
      tinker_client_get_capabilities(NULL, call),
      tinker_client_get_run(NULL, "a", call),
      tinker_client_list_runs(NULL, NULL, call),
      tinker_client_list_run_checkpoints(NULL, "a", call),
      tinker_client_list_checkpoints(NULL, NULL, call),
      tinker_client_weights_info(NULL, "x", call),
      tinker_client_list_sessions(NULL, NULL, call),
      tinker_client_get_session(NULL, "a", call),
      tinker_client_set_checkpoint_ttl(NULL, "x", 3600, call),
      tinker_client_delete_checkpoint(NULL, "x", call),
      tinker_client_dump(NULL, call),
      tinker_client_drain(NULL, call),
      tinker_client_close(NULL, call),
      tinker_trainer_forward(NULL, NULL, 0, NULL, call),
      tinker_trainer_forward_backward(NULL, NULL, 0, NULL, call),
      tinker_trainer_optim_step(NULL, NULL, call),
      tinker_trainer_save_state(NULL, "a", NULL, call),
      tinker_trainer_save_weights_for_sampler(NULL, "a", NULL, call),
      tinker_trainer_create_sampler(NULL, call),
      tinker_trainer_load_state(NULL, "x", call),
      tinker_trainer_load_state_with_optimizer(NULL, "x", call),
      tinker_trainer_get_info(NULL, call),
      tinker_sampler_sample(NULL, NULL, NULL, call),
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    constant(all[i], TINKER_EINVAL);
    cr_assert_eq(all[i], all[0]);
  }
  rig_run(&rig);
  cr_assert_eq(seen.calls, 0);
}

Test(call, no_memory) {
  seen_t seen = {0};
  rig.mem.fail_at = atomic_load(&rig.mem.count) + 1;
  tinker_future_t *f = tinker_trainer_optim_step(
      trainer, NULL, CALLS_WITH(NULL, rig_seen, &seen));
  rig.mem.fail_at = 0;
  constant(f, TINKER_ENOMEM);
  rig_run(&rig);
  cr_assert_eq(seen.calls, 0);
}

Test(call, after_the_client_has_ended) {
  seen_t seen = {0};
  tinker_future_t *closed = tinker_client_close(rig.client, NULL);
  says(tinker_trainer_optim_step(trainer, NULL, NULL), TINKER_ECLOSED,
       "optim_step: the client is closed");
  fake_loop_advance(&rig.loop, 3000);
  cr_assert_eq(tinker_future_status(closed), 0);
  constant(tinker_trainer_optim_step(trainer, NULL,
                                     CALLS_WITH(NULL, rig_seen, &seen)),
           TINKER_ECLOSED);
  constant(tinker_client_close(rig.client, NULL), TINKER_ECLOSED);
  tinker_future_release(closed);
  cr_assert_eq(seen.calls, 0);
}

/* --- detached --- */

static void keep_it(tinker_future_t *f, int status, void *user) {
  tinker_future_t **kept = user;
  cr_assert_eq(status, 0);
  *kept = tinker_future_retain(f);
}

Test(call, detached_leaves_nothing_to_release) {
  tinker_future_t *kept = NULL;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.detached = 1;
  call.cb = keep_it;
  call.user = &kept;
  tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, &call);
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  cr_assert_eq(tinker_future_wait(f, -1), TINKER_EAGAIN); /* at once */
  cr_assert_null(tinker_future_error(f));
  cr_assert_eq(tinker_future_runs_callback(f), 1);
  tinker_future_cancel(f); /* nothing: it is not the operation's own */
  tinker_future_release(f);
  rig_run(&rig);
  cr_assert_eq(tinker_future_kind(kept), TINKER_KIND_OPTIM_STEP);
  tinker_future_release(kept);
  call.detached = 2;
  call.cb = NULL;
  REFUSED(tinker_trainer_optim_step(trainer, NULL, &call),
          "optim_step: detached is 2: want 0 or 1");
}

Test(call, detached_without_a_callback_is_kept_for_next) {
  tinker_future_t *got = NULL;
  int place = 0;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.detached = 1;
  call.user = &place;
  tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, &call);
  cr_assert_eq(tinker_future_runs_callback(f), 0);
  tinker_trainer_save_state(trainer, "a b", NULL, &call) ? (void)0 : abort();
  rig_run(&rig);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), 0);
  cr_assert_eq(tinker_future_status(got), TINKER_EINVAL);
  tinker_future_release(got);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), 0);
  cr_assert_eq(tinker_future_user(got), &place);
  cr_assert_eq(tinker_future_status(got), 0);
  tinker_future_release(got);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), TINKER_ENOENT);
  /* What nobody takes goes with the client: rig_done looks. */
  tinker_trainer_optim_step(trainer, NULL, &call) ? (void)0 : abort();
  rig_run(&rig);
}

/* --- options --- */

Test(call, an_option_struct_without_its_size_is_named) {
  tinker_adam_params_t a = {.learning_rate = 1};
  REFUSED(tinker_trainer_optim_step(trainer, &a, NULL),
          "optim_step: adam_params.size is 0: begin with "
          "tinker_adam_params_init()");
  tinker_call_options_t call = {.timeout_ms = 1};
  REFUSED(tinker_trainer_optim_step(trainer, NULL, &call),
          "optim_step: call_options.size is 0: begin with "
          "tinker_call_options_init()");
}

/* A size that cuts a field in two is no older version's. */
Test(call, a_size_inside_a_field_is_refused) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "m";
  o.size = offsetof(tinker_trainer_options_t, base_model) + 1;
  REFUSED(tinker_client_create_trainer(rig.client, &o, NULL),
          "create_trainer: trainer_options.size is 9: begin with "
          "tinker_trainer_options_init()");
}

/* A later version may give them a meaning, which must not be ignored here. */
Test(call, reserved_fields_are_refused) {
  tinker_datum_t **batch = rig_batch(1, 3);
  tinker_input_t *p = NULL;
  tinker_loss_t loss = TINKER_LOSS_INIT;
  tinker_save_options_t save = TINKER_SAVE_OPTIONS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  tinker_client_options_t client = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *c = NULL;
  tinker_input_from_tokens(&p, (const int32_t[]){1}, 1, NULL, NULL);
  loss.reserved0 = save.reserved0 = call.reserved0 = 1;
  params.reserved0 = client.reserved0 = 2;
  says(tinker_trainer_forward(trainer, batch, 1, &loss, NULL), TINKER_ENOTSUP,
       "forward: loss.reserved0 is 1: want 0");
  says(tinker_trainer_save_state(trainer, "a", &save, NULL), TINKER_ENOTSUP,
       "save_state: save_options.reserved0 is 1: want 0");
  says(tinker_trainer_optim_step(trainer, NULL, &call), TINKER_ENOTSUP,
       "optim_step: call_options.reserved0 is 1: want 0");
  says(tinker_sampler_sample(sampler, p, &params, NULL), TINKER_ENOTSUP,
       "sample: sampling_params.reserved0 is 2: want 0");
  client.base_url = "unix:/s";
  cr_assert_eq(tinker_client_new(&c, &client, NULL), TINKER_ENOTSUP);
  client.reserved0 = 0;
  client.key_over_http = 9; /* not taken for "yes" */
  cr_assert_eq(tinker_client_new(&c, &client, NULL), TINKER_EINVAL);
  tinker_input_release(p);
  rig_batch_free(batch, 1);
}

/* A program of an older version knows fewer fields: the rest have their
 * defaults. */
Test(call, a_shorter_struct_gets_the_defaults_of_the_rest) {
  tinker_adam_params_t a = TINKER_ADAM_PARAMS_INIT;
  a.learning_rate = 0.5;
  a.beta1 = 7;
  a.size = offsetof(tinker_adam_params_t, beta1);
  tinker_future_release(tinker_trainer_optim_step(trainer, &a, NULL));
  rig_run(&rig);
  const script_request_t *q = rig_request(&rig, OPTIM, 0);
  cr_assert(strstr(q->body, "\"learning_rate\":0.5,\"beta1\":0.9,"), "%s",
            q->body);
}

Test(call, zero_is_a_value) {
  tinker_adam_params_t a = TINKER_ADAM_PARAMS_INIT;
  tinker_input_t *p = NULL;
  tinker_sampling_params_t o = TINKER_SAMPLING_PARAMS_INIT;
  a.learning_rate = a.beta1 = a.beta2 = a.eps = 0;
  tinker_future_release(tinker_trainer_optim_step(trainer, &a, NULL));
  o.temperature = 0;
  o.seed = 0;
  tinker_input_from_tokens(&p, (const int32_t[]){1}, 1, NULL, NULL);
  tinker_future_release(tinker_sampler_sample(sampler, p, &o, NULL));
  tinker_input_release(p);
  rig_run(&rig);
  cr_assert(strstr(rig_request(&rig, OPTIM, 0)->body,
                   "{\"learning_rate\":0.0,\"beta1\":0.0,\"beta2\":0.0,"
                   "\"eps\":0.0,"));
  const char *body = rig_request(&rig, ASAMPLE, 0)->body;
  cr_assert(strstr(body, "\"temperature\":0.0"), "%s", body);
  cr_assert(strstr(body, "\"seed\":0,"), "%s", body);
}

Test(call, the_error_of_what_is_not_an_operation) {
  tinker_error_t *error = NULL;
  tinker_client_t *c = NULL;
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  o.default_timeout_ms = 0;
  cr_assert_eq(tinker_client_new(&c, &o, &error), TINKER_EINVAL);
  cr_assert_str_eq(tinker_error_message(error),
                   "default_timeout_ms is 0: want milliseconds, 1 or more, or "
                   "TINKER_NO_TIMEOUT");
  cr_assert_eq(tinker_error_code(error), TINKER_EINVAL);
  cr_assert_null(tinker_error_release(error));
  cr_assert_null(tinker_error_release(NULL));
  o.default_timeout_ms = 1;
  o.memory_limit_bytes = 0;
  cr_assert_eq(tinker_client_new(&c, &o, NULL), TINKER_EINVAL);
  cr_assert_null(c);
}

Test(call, kinds_have_names) {
  cr_assert_str_eq(tinker_kind_name(TINKER_KIND_FORWARD_BACKWARD),
                   "forward_backward");
  cr_assert_str_eq(tinker_kind_name(TINKER_KIND_SAMPLE), "sample");
  cr_assert_str_eq(tinker_kind_name(TINKER_KIND_GET_SESSION), "get_session");
  cr_assert_str_eq(tinker_kind_name((tinker_kind_t)99), "unknown");
}
