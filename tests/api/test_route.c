/* Routes: one sample from the first of several samplers that answers. */
#include "faults.h"

#define ACCEPTED "{\"request_id\":\"asample-0-0\"}"

typedef struct scene_s {
  rig_t rig[2];
  tinker_sampler_t *sampler[2];
  tinker_route_t *route;
  tinker_input_t *prompt;
  seen_t seen;
} scene_t;

static int new_route(scene_t *s, int64_t beside_ms) {
  tinker_route_options_t o = TINKER_ROUTE_OPTIONS_INIT;
  tinker_route_source_t sources[2] = {{"near", s->sampler[0]},
                                      {"far", s->sampler[1]}};
  o.beside_ms = beside_ms;
  return tinker_route_new(&s->route, sources, 2, &o, NULL);
}

static void open_scene(scene_t *s, int64_t beside_ms) {
  *s = (scene_t){.route = NULL};
  for (int i = 0; i < 2; i++) {
    rig_init(&s->rig[i], NULL);
    s->rig[i].session = i ? "s2" : "s1";
    cr_assert_eq(rig_client(&s->rig[i]), 0);
    s->sampler[i] = rig_sampler(&s->rig[i]);
  }
  cr_assert_eq(new_route(s, beside_ms), 0);
  cr_assert_eq(tinker_input_from_tokens(&s->prompt, (const int32_t[]){1, 2}, 2,
                                        NULL, NULL),
               0);
}

static void close_scene(scene_t *s) {
  tinker_input_release(s->prompt);
  tinker_route_release(s->route);
  for (int i = 0; i < 2; i++) tinker_sampler_release(s->sampler[i]);
  /* What a source's client still has in hand lies in the home's memory. */
  for (int i = 0; i < 2; i++) {
    s->rig[i].client = tinker_client_release(s->rig[i].client);
  }
  for (int i = 0; i < 2; i++) rig_done(&s->rig[i]);
}

static tinker_future_t *begin(scene_t *s, const tinker_call_options_t *call) {
  return tinker_route_sample(s->route, s->prompt, NULL,
                             CALLS_WITH(call, rig_seen, &s->seen));
}

/* Both clients go on for so long. */
static void pass(scene_t *s, int64_t ms) {
  for (int64_t t = 0; t <= ms; t += 10) {
    for (int i = 0; i < 2; i++) {
      fake_loop_advance(&s->rig[i].loop, t ? 10 : 0);
    }
  }
  for (int i = 0; i < 2; i++) rig_run(&s->rig[i]);
}

static void reply(scene_t *s, int rig, const char *path, script_reply_t reply) {
  script_expect(s->rig[rig].script, TINKER__HTTP_POST, path, reply);
}

static size_t asked(const scene_t *s, int rig) {
  return rig_count(&s->rig[rig], ASAMPLE);
}

/* It has ended once, with the answer of this source. */
static void check_from(scene_t *s, tinker_future_t *f, size_t source) {
  const tinker_sample_result_t *r;
  const char *name;
  size_t at, n;
  cr_assert(s->seen.calls == 1 && s->seen.status == 0, "%s",
            tinker_error_message(tinker_future_error(f)));
  cr_assert_eq(tinker_future_get_source(f, &at, &name), 0);
  cr_assert_eq(at, source);
  cr_assert_str_eq(name, source ? "far" : "near");
  cr_assert_eq(tinker_future_get_sample(f, &r), 0);
  const tinker_sequence_t *q = tinker_sample_result_sequences(r, &n);
  cr_assert(n == 1 && q->count == 2 && q->tokens[1] == 6);
  tinker_future_release(f);
}

static const tinker_error_t *check_failed(scene_t *s, tinker_future_t *f,
                                          int code) {
  size_t at;
  cr_assert(s->seen.calls == 1 && s->seen.status == code, "%d times, %d: %s",
            s->seen.calls, s->seen.status,
            tinker_error_message(tinker_future_error(f)));
  cr_assert_eq(tinker_future_get_source(f, &at, NULL), code);
  return tinker_future_error(f);
}

Test(route, the_first_source_is_asked) {
  scene_t s;
  open_scene(&s, -1);
  tinker_future_t *f = begin(&s, NULL);
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_ROUTE_SAMPLE);
  cr_assert_str_eq(tinker_kind_name(TINKER_KIND_ROUTE_SAMPLE), "route_sample");
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  pass(&s, 100);
  cr_assert(asked(&s, 0) == 1 && asked(&s, 1) == 0);
  check_from(&s, f, 0);
  close_scene(&s);
}

