/* Recorded bodies of the official SDK, decoded and compared with their
 * readable form. */
#include "wire_test.h"

#include <dirent.h>
#include <math.h>

#include "base/file.h"
#include "base/json_read.h"
#include "wire/fb_output.h"
#include "wire/fb_request.h"
#include "wire/sample.h"

TestSuite(captures, .init = wire_setup, .fini = wire_teardown);

/* --- a small tree of the readable form ------------------------------------ */

typedef struct node_s {
  tinker__json_type_t type;
  tinker__str_t key, text;
  double number;
  struct node_s *items;
  size_t count;
} node_t;

static const node_t absent = {.type = TINKER__JSON_NULL};

static void parse(tinker__json_t *j, node_t *out) {
  size_t cap = 0;
  bool flag = false;
  out->type = tinker__json_peek(j);
  bool object = out->type == TINKER__JSON_OBJECT;
  switch (out->type) {
  case TINKER__JSON_NUMBER: tinker__json_f64(j, &out->number); break;
  case TINKER__JSON_STRING: tinker__json_string(j, &out->text); break;
  case TINKER__JSON_BOOL:
    tinker__json_bool(j, &flag);
    out->number = flag;
    break;
  case TINKER__JSON_ARRAY:
  case TINKER__JSON_OBJECT:
    if (object) {
      tinker__json_object(j);
    } else {
      tinker__json_array(j);
    }
    for (tinker__str_t key = TINKER__STR("");
         object ? tinker__json_key(j, &key) : tinker__json_more(j);) {
      out->items = tinker__arena_grow(&arena, out->items, out->count, &cap,
                                      sizeof(*out));
      node_t *n = &out->items[out->count++];
      memset(n, 0, sizeof(*n));
      n->key = key;
      parse(j, n);
    }
    break;
  default: out->number = (double)NAN; tinker__json_skip(j);
  }
}

static const node_t *get(const node_t *n, const char *key) {
  for (size_t i = 0; i < n->count; i++) {
    if (tinker__str_eqs(n->items[i].key, key)) return &n->items[i];
  }
  return &absent;
}

static bool has(const node_t *n, const char *key) {
  return get(n, key) != &absent;
}

/* --- comparing --------------------------------------------------------------
 */

static const char *file; /* the one in hand, for messages */

static double cell(const tinker__tensor_view_t *t, size_t i) {
  return t->dtype == TINKER__DTYPE_F32 ? (double)((const float *)t->data)[i]
                                       : (double)((const int64_t *)t->data)[i];
}

static bool same(double a, double b) {
  return a == b || (isnan(a) && isnan(b));
}

static void check_floats(const float *v, size_t n, const node_t *packed) {
  const node_t *values = get(packed, "values");
  cr_assert_eq((double)n, get(packed, "count")->number, "%s", file);
  for (size_t i = 0; i < values->count; i++) {
    cr_assert(same((double)v[i], values->items[i].number), "%s: %zu", file, i);
  }
}

static void check_tokens(const int32_t *v, size_t n, const node_t *packed) {
  const node_t *values = get(packed, "values");
  cr_assert_eq((double)n, get(packed, "count")->number, "%s", file);
  for (size_t i = 0; i < values->count; i++) {
    cr_assert_eq((double)v[i], values->items[i].number, "%s: %zu", file, i);
  }
}

static double csr_cell(const node_t *csr, size_t row, size_t col) {
  const node_t *crow = get(get(csr, "crow_indices"), "values");
  const node_t *cols = get(get(csr, "col_indices"), "values");
  const node_t *values = get(get(csr, "values"), "values");
  size_t from = (size_t)crow->items[row].number;
  size_t to = (size_t)crow->items[row + 1].number;
  for (size_t i = from; i < to; i++) {
    if (cols->items[i].number == (double)col) return values->items[i].number;
  }
  return 0;
}

/* A view that has stayed a CSR: entry by entry. */
static void check_csr(const tinker__tensor_view_t *t, const node_t *csr) {
  const node_t *values = get(get(csr, "values"), "values");
  const node_t *crow = get(get(csr, "crow_indices"), "values");
  const node_t *cols = get(get(csr, "col_indices"), "values");
  cr_assert_eq(t->count, values->count, "%s", file);
  for (size_t i = 0; i < t->count; i++) {
    cr_assert_eq(cell(t, i), values->items[i].number, "%s", file);
    cr_assert_eq((double)t->col[i], cols->items[i].number, "%s", file);
  }
  for (size_t i = 0; i < crow->count; i++) {
    cr_assert_eq((double)t->crow[i], crow->items[i].number, "%s", file);
  }
}

