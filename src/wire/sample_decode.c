/* sample_decode: the service's half of asample (sample.h). */
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "wire/digest_parts.h"
#include "wire/fb_decode.h"
#include "wire/messages.h"
#include "wire/sample.h"

#define MAX_SAMPLES 1024
#define MAX_TOPK 1024
#define MAX_ALT 4096
#define MAX_TEMPERATURE 1e30 /* engines sample in float */

typedef struct tinker__sample_decoder_s {
  tinker__sample_request_t *out;
  tinker__arena_t *arena;
  tinker__json_t *j;
  bool prompt;
  bool params;
  unsigned seen, seen_params; /* bits of the fields met */
  char *why;
  size_t why_len;
} tinker__sample_decoder_t;

static int fail(const tinker__sample_decoder_t *d, int code, const char *name,
                const char *text) {
  return tinker__why(d->why, d->why_len, code, "%s: %s", name, text);
}

/* Reports the reader's error with the name of the field. */
static int json_fail(const tinker__sample_decoder_t *d, const char *name) {
  return fail(d, d->j->error, name, d->j->reason);
}

static int no_memory(const tinker__sample_decoder_t *d, const char *name) {
  return fail(d, tinker__arena_error(d->arena), name,
              tinker__arena_trouble(d->arena));
}

/* Fields that a second time would change: refused, null or not. */
static int note(const tinker__sample_decoder_t *d, unsigned *seen,
                tinker__str_t key, const char *const *names, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    if (tinker__str_eqs(key, names[i]) && tinker__again(seen, 1u << i)) {
      return fail(d, TINKER_EINVAL, names[i], "given twice");
    }
  }
  return 0;
}

static bool take_null(tinker__sample_decoder_t *d) {
  return tinker__json_peek(d->j) == TINKER__JSON_NULL &&
         tinker__json_null(d->j);
}

static int take_text(tinker__sample_decoder_t *d, const char *name,
                     tinker__str_t *out) {
  tinker__str_t s;
  if (!tinker__json_string(d->j, &s)) return json_fail(d, name);
  if (s.len > TINKER__MAX_TEXT || memchr(s.ptr, 0, s.len)) {
    return fail(d, TINKER_EINVAL, name, "too long, or contains a NUL");
  }
  char *copy = tinker__arena_str(d->arena, s);
  *out = (tinker__str_t){copy ? copy : "", s.len};
  return copy ? 0 : no_memory(d, name);
}

static int take_range(tinker__sample_decoder_t *d, const char *name,
                      int64_t min, int64_t max, int64_t *out) {
  if (!tinker__json_i64(d->j, out)) return json_fail(d, name);
  if (*out < min || *out > max) {
    return tinker__why(d->why, d->why_len, TINKER_EINVAL,
                       "%s: must be %lld to %lld, not %lld", name,
                       (long long)min, (long long)max, (long long)*out);
  }
  return 0;
}

static int take_seed(tinker__sample_decoder_t *d) {
  int64_t neg = 0;
  uint64_t v = 0;
  d->out->params.has_seed = true;
  bool minus =
      tinker__json_peek(d->j) == TINKER__JSON_NUMBER && *d->j->at == '-';
  if (minus ? !tinker__json_i64(d->j, &neg) : !tinker__json_u64(d->j, &v)) {
    return json_fail(d, "sampling_params.seed");
  }
  d->out->params.seed = minus ? (uint64_t)neg : v;
  return 0;
}

/* The rest of the list is counted: the sentence has both numbers. */
static int too_many_stops(tinker__sample_decoder_t *d, size_t n,
                          const char *what, unsigned limit) {
  do {
    tinker__json_skip(d->j);
    n++;
  } while (tinker__json_more(d->j));
  if (d->j->error) return json_fail(d, "sampling_params.stop");
  return tinker__why(d->why, d->why_len, TINKER_EOVERFLOW,
                     "sampling_params.stop: %zu %s are more than %u", n, what,
                     limit);
}

static int take_stop_strings(tinker__sample_decoder_t *d) {
  tinker__sample_params_t *p = &d->out->params;
  tinker__str_t *list = NULL;
  size_t n = 0, cap = 0;
  do {
    if (n == TINKER__MAX_STOP_STRINGS) {
      return too_many_stops(d, n, "texts", TINKER__MAX_STOP_STRINGS);
    }
    list = tinker__arena_grow(d->arena, list, n, &cap, sizeof(*list));
    if (!list) return no_memory(d, "sampling_params.stop");
    int rc = take_text(d, "sampling_params.stop", &list[n]);
    if (!rc && !list[n].len) {
      rc = fail(d, TINKER_EINVAL, "sampling_params.stop", "an empty text");
    }
    if (rc) return rc;
    n++;
  } while (tinker__json_more(d->j));
  p->stop = TINKER__STOP_STRINGS;
  p->stop_strings = list;
  p->stop_count = n;
  return 0;
}

