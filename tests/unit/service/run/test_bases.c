/* Base models: several engines at once; they come and go while others sample.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "engine/collect.h"
#include "rig.h"
#include "service/run/bases.h"

#define FOLDER TINKER_TEST_DIR "/golden/models/qwen3_tied"

/* A model that never arrives must not keep the others from being tested. */
TestSuite(bases, .timeout = 60);

static rig_t rig;
static reply_t reply;
static tinker__engine_api_t other;

/* A service with a second model "n" from the folder, held by another engine. */
static void open_two(const char *dir, bool later) {
  rig_open(&rig);
  rig_stop(&rig);
  if (!other.abi) other = *tinker__cpu_engine();
  rig.second = (tinker__svc_model_spec_t){
      .name = "n",
      .dir = dir,
      .engine = &other,
      .later = later,
  };
  rig_start(&rig);
}

static tinker__svc_base_model_t *base_named(const char *name) {
  return tinker__svc_base_find(rig.s, tinker__str(name));
}

static tinker__svc_base_state_t state_of(const char *name) {
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_base_state_t state = base_named(name)->state;
  pthread_mutex_unlock(&rig.s->lock);
  return state;
}

static int ask(const char *name,
               int (*what)(tinker__svc_base_model_t *b, char *why,
                           size_t why_len),
               char *why, size_t why_len) {
  pthread_mutex_lock(&rig.s->lock);
  int rc = what(base_named(name), why, why_len);
  pthread_mutex_unlock(&rig.s->lock);
  return rc;
}

static tinker__svc_base_state_t load(const char *name) {
  char why[300] = "";
  cr_assert_eq(ask(name, tinker__svc_base_load, why, sizeof why), 0, "%s", why);
  while (state_of(name) == TINKER__BASE_LOADING) {
  }
  return state_of(name);
}

static void unload(const char *name) {
  char why[300] = "";
  cr_assert_eq(ask(name, tinker__svc_base_unload, why, sizeof why), 0, "%s",
               why);
}

static void session(char id[80]) {
  rig_session(&rig, id, 80);
}

/* Status of create_sampling_session; the id if it is 200. */
static int open_sampler(const char *in, int seq, const char *base,
                        char id[120]) {
  char body[300];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":%d,"
           "\"base_model\":\"%s\"}",
           in, seq, base);
  rig_call(&rig, "POST api/v1/create_sampling_session", NULL, NULL, body,
           &reply);
  if (reply.status == 200) rig_member(&reply, "sampling_session_id", id, 120);
  return reply.status;
}

static void sample_body(char out[400], const char *sampler, int seq,
                        int tokens) {
  snprintf(out, 400,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"prompt\":"
           "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2]}]},"
           "\"sampling_params\":{\"max_tokens\":%d,\"seed\":5,\"stop\":[]}}",
           sampler, seq, tokens);
}

static void sample(const char *sampler, int seq, reply_t *out) {
  char body[400];
  sample_body(body, sampler, seq, 20);
  rig_do(&rig, "POST api/v1/asample", body, out);
}