Test(route, the_next_one_after_a_failure) {
  for (int later = 0; later < 2; later++) {
    scene_t s;
    open_scene(&s, -1);
    if (later) {
      reply(&s, 0, RETRIEVE,
            (script_reply_t){
                .body = "{\"error\":\"boom\",\"category\":\"server\"}"});
    } else {
      reply(&s, 0, ASAMPLE,
            (script_reply_t){.status = 422, .body = DETAIL("too long")});
    }
    tinker_future_t *f = begin(&s, NULL);
    pass(&s, 100);
    cr_assert(asked(&s, 0) == 1 && asked(&s, 1) == 1);
    check_from(&s, f, 1);
    close_scene(&s);
  }
}

/* An answer that can't be read is none. */
Test(route, an_unreadable_answer_is_a_failure) {
  scene_t s;
  open_scene(&s, -1);
  reply(&s, 0, RETRIEVE, (script_reply_t){.body = "{\"sequences\":7}"});
  tinker_future_t *f = begin(&s, NULL);
  pass(&s, 100);
  check_from(&s, f, 1);
  close_scene(&s);
}

Test(route, all_fail) {
  scene_t s;
  open_scene(&s, -1);
  reply(&s, 0, ASAMPLE, (script_reply_t){.status = 422, .body = DETAIL("no")});
  reply(&s, 1, ASAMPLE,
        (script_reply_t){.status = 413, .body = DETAIL("large")});
  tinker_future_t *f = begin(&s, NULL);
  pass(&s, 100);
  const tinker_error_t *e = check_failed(&s, f, TINKER_EREJECTED);
  cr_assert_eq(tinker_error_http_status(e), 413);
  cr_assert(!tinker_error_is_retriable(e));
  const char *text = tinker_error_message(e);
  cr_assert(strstr(text, "no source has answered; near: sample"), "%s", text);
  cr_assert(strstr(text, "422: no; far: sample"), "%s", text);
  tinker_future_release(f);
  close_scene(&s);
}

/* Without an answer for 300 ms the second is asked, too; what has not answered
 * is canceled then. */
Test(route, the_next_one_beside) {
  for (int second = 0; second < 2; second++) {
    scene_t s;
    open_scene(&s, 300);
    reply(&s, 0, ASAMPLE,
          (script_reply_t){.delay_ms = second ? -1 : 500, .body = ACCEPTED});
    reply(&s, 1, ASAMPLE,
          (script_reply_t){.delay_ms = second ? 500 : -1, .body = ACCEPTED});
    tinker_future_t *f = begin(&s, NULL);
    pass(&s, 280);
    cr_assert(asked(&s, 0) == 1 && asked(&s, 1) == 0);
    pass(&s, 40);
    cr_assert_eq(asked(&s, 1), 1u);
    cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
    pass(&s, 700);
    check_from(&s, f, second ? 1 : 0);
    cr_assert(script_parked(s.rig[0].script) == 0 &&
              script_parked(s.rig[1].script) == 0);
    pass(&s, 1000);
    cr_assert(asked(&s, 0) == 1 && asked(&s, 1) == 1 && s.seen.calls == 1);
    close_scene(&s);
  }
}

Test(route, all_at_once) {
  scene_t s;
  open_scene(&s, 0);
  reply(&s, 0, ASAMPLE, (script_reply_t){.delay_ms = -1});
  tinker_future_t *f = begin(&s, NULL);
  pass(&s, 20);
  cr_assert(asked(&s, 0) == 1 && asked(&s, 1) == 1);
  check_from(&s, f, 1);
  close_scene(&s);
}

Test(route, next_returns_it) {
  scene_t s;
  open_scene(&s, -1);
  tinker_future_t *got;
  tinker_future_t *f = tinker_route_sample(s.route, s.prompt, NULL, NULL);
  cr_assert_eq(tinker_client_next(s.rig[0].client, 1000, &got), 0);
  cr_assert_eq(got, f);
  tinker_future_release(got);
  cr_assert_eq(tinker_client_next(s.rig[0].client, 0, &got), TINKER_ENOENT);
  cr_assert_eq(tinker_client_next(s.rig[1].client, 0, &got), TINKER_ENOENT);
  tinker_future_release(f);
  close_scene(&s);
}

/* --- its ends --- */

