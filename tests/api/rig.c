/* The rig of the api tests, see rig.h. */
#include "rig.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "loop/borrowed.h"
#include "loop/step.h"
#include "wire/fb_output.h"
#include "wire/fb_request.h"
#include "wire/sample.h"

void rig_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: %s\n", file, line, what);
  abort();
}

static void own(script_reply_t *reply, char *text) {
  must(text);
  reply->body = text;
  reply->owned = true;
}

static void say(script_reply_t *reply, const char *fmt, const char *a, long b) {
  char *text = malloc(512);
  snprintf(text, 512, fmt, a, b);
  own(reply, text);
}

/* --- numbers in requests --- */

static tinker__str_t body_of(const script_request_t *q) {
  return (tinker__str_t){q->body, q->body_len};
}

static bool read_fb(const script_request_t *q, long *seq, size_t *datums) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__fb_request_t request;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  int rc = tinker__fb_request_decode(&request, &arena, body_of(q),
                                     TINKER__FB_PROTO, false, 1 << 28, NULL, 0);
  if (!rc) {
    *seq = (long)request.view.seq_id;
    *datums = request.view.datum_count;
  }
  tinker__arena_free(&arena);
  return rc == 0;
}

long rig_seq(const script_request_t *q) {
  long seq = -1;
  size_t datums;
  if (!q) return -1;
  if (!strcmp(q->path, FB)) return read_fb(q, &seq, &datums) ? seq : -1;
  const char *at = strstr(q->body, "\"seq_id\":");
  return at ? strtol(at + 9, NULL, 10) : -1;
}

const script_request_t *rig_request(const rig_t *rig, const char *path,
                                    size_t n) {
  int i = rig_index(rig, path, n);
  return i < 0 ? NULL : script_request(rig->script, (size_t)i);
}

int rig_index(const rig_t *rig, const char *path, size_t n) {
  for (size_t i = 0; i < script_count(rig->script); i++) {
    if (!strcmp(script_request(rig->script, i)->path, path) && n-- == 0) {
      return (int)i;
    }
  }
  return -1;
}

size_t rig_count(const rig_t *rig, const char *path) {
  size_t n = 0;
  while (rig_index(rig, path, n) >= 0) n++;
  return n;
}

size_t rig_polls(const rig_t *rig, long seq) {
  char mark[32];
  size_t count = 0;
  const script_request_t *q;
  snprintf(mark, sizeof mark, "-%ld-", seq);
  for (size_t n = 0; (q = rig_request(rig, RETRIEVE, n)); n++) {
    count += strstr(q->body, mark) != NULL;
  }
  return count;
}

/* --- the pretended service --- */

static void on_config(void *user, const script_request_t *q,
                      script_reply_t *reply) {
  (void)q;
  reply->body = ((rig_t *)user)->config;
}

static void on_session(void *user, const script_request_t *q,
                       script_reply_t *reply) {
  (void)q;
  say(reply, "{\"type\":\"create_session\",\"session_id\":\"%s\"}",
      ((rig_t *)user)->session, 0);
}

static void on_empty(void *user, const script_request_t *q,
                     script_reply_t *reply) {
  (void)user;
  (void)q;
  reply->body = "{}";
}

/* Accepts under an id that says what the result will be:
 * <path>-<number>-<datums>. */
static void on_submit(void *user, const script_request_t *q,
                      script_reply_t *reply) {
  rig_t *rig = user;
  long seq = rig_seq(q);
  size_t datums = 0;
  rig->accepted++;
  if (!strcmp(q->path, FB)) read_fb(q, &seq, &datums);
  if (rig->many && !strcmp(q->path, CREATE)) seq = rig->models++;
  if (seq < 0) seq = 9999; /* carries none */
  char *text = malloc(512);
  snprintf(text, 512,
           "{\"request_id\":\"%s-%ld-%zu\",\"sample_sequence_ids\":[\"q%u\"]}",
           strrchr(q->path, '/') + 1, seq, datums, rig->accepted);
  own(reply, text);
}

static void on_sampling(void *user, const script_request_t *q,
                        script_reply_t *reply) {
  (void)q;
  say(reply, "{\"sampling_session_id\":\"%s:sample:%ld\"}",
      ((rig_t *)user)->session, 0);
}

static void on_sampler(void *user, const script_request_t *q,
                       script_reply_t *reply) {
  (void)user;
  say(reply, "{\"sampler_id\":\"%s\",\"base_model\":\"tiny\"}",
      strrchr(q->path, '/') + 1, 0);
}

