/* Replies to results: the decoders of futures, and what reads their results.
 * Decoders run on the delivery thread or the first asker's. */
#include "api/results.h"

#include <string.h>

#include "api/handles.h"
#include "api/job.h"
#include "base/error.h"
#include "http/url.h"

#define WHY_MAX 256

static tinker__str_t body_of(const tinker_future_t *f, size_t i) {
  return (tinker__str_t){f->raw[i].data ? f->raw[i].data : "", f->raw[i].len};
}

/* For a result that points into it. */
static char *take_body(tinker_future_t *f, size_t i) {
  char *body = f->raw[i].data;
  f->raw[i].data = NULL;
  return body;
}

static bool only_asks(const tinker_future_t *f) {
  return f->ops == &tinker__result_info ||
         f->ops == &tinker__result_capabilities;
}

/* The server has done what it was asked to; only its answer is of no use. Doing
 * it again would be doing it twice. */
static tinker_error_t *malformed(tinker_future_t *f, int code,
                                 const char *why) {
  if (code != TINKER_ENOMEM && code != TINKER_EOVERFLOW) code = TINKER_EPROTO;
  tinker__error_spec_t spec = {
      .code = code,
      .advice = only_asks(f) ? 0 : TINKER__ADVICE_UNKNOWN,
      .where = tinker__job_of(f)->core->where,
  };
  return tinker__error_new(f->mem, &spec,
                           "the request was carried out, but its result can't "
                           "be read: %s",
                           code == TINKER_ENOMEM ? tinker_code_text(code)
                                                 : why);
}

static tinker_error_t *
read_message(tinker_future_t *f, const tinker__bind_table_t *table, void *out) {
  char why[WHY_MAX] = "";
  tinker__job_t *job = tinker__job_of(f);
  int rc = tinker__message_decode(table, out, &job->arena, body_of(f, 0), why,
                                  sizeof why);
  return rc ? malformed(f, rc, why) : NULL;
}

static const char *or_empty(const char *s) {
  return s ? s : "";
}

/* --- handles --- */

static tinker_error_t *decode_trainer(tinker_future_t *f) {
  tinker__get_info_reply_t info;
  tinker__job_t *job = tinker__job_of(f);
  tinker_error_t *error = read_message(f, &tinker__get_info_reply_msg, &info);
  if (error) return error;
  int rc = tinker__trainer_new(&job->trainer, job->core, job->model_id);
  if (!rc && job->next_seq) job->trainer->turn->next_seq = job->next_seq;
  f->result = job->trainer;
  return rc ? malformed(f, rc, "") : NULL;
}

static tinker_error_t *new_sampler(tinker_future_t *f, const char *id,
                                   const char *field) {
  tinker__job_t *job = tinker__job_of(f);
  char why[WHY_MAX];
  if (!id || !id[0]) {
    tinker__why(why, sizeof why, 0, "%s is missing", field);
    return malformed(f, TINKER_EPROTO, why);
  }
  if (!tinker__segment_ok(id)) {
    tinker__why(why, sizeof why, 0, "%s \"%s\" may not be a part of a path",
                field, id);
    return malformed(f, TINKER_EPROTO, why);
  }
  int rc = tinker__sampler_new(&job->sampler, job->core, id);
  f->result = job->sampler;
  return rc ? malformed(f, rc, "") : NULL;
}

static tinker_error_t *decode_sampler(tinker_future_t *f) {
  tinker__create_sampling_reply_t reply;
  tinker_error_t *error =
      read_message(f, &tinker__create_sampling_reply_msg, &reply);
  return error
             ? error
             : new_sampler(f, reply.sampling_session_id, "sampling_session_id");
}

static tinker_error_t *decode_ephemeral(tinker_future_t *f) {
  tinker__save_sampler_result_t reply;
  tinker_error_t *error =
      read_message(f, &tinker__save_sampler_result_msg, &reply);
  return error
             ? error
             : new_sampler(f, reply.sampling_session_id, "sampling_session_id");
}

/* --- small results --- */

static tinker_error_t *decode_none(tinker_future_t *f) {
  tinker__load_weights_result_t reply;
  return read_message(f, &tinker__load_weights_result_msg, &reply);
}

