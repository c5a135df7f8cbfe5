/* msg_future: futures, what a reply about one means, and error bodies
 * (messages.h). */
#include <string.h>
#include <tinker/error.h>

#include "wire/bind_rows.h"

static const tinker__bind_field_t accepted_rows[] = {
    ROW(tinker__accepted_t, STR, request_id, REQ),
    ROW(tinker__accepted_t, STR, model_id, 0),
    ROW(tinker__accepted_t, STRS, sample_sequence_ids, TINKER__BIND_SPARSE)};
const tinker__bind_table_t tinker__accepted_msg =
    TABLE(accepted_rows, tinker__accepted_t, NULL, NULL);

static const tinker__bind_field_t retrieve_rows[] = {
    ROW(tinker__retrieve_t, STR, request_id, REQ | LONG),
    ROW(tinker__retrieve_t, BOOL, allow_metadata_only, 0)};
const tinker__bind_table_t tinker__retrieve_msg =
    TABLE(retrieve_rows, tinker__retrieve_t, NULL, NULL);

static const tinker__bind_field_t try_again_rows[] = {
    ROW(tinker__try_again_t, STR, request_id, 0),
    ROW(tinker__try_again_t, STR, queue_state, 0),
    ROW(tinker__try_again_t, STR, queue_state_reason, 0)};
const tinker__bind_table_t tinker__try_again_msg =
    TABLE(try_again_rows, tinker__try_again_t, "try_again", NULL);

static const tinker__bind_field_t announced_rows[] = {
    ROW(tinker__announced_t, STR, status, REQ),
    ROW(tinker__announced_t, I64, response_payload_size, 0)};
const tinker__bind_table_t tinker__announced_msg =
    TABLE(announced_rows, tinker__announced_t, NULL, NULL);

static const tinker__bind_field_t refusal_rows[] = {
    ROW(tinker__refusal_t, STR, detail, REQ)};
const tinker__bind_table_t tinker__refusal_msg =
    TABLE(refusal_rows, tinker__refusal_t, NULL, NULL);

static const tinker__bind_field_t call_head_rows[] = {
    ROW(tinker__call_head_t, STR, model_id, HEAD | LONG),
    ROW_HEAD_SEQ(tinker__call_head_t)};
const tinker__bind_table_t tinker__call_head_msg =
    TABLE(call_head_rows, tinker__call_head_t, NULL, NULL);

static const tinker__bind_field_t call_subject_rows[] = {
    ROW(tinker__call_subject_t, STR, model_id, LONG),
    ROW(tinker__call_subject_t, STR, session_id, LONG),
    ROW(tinker__call_subject_t, STR, sampling_session_id, LONG),
    ROW(tinker__call_subject_t, STR, request_id, LONG),
    ROW_HAS(tinker__call_subject_t, I64, seq_id)};
const tinker__bind_table_t tinker__call_subject_msg =
    TABLE(call_subject_rows, tinker__call_subject_t, NULL, NULL);

static const tinker__bind_field_t failure_rows[] = {
    ROW(tinker__failure_t, STR, error, REQ),
    ROW(tinker__failure_t, STR, category, 0)};
static const tinker__failure_t failure_default = {.category = "unknown"};
const tinker__bind_table_t tinker__failure_msg =
    TABLE(failure_rows, tinker__failure_t, NULL, &failure_default);

/* The fields that tell what a reply is. A success may use the same names for
 * anything, so values of another type count as absent. */
typedef struct tinker__marks_s {
  const char *type, *status, *category;
  const char *queue_state, *queue_state_reason;
  int64_t size;
  bool has_error;
  tinker__str_t error; /* JSON text when it is not a string */
} tinker__marks_t;

static bool take_mark(tinker__json_t *j, tinker__arena_t *arena,
                      const char **out) {
  tinker__str_t s;
  if (tinker__json_peek(j) != TINKER__JSON_STRING) return tinker__json_skip(j);
  if (!tinker__json_string(j, &s)) return false;
  *out = s.len <= TINKER__MAX_TEXT ? tinker__arena_str(arena, s) : "";
  if (!*out) {
    tinker__json_fail(j, tinker__arena_error(arena),
                      tinker__arena_trouble(arena));
  }
  return *out != NULL;
}

