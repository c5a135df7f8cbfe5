/* What a reply says, as far as the loop's thread has to know: a few fields of
 * small JSON texts. Results themselves are decoded elsewhere. Pure. */
#include "flow/engine.h"

#include <string.h>

#include "base/json_read.h"

/* Larger JSON than this is no control message: it is a result. */
#define CONTROL_MAX 65536

typedef struct fields_s {
  tinker__str_t type, status, error, category;
  int64_t bytes;
  bool has_error;
} fields_t;

/* A field of another type than a control message has is a result's own. */
static bool text(tinker__json_t *j, tinker__str_t *out) {
  if (tinker__json_peek(j) != TINKER__JSON_STRING) return tinker__json_skip(j);
  return tinker__json_string(j, out);
}

static bool read_field(tinker__json_t *j, tinker__str_t key, fields_t *f) {
  if (tinker__str_eqs(key, "type")) return text(j, &f->type);
  if (tinker__str_eqs(key, "status")) return text(j, &f->status);
  if (tinker__str_eqs(key, "category")) return text(j, &f->category);
  if (tinker__str_eqs(key, "error")) {
    f->has_error = true;
    return text(j, &f->error);
  }
  if (tinker__str_eqs(key, "response_payload_size"))
    return tinker__json_i64(j, &f->bytes);
  return tinker__json_skip(j);
}

static void nonsense(tinker__says_what_t *out, const char *why) {
  out->says = TINKER__SAYS_NONSENSE;
  tinker__why(out->text, sizeof out->text, 0, "%s", why);
}

static tinker_category_t category_of(tinker__str_t name) {
  if (tinker__str_eqs(name, "user")) return TINKER_CATEGORY_USER;
  if (tinker__str_eqs(name, "server")) return TINKER_CATEGORY_SERVER;
  return TINKER_CATEGORY_UNKNOWN;
}

static void classify(const fields_t *f, tinker__says_what_t *out) {
  if (tinker__str_eqs(f->type, "try_again")) {
    out->says = TINKER__SAYS_AGAIN;
  } else if (tinker__str_eqs(f->status, "complete_metadata")) {
    out->says = TINKER__SAYS_METADATA;
    out->payload_bytes = f->bytes < 0 ? 0 : f->bytes;
  } else if (f->has_error) {
    out->says = TINKER__SAYS_FAILED;
    out->category = category_of(f->category);
    tinker__why(out->text, sizeof out->text, 0, "the server says: %.*s",
                (int)(f->error.len < 400 ? f->error.len : 400), f->error.ptr);
  }
}

void tinker__reply_read(const tinker__http_reply_t *reply, tinker__mem_t *mem,
                        tinker__says_what_t *out) {
  *out = (tinker__says_what_t){.says = TINKER__SAYS_RESULT};
  if (strstr(reply->content_type, "application/x-protobuf")) return;
  if (reply->body.len > CONTROL_MAX) return;
  tinker__str_t empty = {"", 0}, key;
  fields_t f = {empty, empty, empty, empty, 0, false};
  tinker__json_t j;
  tinker__json_init(&j, mem, reply->body.data ? reply->body.data : "",
                    reply->body.len);
  if (tinker__json_object(&j))
    while (tinker__json_key(&j, &key) && read_field(&j, key, &f)) {
    }
  if (tinker__json_end(&j))
    nonsense(out, "the reply to a poll is neither protobuf nor a JSON object");
  else
    classify(&f, out);
  tinker__json_done(&j);
}

int tinker__reply_request_id(const tinker__http_reply_t *reply,
                             tinker__mem_t *mem, char **out) {
  tinker__str_t key, id = {"", 0};
  tinker__json_t j;
  tinker__json_init(&j, mem, reply->body.data ? reply->body.data : "",
                    reply->body.len);
  tinker__json_object(&j);
  while (tinker__json_key(&j, &key)) {
    if (tinker__str_eqs(key, "request_id"))
      tinker__json_string(&j, &id);
    else
      tinker__json_skip(&j);
  }
  int rc = tinker__json_end(&j) || id.len == 0 ? TINKER_EPROTO : 0;
  if (!rc) {
    *out = tinker__mem_strndup(mem, id.ptr, id.len);
    if (!*out) rc = TINKER_ENOMEM;
  }
  tinker__json_done(&j);
  return rc;
}

/* FastAPI's shape is {"detail": text or list}; others say error or message.
 * What is no such object is quoted as it is. */
static bool json_detail(tinker__json_t *j, tinker__str_t *out) {
  tinker__str_t key;
  if (tinker__json_peek(j) != TINKER__JSON_OBJECT || !tinker__json_object(j))
    return false;
  while (tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "detail") || tinker__str_eqs(key, "error") ||
        tinker__str_eqs(key, "message")) {
      if (tinker__json_peek(j) == TINKER__JSON_STRING)
        tinker__json_string(j, out);
      else
        tinker__json_raw(j, out);
    } else {
      tinker__json_skip(j);
    }
  }
  return tinker__json_end(j) == 0 && out->len > 0;
}

void tinker__reply_detail(const tinker__http_reply_t *reply,
                          tinker__mem_t *mem, char *out, size_t out_len) {
  tinker__str_t body = tinker__buf_str(&reply->body), text_of = {"", 0};
  tinker__json_t j;
  tinker__json_init(&j, mem, body.ptr, body.len);
  if (!json_detail(&j, &text_of)) text_of = body;
  if (!tinker__utf8_valid(text_of.ptr, text_of.len)) text_of.len = 0;
  tinker__why(out, out_len, 0, "%.*s",
              (int)(text_of.len < 2000 ? text_of.len : 2000), text_of.ptr);
  tinker__json_done(&j);
}
