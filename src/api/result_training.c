/* Results of a training step: outputs and metrics, see results.h. */
#include "api/results.h"

#include <string.h>

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
      tinker__result_message(f, &tinker__optim_step_result_msg, &reply);
  if (error) return error;
  tinker_optim_result_t *out = tinker__arena_alloc(arena, sizeof *out);
  const tinker_metric_t *metrics =
      metrics_of(arena, reply.metrics.items, reply.metrics.count);
  if (!out || !metrics) return tinker__result_malformed(f, TINKER_ENOMEM, "");
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
    return tinker__fb_output_decode_json(out, arena, tinker__result_body(f, i),
                                         why, why_len);
  }
  return tinker__fb_output_take(out, arena, tinker__result_take_body(f, i),
                                f->raw[i].len, why, why_len);
}

static tinker_error_t *decode_forward(tinker_future_t *f) {
  char why[TINKER__RESULT_WHY] = "";
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_forward_result_t *out = tinker__arena_alloc(arena, sizeof *out);
  tinker__fb_output_t *parts =
      tinker__arena_array(arena, f->raw_count, sizeof *parts);
  if (!out || !parts) return tinker__result_malformed(f, TINKER_ENOMEM, "");
  int rc = 0;
  for (size_t i = 0; i < f->raw_count && !rc; i++) {
    rc = read_output(f, i, &parts[i], why, sizeof why);
    tinker__raw_free(&f->raw[i], f->mem);
  }
  if (!rc) {
    rc = tinker__fb_output_combine(&out->output, arena, parts, f->raw_count,
                                   why, sizeof why);
  }
  if (rc) return tinker__result_malformed(f, rc, why);
  out->metrics =
      metrics_of(arena, out->output.metrics, out->output.metric_count);
  if (!out->metrics) return tinker__result_malformed(f, TINKER_ENOMEM, "");
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

TINKER__RESULT(forward);
TINKER__RESULT(optim);
