/* Results of sampling, see results.h. */
#include "api/results.h"

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
  tinker__str_t body = tinker__result_body(f, 0);
  if (body.len && body.ptr[0] == '{') {
    return tinker__sample_result_decode_json(out, arena, body, why, why_len);
  }
  return tinker__sample_result_take(out, arena, tinker__result_take_body(f, 0),
                                    body.len, why, why_len);
}

static tinker_error_t *decode_sample(tinker_future_t *f) {
  char why[TINKER__RESULT_WHY] = "";
  tinker__strs_t ids;
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_sample_result_t *out = tinker__arena_alloc(arena, sizeof *out);
  if (!out) return tinker__result_malformed(f, TINKER_ENOMEM, "");
  int rc = read_sample(f, &out->wire, why, sizeof why);
  if (!rc) rc = read_ids(f, &ids, why, sizeof why);
  if (!rc) rc = join_ids(out, arena, &ids, why, sizeof why);
  if (rc) return tinker__result_malformed(f, rc, why);
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

TINKER__RESULT(sample);