static bool take_error(tinker__json_t *j, tinker__arena_t *arena,
                       tinker__marks_t *m) {
  tinker__str_t s;
  bool ok = tinker__json_peek(j) == TINKER__JSON_STRING
                ? tinker__json_string(j, &s)
                : tinker__json_raw(j, &s);
  if (!ok) return false;
  if (s.len > TINKER__MAX_TEXT) s.len = TINKER__MAX_TEXT;
  while (s.len && !tinker__utf8_valid(s.ptr, s.len)) {
    s.len--; /* not inside a character */
  }
  char *copy = tinker__arena_str(arena, s);
  if (!copy) {
    tinker__json_fail(j, tinker__arena_error(arena),
                      tinker__arena_trouble(arena));
    return false;
  }
  m->has_error = true;
  m->error = (tinker__str_t){copy, s.len};
  return true;
}

static bool take_size(tinker__json_t *j, int64_t *out) {
  double v;
  if (tinker__json_peek(j) != TINKER__JSON_NUMBER) return tinker__json_skip(j);
  if (!tinker__json_f64(j, &v)) return false;
  *out = v >= 0 && v < 9e15 ? (int64_t)v : 0;
  return true;
}

static bool take_field(tinker__json_t *j, tinker__arena_t *arena,
                       tinker__str_t key, tinker__marks_t *m) {
  if (tinker__str_eqs(key, "type")) return take_mark(j, arena, &m->type);
  if (tinker__str_eqs(key, "status")) return take_mark(j, arena, &m->status);
  if (tinker__str_eqs(key, "category")) {
    return take_mark(j, arena, &m->category);
  }
  if (tinker__str_eqs(key, "queue_state")) {
    return take_mark(j, arena, &m->queue_state);
  }
  if (tinker__str_eqs(key, "queue_state_reason")) {
    return take_mark(j, arena, &m->queue_state_reason);
  }
  if (tinker__str_eqs(key, "response_payload_size")) {
    return take_size(j, &m->size);
  }
  if (tinker__str_eqs(key, "error")) return take_error(j, arena, m);
  return tinker__json_skip(j);
}

static bool is(const char *value, const char *expected) {
  return value && strcmp(value, expected) == 0;
}

static const char *category_of(const char *c) {
  return is(c, "user") ? "user" : is(c, "server") ? "server" : "unknown";
}

static void decide(tinker__reply_t *out, const tinker__marks_t *m) {
  if (is(m->type, "try_again")) {
    out->kind = TINKER__REPLY_TRY_AGAIN;
    out->queue_state = m->queue_state;
    out->queue_state_reason = m->queue_state_reason;
  } else if (is(m->status, "complete_metadata")) {
    out->kind = TINKER__REPLY_METADATA;
    out->payload_size = m->size;
  } else if (m->has_error) {
    out->kind = TINKER__REPLY_FAILED;
    out->error = m->error.ptr;
    out->category = category_of(m->category);
  } else {
    out->kind = TINKER__REPLY_JSON;
  }
}

static bool has_word(tinker__str_t s, const char *word) {
  size_t n = strlen(word);
  for (size_t i = 0; i + n <= s.len; i++) {
    if (tinker__str_ieq((tinker__str_t){s.ptr + i, n}, tinker__str(word))) {
      return true;
    }
  }
  return false;
}