Test(route, cancel_reaches_all_that_are_asked) {
  scene_t s;
  open_scene(&s, 0);
  for (int i = 0; i < 2; i++) {
    reply(&s, i, ASAMPLE, (script_reply_t){.delay_ms = -1});
  }
  tinker_future_t *f = begin(&s, NULL);
  pass(&s, 20);
  cr_assert_eq(script_parked(s.rig[1].script), 1u);
  tinker_future_cancel(f);
  pass(&s, 20);
  check_failed(&s, f, TINKER_ECANCELED);
  cr_assert(script_parked(s.rig[0].script) == 0 &&
            script_parked(s.rig[1].script) == 0);
  tinker_future_release(f);
  close_scene(&s);
}

/* One deadline for all; the sentence has what each has said by then. */
Test(route, deadline) {
  scene_t s;
  open_scene(&s, -1);
  reply(&s, 0, ASAMPLE, (script_reply_t){.status = 422, .body = DETAIL("no")});
  reply(&s, 1, ASAMPLE, (script_reply_t){.delay_ms = -1});
  tinker_future_t *f = begin(&s, CALLS_TIMEOUT(200));
  pass(&s, 190);
  cr_assert_eq(s.seen.calls, 0);
  pass(&s, 20);
  const char *text =
      tinker_error_message(check_failed(&s, f, TINKER_ETIMEDOUT));
  cr_assert(strstr(text, "its deadline of 200 ms has passed; near: sample"),
            "%s", text);
  cr_assert(strstr(text, "422: no; far: has not answered"), "%s", text);
  tinker_future_release(f);
  close_scene(&s);
}

Test(route, the_home_closes) {
  scene_t s;
  open_scene(&s, 0);
  for (int i = 0; i < 2; i++) {
    reply(&s, i, ASAMPLE, (script_reply_t){.delay_ms = -1});
  }
  tinker_future_t *f = begin(&s, NULL);
  pass(&s, 20);
  tinker_future_release(tinker_client_close(s.rig[0].client, NULL));
  pass(&s, 100);
  check_failed(&s, f, TINKER_ECLOSED);
  cr_assert_eq(script_parked(s.rig[1].script), 0u);
  tinker_future_release(f);
  f = tinker_route_sample(s.route, s.prompt, NULL, NULL);
  cr_assert_eq(tinker_future_status(f), TINKER_ECLOSED);
  tinker_future_release(f);
  close_scene(&s);
}

/* Another client closes before it is asked, or meanwhile: it has failed. */
Test(route, another_client_closes) {
  for (int asked_before = 0; asked_before < 2; asked_before++) {
    scene_t s;
    open_scene(&s, asked_before ? 0 : -1);
    reply(
        &s, 0, ASAMPLE,
        (script_reply_t){.delay_ms = 500, .status = 422, .body = DETAIL("no")});
    reply(&s, 1, ASAMPLE, (script_reply_t){.delay_ms = -1});
    tinker_future_t *f = begin(&s, NULL);
    pass(&s, 20);
    tinker_future_release(tinker_client_close(s.rig[1].client, NULL));
    pass(&s, 100);
    cr_assert_eq(s.seen.calls, 0);
    pass(&s, 500);
    const tinker_error_t *e = check_failed(&s, f, TINKER_ECLOSED);
    cr_assert(strstr(tinker_error_message(e), "422: no; far: "));
    cr_assert_eq(asked(&s, 1), asked_before ? 1u : 0u);
    tinker_future_release(f);
    close_scene(&s);
  }
}

Test(route, a_drain_of_the_home_waits) {
  scene_t s;
  open_scene(&s, -1);
  reply(&s, 0, ASAMPLE, (script_reply_t){.status = 422, .body = DETAIL("no")});
  reply(&s, 1, ASAMPLE, (script_reply_t){.delay_ms = 500, .body = ACCEPTED});
  tinker_future_t *f = begin(&s, NULL);
  pass(&s, 20);
  tinker_future_t *d = tinker_client_drain(s.rig[0].client, NULL);
  pass(&s, 300);
  cr_assert_eq(tinker_future_status(d), TINKER_EAGAIN);
  pass(&s, 500);
  check_from(&s, f, 1);
  cr_assert_eq(tinker_future_status(d), 0);
  tinker_future_release(d);
  close_scene(&s);
}

/* --- refusals --- */

static void check_new(const tinker_route_source_t *sources, size_t n,
                      int64_t beside_ms, const char *text) {
  tinker_route_t *route = NULL;
  tinker_error_t *error = NULL;
  tinker_route_options_t o;
  tinker_route_options_init(&o);
  o.beside_ms = beside_ms;
  cr_assert_eq(tinker_route_new(&route, sources, n, &o, &error), TINKER_EINVAL);
  cr_assert_str_eq(tinker_error_message(error), text);
  cr_assert_null(route);
  tinker_error_release(error);
}

