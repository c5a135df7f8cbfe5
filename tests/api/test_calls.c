/* Every call once: its result read, its bad arguments refused. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"
#include "support/why.h"

Test(calls, client) {
  rig_t rig;
  tinker_future_t *f;
  const tinker_capabilities_t *c;
  char id[64];
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  cr_assert_eq(tinker_client_session_id(rig.client, id, sizeof id),
               TINKER_EAGAIN);
  cr_assert_eq(
      calls_begun(tinker_client_get_capabilities(rig.client, NULL), &f), 0);
  cr_assert_eq(tinker_future_get_capabilities(f, &c), TINKER_EAGAIN);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_capabilities(f, &c), 0);
  cr_assert(c->model_count == 1 && !strcmp(c->models[0].name, "tiny"));
  cr_assert(c->models[0].max_context_length == 512 &&
            c->models[0].trainable == 1 && c->models[0].sampleable == -1);
  cr_assert_eq(rig_count(&rig, "api/v1/create_session"), 0u); /* not needed */
  const char *path;
  cr_assert_eq(tinker_future_get_path(f, &path), TINKER_EINVAL);
  tinker_future_release(f);
  tinker_sampler_t *s = rig_sampler(&rig);
  cr_assert_str_eq(tinker_sampler_id(s), "s1:sample:0");
  cr_assert_eq(tinker_client_session_id(rig.client, id, sizeof id), 0);
  cr_assert_str_eq(id, "s1");
  tinker_sampler_release(s);
  rig_done(&rig);
}

static const char *odd_tags(void *user, const char *name) {
  (void)user;
  return strcmp(name, "TINKER_TAGS") ? NULL : "a,b\xff";
}

static void refuse(rig_t *rig, const tinker_client_options_t *o,
                   const char *text) {
  tinker_client_t *c = NULL;
  char why[200];
  tinker__client_parts_t parts = {&rig->mem, &rig->loop.base,
                                  script_http(rig->script), false, NULL};
  cr_assert_eq(tinker__client_new_on(&c, o, &parts, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, text);
  cr_assert_null(c);
}

/* Texts for the session are refused before it is asked for. */
Test(calls, texts_of_the_session) {
  static const char *const tags[] = {"a", "b", "\xc3\x28"};
  rig_t rig;
  tinker_client_options_t o;
  rig_init(&rig, NULL);
  tinker_client_options_init(&o);
  o.log_level = 99;
  refuse(&rig, &o, "log_level is 99: want 1 to 5, a tinker_log_level_t");
  tinker_client_options_init(&o);
  o.tags = tags;
  o.tag_count = 65;
  refuse(&rig, &o,
         "tags: tag_count is 65: want at most 64, and an array of them");
  o.tag_count = 3;
  refuse(&rig, &o, "tags[2] is not UTF-8");
  o.tag_count = 2;
  o.display_name = "\xff";
  refuse(&rig, &o, "display_name is not UTF-8");
  o.project_id = "p\x80";
  refuse(&rig, &o, "project_id is not UTF-8");
  tinker_client_options_init(&o);
  rig.loop.world.env = odd_tags;
  refuse(&rig, &o, "tags[1] is not UTF-8");
  rig_drop(&rig);
}

Test(calls, options) {
  rig_t rig;
  tinker_client_options_t o;
  tinker_client_t *c = NULL;
  char why[200];
  rig_init(&rig, NULL);
  tinker__client_parts_t parts = {&rig.mem, &rig.loop.base,
                                  script_http(rig.script), false, NULL};
  tinker_client_options_init(&o);
  o.size = 3;
  cr_assert_eq(tinker__client_new_on(&c, &o, &parts, why, sizeof why),
               TINKER_EINVAL);
  cr_assert(strstr(why, "size"));
  tinker_client_options_init(&o);
  o.log_level = 99;
  cr_assert_eq(tinker__client_new_on(&c, &o, &parts, why, sizeof why),
               TINKER_EINVAL);
  cr_assert(strstr(why, "log_level"));
  struct {
    tinker_client_options_t known;
    uint64_t later;
  } newer = {.known = TINKER_CLIENT_OPTIONS_INIT, .later = 1};
  newer.known.size = sizeof newer;
  cr_assert_eq(tinker__client_new_on(&c, &newer.known, &parts, why, sizeof why),
               TINKER_ENOTSUP);
  cr_assert_null(c);
  newer.later = 0;
  cr_assert_eq(
      tinker__client_new_on(&rig.client, &newer.known, &parts, why, sizeof why),
      0);
  rig_done(&rig);
  /* A real one: nothing is sent, it ends at once. */
  tinker_client_options_init(&o);
  o.base_url = "unix:/nonexistent/socket";
  cr_assert_eq(why_client(&c, &o, why, sizeof why), 0, "%s", why);
  cr_assert_null(tinker_client_release(c));
  o.base_url = "ftp://x";
  cr_assert_neq(why_client(&c, &o, why, sizeof why), 0);
  cr_assert_neq(why[0], 0);
  cr_assert_eq(tinker_shutdown(10000), 0);
}

static int make(rig_t *rig, const char *model, uint32_t rank, uint32_t freeze) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = model;
  o.rank = rank;
  o.freeze = freeze;
  int rc = calls_begun(tinker_client_create_trainer(rig->client, &o, NULL), &f);
  tinker_future_release(f);
  return rc;
}

