/* sample_result: SampleResponse both ways (sample.h). */
#include <string.h>
#include <tinker/error.h>

#include "wire/sample.h"
#include "wire/tensor.h"

size_t tinker__topk_row_len(const tinker__topk_view_t *t, size_t row) {
  if (row >= t->length) return 0;
  const int32_t *tokens = t->tokens + row * t->k;
  const float *logprobs = t->logprobs + row * t->k;
  size_t n = 0;
  while (n < t->k && !(tokens[n] == 0 && logprobs[n] == TINKER__TOPK_PADDING)) {
    n++;
  }
  return n;
}

/* --- encoding ---------------------------------------------------------------
 */

static TinkerPublic__TopkLogprobs *topk_out(tinker__arena_t *arena,
                                            const tinker__topk_view_t *t) {
  TinkerPublic__TopkLogprobs *m = tinker__arena_alloc(arena, sizeof(*m));
  size_t cells = t->k * t->length;
  if (!m) return NULL;
  tinker_public__topk_logprobs__init(m);
  m->has_token_ids = m->has_logprobs = m->has_k = m->has_length = 1;
  m->token_ids = tinker__proto_bytes(t->tokens, cells * 4);
  m->logprobs = tinker__proto_bytes(t->logprobs, cells * 4);
  m->k = (uint32_t)t->k;
  m->length = (uint32_t)t->length;
  return m;
}

static TinkerPublic__SampledSequence *
sequence_out(tinker__arena_t *arena, const tinker__sequence_view_t *s) {
  TinkerPublic__SampledSequence *m = tinker__arena_alloc(arena, sizeof(*m));
  if (!m) return NULL;
  tinker_public__sampled_sequence__init(m);
  m->has_stop_reason = !s->stopped; /* stop is the default, 0 */
  m->stop_reason = s->stopped ? TINKER_PUBLIC__STOP_REASON__STOP_REASON_STOP
                              : TINKER_PUBLIC__STOP_REASON__STOP_REASON_LENGTH;
  m->has_tokens = s->count > 0;
  m->tokens = tinker__proto_bytes(s->tokens, s->count * 4);
  m->has_logprobs = s->logprobs != NULL;
  m->logprobs = tinker__proto_bytes(s->logprobs, s->count * 4);
  if (s->topk.length && s->topk.k) {
    m->topk_sampled_logprobs = topk_out(arena, &s->topk);
    if (!m->topk_sampled_logprobs) return NULL;
  }
  return m;
}

static int prompt_out(tinker__arena_t *arena, TinkerPublic__SampleResponse *m,
                      const tinker__sample_result_t *in) {
  m->has_prompt_logprobs = in->prompt_logprobs != NULL;
  m->prompt_logprobs =
      tinker__proto_bytes(in->prompt_logprobs, in->prompt_count * 4);
  m->has_prompt_cache_hit_tokens = in->cache_hit_tokens > 0;
  m->prompt_cache_hit_tokens = in->cache_hit_tokens < INT32_MAX
                                   ? (int32_t)in->cache_hit_tokens
                                   : INT32_MAX;
  if (in->prompt_topk.length && in->prompt_topk.k) {
    m->topk_prompt_logprobs = topk_out(arena, &in->prompt_topk);
    if (!m->topk_prompt_logprobs) return TINKER_ENOMEM;
  }
  if (in->has_target) {
    m->target_prompt_logprobs = tinker__tensor_to_proto(arena, &in->target);
    if (!m->target_prompt_logprobs) return TINKER_ENOMEM;
  }
  return 0;
}

static int alt_out(tinker__arena_t *arena, TinkerPublic__SampleResponse *m,
                   const tinker__sample_result_t *in) {
  TinkerPublic__PromptAltTokens *alt = tinker__arena_alloc(arena, sizeof(*alt));
  if (!alt) return TINKER_ENOMEM;
  tinker_public__prompt_alt_tokens__init(alt);
  alt->tokens = tinker__tensor_to_proto(arena, &in->alt_tokens);
  alt->logprobs = tinker__tensor_to_proto(arena, &in->alt_logprobs);
  m->prompt_alt_tokens = alt;
  return alt->tokens && alt->logprobs ? 0 : TINKER_ENOMEM;
}