/* Decodes the answer to a save of either kind, which has a path. */
static tinker_error_t *decode_path(tinker_future_t *f) {
  tinker__save_weights_result_t reply;
  tinker_error_t *error =
      read_message(f, &tinker__save_weights_result_msg, &reply);
  if (error) return error;
  if (!reply.path) return malformed(f, TINKER_EPROTO, "path is missing");
  f->result = (void *)(uintptr_t)reply.path;
  return NULL;
}

/* The client's own doing: there is no answer. */
static tinker_error_t *decode_done(tinker_future_t *f) {
  (void)f;
  return NULL;
}

/* The client's own text: it is the result as it is. */
static tinker_error_t *decode_dump(tinker_future_t *f) {
  f->result = f->raw[0].data;
  f->raw[0].data = NULL; /* raw replies go after decoding */
  return NULL;
}

static tinker_error_t *decode_info(tinker_future_t *f) {
  tinker__get_info_reply_t reply;
  tinker__job_t *job = tinker__job_of(f);
  tinker_error_t *error = read_message(f, &tinker__get_info_reply_msg, &reply);
  if (error) return error;
  tinker_model_info_t *info = tinker__arena_alloc(&job->arena, sizeof *info);
  if (!info) return malformed(f, TINKER_ENOMEM, "");
  const char *name = reply.model_data.model_name ? reply.model_data.model_name
                                                 : reply.model_name;
  *info = (tinker_model_info_t){
      .model_id = or_empty(reply.model_id),
      .base_model = or_empty(name),
      .arch = or_empty(reply.model_data.arch),
      .tokenizer_id = or_empty(reply.model_data.tokenizer_id),
      .lora_rank = reply.has_lora_rank && reply.lora_rank > 0 &&
                           reply.lora_rank <= UINT32_MAX
                       ? (uint32_t)reply.lora_rank
                       : 0};
  f->result = info;
  return NULL;
}

static int32_t tristate(bool has, bool value) {
  return has ? value : -1;
}

static tinker_error_t *decode_capabilities(tinker_future_t *f) {
  tinker__capabilities_reply_t reply;
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_error_t *error =
      read_message(f, &tinker__capabilities_reply_msg, &reply);
  if (error) return error;
  const tinker__capability_t *in = reply.supported_models.items;
  size_t n = reply.supported_models.count;
  tinker_capabilities_t *out = tinker__arena_alloc(arena, sizeof *out);
  tinker_supported_model_t *models =
      tinker__arena_array(arena, n, sizeof *models);
  if (!out || !models) return malformed(f, TINKER_ENOMEM, "");
  for (size_t i = 0; i < n; i++) {
    models[i] = (tinker_supported_model_t){
        .name = or_empty(in[i].model_name),
        .max_context_length =
            in[i].has_max_context_length && in[i].max_context_length > 0
                ? (uint64_t)in[i].max_context_length
                : 0,
        .trainable = tristate(in[i].has_trainable, in[i].trainable),
        .sampleable = tristate(in[i].has_sampleable, in[i].sampleable),
    };
  }
  *out = (tinker_capabilities_t){models, n};
  f->result = out;
  return NULL;
}

static const tinker_metric_t *metrics_of(tinker__arena_t *arena,
                                         const tinker__number_t *in, size_t n) {
  tinker_metric_t *out = tinker__arena_array(arena, n ? n : 1, sizeof *out);
  for (size_t i = 0; out && i < n; i++) {
    out[i] = (tinker_metric_t){in[i].name, in[i].value};
  }
  return out;
}

static tinker_error_t *decode_optim(tinker_future_t *f) {
  tinker__optim_step_result_t reply;
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_error_t *error =
      read_message(f, &tinker__optim_step_result_msg, &reply);
  if (error) return error;
  tinker_optim_result_t *out = tinker__arena_alloc(arena, sizeof *out);
  const tinker_metric_t *metrics =
      metrics_of(arena, reply.metrics.items, reply.metrics.count);
  if (!out || !metrics) return malformed(f, TINKER_ENOMEM, "");
  *out = (tinker_optim_result_t){metrics, reply.metrics.count};
  f->result = out;
  return NULL;
}

