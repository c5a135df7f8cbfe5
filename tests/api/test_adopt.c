/* Going on with the session, trainers and creations of another process. */
#include "heir.h"

/* --- the session --- */

/* Nothing is created, it is beaten at once, and no end of the client finishes
 * it; models and samplers get numbers of the client's own block. */
Test(adopt, session) {
  heir_t h;
  begin(&h, 3);
  cr_assert_eq(rig_client(&h.rig), 0);
  tinker_trainer_release(rig_trainer(&h.rig));
  tinker_sampler_release(rig_sampler(&h.rig));
  tinker_sampler_release(rig_sampler(&h.rig));
  fake_loop_advance(&h.rig.loop, 1);
  cr_assert_eq(rig_count(&h.rig, SESSION), 0u);
  cr_assert(says(rig_request(&h.rig, BEAT, 0), "\"session_id\":\"s7\""));
  cr_assert(says(rig_request(&h.rig, CREATE, 0), "\"session_id\":\"s7\""));
  cr_assert(
      says(rig_request(&h.rig, CREATE, 0), "\"model_seq_id\":3000000000"));
  cr_assert(says(rig_request(&h.rig, SAMPLING, 0),
                 "\"sampling_session_seq_id\":3000000000"));
  cr_assert(says(rig_request(&h.rig, SAMPLING, 1),
                 "\"sampling_session_seq_id\":3000000001"));
  char id[8];
  cr_assert_eq(tinker_client_session_id(h.rig.client, id, sizeof id), 0);
  cr_assert_str_eq(id, "s7");
  cr_assert_eq(code_of(tinker_client_drain(h.rig.client, NULL)), 0);
  cr_assert_eq(rig_count(&h.rig, FINISH), 0u);
  end(&h);
}

Test(adopt, given_numbers_and_no_heartbeat) {
  heir_t h;
  begin(&h, -1);
  h.adopt.model_seq_id = 4;
  h.adopt.sampling_session_seq_id = 9;
  h.adopt.no_heartbeat = 1;
  cr_assert_eq(rig_client(&h.rig), 0);
  tinker_trainer_release(rig_trainer(&h.rig));
  tinker_sampler_release(rig_sampler(&h.rig));
  fake_loop_advance(&h.rig.loop, 60000);
  cr_assert_eq(rig_count(&h.rig, BEAT), 0u);
  cr_assert(says(rig_request(&h.rig, CREATE, 0), "\"model_seq_id\":4"));
  cr_assert(
      says(rig_request(&h.rig, SAMPLING, 0), "\"sampling_session_seq_id\":9"));
  end(&h);
}

/* Only the call finishes it; then it is over for this client as well. */
Test(adopt, finish) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  tinker_sampler_release(rig_sampler(&h.rig));
  cr_assert_eq(code_of(tinker_client_finish_session(h.rig.client, NULL)), 0);
  cr_assert_eq(rig_count(&h.rig, FINISH), 1u);
  cr_assert_eq(code_of(tinker_client_create_sampler(h.rig.client, "m", NULL)),
               TINKER_ESESSION);
  size_t beats = rig_count(&h.rig, BEAT);
  fake_loop_advance(&h.rig.loop, 60000);
  cr_assert_eq(rig_count(&h.rig, BEAT), beats);
  cr_assert_eq(code_of(tinker_client_close(h.rig.client, NULL)), 0);
  cr_assert_eq(rig_count(&h.rig, FINISH), 1u);
  end(&h);
}

/* A client's own session is finished once, by the call or by the close. */
Test(adopt, finish_of_an_own_session) {
  rig_t rig;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  cr_assert_eq(code_of(tinker_client_finish_session(rig.client, NULL)), 0);
  cr_assert_eq(code_of(tinker_client_close(rig.client, NULL)), 0);
  cr_assert_eq(rig_count(&rig, "api/v1/sessions/s1/finish"), 1u);
  rig_done(&rig);
}

static void refused(tinker_adoption_t adopt, const char *words) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  o.base_url = "http://127.0.0.1:9";
  o.api_key = "tml-x";
  o.adopt = &adopt;
  cr_assert_eq(tinker_client_new(&client, &o, &error), TINKER_EINVAL);
  cr_assert(strstr(tinker_error_message(error), words), "%s",
            tinker_error_message(error));
  tinker_error_release(error);
}