static int result_out(tinker__arena_t *arena, TinkerPublic__SampleResponse *m,
                      const tinker__sample_result_t *in) {
  tinker_public__sample_response__init(m);
  m->sequences =
      tinker__arena_array(arena, in->sequence_count, sizeof(*m->sequences));
  if (!m->sequences) return TINKER_ENOMEM;
  for (size_t i = 0; i < in->sequence_count; i++) {
    m->sequences[i] = sequence_out(arena, &in->sequences[i]);
    if (!m->sequences[i]) return TINKER_ENOMEM;
  }
  m->n_sequences = in->sequence_count;
  int rc = prompt_out(arena, m, in);
  return rc || !in->has_alt ? rc : alt_out(arena, m, in);
}

int tinker__sample_result_encode(tinker__buf_t *out, tinker__mem_t *mem,
                                 const tinker__sample_result_t *in) {
  TinkerPublic__SampleResponse m;
  tinker__arena_t arena;
  tinker__arena_init(&arena, mem);
  int rc = result_out(&arena, &m, in);
  if (!rc) rc = tinker__proto_pack(out, &m);
  tinker__arena_free(&arena);
  return rc;
}

/* --- decoding ---------------------------------------------------------------
 */

typedef struct tinker__result_decoder_s {
  tinker__arena_t *arena;
  char *why;
  size_t why_len;
} tinker__result_decoder_t;

static int fail(const tinker__result_decoder_t *d, int code, const char *name,
                const char *text) {
  return tinker__why(d->why, d->why_len, code, "%s: %s", name, text);
}

/* The bytes of a field of int32 or float, which may not be empty. */
static int cells_in(const tinker__result_decoder_t *d, const char *name,
                    const void **out, ProtobufCBinaryData bytes) {
  *out = tinker__proto_align(d->arena, bytes, 4);
  return *out ? 0
              : fail(d, tinker__arena_error(d->arena), name,
                     tinker__arena_trouble(d->arena));
}

static int topk_in(const tinker__result_decoder_t *d, const char *name,
                   tinker__topk_view_t *out,
                   const TinkerPublic__TopkLogprobs *m) {
  if (!m || !m->k || !m->length) return 0;
  uint64_t bytes = (uint64_t)m->k * m->length; /* below 2^64 */
  if (bytes > TINKER__MAX_TENSOR_BYTES / 4 || m->token_ids.len != bytes * 4 ||
      m->logprobs.len != bytes * 4) {
    return fail(d, TINKER_EPROTO, name, "its size is not length times k");
  }
  const void *tokens = NULL, *logprobs = NULL;
  int rc = cells_in(d, name, &tokens, m->token_ids);
  if (!rc) rc = cells_in(d, name, &logprobs, m->logprobs);
  if (rc) return rc;
  *out = (tinker__topk_view_t){m->k, m->length, tokens, logprobs};
  return 0;
}

static int sequence_in(const tinker__result_decoder_t *d,
                       tinker__sequence_view_t *out,
                       const TinkerPublic__SampledSequence *m) {
  if (m->stop_reason != TINKER_PUBLIC__STOP_REASON__STOP_REASON_STOP &&
      m->stop_reason != TINKER_PUBLIC__STOP_REASON__STOP_REASON_LENGTH) {
    return fail(d, TINKER_EPROTO, "sequences.stop_reason", "is unknown");
  }
  if (m->tokens.len % 4) {
    return fail(d, TINKER_EPROTO, "sequences.tokens", "are no int32");
  }
  out->stopped = m->stop_reason == TINKER_PUBLIC__STOP_REASON__STOP_REASON_STOP;
  out->count = m->tokens.len / 4;
  if (m->logprobs.len && m->logprobs.len != m->tokens.len) {
    return fail(d, TINKER_EPROTO, "sequences.logprobs",
                "are not as many as tokens");
  }
  const void *tokens = NULL, *logprobs = NULL;
  int rc = 0;
  if (out->count) rc = cells_in(d, "sequences.tokens", &tokens, m->tokens);
  if (!rc && m->logprobs.len) {
    rc = cells_in(d, "sequences.logprobs", &logprobs, m->logprobs);
  }
  if (rc) return rc;
  out->tokens = tokens;
  out->logprobs = logprobs;
  return topk_in(d, "sequences.topk_sampled_logprobs", &out->topk,
                 m->topk_sampled_logprobs);
}

static int tensor_in(const tinker__result_decoder_t *d, const char *name,
                     bool keep, tinker__tensor_view_t *out,
                     tinker__dtype_t dtype, const TinkerPublic__Tensor *m) {
  tinker__where_t at = {name,   SIZE_MAX,  NULL, TINKER__STR(""),
                        d->why, d->why_len};
  if (!m) return tinker__where(&at, TINKER_EPROTO, "is missing");
  int rc = keep ? tinker__tensor_keep_proto(out, d->arena, m, &at)
                : tinker__tensor_from_proto(out, d->arena, m, 0, &at);
  if (!rc && out->dtype != dtype) {
    rc = tinker__where(&at, TINKER_EPROTO, "has another dtype");
  }
  return rc;
}

