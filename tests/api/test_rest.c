/* Runs, checkpoints and sessions: what is asked, what the answers become, and
 * how changes are repeated. */
#include "rest.h"

#define TRAINING                                                               \
  "{\"checkpoint_id\":\"weights/step-1\",\"checkpoint_type\":\"training\","    \
  "\"time\":\"2026-11-21T00:03:00Z\",\"tinker_path\":\"" PATH "\","            \
  "\"size_bytes\":1000,\"public\":true,\"user_metadata\":{\"epoch\":\"3\","    \
  "\"depth\":{\"a\":1},\"odd\":\"\\u0000\",\"q\":\"\\\"\"},\"expires_at\":"    \
  "\"2026-11-22T00:00:00.25+00:00\",\"pending_gradients_not_saved\":true,"     \
  "\"shard_count\":4}"
#define BARE                                                                   \
  "{\"checkpoint_id\":\"s1\",\"checkpoint_type\":\"quantized\",\"time\":"      \
  "\"2026-11-21T03:02:44.959979\",\"tinker_path\":\"tinker://m/weights/s1\"}"

/* --- what is asked --- */

static void ask_page(const tinker_page_t *page, const char *runs,
                     const char *checkpoints, const char *sessions) {
  expect_get(runs, "{\"training_runs\":[],\"cursor\":{}}");
  expect_get(checkpoints, "{\"checkpoints\":[]}");
  expect_get(sessions, "{\"sessions\":[]}");
  tinker_future_release(well(tinker_client_list_runs(rig.client, page, NULL),
                             TINKER_KIND_LIST_RUNS));
  tinker_future_release(
      well(tinker_client_list_checkpoints(rig.client, page, NULL),
           TINKER_KIND_LIST_CHECKPOINTS));
  tinker_future_release(
      well(tinker_client_list_sessions(rig.client, page, NULL),
           TINKER_KIND_LIST_SESSIONS));
}

/* As the official client asks. */
Test(rest, pages) {
  tinker_page_t page;
  begin();
  ask_page(NULL, RUNS "?limit=20&offset=0&access_scope=owned",
           "api/v1/checkpoints?limit=100&offset=0",
           "api/v1/sessions?limit=20&offset=0&access_scope=owned");
  tinker_page_init(&page);
  page.offset = INT64_MAX;
  page.limit = 7;
  ask_page(&page, RUNS "?limit=7&offset=9223372036854775807&access_scope=owned",
           "api/v1/checkpoints?limit=7&offset=9223372036854775807",
           "api/v1/sessions?limit=7&offset=9223372036854775807"
           "&access_scope=owned");
  end();
}

/* What may not stand in a path as it is, is escaped. */
Test(rest, names_are_escaped) {
  static const struct {
    const char *id, *escaped;
  } rows[] = {{RUN, RUN},
              {"a b", "a%20b"},
              {"50%", "50%25"},
              {"%2e%2e", "%252e%252e"},
              {"a?b#c", "a%3Fb%23c"},
              {"a\\b\"<>|", "a%5Cb%22%3C%3E%7C"},
              {"\xc3\xa4", "%C3%A4"},
              {"...", "..."},
              {"a:b@c;d=e,f+g&h!$'()*~", "a:b@c;d=e,f+g&h!$'()*~"}};
  begin();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char path[200], target[200];
    snprintf(path, sizeof path, "tinker://%s/sampler_weights/%s", rows[i].id,
             rows[i].id);
    snprintf(target, sizeof target, RUNS "/%s/checkpoints/sampler_weights/%s",
             rows[i].escaped, rows[i].escaped);
    expect(TINKER__HTTP_DELETE, target, (script_reply_t){.status = 204});
    tinker_future_release(
        well(tinker_client_delete_checkpoint(rig.client, path, NULL),
             TINKER_KIND_DELETE_CHECKPOINT));
    snprintf(target, sizeof target, "api/v1/sessions/%s?access_scope=owned",
             rows[i].escaped);
    expect_get(target, "{\"training_run_ids\":[],\"sampler_ids\":[]}");
    tinker_future_release(
        well(tinker_client_get_session(rig.client, rows[i].id, NULL),
             TINKER_KIND_GET_SESSION));
  }
  end();
}

/* --- what the answers become --- */