static void on_info(void *user, const script_request_t *q,
                    script_reply_t *reply) {
  (void)user;
  (void)q;
  reply->body = "{\"type\":\"get_info\",\"model_id\":\"s1:train:0\","
                "\"model_data\":{\"model_name\":\"tiny\",\"arch\":\"qwen3\","
                "\"tokenizer_id\":\"/m\"},\"is_lora\":true,\"lora_rank\":8}";
}

static void on_capabilities(void *user, const script_request_t *q,
                            script_reply_t *reply) {
  (void)user;
  (void)q;
  reply->body = "{\"supported_models\":[{\"model_name\":\"tiny\","
                "\"max_context_length\":512,\"trainable\":true}]}";
}

static void take(tinker__buf_t *buf, script_reply_t *reply) {
  char *copy = malloc(buf->len);
  memcpy(copy, buf->data, buf->len);
  reply->body_len = buf->len;
  own(reply, copy);
  reply->content_type = "application/x-protobuf";
  tinker__buf_free(buf);
}

/* One logprob per datum, its place in the chunk; loss:sum is the number. */
static void fb_result(long seq, size_t datums, script_reply_t *reply) {
  tinker__mem_t mem;
  tinker__buf_t buf;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1 << 20);
  float *values = calloc(datums, sizeof *values);
  tinker__named_tensor_t *fields = calloc(datums, sizeof *fields);
  tinker__output_datum_t *outputs = calloc(datums, sizeof *outputs);
  for (size_t i = 0; i < datums; i++) {
    values[i] = -(float)i - (float)seq * 100;
    fields[i] = (tinker__named_tensor_t){
        TINKER__STR("logprobs"),
        {.dtype = TINKER__DTYPE_F32, .data = &values[i], .count = 1}};
    outputs[i] = (tinker__output_datum_t){&fields[i], 1};
  }
  tinker__number_t metric = {"loss:sum", (double)seq};
  tinker__fb_output_t out = {TINKER__STR("X"), outputs, datums, &metric, 1};
  must(tinker__fb_output_encode(&buf, &mem, &out) == 0);
  take(&buf, reply);
  free(values);
  free(fields);
  free(outputs);
}

static void sample_result(script_reply_t *reply) {
  static const int32_t tokens[2] = {5, 6};
  static const float logprobs[2] = {-0.5f, -1.5f};
  const float prompt[2] = {NAN, -2};
  tinker__mem_t mem;
  tinker__buf_t buf;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&buf, &mem, 1 << 20);
  tinker__sequence_view_t sequence = {
      .stopped = true,
      .tokens = tokens,
      .logprobs = logprobs,
      .count = 2,
  };
  tinker__sample_result_t out = {
      .sequences = &sequence,
      .sequence_count = 1,
      .prompt_logprobs = prompt,
      .prompt_count = 2,
  };
  must(tinker__sample_result_encode(&buf, &mem, &out) == 0);
  take(&buf, reply);
}

static void on_retrieve(void *user, const script_request_t *q,
                        script_reply_t *reply) {
  rig_t *rig = user;
  char kind[64];
  long seq = 0;
  size_t datums = 0;
  const char *id = strstr(q->body, "\"request_id\":\"");
  must(id);
  must(sscanf(id + 14, "%63[a-z_]-%ld-%zu", kind, &seq, &datums) == 3);
  if (!strcmp(kind, "forward_backward")) {
    fb_result(seq, datums, reply);
  } else if (!strcmp(kind, "asample")) {
    sample_result(reply);
  } else if (!strcmp(kind, "create_model")) {
    say(reply, "{\"model_id\":\"%s:train:%ld\"}", rig->session,
        rig->many ? seq : 0);
  } else if (!strcmp(kind, "optim_step")) {
    say(reply, "{\"metrics\":{\"%s\":%ld}}", "step", seq);
  } else if (!strcmp(kind, "save_weights_for_sampler")) {
    say(reply,
        "{\"path\":\"tinker://s1:train:0/sampler_weights/%s\","
        "\"sampling_session_id\":\"s1:sample:%ld\"}",
        "w", seq);
  } else {
    say(reply, "{\"path\":\"tinker://s1:train:0/%s\"}", "weights/a", 0);
  }
}