static int prompt_in(const tinker__result_decoder_t *d,
                     tinker__sample_result_t *out,
                     const TinkerPublic__SampleResponse *m) {
  if (m->prompt_logprobs.len % 4) {
    return fail(d, TINKER_EPROTO, "prompt_logprobs", "are no floats");
  }
  int rc = 0;
  if (m->prompt_logprobs.len) {
    const void *logprobs = NULL;
    rc = cells_in(d, "prompt_logprobs", &logprobs, m->prompt_logprobs);
    out->prompt_logprobs = logprobs;
    out->prompt_count = m->prompt_logprobs.len / 4;
  }
  out->cache_hit_tokens = m->prompt_cache_hit_tokens;
  if (!rc) {
    rc = topk_in(d, "topk_prompt_logprobs", &out->prompt_topk,
                 m->topk_prompt_logprobs);
  }
  if (!rc && m->target_prompt_logprobs) {
    out->has_target = true;
    rc = tensor_in(d, "target_prompt_logprobs", true, &out->target,
                   TINKER__DTYPE_F32, m->target_prompt_logprobs);
  }
  if (!rc && m->prompt_alt_tokens) {
    out->has_alt = true;
    rc = tensor_in(d, "prompt_alt_tokens.tokens", false, &out->alt_tokens,
                   TINKER__DTYPE_I64, m->prompt_alt_tokens->tokens);
    if (!rc) {
      rc = tensor_in(d, "prompt_alt_tokens.logprobs", false, &out->alt_logprobs,
                     TINKER__DTYPE_F32, m->prompt_alt_tokens->logprobs);
    }
  }
  return rc;
}

/* body is the arena's, and writable. */
static int result_in(tinker__sample_result_t *out, tinker__arena_t *arena,
                     tinker__str_t body, char *why, size_t why_len) {
  tinker__result_decoder_t d = {arena, why, why_len};
  int rc;
  TinkerPublic__SampleResponse *m =
      tinker__proto_scan(&tinker_public__sample_response__descriptor, arena,
                         body, &rc, why, why_len);
  if (!m) return rc;
  if (m->n_sequences > TINKER__MAX_SEQUENCES) {
    return fail(&d, TINKER_EOVERFLOW, "sequences", "too many");
  }
  tinker__sequence_view_t *s =
      tinker__arena_array(arena, m->n_sequences, sizeof(*s));
  if (!s) {
    return fail(&d, tinker__arena_error(arena), "sequences",
                tinker__arena_trouble(arena));
  }
  for (size_t i = 0; i < m->n_sequences; i++) {
    rc = sequence_in(&d, &s[i], m->sequences[i]);
    if (rc) return rc;
  }
  out->sequences = s;
  out->sequence_count = m->n_sequences;
  return prompt_in(&d, out, m);
}

static int decode_own(tinker__sample_result_t *out, tinker__arena_t *arena,
                      tinker__str_t body, char *why, size_t why_len) {
  memset(out, 0, sizeof(*out));
  tinker__decode_budget(arena, body.len);
  int rc = result_in(out, arena, body, why, why_len);
  tinker__arena_allow_all(arena);
  return rc;
}

static int no_room(const tinker__arena_t *arena, char *why, size_t why_len) {
  return tinker__why(why, why_len, tinker__arena_error(arena), "the result: %s",
                     tinker__arena_trouble(arena));
}

int tinker__sample_result_decode(tinker__sample_result_t *out,
                                 tinker__arena_t *arena, tinker__str_t body,
                                 char *why, size_t why_len) {
  char *copy = tinker__arena_alloc(arena, body.len);
  if (!copy) return no_room(arena, why, why_len);
  if (body.len) memcpy(copy, body.ptr, body.len);
  return decode_own(out, arena, (tinker__str_t){copy, body.len}, why, why_len);
}

int tinker__sample_result_take(tinker__sample_result_t *out,
                               tinker__arena_t *arena, char *body, size_t len,
                               char *why, size_t why_len) {
  if (!tinker__arena_adopt(arena, body)) return no_room(arena, why, why_len);
  return decode_own(out, arena, (tinker__str_t){body ? body : "", len}, why,
                    why_len);
}
