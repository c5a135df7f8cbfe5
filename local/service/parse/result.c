/* result: writes the results of finished calls through wire. Engine thread; the
 * JSON forms are written on the thread that answers a poll. */
#include <string.h>

#include <tinker/error.h>

#include "service/parse/work.h"
#include "wire/fb_output.h"

/* --- forward_backward ----------------------------------------------------- */

static tinker__tensor_view_t view_of(const tinker__eng_train_datum_t *d,
                                     const float *data) {
  tinker__tensor_view_t t = {
      .dtype = TINKER__DTYPE_F32,
      .ndim = d->soft ? 2 : 1,
      .shape = {(int64_t)d->n, (int64_t)d->k},
      .data = data,
      .count = d->n * d->k,
  };
  return t;
}

int tinker__svc_result_forward_backward(tinker__buf_t *out,
                                        tinker__svc_work_t *w, double loss) {
  bool ce = w->loss.kind == TINKER__LOSS_CROSS_ENTROPY;
  size_t per = ce ? 2 : 1;
  tinker__named_tensor_t *fields =
      tinker__arena_array(&w->arena, w->n_data * per, sizeof *fields);
  tinker__output_datum_t *datums =
      tinker__arena_array(&w->arena, w->n_data, sizeof *datums);
  if (!fields || !datums) return TINKER_ENOMEM;
  for (size_t i = 0; i < w->n_data; i++) {
    const tinker__eng_train_datum_t *d = &w->data[i];
    tinker__named_tensor_t *f = &fields[i * per];
    f[0] = (tinker__named_tensor_t){TINKER__STR("logprobs"),
                                    view_of(d, d->out_logprobs)};
    if (ce) {
      f[1] = (tinker__named_tensor_t){TINKER__STR("elementwise_loss"),
                                      view_of(d, d->out_loss)};
    }
    datums[i] = (tinker__output_datum_t){f, per};
  }
  tinker__number_t metric = {"loss:sum", loss};
  tinker__fb_output_t result = {ce ? TINKER__STR("CrossEntropyLossReturn")
                                   : TINKER__STR("TorchLossReturn"),
                                datums, w->n_data, &metric, 1};
  return tinker__fb_output_encode(out, w->mem, &result);
}

/* --- asample -------------------------------------------------------------- */

static tinker__sequence_view_t *sequences(tinker__arena_t *arena,
                                          const tinker__eng_gen_t *gen) {
  tinker__sequence_view_t *seqs =
      tinker__arena_array(arena, gen->num_samples, sizeof *seqs);
  for (size_t i = 0; seqs && i < gen->num_samples; i++) {
    const tinker__eng_gen_seq_t *q = &gen->seqs[i];
    seqs[i] = (tinker__sequence_view_t){
        .stopped = q->stopped,
        .tokens = q->tokens,
        .logprobs = q->logprobs,
        .count = q->n,
    };
    if (gen->top_sample) {
      seqs[i].topk = (tinker__topk_view_t){gen->top_sample, q->n, q->top_ids,
                                           q->top_logprobs};
    }
  }
  return seqs;
}

/* Fills the entries of positions that were not asked for, and of the first
 * token, which nothing predicts. */
static void pad_top(const tinker__eng_gen_t *gen) {
  for (size_t i = 0; i < gen->top_prompt * gen->prompt_from; i++) {
    gen->top_prompt_ids[i] = 0;
    gen->top_prompt_logprobs[i] = TINKER__TOPK_PADDING;
  }
}

static int add_draws(tinker__sample_result_t *out, tinker__arena_t *arena,
                     const tinker__eng_gen_t *gen) {
  size_t n = (gen->n_prompt - 1) * gen->draws;
  int64_t *ids = tinker__arena_array(arena, n, sizeof *ids);
  if (!ids) return TINKER_ENOMEM;
  for (size_t i = 0; i < n; i++) ids[i] = gen->draw_ids[i];
  tinker__tensor_view_t t = {
      .dtype = TINKER__DTYPE_I64,
      .ndim = 2,
      .shape = {(int64_t)gen->n_prompt - 1, (int64_t)gen->draws},
      .data = ids,
      .count = n,
  };
  out->has_alt = true;
  out->alt_tokens = out->alt_logprobs = t;
  out->alt_logprobs.dtype = TINKER__DTYPE_F32;
  out->alt_logprobs.data = gen->draw_logprobs;
  return 0;
}