static void finish(const char *id) {
  rig_call(&rig, "POST api/v1/sessions/*/finish", id, NULL, "{}", &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

/* --- Several engines ------------------------------------------------------ */

static atomic_int rounds, steps;

static int counted_decode(tinker__engine_t *e,
                          const tinker__eng_decode_item_t *items, size_t n,
                          const atomic_bool *cancel, char *why,
                          size_t why_len) {
  atomic_fetch_add(&rounds, 1);
  return tinker__cpu_engine()->decode(e, items, n, cancel, why, why_len);
}

static int counted_step(tinker__eng_pass_t *p, const atomic_bool *cancel,
                        char *why, size_t why_len) {
  atomic_fetch_add(&steps, 1);
  return tinker__cpu_engine()->pass_step(p, cancel, why, why_len);
}

/* A model of each engine is trained and sampled from; they give the same. */
Test(bases, two_engines) {
  char id[80], sampler[2][120], model[120], body[600];
  static reply_t got[2], loss[2];
  other = *tinker__cpu_engine();
  other.decode = counted_decode;
  other.pick = NULL; /* every round calls decode */
  other.pass_step = counted_step;
  open_two(FOLDER, false);
  cr_assert_eq(rig.s->n_backends, 2);
  session(id);
  for (int i = 0; i < 2; i++) {
    int before = atomic_load(&rounds), passes = atomic_load(&steps);
    cr_assert_eq(open_sampler(id, i, i ? "n" : "m", sampler[i]), 200);
    sample(sampler[i], 0, &got[i]);
    snprintf(body, sizeof body,
             "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"%s\","
             "\"lora_config\":{\"rank\":4,\"seed\":7}}",
             id, i, i ? "n" : "m");
    rig_do(&rig, "POST api/v1/create_model", body, &reply);
    rig_member(&reply, "model_id", model, sizeof model);
    rig_fb_body(body, sizeof body, model, 1);
    rig_do(&rig, "POST api/v1/forward_backward", body, &loss[i]);
    cr_assert_eq(atomic_load(&rounds) > before, i == 1);
    cr_assert_eq(atomic_load(&steps) > passes, i == 1);
  }
  cr_assert_str_eq(got[0].text, got[1].text);
  cr_assert_str_eq(loss[0].text, loss[1].text);
  rig_close(&rig);
}

static uint64_t small_device(const tinker__engine_t *e) {
  (void)e;
  return 100000;
}

/* An engine with memory of its own: the other's samples don't use it up. */
Test(bases, memory_of_a_device) {
  char id[80], sampler[120], body[400];
  other = *tinker__cpu_engine();
  other.slot_limit = small_device;
  open_two(FOLDER, false);
  cr_assert_eq(rig.s->backends[0].slots, &rig.s->slots);
  cr_assert_eq(rig.s->backends[1].slots->limit, 100000);
  session(id);
  cr_assert_eq(open_sampler(id, 0, "n", sampler), 200);
  sample(sampler, 0, &reply);
  sample_body(body, sampler, 1, 120);
  snprintf(body + strlen(body) - 1, 40, ",\"num_samples\":60}");
  rig_call(&rig, "POST api/v1/asample", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", body, sizeof body);
  rig_result(&rig, body, &reply);
  cr_assert_neq(strstr(reply.text, "100000 are available"), NULL, "%s",
                reply.text);
  rig_close(&rig);
}

Test(bases, an_engine_that_only_samples) {
  char id[80], sampler[120], body[300];
  other = *tinker__cpu_engine();
  other.caps = 0;
  open_two(FOLDER, false);
  session(id);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":0,\"base_model\":\"n\","
           "\"lora_config\":{\"rank\":4}}",
           id);
  rig_call(&rig, "POST api/v1/create_model", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 400);
  cr_assert_neq(strstr(reply.text, "base_model 'n' can only be sampled from: "
                                   "the engine 'cpu' does not train"),
                NULL, "%s", reply.text);
  cr_assert_eq(open_sampler(id, 0, "n", sampler), 200);
  sample(sampler, 0, &reply);
  rig_call(&rig, "GET api/v1/get_server_capabilities", NULL, NULL, "", &reply);
  cr_assert_neq(
      strstr(reply.text, "\"model_name\":\"n\",\"max_context_length\""), NULL,
      "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "\"trainable\":false"), NULL);
  rig_close(&rig);
}

/* --- Coming and going ----------------------------------------------------- */

static bool says(const char *text) {
  return strstr(reply.text, text) != NULL;
}

Test(bases, come_and_go) {
  char id[80], id2[80], sampler[120], unused[120], why[300];
  static reply_t first, again;
  open_two(FOLDER, true);
  session(id);
  session(id2);
  size_t without = rig.mem.live_bytes;
  cr_assert_eq(open_sampler(id, 0, "n", sampler), 404);
  cr_assert(says("'n' is not served here at present"), "%s", reply.text);
  cr_assert_eq(load("n"), TINKER__BASE_LOADED);
  cr_assert_eq(load("n"), TINKER__BASE_LOADED); /* once is enough */
  size_t with = rig.mem.live_bytes;
  cr_assert_gt(with, without);
  cr_assert_eq(open_sampler(id, 0, "n", sampler), 200);
  sample(sampler, 0, &first);

  unload("n"); /* who has it keeps it, nobody else gets it */
  cr_assert_eq(state_of("n"), TINKER__BASE_LEAVING);
  cr_assert_eq(open_sampler(id2, 0, "n", unused), 404);
  cr_assert(says("'n' is not served here any more"), "%s", reply.text);
  sample(sampler, 1, &again);
  cr_assert_str_eq(again.text, first.text);
  cr_assert_eq(ask("n", tinker__svc_base_load, why, sizeof why),
               0); /* after all */
  cr_assert_eq(state_of("n"), TINKER__BASE_LOADED);
  unload("n");
  finish(id);
  while (state_of("n") != TINKER__BASE_ABSENT) {
  }
  rig_call(&rig, "GET api/v1/get_server_capabilities", NULL, NULL, "", &reply);
  cr_assert(!says("\"n\""), "%s", reply.text);

  cr_assert_eq(load("n"), TINKER__BASE_LOADED);
  cr_assert_eq(open_sampler(id2, 1, "n", sampler), 200);
  sample(sampler, 0, &again);
  cr_assert_str_eq(again.text, first.text);
  rig_close(&rig);
}

/* A live run brings its base model back at a restart, and holds it. */
Test(bases, runs_hold_theirs) {
  char id[80], model[120], body[600];
  open_two(FOLDER, true);
  cr_assert_eq(load("n"), TINKER__BASE_LOADED);
  session(id);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":0,\"base_model\":\"n\","
           "\"lora_config\":{\"rank\":4,\"seed\":7}}",
           id);
  rig_do(&rig, "POST api/v1/create_model", body, &reply);
  rig_member(&reply, "model_id", model, sizeof model);
  unload("n");
  rig_stop(&rig);
  rig_start(&rig);
  cr_assert_eq(state_of("n"), TINKER__BASE_LOADED);
  unload("n");
  rig_fb_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  cr_assert_eq(state_of("n"), TINKER__BASE_LEAVING);
  finish(id);
  while (state_of("n") != TINKER__BASE_ABSENT) {
  }
  rig_close(&rig);
}

