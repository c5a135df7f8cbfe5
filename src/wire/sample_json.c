/* sample_json: the JSON form of a sample result both ways (sample.h). */
#include <string.h>
#include <tinker/error.h>

#include "wire/sample.h"
#include "wire/tensor.h"

static void topk_out(tinker__jsonw_t *w, const tinker__topk_view_t *t) {
  tinker__jsonw_begin_array(w);
  for (size_t r = 0; r < t->length; r++) {
    size_t n = tinker__topk_row_len(t, r);
    if (!n) {
      tinker__jsonw_null(w);
      continue;
    }
    tinker__jsonw_begin_array(w);
    for (size_t i = 0; i < n; i++) {
      tinker__jsonw_begin_array(w);
      tinker__jsonw_i64(w, t->tokens[r * t->k + i]);
      tinker__jsonw_f32(w, t->logprobs[r * t->k + i]);
      tinker__jsonw_end_array(w);
    }
    tinker__jsonw_end_array(w);
  }
  tinker__jsonw_end_array(w);
}

static void sequence_out(tinker__jsonw_t *w, const tinker__sequence_view_t *s) {
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "stop_reason");
  tinker__jsonw_cstr(w, s->stopped ? "stop" : "length");
  tinker__jsonw_key(w, "tokens");
  tinker__jsonw_i32_array(w, s->tokens, s->count);
  if (s->logprobs) {
    tinker__jsonw_key(w, "logprobs");
    tinker__jsonw_f32_array(w, s->logprobs, s->count);
  }
  tinker__jsonw_end_object(w);
}

static void alt_out(tinker__jsonw_t *w, const tinker__sample_result_t *in) {
  tinker__jsonw_key(w, "prompt_alt_tokens");
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "tokens");
  tinker__tensor_to_json(w, &in->alt_tokens);
  tinker__jsonw_key(w, "logprobs");
  tinker__tensor_to_json(w, &in->alt_logprobs);
  tinker__jsonw_end_object(w);
}

int tinker__sample_result_encode_json(tinker__buf_t *out,
                                      const tinker__sample_result_t *in) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "type");
  tinker__jsonw_cstr(&w, "sample");
  tinker__jsonw_key(&w, "sequences");
  tinker__jsonw_begin_array(&w);
  for (size_t i = 0; i < in->sequence_count; i++) {
    sequence_out(&w, &in->sequences[i]);
  }
  tinker__jsonw_end_array(&w);
  if (in->prompt_logprobs) {
    tinker__jsonw_key(&w, "prompt_logprobs");
    tinker__jsonw_f32_array(&w, in->prompt_logprobs, in->prompt_count);
  }
  if (in->prompt_topk.length && in->prompt_topk.k) {
    tinker__jsonw_key(&w, "topk_prompt_logprobs");
    topk_out(&w, &in->prompt_topk);
  }
  if (in->has_target) {
    tinker__jsonw_key(&w, "target_prompt_logprobs");
    tinker__tensor_to_json(&w, &in->target);
  }
  if (in->has_alt) alt_out(&w, in);
  tinker__jsonw_key(&w, "prompt_cache_hit_tokens");
  tinker__jsonw_i64(&w, in->cache_hit_tokens);
  tinker__jsonw_end_object(&w);
  return tinker__buf_error(out);
}

typedef struct tinker__result_json_s {
  tinker__arena_t *arena;
  tinker__sample_result_t *out;
  tinker__json_t j;
  char *why;
  size_t why_len;
} tinker__result_json_t;

static int fail(const tinker__result_json_t *d, int code, const char *name,
                const char *text) {
  return tinker__why(d->why, d->why_len, code, "%s: %s", name, text);
}

static int json_fail(const tinker__result_json_t *d, const char *name) {
  return fail(d, d->j.error, name, d->j.reason);
}

static int no_memory(const tinker__result_json_t *d, const char *name) {
  return fail(d, tinker__arena_error(d->arena), name,
              tinker__arena_trouble(d->arena));
}