static int about_prompt(tinker__sample_result_t *out, tinker__arena_t *arena,
                        const tinker__eng_gen_t *gen,
                        const tinker__tensor_view_t *target) {
  if (gen->prompt_logprobs) {
    out->prompt_logprobs = gen->prompt_logprobs;
    out->prompt_count = gen->n_prompt;
  }
  if (gen->top_prompt) {
    pad_top(gen);
    out->prompt_topk =
        (tinker__topk_view_t){gen->top_prompt, gen->n_prompt,
                              gen->top_prompt_ids, gen->top_prompt_logprobs};
  }
  if (target) { /* answered in the layout of the request */
    out->has_target = true;
    out->target = *target;
    out->target.dtype = TINKER__DTYPE_F32;
    out->target.data = gen->target_logprobs;
  }
  return gen->draws ? add_draws(out, arena, gen) : 0;
}

int tinker__svc_result_sample(tinker__buf_t *out, const tinker__eng_gen_t *gen,
                              const tinker__tensor_view_t *target) {
  tinker__arena_t arena;
  tinker__arena_init(&arena, gen->mem);
  tinker__sample_result_t result = {
      .sequences = sequences(&arena, gen),
      .sequence_count = gen->num_samples,
  };
  int rc = result.sequences ? 0 : TINKER_ENOMEM;
  if (rc == 0) rc = about_prompt(&result, &arena, gen, target);
  if (rc == 0) rc = tinker__sample_result_encode(out, gen->mem, &result);
  tinker__arena_free(&arena);
  return rc;
}

/* --- JSON forms ----------------------------------------------------------- */

/* True if the text at p, which is outside of a string, is the ".0" of a float
 * without a fraction. */
static bool is_float_mark(const char *p, const char *end) {
  return end - p >= 2 && p[0] == '.' && p[1] == '0' &&
         (end - p == 2 || p[2] < '0' || p[2] > '9');
}

void tinker__svc_result_older_form(tinker__buf_t *out, tinker__str_t json) {
  const char *end = json.ptr + json.len;
  bool quoted = false;
  for (const char *p = json.ptr; p < end; p++) {
    if (!quoted && is_float_mark(p, end)) {
      p++;
      continue;
    }
    if (quoted && *p == '\\' && p + 1 < end) {
      tinker__buf_addc(out, *p++);
    } else if (*p == '"') {
      quoted = !quoted;
    }
    tinker__buf_addc(out, *p);
  }
}

static int sample_as_json(tinker__buf_t *out, tinker__arena_t *arena,
                          tinker__str_t data) {
  tinker__sample_result_t result;
  int rc = tinker__sample_result_decode(&result, arena, data, NULL, 0);
  return rc ? rc : tinker__sample_result_encode_json(out, &result);
}

static int output_as_json(tinker__buf_t *out, tinker__arena_t *arena,
                          tinker__str_t data) {
  tinker__fb_output_t result;
  int rc = tinker__fb_output_decode(&result, arena, data, NULL, 0);
  return rc ? rc : tinker__fb_output_encode_json(out, &result);
}

void tinker__svc_reply_result_as_json(tinker__svc_req_t *r,
                                      tinker__svc_op_kind_t kind,
                                      const void *data, size_t len) {
  tinker__arena_t arena;
  tinker__jsonw_t w;
  tinker__str_t bytes = {data, len};
  tinker__arena_init(&arena, r->service->mem);
  tinker__svc_reply_json(r, &w);
  int rc = kind == TINKER__SVC_OP_SAMPLE
               ? sample_as_json(&r->reply, &arena, bytes)
               : output_as_json(&r->reply, &arena, bytes);
  tinker__arena_free(&arena);
  if (rc != 0) {
    tinker__svc_reply_error(r, 500, "the result could not be written");
  }
}