static void check_tensor(const tinker__tensor_view_t *t, const node_t *n) {
  const node_t *shape = get(n, "shape");
  cr_assert_eq(t->ndim, shape->count, "%s", file);
  for (size_t i = 0; i < t->ndim; i++) {
    cr_assert_eq((double)t->shape[i], shape->items[i].number, "%s", file);
  }
  bool f32 = tinker__str_eqs(get(n, "dtype")->text, "DTYPE_FLOAT32");
  cr_assert_eq(t->dtype, f32 ? TINKER__DTYPE_F32 : TINKER__DTYPE_I64);
  if (t->crow) {
    check_csr(t, get(n, "sparse_csr"));
    return;
  }
  if (has(n, "sparse_csr")) {
    size_t cols = (size_t)t->shape[1];
    for (size_t i = 0; i < t->count; i++) {
      cr_assert_eq(cell(t, i),
                   csr_cell(get(n, "sparse_csr"), i / cols, i % cols));
    }
    return;
  }
  const node_t *values = get(get(n, "dense"), "values");
  cr_assert_eq((double)t->count, get(get(n, "dense"), "count")->number);
  for (size_t i = 0; i < values->count; i++) {
    cr_assert(same(cell(t, i), values->items[i].number), "%s", file);
  }
}

static void check_datum(const tinker__datum_view_t *d, const node_t *n) {
  const node_t *chunks = get(n, "model_input");
  const node_t *inputs = get(n, "loss_fn_inputs");
  cr_assert_eq(d->chunk_count, chunks->count, "%s", file);
  for (size_t i = 0; i < chunks->count; i++) {
    check_tokens(d->chunks[i].text.tokens, d->chunks[i].text.count,
                 get(get(&chunks->items[i], "encoded_text"), "tokens"));
  }
  cr_assert_eq(d->input_count, inputs->count, "%s", file);
  for (size_t i = 0; i < d->input_count; i++) {
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)d->inputs[i].name.len,
             d->inputs[i].name.ptr);
    cr_assert(has(inputs, name), "%s: %s", file, name);
    check_tensor(&d->inputs[i].tensor, get(inputs, name));
  }
}

static void check_config(const tinker__fb_view_t *v, const node_t *n) {
  const node_t *numbers = get(n, "loss_fn_config");
  const node_t *both = get(n, "loss_fn_config_v2");
  cr_assert_eq(v->config_count, both->count ? both->count : numbers->count);
  for (size_t i = 0; i < v->config_count; i++) {
    const tinker__config_entry_t *c = &v->config[i];
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)c->name.len, c->name.ptr);
    if (c->is_text) {
      cr_assert(tinker__str_eq(c->text, get(get(both, name), "text")->text));
    } else {
      cr_assert_eq(c->number, get(numbers, name)->number, "%s", file);
    }
  }
}

/* Encodes what was decoded and decodes it again: the digest says whether
 * anything was lost. */
static void check_own_bytes(const tinker__fb_request_t *r) {
  tinker__wire_body_t b;
  tinker__fb_request_t again;
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, &r->view, why, sizeof(why)),
               0, "%s: %s", file, why);
  cr_assert_eq(tinker__wire_body_stamp(&b, r->view.model_id, r->view.seq_id),
               0);
  cr_assert_eq(tinker__fb_request_decode(&again, &arena, sent(&b),
                                         TINKER__FB_PROTO, false, 1 << 24, why,
                                         sizeof(why)),
               0, "%s: %s", file, why);
  cr_assert_arr_eq(r->digest, again.digest, sizeof(again.digest), "%s", file);
  tinker__wire_body_free(&b);
}

static void check_request(tinker__str_t body, const node_t *n,
                          tinker__fb_format_t format) {
  tinker__fb_request_t r;
  const node_t *data = get(n, "data");
  const node_t *first =
      data->count ? get(&data->items[0], "model_input") : &absent;
  bool text = true;
  for (size_t i = 0; i < first->count; i++) {
    text &= has(&first->items[i], "encoded_text");
  }
  int rc = tinker__fb_request_decode(&r, &arena, body, format, false, 1 << 24,
                                     why, sizeof(why));
  if (!text) {
    cr_assert_eq(rc, TINKER_EINVAL, "%s", file);
    cr_assert_not_null(strstr(why, "only text chunks"));
    return;
  }
  cr_assert_eq(rc, 0, "%s: %s", file, why);
  cr_assert(tinker__str_eq(r.view.model_id, get(n, "model_id")->text));
  cr_assert_eq((double)r.view.seq_id, get(n, "seq_id")->number);
  cr_assert(tinker__str_eq(r.view.loss_fn, get(n, "loss_fn")->text));
  cr_assert_eq(r.view.forward_only, get(n, "forward_only")->number != 0);
  cr_assert_eq((double)r.view.datum_count, get(n, "num_data")->number);
  check_config(&r.view, n);
  for (size_t i = 0; i < data->count; i++) {
    check_datum(&r.view.datums[i], &data->items[i]);
  }
  check_own_bytes(&r);
}