#define CHECKPOINT                                                             \
  "{\"checkpoint_id\":\"weights/a\",\"checkpoint_type\":\"training\","         \
  "\"tinker_path\":\"tinker://s1:train:0/weights/a\",\"user_metadata\":{"      \
  "\"epoch\":\"1\",\"q\":\"\\\"\"},\"expires_at\":\"2026-11-22T00:00:00Z\"}"
#define RUN                                                                    \
  "{\"training_run_id\":\"s1:train:0\",\"base_model\":\"tiny\","               \
  "\"last_checkpoint\":" CHECKPOINT "}"

static void on_rest(void *user, const script_request_t *q,
                    script_reply_t *reply) {
  (void)user;
  const char *after = strchr(q->path + strlen("api/v1/"), '/');
  if (q->method != TINKER__HTTP_GET) {
    reply->status = 204;
  } else if (strstr(q->path, "/checkpoints")) {
    reply->body = "{\"checkpoints\":[" CHECKPOINT "]}";
  } else if (strstr(q->path, "/sessions")) {
    reply->body = after ? "{\"training_run_ids\":[\"s1:train:0\"],"
                          "\"sampler_ids\":[]}"
                        : "{\"sessions\":[\"s1\"]}";
  } else {
    reply->body = after ? RUN : "{\"training_runs\":[" RUN "],\"cursor\":{}}";
  }
}

static void on_weights_info(void *user, const script_request_t *q,
                            script_reply_t *reply) {
  (void)user;
  (void)q;
  reply->body = "{\"base_model\":\"tiny\",\"is_lora\":true,\"lora_rank\":8}";
}

static void serve_rest(script_t *s) {
  static const char *const asked[] = {
      "api/v1/training_runs*", "api/v1/checkpoints*", "api/v1/sessions*"};
  for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
    script_always(s, TINKER__HTTP_GET, asked[i], on_rest, NULL);
  }
  script_always(s, TINKER__HTTP_PUT, asked[0], on_rest, NULL);
  script_always(s, TINKER__HTTP_DELETE, asked[0], on_rest, NULL);
  script_always(s, TINKER__HTTP_POST, "api/v1/weights_info", on_weights_info,
                NULL);
}

static void serve(rig_t *rig) {
  static const char *const submits[] = {CREATE,
                                        FB,
                                        OPTIM,
                                        SAVE,
                                        ASAMPLE,
                                        "api/v1/load_weights",
                                        "api/v1/save_weights_for_sampler"};
  script_new(&rig->script, rig->on);
  script_t *s = rig->script;
  script_always(s, TINKER__HTTP_POST, "api/v1/client/config", on_config, rig);
  script_always(s, TINKER__HTTP_POST, "api/v1/client/dynamic_config", on_empty,
                rig);
  script_always(s, TINKER__HTTP_POST, "api/v1/create_session", on_session, rig);
  script_always(s, TINKER__HTTP_POST, "api/v1/session_heartbeat", on_empty,
                rig);
  script_always(s, TINKER__HTTP_POST, "api/v1/sessions/*", on_empty, rig);
  script_always(s, TINKER__HTTP_POST, "api/v1/get_info", on_info, rig);
  script_always(s, TINKER__HTTP_GET, "api/v1/get_server_capabilities",
                on_capabilities, rig);
  script_always(s, TINKER__HTTP_POST, "api/v1/create_sampling_session",
                on_sampling, rig);
  script_always(s, TINKER__HTTP_GET, "api/v1/samplers/*", on_sampler, rig);
  script_always(s, TINKER__HTTP_POST, RETRIEVE, on_retrieve, rig);
  serve_rest(s);
  for (size_t i = 0; i < sizeof submits / sizeof submits[0]; i++) {
    script_always(s, TINKER__HTTP_POST, submits[i], on_submit, rig);
  }
}

void rig_init(rig_t *rig, const char *config) {
  *rig = (rig_t){.config = config ? config : "{}", .session = "s1"};
  tinker__mem_init(&rig->mem, NULL, 0);
  fake_loop_init(&rig->loop, &rig->mem);
  rig->on = &rig->loop.base;
  serve(rig);
}

void rig_init_threads(rig_t *rig) {
  *rig = (rig_t){.config = "{}", .session = "s1"};
  tinker__mem_init(&rig->mem, NULL, 0);
  int rc = tinker__loop_background(&rig->on, &rig->mem, tinker__world_real());
  must(rc == 0);
  serve(rig);
}

void rig_init_step(rig_t *rig) {
  *rig = (rig_t){.config = "{}", .session = "s1", .mode = TINKER_RUN_STEP};
  tinker__mem_init(&rig->mem, NULL, 0);
  must(tinker__loop_step(&rig->on, &rig->mem, tinker__world_real()) == 0);
  serve(rig);
}