int tinker__reply_classify(tinker__reply_t *out, tinker__arena_t *arena,
                           tinker__str_t content_type, tinker__str_t body,
                           char *why, size_t why_len) {
  tinker__json_t j;
  tinker__marks_t m = {0};
  tinker__str_t key;
  memset(out, 0, sizeof(*out));
  out->kind = TINKER__REPLY_PROTO;
  if (has_word(content_type, "application/x-protobuf")) return 0;
  tinker__json_init(&j, arena->mem, body.ptr, body.len);
  tinker__json_object(&j);
  while (tinker__json_key(&j, &key) && take_field(&j, arena, key, &m))
    ;
  int rc = tinker__json_end(&j);
  if (rc) {
    tinker__why(why, why_len, rc, "the reply is no JSON object: byte %zu: %s",
                j.error_at, j.reason);
  } else {
    decide(out, &m);
  }
  tinker__json_done(&j);
  return rc;
}

/* --- error bodies ----------------------------------------------------------
 */

/* Appends text without line ends and control characters, cut to the room. */
static void put(char *out, size_t out_len, tinker__str_t s) {
  size_t n = strlen(out);
  for (size_t i = 0; i < s.len && n + 1 < out_len; i++) {
    unsigned char c = (unsigned char)s.ptr[i];
    out[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
  }
  out[n] = 0;
}

/* "data.0.x" out of ["data", 0, "x"]. */
static void put_loc(tinker__json_t *j, char *out, size_t out_len) {
  tinker__str_t s;
  bool first = true;
  tinker__json_array(j);
  while (tinker__json_more(j)) {
    bool text = tinker__json_peek(j) == TINKER__JSON_STRING;
    if (text ? !tinker__json_string(j, &s) : !tinker__json_raw(j, &s)) return;
    if (!first) put(out, out_len, TINKER__STR("."));
    put(out, out_len, s);
    first = false;
  }
}

/* One object of the list of a failed validation. */
static void put_item(tinker__json_t *j, char *out, size_t out_len) {
  tinker__str_t key, msg = TINKER__STR("");
  tinker__json_object(j);
  while (tinker__json_key(j, &key)) {
    tinker__json_type_t type = tinker__json_peek(j);
    if (tinker__str_eqs(key, "loc") && type == TINKER__JSON_ARRAY) {
      put_loc(j, out, out_len);
    } else if (tinker__str_eqs(key, "msg") && type == TINKER__JSON_STRING) {
      tinker__json_string(j, &msg);
    } else {
      tinker__json_skip(j);
    }
  }
  put(out, out_len, TINKER__STR(": "));
  put(out, out_len, msg);
}

static void put_detail(tinker__json_t *j, char *out, size_t out_len) {
  tinker__str_t s;
  tinker__json_type_t type = tinker__json_peek(j);
  if (type == TINKER__JSON_STRING) {
    if (tinker__json_string(j, &s)) put(out, out_len, s);
  } else if (type == TINKER__JSON_ARRAY) {
    tinker__json_array(j);
    for (bool first = true; tinker__json_more(j); first = false) {
      if (!first) put(out, out_len, TINKER__STR("; "));
      if (tinker__json_peek(j) == TINKER__JSON_OBJECT) {
        put_item(j, out, out_len);
      } else if (tinker__json_raw(j, &s)) {
        put(out, out_len, s);
      }
    }
  } else if (tinker__json_raw(j, &s)) {
    put(out, out_len, s);
  }
}

void tinker__error_body_text(tinker__mem_t *mem, tinker__str_t body, char *out,
                             size_t out_len) {
  tinker__json_t j;
  tinker__str_t key;
  if (!out_len) return;
  out[0] = 0;
  tinker__json_init(&j, mem, body.ptr, body.len);
  if (tinker__json_peek(&j) == TINKER__JSON_OBJECT) {
    tinker__json_object(&j);
    while (tinker__json_key(&j, &key)) {
      bool wanted = tinker__str_eqs(key, "detail") ||
                    tinker__str_eqs(key, "error") ||
                    tinker__str_eqs(key, "message");
      if (wanted && !out[0]) {
        put_detail(&j, out, out_len);
      } else {
        tinker__json_skip(&j);
      }
    }
  }
  tinker__json_done(&j);
  if (!out[0]) put(out, out_len, body);
  size_t n = strlen(out);
  while (n && !tinker__utf8_valid(out, n)) out[--n] = 0;
}
