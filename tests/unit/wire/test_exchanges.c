/* Every reply that the official SDK got in the recorded scenarios and that this
 * client has a decoder for: it decodes, to what the recording says. */
#include <dirent.h>
#include <math.h>

#include "base/file.h"
#include "base/json_read.h"
#include "wire/fb_output.h"
#include "wire/messages.h"
#include "wire/sample.h"
#include "wire/time.h"
#include "wire_test.h"

TestSuite(exchanges, .init = wire_setup, .fini = wire_teardown);

/* --- a line ----------------------------------------------------------------
 */

typedef struct line_s {
  char at[160]; /* scenario and number, for messages */
  tinker__str_t method, target, type, reply, want;
  int64_t status;
} line_t;

static int sextet(char c) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *p = c ? strchr(digits, c) : NULL;
  return p ? (int)(p - digits) : -1;
}

static tinker__str_t unpack_base64(tinker__str_t in) {
  char *out = tinker__arena_array(&arena, in.len + 1, 1);
  size_t len = 0;
  unsigned bits = 0, have = 0;
  for (size_t i = 0; i < in.len && sextet(in.ptr[i]) >= 0; i++) {
    bits = bits << 6 | (unsigned)sextet(in.ptr[i]);
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out[len++] = (char)(bits >> have & 255);
  }
  return (tinker__str_t){out, len};
}

/* {} or one of "json", "text", "b64". */
static tinker__str_t read_body(tinker__json_t *j) {
  tinker__str_t key, text = TINKER__STR("");
  tinker__json_object(j);
  while (tinker__json_key(j, &key)) {
    tinker__json_string(j, &text);
    if (tinker__str_eqs(key, "b64")) text = unpack_base64(text);
  }
  return text;
}

static void read_line(line_t *l, tinker__json_t *j, const char *scenario) {
  tinker__str_t key;
  int64_t number = 0;
  memset(l, 0, sizeof(*l));
  tinker__json_object(j);
  while (tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "i")) {
      tinker__json_i64(j, &number);
    } else if (tinker__str_eqs(key, "method")) {
      tinker__json_string(j, &l->method);
    } else if (tinker__str_eqs(key, "target")) {
      tinker__json_string(j, &l->target);
    } else if (tinker__str_eqs(key, "type")) {
      tinker__json_string(j, &l->type);
    } else if (tinker__str_eqs(key, "status")) {
      tinker__json_i64(j, &l->status);
    } else if (tinker__str_eqs(key, "reply")) {
      l->reply = read_body(j);
    } else if (tinker__str_eqs(key, "want")) {
      tinker__json_raw(j, &l->want);
    } else {
      tinker__json_skip(j);
    }
  }
  cr_assert_eq(tinker__json_end(j), 0, "%s: %s", scenario, j->reason);
  snprintf(l->at, sizeof(l->at), "%.100s: %d", scenario, (int)number);
}

/* --- protobuf results --------------------------------------------------------
 */

static bool near(double a, double b) {
  return fabs(a - b) <= 1e-9 * (1 + fabs(b));
}

/* [count, sum]: a null sum was cut. */
static void check_pair(tinker__json_t *w, size_t count, double sum,
                       const char *at) {
  int64_t n = -1;
  double value = 0;
  tinker__json_array(w);
  tinker__json_more(w);
  tinker__json_i64(w, &n);
  tinker__json_more(w);
  cr_assert_eq((int64_t)count, n, "%s", at);
  if (tinker__json_peek(w) == TINKER__JSON_NULL) {
    tinker__json_skip(w);
  } else {
    tinker__json_f64(w, &value);
    cr_assert(near(sum, value), "%s: %.17g %.17g", at, sum, value);
  }
  cr_assert(!tinker__json_more(w));
}

static void check_field(tinker__json_t *w, const tinker__fb_output_t *o,
                        tinker__str_t name, const char *at) {
  size_t count = 0;
  double sum = 0;
  for (size_t d = 0; d < o->datum_count; d++) {
    for (size_t f = 0; f < o->datums[d].field_count; f++) {
      const tinker__named_tensor_t *t = &o->datums[d].fields[f];
      if (!tinker__str_eq(t->name, name)) continue;
      count += t->tensor.count;
      for (size_t i = 0; i < t->tensor.count; i++) {
        double v = t->tensor.dtype == TINKER__DTYPE_F32
                       ? (double)((const float *)t->tensor.data)[i]
                       : (double)((const int64_t *)t->tensor.data)[i];
        if (!isnan(v)) sum += v;
      }
    }
  }
  check_pair(w, count, sum, at);
}

