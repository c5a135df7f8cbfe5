/* Arguments that no service would take, over all public calls: each is refused
 * here, the sentence names the field (and the index where there is one), no
 * number is spent and nothing reaches the wire. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { AT_LEAST = 400 };

static rig_t rig;
static tinker_trainer_t *trainer;
static tinker_sampler_t *sampler;
static tinker_input_t *prompt;
static size_t refused;

#define BAD_UTF8 "a\xff"

/* --- what has to hold --- */

static void sentence(int code, const tinker_error_t *e, const char *field,
                     size_t row) {
  cr_assert(code == TINKER_EINVAL || code == TINKER_EOVERFLOW ||
                code == TINKER_ENOTSUP || code == TINKER_EAUTH,
            "%s, row %zu: %s", field, row, tinker_code_name(code));
  cr_assert_eq(tinker_error_code(e), code, "%s, row %zu", field, row);
  cr_assert(strstr(tinker_error_message(e), field), "%s, row %zu: \"%s\"",
            field, row, tinker_error_message(e));
  refused++;
}

static void op(tinker_future_t *f, const char *field, size_t row) {
  int code = tinker_future_status(f);
  const tinker_error_t *e = tinker_future_error(f);
  sentence(code, e, field, row);
  cr_assert_not(tinker_error_outcome_is_unknown(e));
  cr_assert_not(tinker_error_is_fatal(e));
  cr_assert_not(tinker_error_is_retriable(e));
  cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_USER, "%s, row %zu",
               field, row);
  tinker_future_release(f);
}

static void made(int code, tinker_error_t *e, const void *out,
                 const char *field) {
  cr_assert_null(out, "%s", field);
  sentence(code, e, field, refused);
  tinker_error_release(e);
}

/* --- fields of option structs --- */

typedef struct field_s {
  size_t at, size;
  bool is_float;
  double number;
  int64_t integer;
  const char *name;
} field_t;

