/* The same calls as the official SDK made: the requests mean the same. The
 * rig uses the ids of the recording; numbers come out as they did there. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "rig.h"
#include "wire/fb_request.h"
#include "wire/messages.h"
#include "wire/sample.h"

#define LOSSES "8b74563e-2d9f-5603-9beb-a4ca4ca21857"
#define SAVES "6c081eb2-9404-5f5e-9005-70521477e319"
#define SAMPLING "a38e8f5a-2cac-5761-a957-29a308482d8b"
#define DATUMS "9145bcc9-bf85-514a-8f1a-d2bcd358128c"
#define RESUMED "session_98f4776a"

static tinker__mem_t mem;
static char golden[65536];

static tinker__str_t read_golden(const char *name) {
  char path[512];
  snprintf(path, sizeof path, "%s/api/golden/%s", TINKER_TEST_DIR, name);
  FILE *f = fopen(path, "rb");
  cr_assert(f, "%s", path);
  size_t n = fread(golden, 1, sizeof golden, f);
  fclose(f);
  return (tinker__str_t){golden, n};
}

static tinker__str_t body_of(const script_request_t *q) {
  cr_assert(q);
  return (tinker__str_t){q->body, q->body_len};
}

/* Decoded and written again by one table. */
static char *rewritten(const tinker__bind_table_t *table, tinker__str_t body) {
  char why[200] = "";
  tinker__arena_t arena;
  tinker__buf_t out;
  tinker__arena_init(&arena, &mem);
  tinker__buf_init(&out, &mem, 65536);
  void *message = calloc(1, table->size);
  cr_assert_eq(
      tinker__message_decode(table, message, &arena, body, why, sizeof why), 0,
      "%s", why);
  cr_assert_eq(tinker__message_encode(&out, table, message), 0);
  char *text = strdup(tinker__buf_cstr(&out));
  free(message);
  tinker__buf_free(&out);
  tinker__arena_free(&arena);
  return text;
}

static void same_message(const tinker__bind_table_t *table, const char *name,
                         const script_request_t *q) {
  char *want = rewritten(table, read_golden(name));
  char *got = rewritten(table, body_of(q));
  cr_assert_str_eq(got, want, "%s:\n%s\n%s", name, got, want);
  free(want);
  free(got);
}

static void fb_digest(tinker__str_t body, unsigned char out[32]) {
  char why[200] = "";
  tinker__arena_t arena;
  tinker__fb_request_t r;
  tinker__arena_init(&arena, &mem);
  cr_assert_eq(tinker__fb_request_decode(&r, &arena, body, TINKER__FB_PROTO,
                                         false, 65536, why, sizeof why),
               0, "%s", why);
  memcpy(out, r.digest, 32);
  tinker__arena_free(&arena);
}

/* With the number that the recorded request would have had here: field 2, one
 * byte behind the id of the model. */
static void same_batch_as(const char *name, const script_request_t *q,
                          int seq) {
  unsigned char want[32], got[32];
  tinker__str_t body = read_golden(name);
  size_t at = 2 + (unsigned char)golden[1];
  cr_assert(golden[0] == 0x0a && golden[at] == 0x10, "%s", name);
  if (seq) golden[at + 1] = (char)seq;
  fb_digest(body, want);
  fb_digest(body_of(q), got);
  cr_assert_eq(memcmp(want, got, 32), 0, "%s", name);
  cr_assert_str_eq(q->content_type, "application/x-protobuf");
}

static void same_batch(const char *name, const script_request_t *q) {
  same_batch_as(name, q, 0);
}

static void sample_digest(tinker__str_t body, unsigned char out[32]) {
  char why[200] = "";
  tinker__arena_t arena;
  tinker__sample_request_t r;
  tinker__arena_init(&arena, &mem);
  cr_assert_eq(
      tinker__sample_request_decode(&r, &arena, body, out, why, sizeof why), 0,
      "%s", why);
  tinker__arena_free(&arena);
}

static void same_sample(const char *name, const script_request_t *q) {
  unsigned char want[32], got[32];
  sample_digest(read_golden(name), want);
  sample_digest(body_of(q), got);
  cr_assert_eq(memcmp(want, got, 32), 0, "%s:\n%s", name, q->body);
}