/* One field of a record against the datums it covers. */
static void check_field(const tinker__fb_output_t *o, size_t first,
                        const node_t *field) {
  const node_t *offsets = get(get(field, "offsets"), "values");
  const node_t *values = get(get(field, "data"), "values");
  size_t at = 0;
  for (size_t d = 0; d + 1 < offsets->count; d++) {
    const tinker__output_datum_t *out = &o->datums[first + d];
    const tinker__tensor_view_t *t = NULL;
    for (size_t f = 0; f < out->field_count; f++) {
      if (tinker__str_eq(out->fields[f].name, field->key)) {
        t = &out->fields[f].tensor;
      }
    }
    cr_assert_not_null(t, "%s", file);
    for (size_t i = 0; i < t->count; i++, at++) {
      cr_assert(same(cell(t, i), values->items[at].number), "%s", file);
    }
  }
  cr_assert_eq(at, values->count, "%s", file);
}

static void check_output(tinker__str_t body, const node_t *n) {
  tinker__fb_output_t o, again;
  const node_t *records = get(n, "loss_fn_outputs");
  const node_t *metrics = get(n, "metrics");
  cr_assert_eq(tinker__fb_output_decode(&o, &arena, body, why, sizeof(why)), 0,
               "%s: %s", file, why);
  size_t first = 0;
  for (size_t r = 0; r < records->count; r++) {
    const node_t *fields = get(&records->items[r], "fields");
    for (size_t f = 0; f < fields->count; f++) {
      check_field(&o, first, &fields->items[f]);
    }
    first += (size_t)get(&records->items[r], "num_datums")->number;
  }
  cr_assert_eq(o.datum_count, first, "%s", file);
  cr_assert_eq(o.metric_count, metrics->count);
  for (size_t i = 0; i < o.metric_count; i++) {
    cr_assert(
        same(o.metrics[i].value, get(metrics, o.metrics[i].name)->number));
  }
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 24);
  cr_assert_eq(tinker__fb_output_encode(&b, &mem, &o), 0);
  cr_assert_eq(tinker__fb_output_decode(&again, &arena, tinker__buf_str(&b),
                                        why, sizeof(why)),
               0);
  cr_assert_eq(again.datum_count, o.datum_count);
  tinker__buf_free(&b);
}

static void check_topk(const tinker__topk_view_t *t, const node_t *n) {
  cr_assert_eq((double)t->k, get(n, "k")->number);
  cr_assert_eq((double)t->length, get(n, "length")->number);
  check_tokens(t->tokens, t->k * t->length, get(n, "token_ids"));
  check_floats(t->logprobs, t->k * t->length, get(n, "logprobs"));
}

static void check_sample(tinker__str_t body, const node_t *n) {
  tinker__sample_result_t r;
  const node_t *sequences = get(n, "sequences");
  cr_assert_eq(tinker__sample_result_decode(&r, &arena, body, why, sizeof(why)),
               0, "%s: %s", file, why);
  cr_assert_eq(r.sequence_count, sequences->count);
  for (size_t i = 0; i < r.sequence_count; i++) {
    const tinker__sequence_view_t *s = &r.sequences[i];
    const node_t *e = &sequences->items[i];
    cr_assert_eq(s->stopped, tinker__str_eqs(get(e, "stop_reason")->text,
                                             "STOP_REASON_STOP"));
    check_tokens(s->tokens, s->count, get(e, "tokens"));
    cr_assert_eq(s->logprobs != NULL, has(e, "logprobs"));
    if (s->logprobs) check_floats(s->logprobs, s->count, get(e, "logprobs"));
    cr_assert_eq(s->topk.length > 0, has(e, "topk_sampled_logprobs"));
    if (s->topk.length) check_topk(&s->topk, get(e, "topk_sampled_logprobs"));
  }
  cr_assert_eq(r.prompt_logprobs != NULL, has(n, "prompt_logprobs"));
  if (r.prompt_logprobs) {
    check_floats(r.prompt_logprobs, r.prompt_count, get(n, "prompt_logprobs"));
  }
  cr_assert_eq(r.prompt_topk.length > 0, has(n, "topk_prompt_logprobs"));
  if (r.prompt_topk.length) {
    check_topk(&r.prompt_topk, get(n, "topk_prompt_logprobs"));
  }
  cr_assert_eq(r.has_target, has(n, "target_prompt_logprobs"));
  if (r.has_target) check_tensor(&r.target, get(n, "target_prompt_logprobs"));
  cr_assert_eq(r.has_alt, has(n, "prompt_alt_tokens"));
  if (r.has_alt) {
    check_tensor(&r.alt_tokens, get(get(n, "prompt_alt_tokens"), "tokens"));
  }
  cr_assert_eq((double)r.cache_hit_tokens,
               get(n, "prompt_cache_hit_tokens")->number);
}