#define REAL(type_, field_, value_)                                            \
  { offsetof(type_, field_), sizeof(double), true, (value_), 0, #field_ }
#define WHOLE(type_, field_, value_)                                           \
  {                                                                            \
    offsetof(type_, field_), sizeof((type_){0}.field_), false, 0, (value_),    \
        #field_                                                                \
  }
/* What no real number may be. */
#define REALS(type_, field_)                                                   \
  REAL(type_, field_, -1e-9), REAL(type_, field_, (double)NAN),                \
      REAL(type_, field_, (double)INFINITY),                                   \
      REAL(type_, field_, (double)-INFINITY)
/* What no flag may be. */
#define FLAGS(type_, field_) WHOLE(type_, field_, 2), WHOLE(type_, field_, -1)
/* What no size may be. */
#define SIZES(type_)                                                           \
  WHOLE(type_, size, 0), WHOLE(type_, size, 1), WHOLE(type_, size, 8),         \
      WHOLE(type_, size, 65537)
#define RESERVED(type_) WHOLE(type_, reserved0, 1)

typedef void (*take_t)(const void *options, const field_t *row, size_t at);

static void set(void *options, const field_t *row) {
  int32_t small = (int32_t)row->integer;
  const void *value = row->is_float    ? (const void *)&row->number
                      : row->size == 4 ? (const void *)&small
                                       : (const void *)&row->integer;
  memcpy((char *)options + row->at, value, row->size);
}

/* Each row alone, the other fields as in init. */
static void each(const void *init, size_t size, const field_t *rows, size_t n,
                 take_t take) {
  char *options = malloc(size);
  for (size_t i = 0; i < n; i++) {
    memcpy(options, init, size);
    set(options, &rows[i]);
    take(options, &rows[i], i);
  }
  free(options);
}

#define EACH(init_, rows_, take_)                                              \
  each(&(init_), sizeof(init_), (rows_), sizeof(rows_) / sizeof(rows_)[0],     \
       (take_))

/* --- the tables --- */

#define ADAM(field_) REALS(tinker_adam_params_t, field_)
static const field_t adam_rows[] = {
    SIZES(tinker_adam_params_t),
    ADAM(learning_rate),
    ADAM(beta1),
    ADAM(beta2),
    ADAM(eps),
    ADAM(weight_decay),
    ADAM(grad_clip_norm),
    REAL(tinker_adam_params_t, beta1, 1),
    REAL(tinker_adam_params_t, beta2, 1.5),
};

#define SAMPLE(field_, value_) WHOLE(tinker_sampling_params_t, field_, (value_))
static const field_t sample_rows[] = {
    SIZES(tinker_sampling_params_t),
    RESERVED(tinker_sampling_params_t),
    SAMPLE(max_tokens, 0),
    SAMPLE(max_tokens, -2),
    SAMPLE(max_tokens, INT64_MIN),
    SAMPLE(num_samples, 0),
    SAMPLE(num_samples, -1),
    SAMPLE(num_samples, INT32_MIN),
    SAMPLE(top_k, 0),
    SAMPLE(top_k, -2),
    SAMPLE(top_k, INT32_MIN),
    REALS(tinker_sampling_params_t, temperature),
    REALS(tinker_sampling_params_t, top_p),
    REAL(tinker_sampling_params_t, top_p, 0),
    REAL(tinker_sampling_params_t, top_p, 1.0000001),
    SAMPLE(seed, -2),
    SAMPLE(seed, INT64_MIN),
    FLAGS(tinker_sampling_params_t, no_stop),
    FLAGS(tinker_sampling_params_t, prompt_logprobs),
    SAMPLE(topk_prompt_logprobs, -1),
    SAMPLE(topk_prompt_logprobs, INT32_MIN),
    {offsetof(tinker_sampling_params_t, stop_string_count), 8, false, 0, 1,
     "stop_strings"},
    {offsetof(tinker_sampling_params_t, stop_token_count), 8, false, 0, 1,
     "stop_tokens"},
    {offsetof(tinker_sampling_params_t, stop_string_count), 8, false, 0, 1025,
     "stop_strings"},
    {offsetof(tinker_sampling_params_t, stop_token_count), 8, false, 0, 1048577,
     "stop_tokens"},
};

#define SAVE_ROW(field_, value_) WHOLE(tinker_save_options_t, field_, (value_))
static const field_t save_rows[] = {
    SIZES(tinker_save_options_t),
    RESERVED(tinker_save_options_t),
    SAVE_ROW(ttl_seconds, 0),
    SAVE_ROW(ttl_seconds, 3599),
    SAVE_ROW(ttl_seconds, 315360001),
    SAVE_ROW(ttl_seconds, -2),
    SAVE_ROW(ttl_seconds, INT64_MIN),
    SAVE_ROW(ttl_seconds, INT64_MAX),
    FLAGS(tinker_save_options_t, overwrite),
};
static const field_t save_sampler_rows[] = {SAVE_ROW(overwrite, 1)};

#define MODEL(field_, value_) WHOLE(tinker_trainer_options_t, field_, (value_))
static const field_t trainer_rows[] = {
    SIZES(tinker_trainer_options_t),
    MODEL(base_model, 0),
    MODEL(rank, 0),
    MODEL(rank, 3),
    MODEL(rank, 12),
    MODEL(rank, -1),
    MODEL(freeze, 7),
    MODEL(freeze, 8),
    MODEL(freeze, -1),
    MODEL(seed, -2),
    MODEL(seed, INT64_MIN),
};

#define CALL_ROW(field_, value_) WHOLE(tinker_call_options_t, field_, (value_))
static const field_t call_rows[] = {
    SIZES(tinker_call_options_t),
    RESERVED(tinker_call_options_t),
    CALL_ROW(timeout_ms, -3),
    CALL_ROW(timeout_ms, INT64_MIN),
    FLAGS(tinker_call_options_t, detached),
};

#define CLIENT(field_, value_) WHOLE(tinker_client_options_t, field_, (value_))
static const field_t client_rows[] = {
    SIZES(tinker_client_options_t),
    RESERVED(tinker_client_options_t),
    CLIENT(memory_limit_bytes, 0),
    CLIENT(memory_limit_bytes, -2),
    CLIENT(memory_limit_bytes, INT64_MIN),
    CLIENT(default_timeout_ms, 0),
    CLIENT(default_timeout_ms, -2),
    CLIENT(default_timeout_ms, INT64_MIN),
    CLIENT(log_level, 0),
    CLIENT(log_level, 6),
    CLIENT(log_level, -1),
    FLAGS(tinker_client_options_t, key_over_http),
    CLIENT(mode, 2),
    CLIENT(mode, -1),
    {offsetof(tinker_client_options_t, tag_count), 8, false, 0, 1, "tags"},
    {offsetof(tinker_client_options_t, tag_count), 8, false, 0, 65, "tags"},
};

static const field_t page_rows[] = {
    SIZES(tinker_page_t), WHOLE(tinker_page_t, offset, -1),
    WHOLE(tinker_page_t, offset, INT64_MIN), WHOLE(tinker_page_t, limit, -1),
    WHOLE(tinker_page_t, limit, INT64_MIN)};

/* The loss that each row is about, then its fields. */
#define LOSS(field_) REALS(tinker_loss_t, field_)
static const field_t loss_rows[] = {
    SIZES(tinker_loss_t),
    RESERVED(tinker_loss_t),
    WHOLE(tinker_loss_t, kind, -1),
    WHOLE(tinker_loss_t, kind, 6),
    WHOLE(tinker_loss_t, kind, INT32_MAX),
};
static const field_t clip_rows[] = {LOSS(clip_low_threshold),
                                    LOSS(clip_high_threshold),
                                    REAL(tinker_loss_t, beta, 0.1)};
static const field_t dro_rows[] = {
    LOSS(beta), REAL(tinker_loss_t, beta, 0),
    REAL(tinker_loss_t, beta, TINKER_LOSS_UNSET),
    REAL(tinker_loss_t, clip_low_threshold, 0.5),
    REAL(tinker_loss_t, clip_high_threshold, 0.5)};
static const field_t plain_rows[] = {
    REAL(tinker_loss_t, beta, 0.1),
    REAL(tinker_loss_t, clip_low_threshold, 0.5),
    REAL(tinker_loss_t, clip_high_threshold, 0)};

static void take_adam(const void *o, const field_t *row, size_t at) {
  op(tinker_trainer_optim_step(trainer, o, NULL), row->name, at);
}

static void take_sample(const void *o, const field_t *row, size_t at) {
  op(tinker_sampler_sample(sampler, prompt, o, NULL), row->name, at);
}

static void take_save_sampler(const void *o, const field_t *row, size_t at) {
  op(tinker_trainer_save_weights_for_sampler(trainer, "a", o, NULL), row->name,
     at);
}

static void take_save(const void *o, const field_t *row, size_t at) {
  op(tinker_trainer_save_state(trainer, "a", o, NULL), row->name, at);
  take_save_sampler(o, row, at);
}

static void take_trainer(const void *o, const field_t *row, size_t at) {
  op(tinker_client_create_trainer(rig.client, o, NULL), row->name, at);
}

static void take_call(const void *o, const field_t *row, size_t at) {
  op(tinker_client_get_capabilities(rig.client, o), row->name, at);
  op(tinker_client_dump(rig.client, o), row->name, at);
  op(tinker_client_get_run(rig.client, "a", o), row->name, at);
  op(tinker_client_delete_checkpoint(rig.client, "tinker://a/weights/b", o),
     row->name, at);
  op(tinker_client_drain(rig.client, o), row->name, at);
  op(tinker_client_close(rig.client, o), row->name, at);
  op(tinker_trainer_get_info(trainer, o), row->name, at);
  op(tinker_trainer_create_sampler(trainer, o), row->name, at);
  op(tinker_sampler_sample(sampler, prompt, NULL, o), row->name, at);
}

static void take_client(const void *o, const field_t *row, size_t at) {
  tinker_client_t *c = NULL;
  tinker_error_t *e = NULL;
  (void)at;
  int rc = tinker_client_new(&c, o, &e);
  made(rc, e, c, row->name);
}

static void take_page(const void *o, const field_t *row, size_t at) {
  op(tinker_client_list_runs(rig.client, o, NULL), row->name, at);
  op(tinker_client_list_checkpoints(rig.client, o, NULL), row->name, at);
  op(tinker_client_list_sessions(rig.client, o, NULL), row->name, at);
}

/* An example that every loss takes. */
static tinker_datum_t *whole(void) {
  static const int32_t tokens[5] = {1, 2, 3, 4, 5};
  static const float ones[4] = {1, 1, 1, 1};
  tinker_datum_t *d = NULL;
  must(!tinker_datum_new_supervised(&d, tokens, NULL, 5, NULL, NULL));
  must(!tinker_datum_set_f32(d, "logprobs", ones, 4, 0, NULL));
  must(!tinker_datum_set_f32(d, "advantages", ones, 4, 0, NULL));
  must(!tinker_datum_set_f32(d, "sequence_ratio_mask", ones, 4, 0, NULL));
  return d;
}

static void batch(tinker_datum_t *const *data, size_t n,
                  const tinker_loss_t *loss, const char *text) {
  op(tinker_trainer_forward(trainer, data, n, loss, NULL), text, refused);
  op(tinker_trainer_forward_backward(trainer, data, n, loss, NULL), text,
     refused);
}

static void take_loss(const void *o, const field_t *row, size_t at) {
  tinker_datum_t *d = whole();
  (void)at;
  batch(&d, 1, o, row->name);
  tinker_datum_release(d);
}

static void all_fields(void) {
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  tinker_sampling_params_t sample = TINKER_SAMPLING_PARAMS_INIT;
  tinker_save_options_t save = TINKER_SAVE_OPTIONS_INIT;
  tinker_trainer_options_t model = TINKER_TRAINER_OPTIONS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_client_options_t client = TINKER_CLIENT_OPTIONS_INIT;
  tinker_page_t page = TINKER_PAGE_INIT;
  tinker_loss_t loss = TINKER_LOSS_INIT;
  EACH(page, page_rows, take_page);
  model.base_model = "tiny";
  client.base_url = "unix:/nonexistent/socket";
  EACH(adam, adam_rows, take_adam);
  EACH(sample, sample_rows, take_sample);
  EACH(save, save_rows, take_save);
  EACH(save, save_sampler_rows, take_save_sampler);
  EACH(model, trainer_rows, take_trainer);
  EACH(call, call_rows, take_call);
  EACH(client, client_rows, take_client);
  EACH(loss, loss_rows, take_loss);
  EACH(loss, plain_rows, take_loss); /* of cross-entropy */
  for (int kind = 0; kind < 6; kind++) {
    bool dro = kind == TINKER_LOSS_DRO;
    loss.kind = kind;
    loss.beta = dro ? 0.5 : TINKER_LOSS_UNSET;
    if (dro) EACH(loss, dro_rows, take_loss);
    if (kind == TINKER_LOSS_IMPORTANCE_SAMPLING) {
      EACH(loss, plain_rows, take_loss);
    } else if (kind != TINKER_LOSS_CROSS_ENTROPY && !dro) {
      EACH(loss, clip_rows, take_loss);
    }
  }
}

/* --- texts --- */

static void all_texts(void) {
  static const char *const none[] = {NULL, "", BAD_UTF8, "\xc3\x28"};
  static const char *const paths[] = {"a", "tinker:/r/weights/a",
                                      "http://r/weights/a"};
  static const char *const names[] = {"a/b", "a b", "\xc3\xa9", "a\n", "a:b"};
  char too_long[257];
  memset(too_long, 'a', 256);
  too_long[256] = '\0';
  tinker_trainer_options_t model = TINKER_TRAINER_OPTIONS_INIT;
  for (size_t i = 0; i < 4; i++) {
    model.base_model = none[i];
    op(tinker_client_create_trainer(rig.client, &model, NULL), "base_model", i);
    op(tinker_client_create_sampler(rig.client, none[i], NULL), "base_model",
       i);
  }
  for (size_t i = 0; i < 7; i++) {
    const char *path = i < 4 ? none[i] : paths[i - 4];
    op(tinker_client_create_trainer_from_state(rig.client, path, 0, NULL),
       "path", i);
    op(tinker_client_create_sampler_from_path(rig.client, path, NULL), "path",
       i);
    op(tinker_trainer_load_state(trainer, path, NULL), "path", i);
    op(tinker_trainer_load_state_with_optimizer(trainer, path, NULL), "path",
       i);
  }
  for (size_t i = 0; i < 10; i++) {
    const char *name = i < 4 ? none[i] : i < 9 ? names[i - 4] : too_long;
    op(tinker_trainer_save_state(trainer, name, NULL, NULL), "name", i);
    op(tinker_trainer_save_weights_for_sampler(trainer, name, NULL, NULL),
       "name", i);
  }
  for (int flag = -1; flag < 3; flag += 3) {
    op(tinker_client_create_trainer_from_state(
           rig.client, "tinker://r/weights/a", flag, NULL),
       "with_optimizer", 0);
  }
}

/* An id that is no part of a path. */
static void take_id(const char *id, size_t row) {
  op(tinker_client_get_run(rig.client, id, NULL), "run_id", row);
  op(tinker_client_list_run_checkpoints(rig.client, id, NULL), "run_id", row);
  op(tinker_client_get_session(rig.client, id, NULL), "session_id", row);
}

/* A path that is none of a checkpoint. */
static void take_path(const char *path, size_t row) {
  op(tinker_client_delete_checkpoint(rig.client, path, NULL), "path", row);
  op(tinker_client_set_checkpoint_ttl(rig.client, path, TINKER_NO_TTL, NULL),
     "path", row);
}

static void rest_texts(void) {
  static const char *const ids[] = {NULL, "",    BAD_UTF8, "a/b",  ".",
                                    "..", "a\n", "/",      "\x7f", "a\r\nX: 1"};
  static const char *const paths[] = {NULL,
                                      "",
                                      BAD_UTF8,
                                      "a",
                                      "tinker:/r/weights/a",
                                      "http://r/weights/a",
                                      "tinker://",
                                      "tinker://r",
                                      "tinker://r/weights",
                                      "tinker://r/weights/",
                                      "tinker://r//a",
                                      "tinker:///weights/a",
                                      "tinker://r/a",
                                      "tinker://r/Weights/a",
                                      "tinker://r/other/a",
                                      "tinker://r/weights/a/ttl",
                                      "tinker://r/weights/..",
                                      "tinker://../weights/a",
                                      "tinker://./weights/a",
                                      "tinker://r/weights/a\n",
                                      "tinker://r\t/weights/a",
                                      " tinker://r/weights/a"};
  static const int64_t ttls[] = {0,  1,         3599,     315360001,
                                 -2, INT64_MIN, INT64_MAX};
  char id[TINKER__SEGMENT_MAX + 2], path[TINKER__SEGMENT_MAX + 40];
  memset(id, 'a', sizeof id);
  id[sizeof id - 1] = 0;
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) take_id(ids[i], i);
  take_id(id, 10);
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    take_path(paths[i], i);
  }
  snprintf(path, sizeof path, "tinker://%s/weights/a", id);
  take_path(path, 22);
  snprintf(path, sizeof path, "tinker://r/weights/%s", id);
  take_path(path, 23);
  for (size_t i = 0; i < 6; i++) {
    op(tinker_client_weights_info(rig.client, paths[i], NULL), "path", i);
  }
  for (size_t i = 0; i < sizeof ttls / sizeof *ttls; i++) {
    op(tinker_client_set_checkpoint_ttl(rig.client, "tinker://r/weights/a",
                                        ttls[i], NULL),
       "ttl_seconds", i);
  }
}