static void setup(rig_t *rig, const char *session) {
  tinker__mem_init(&mem, NULL, 0);
  rig_init(rig, NULL);
  rig->session = session;
  cr_assert_eq(rig_client(rig), 0);
}

static tinker_trainer_t *make_trainer(rig_t *rig, uint32_t rank) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  tinker_trainer_t *t = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = "tiny-org/tiny-qwen3";
  o.rank = rank;
  calls_begun(tinker_client_create_trainer(rig->client, &o, NULL), &f);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  tinker_future_get_trainer(f, &t);
  tinker_future_release(f);
  return t;
}

static const int32_t tokens[5] = {153, 167, 187, 213, 245};
static const float weights[5] = {9, 0, 1, 1, 1};
static const int64_t targets[4] = {167, 187, 213, 245};
static const float logprobs[4] = {-0.5f, -1, -1.5f, -2};
static const float advantages[4] = {0, 1, -1, 0.5f};

static tinker_datum_t *rl_datum(void) {
  tinker_input_t *input = NULL;
  tinker_datum_t *datum = NULL;
  cr_assert_eq(tinker_input_new(&input, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(input, tokens, 4, NULL), 0);
  cr_assert_eq(tinker_datum_new(&datum, input, NULL, NULL), 0);
  cr_assert_eq(
      tinker_datum_set_i64(datum, "target_tokens", targets, 4, 0, NULL), 0);
  cr_assert_eq(tinker_datum_set_f32(datum, "logprobs", logprobs, 4, 0, NULL),
               0);
  cr_assert_eq(
      tinker_datum_set_f32(datum, "advantages", advantages, 4, 0, NULL), 0);
  tinker_input_release(input);
  return datum;
}

Test(golden, losses) {
  rig_t rig;
  seen_t seen = {0};
  setup(&rig, LOSSES);
  tinker_trainer_t *t = make_trainer(&rig, 8);
  tinker_datum_t *ce = NULL, *rl = rl_datum();
  cr_assert_eq(tinker_datum_new_supervised(&ce, tokens, weights, 5, NULL, NULL),
               0);
  tinker_datum_t *ces[1] = {ce}, *rls[1] = {rl};
  tinker_loss_t loss;
  tinker_loss_init(&loss);
  for (int i = 0; i < 2; i++) {
    calls_begun(tinker_trainer_forward_backward(
                    t, ces, 1, &loss, CALLS_WITH(NULL, rig_seen, &seen)),
                NULL);
  }
  loss.kind = TINKER_LOSS_IMPORTANCE_SAMPLING;
  calls_begun(tinker_trainer_forward_backward(
                  t, rls, 1, &loss, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  loss.kind = TINKER_LOSS_PPO;
  calls_begun(tinker_trainer_forward_backward(
                  t, rls, 1, &loss, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  loss.clip_low_threshold = 0.9;
  loss.clip_high_threshold = 1.1;
  calls_begun(tinker_trainer_forward_backward(
                  t, rls, 1, &loss, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  loss.clip_low_threshold = 0.5;
  loss.clip_high_threshold = TINKER_LOSS_UNSET;
  calls_begun(tinker_trainer_forward(t, rls, 1, &loss,
                                     CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  tinker_loss_init(&loss);
  loss.kind = TINKER_LOSS_DRO;
  loss.beta = 0.05;
  calls_begun(tinker_trainer_forward_backward(
                  t, rls, 1, &loss, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  rig_run(&rig);
  cr_assert(seen.calls == 7 && seen.status == 0);
  same_batch_as("fb_forward.pb", rig_request(&rig, FB, 5), 6);
  same_batch_as("fb_dro.pb", rig_request(&rig, FB, 6), 7);
  same_message(&tinker__create_model_msg, "create_model.json",
               rig_request(&rig, CREATE, 0));
  same_batch("fb_cross_entropy.pb", rig_request(&rig, FB, 0));
  same_batch("fb_importance_sampling.pb", rig_request(&rig, FB, 2));
  same_batch("fb_ppo.pb", rig_request(&rig, FB, 3));
  same_batch("fb_ppo_thresholds.pb", rig_request(&rig, FB, 4));
  tinker_datum_release(ce);
  tinker_datum_release(rl);
  tinker_trainer_release(t);
  rig_done(&rig);
}

static tinker_datum_t *soft_datum(size_t rows, size_t cols,
                                  const int64_t *target, const float *weight) {
  static const int32_t ids[4] = {116, 130, 150, 176};
  tinker_input_t *input = NULL;
  tinker_datum_t *d = NULL;
  cr_assert_eq(tinker_input_new(&input, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(input, ids, rows, NULL), 0);
  cr_assert_eq(tinker_datum_new(&d, input, NULL, NULL), 0);
  cr_assert_eq(
      tinker_datum_set_i64(d, "target_tokens", target, rows, cols, NULL), 0);
  cr_assert_eq(tinker_datum_set_f32(d, "weights", weight, rows, cols, NULL), 0);
  tinker_input_release(input);
  return d;
}

/* Targets with several candidates; the SDK sends the second one as CSR. */
Test(golden, soft_targets) {
  static const int64_t sparse[6] = {0, 7, 0, 0, 9, 0};
  static const float sparse_weights[6] = {0, 0.5f, 0, 0, 1.5f, 0};
  int64_t target[16];
  float weight[16];
  for (int i = 0; i < 16; i++) {
    target[i] = 11 * (i / 4) + 7 * (i % 4);
    weight[i] = 0.5f / (float)(1 << i % 4);
  }
  rig_t rig;
  seen_t seen = {0};
  setup(&rig, DATUMS);
  tinker_trainer_t *t = make_trainer(&rig, 8);
  tinker_datum_t *d[2] = {soft_datum(4, 4, target, weight),
                          soft_datum(3, 2, sparse, sparse_weights)};
  for (int i = 0; i < 2; i++) {
    tinker_datum_t *one[1] = {d[i]};
    calls_begun(tinker_trainer_forward_backward(
                    t, one, 1, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
                NULL);
  }
  rig_run(&rig);
  cr_assert(seen.calls == 2 && seen.status == 0);
  same_batch_as("fb_soft_targets.pb", rig_request(&rig, FB, 0), 1);
  same_batch_as("fb_sparse.pb", rig_request(&rig, FB, 1), 2);
  tinker_datum_release(d[0]);
  tinker_datum_release(d[1]);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(golden, resuming) {
  static const char path[] = "tinker://model_0db140b5/weights/x1";
  rig_t rig;
  seen_t seen = {0};
  tinker_trainer_options_t o;
  setup(&rig, RESUMED);
  tinker_trainer_options_init(&o);
  o.base_model = "tiny-org/tiny-qwen3";
  o.rank = 8;
  o.seed = 131;
  calls_begun(tinker_client_create_trainer(rig.client, &o,
                                           CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  for (int with = 0; with < 2; with++) {
    calls_begun(tinker_client_create_trainer_from_state(
                    rig.client, path, with, CALLS_WITH(NULL, rig_seen, &seen)),
                NULL);
  }
  rig_run(&rig);
  fake_loop_advance(&rig.loop, 10000);
  rig_run(&rig);
  cr_assert(seen.calls == 3 && seen.status == 0);
  same_message(&tinker__create_model_msg, "create_model_seed.json",
               rig_request(&rig, CREATE, 0));
  same_message(&tinker__load_weights_msg, "load_new.json",
               rig_request(&rig, "api/v1/load_weights", 0));
  same_message(&tinker__load_weights_msg, "load_new_optimizer.json",
               rig_request(&rig, "api/v1/load_weights", 1));
  same_message(&tinker__heartbeat_msg, "heartbeat.json",
               rig_request(&rig, "api/v1/session_heartbeat", 0));
  rig_done(&rig);
}

Test(golden, saves) {
  static const char path[] = "tinker://" SAVES ":train:0/weights/step-100";
  rig_t rig;
  seen_t seen = {0};
  tinker_save_options_t o;
  tinker_adam_params_t adam;
  setup(&rig, SAVES);
  tinker_trainer_t *t = make_trainer(&rig, 32);
  tinker_save_options_init(&o);
  o.overwrite = 1;
  for (int i = 0; i < 2; i++) {
    calls_begun(tinker_trainer_save_state(t, "step-100", &o,
                                          CALLS_WITH(NULL, rig_seen, &seen)),
                NULL);
  }
  calls_begun(tinker_trainer_save_weights_for_sampler(
                  t, "step-100", NULL, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  calls_begun(
      tinker_trainer_create_sampler(t, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  calls_begun(
      tinker_trainer_create_sampler(t, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  rig_run(&rig);
  calls_begun(tinker_client_create_sampler_from_path(
                  rig.client,
                  "tinker://" SAVES ":train:0/sampler_weights/step-100",
                  CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  calls_begun(
      tinker_trainer_load_state(t, path, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  calls_begun(tinker_trainer_load_state_with_optimizer(
                  t, path, CALLS_WITH(NULL, rig_seen, &seen)),
              NULL);
  tinker_adam_params_init(&adam);
  adam.beta1 = 0.8;
  adam.beta2 = 0.99;
  adam.eps = 1e-8;
  adam.weight_decay = 0.1;
  adam.grad_clip_norm = 1;
  calls_begun(
      tinker_trainer_optim_step(t, &adam, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  rig_run(&rig);
  cr_assert(seen.calls == 11 && seen.status == 0);
  same_message(&tinker__save_weights_msg, "save_weights.json",
               rig_request(&rig, SAVE, 1));
  same_message(&tinker__save_sampler_msg, "save_ephemeral.json",
               rig_request(&rig, "api/v1/save_weights_for_sampler", 1));
  same_message(&tinker__create_sampling_msg, "create_sampling.json",
               rig_request(&rig, "api/v1/create_sampling_session", 0));
  same_message(&tinker__load_weights_msg, "load_weights.json",
               rig_request(&rig, "api/v1/load_weights", 0));
  same_message(&tinker__optim_step_msg, "optim_step_all.json",
               rig_request(&rig, OPTIM, 1));
  same_message(&tinker__optim_step_msg, "optim_step.json",
               rig_request(&rig, OPTIM, 2));
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(golden, sampling) {
  static const char *const stops[2] = {"\n\n", "END"};
  static const int32_t stop_tokens[2] = {319, 7};
  static const int32_t ids[6] = {116, 130, 150, 176, 208, 246};
  rig_t rig;
  seen_t seen = {0};
  tinker_input_t *p = NULL;
  tinker_sampling_params_t o[8];
  setup(&rig, SAMPLING);
  tinker_sampler_t *s = rig_sampler(&rig);
  tinker_input_new(&p, NULL, NULL);
  tinker_input_add_tokens(p, ids, 6, NULL);
  for (int i = 0; i < 8; i++) tinker_sampling_params_init(&o[i]);
  for (int i = 1; i < 6; i++) o[i].max_tokens = 5;
  o[1].num_samples = 3;
  o[1].seed = 1099511627779;
  o[1].stop_strings = stops;
  o[1].stop_string_count = 2;
  o[1].temperature = 0.7;
  o[1].top_k = 40;
  o[1].top_p = 0.9;
  o[3].stop_tokens = stop_tokens;
  o[3].stop_token_count = 2;
  o[4].no_stop = 1;
  o[5].temperature = 0;
  o[7].max_tokens = 1;
  o[7].prompt_logprobs = 1;
  o[7].topk_prompt_logprobs = 3;
  for (int i = 0; i < 8; i++) {
    cr_assert_eq(
        calls_begun(tinker_sampler_sample(s, p, &o[i],
                                          CALLS_WITH(NULL, rig_seen, &seen)),
                    NULL),
        0);
  }
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, ASAMPLE), 8u);
  same_sample("sample.json", rig_request(&rig, ASAMPLE, 0));
  same_sample("sample_all.json", rig_request(&rig, ASAMPLE, 1));
  same_sample("sample_stop_tokens.json", rig_request(&rig, ASAMPLE, 3));
  same_sample("sample_no_stop.json", rig_request(&rig, ASAMPLE, 4));
  same_sample("sample_greedy.json", rig_request(&rig, ASAMPLE, 5));
  same_sample("sample_prompt.json", rig_request(&rig, ASAMPLE, 7));
  tinker_input_release(p);
  tinker_sampler_release(s);
  rig_done(&rig);
}