/* Never from 0 by itself. */
Test(adopt, options) {
  tinker_adoption_t a = TINKER_ADOPTION_INIT;
  refused(a, "adopt.session_id is NULL");
  a.session_id = "a/b";
  refused(a, "adopt.session_id is not one");
  a.session_id = "s7";
  refused(a, "want incarnation, or both");
  a.model_seq_id = 1;
  refused(a, "want incarnation, or both");
  a.incarnation = 0;
  refused(a, "adopt.incarnation is 0: want 1 to 1000000000");
  a.incarnation = 1;
  a.model_seq_id = -2;
  refused(a, "adopt.model_seq_id is -2");
  a.model_seq_id = -1;
  a.no_heartbeat = 2;
  refused(a, "adopt.no_heartbeat is 2: want 0 to 1");
}

/* --- sessions of others --- */

static size_t beats_of(const heir_t *h, const char *mark) {
  size_t n = 0;
  const script_request_t *q;
  for (size_t i = 0; (q = rig_request(&h->rig, BEAT, i)); i++) {
    n += says(q, mark);
  }
  return n;
}

/* Each in its own time, whether the client has a session or not; named twice it
 * is beaten once; one that has ended is left. */
Test(adopt, beats_further_sessions) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x1", 1), 0);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x1", 1), 0);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x2", 1), 0);
  fake_loop_advance(&h.rig.loop, 25000);
  cr_assert_eq(beats_of(&h, "\"x1\""), 3u);
  cr_assert_eq(beats_of(&h, "\"x2\""), 3u);
  cr_assert_eq(beats_of(&h, "\"s7\""), 0u);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x1", 0), 0);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x3", 0), 0);
  script_expect(
      h.rig.script, TINKER__HTTP_POST, BEAT,
      (script_reply_t){.status = 410, .body = "{\"detail\":\"over\"}"});
  fake_loop_advance(&h.rig.loop, 60000);
  cr_assert_eq(beats_of(&h, "\"x1\""), 3u);
  cr_assert_eq(beats_of(&h, "\"x2\""), 4u);
  cr_assert(strstr(h.rig.log_line, "session x2"), "%s", h.rig.log_line);
  end(&h);
}

/* Stopped, and closed, while a beat hangs. */
Test(adopt, a_hanging_beat) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  for (int i = 0; i < 2; i++) {
    script_expect(h.rig.script, TINKER__HTTP_POST, BEAT,
                  (script_reply_t){.delay_ms = -1});
  }
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x1", 1), 0);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x2", 1), 0);
  fake_loop_advance(&h.rig.loop, 1);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x1", 0), 0);
  cr_assert_eq(tinker_client_beat_session(h.rig.client, "x1", 1), 0);
  fake_loop_advance(&h.rig.loop, 1);
  cr_assert_eq(beats_of(&h, "\"x1\""), 2u);
  end(&h);
}

Test(adopt, beat_codes) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  tinker_client_t *c = h.rig.client;
  cr_assert_eq(tinker_client_beat_session(NULL, "x", 1), TINKER_EINVAL);
  cr_assert_eq(tinker_client_beat_session(c, NULL, 1), TINKER_EINVAL);
  cr_assert_eq(tinker_client_beat_session(c, "a/b", 1), TINKER_EINVAL);
  cr_assert_eq(tinker_client_beat_session(c, "x", 2), TINKER_EINVAL);
  for (uint64_t n = 1; n <= 2; n++) {
    atomic_store(&h.rig.mem.fail_at, atomic_load(&h.rig.mem.count) + n);
    cr_assert_eq(tinker_client_beat_session(c, "x", 1), TINKER_ENOMEM);
  }
  atomic_store(&h.rig.mem.fail_at, 0);
  tinker_future_release(tinker_client_close(c, NULL));
  cr_assert_eq(tinker_client_beat_session(c, "x", 1), TINKER_ECLOSED);
  end(&h);
}

/* --- a trainer --- */

Test(adopt, trainer_goes_on) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  adopt_trainer(&h, 41);
  cr_assert_str_eq(tinker_trainer_model_id(h.trainer), "s7:train:0");
  cr_assert_eq(code_of(tinker_trainer_optim_step(h.trainer, NULL, NULL)), 0);
  cr_assert_eq(rig_seq(rig_request(&h.rig, OPTIM, 0)), 41);
  cr_assert_eq(code_of(tinker_client_adopt_trainer(h.rig.client, "a", 0, NULL)),
               TINKER_EINVAL);
  cr_assert_eq(
      code_of(tinker_client_adopt_trainer(h.rig.client, NULL, 1, NULL)),
      TINKER_EINVAL);
  cr_assert_eq(
      code_of(tinker_client_adopt_trainer(h.rig.client, "a/b", 1, NULL)),
      TINKER_EINVAL);
  end(&h);
}