static void client_texts(void) {
  static const char *const urls[] = {"ftp://x", "http://", "unix:", "x",
                                     "https://a b/"};
  static const char *const tags[] = {"a", BAD_UTF8};
  static const char *const hole[] = {"a", NULL};
  tinker_allocator_t part = {0};
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  const field_t none = {.name = "base_url"};
  for (size_t i = 0; i < 5; i++) {
    o.base_url = urls[i];
    o.api_key = "tml-x";
    take_client(&o, &none, 0);
  }
  tinker_client_options_init(&o);
  o.base_url = "unix:/nonexistent/socket";
  o.tags = tags;
  o.tag_count = 2;
  take_client(&o, &(field_t){.name = "tags[1]"}, 0);
  o.tags = hole;
  take_client(&o, &(field_t){.name = "tags[1]"}, 0);
  o.tag_count = 0;
  o.project_id = BAD_UTF8;
  take_client(&o, &(field_t){.name = "project_id"}, 0);
  o.project_id = NULL;
  o.display_name = BAD_UTF8;
  take_client(&o, &(field_t){.name = "display_name"}, 0);
  o.display_name = NULL;
  o.allocator = &part;
  take_client(&o, &(field_t){.name = "allocator"}, 0);
}

/* --- a sample's lists, and its prompt --- */