/* An asample request: nothing may be lost on the way through our encoder. */
static void check_asample(tinker__str_t body) {
  tinker__sample_request_t r, again;
  unsigned char a[TINKER__SHA256_LEN], b[TINKER__SHA256_LEN];
  tinker__wire_body_t own;
  int rc = tinker__sample_request_decode(&r, &arena, body, a, why, sizeof(why));
  if (rc) { /* images and audio, or what no server should accept */
    cr_assert(strstr(why, "only encoded_text") || strstr(why, "must be"),
              "%s: %s", file, why);
    return;
  }
  cr_assert_eq(tinker__sample_request_encode(&own, &mem, &r), 0);
  cr_assert_eq(tinker__wire_body_stamp(&own, r.sampling_session_id, r.seq_id),
               0);
  cr_assert_eq(tinker__sample_request_decode(&again, &arena, sent(&own), b, why,
                                             sizeof(why)),
               0, "%s: %s", file, why);
  cr_assert_arr_eq(a, b, sizeof(a), "%s", file);
  tinker__wire_body_free(&own);
}

/* --- the files ---------------------------------------------------------------
 */

static void load(const char *path, tinker__buf_t *out) {
  tinker__buf_init(out, &mem, 1 << 24);
  cr_assert_eq(
      tinker__file_read(tinker__world_real(), path, out, why, sizeof(why)), 0,
      "%s", why);
}

static void check_file(const char *path, bool zstd) {
  char twin[512];
  tinker__buf_t body, text;
  node_t n = {0};
  tinker__json_t j;
  snprintf(twin, sizeof(twin), "%.*s.decoded.json",
           (int)(strstr(path, ".pb") - path), path);
  load(path, &body);
  load(twin, &text);
  tinker__json_init(&j, &mem, text.data, text.len);
  parse(&j, &n);
  cr_assert_eq(tinker__json_end(&j), 0, "%s", twin);
  tinker__str_t kind = get(&n, "message")->text, bytes = tinker__buf_str(&body);
  if (tinker__str_eqs(kind, "ForwardBackwardRequest")) {
    check_request(bytes, &n, zstd ? TINKER__FB_PROTO_ZSTD : TINKER__FB_PROTO);
  } else if (tinker__str_eqs(kind, "ForwardBackwardOutput")) {
    check_output(bytes, &n);
  } else {
    check_sample(bytes, &n);
  }
  tinker__json_done(&j);
  tinker__buf_free(&body);
  tinker__buf_free(&text);
  tinker__arena_free(&arena);
}

static size_t check_folder(const char *name) {
  char dir[256], path[512];
  size_t n = 0;
  snprintf(dir, sizeof(dir), "%s/golden/captures/%s", TINKER_TEST_DIR, name);
  DIR *d = opendir(dir);
  cr_assert_not_null(d, "%s", dir);
  for (struct dirent *e; (e = readdir(d));) {
    tinker__str_t f = tinker__str(e->d_name);
    snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
    file = path;
    if (tinker__str_ends(f, ".pb") || tinker__str_ends(f, ".zstd")) {
      check_file(path, tinker__str_ends(f, ".zstd"));
      n++;
    } else if (tinker__str_ends(f, ".req.json")) {
      tinker__buf_t body;
      load(path, &body);
      check_asample(tinker__buf_str(&body));
      tinker__buf_free(&body);
      tinker__arena_free(&arena);
      n++;
    }
  }
  closedir(d);
  return n;
}

Test(captures, decode_to_their_readable_form) {
  static const char *const folders[] = {
      "stub_losses-a",           "stub_datums-a",   "stub_result_encodings-a",
      "stub_result_encodings-b", "stub_sampling-a", "stub_chunks-d",
      "skyrl_train_ce-a",        "skyrl_numeric-b", "skyrl_errors-a"};
  size_t n = 0;
  for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
    n += check_folder(folders[i]);
  }
  cr_assert_gt(n, 120, "%zu", n);
}
