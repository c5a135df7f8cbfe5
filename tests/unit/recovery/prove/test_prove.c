/* The proof as an operation, in front of a pretended service that makes models
 * of a checkpoint and says what the test wants of each. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/recovery_prove.h>

#include "base/arena.h"
#include "rig.h"
#include "wire/fb_output.h"
#include "wire/fb_request.h"

#define LOAD "api/v1/load_weights"
#define PATH "tinker://s1:train:0/weights/a"
#define ITEMS 4
#define EACH (TINKER_FINGERPRINT_LEN / ITEMS)

enum { WARM, COLD, TWIN, MODELS };

typedef struct scene_s {
  rig_t rig;
  float before[MODELS], after[MODELS]; /* what the models answer */
  float again;                         /* what is added the second time */
  size_t missing;                      /* numbers that an answer lacks */
  int64_t delay_ms;                    /* of every reply */
  char *bodies[512];                   /* of replies, until the end */
  size_t body_count;
  bool optimizer[MODELS]; /* as they were loaded */
  int loads, asked[MODELS], steps[MODELS];
  tinker_prove_options_t options;
  tinker_call_options_t call;
  seen_t seen;
  tinker_future_t *future;
} scene_t;

/* --- the pretended service --- */

static char *keep(scene_t *s, char *body) {
  must(s->body_count < sizeof s->bodies / sizeof *s->bodies);
  return s->bodies[s->body_count++] = body;
}

static void say(scene_t *s, script_reply_t *reply, const char *fmt, int a,
                int b, int c) {
  char *text = keep(s, malloc(160));
  snprintf(text, 160, fmt, a, b, c);
  *reply = (script_reply_t){.body = text};
}

static bool read_model(const script_request_t *q, int *model, bool *forward) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__fb_request_t request;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  int rc = tinker__fb_request_decode(&request, &arena,
                                     (tinker__str_t){q->body, q->body_len},
                                     TINKER__FB_PROTO, false, 1 << 20, NULL, 0);
  if (rc == 0) {
    tinker__str_t id = request.view.model_id;
    *model = id.ptr[id.len - 1] - '0';
    *forward = request.view.forward_only;
  }
  tinker__arena_free(&arena);
  return rc == 0;
}

static int model_in(const char *body) {
  const char *at = strstr(body, "s1:train:");
  must(at);
  return at[9] - '0';
}

static void fill(tinker__named_tensor_t *t, float *values, size_t n, float v) {
  for (size_t i = 0; i < n; i++) values[i] = -v - (float)i;
  *t = (tinker__named_tensor_t){
      TINKER__STR("logprobs"),
      {.dtype = TINKER__DTYPE_F32, .data = values, .count = n}};
}

static void answer(scene_t *s, float value, script_reply_t *reply) {
  tinker__mem_t mem;
  tinker__buf_t buf;
  float values[EACH], last[EACH];
  tinker__named_tensor_t fields[ITEMS];
  tinker__output_datum_t outputs[ITEMS];
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1 << 20);
  for (size_t i = 0; i < ITEMS; i++) {
    bool end = i == ITEMS - 1;
    fill(&fields[i], end ? last : values, EACH - (end ? s->missing : 0), value);
    outputs[i] = (tinker__output_datum_t){&fields[i], 1};
  }
  tinker__number_t metric = {"loss:sum", 1};
  tinker__fb_output_t out = {TINKER__STR("X"), outputs, ITEMS, &metric, 1};
  must(tinker__fb_output_encode(&buf, &mem, &out) == 0);
  char *copy = keep(s, malloc(buf.len));
  memcpy(copy, buf.data, buf.len);
  *reply = (script_reply_t){.content_type = "application/x-protobuf",
                            .body = copy,
                            .body_len = buf.len};
  tinker__buf_free(&buf);
}

static void take_call(scene_t *s, const script_request_t *q,
                      script_reply_t *reply) {
  int k = 0;
  bool forward = false;
  if (!strcmp(q->path, LOAD)) {
    k = s->loads++;
    must(k < MODELS);
    s->optimizer[k] = strstr(q->body, "\"optimizer\":true") != NULL;
    say(s, reply, "{\"request_id\":\"load_weights-%d-0\"}", k, 0, 0);
  } else if (!strcmp(q->path, OPTIM)) {
    s->steps[model_in(q->body)]++;
  } else if (!strcmp(q->path, FB) && read_model(q, &k, &forward)) {
    int nth = forward ? s->asked[k]++ : 9;
    say(s, reply, "{\"request_id\":\"forward_backward-%d%d%d-4\"}", k,
        s->steps[k], nth);
  }
}