static void check_training(const tinker_checkpoint_t *c) {
  cr_assert_str_eq(c->path, PATH);
  cr_assert_str_eq(c->checkpoint_id, "weights/step-1");
  cr_assert_eq(c->type, TINKER_CHECKPOINT_TRAINING);
  cr_assert_eq(c->is_public, 1);
  cr_assert_eq(c->created_ms, 1795219380000);
  cr_assert_eq(c->expires_ms, 1795305600250);
  cr_assert_eq(c->size_bytes, 1000);
  cr_assert_eq(c->lacks_gradients, 1);
  static const char *const metadata[][2] = {{"epoch", "3"},
                                            {"depth", "{\"a\":1}"},
                                            {"odd", "\"\\u0000\""},
                                            {"q", "\""}};
  cr_assert_eq(c->metadata_count, 4u);
  for (size_t i = 0; i < 4; i++) {
    cr_assert_str_eq(c->metadata[i].name, metadata[i][0]);
    cr_assert_str_eq(c->metadata[i].value, metadata[i][1]);
  }
}

static void check_bare(const tinker_checkpoint_t *c) {
  cr_assert_str_eq(c->path, "tinker://m/weights/s1");
  cr_assert_str_eq(c->checkpoint_id, "s1");
  cr_assert_eq(c->type, TINKER_CHECKPOINT_OTHER);
  cr_assert_eq(c->is_public, 0);
  cr_assert_eq(c->created_ms, 1795230164959);
  cr_assert_eq(c->expires_ms, TINKER_NO_TIME);
  cr_assert_eq(c->size_bytes, -1);
  cr_assert_eq(c->lacks_gradients, -1);
  cr_assert_null(c->metadata);
  cr_assert_eq(c->metadata_count, 0u);
}

Test(rest, a_run) {
  const tinker_training_run_t *r = NULL;
  begin();
  expect_get(RUNS "/" RUN "?access_scope=owned",
             "{\"training_run_id\":\"" RUN "\",\"base_model\":\"tiny\","
             "\"model_owner\":\"ada\",\"is_lora\":true,\"corrupted\":true,"
             "\"lora_rank\":8,\"last_request_time\":\"2026-11-21T00:02:00Z\","
             "\"last_checkpoint\":" TRAINING ",\"last_sampler_checkpoint\":"
             "null,\"user_metadata\":{},\"new\":[{}]}");
  tinker_future_t *f =
      well(tinker_client_get_run(rig.client, RUN, NULL), TINKER_KIND_GET_RUN);
  cr_assert_eq(tinker_future_get_run(f, &r), 0);
  cr_assert_str_eq(r->run_id, RUN);
  cr_assert_str_eq(r->base_model, "tiny");
  cr_assert_str_eq(r->owner, "ada");
  cr_assert(r->is_lora == 1 && r->corrupted == 1 && r->lora_rank == 8);
  cr_assert_eq(r->corrupted_known, 1);
  cr_assert_eq(r->last_request_ms, 1795219320000);
  check_training(r->last_checkpoint);
  cr_assert_null(r->last_sampler_checkpoint);
  cr_assert_eq(r->metadata_count, 0u);
  tinker_future_release(f);
  end();
}

Test(rest, a_list_of_runs) {
  const tinker_training_run_list_t *l = NULL;
  begin();
  expect_get(
      RUNS "?*",
      "{\"training_runs\":[{\"training_run_id\":\"m\",\"base_model\":"
      "\"t\"},{\"training_run_id\":\"n\",\"base_model\":\"t\",\"is_lora\""
      ":false,\"corrupted\":false,\"last_sampler_checkpoint\":" BARE
      ",\"user_metadata\":"
      "{\"k\":\"v\"}}],\"cursor\":{\"offset\":1,\"limit\":2,"
      "\"total_count\":9}}");
  tinker_future_t *f = well(tinker_client_list_runs(rig.client, NULL, NULL),
                            TINKER_KIND_LIST_RUNS);
  cr_assert_eq(tinker_future_get_run_list(f, &l), 0);
  cr_assert(l->count == 2 && l->offset == 1 && l->total_count == 9);
  const tinker_training_run_t *r = l->runs;
  cr_assert_str_eq(r[0].owner, "");
  cr_assert(r[0].is_lora == -1 && r[0].lora_rank == 0 && !r[0].corrupted);
  cr_assert_eq(r[0].corrupted_known, 0); /* F90 */
  cr_assert_eq(r[0].last_request_ms, TINKER_NO_TIME);
  cr_assert_null(r[0].last_checkpoint);
  cr_assert(r[1].is_lora == 0 && !r[1].corrupted);
  cr_assert_eq(r[1].corrupted_known, 1);
  check_bare(r[1].last_sampler_checkpoint);
  cr_assert_eq(r[1].metadata_count, 1u);
  cr_assert_str_eq(r[1].metadata[0].value, "v");
  tinker_future_release(f);
  end();
}