static int take_stop_tokens(tinker__sample_decoder_t *d) {
  tinker__sample_params_t *p = &d->out->params;
  int32_t *list = NULL;
  size_t n = 0, cap = 0;
  do {
    int64_t id = 0;
    if (n == TINKER__MAX_STOP_TOKENS) {
      return too_many_stops(d, n, "tokens", TINKER__MAX_STOP_TOKENS);
    }
    list = tinker__arena_grow(d->arena, list, n, &cap, sizeof(*list));
    if (!list) return no_memory(d, "sampling_params.stop");
    int rc = take_range(d, "sampling_params.stop", 0, INT32_MAX, &id);
    if (rc) return rc;
    list[n++] = (int32_t)id;
  } while (tinker__json_more(d->j));
  p->stop = TINKER__STOP_TOKENS;
  p->stop_tokens = list;
  p->stop_count = n;
  return 0;
}

/* A text, a list of texts, or a list of token ids. */
static int take_stop(tinker__sample_decoder_t *d) {
  tinker__sample_params_t *p = &d->out->params;
  int rc = 0;
  if (tinker__json_peek(d->j) == TINKER__JSON_STRING) {
    tinker__str_t *one = tinker__arena_alloc(d->arena, sizeof(*one));
    if (!one) return no_memory(d, "sampling_params.stop");
    rc = take_text(d, "sampling_params.stop", one);
    if (!rc && !one->len) {
      rc = fail(d, TINKER_EINVAL, "sampling_params.stop", "an empty text");
    }
    p->stop = TINKER__STOP_STRINGS;
    p->stop_strings = one;
    p->stop_count = 1;
    return rc;
  }
  if (!tinker__json_array(d->j)) return json_fail(d, "sampling_params.stop");
  if (!tinker__json_more(d->j)) {
    p->stop = TINKER__STOP_NONE;
  } else if (tinker__json_peek(d->j) == TINKER__JSON_STRING) {
    rc = take_stop_strings(d);
  } else {
    rc = take_stop_tokens(d);
  }
  return !rc && d->j->error ? json_fail(d, "sampling_params.stop") : rc;
}

static int take_param(tinker__sample_decoder_t *d, tinker__str_t key) {
  static const char *const names[] = {"max_tokens", "seed",        "stop",
                                      "top_k",      "temperature", "top_p"};
  tinker__sample_params_t *p = &d->out->params;
  int rc = note(d, &d->seen_params, key, names, 6);
  if (rc || take_null(d)) return rc;
  if (tinker__str_eqs(key, "max_tokens")) {
    p->has_max_tokens = true;
    return take_range(d, "sampling_params.max_tokens", 1, TINKER__MAX_TOKENS,
                      &p->max_tokens);
  }
  if (tinker__str_eqs(key, "seed")) return take_seed(d);
  if (tinker__str_eqs(key, "stop")) return take_stop(d);
  if (tinker__str_eqs(key, "top_k")) {
    return take_range(d, "sampling_params.top_k", -1, INT32_MAX, &p->top_k);
  }
  if (tinker__str_eqs(key, "temperature")) {
    return tinker__json_f64(d->j, &p->temperature)
               ? 0
               : json_fail(d, "sampling_params.temperature");
  }
  if (tinker__str_eqs(key, "top_p")) {
    return tinker__json_f64(d->j, &p->top_p)
               ? 0
               : json_fail(d, "sampling_params.top_p");
  }
  tinker__json_skip(d->j);
  return 0;
}