static bool take_null(tinker__result_json_t *d) {
  return tinker__json_peek(&d->j) == TINKER__JSON_NULL &&
         tinker__json_null(&d->j);
}

/* Copies what a whole-array reader gave into the arena; frees v. */
static void *keep(tinker__result_json_t *d, void *v, size_t bytes) {
  void *copy = tinker__arena_alloc(d->arena, bytes);
  if (copy && bytes) memcpy(copy, v, bytes);
  tinker__mem_free(d->j.mem, v);
  return copy;
}

static int take_floats(tinker__result_json_t *d, const char *name,
                       const float **out, size_t *n) {
  float *v = NULL;
  *n = 0;
  if (take_null(d)) return 0;
  if (!tinker__json_f32_array(&d->j, &v, n, TINKER__MAX_TOKENS, true)) {
    tinker__mem_free(d->j.mem, v);
    return json_fail(d, name);
  }
  *out = keep(d, v, *n * sizeof(*v));
  return *out ? 0 : no_memory(d, name);
}

static int take_tokens(tinker__result_json_t *d, tinker__sequence_view_t *s) {
  int32_t *v = NULL;
  size_t n = 0;
  if (!tinker__json_i32_array(&d->j, &v, &n, TINKER__MAX_TOKENS)) {
    tinker__mem_free(d->j.mem, v);
    return json_fail(d, "sequences.tokens");
  }
  s->tokens = keep(d, v, n * sizeof(*v));
  s->count = n;
  return s->tokens ? 0 : no_memory(d, "sequences.tokens");
}

static int take_reason(tinker__result_json_t *d, tinker__sequence_view_t *s) {
  tinker__str_t reason;
  if (!tinker__json_string(&d->j, &reason)) {
    return json_fail(d, "sequences.stop_reason");
  }
  s->stopped = tinker__str_eqs(reason, "stop");
  if (!s->stopped && !tinker__str_eqs(reason, "length")) {
    return fail(d, TINKER_EJSON, "sequences.stop_reason", "is unknown");
  }
  return 0;
}

static int take_sequence(tinker__result_json_t *d, tinker__sequence_view_t *s) {
  tinker__str_t key;
  size_t logprobs = 0;
  bool reason = false;
  int rc = 0;
  memset(s, 0, sizeof(*s));
  tinker__json_object(&d->j);
  while (!rc && tinker__json_key(&d->j, &key)) {
    if (tinker__str_eqs(key, "tokens")) {
      rc = take_tokens(d, s);
    } else if (tinker__str_eqs(key, "logprobs")) {
      rc = take_floats(d, "sequences.logprobs", &s->logprobs, &logprobs);
    } else if (tinker__str_eqs(key, "stop_reason")) {
      reason = true;
      rc = take_reason(d, s);
    } else {
      tinker__json_skip(&d->j);
    }
  }
  if (rc || d->j.error) return rc ? rc : json_fail(d, "sequences");
  if (!s->tokens || !reason) {
    return fail(d, TINKER_EJSON, "sequences",
                "tokens or stop_reason is missing");
  }
  if (!logprobs) {
    s->logprobs = NULL;
  } else if (logprobs != s->count) {
    return fail(d, TINKER_EJSON, "sequences.logprobs",
                "are not as many as tokens");
  }
  return 0;
}

static int take_sequences(tinker__result_json_t *d) {
  tinker__sequence_view_t *s = NULL;
  size_t n = 0, cap = 0;
  tinker__json_array(&d->j);
  while (tinker__json_more(&d->j)) {
    if (n == TINKER__MAX_SEQUENCES) {
      return fail(d, TINKER_EOVERFLOW, "sequences", "too many");
    }
    s = tinker__arena_grow(d->arena, s, n, &cap, sizeof(*s));
    if (!s) return no_memory(d, "sequences");
    int rc = take_sequence(d, &s[n]);
    if (rc) return rc;
    n++;
  }
  d->out->sequences = s;
  d->out->sequence_count = n;
  return d->j.error ? json_fail(d, "sequences") : 0;
}