Test(rest, checkpoints) {
  const tinker_checkpoint_list_t *l = NULL;
  begin();
  expect_get(RUNS "/m/checkpoints",
             "{\"checkpoints\":[" BARE "," TRAINING "]}");
  tinker_future_t *f =
      well(tinker_client_list_run_checkpoints(rig.client, "m", NULL),
           TINKER_KIND_LIST_RUN_CHECKPOINTS);
  cr_assert_eq(tinker_future_get_checkpoint_list(f, &l), 0);
  cr_assert(l->count == 2 && l->offset == 0 && l->total_count == -1);
  check_bare(&l->checkpoints[0]);
  check_training(&l->checkpoints[1]);
  tinker_future_release(f);
  expect_get("api/v1/checkpoints?*",
             "{\"checkpoints\":[" TRAINING "],\"cursor\":{\"offset\":4,"
             "\"limit\":1}}");
  f = well(tinker_client_list_checkpoints(rig.client, NULL, NULL),
           TINKER_KIND_LIST_CHECKPOINTS);
  cr_assert_eq(tinker_future_get_checkpoint_list(f, &l), 0);
  cr_assert(l->count == 1 && l->offset == 4 && l->total_count == -1);
  check_training(&l->checkpoints[0]);
  tinker_future_release(f);
  end();
}

/* The list has no pages, so nothing but the reply's size bounds it. */
Test(rest, many_checkpoints_of_a_run) {
  enum { MANY = 5000 };
  const tinker_checkpoint_list_t *l = NULL;
  size_t size = MANY * sizeof BARE + 64;
  char *body = malloc(size), *at = body;
  must(body);
  at += snprintf(at, size, "{\"checkpoints\":[");
  for (int i = 0; i < MANY; i++) {
    at += snprintf(at, sizeof BARE + 1, "%s%s", i ? "," : "", BARE);
  }
  memcpy(at, "]}", 3);
  begin();
  expect_get(RUNS "/m/checkpoints", body);
  tinker_future_t *f =
      well(tinker_client_list_run_checkpoints(rig.client, "m", NULL),
           TINKER_KIND_LIST_RUN_CHECKPOINTS);
  cr_assert_eq(tinker_future_get_checkpoint_list(f, &l), 0);
  cr_assert_eq(l->count, (size_t)MANY);
  check_bare(&l->checkpoints[MANY - 1]);
  tinker_future_release(f);
  end();
  free(body);
}

Test(rest, weights_info) {
  const tinker_weights_info_t *w = NULL;
  begin();
  expect(TINKER__HTTP_POST, "api/v1/weights_info",
         (script_reply_t){
             .body =
                 "{\"base_model\":\"tiny\",\"is_lora\":true,\"lora_rank\":8,"
                 "\"train_unembed\":false,\"train_mlp\":true,"
                 "\"optimizer_config\":{\"type\":\"adamw\"}}"});
  tinker_future_t *f = well(tinker_client_weights_info(rig.client, PATH, NULL),
                            TINKER_KIND_WEIGHTS_INFO);
  cr_assert_str_eq(rig_request(&rig, "api/v1/weights_info", 0)->body,
                   "{\"tinker_path\":\"" PATH "\"}");
  cr_assert_eq(tinker_future_get_weights_info(f, &w), 0);
  cr_assert_str_eq(w->base_model, "tiny");
  cr_assert_str_eq(w->optimizer_config, "{\"type\":\"adamw\"}");
  cr_assert(w->is_lora == 1 && w->lora_rank == 8);
  cr_assert(w->train_attention == -1 && w->train_mlp == 1 &&
            w->train_unembed == 0);
  tinker_future_release(f);
  expect(TINKER__HTTP_POST, "api/v1/weights_info",
         (script_reply_t){.body = "{\"base_model\":\"t\",\"is_lora\":false}"});
  f = well(tinker_client_weights_info(rig.client, "tinker://m/s1", NULL),
           TINKER_KIND_WEIGHTS_INFO);
  cr_assert_eq(tinker_future_get_weights_info(f, &w), 0);
  cr_assert_str_eq(w->optimizer_config, "");
  cr_assert(w->is_lora == 0 && w->lora_rank == 0);
  tinker_future_release(f);
  end();
}