/* The model is gone: no handle refuses calls because of it. */
Test(adopt, a_trainer_that_is_gone) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  script_expect(h.rig.script, TINKER__HTTP_POST, INFO,
                (script_reply_t){.status = 404,
                                 .body = "{\"detail\":\"model not found\"}"});
  tinker_future_t *f =
      tinker_client_adopt_trainer(h.rig.client, "s7:train:0", 1, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_ENOENT);
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert(tinker_error_needs_recovery(e) && !tinker_error_is_fatal(e));
  tinker_future_release(f);
  end(&h);
}

/* --- a sampler --- */

/* It is asked for, and its samples have the numbers of this process. */
Test(adopt, sampler_goes_on) {
  const int64_t block = INT64_C(3000000000);
  heir_t h;
  begin(&h, 3);
  cr_assert_eq(rig_client(&h.rig), 0);
  tinker_client_t *c = h.rig.client;
  tinker_sampler_t *sampler;
  tinker_input_t *prompt;
  const int32_t token = 1;
  tinker_future_t *f =
      tinker_client_adopt_sampler(c, "s7:sample:4", block, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_ADOPT_SAMPLER);
  cr_assert_str_eq(tinker_kind_name(tinker_future_kind(f)), "adopt_sampler");
  cr_assert_eq(tinker_future_get_sampler(f, &sampler), 0);
  tinker_future_release(f);
  cr_assert_eq(rig_count(&h.rig, "api/v1/samplers/s7:sample:4"), 1u);
  cr_assert_str_eq(tinker_sampler_id(sampler), "s7:sample:4");
  cr_assert_eq(tinker_input_from_tokens(&prompt, &token, 1, NULL, NULL), 0);
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(code_of(tinker_sampler_sample(sampler, prompt, NULL, NULL)),
                 0);
    const script_request_t *q = rig_request(&h.rig, ASAMPLE, (size_t)i);
    cr_assert_eq(rig_seq(q), block + i);
    cr_assert(says(q, "\"sampling_session_id\":\"s7:sample:4\""));
  }
  tinker_input_release(prompt);
  tinker_sampler_release(sampler);
  script_expect(
      h.rig.script, TINKER__HTTP_GET, "api/v1/samplers/*",
      (script_reply_t){.status = 404,
                       .body = "{\"detail\":\"sampler 'x' not found\"}"});
  cr_assert_eq(code_of(tinker_client_adopt_sampler(c, "x", 0, NULL)),
               TINKER_ENOENT);
  cr_assert_eq(code_of(tinker_client_adopt_sampler(c, "x", -1, NULL)),
               TINKER_EINVAL);
  cr_assert_eq(code_of(tinker_client_adopt_sampler(c, "a/b", 0, NULL)),
               TINKER_EINVAL);
  cr_assert_eq(code_of(tinker_client_adopt_sampler(c, NULL, 0, NULL)),
               TINKER_EINVAL);
  cr_assert_eq(
      tinker_future_status(tinker_client_adopt_sampler(NULL, "x", 0, NULL)),
      TINKER_EINVAL);
  end(&h);
}

/* --- creations --- */

static void creates(heir_t *h, tinker_kind_t kind, tinker_operation_request_t q,
                    const char *id) {
  tinker_trainer_t *trainer;
  tinker_sampler_t *sampler;
  tinker_future_t *f =
      tinker_client_adopt_creation(h->rig.client, kind, &q, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0, "%s",
               tinker_error_message(tinker_future_error(f)));
  cr_assert_eq(tinker_future_kind(f), kind);
  if (kind == TINKER_KIND_CREATE_SAMPLER) {
    cr_assert_eq(tinker_future_get_sampler(f, &sampler), 0);
    cr_assert_str_eq(tinker_sampler_id(sampler), id);
    tinker_sampler_release(sampler);
  } else {
    cr_assert_eq(tinker_future_get_trainer(f, &trainer), 0);
    cr_assert_str_eq(tinker_trainer_model_id(trainer), id);
    cr_assert_eq(code_of(tinker_trainer_optim_step(trainer, NULL, NULL)), 0);
    tinker_trainer_release(trainer);
  }
  tinker_future_release(f);
}

/* Whose request id is known: it is only asked for. The second one's result has
 * no model id, so that follows from its number. */
Test(adopt, creations_by_id) {
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  creates(&h, TINKER_KIND_CREATE_TRAINER,
          (tinker_operation_request_t){"create_model-0-0", NULL, 0, 0, 0},
          "s7:train:0");
  creates(&h, TINKER_KIND_CREATE_TRAINER_FROM_STATE,
          (tinker_operation_request_t){"load_weights-0-0", NULL, 0, 5, 0},
          "s7:train:5");
  cr_assert_eq(rig_count(&h.rig, CREATE), 0u);
  cr_assert_eq(rig_count(&h.rig, LOAD), 0u);
  cr_assert_eq(rig_count(&h.rig, INFO), 2u);
  for (size_t i = 0; i < 2; i++) {
    cr_assert_eq(rig_seq(rig_request(&h.rig, OPTIM, i)), 1);
  }
  end(&h);
}

