/* Runs, checkpoints and sessions of the local service through the public calls,
 * and changes of checkpoints whose replies are lost. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <tinker/tinker.h>

#include "faulty.h"
#include "support/why.h"

enum { LEN = 6, TIMEOUT_MS = 60000, HOUR_S = 3600 };

typedef struct scene_s {
  faulty_t service;
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  char state[200], weights[200]; /* paths of the two checkpoints */
  char run[100];
} scene_t;

static scene_t s;

static void well(int code, const tinker_future_t *f) {
  cr_assert_eq(code, 0, "%s", tinker_error_message(tinker_future_error(f)));
}

/* The future of a call that ends well. */
static tinker_future_t *await(tinker_future_t *f) {
  well(tinker_future_wait(f, TIMEOUT_MS), f);
  return f;
}

static void done(tinker_future_t *f) {
  tinker_future_release(await(f));
}

static void fails(tinker_future_t *f, int code) {
  int got = tinker_future_wait(f, TIMEOUT_MS);
  cr_assert_eq(got, code, "%s: %s", tinker_code_name(got),
               tinker_error_message(tinker_future_error(f)));
  cr_assert_not(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  tinker_future_release(f);
}

/* Two entries, valid until the next call. */
static const tinker_metadata_t *attached(const char *to) {
  static tinker_metadata_t list[2];
  list[0] = (tinker_metadata_t){"to", to};
  list[1] = (tinker_metadata_t){"wo\"rds\xc3\xbc", "a\nb \xe2\x82\xac"};
  return list;
}

static tinker_client_t *connect_to(const faulty_t *service) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  char why[256] = "";
  o.base_url = service->url;
  o.api_key = "tml-local";
  o.display_name = "rest";
  o.metadata = attached("session");
  o.metadata_count = 2;
  cr_assert_eq(why_client(&client, &o, why, sizeof why), 0, "%s", why);
  return client;
}

static void train(void) {
  int32_t text[LEN + 1];
  tinker_datum_t *datum;
  for (int k = 0; k <= LEN; k++) text[k] = 3 * k + 1;
  cr_assert_eq(
      tinker_datum_new_supervised(&datum, text, NULL, LEN + 1, NULL, NULL), 0);
  done(tinker_trainer_step(s.trainer, &datum, 1, NULL, NULL, NULL));
  tinker_datum_release(datum);
}

/* Where a save has put it. */
static void save(tinker_future_t *f, char *out, size_t out_len) {
  const char *path;
  well(tinker_future_get_path(await(f), &path), f);
  snprintf(out, out_len, "%s", path);
  tinker_future_release(f);
}

/* A trainer with a checkpoint of each kind. */
static void begin(const char *rules) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  tinker_save_options_t ttl = TINKER_SAVE_OPTIONS_INIT;
  s = (scene_t){0};
  faulty_init(&s.service, 1, rules);
  faulty_start(&s.service, NULL, true);
  s.client = connect_to(&s.service);
  o.base_model = "qwen3_tied";
  o.rank = 4;
  o.freeze = TINKER_FREEZE_UNEMBED;
  o.metadata = attached("model");
  o.metadata_count = 2;
  tinker_future_t *f = await(tinker_client_create_trainer(s.client, &o, NULL));
  cr_assert_eq(tinker_future_get_trainer(f, &s.trainer), 0);
  tinker_future_release(f);
  train();
  ttl.ttl_seconds = HOUR_S;
  ttl.metadata = attached("state");
  ttl.metadata_count = 2;
  save(tinker_trainer_save_state(s.trainer, "a.b-c_d", &ttl, NULL), s.state,
       sizeof s.state);
  ttl.ttl_seconds = TINKER_NO_TTL;
  ttl.metadata = attached("weights");
  save(tinker_trainer_save_weights_for_sampler(s.trainer, "after", &ttl, NULL),
       s.weights, sizeof s.weights);
  cr_assert_eq(sscanf(s.state, "tinker://%99[^/]", s.run), 1);
}