static void stops(const char *const *texts, size_t text_count,
                  const int32_t *tokens, size_t token_count,
                  const char *field) {
  tinker_sampling_params_t o = TINKER_SAMPLING_PARAMS_INIT;
  o.stop_strings = texts;
  o.stop_string_count = text_count;
  o.stop_tokens = tokens;
  o.stop_token_count = token_count;
  op(tinker_sampler_sample(sampler, prompt, &o, NULL), field, refused);
}

static void all_samples(void) {
  static const char *const empty[] = {"a", "b", ""};
  static const char *const hole[] = {"a", NULL};
  static const char *const bytes[] = {"a", BAD_UTF8};
  static const int32_t tokens[] = {1, 2, -1};
  tinker_input_t *nothing = NULL;
  stops(empty, 3, NULL, 0, "stop_strings[2]");
  stops(hole, 2, NULL, 0, "stop_strings[1]");
  stops(bytes, 2, NULL, 0, "stop_strings[1]");
  stops(NULL, 0, tokens, 3, "stop_tokens[2]");
  stops(empty, 1, tokens, 1, "stop_strings and stop_tokens");
  must(!tinker_input_new(&nothing, NULL, NULL));
  op(tinker_sampler_sample(sampler, NULL, NULL, NULL), "prompt", 0);
  op(tinker_sampler_sample(sampler, nothing, NULL, NULL), "prompt", 1);
  tinker_input_release(nothing);
}