Test(calls, trainer) {
  rig_t rig;
  tinker_future_t *f;
  const tinker_model_info_t *info;
  const char *path;
  tinker_trainer_t *t = NULL;
  size_t n;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  cr_assert_eq(make(&rig, "", 8, 0), TINKER_EINVAL);
  cr_assert_eq(make(&rig, "m", 12, 0), TINKER_EINVAL);
  cr_assert_eq(make(&rig, "m", 8, 7), TINKER_EINVAL);
  cr_assert_eq(make(&rig, "m", 8, 8), TINKER_EINVAL);
  cr_assert_eq(calls_begun(tinker_client_create_trainer_from_state(
                               rig.client, "weights/a", 1, NULL),
                           &f),
               TINKER_EINVAL);
  cr_assert_eq(calls_begun(tinker_client_create_trainer_from_state(
                               rig.client, "tinker://r/weights/a", 1, NULL),
                           &f),
               0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_trainer(f, &t), 0);
  cr_assert(strstr(rig_request(&rig, "api/v1/load_weights", 0)->body,
                   "\"optimizer\":true"));
  cr_assert_str_eq(tinker_trainer_model_id(t), "s1:train:0");
  tinker_future_release(f);

  cr_assert_eq(calls_begun(tinker_trainer_get_info(t, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_info(f, &info), 0);
  cr_assert_str_eq(info->base_model, "tiny");
  cr_assert_str_eq(info->tokenizer_id, "/m");
  cr_assert_eq(info->lora_rank, 8u);
  tinker_future_release(f);

  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  const tinker_optim_result_t *optim;
  cr_assert_eq(tinker_future_get_optim(f, &optim), 0);
  const tinker_metric_t *m = tinker_optim_result_metrics(optim, &n);
  cr_assert(n == 1 && !strcmp(m->name, "step") && m->value == 1);
  tinker_future_release(f);

  cr_assert_eq(calls_begun(tinker_trainer_save_state(t, "a/b", NULL, NULL), &f),
               TINKER_EINVAL);
  cr_assert_eq(calls_begun(tinker_trainer_save_state(t, "a", NULL, NULL), &f),
               0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_path(f, &path), 0);
  cr_assert_str_eq(path, "tinker://s1:train:0/weights/a");
  tinker_future_release(f);

  tinker_sampler_t *s = NULL;
  cr_assert_eq(calls_begun(tinker_trainer_create_sampler(t, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_sampler(f, &s), 0);
  cr_assert_str_eq(tinker_sampler_id(s), "s1:sample:3");
  tinker_future_release(f);
  tinker_sampler_release(s);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* The host's allocator, which fails at a given call. */
typedef struct host_s {
  int left, live;
} host_t;

static void *host_malloc(size_t size, void *user) {
  host_t *h = user;
  if (h->left-- == 0) return NULL;
  h->live++;
  return malloc(size);
}

static void *host_calloc(size_t count, size_t size, void *user) {
  host_t *h = user;
  if (h->left-- == 0) return NULL;
  h->live++;
  return calloc(count, size);
}

static void *host_realloc(void *ptr, size_t size, void *user) {
  host_t *h = user;
  if (h->left-- == 0) return NULL;
  h->live += !ptr;
  return realloc(ptr, size);
}

static void host_free(void *ptr, void *user) {
  ((host_t *)user)->live -= ptr != NULL;
  free(ptr);
}

static void no_end(void *user) {
  (void)user;
}

static int build(const tinker_allocator_t *a) {
  int32_t tokens[40] = {0};
  float values[40] = {0};
  tinker_input_t *input = NULL;
  tinker_datum_t *d = NULL, *e = NULL;
  int rc = tinker_input_new(&input, a, NULL);
  for (int i = 0; i < 20 && !rc; i++) {
    rc = tinker_input_add_tokens(input, tokens, 2, NULL);
  }
  if (!rc) rc = tinker_datum_new(&d, input, a, NULL);
  if (!rc) {
    rc = tinker_datum_take_f32(d, "advantages", values, 40, 0, no_end, NULL,
                               NULL);
  }
  if (!rc) rc = tinker_datum_set_f32(d, "logprobs", values, 39, 0, NULL);
  if (!rc) rc = tinker_datum_set_f32(d, "logprobs", values, 13, 3, NULL);
  if (!rc) rc = tinker_datum_new_supervised(&e, tokens, values, 40, a, NULL);
  e = tinker_datum_release(e);
  if (!rc)
    rc = tinker_datum_new_rl(&e, tokens, 9, tokens, values, 9, 1, a, NULL);
  tinker_input_release(input);
  tinker_datum_release(d);
  tinker_datum_release(e);
  return rc;
}

Test(calls, data_memory_sweep) {
  host_t host;
  tinker_allocator_t a = {host_malloc, host_calloc, host_realloc, host_free,
                          &host};
  int n = 0, rc = TINKER_ENOMEM;
  for (; rc; n++) {
    host = (host_t){.left = n};
    rc = build(&a);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM, "%d: %d", n, rc);
    cr_assert_eq(host.live, 0, "%d", n);
  }
  cr_assert_gt(n, 10);
  a.free_fn = NULL;
  cr_assert_eq(build(&a), TINKER_EINVAL);
}

static int batch_rc(tinker_trainer_t *t, tinker_datum_t *d,
                    const tinker_loss_t *loss) {
  tinker_datum_t *batch[1] = {d};
  tinker_future_t *f = NULL;
  int rc = calls_begun(tinker_trainer_forward(t, batch, 1, loss, NULL), &f);
  tinker_future_release(f);
  return rc;
}

/* What the service would refuse takes no number. */
Test(calls, data) {
  rig_t rig;
  tinker_input_t *input = NULL;
  tinker_datum_t *d = NULL;
  static const int32_t tokens[3] = {1, 2, 3}, bad[1] = {-1};
  static const int64_t targets[3] = {2, 3, 4};
  static const float ones[3] = {1, 1, 1}, nan[3] = {1, NAN, 1};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  cr_assert_eq(tinker_input_new(&input, NULL, NULL), 0);
  cr_assert_eq(tinker_datum_new(&d, input, NULL, NULL),
               TINKER_EINVAL); /* empty */
  cr_assert_eq(tinker_input_add_tokens(input, bad, 1, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_input_add_tokens(input, tokens, 2, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(input, tokens, 1, NULL), 0);
  cr_assert_eq(tinker_input_length(input), 3u);
  cr_assert_eq(tinker_datum_new(&d, input, NULL, NULL), 0);
  tinker_input_release(input);
  cr_assert_eq(batch_rc(t, d, NULL), TINKER_EINVAL); /* no targets */
  cr_assert_eq(tinker_datum_set_i64(d, "target_tokens", targets, 2, 0, NULL),
               0);
  cr_assert_eq(tinker_datum_set_f32(d, "weights", nan, 3, 0, NULL),
               TINKER_EINVAL);
  cr_assert_eq(tinker_datum_set_f32(d, "Weights", ones, 3, 0, NULL),
               TINKER_EINVAL);
  cr_assert_eq(tinker_datum_set_f32(d, "weights", ones, 3, 0, NULL), 0);
  cr_assert_eq(batch_rc(t, d, NULL), TINKER_EINVAL); /* 2 targets of 3 */
  cr_assert_eq(tinker_datum_set_i64(d, "target_tokens", targets, 3, 0, NULL),
               0);
  cr_assert_eq(batch_rc(t, d, NULL), 0);
  tinker_loss_t loss;
  tinker_loss_init(&loss);
  loss.clip_low_threshold = 0.5;
  cr_assert_eq(batch_rc(t, d, &loss), TINKER_EINVAL); /* not of this loss */
  loss.clip_low_threshold = TINKER_LOSS_UNSET;
  loss.kind = TINKER_LOSS_PPO;
  cr_assert_eq(batch_rc(t, d, &loss), TINKER_EINVAL); /* no advantages */
  cr_assert_eq(tinker_datum_set_f32(d, "logprobs", ones, 3, 0, NULL), 0);
  cr_assert_eq(tinker_datum_set_f32(d, "advantages", ones, 3, 0, NULL), 0);
  loss.kind = TINKER_LOSS_DRO;
  cr_assert_eq(batch_rc(t, d, &loss), TINKER_EINVAL); /* no beta */
  loss.beta = 0.1;
  cr_assert_eq(batch_rc(t, d, &loss), 0);
  loss.kind = TINKER_LOSS_CISPO;
  cr_assert_eq(batch_rc(t, d, &loss), TINKER_EINVAL); /* beta */
  loss.beta = TINKER_LOSS_UNSET;
  loss.clip_high_threshold = 4;
  cr_assert_eq(batch_rc(t, d, &loss), 0);
  loss.kind = TINKER_LOSS_GSPO;
  cr_assert_eq(batch_rc(t, d, &loss), TINKER_EINVAL); /* no mask */
  cr_assert_eq(tinker_datum_set_f32(d, "sequence_ratio_mask", ones, 3, 0, NULL),
               0);
  cr_assert_eq(batch_rc(t, d, &loss), 0);
  loss.kind = 17;
  cr_assert_eq(batch_rc(t, d, &loss), TINKER_EINVAL);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, FB), 4u);
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 0)), 1);
  tinker_datum_release(d);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(calls, sample) {
  rig_t rig;
  tinker_future_t *f;
  tinker_input_t *p = NULL;
  const tinker_sample_result_t *r;
  tinker_sampling_params_t o;
  size_t n;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_sampler_t *s = rig_sampler(&rig);
  cr_assert_eq(tinker_input_new(&p, NULL, NULL), 0);
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, NULL, NULL), &f),
               TINKER_EINVAL); /* empty */
  tinker_input_add_tokens(p, (const int32_t[]){1, 2}, 2, NULL);
  tinker_sampling_params_init(&o);
  o.temperature = -1;
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, &o, NULL), &f),
               TINKER_EINVAL);
  o.temperature = 0;
  o.no_stop = 1;
  o.stop_token_count = 1;
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, &o, NULL), &f),
               TINKER_EINVAL);
  o.no_stop = 0;
  const char *texts[1025];
  for (size_t i = 0; i < 1025; i++) texts[i] = "end";
  o.stop_token_count = 0;
  o.stop_strings = texts;
  o.stop_string_count = 1025;
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, &o, NULL), &f),
               TINKER_EOVERFLOW);
  o.stop_string_count = 1024;
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, &o, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  tinker_future_release(f);
  o.stop_string_count = 0;
  o.no_stop = 1;
  o.prompt_logprobs = 1;
  cr_assert_eq(calls_begun(tinker_sampler_sample(s, p, &o, NULL), &f), 0);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_sample(f, &r), 0);
  const tinker_sequence_t *q = tinker_sample_result_sequences(r, &n);
  cr_assert(n == 1 && q->count == 2 && q->stopped == 1);
  cr_assert(q->tokens[0] == 5 && q->logprobs[1] == -1.5f);
  const float *lp = tinker_sample_result_prompt_logprobs(r, &n);
  cr_assert(n == 2 && isnan(lp[0]) && lp[1] == -2);
  cr_assert_eq(tinker_sample_result_prompt_topk(r, 1, NULL, NULL), 0u);
  tinker_future_release(f);
  tinker_input_release(p);
  tinker_sampler_release(s);
  rig_done(&rig);
}