static int take_params(tinker__sample_decoder_t *d) {
  const tinker__sample_params_t *p = &d->out->params;
  tinker__str_t key;
  int rc = 0;
  d->params = true;
  tinker__json_object(d->j);
  while (!rc && tinker__json_key(d->j, &key)) rc = take_param(d, key);
  if (!rc && d->j->error) rc = json_fail(d, "sampling_params");
  if (!rc && !(p->temperature >= 0 && p->temperature <= MAX_TEMPERATURE)) {
    rc = tinker__why(d->why, d->why_len, TINKER_EINVAL,
                     "sampling_params.temperature: must be 0 to 1e30, not %g",
                     p->temperature);
  }
  if (!rc && !(p->top_p > 0 && p->top_p <= 1)) {
    rc = tinker__why(d->why, d->why_len, TINKER_EINVAL,
                     "sampling_params.top_p: must be above 0 and at most 1, "
                     "not %g",
                     p->top_p);
  }
  if (!rc && p->top_k == 0) {
    rc = fail(d, TINKER_EINVAL, "sampling_params.top_k",
              "must be positive, or -1 for all, not 0");
  }
  return rc;
}

static int take_prompt(tinker__sample_decoder_t *d) {
  tinker__where_t at = {"prompt",        SIZE_MAX, NULL,
                        TINKER__STR(""), d->why,   d->why_len};
  d->prompt = true;
  return tinker__prompt_from_json(&d->out->chunks, &d->out->chunk_count,
                                  d->arena, d->j, &at);
}

static int take_target(tinker__sample_decoder_t *d) {
  tinker__where_t at = {"target_prompt_logprobs", SIZE_MAX, NULL,
                        TINKER__STR(""),          d->why,   d->why_len};
  d->out->has_target = true;
  int rc = tinker__tensor_keep_json(&d->out->target, d->arena, d->j, &at);
  if (!rc &&
      (d->out->target.dtype != TINKER__DTYPE_I64 || d->out->target.ndim != 2)) {
    rc = tinker__where(&at, TINKER_EINVAL, "must be int64 with two dimensions");
  }
  return rc;
}

static int take_bool(tinker__sample_decoder_t *d, const char *name, bool *out) {
  return tinker__json_bool(d->j, out) ? 0 : json_fail(d, name);
}

/* Takes a field of the top level that is a whole number. *known = it is one. */
static int take_number(tinker__sample_decoder_t *d, tinker__str_t key,
                       bool *known) {
  tinker__sample_request_t *r = d->out;
  const struct {
    const char *name;
    int64_t min, max;
    int64_t *out;
  } rows[] = {{"num_samples", 1, MAX_SAMPLES, &r->num_samples},
              {"topk_prompt_logprobs", 0, MAX_TOPK, &r->topk_prompt_logprobs},
              {"topk_sample_logprobs", 0, MAX_TOPK, &r->topk_sample_logprobs},
              {"prompt_alt_tokens_k", 0, MAX_ALT, &r->prompt_alt_tokens_k},
              {"prompt_logprobs_last_n", 1, TINKER__MAX_TOKENS,
               &r->prompt_logprobs_last_n}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    if (!tinker__str_eqs(key, rows[i].name)) continue;
    *known = true;
    if (rows[i].out == &r->prompt_logprobs_last_n) r->has_last_n = true;
    return take_range(d, rows[i].name, rows[i].min, rows[i].max, rows[i].out);
  }
  return 0;
}

/* A field beside those of the head. */
static int take_field(tinker__sample_decoder_t *d, tinker__str_t key) {
  static const char *const names[] = {"num_samples",
                                      "topk_prompt_logprobs",
                                      "topk_sample_logprobs",
                                      "prompt_alt_tokens_k",
                                      "prompt_logprobs_last_n",
                                      "prompt",
                                      "sampling_params",
                                      "prompt_logprobs",
                                      "record_stability_info",
                                      "target_prompt_logprobs"};
  tinker__sample_request_t *r = d->out;
  bool known = false;
  int rc = note(d, &d->seen, key, names, 10);
  if (rc || take_null(d)) return rc;
  rc = take_number(d, key, &known);
  if (known) return rc;
  if (tinker__str_eqs(key, "prompt")) return take_prompt(d);
  if (tinker__str_eqs(key, "sampling_params")) return take_params(d);
  if (tinker__str_eqs(key, "prompt_logprobs")) {
    return take_bool(d, "prompt_logprobs", &r->prompt_logprobs);
  }
  if (tinker__str_eqs(key, "record_stability_info")) {
    return take_bool(d, "record_stability_info", &r->record_stability_info);
  }
  if (tinker__str_eqs(key, "target_prompt_logprobs")) return take_target(d);
  tinker__json_skip(d->j);
  return 0;
}