static void retrieve(scene_t *s, const script_request_t *q,
                     script_reply_t *reply) {
  const char *load = strstr(q->body, "load_weights-");
  const char *fb = strstr(q->body, "forward_backward-");
  if (load) {
    say(s, reply, "{\"model_id\":\"s1:train:%d\"}", load[13] - '0', 0, 0);
  } else if (fb) {
    int k = fb[17] - '0', step = fb[18] - '0', nth = fb[19] - '0';
    float value = step ? s->after[k] : s->before[k];
    answer(s, value + (k == WARM && nth == 1 ? s->again : 0), reply);
  }
}

static void meddle(void *user, const script_request_t *q,
                   script_reply_t *reply) {
  if (reply->status || reply->error) return;
  if (!strcmp(q->path, RETRIEVE)) {
    retrieve(user, q, reply);
  } else {
    take_call(user, q, reply);
  }
  reply->delay_ms = ((scene_t *)user)->delay_ms;
}

/* --- scenes --- */

/* An honest service that computes the same bits each time. */
static void fill_scene(scene_t *s) {
  *s = (scene_t){.before = {1, 1, 1}, .after = {2, 3, 3}};
  tinker_prove_options_init(&s->options);
  tinker_call_options_init(&s->call);
  s->call.cb = rig_seen;
  s->call.user = &s->seen;
}

static void begin(scene_t *s) {
  fill_scene(s);
  rig_init(&s->rig, NULL);
  cr_assert_eq(rig_client(&s->rig), 0);
  script_meddle(s->rig.script, meddle, s);
}

static void prove(scene_t *s) {
  s->future =
      tinker_client_prove_resume(s->rig.client, PATH, &s->options, &s->call);
  fake_loop_advance(&s->rig.loop, 5000);
}

static const tinker_resume_proof_t *proven(scene_t *s) {
  const tinker_resume_proof_t *p = NULL;
  cr_assert_eq(tinker_future_get_resume_proof(s->future, &p), 0, "%s",
               tinker_error_message(tinker_future_error(s->future)));
  cr_assert_eq(s->seen.calls, 1);
  return p;
}

static void failed(scene_t *s, int code, const char *words) {
  const tinker_resume_proof_t *p = NULL;
  const char *why = tinker_error_message(tinker_future_error(s->future));
  int found = tinker_future_get_resume_proof(s->future, &p);
  cr_assert_eq(found, code, "%s: %s", tinker_code_name(found), why);
  cr_assert_null(p);
  cr_assert(strstr(why, words), "%s", why);
  cr_assert_eq(s->seen.calls, 1);
}

static void end(scene_t *s) {
  s->future = tinker_future_release(s->future);
  rig_done(&s->rig);
  for (size_t i = 0; i < s->body_count; i++) free(s->bodies[i]);
}

/* --- verdicts --- */

Test(prove_resume, an_honest_service) {
  scene_t s;
  begin(&s);
  prove(&s);
  const tinker_resume_proof_t *p = proven(&s);
  cr_assert_eq(tinker_future_kind(s.future), TINKER_KIND_PROMISE);
  cr_assert_eq(p->level, 4);
  cr_assert_eq(p->deterministic, 1);
  cr_assert_eq(p->optimizer, 1);
  cr_assert_eq(p->fingerprint[59], -1 - 14);
  cr_assert(s.optimizer[WARM] && !s.optimizer[COLD] && !s.optimizer[TWIN]);
  for (int k = 0; k < MODELS; k++) {
    cr_assert_eq(s.steps[k], 1);
    cr_assert_eq(s.asked[k], k == WARM ? 3 : 2);
  }
  cr_assert_eq(rig_count(&s.rig, LOAD), 3u);
  cr_assert_eq(rig_count(&s.rig, FB), 7u + 3u);
  cr_assert_eq(tinker_future_get_resume_proof(s.future, NULL), TINKER_EINVAL);
  end(&s);
}