/* The rows of a top-k, cells one after another. */
typedef struct tinker__rows_s {
  int32_t *tokens;
  float *logprobs;
  size_t cells, token_cap, logprob_cap;
  size_t *ends; /* cells up to the end of each row */
  size_t rows, row_cap;
  size_t widest;
} tinker__rows_t;

/* [token, logprob] */
static int take_cell(tinker__result_json_t *d, tinker__rows_t *r) {
  static const char name[] = "topk_prompt_logprobs";
  int64_t token = 0;
  double logprob = 0;
  r->tokens = tinker__arena_grow(d->arena, r->tokens, r->cells, &r->token_cap,
                                 sizeof(*r->tokens));
  r->logprobs = tinker__arena_grow(d->arena, r->logprobs, r->cells,
                                   &r->logprob_cap, sizeof(*r->logprobs));
  if (!r->tokens || !r->logprobs) return no_memory(d, name);
  tinker__json_array(&d->j);
  bool ok = tinker__json_more(&d->j) && tinker__json_i64(&d->j, &token) &&
            tinker__json_more(&d->j) && tinker__json_f64(&d->j, &logprob) &&
            !tinker__json_more(&d->j) && !d->j.error;
  if (!ok || token < 0 || token > INT32_MAX) {
    return fail(d, d->j.error ? d->j.error : TINKER_EJSON, name,
                "a cell is not [token, logprob]");
  }
  r->tokens[r->cells] = (int32_t)token;
  r->logprobs[r->cells++] = (float)logprob;
  return 0;
}

static int take_row(tinker__result_json_t *d, tinker__rows_t *r) {
  size_t first = r->cells;
  r->ends = tinker__arena_grow(d->arena, r->ends, r->rows, &r->row_cap,
                               sizeof(*r->ends));
  if (!r->ends) return no_memory(d, "topk_prompt_logprobs");
  if (!take_null(d)) {
    tinker__json_array(&d->j);
    while (tinker__json_more(&d->j)) {
      int rc = take_cell(d, r);
      if (rc) return rc;
    }
  }
  r->ends[r->rows++] = r->cells;
  if (r->cells - first > r->widest) r->widest = r->cells - first;
  return d->j.error ? json_fail(d, "topk_prompt_logprobs") : 0;
}

/* Lays the rows out as the protobuf form has them, padded. */
static int pad_rows(tinker__result_json_t *d, const tinker__rows_t *r) {
  tinker__topk_view_t *t = &d->out->prompt_topk;
  if (!r->widest) return 0;
  if (r->rows > TINKER__MAX_TENSOR_BYTES / 4 / r->widest) {
    return fail(d, TINKER_EOVERFLOW, "topk_prompt_logprobs", "is too large");
  }
  size_t cells = r->rows * r->widest, from = 0;
  int32_t *tokens = tinker__arena_array(d->arena, cells, sizeof(*tokens));
  float *logprobs = tinker__arena_alloc(d->arena, cells * sizeof(*logprobs));
  if (!tokens || !logprobs) return no_memory(d, "topk_prompt_logprobs");
  for (size_t i = 0; i < cells; i++) logprobs[i] = TINKER__TOPK_PADDING;
  for (size_t row = 0; row < r->rows; from = r->ends[row++]) {
    size_t n = r->ends[row] - from;
    if (!n) continue;
    memcpy(tokens + row * r->widest, r->tokens + from, n * sizeof(*tokens));
    memcpy(logprobs + row * r->widest, r->logprobs + from,
           n * sizeof(*logprobs));
  }
  *t = (tinker__topk_view_t){r->widest, r->rows, tokens, logprobs};
  return 0;
}

static int take_topk(tinker__result_json_t *d) {
  tinker__rows_t r = {0};
  if (take_null(d)) return 0;
  tinker__json_array(&d->j);
  while (tinker__json_more(&d->j)) {
    int rc = take_row(d, &r);
    if (rc) return rc;
  }
  return d->j.error ? json_fail(d, "topk_prompt_logprobs") : pad_rows(d, &r);
}