Test(route, what_is_refused) {
  scene_t s;
  size_t at;
  open_scene(&s, -1);
  tinker_route_source_t nameless = {NULL, s.sampler[0]}, nothing = {"a", NULL};
  tinker_route_source_t fine = {"a", s.sampler[0]};
  check_new(&nameless, 1, -1, "sources[0]: name is NULL");
  check_new(&nothing, 1, -1, "sources[0]: sampler is NULL");
  check_new(&fine, 0, -1, "sources: there are 0: want 1 to 64");
  check_new(NULL, 5, -1, "sources: there are 0: want 1 to 64");
  check_new(&fine, 1, -2, "beside_ms is -2: want milliseconds, or -1");
  cr_assert_eq(tinker_route_new(NULL, &fine, 1, NULL, NULL), TINKER_EINVAL);
  tinker_future_t *f = tinker_route_sample(s.route, NULL, NULL, NULL);
  cr_assert_eq(tinker_future_status(f), TINKER_EINVAL);
  cr_assert_str_eq(tinker_error_message(tinker_future_error(f)),
                   "route_sample: prompt is NULL");
  tinker_future_release(f);
  cr_assert_eq(
      tinker_future_status(tinker_route_sample(NULL, s.prompt, NULL, NULL)),
      TINKER_EINVAL);
  f = tinker_sampler_sample(s.sampler[0], s.prompt, NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_source(f, &at, NULL), TINKER_EINVAL);
  tinker_future_release(f);
  cr_assert_eq(tinker_future_get_source(NULL, &at, NULL), TINKER_EINVAL);
  cr_assert(asked(&s, 1) == 0);
  close_scene(&s);
}

/* --- memory --- */

/* One allocation of either client fails: the sample ends once. */
static void sweep(int which, bool routes) {
  bool more = true;
  for (uint64_t n = 1; more; n++) {
    scene_t s;
    open_scene(&s, 0);
    tinker__mem_t *mem = &s.rig[which].mem;
    reply(&s, 0, ASAMPLE,
          (script_reply_t){.status = 422, .body = DETAIL("no")});
    if (routes) s.route = tinker_route_release(s.route);
    mem->fail_at = atomic_load(&mem->count) + n;
    int made = routes ? new_route(&s, 0) : 0;
    cr_assert(made == 0 || made == TINKER_ENOMEM);
    if (made == 0) {
      tinker_future_t *f = begin(&s, NULL);
      for (int i = 0; i < 400; i++) {
        fake_loop_advance(&s.rig[0].loop, 1000);
        fake_loop_advance(&s.rig[1].loop, 1000);
      }
      cr_assert_eq(s.seen.calls, tinker_future_runs_callback(f), "round %d",
                   (int)n);
      int rc = tinker_future_status(f);
      cr_assert(rc == 0 || rc == TINKER_ENOMEM || rc == TINKER_EREJECTED,
                "round %d: %d", (int)n, rc);
      tinker_future_release(f);
    }
    more = atomic_load(&mem->count) >= mem->fail_at;
    mem->fail_at = 0;
    close_scene(&s);
  }
}

Test(route, memory_sweep, .timeout = 60) {
  sweep(0, true);
  sweep(0, false);
  sweep(1, false);
}

/* --- threads --- */

/* Two clients with threads of their own answer at the same time, and one of
 * them closes meanwhile. */
Test(route, two_threads_answer_at_once, .timeout = 60) {
  enum { SAMPLES = 200 };
  scene_t s = {.route = NULL};
  tinker_future_t *f[SAMPLES];
  for (int i = 0; i < 2; i++) {
    rig_init_threads(&s.rig[i]);
    cr_assert_eq(rig_client(&s.rig[i]), 0);
    s.sampler[i] = rig_sampler(&s.rig[i]);
  }
  cr_assert_eq(new_route(&s, 0), 0);
  cr_assert_eq(tinker_input_from_tokens(&s.prompt, (const int32_t[]){1, 2}, 2,
                                        NULL, NULL),
               0);
  for (int i = 0; i < SAMPLES; i++) {
    f[i] = tinker_route_sample(s.route, s.prompt, NULL, NULL);
    if (i == SAMPLES / 2) {
      tinker_future_release(tinker_client_close(s.rig[1].client, NULL));
    }
  }
  for (int i = 0; i < SAMPLES; i++) {
    cr_assert_eq(tinker_future_wait(f[i], 60000), 0, "%d: %s", i,
                 tinker_error_message(tinker_future_error(f[i])));
    tinker_future_release(f[i]);
  }
  close_scene(&s);
}