Test(rest, sessions) {
  const tinker_session_list_t *l = NULL;
  const tinker_session_info_t *s = NULL;
  begin();
  expect_get("api/v1/sessions?*", "{\"sessions\":[\"s2\",\"s1\"]}");
  tinker_future_t *f = well(tinker_client_list_sessions(rig.client, NULL, NULL),
                            TINKER_KIND_LIST_SESSIONS);
  cr_assert_eq(tinker_future_get_session_list(f, &l), 0);
  cr_assert_eq(l->count, 2u);
  cr_assert_str_eq(l->session_ids[1], "s1");
  tinker_future_release(f);
  expect_get("api/v1/sessions/s1?access_scope=owned",
             "{\"training_run_ids\":[\"a\",\"b\"],\"sampler_ids\":[\"c\"],"
             "\"user_metadata\":{\"owner\":\"ada\"},\"display_name\":\"n\"}");
  f = well(tinker_client_get_session(rig.client, "s1", NULL),
           TINKER_KIND_GET_SESSION);
  cr_assert_eq(tinker_future_get_session(f, &s), 0);
  cr_assert(s->run_count == 2 && s->sampler_count == 1);
  cr_assert_str_eq(s->run_ids[1], "b");
  cr_assert_str_eq(s->sampler_ids[0], "c");
  cr_assert_str_eq(s->display_name, "n");
  cr_assert_str_eq(s->metadata[0].name, "owner");
  cr_assert_eq(tinker_future_get_session_list(f, &l), TINKER_EINVAL);
  tinker_future_release(f);
  end();
}

/* A reply that is not understood is an error that names the field; asking again
 * would do no harm, so nothing is said of an unknown outcome. */
Test(rest, replies_that_are_not_understood) {
  static const struct {
    const char *body, *words;
  } rows[] = {
      {"[]", "JSON object"},
      {"{\"checkpoints\":{}}", "checkpoints"},
      {"{}", "checkpoints"},
      {"{\"checkpoints\":[{\"checkpoint_id\":\"a\"}]}", "checkpoints[0]."},
      {"{\"checkpoints\":[{\"checkpoint_id\":\"a\",\"checkpoint_type\":\"b\","
       "\"tinker_path\":\"p\",\"expires_at\":\"soon\"}]}",
       "expires_at is \"soon\""},
      {"{\"checkpoints\":[{\"checkpoint_id\":\"a\",\"checkpoint_type\":\"b\","
       "\"tinker_path\":\"p\",\"time\":\"2026-02-30T00:00:00Z\"}]}",
       "time is \"2026-02-30T00:00:00Z\""},
      {"{\"checkpoints\":[{\"checkpoint_id\":\"a\",\"checkpoint_type\":\"b\","
       "\"tinker_path\":\"p\",\"user_metadata\":[1]}]}",
       "user_metadata"}};
  begin();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    expect_get(RUNS "/m/checkpoints", rows[i].body);
    tinker_future_t *f =
        badly(tinker_client_list_run_checkpoints(rig.client, "m", NULL),
              TINKER_EPROTO);
    cr_assert(says(f, rows[i].words), "%s", rows[i].body);
    cr_assert_not(tinker_error_outcome_is_unknown(tinker_future_error(f)));
    tinker_future_release(f);
  }
  end();
}

/* --- refusals and repetitions --- */

/* What the service does not have, in its own words and in those of others. */
Test(rest, what_is_not_there) {
  static const struct {
    int status;
    const char *body;
    int code;
  } rows[] = {{404, DETAIL("training run not found: m"), TINKER_ENOENT},
              {404, DETAIL("Model not found"), TINKER_ENOENT},
              {404, DETAIL("session not found: m"), TINKER_ENOENT},
              {410, DETAIL("deleted"), TINKER_ENOENT},
              {404, DETAIL("Not Found"), TINKER_ENOTSUP},
              {405, DETAIL("Method Not Allowed"), TINKER_ENOTSUP},
              {401, DETAIL("bad key"), TINKER_EAUTH},
              {422, DETAIL("limit"), TINKER_EREJECTED}};
  begin();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    script_reply_t reply = {.status = rows[i].status, .body = rows[i].body};
    expect(TINKER__HTTP_GET, RUNS "/m?*", reply);
    expect(TINKER__HTTP_GET, "api/v1/sessions/m?*", reply);
    expect(TINKER__HTTP_DELETE, CHECKPOINT, reply);
    expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl", reply);
    tinker_future_t *f[] = {
        tinker_client_get_run(rig.client, "m", NULL),
        tinker_client_get_session(rig.client, "m", NULL),
        tinker_client_delete_checkpoint(rig.client, PATH, NULL),
        tinker_client_set_checkpoint_ttl(rig.client, PATH, 3600, NULL)};
    for (size_t k = 0; k < 4; k++) {
      badly(f[k], rows[i].code);
      const tinker_error_t *e = tinker_future_error(f[k]);
      cr_assert_not(tinker_error_outcome_is_unknown(e), "%zu %zu", i, k);
      cr_assert_not(tinker_error_needs_recovery(e), "%zu %zu", i, k);
      tinker_future_release(f[k]);
    }
  }
  end();
}