static int check(const tinker__sample_decoder_t *d) {
  const tinker__sample_request_t *r = d->out;
  if (!d->prompt) return fail(d, TINKER_EINVAL, "prompt", "is missing");
  if (!d->params) {
    return fail(d, TINKER_EINVAL, "sampling_params", "is missing");
  }
  if (r->sampling_session_id.len && r->seq_id < 0) {
    return fail(d, TINKER_EINVAL, "seq_id", "is missing");
  }
  if (r->has_last_n && !r->prompt_logprobs) {
    return fail(d, TINKER_EINVAL, "prompt_logprobs_last_n",
                "needs prompt_logprobs");
  }
  return 0;
}

static void digest_params(tinker__parts_t *p,
                          const tinker__sample_params_t *s) {
  tinker__parts_u64(p, s->has_max_tokens);
  tinker__parts_u64(p, (uint64_t)s->max_tokens);
  tinker__parts_u64(p, s->has_seed);
  tinker__parts_u64(p, s->seed);
  tinker__parts_f64(p, s->temperature);
  tinker__parts_u64(p, (uint64_t)s->top_k);
  tinker__parts_f64(p, s->top_p);
  tinker__parts_u64(p, (uint64_t)s->stop);
  tinker__parts_u64(p, s->stop_count);
  for (size_t i = 0; s->stop == TINKER__STOP_STRINGS && i < s->stop_count;
       i++) {
    tinker__parts_str(p, s->stop_strings[i]);
  }
  if (s->stop == TINKER__STOP_TOKENS) {
    tinker__parts_bytes(p, s->stop_tokens, s->stop_count * 4);
  }
}

static int make_digest(const tinker__sample_request_t *r, tinker__mem_t *mem,
                       unsigned char out[TINKER__SHA256_LEN]) {
  tinker__parts_t p;
  tinker__parts_init(&p, mem);
  tinker__parts_str(&p, r->sampling_session_id);
  tinker__parts_u64(&p, (uint64_t)r->seq_id);
  tinker__parts_str(&p, r->base_model);
  tinker__parts_str(&p, r->model_path);
  tinker__parts_chunks(&p, r->chunks, r->chunk_count);
  digest_params(&p, &r->params);
  tinker__parts_u64(&p, (uint64_t)r->num_samples);
  tinker__parts_u64(&p, r->prompt_logprobs);
  tinker__parts_u64(&p, (uint64_t)r->topk_prompt_logprobs);
  tinker__parts_u64(&p, (uint64_t)r->topk_sample_logprobs);
  tinker__parts_u64(&p, (uint64_t)r->prompt_alt_tokens_k);
  tinker__parts_u64(&p, (uint64_t)r->prompt_logprobs_last_n);
  tinker__parts_u64(&p, r->record_stability_info);
  tinker__parts_u64(&p, r->has_target);
  if (r->has_target) tinker__parts_tensor(&p, &r->target);
  return tinker__parts_end(&p, out);
}

static int take_rest(void *user, tinker__json_t *j, tinker__str_t key,
                     bool skips) {
  tinker__sample_decoder_t *d = user;
  d->j = j;
  if (!skips) return take_field(d, key);
  tinker__json_skip(j);
  return 0;
}

static tinker__str_t text_of(const char *s) {
  return s ? tinker__str(s) : TINKER__STR("");
}

int tinker__sample_request_decode(tinker__sample_request_t *out,
                                  tinker__arena_t *arena, tinker__str_t body,
                                  unsigned char digest[TINKER__SHA256_LEN],
                                  char *why, size_t why_len) {
  tinker__sample_decoder_t d = {
      .out = out,
      .arena = arena,
      .why = why,
      .why_len = why_len,
  };
  tinker__sample_head_t h;
  tinker__sample_request_init(out);
  int rc =
      tinker__message_decode_call(&tinker__sample_head_msg, &h, arena, body,
                                  take_rest, &d, &out->head, why, why_len);
  out->sampling_session_id = text_of(h.sampling_session_id);
  out->base_model = text_of(h.base_model);
  out->model_path = text_of(h.model_path);
  if (h.has_seq_id) out->seq_id = h.seq_id;
  out->has_session_id = h.sampling_session_id != NULL;
  out->has_model = h.base_model || h.model_path;
  if (!rc && h.has_seq_id && h.seq_id < 0) {
    rc = fail(&d, TINKER_EINVAL, "seq_id", "must not be negative");
  }
  if (!rc) rc = check(&d);
  if (!rc && digest && make_digest(out, arena->mem, digest)) {
    rc = fail(&d, TINKER_ENOMEM, "body", "no memory for a digest");
  }
  return rc;
}