static int take_tensor(tinker__result_json_t *d, const char *name, bool keep,
                       tinker__dtype_t dtype, tinker__tensor_view_t *out) {
  tinker__where_t at = {name,   SIZE_MAX,  NULL, TINKER__STR(""),
                        d->why, d->why_len};
  int rc = keep ? tinker__tensor_keep_json(out, d->arena, &d->j, &at)
                : tinker__tensor_from_json(out, d->arena, &d->j, 0, &at);
  if (rc == TINKER_EINVAL) rc = TINKER_EJSON;
  if (!rc && out->dtype != dtype) {
    rc = tinker__where(&at, TINKER_EJSON, "has another dtype");
  }
  return rc;
}

static int take_alt(tinker__result_json_t *d) {
  static const char name[] = "prompt_alt_tokens";
  tinker__str_t key;
  bool tokens = false, logprobs = false;
  int rc = 0;
  if (take_null(d)) return 0;
  tinker__json_object(&d->j);
  while (!rc && tinker__json_key(&d->j, &key)) {
    if (tinker__str_eqs(key, "tokens")) {
      tokens = true;
      rc = take_tensor(d, name, false, TINKER__DTYPE_I64, &d->out->alt_tokens);
    } else if (tinker__str_eqs(key, "logprobs")) {
      logprobs = true;
      rc =
          take_tensor(d, name, false, TINKER__DTYPE_F32, &d->out->alt_logprobs);
    } else {
      tinker__json_skip(&d->j);
    }
  }
  if (!rc && d->j.error) rc = json_fail(d, name);
  if (!rc && !(tokens && logprobs)) {
    rc = fail(d, TINKER_EJSON, name, "tokens or logprobs are missing");
  }
  d->out->has_alt = !rc;
  return rc;
}

static int take_target(tinker__result_json_t *d) {
  if (take_null(d)) return 0;
  int rc = take_tensor(d, "target_prompt_logprobs", true, TINKER__DTYPE_F32,
                       &d->out->target);
  d->out->has_target = !rc;
  return rc;
}

static int take_field(tinker__result_json_t *d, tinker__str_t key) {
  if (tinker__str_eqs(key, "sequences")) return take_sequences(d);
  if (tinker__str_eqs(key, "prompt_logprobs")) {
    return take_floats(d, "prompt_logprobs", &d->out->prompt_logprobs,
                       &d->out->prompt_count);
  }
  if (tinker__str_eqs(key, "topk_prompt_logprobs")) return take_topk(d);
  if (tinker__str_eqs(key, "target_prompt_logprobs")) return take_target(d);
  if (tinker__str_eqs(key, "prompt_alt_tokens")) return take_alt(d);
  if (tinker__str_eqs(key, "prompt_cache_hit_tokens")) {
    return take_null(d) || tinker__json_i64(&d->j, &d->out->cache_hit_tokens)
               ? 0
               : json_fail(d, "prompt_cache_hit_tokens");
  }
  tinker__json_skip(&d->j);
  return 0;
}

int tinker__sample_result_decode_json(tinker__sample_result_t *out,
                                      tinker__arena_t *arena,
                                      tinker__str_t body, char *why,
                                      size_t why_len) {
  tinker__result_json_t d = {
      .arena = arena,
      .out = out,
      .why = why,
      .why_len = why_len,
  };
  tinker__str_t key;
  bool sequences = false;
  int rc = 0;
  memset(out, 0, sizeof(*out));
  tinker__decode_budget(arena, body.len);
  tinker__json_init(&d.j, arena->mem, body.ptr, body.len);
  tinker__json_object(&d.j);
  while (!rc && tinker__json_key(&d.j, &key)) {
    sequences |= tinker__str_eqs(key, "sequences");
    rc = take_field(&d, key);
  }
  if (!rc && tinker__json_end(&d.j)) rc = json_fail(&d, "body");
  if (!rc && !sequences) {
    rc = fail(&d, TINKER_EJSON, "sequences", "are missing");
  }
  if (!out->prompt_count) out->prompt_logprobs = NULL;
  tinker__json_done(&d.j);
  tinker__arena_allow_all(arena);
  return rc;
}