/* The second request finds nothing: the first one may have deleted it, which is
 * what was asked for; or it can't have, and the checkpoint was never there. */
Test(rest, a_deletion_whose_reply_is_lost) {
  begin();
  for (size_t i = 0; i < LOSSES; i++) {
    expect(TINKER__HTTP_DELETE, CHECKPOINT, losses[i].reply);
    expect(TINKER__HTTP_DELETE, CHECKPOINT,
           (script_reply_t){.status = 404,
                            .body = DETAIL("Checkpoint not found")});
    size_t before = rig_count(&rig, CHECKPOINT);
    tinker_future_t *f =
        tinker_client_delete_checkpoint(rig.client, PATH, NULL);
    int code = tinker_future_wait(f, 1000000);
    cr_assert_eq(code, losses[i].done ? 0 : TINKER_ENOENT, "%zu: %s", i,
                 tinker_error_message(tinker_future_error(f)));
    cr_assert_eq(rig_count(&rig, CHECKPOINT), before + 2);
    tinker_future_release(f);
  }
  end();
}

/* A service that can't answer a deletion at all does not make it a success. */
Test(rest, a_deletion_without_an_end) {
  begin();
  for (int i = 0; i < 64; i++) {
    expect(TINKER__HTTP_DELETE, CHECKPOINT,
           (script_reply_t){.status = 503, .body = DETAIL("x")});
  }
  tinker_future_t *f = badly(
      tinker_client_delete_checkpoint(rig.client, PATH, NULL), TINKER_ESERVER);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  cr_assert_not(tinker_error_is_retriable(tinker_future_error(f)));
  cr_assert_geq(rig_count(&rig, CHECKPOINT), 10u);
  tinker_future_release(f);
  rig_done(&rig);
}

/* The same request until it is answered; null keeps a checkpoint for ever. */
Test(rest, a_time_to_live) {
  static const struct {
    int64_t ttl;
    const char *body;
  } rows[] = {{3600, "{\"ttl_seconds\":3600}"},
              {315360000, "{\"ttl_seconds\":315360000}"},
              {TINKER_NO_TTL, "{\"ttl_seconds\":null}"}};
  size_t sent = 0;
  begin();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (size_t k = 0; k < LOSSES; k++) {
      expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl", losses[k].reply);
      expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl",
             (script_reply_t){.status = 204});
      tinker_future_release(well(
          tinker_client_set_checkpoint_ttl(rig.client, PATH, rows[i].ttl, NULL),
          TINKER_KIND_SET_CHECKPOINT_TTL));
      for (int n = 0; n < 2; n++) {
        cr_assert_str_eq(rig_request(&rig, CHECKPOINT "/ttl", sent++)->body,
                         rows[i].body);
      }
    }
  }
  end();
}

/* After a request that may have arrived, a refusal does not say what has become
 * of that one. */
Test(rest, a_refusal_after_a_lost_reply) {
  begin();
  expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl", losses[0].reply);
  expect(TINKER__HTTP_PUT, CHECKPOINT "/ttl",
         (script_reply_t){.status = 401, .body = DETAIL("revoked")});
  tinker_future_t *f =
      badly(tinker_client_set_checkpoint_ttl(rig.client, PATH, 3600, NULL),
            TINKER_EAUTH);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  tinker_future_release(f);
  end();
}

/* Nothing is sent for somebody who does not wait any more. */
Test(rest, canceled) {
  tinker_future_t *f;
  begin();
  expect(TINKER__HTTP_DELETE, CHECKPOINT, losses[2].reply);
  f = tinker_client_delete_checkpoint(rig.client, PATH, NULL);
  rig_run(&rig);
  cr_assert_eq(rig_count(&rig, CHECKPOINT), 1u);
  tinker_future_cancel(f);
  badly(f, TINKER_ECANCELED);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  fake_loop_advance(&rig.loop, 400000);
  cr_assert_eq(rig_count(&rig, CHECKPOINT), 1u);
  tinker_future_release(f);
  end();
}