Test(prove_resume, a_cold_optimizer) {
  scene_t s;
  begin(&s);
  s.after[WARM] = 3;
  prove(&s);
  failed(&s, TINKER_ESTATE, "checkpoint " PATH ": cold optimizer");
  end(&s);
}

Test(prove_resume, the_wrong_weights) {
  float expected[TINKER_FINGERPRINT_LEN];
  for (size_t i = 0; i < TINKER_FINGERPRINT_LEN; i++) {
    expected[i] = -1 - (float)(i % EACH);
  }
  for (int wrong = 0; wrong < 2; wrong++) {
    scene_t s;
    begin(&s);
    s.options.expected = expected;
    expected[40] -= (float)wrong;
    prove(&s);
    if (wrong) {
      failed(&s, TINKER_ESTATE, "not those that were saved");
    } else {
      cr_assert_eq(proven(&s)->expected, 0);
    }
    end(&s);
  }
}

Test(prove_resume, without_steps) {
  scene_t s;
  begin(&s);
  s.options.steps_taken = 0;
  prove(&s);
  cr_assert_eq(proven(&s)->level, 0);
  cr_assert_eq(rig_count(&s.rig, LOAD), 2u);
  cr_assert_eq(rig_count(&s.rig, FB), 3u);
  cr_assert_eq(rig_count(&s.rig, OPTIM), 0u);
  end(&s);
}

Test(prove_resume, noise) {
  scene_t s;
  begin(&s);
  s.again = 0.25f;
  s.after[WARM] = 4;
  prove(&s);
  failed(&s, TINKER_ESTATE, "cold optimizer");
  end(&s);
  begin(&s);
  s.again = 0.125f;
  s.after[WARM] = 4;
  prove(&s);
  cr_assert_eq(proven(&s)->noise, 0.125);
  cr_assert_eq(proven(&s)->deterministic, 0);
  end(&s);
}

/* --- failures on the way --- */

