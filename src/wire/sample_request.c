/* sample_request: the client's half of asample (sample.h). The prompt is the
 * hot path: its token ids stay numbers until the body is sent. */
#include <string.h>
#include <tinker/error.h>

#include "wire/body_write.h"
#include "wire/sample.h"
#include "wire/tensor.h"

void tinker__sample_request_init(tinker__sample_request_t *r) {
  memset(r, 0, sizeof(*r));
  r->sampling_session_id = r->base_model = r->model_path = TINKER__STR("");
  r->seq_id = -1;
  r->num_samples = 1;
  r->params.temperature = 1;
  r->params.top_k = -1;
  r->params.top_p = 1;
}

static void write_text(tinker__body_writer_t *b, tinker__jsonw_t *w,
                       const tinker__text_chunk_t *text) {
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "tokens");
  tinker__jsonw_begin_array(w);
  tinker__body_ids(b, text->tokens, text->count, text->owner);
  tinker__jsonw_end_array(w);
  tinker__jsonw_key(w, "type");
  tinker__jsonw_cstr(w, "encoded_text");
  tinker__jsonw_end_object(w);
}

static void write_prompt(tinker__body_writer_t *b, tinker__jsonw_t *w,
                         const tinker__sample_request_t *in) {
  tinker__jsonw_key(w, "prompt");
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "chunks");
  tinker__jsonw_begin_array(w);
  for (size_t i = 0; i < in->chunk_count; i++) {
    switch (in->chunks[i].kind) {
    case TINKER__CHUNK_TEXT: write_text(b, w, &in->chunks[i].text); break;
    }
  }
  tinker__jsonw_end_array(w);
  tinker__jsonw_end_object(w);
}

static void write_stop(tinker__jsonw_t *w, const tinker__sample_params_t *p) {
  if (p->stop == TINKER__STOP_DEFAULT) return;
  tinker__jsonw_key(w, "stop");
  if (p->stop == TINKER__STOP_TOKENS) {
    tinker__jsonw_i32_array(w, p->stop_tokens, p->stop_count);
    return;
  }
  tinker__jsonw_begin_array(w);
  for (size_t i = 0; p->stop == TINKER__STOP_STRINGS && i < p->stop_count;
       i++) {
    tinker__jsonw_str(w, p->stop_strings[i]);
  }
  tinker__jsonw_end_array(w);
}

static void write_params(tinker__jsonw_t *w, const tinker__sample_params_t *p) {
  tinker__jsonw_key(w, "sampling_params");
  tinker__jsonw_begin_object(w);
  if (p->has_max_tokens) {
    tinker__jsonw_key(w, "max_tokens");
    tinker__jsonw_i64(w, p->max_tokens);
  }
  if (p->has_seed) {
    tinker__jsonw_key(w, "seed");
    tinker__jsonw_u64(w, p->seed);
  }
  write_stop(w, p);
  tinker__jsonw_key(w, "temperature");
  tinker__jsonw_f64(w, p->temperature);
  tinker__jsonw_key(w, "top_k");
  tinker__jsonw_i64(w, p->top_k);
  tinker__jsonw_key(w, "top_p");
  tinker__jsonw_f64(w, p->top_p);
  tinker__jsonw_end_object(w);
}

static void write_number(tinker__jsonw_t *w, const char *key, int64_t v) {
  tinker__jsonw_key(w, key);
  tinker__jsonw_i64(w, v);
}

static void write_model(tinker__jsonw_t *w,
                        const tinker__sample_request_t *in) {
  if (in->base_model.len) {
    tinker__jsonw_key(w, "base_model");
    tinker__jsonw_str(w, in->base_model);
  }
  if (in->model_path.len) {
    tinker__jsonw_key(w, "model_path");
    tinker__jsonw_str(w, in->model_path);
  }
}

/* The fields after the stamp, in the order of the official SDK. */
static void write_fields(tinker__body_writer_t *b, tinker__jsonw_t *w,
                         const tinker__sample_request_t *in) {
  write_number(w, "num_samples", in->num_samples);
  write_prompt(b, w, in);
  write_params(w, &in->params);
  write_model(w, in);
  tinker__jsonw_key(w, "prompt_logprobs");
  tinker__jsonw_bool(w, in->prompt_logprobs);
  write_number(w, "topk_prompt_logprobs", in->topk_prompt_logprobs);
  write_number(w, "topk_sample_logprobs", in->topk_sample_logprobs);
  if (in->has_target) {
    tinker__jsonw_key(w, "target_prompt_logprobs");
    tinker__tensor_to_json(w, &in->target);
  }
  write_number(w, "prompt_alt_tokens_k", in->prompt_alt_tokens_k);
  if (in->has_last_n) {
    write_number(w, "prompt_logprobs_last_n", in->prompt_logprobs_last_n);
  }
  tinker__jsonw_key(w, "record_stability_info");
  tinker__jsonw_bool(w, in->record_stability_info);
  tinker__jsonw_key(w, "type");
  tinker__jsonw_cstr(w, "sample");
}

int tinker__sample_request_encode(tinker__wire_body_t *out, tinker__mem_t *mem,
                                  const tinker__sample_request_t *in) {
  tinker__body_writer_t b;
  tinker__jsonw_t w;
  tinker__where_t at = {"target_prompt_logprobs", SIZE_MAX, NULL,
                        TINKER__STR(""),          NULL,     0};
  tinker__wire_body_init(out, mem);
  if (in->has_target && tinker__tensor_check(&in->target, &at)) {
    return TINKER_EINVAL;
  }
  tinker__body_begin(&b, out, mem, TINKER__BODY_SAMPLE, in->sampling_session_id,
                     512);
  tinker__jsonw_init(&w, &b.text);
  write_fields(&b, &w, in);
  tinker__buf_addc(&b.text, '}');
  out->estimate =
      10 * (uint64_t)tinker__chunks_length(in->chunks, in->chunk_count);
  return tinker__body_end(&b);
}