/* Whose bytes are known: these are sent, and what is new has other numbers. */
Test(adopt, creations_sent_again) {
  static const char body[] = "{\"session_id\":\"s7\",\"model_seq_id\":0}";
  static const struct {
    tinker_kind_t kind;
    const char *path, *id;
  } all[] = {{TINKER_KIND_CREATE_TRAINER, CREATE, "s7:train:0"},
             {TINKER_KIND_CREATE_TRAINER_FROM_STATE, LOAD, "s7:train:0"},
             {TINKER_KIND_CREATE_SAMPLER, SAMPLING, "s7:sample:0"}};
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    creates(&h, all[i].kind,
            (tinker_operation_request_t){NULL, body, sizeof body - 1, 0, 0},
            all[i].id);
    const script_request_t *q = rig_request(&h.rig, all[i].path, 0);
    cr_assert(q && q->body_len == sizeof body - 1 &&
              !memcmp(q->body, body, q->body_len));
  }
  tinker_trainer_release(rig_trainer(&h.rig));
  cr_assert(
      says(rig_request(&h.rig, CREATE, 1), "\"model_seq_id\":1000000000"));
  end(&h);
}

/* A reply that is lost is not asked for again blindly, and a service that wants
 * another way is not given one: nobody knows what the bytes ask for. */
Test(adopt, creations_that_fail) {
  static const script_reply_t replies[] = {
      {.error = TINKER_ETRANSPORT, .sent = true},
      {.status = 422, .body = "{\"detail\":\"body.model_id: required\"}"}};
  tinker_operation_request_t q = {NULL, "{}", 2, 0, 0};
  heir_t h;
  begin(&h, 1);
  cr_assert_eq(rig_client(&h.rig), 0);
  for (size_t i = 0; i < 2; i++) {
    script_expect(h.rig.script, TINKER__HTTP_POST, LOAD, replies[i]);
    tinker_future_t *f = tinker_client_adopt_creation(
        h.rig.client, TINKER_KIND_CREATE_TRAINER_FROM_STATE, &q, NULL);
    cr_assert_eq(tinker_future_wait(f, 60000),
                 i ? TINKER_EREJECTED : TINKER_ETRANSPORT);
    cr_assert_eq(tinker_error_outcome_is_unknown(tinker_future_error(f)), !i);
    tinker_future_release(f);
    cr_assert_eq(rig_count(&h.rig, LOAD), i + 1);
  }
  end(&h);
}

static void no_creation(heir_t *h, tinker_kind_t kind,
                        const tinker_operation_request_t *q,
                        const char *words) {
  tinker_future_t *f =
      tinker_client_adopt_creation(h->rig.client, kind, q, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_EINVAL);
  const char *text = tinker_error_message(tinker_future_error(f));
  cr_assert(strstr(text, words), "%s", text);
  tinker_future_release(f);
}

Test(adopt, creation_codes) {
  const tinker_kind_t model = TINKER_KIND_CREATE_TRAINER;
  heir_t h;
  begin(&h, -1);
  h.adopt.model_seq_id = 2;
  h.adopt.sampling_session_seq_id = 3;
  cr_assert_eq(rig_client(&h.rig), 0);
  tinker_operation_request_t q = {"a", NULL, 0, 1, 0};
  no_creation(&h, TINKER_KIND_FORWARD, &q, "kind is 8, which is not");
  no_creation(&h, model, NULL, "request is NULL");
  no_creation(&h, TINKER_KIND_CREATE_SAMPLER, &q, "want body");
  q.datums = 1;
  no_creation(&h, model, &q, "request.datums is 1");
  q.datums = 0;
  q.seq_id = -1;
  no_creation(&h, model, &q, "request.seq_id is -1: want 0 to");
  q.seq_id = 2;
  no_creation(&h, model, &q, "not below the session's next one");
  no_creation(&h, TINKER_KIND_CREATE_TRAINER_FROM_STATE, &q, "not below");
  q.body = "{}";
  q.body_len = 2;
  no_creation(&h, model, &q, "request has both");
  q.request_id = NULL;
  q.seq_id = 3;
  no_creation(&h, TINKER_KIND_CREATE_SAMPLER, &q, "not below");
  q.body = NULL;
  no_creation(&h, model, &q, "request has neither");
  cr_assert_eq(rig_count(&h.rig, CREATE) + rig_count(&h.rig, SAMPLING), 0u);
  end(&h);
}