/* --- forward and forward_backward --- */

static int read_output(tinker_future_t *f, size_t i, tinker__fb_output_t *out,
                       char *why, size_t why_len) {
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  /* A server without protobuf answers in JSON; the first byte of an object
   * can't begin the message. */
  if (f->raw[i].len > 0 && f->raw[i].data[0] == '{') {
    return tinker__fb_output_decode_json(out, arena, body_of(f, i), why,
                                         why_len);
  }
  return tinker__fb_output_take(out, arena, take_body(f, i), f->raw[i].len, why,
                                why_len);
}

static tinker_error_t *decode_forward(tinker_future_t *f) {
  char why[WHY_MAX] = "";
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_forward_result_t *out = tinker__arena_alloc(arena, sizeof *out);
  tinker__fb_output_t *parts =
      tinker__arena_array(arena, f->raw_count, sizeof *parts);
  if (!out || !parts) return malformed(f, TINKER_ENOMEM, "");
  int rc = 0;
  for (size_t i = 0; i < f->raw_count && !rc; i++) {
    rc = read_output(f, i, &parts[i], why, sizeof why);
    tinker__raw_free(&f->raw[i], f->mem);
  }
  if (!rc) {
    rc = tinker__fb_output_combine(&out->output, arena, parts, f->raw_count,
                                   why, sizeof why);
  }
  if (rc) return malformed(f, rc, why);
  out->metrics =
      metrics_of(arena, out->output.metrics, out->output.metric_count);
  if (!out->metrics) return malformed(f, TINKER_ENOMEM, "");
  f->result = out;
  return NULL;
}

size_t tinker_forward_result_count(const tinker_forward_result_t *result) {
  return result ? result->output.datum_count : 0;
}

static void view_of(const tinker__tensor_view_t *t, tinker_tensor_view_t *out) {
  bool is_float = t->dtype == TINKER__DTYPE_F32;
  *out = (tinker_tensor_view_t){.count = t->count, .ndim = 1};
  out->shape[0] = (int64_t)t->count;
  if (t->count) out->f32 = is_float ? t->data : NULL;
  if (t->count) out->i64 = is_float ? NULL : t->data;
  if (t->ndim == 2) {
    out->ndim = 2;
    memcpy(out->shape, t->shape, sizeof out->shape);
  }
}

int tinker_forward_result_tensor(const tinker_forward_result_t *result,
                                 size_t index, const char *name,
                                 tinker_tensor_view_t *out) {
  if (!result || !name || !out || index >= result->output.datum_count) {
    return TINKER_EINVAL;
  }
  const tinker__output_datum_t *datum = &result->output.datums[index];
  for (size_t i = 0; i < datum->field_count; i++) {
    if (!tinker__str_eqs(datum->fields[i].name, name)) continue;
    view_of(&datum->fields[i].tensor, out);
    return 0;
  }
  return TINKER_ENOENT;
}

int tinker_forward_result_metric(const tinker_forward_result_t *result,
                                 const char *name, double *out) {
  if (!result || !name || !out) return TINKER_EINVAL;
  for (size_t i = 0; i < result->output.metric_count; i++) {
    if (strcmp(result->metrics[i].name, name)) continue;
    *out = result->metrics[i].value;
    return 0;
  }
  return TINKER_ENOENT;
}

const tinker_metric_t *
tinker_forward_result_metrics(const tinker_forward_result_t *result,
                              size_t *count) {
  size_t n = result ? result->output.metric_count : 0;
  if (count) *count = n;
  return n ? result->metrics : NULL;
}

const tinker_metric_t *
tinker_optim_result_metrics(const tinker_optim_result_t *result,
                            size_t *count) {
  size_t n = result ? result->metric_count : 0;
  if (count) *count = n;
  return n ? result->metrics : NULL;
}

/* --- samples --- */