static void end(void) {
  tinker_trainer_release(s.trainer);
  tinker_client_release(s.client);
  cr_assert_eq(tinker_shutdown(TIMEOUT_MS), 0);
  faulty_end(&s.service);
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The run's checkpoint of this path: a copy whose texts are not valid. False:
 * it is not listed. */
static bool look_up(const char *path, tinker_checkpoint_t *out) {
  const tinker_checkpoint_list_t *l;
  bool found = false;
  tinker_future_t *f =
      await(tinker_client_list_run_checkpoints(s.client, s.run, NULL));
  well(tinker_future_get_checkpoint_list(f, &l), f);
  for (size_t i = 0; i < l->count; i++) {
    if (strcmp(l->checkpoints[i].path, path) != 0) continue;
    cr_assert_not(found);
    *out = l->checkpoints[i];
    found = true;
  }
  tinker_future_release(f);
  return found;
}

/* --- questions --- */

/* Begin has attached it, with what it was attached to. */
static void has_metadata(const tinker_metadata_t *m, size_t count,
                         const char *to) {
  cr_assert_eq(count, 2u);
  cr_assert_str_eq(m[0].name, "to");
  cr_assert_str_eq(m[0].value, to);
  cr_assert_str_eq(m[1].name, "wo\"rds\xc3\xbc");
  cr_assert_str_eq(m[1].value, "a\nb \xe2\x82\xac");
}

static void check_run(const tinker_training_run_t *r, int corrupted) {
  cr_assert_str_eq(r->run_id, s.run);
  cr_assert_str_eq(r->base_model, "qwen3_tied");
  cr_assert_str_neq(r->owner, "");
  cr_assert(r->is_lora == 1 && r->lora_rank == 4);
  cr_assert_eq(r->corrupted, corrupted);
  cr_assert(r->last_checkpoint && r->last_sampler_checkpoint);
  cr_assert_str_eq(r->last_checkpoint->path, s.state);
  cr_assert_str_eq(r->last_checkpoint->checkpoint_id, "weights/a.b-c_d");
  cr_assert_str_eq(r->last_sampler_checkpoint->path, s.weights);
  has_metadata(r->metadata, r->metadata_count, "model");
  has_metadata(r->last_checkpoint->metadata, r->last_checkpoint->metadata_count,
               "state");
  has_metadata(r->last_sampler_checkpoint->metadata,
               r->last_sampler_checkpoint->metadata_count, "weights");
}

Test(rest, a_run) {
  const tinker_training_run_t *r;
  const tinker_training_run_list_t *l;
  begin("{\"endpoint\": \"training_runs/*\", \"nth\": 2, \"act\": "
        "\"show_corrupted\"}");
  for (int i = 0; i < 3; i++) {
    tinker_future_t *f = await(tinker_client_get_run(s.client, s.run, NULL));
    well(tinker_future_get_run(f, &r), f);
    check_run(r, i == 1);
    cr_assert(r->last_request_ms > now_ms() - 600000 &&
              r->last_request_ms <= now_ms());
    tinker_future_release(f);
  }
  tinker_future_t *f = await(tinker_client_list_runs(s.client, NULL, NULL));
  well(tinker_future_get_run_list(f, &l), f);
  cr_assert(l->count == 1 && l->offset == 0 && l->total_count == 1);
  check_run(&l->runs[0], 0);
  tinker_future_release(f);
  fails(tinker_client_get_run(s.client, "nobody", NULL), TINKER_ENOENT);
  fails(tinker_client_list_run_checkpoints(s.client, "no body?", NULL),
        TINKER_ENOENT);
  end();
}

/* Page by page, each entry once, the newest first. */
Test(rest, pages_of_checkpoints) {
  const tinker_checkpoint_list_t *l;
  tinker_page_t page = TINKER_PAGE_INIT;
  const char *const want[] = {s.weights, s.state};
  begin("");
  page.limit = 1;
  for (; page.offset < 3; page.offset++) {
    tinker_future_t *f =
        await(tinker_client_list_checkpoints(s.client, &page, NULL));
    well(tinker_future_get_checkpoint_list(f, &l), f);
    cr_assert(l->offset == page.offset && l->total_count == 2);
    cr_assert_eq(l->count, page.offset < 2 ? 1u : 0u);
    if (l->count) cr_assert_str_eq(l->checkpoints[0].path, want[page.offset]);
    tinker_future_release(f);
  }
  page.limit = 1000000;
  fails(tinker_client_list_checkpoints(s.client, &page, NULL),
        TINKER_EREJECTED);
  end();
}

Test(rest, weights_info) {
  const tinker_weights_info_t *w;
  begin("");
  for (int i = 0; i < 2; i++) {
    tinker_future_t *f = await(
        tinker_client_weights_info(s.client, i ? s.weights : s.state, NULL));
    well(tinker_future_get_weights_info(f, &w), f);
    cr_assert_str_eq(w->base_model, "qwen3_tied");
    cr_assert(w->is_lora == 1 && w->lora_rank == 4);
    cr_assert(w->train_attention == 1 && w->train_mlp == 1 &&
              w->train_unembed == 0);
    cr_assert_str_eq(w->optimizer_config, "{\"type\":\"adamw\"}");
    tinker_future_release(f);
  }
  fails(tinker_client_weights_info(s.client, "tinker://x/weights/y", NULL),
        TINKER_ENOENT);
  end();
}

/* A client that only looks makes no session of its own. */
Test(rest, sessions) {
  const tinker_session_list_t *l;
  const tinker_session_info_t *info;
  char id[100];
  begin("");
  cr_assert_eq(tinker_client_session_id(s.client, id, sizeof id), 0);
  tinker_client_t *other = connect_to(&s.service);
  for (int i = 0; i < 2; i++) {
    tinker_future_t *f = await(tinker_client_list_sessions(other, NULL, NULL));
    well(tinker_future_get_session_list(f, &l), f);
    cr_assert_eq(l->count, 1u);
    cr_assert_str_eq(l->session_ids[0], id);
    tinker_future_release(f);
  }
  tinker_future_t *f = await(tinker_client_get_session(other, id, NULL));
  well(tinker_future_get_session(f, &info), f);
  cr_assert_eq(info->run_count, 1u);
  cr_assert_str_eq(info->run_ids[0], s.run);
  cr_assert_eq(info->sampler_count, 0u);
  cr_assert_str_eq(info->display_name, "rest");
  has_metadata(info->metadata, info->metadata_count, "session");
  tinker_future_release(f);
  fails(tinker_client_get_session(other, "nobody", NULL), TINKER_ENOENT);
  tinker_client_release(other);
  end();
}

/* --- changes --- */

static void keep_for(const char *path, int64_t ttl_seconds) {
  tinker_checkpoint_t c;
  int64_t before = now_ms();
  done(tinker_client_set_checkpoint_ttl(s.client, path, ttl_seconds, NULL));
  int64_t after = now_ms();
  cr_assert(look_up(path, &c));
  if (ttl_seconds == TINKER_NO_TTL) {
    cr_assert_eq(c.expires_ms, TINKER_NO_TIME);
  } else {
    int64_t least = before + ttl_seconds * 1000;
    cr_assert(c.expires_ms >= least && c.expires_ms <= least + after - before);
  }
}

#define TTL "\"endpoint\": \"training_runs/*/checkpoints/*/*/ttl\""
#define DELETE "\"endpoint\": \"training_runs/*/checkpoints/*/*\""
#define LOSSES(of)                                                             \
  "{" of ", \"times\": 1, \"act\": \"lose_reply\"},"                           \
  "{" of ", \"times\": 1, \"act\": \"status\", \"status\": 503},"              \
  "{" of ", \"times\": 1, \"act\": \"drop\"}"

Test(rest, a_time_to_live) {
  tinker_checkpoint_t c;
  begin(LOSSES(TTL));
  cr_assert(look_up(s.state, &c));
  cr_assert(c.type == TINKER_CHECKPOINT_TRAINING && c.size_bytes > 0);
  cr_assert_eq(c.expires_ms, c.created_ms + HOUR_S * 1000);
  cr_assert(look_up(s.weights, &c));
  cr_assert(c.type == TINKER_CHECKPOINT_SAMPLER &&
            c.expires_ms == TINKER_NO_TIME);
  keep_for(s.state, 2 * HOUR_S); /* whose replies are lost */
  keep_for(s.state, TINKER_NO_TTL);
  keep_for(s.weights, HOUR_S);
  keep_for(s.weights, 315360000);
  fails(tinker_client_set_checkpoint_ttl(s.client, "tinker://x/weights/y",
                                         HOUR_S, NULL),
        TINKER_ENOENT);
  end();
}

/* The first request deletes it, and its reply is lost: the further ones find
 * nothing, and the call has done what it was asked for. */
Test(rest, a_deletion_whose_reply_is_lost) {
  tinker_checkpoint_t c;
  begin(LOSSES(DELETE));
  done(tinker_client_delete_checkpoint(s.client, s.state, NULL));
  cr_assert_not(look_up(s.state, &c));
  cr_assert(look_up(s.weights, &c)); /* of the same run, and left alone */
  fails(tinker_client_delete_checkpoint(s.client, s.state, NULL),
        TINKER_ENOENT);
  done(tinker_client_delete_checkpoint(s.client, s.weights, NULL));
  fails(tinker_client_weights_info(s.client, s.weights, NULL), TINKER_ENOENT);
  end();
}

/* Names that no checkpoint has, each of which would be another request if it
 * were not escaped, delete nothing. */
Test(rest, names_that_nobody_has) {
  static const char *const names[] = {"a b",   "a.b-c_d?", "a.b-c_d#x",
                                      "%61.b", "a\\b",     "\xc3\xa4"};
  char path[300];
  tinker_checkpoint_t c;
  begin("");
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "tinker://%s/weights/%s", s.run, names[i]);
    fails(tinker_client_delete_checkpoint(s.client, path, NULL), TINKER_ENOENT);
  }
  cr_assert(look_up(s.state, &c) && look_up(s.weights, &c));
  end();
}