static void check_output(const line_t *l) {
  tinker__json_t w;
  tinker__str_t key, name;
  tinker__fb_output_t o;
  cr_assert_eq(tinker__fb_output_decode(&o, &arena, l->reply, why, sizeof(why)),
               0, "%s: %s", l->at, why);
  tinker__json_init(&w, &mem, l->want.ptr, l->want.len);
  tinker__json_object(&w);
  while (tinker__json_key(&w, &key)) {
    int64_t datums = -1;
    if (tinker__str_eqs(key, "datums")) {
      tinker__json_i64(&w, &datums);
      cr_assert_eq((int64_t)o.datum_count, datums, "%s", l->at);
      continue;
    }
    bool metrics = tinker__str_eqs(key, "metrics");
    size_t n = 0;
    tinker__json_object(&w);
    for (double v = 0; tinker__json_key(&w, &name); n++) {
      if (!metrics) {
        check_field(&w, &o, name, l->at);
        continue;
      }
      bool found = false;
      tinker__json_f64(&w, &v);
      for (size_t i = 0; i < o.metric_count; i++) {
        found |= tinker__str_eqs(name, o.metrics[i].name) &&
                 near(o.metrics[i].value, v);
      }
      cr_assert(found, "%s: %.*s", l->at, (int)name.len, name.ptr);
    }
    if (metrics) cr_assert_eq(o.metric_count, n, "%s", l->at);
  }
  cr_assert_eq(tinker__json_end(&w), 0, "%s", l->at);
  tinker__json_done(&w);
}

/* [length, sum of tokens, sum of log-probs, why it stopped] */
static void check_sequence(tinker__json_t *w, const tinker__sequence_view_t *s,
                           const char *at) {
  int64_t n = -1;
  double tokens = 0, logprobs = 0, v = 0;
  tinker__str_t stop;
  for (size_t i = 0; i < s->count; i++) {
    tokens += s->tokens[i];
    if (s->logprobs) logprobs += (double)s->logprobs[i];
  }
  tinker__json_array(w);
  tinker__json_more(w);
  tinker__json_i64(w, &n);
  cr_assert_eq((int64_t)s->count, n, "%s", at);
  tinker__json_more(w);
  tinker__json_f64(w, &v);
  cr_assert_eq(tokens, v, "%s", at);
  tinker__json_more(w);
  if (tinker__json_peek(w) == TINKER__JSON_NULL) {
    tinker__json_skip(w);
  } else {
    tinker__json_f64(w, &v);
    cr_assert(near(logprobs, v), "%s", at);
  }
  tinker__json_more(w);
  tinker__json_string(w, &stop);
  cr_assert_eq(s->stopped, tinker__str_eqs(stop, "STOP_REASON_STOP"), "%s", at);
  cr_assert(!tinker__json_more(w));
}

static void check_sample(const line_t *l) {
  tinker__json_t w;
  tinker__str_t key;
  tinker__sample_result_t r;
  cr_assert_eq(
      tinker__sample_result_decode(&r, &arena, l->reply, why, sizeof(why)), 0,
      "%s: %s", l->at, why);
  tinker__json_init(&w, &mem, l->want.ptr, l->want.len);
  tinker__json_object(&w);
  while (tinker__json_key(&w, &key)) {
    if (tinker__str_eqs(key, "sequences")) {
      size_t n = 0;
      tinker__json_array(&w);
      for (; tinker__json_more(&w); n++) {
        cr_assert_lt(n, r.sequence_count, "%s", l->at);
        check_sequence(&w, &r.sequences[n], l->at);
      }
      cr_assert_eq(n, r.sequence_count, "%s", l->at);
    } else if (tinker__json_peek(&w) == TINKER__JSON_NULL) {
      tinker__json_skip(&w);
      cr_assert_null(r.prompt_logprobs, "%s", l->at);
    } else {
      double sum = 0;
      for (size_t i = 0; i < r.prompt_count; i++) {
        if (!isnan(r.prompt_logprobs[i])) sum += (double)r.prompt_logprobs[i];
      }
      check_pair(&w, r.prompt_count, sum, l->at);
    }
  }
  cr_assert_eq(tinker__json_end(&w), 0, "%s", l->at);
  tinker__json_done(&w);
}

/* --- what kind of reply ------------------------------------------------------
 */

static void decode(const tinker__bind_table_t *table, const line_t *l) {
  void *message = tinker__arena_array(&arena, 1, table->size);
  cr_assert_eq(tinker__message_decode(table, message, &arena, l->reply, why,
                                      sizeof(why)),
               0, "%s: %s", l->at, why);
}

static bool ends(const line_t *l, const char *path) {
  return tinker__str_ends(l->target, path);
}

/* A result that is JSON, by what it says of itself: the client knows which
 * call it polls for. */