static int read_ids(tinker_future_t *f, tinker__strs_t *out, char *why,
                    size_t why_len) {
  tinker__accepted_t accepted;
  const tinker__raw_t *raw = &f->raw[0];
  tinker__str_t body = {raw->accepted ? raw->accepted : "", raw->accepted_len};
  int rc =
      tinker__message_decode(&tinker__accepted_msg, &accepted,
                             &tinker__job_of(f)->arena, body, why, why_len);
  if (!rc) *out = accepted.sample_sequence_ids;
  return rc;
}

/* Servers of the protocol before 0.26 send no sequence ids. */
static int join_ids(tinker_sample_result_t *out, tinker__arena_t *arena,
                    const tinker__strs_t *ids, char *why, size_t why_len) {
  size_t n = out->wire.sequence_count;
  if (ids->count && ids->count != n) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "%zu sequences, but %zu sample_sequence_ids", n,
                       ids->count);
  }
  tinker_sequence_t *s = tinker__arena_array(arena, n ? n : 1, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    const tinker__sequence_view_t *in = &out->wire.sequences[i];
    s[i] = (tinker_sequence_t){
        .sequence_id = ids->count ? ids->items[i] : "",
        .tokens = in->tokens,
        .logprobs = in->logprobs,
        .count = in->count,
        .stopped = in->stopped,
    };
  }
  out->sequences = s;
  return 0;
}

static int read_sample(tinker_future_t *f, tinker__sample_result_t *out,
                       char *why, size_t why_len) {
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker__str_t body = body_of(f, 0);
  if (body.len && body.ptr[0] == '{') {
    return tinker__sample_result_decode_json(out, arena, body, why, why_len);
  }
  return tinker__sample_result_take(out, arena, take_body(f, 0), body.len, why,
                                    why_len);
}

static tinker_error_t *decode_sample(tinker_future_t *f) {
  char why[WHY_MAX] = "";
  tinker__strs_t ids;
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_sample_result_t *out = tinker__arena_alloc(arena, sizeof *out);
  if (!out) return malformed(f, TINKER_ENOMEM, "");
  int rc = read_sample(f, &out->wire, why, sizeof why);
  if (!rc) rc = read_ids(f, &ids, why, sizeof why);
  if (!rc) rc = join_ids(out, arena, &ids, why, sizeof why);
  if (rc) return malformed(f, rc, why);
  f->result = out;
  return NULL;
}

const tinker_sequence_t *
tinker_sample_result_sequences(const tinker_sample_result_t *result,
                               size_t *count) {
  if (count) *count = result ? result->wire.sequence_count : 0;
  return result ? result->sequences : NULL;
}

const float *
tinker_sample_result_prompt_logprobs(const tinker_sample_result_t *result,
                                     size_t *count) {
  bool there = result && result->wire.prompt_logprobs;
  if (count) *count = there ? result->wire.prompt_count : 0;
  return there ? result->wire.prompt_logprobs : NULL;
}

size_t tinker_sample_result_prompt_topk(const tinker_sample_result_t *result,
                                        size_t position, const int32_t **tokens,
                                        const float **logprobs) {
  if (!result || position >= result->wire.prompt_topk.length) return 0;
  const tinker__topk_view_t *t = &result->wire.prompt_topk;
  if (tokens) *tokens = t->tokens + position * t->k;
  if (logprobs) *logprobs = t->logprobs + position * t->k;
  return tinker__topk_row_len(t, position);
}

/* --- the kinds --- */

static void free_job(tinker_future_t *f) {
  tinker__job_t *job = tinker__job_of(f);
  tinker__next_forget(job->core, f);
  tinker_trainer_release(job->trainer);
  tinker_sampler_release(job->sampler);
  tinker__arena_free(&job->arena);
  tinker__mem_free(f->mem, job);
}

#define RESULT(name)                                                           \
  const tinker__future_ops_t tinker__result_##name = {decode_##name, free_job}

RESULT(none);
RESULT(done);
RESULT(trainer);
RESULT(sampler);
RESULT(ephemeral);
RESULT(forward);
RESULT(optim);
RESULT(path);
RESULT(sample);
RESULT(info);
RESULT(capabilities);

static void free_dump(tinker_future_t *f) {
  tinker__mem_free(f->mem, f->result);
  free_job(f);
}

const tinker__future_ops_t tinker__result_dump = {decode_dump, free_dump};