static atomic_int begun, asked, load_steps, rounds_at_first, rounds_at_last;

/* The first round lasts until the load has been asked for. */
static int waiting_decode(tinker__engine_t *e,
                          const tinker__eng_decode_item_t *items, size_t n,
                          const atomic_bool *cancel, char *why,
                          size_t why_len) {
  atomic_store(&begun, 1);
  while (!atomic_load(&asked)) {
  }
  return counted_decode(e, items, n, cancel, why, why_len);
}

static int noted_step(tinker__eng_load_t *l, const atomic_bool *cancel,
                      char *why, size_t why_len) {
  if (atomic_fetch_add(&load_steps, 1) == 0) {
    atomic_store(&rounds_at_first, atomic_load(&rounds));
  }
  atomic_store(&rounds_at_last, atomic_load(&rounds));
  return tinker__cpu_engine()->load_step(l, cancel, why, why_len);
}

/* A clock that can't tell whose turn took how long: turns alternate. */
static int64_t still(void *user) {
  (void)user;
  return 1000;
}

/* A token of everybody who samples after each small step of a load. */
Test(bases, others_sample_during_a_load) {
  char id[80], sampler[120], body[400], request[200];
  other = *tinker__cpu_engine();
  other.load_step = noted_step;
  open_two(FOLDER, true);
  rig_stop(&rig);
  rig.api.decode = waiting_decode;
  rig.api.pick = NULL; /* every round calls decode */
  rig.world.now_ms = still;
  rig_start(&rig);
  session(id);
  cr_assert_eq(open_sampler(id, 0, "m", sampler), 200);
  sample_body(body, sampler, 0, 100);
  rig_call(&rig, "POST api/v1/asample", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", request, sizeof request);
  while (!atomic_load(&begun)) {
  }
  char why[300];
  cr_assert_eq(ask("n", tinker__svc_base_load, why, sizeof why), 0);
  atomic_store(&asked, 1);
  while (state_of("n") == TINKER__BASE_LOADING) {
  }
  cr_assert_gt(atomic_load(&load_steps), 15);
  cr_assert_eq(atomic_load(&rounds_at_last) - atomic_load(&rounds_at_first),
               atomic_load(&load_steps) - 1);
  rig_result(&rig, request, &reply);
  cr_assert(says("\"sequences\""), "%s", reply.text);
  rig_close(&rig);
}

static atomic_int steps_at_pass;

static int first_step_waits(tinker__eng_load_t *l, const atomic_bool *cancel,
                            char *why, size_t why_len) {
  while (!atomic_load(&asked)) {
  }
  return noted_step(l, cancel, why, why_len);
}

static int noting_pass(tinker__eng_pass_t *p, const atomic_bool *cancel,
                       char *why, size_t why_len) {
  atomic_store(&steps_at_pass, atomic_load(&load_steps));
  return tinker__cpu_engine()->pass_step(p, cancel, why, why_len);
}

/* Nor does a load keep others from training until it is through. */
Test(bases, others_train_during_a_load) {
  char id[80], model[120], body[600], request[200], why[300];
  other = *tinker__cpu_engine();
  other.load_step = first_step_waits;
  open_two(FOLDER, true);
  rig_stop(&rig);
  rig.api.pass_step = noting_pass;
  rig_start(&rig);
  session(id);
  rig_model(&rig, id, 0, model, sizeof model);
  cr_assert_eq(ask("n", tinker__svc_base_load, why, sizeof why), 0);
  rig_fb_body(body, sizeof body, model, 1);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", request, sizeof request);
  state_of("n"); /* who gives the call to the scheduler is through */
  atomic_store(&asked, 1);
  rig_result(&rig, request, &reply);
  while (state_of("n") == TINKER__BASE_LOADING) {
  }
  cr_assert_leq(atomic_load(&steps_at_pass), atomic_load(&load_steps) / 2);
  rig_close(&rig);
}

/* A model that was never loaded is like no other, and says so itself: also with
 * a checkpoint of the same weights. */
Test(bases, never_loaded) {
  char id[80], model[120], body[600], at[300];
  open_two(FOLDER, true);
  session(id);
  rig_model(&rig, id, 0, model, sizeof model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"path\":\"a\",\"seq_id\":1}", model);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  rig_member(&reply, "path", at, sizeof at);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":1,\"base_model\":\"n\","
           "\"optimizer\":true,\"path\":\"%s\"}",
           id, at);
  rig_call(&rig, "POST api/v1/load_weights", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 404, "%s", reply.text);
  cr_assert(says("'n' is not served here at present"), "%s", reply.text);
  pthread_mutex_lock(&rig.s->lock);
  cr_assert_not(tinker__svc_base_same(base_named("m"), base_named("n")));
  pthread_mutex_unlock(&rig.s->lock);
  cr_assert_eq(load("n"), TINKER__BASE_LOADED);
  rig_call(&rig, "POST api/v1/load_weights", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_close(&rig);
}

/* --- What a load is refused for ------------------------------------------- */

/* Memory is planned for what is there when it is asked for. */
Test(bases, memory_for_one) {
  uint64_t bytes;
  char why[300];
  cr_assert_eq(tinker__cpu_engine()->estimate(FOLDER, &bytes, why, sizeof why),
               0);
  rig.max_memory = 0;
  open_two(FOLDER, true);
  rig_stop(&rig);
  rig.max_memory = (int64_t)(bytes + bytes / 2);
  rig_start(&rig);
  uint64_t limit = rig.s->slots.limit;
  cr_assert_eq(load("n"), TINKER__BASE_ABSENT);
  snprintf(why, sizeof why,
           "needs %llu bytes of memory with those before it, "
           "%llu are available",
           (unsigned long long)(2 * bytes),
           (unsigned long long)rig.max_memory - rig.s->reserved);
  cr_assert_neq(strstr(base_named("n")->why, why), NULL, "%s",
                base_named("n")->why);
  cr_assert_eq(rig.s->slots.limit, limit);
  unload("m");
  while (state_of("m") != TINKER__BASE_ABSENT) {
  }
  cr_assert_eq(load("n"), TINKER__BASE_LOADED);
  cr_assert_str_eq(base_named("n")->why, "");
  cr_assert_eq(load("m"), TINKER__BASE_ABSENT);
  rig_close(&rig);
}

static void copy_folder(const char *to) {
  char command[600];
  snprintf(command, sizeof command,
           "cp " FOLDER "/*.json " FOLDER "/*.safetensors %s/", to);
  cr_assert_eq(system(command), 0);
}

static void remove_folder(const char *dir) {
  char path[600];
  struct dirent *e;
  DIR *d = opendir(dir);
  while ((e = readdir(d)) != NULL) {
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    unlink(path);
  }
  closedir(d);
  rmdir(dir);
}

/* Other weights under a name that runs and checkpoints know are refused. */
Test(bases, a_folder_that_changed) {
  char dir[] = "/tmp/tinker-base-XXXXXX", path[100];
  cr_assert_neq(mkdtemp(dir), NULL);
  copy_folder(dir);
  open_two(dir, true);
  cr_assert_eq(load("n"), TINKER__BASE_LOADED);
  unload("n");
  while (state_of("n") != TINKER__BASE_ABSENT) {
  }
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  FILE *f = fopen(path, "r+b");
  cr_assert_neq(f, NULL);
  fseek(f, -1, SEEK_END);
  int last = fgetc(f);
  fseek(f, -1, SEEK_END);
  fputc(last ^ 1, f);
  fclose(f);
  cr_assert_eq(load("n"), TINKER__BASE_ABSENT);
  cr_assert_neq(strstr(base_named("n")->why, "weights have changed"), NULL,
                "%s", base_named("n")->why);
  rig_close(&rig);
  remove_folder(dir);
}

/* Whatever allocation a load fails in, it can be asked for again. */
Test(bases, every_allocation_of_a_load) {
  int failures = 0;
  open_two(FOLDER, true);
  for (uint64_t n = 1;; n++) {
    size_t blocks = rig.mem.live_blocks;
    rig.mem.fail_at = rig.mem.count + n;
    tinker__svc_base_state_t state = load("n");
    bool failed = rig.mem.count >= rig.mem.fail_at;
    rig.mem.fail_at = 0;
    if (state == TINKER__BASE_LOADED) {
      cr_assert(!failed || failures > 10); /* the line of the log */
      if (!failed) break;
      unload("n");
      while (state_of("n") != TINKER__BASE_ABSENT) {
      }
      continue;
    }
    failures++;
    cr_assert_neq(strstr(base_named("n")->why, "memory"), NULL, "%s",
                  base_named("n")->why);
    cr_assert_eq(rig.mem.live_blocks, blocks);
  }
  cr_assert_gt(failures, 30);
  rig_close(&rig);
}

/* --- Generation without a session ----------------------------------------- */

/* The same tokens as a sample with that seed, one by one, and no row of the
 * log; the model can't leave meanwhile. */
Test(bases, generation_without_a_session) {
  static collect_t c;
  static const int32_t prompt[] = {1, 2};
  char why[300] = "", tokens[600] = "[";
  char id[80], sampler[120];
  uint64_t number;
  open_two(FOLDER, false);
  collect_init(&c);
  tinker__eng_generate_cb_t cb = collect_cb(&c);
  tinker__eng_generate_t spec = {
      .model = "n",
      .tokens = prompt,
      .n_tokens = 2,
      .num_samples = 1,
      .max_tokens = 20,
      .temperature = 1,
      .top_p = 1,
      .seeded = true,
      .seed = 5,
  };
  int64_t row = rig.s->next_row;
  int rc = tinker__eng_generate(rig.s->generator, &spec, &cb, &number, why,
                                sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  unload("n");
  collect_wait(&c);
  cr_assert_eq(c.rc, 0, "%s", c.why);
  cr_assert_eq(c.n[0], 20);
  cr_assert_eq(rig.s->next_row, row, "nothing was stored");
  while (state_of("n") != TINKER__BASE_ABSENT) {
  }
  spec.model = "n";
  cr_assert_eq(tinker__eng_generate(rig.s->generator, &spec, &cb, &number, why,
                                    sizeof why),
               TINKER_ENOENT);
  cr_assert_str_eq(why, "model: 'n' is not served here");

  session(id);
  cr_assert_eq(open_sampler(id, 0, "m", sampler), 200);
  sample(sampler, 0, &reply);
  for (size_t i = 0; i < 20; i++) {
    size_t len = strlen(tokens);
    snprintf(tokens + len, sizeof tokens - len, "%s%d", i ? "," : "",
             (int)c.tokens[0][i]);
  }
  cr_assert(says(tokens), "%s: %s", tokens, reply.text);
  rig_close(&rig);
}