static void check_json_result(const line_t *l) {
  static const struct {
    const char *mark;
    const tinker__bind_table_t *table;
  } kinds[] = {{"\"sampling_session_id\"", &tinker__save_sampler_result_msg},
               {"\"type\":\"load_weights\"", &tinker__load_weights_result_msg},
               {"\"path\"", &tinker__save_weights_result_msg},
               {"\"model_id\"", &tinker__create_model_result_msg},
               {"", &tinker__optim_step_result_msg}};
  char text[4096];
  snprintf(text, sizeof(text), "%.*s", (int)l->reply.len, l->reply.ptr);
  if (strstr(text, "\"loss_fn_outputs\"")) {
    tinker__fb_output_t o;
    cr_assert_eq(
        tinker__fb_output_decode_json(&o, &arena, l->reply, why, sizeof(why)),
        0, "%s: %s", l->at, why);
  } else if (strstr(text, "\"sequences\"")) {
    tinker__sample_result_t r;
    cr_assert_eq(tinker__sample_result_decode_json(&r, &arena, l->reply, why,
                                                   sizeof(why)),
                 0, "%s: %s", l->at, why);
  } else {
    size_t i = 0;
    while (!strstr(text, kinds[i].mark)) i++;
    decode(kinds[i].table, l);
  }
}

static void check_result(const line_t *l) {
  tinker__reply_t r;
  int rc =
      tinker__reply_classify(&r, &arena, l->type, l->reply, why, sizeof(why));
  if (!tinker__str_starts(l->type, "application/")) {
    cr_assert_neq(rc, 0, "%s: text is no result", l->at);
    return;
  }
  cr_assert_eq(rc, 0, "%s: %s", l->at, why);
  switch (r.kind) {
  case TINKER__REPLY_PROTO:
    if (!l->want.len) { /* bytes that are no message */
      tinker__fb_output_t o;
      cr_assert_neq(
          tinker__fb_output_decode(&o, &arena, l->reply, why, sizeof(why)), 0,
          "%s", l->at);
    } else if (tinker__str_starts(l->want, "{\"datums\"")) {
      check_output(l);
    } else {
      check_sample(l);
    }
    break;
  case TINKER__REPLY_TRY_AGAIN:
    cr_assert_not_null(r.queue_state, "%s", l->at);
    break;
  case TINKER__REPLY_METADATA:
    cr_assert_gt(r.payload_size, 0, "%s", l->at);
    break;
  case TINKER__REPLY_FAILED:
    cr_assert(*r.error && *r.category, "%s", l->at);
    break;
  default: check_json_result(l);
  }
}

/* Every text of the reply that begins as a time is one. */
static void check_times(const line_t *l) {
  tinker__str_t left = l->reply;
  for (const char *p; (p = memchr(left.ptr, '"', left.len));) {
    size_t skip = (size_t)(p - left.ptr) + 1;
    left = (tinker__str_t){p + 1, left.len - skip};
    const char *end = memchr(left.ptr, '"', left.len);
    tinker__str_t text = {left.ptr, end ? (size_t)(end - left.ptr) : 0};
    int64_t ms;
    if (!tinker__str_starts(text, "2026-") || text.len > 32) continue;
    cr_assert(tinker__time_read(text, &ms), "%s: %.*s", l->at, (int)text.len,
              text.ptr);
    cr_assert(ms > 1795000000000 && ms < 1800000000000, "%s: %.*s", l->at,
              (int)text.len, text.ptr);
  }
}

/* A question about what there is. */
static bool check_rest(const line_t *l) {
  static const struct {
    const char *begin, *end;
    const tinker__bind_table_t *table;
  } replies[] = {
      {"/api/v1/training_runs?", "", &tinker__runs_reply_msg},
      {"/api/v1/training_runs/", "/checkpoints",
       &tinker__checkpoints_reply_msg},
      {"/api/v1/training_runs/", "?access_scope=owned", &tinker__run_reply_msg},
      {"/api/v1/training_runs/", "?access_scope=accessible",
       &tinker__run_reply_msg},
      {"/api/v1/checkpoints?", "", &tinker__checkpoints_reply_msg},
      {"/api/v1/sessions?", "", &tinker__sessions_reply_msg},
      {"/api/v1/sessions/", "?access_scope=owned", &tinker__session_reply_msg},
      {"/api/v1/sessions/", "?access_scope=accessible",
       &tinker__session_reply_msg}};
  for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
    if (!tinker__str_starts(l->target, replies[i].begin)) continue;
    if (!ends(l, replies[i].end)) continue;
    decode(replies[i].table, l);
    check_times(l);
    return true;
  }
  return false;
}