void rig_init_uv(rig_t *rig, struct uv_loop_s *uv) {
  *rig = (rig_t){.config = "{}", .session = "s1", .uv = uv};
  tinker__mem_init(&rig->mem, NULL, 0);
  must(tinker__loop_borrowed(&rig->on, &rig->mem, tinker__world_real(), uv) ==
       0);
  serve(rig);
}

static void on_log(void *user, tinker_log_level_t level, const char *component,
                   const char *message) {
  rig_t *rig = user;
  if (level == TINKER_LOG_DEBUG && rig->traced < 64) {
    snprintf(rig->trace[rig->traced++], sizeof rig->trace[0], "%s: %s",
             component, message);
  }
  if (level < TINKER_LOG_WARNING) return;
  rig->log_lines++;
  snprintf(rig->log_line, sizeof rig->log_line, "%s: %s", component, message);
}

int rig_client(rig_t *rig) {
  tinker_client_options_t o;
  tinker__client_parts_t parts = {&rig->mem, rig->on, script_http(rig->script),
                                  rig->on == &rig->loop.base, rig->uv};
  char why[128];
  tinker_client_options_init(&o);
  if (!rig->no_log_cb) o.log_cb = on_log;
  o.log_user = rig;
  o.event_cb = rig->event_cb;
  o.event_user = rig->event_user;
  if (rig->log_level) o.log_level = rig->log_level;
  o.base_url = rig->base_url;
  o.mode = rig->mode;
  o.seams = rig->seams;
  o.adopt = rig->adopt;
  o.metadata = rig->metadata;
  o.metadata_count = rig->metadata_count;
  return tinker__client_new_on(&rig->client, &o, &parts, why, sizeof why);
}

void rig_run(rig_t *rig) {
  fake_loop_run(&rig->loop);
}

void rig_seen(tinker_future_t *future, int status, void *user) {
  seen_t *seen = user;
  (void)future;
  seen->calls++;
  seen->status = status;
  if (seen->rig) seen->at_ms = seen->rig->loop.now_ms;
}

static void close_http(void *user) {
  tinker__http_close(script_http(((rig_t *)user)->script), NULL, NULL);
}

void rig_drop(rig_t *rig) {
  rig->mem.fail_at = 0;
  fake_loop_call(&rig->loop, close_http, rig);
  fake_loop_run(&rig->loop);
  rig_done(rig);
}

void rig_done(rig_t *rig) {
  rig->client = tinker_client_release(rig->client);
  if (rig->on == &rig->loop.base) fake_loop_run(&rig->loop);
  must(script_surprise(rig->script) == NULL);
  script_free(rig->script);
  if (rig->mem.live_blocks != 0) {
    fprintf(stderr, "rig: %zu blocks left\n", (size_t)rig->mem.live_blocks);
    abort();
  }
}

tinker_trainer_t *rig_trainer(rig_t *rig) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  tinker_trainer_t *t = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  must(calls_begun(tinker_client_create_trainer(rig->client, &o, NULL), &f) ==
       0);
  must(tinker_future_wait(f, 60000) == 0);
  must(tinker_future_get_trainer(f, &t) == 0);
  tinker_future_release(f);
  return t;
}

tinker_sampler_t *rig_sampler(rig_t *rig) {
  tinker_future_t *f = NULL;
  tinker_sampler_t *s = NULL;
  must(calls_begun(tinker_client_create_sampler(rig->client, "tiny", NULL),
                   &f) == 0);
  must(tinker_future_wait(f, 60000) == 0);
  must(tinker_future_get_sampler(f, &s) == 0);
  tinker_future_release(f);
  return s;
}

tinker_datum_t **rig_batch(size_t n, size_t len) {
  tinker_datum_t **batch = calloc(n, sizeof *batch);
  int32_t *tokens = calloc(len + 1, sizeof *tokens);
  for (size_t i = 0; i <= len; i++) tokens[i] = (int32_t)i;
  for (size_t i = 0; i < n; i++) {
    must(tinker_datum_new_supervised(&batch[i], tokens, NULL, len + 1, NULL,
                                     NULL) == 0);
  }
  free(tokens);
  return batch;
}

void rig_batch_free(tinker_datum_t **batch, size_t n) {
  for (size_t i = 0; i < n; i++) tinker_datum_release(batch[i]);
  free(batch);
}