/* The code is the call's; none of them means that the checkpoint is bad. */
Test(prove_resume, a_call_fails) {
  static const struct {
    const char *path;
    int nth;
    const char *words;
  } cases[] = {
      {LOAD, 0, "checkpoint " PATH ": loading it with optimizer: "},
      {LOAD, 2, "loading it without optimizer: "},
      {FB, 0, ": its answers: "},
      {OPTIM, 0, ": its step"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scene_t s;
    begin(&s);
    for (int n = 0; n < cases[i].nth; n++) {
      script_expect(s.rig.script, TINKER__HTTP_POST, cases[i].path,
                    (script_reply_t){.body = "{}"});
    }
    script_expect(s.rig.script, TINKER__HTTP_POST, cases[i].path,
                  (script_reply_t){.status = 400,
                                   .body = "{\"detail\":\"not this one\"}"});
    prove(&s);
    failed(&s, TINKER_EREJECTED, cases[i].words);
    end(&s);
  }
}

Test(prove_resume, the_checkpoint_is_not_there) {
  scene_t s;
  begin(&s);
  for (int i = 0; i < MODELS; i++) {
    script_expect(
        s.rig.script, TINKER__HTTP_POST, LOAD,
        (script_reply_t){.status = 404, .body = "{\"detail\":\"none\"}"});
  }
  prove(&s);
  failed(&s, TINKER_ENOENT, PATH);
  cr_assert_eq(rig_count(&s.rig, FB), 0u);
  end(&s);
}

Test(prove_resume, an_answer_of_another_size) {
  scene_t s;
  begin(&s);
  s.missing = 1;
  prove(&s);
  failed(&s, TINKER_EPROTO, "its answers are not 60 log-probabilities");
  end(&s);
}

/* --- its end from outside --- */

/* Until so many requests to the path have been made: none is answered at
 * once. */
static void step_to(scene_t *s, const char *path, size_t n) {
  s->delay_ms = 100;
  s->future =
      tinker_client_prove_resume(s->rig.client, PATH, &s->options, &s->call);
  for (int i = 0; rig_count(&s->rig, path) < n; i++) {
    must(i < 1000);
    if (i == 0 || !fake_loop_next(&s->rig.loop)) rig_run(&s->rig);
  }
  must(tinker_future_status(s->future) == TINKER_EAGAIN);
}

static tinker_future_t *stop(scene_t *s, int how) {
  if (how == TINKER_ECLOSED) return tinker_client_close(s->rig.client, NULL);
  if (how == TINKER_ECANCELED) {
    tinker_future_cancel(s->future);
  } else {
    s->delay_ms = -1; /* nothing is answered any more */
    fake_loop_advance(&s->rig.loop, 60000);
  }
  return NULL;
}

/* Canceled, too late, or with its client closed, wherever it is: it ends once,
 * what is under way ends too, and no second round begins. */
Test(prove_resume, ends_from_outside) {
  static const struct {
    const char *path;
    size_t n;
  } when[] = {{LOAD, 0}, {LOAD, 3}, {RETRIEVE, 1}, {FB, 1}, {OPTIM, 3}};
  static const int codes[] = {TINKER_ECANCELED, TINKER_ETIMEDOUT,
                              TINKER_ECLOSED};
  for (size_t i = 0; i < sizeof when / sizeof *when; i++) {
    for (int how = 0; how < 3; how++) {
      scene_t s;
      begin(&s);
      s.call.timeout_ms = 60000;
      step_to(&s, when[i].path, when[i].n);
      tinker_future_t *closed = stop(&s, codes[how]);
      rig_run(&s.rig);
      failed(&s, codes[how], "prove_resume: ");
      s.delay_ms = 0;
      fake_loop_advance(&s.rig.loop, 30000);
      if (i < 3) cr_assert_eq(rig_count(&s.rig, FB), 0u);
      tinker_future_release(closed);
      end(&s);
    }
  }
}

/* Nobody waits for it: it goes on and is freed. */
Test(prove_resume, given_up_or_detached) {
  for (int detached = 0; detached < 2; detached++) {
    scene_t s;
    begin(&s);
    s.call.detached = detached;
    s.future =
        tinker_client_prove_resume(s.rig.client, PATH, &s.options, &s.call);
    s.future = tinker_future_release(s.future);
    fake_loop_advance(&s.rig.loop, 5000);
    cr_assert_eq(s.seen.calls, 1);
    cr_assert_eq(s.seen.status, 0);
    end(&s);
  }
}

static void refused(scene_t *s, const char *path, int code, const char *words) {
  s->seen.calls = 0;
  s->future =
      tinker_client_prove_resume(s->rig.client, path, &s->options, &s->call);
  rig_run(&s->rig);
  failed(s, code, words);
  cr_assert_eq(rig_count(&s->rig, LOAD), 0u);
  s->future = tinker_future_release(s->future);
}

Test(prove_resume, refusals) {
  float expected[TINKER_FINGERPRINT_LEN] = {0};
  scene_t s;
  begin(&s);
  refused(&s, NULL, TINKER_EINVAL, "prove_resume: path is NULL");
  s.options.steps_taken = -1;
  refused(&s, PATH, TINKER_EINVAL, "options.steps_taken is -1: 0 or more");
  tinker_prove_options_init(&s.options);
  s.options.expected_noise = -0.5;
  refused(&s, PATH, TINKER_EINVAL, "options.expected_noise is -0.5");
  s.options.expected_noise = NAN;
  refused(&s, PATH, TINKER_EINVAL, "options.expected_noise is ");
  tinker_prove_options_init(&s.options);
  expected[7] = NAN;
  s.options.expected = expected;
  refused(&s, PATH, TINKER_EINVAL, "options.expected[7] is not finite");
  s.options.size = 0;
  refused(&s, PATH, TINKER_EINVAL, "begin with tinker_prove_options_init()");
  tinker_prove_options_init(&s.options);
  refused(&s, "a", TINKER_EINVAL, "path is \"a\": want \"tinker://...\"");
  s.future = tinker_client_prove_resume(NULL, PATH, NULL, NULL);
  cr_assert_eq(tinker_future_status(s.future), TINKER_EINVAL);
  s.future = tinker_client_close(s.rig.client, NULL);
  rig_run(&s.rig);
  tinker_future_release(s.future);
  refused(&s, PATH, TINKER_ECLOSED, "prove_resume: the client is closed");
  end(&s);
}

/* A drain takes no new calls: the second round is refused. */
Test(prove_resume, a_drain) {
  scene_t s;
  begin(&s);
  step_to(&s, LOAD, 3);
  tinker_future_t *drain = tinker_client_drain(s.rig.client, NULL);
  fake_loop_advance(&s.rig.loop, 5000);
  failed(&s, TINKER_ECLOSED, "its answers");
  cr_assert_eq(tinker_future_wait(drain, 60000), 0);
  tinker_future_release(drain);
  end(&s);
}

/* --- the other ways to run a client --- */

Test(prove_resume, in_background_and_step_mode) {
  for (int step = 0; step < 2; step++) {
    scene_t s;
    const tinker_resume_proof_t *p = NULL;
    fill_scene(&s);
    s.call.cb = NULL;
    if (step) {
      rig_init_step(&s.rig);
    } else {
      rig_init_threads(&s.rig);
    }
    cr_assert_eq(rig_client(&s.rig), 0);
    script_meddle(s.rig.script, meddle, &s);
    s.future =
        tinker_client_prove_resume(s.rig.client, PATH, &s.options, &s.call);
    cr_assert_eq(tinker_future_wait(s.future, 60000), 0);
    cr_assert_eq(tinker_future_get_resume_proof(s.future, &p), 0);
    cr_assert_eq(p->level, 4);
    end(&s);
  }
}

/* --- the fingerprint --- */

Test(prove_resume, fingerprint) {
  scene_t s;
  float out[TINKER_FINGERPRINT_LEN] = {0};
  begin(&s);
  tinker_trainer_t *t = rig_trainer(&s.rig);
  s.future = tinker_trainer_fingerprint(t, CALLS_TIMEOUT(60000));
  cr_assert_eq(tinker_future_get_fingerprint(s.future, out), TINKER_EAGAIN);
  cr_assert_eq(tinker_future_wait(s.future, 60000), 0);
  cr_assert_eq(tinker_future_get_fingerprint(s.future, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_fingerprint(s.future, out), 0);
  cr_assert_eq(out[16], -2);
  tinker_future_release(s.future);
  s.missing = 1;
  out[0] = 5;
  s.future = tinker_trainer_fingerprint(t, CALLS_TIMEOUT(60000));
  cr_assert_eq(tinker_future_wait(s.future, 60000), 0);
  cr_assert_eq(tinker_future_get_fingerprint(s.future, out), TINKER_ENOENT);
  cr_assert_eq(out[0], 5);
  tinker_trainer_release(t);
  end(&s);
}

/* --- memory --- */

/* Each allocation of the client, or of the proof's own memory, fails in turn:
 * it ends once, never well with a wrong verdict, and nothing is left. */
static bool sweep_one(uint64_t n, bool own) {
  scene_t s;
  tinker__mem_t mem;
  begin(&s);
  tinker__mem_init(&mem, NULL, 0);
  const tinker_allocator_t allocator = tinker__mem_allocator(&mem);
  s.options.allocator = &allocator;
  tinker__mem_t *failing = own ? &mem : &s.rig.mem;
  uint64_t at = atomic_load(&failing->count) + n;
  atomic_store(&failing->fail_at, at);
  s.future =
      tinker_client_prove_resume(s.rig.client, PATH, &s.options, &s.call);
  bool calls_back = tinker_future_runs_callback(s.future);
  fake_loop_advance(&s.rig.loop, 400000);
  int code = tinker_future_status(s.future);
  cr_assert(code == 0 || code == TINKER_ENOMEM || code == TINKER_EFATAL, "%d",
            code);
  cr_assert_eq(s.seen.calls, calls_back);
  bool reached = atomic_load(&failing->count) >= at;
  if (code == 0) cr_assert_eq(proven(&s)->level, 4);
  atomic_store(&failing->fail_at, 0);
  s.future = tinker_future_release(s.future);
  rig_run(&s.rig);
  end(&s);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0u);
  return reached;
}

Test(prove_resume, memory_sweep) {
  uint64_t n = 1;
  while (sweep_one(n, true)) n++;
  cr_assert_gt(n, 4u);
  n = 1;
  while (sweep_one(n, false)) n++;
  cr_assert_gt(n, 50u);
}