/* True when the client has a decoder for it. */
static bool check_success(const line_t *l) {
  static const struct {
    const char *path;
    const tinker__bind_table_t *table;
  } replies[] = {
      {"/client/config", &tinker__client_config_msg},
      {"/client/dynamic_config", &tinker__dynamic_config_msg},
      {"/create_session", &tinker__create_session_reply_msg},
      {"/session_heartbeat", &tinker__heartbeat_reply_msg},
      {"/get_server_capabilities", &tinker__capabilities_reply_msg},
      {"/healthz", &tinker__health_reply_msg},
      {"/get_info", &tinker__get_info_reply_msg},
      {"/weights_info", &tinker__weights_info_reply_msg},
      {"/create_sampling_session", &tinker__create_sampling_reply_msg},
      {"/create_model", &tinker__accepted_msg},
      {"/forward", &tinker__accepted_msg},
      {"/forward_backward", &tinker__accepted_msg},
      {"/optim_step", &tinker__accepted_msg},
      {"/save_weights", &tinker__accepted_msg},
      {"/save_weights_for_sampler", &tinker__accepted_msg},
      {"/load_weights", &tinker__accepted_msg},
      {"/asample", &tinker__accepted_msg}};
  if (tinker__str_eqs(l->method, "PUT") ||
      tinker__str_eqs(l->method, "DELETE")) {
    cr_assert_eq(l->reply.len, 0u, "%s", l->at);
    return true;
  }
  if (tinker__str_eqs(l->method, "GET") && check_rest(l)) return true;
  if (ends(l, "/retrieve_future")) {
    check_result(l);
    return true;
  }
  if (tinker__str_starts(l->target, "/api/v1/samplers/")) {
    decode(&tinker__sampler_reply_msg, l);
    return true;
  }
  for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
    if (!ends(l, replies[i].path)) continue;
    decode(replies[i].table, l);
    return true;
  }
  return false;
}

/* A sentence for people, "detail" where there is one. */
static void check_error(const line_t *l) {
  char text[400], detail[200] = "";
  const char key[] = "{\"detail\":\"";
  tinker__error_body_text(&mem, l->reply, text, sizeof(text));
  cr_assert_eq(*text == 0, l->reply.len == 0, "%s", l->at);
  if (!tinker__str_starts(l->reply, key)) return;
  snprintf(detail, sizeof(detail), "%.*s",
           (int)(l->reply.len - sizeof(key) + 1),
           l->reply.ptr + sizeof(key) - 1);
  detail[strcspn(detail, "\"\\")] = 0;
  cr_assert_eq(strncmp(text, detail, strlen(detail)), 0, "%s: %s / %s", l->at,
               text, detail);
}

/* --- the files ---------------------------------------------------------------
 */

typedef struct counts_s {
  size_t scenarios, decoded, errors, others;
} counts_t;

static void check_line(tinker__str_t text, const char *scenario, counts_t *n) {
  line_t l;
  tinker__json_t j;
  tinker__json_init(&j, &mem, text.ptr, text.len);
  read_line(&l, &j, scenario);
  if (l.status >= 300) {
    check_error(&l);
    n->errors++;
  } else if (check_success(&l)) {
    n->decoded++;
  } else {
    n->others++;
  }
  tinker__json_done(&j);
  tinker__arena_free(&arena);
}

static void check_file(const char *path, const char *scenario, counts_t *n) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 24);
  cr_assert_eq(
      tinker__file_read(tinker__world_real(), path, &b, why, sizeof(why)), 0,
      "%s", why);
  for (const char *at = b.data, *end = b.data + b.len; at < end;) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    cr_assert_not_null(stop);
    check_line((tinker__str_t){at, (size_t)(stop - at)}, scenario, n);
    at = stop + 1;
  }
  tinker__buf_free(&b);
  n->scenarios++;
}

Test(exchanges, every_reply_decodes) {
  static const char dir[] = TINKER_TEST_DIR "/golden/exchanges";
  char path[600];
  counts_t n = {0};
  DIR *d = opendir(dir);
  cr_assert_not_null(d, "%s", dir);
  for (struct dirent *e; (e = readdir(d));) {
    if (!tinker__str_ends(tinker__str(e->d_name), ".jsonl")) continue;
    snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
    check_file(path, e->d_name, &n);
  }
  closedir(d);
  fprintf(stderr,
          "%zu scenarios: %zu replies decoded, %zu errors, %zu of "
          "calls that the client does not make\n",
          n.scenarios, n.decoded, n.errors, n.others);
  cr_assert_geq(n.scenarios, 58);
  cr_assert_geq(n.decoded, 1400);
  cr_assert_geq(n.errors, 150);
}
