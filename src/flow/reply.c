/* reply: reads the few fields of a reply that the loop's thread needs. Results
 * are decoded elsewhere. Pure. */
#include <string.h>

#include "base/arena.h"
#include "flow/internal.h"
#include "wire/messages.h"

/* JSON that is larger than this is a result, not a control message. */
#define CONTROL_MAX 65536
#define REQUEST_ID_MAX 1024

static tinker_category_t category_of(const char *name) {
  if (!strcmp(name, "user")) return TINKER_CATEGORY_USER;
  if (!strcmp(name, "server")) return TINKER_CATEGORY_SERVER;
  return TINKER_CATEGORY_UNKNOWN;
}

/* The N of "waiting for seq_id N", -1 if it says anything else. */
static int64_t missing_number(const char *reason) {
  static const char words[] = "waiting for seq_id ";
  int64_t seq = -1;
  if (reason && !strncmp(reason, words, sizeof words - 1)) {
    tinker__parse_i64(tinker__str(reason + sizeof words - 1), &seq);
  }
  return seq;
}

/* Texts of protocol 9.3; a state that is not known is not news without a reason
 * of its own. */
static void read_queue(const tinker__reply_t *r, tinker__says_what_t *out) {
  const char *state = r->queue_state ? r->queue_state : "active";
  const char *text = r->queue_state_reason;
  out->missing = missing_number(text);
  if (!strcmp(state, "active")) return;
  if (!text && !strcmp(state, "paused_rate_limit")) {
    text = "the limit of concurrent clients is reached";
  }
  if (!text && !strcmp(state, "paused_capacity")) {
    text = "the service is short of capacity, please wait";
  }
  out->paused = text != NULL;
  if (text) tinker__why(out->text, sizeof out->text, 0, "%s", text);
}

bool tinker__reply_paused(const tinker__http_reply_t *reply, tinker__mem_t *mem,
                          tinker__says_what_t *out) {
  tinker__try_again_t m;
  tinker__arena_t arena;
  *out = (tinker__says_what_t){.says = TINKER__SAYS_AGAIN, .missing = -1};
  if (reply->body.len > CONTROL_MAX) return false;
  tinker__arena_init(&arena, mem);
  if (!tinker__message_decode(&tinker__try_again_msg, &m, &arena,
                              tinker__buf_str(&reply->body), NULL, 0)) {
    read_queue(&(tinker__reply_t){.queue_state = m.queue_state,
                                  .queue_state_reason = m.queue_state_reason},
               out);
  }
  tinker__arena_free(&arena);
  return out->paused;
}

/* A call that was carried out badly is judged by the words about it. */
static void read_failure(const tinker__reply_t *r, const char *log_id,
                         tinker__retry_class_t class_bit,
                         tinker__says_what_t *out) {
  uint64_t seed = 0;
  tinker__retry_t once = {0};
  tinker__retry_limits_t none = {0};
  tinker__trouble_t trouble = {
      .status = 200,
      .sent = true,
      .ended = true,
      .category = category_of(r->category),
      .said = tinker__trouble_said(0, r->error),
  };
  tinker__verdict_t v =
      tinker__retry_judge(&once, &none, class_bit, &trouble, 0, &seed);
  out->says = TINKER__SAYS_FAILED;
  out->code = v.code;
  out->advice = v.advice;
  out->category = v.category;
  tinker__why(out->text, sizeof out->text, 0, "the server says%s%s%s: %s",
              log_id[0] ? " (log id " : "", log_id, log_id[0] ? ")" : "",
              r->error);
}

static void translate(const tinker__reply_t *r, const char *log_id,
                      tinker__retry_class_t class_bit,
                      tinker__says_what_t *out) {
  switch (r->kind) {
  case TINKER__REPLY_TRY_AGAIN:
    out->says = TINKER__SAYS_AGAIN;
    read_queue(r, out);
    break;
  case TINKER__REPLY_METADATA:
    out->says = TINKER__SAYS_METADATA;
    out->payload_bytes = r->payload_size > 0 ? r->payload_size : 0;
    break;
  case TINKER__REPLY_FAILED: read_failure(r, log_id, class_bit, out); break;
  case TINKER__REPLY_PROTO:
  case TINKER__REPLY_JSON: break;
  }
}

void tinker__reply_read(const tinker__http_reply_t *reply, tinker__mem_t *mem,
                        tinker__retry_class_t class_bit,
                        tinker__says_what_t *out) {
  *out = (tinker__says_what_t){.says = TINKER__SAYS_RESULT, .missing = -1};
  tinker__str_t type = tinker__str(reply->content_type);
  if (strstr(reply->content_type, "application/x-protobuf") ||
      reply->body.len > CONTROL_MAX) {
    return;
  }
  tinker__reply_t r;
  tinker__arena_t arena;
  tinker__arena_init(&arena, mem);
  if (tinker__reply_classify(&r, &arena, type, tinker__buf_str(&reply->body),
                             out->text, sizeof out->text)) {
    out->says = TINKER__SAYS_NONSENSE;
  } else {
    translate(&r, reply->request_id, class_bit, out);
  }
  tinker__arena_free(&arena);
}

/* Any printable id is taken, even with a slash: the server chooses its form,
 * and it does not become part of a path. */
static bool is_request_id(const char *id) {
  size_t n = strlen(id);
  for (size_t i = 0; i < n; i++) {
    if (id[i] <= ' ' || id[i] > '~') return false;
  }
  return n > 0 && n <= REQUEST_ID_MAX;
}

int tinker__reply_request_id(const tinker__http_reply_t *reply,
                             tinker__mem_t *mem, char **out, char *why,
                             size_t why_len) {
  tinker__accepted_t accepted;
  tinker__arena_t arena;
  tinker__arena_init(&arena, mem);
  int rc = tinker__message_decode(&tinker__accepted_msg, &accepted, &arena,
                                  tinker__buf_str(&reply->body), why, why_len);
  if (!rc && (!accepted.request_id || !accepted.request_id[0])) {
    rc = tinker__why(why, why_len, TINKER_EPROTO,
                     "the reply to the submission has no request_id");
  }
  if (!rc && !is_request_id(accepted.request_id)) {
    rc = tinker__why(
        why, why_len, TINKER_EPROTO,
        "request_id \"%s\" is longer than %d bytes or not printable",
        accepted.request_id, REQUEST_ID_MAX);
  }
  if (!rc) {
    *out = tinker__mem_strdup(mem, accepted.request_id);
    if (!*out) rc = TINKER_ENOMEM;
  }
  if (rc && rc != TINKER_ENOMEM) rc = TINKER_EPROTO;
  tinker__arena_free(&arena);
  return rc;
}