/* --- batches --- */

/* A batch of three whose second example lacks, or has wrongly, one input. */
static void wrong_input(int kind, const char *name) {
  static const float many[9] = {0};
  static const int64_t whole_numbers[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
  static const struct {
    size_t rows, cols;
    bool other_type;
  } shapes[] = {{3, 0, false}, {5, 0, false}, {4, 0, true}, {1, 4, false}};
  char text[80];
  tinker_loss_t loss = TINKER_LOSS_INIT;
  loss.kind = kind;
  if (kind == TINKER_LOSS_DRO) loss.beta = 1;
  snprintf(text, sizeof text, "data[1]: \"%s\"", name);
  for (size_t i = 0; i < 4; i++) {
    tinker_datum_t *data[3] = {whole(), whole(), whole()};
    bool floats = strcmp(name, "target_tokens") != 0;
    if (floats != shapes[i].other_type) {
      must(!tinker_datum_set_f32(data[1], name, many, shapes[i].rows,
                                 shapes[i].cols, NULL));
    } else {
      must(!tinker_datum_set_i64(data[1], name, whole_numbers, shapes[i].rows,
                                 shapes[i].cols, NULL));
    }
    batch(data, 3, &loss, text);
    for (int k = 0; k < 3; k++) tinker_datum_release(data[k]);
  }
}

static void lacks_input(int kind, const char *name) {
  char text[80];
  tinker_datum_t *data[2] = {whole(), NULL};
  tinker_loss_t loss = TINKER_LOSS_INIT;
  loss.kind = kind;
  if (kind == TINKER_LOSS_DRO) loss.beta = 1;
  must(!tinker_datum_new(&data[1], prompt, NULL, NULL));
  if (strcmp(name, "target_tokens") != 0) {
    must(!tinker_datum_set_i64(data[1], "target_tokens",
                               (const int64_t[]){1, 2}, 2, 0, NULL));
  }
  snprintf(text, sizeof text, "data[1] has no \"%s\"", name);
  batch(data, 2, &loss, text);
  for (int i = 0; i < 2; i++) tinker_datum_release(data[i]);
}

/* Soft targets want soft weights. */
static void wrong_columns(size_t targets, size_t weights) {
  static const int64_t ids[4] = {1, 1, 1, 1};
  static const float ones[4] = {1, 1, 1, 1};
  tinker_datum_t *d = NULL;
  must(!tinker_datum_new(&d, prompt, NULL, NULL));
  must(!tinker_datum_set_i64(d, "target_tokens", ids, 2, targets, NULL));
  must(!tinker_datum_set_f32(d, "weights", ones, 2, weights, NULL));
  batch(&d, 1, NULL, "data[0]: \"weights\"");
  tinker_datum_release(d);
}

static void negative_target(int64_t target) {
  tinker_datum_t *d = NULL;
  tinker_error_t *e = NULL;
  const int64_t targets[2] = {1, target};
  must(!tinker_datum_new(&d, prompt, NULL, NULL));
  int rc = tinker_datum_set_i64(d, "target_tokens", targets, 2, 0, &e);
  made(rc, e, NULL, "target_tokens[1]");
  tinker_datum_release(d);
}

static void all_batches(void) {
  tinker_datum_t *data[3] = {whole(), NULL, whole()};
  tinker_datum_t *none[1] = {NULL};
  batch(NULL, 1, NULL, "data is NULL");
  batch(data, 0, NULL, "n is 0");
  batch(none, 1, NULL, "data[0] is NULL");
  batch(data, 3, NULL, "data[1] is NULL");
  tinker_datum_release(data[0]);
  tinker_datum_release(data[2]);
  for (int kind = 0; kind < 6; kind++) {
    wrong_input(kind, "target_tokens");
    lacks_input(kind, "target_tokens");
    if (kind == TINKER_LOSS_CROSS_ENTROPY) {
      wrong_input(kind, "weights");
      lacks_input(kind, "weights");
      continue;
    }
    wrong_input(kind, "logprobs");
    wrong_input(kind, "advantages");
    lacks_input(kind, "logprobs");
  }
  wrong_input(TINKER_LOSS_GSPO, "sequence_ratio_mask");
  wrong_columns(0, 2);
  wrong_columns(2, 0);
  wrong_columns(2, 1);
  negative_target(-1);
  negative_target(-100);
  negative_target(INT64_MIN);
  negative_target((int64_t)INT32_MAX + 1);
}

Test(malformed, is_refused_here_and_named) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
  sampler = rig_sampler(&rig);
  must(!tinker_input_from_tokens(&prompt, (const int32_t[]){1, 2}, 2, NULL,
                                 NULL));
  size_t before = script_count(rig.script);
  all_fields();
  all_texts();
  rest_texts();
  client_texts();
  all_samples();
  all_batches();
  rig_run(&rig);
  cr_assert_eq(script_count(rig.script), before); /* none reached the wire */
  cr_assert_geq(refused, (size_t)AT_LEAST);
  tinker_future_t *f = tinker_trainer_save_state(trainer, "a", NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, SAVE, 0)), 1); /* nor took a number */
  tinker_future_release(f);
  tinker_input_release(prompt);
  tinker_sampler_release(sampler);
  tinker_trainer_release(trainer);
  rig_done(&rig);
}
