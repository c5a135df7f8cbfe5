/* trouble: see the header. The words are those of the service (protocol 2.7),
 * of the local service and of SkyRL's server; they are compared without case.
 */
#include "http/trouble.h"

#include <stdio.h>
#include <string.h>

#include "wire/messages.h"

static bool has(const char *text, const char *words) {
  size_t n = strlen(words), len = strlen(text);
  tinker__str_t want = {words, n};
  for (size_t i = 0; i + n <= len; i++) {
    if (tinker__str_ieq((tinker__str_t){text + i, n}, want)) return true;
  }
  return false;
}

static bool begins(const char *text, const char *words) {
  size_t n = strlen(words);
  return strlen(text) >= n &&
         tinker__str_ieq((tinker__str_t){text, n}, (tinker__str_t){words, n});
}

static tinker__said_t said_403(const char *text) {
  return has(text, "invalid session") ? TINKER__SAID_NO_SESSION
                                      : TINKER__SAID_NOTHING;
}

/* "Model not found", "model s:train:0 not found". */
static bool lacks(const char *text, const char *noun) {
  size_t n = strlen(noun);
  return begins(text, noun) && text[n] == ' ' && has(text + n, "not found");
}

/* "Not Found" alone is what a web framework says to a path that it does not
 * have. */
static tinker__said_t said_404(const char *text) {
  if (!strcmp(text, "Not Found") || begins(text, "no such endpoint")) {
    return TINKER__SAID_NO_ROUTE;
  }
  if (lacks(text, "session")) return TINKER__SAID_NO_SESSION;
  if (lacks(text, "model")) return TINKER__SAID_NO_MODEL;
  return TINKER__SAID_MISSING;
}

static tinker__said_t said_409(const char *text) {
  if (has(text, "was used by a call that was rejected")) {
    return TINKER__SAID_SPENT;
  }
  if (has(text, "was used before")) return TINKER__SAID_TAKEN;
  if (has(text, "exists")) return TINKER__SAID_EXISTS;
  return TINKER__SAID_NOTHING;
}

static tinker__said_t said_of_ended(const char *text) {
  if (has(text, "model can't go on")) return TINKER__SAID_STUCK;
  if (begins(text, "ResourceAlreadyExists") || has(text, "already exists")) {
    return TINKER__SAID_EXISTS;
  }
  if (lacks(text, "model")) return TINKER__SAID_NO_MODEL;
  if (has(text, "not found")) return TINKER__SAID_MISSING;
  return TINKER__SAID_NOTHING;
}

int64_t tinker__trouble_expected(int status, const char *text) {
  static const char expected[] = "expected ", seq_id[] = "seq_id ";
  const char *at = status == 409 ? strstr(text, expected) : NULL;
  long long n = 0, got = 0;
  if (!at) return 0;
  at += sizeof expected - 1;
  if (begins(at, seq_id)) at += sizeof seq_id - 1;
  return sscanf(at, "%9lld, got %9lld", &n, &got) == 2 && n > 0 ? n : 0;
}

tinker__said_t tinker__trouble_said(int status, const char *text) {
  switch (status) {
  case 0: return said_of_ended(text);
  case 403: return said_403(text);
  case 404: return said_404(text);
  case 405: return TINKER__SAID_NO_ROUTE;
  case 409: return said_409(text);
  default: return TINKER__SAID_NOTHING;
  }
}

static const char *words_of(const tinker__http_reply_t *reply, char *out,
                            size_t out_len) {
  tinker__error_body_text(reply->body.mem, tinker__buf_str(&reply->body), out,
                          out_len);
  return out;
}

void tinker__trouble_read(tinker__trouble_t *out,
                          const tinker__http_reply_t *reply) {
  char text[400];
  int refusal = tinker__http_refusal(reply);
  *out = (tinker__trouble_t){
      .error = reply->error,
      .sent = reply->sent,
      .status = reply->status,
      .foreign = tinker__http_foreign(reply),
      .retry_after_ms = reply->retry_after_ms > 0 ? reply->retry_after_ms : 0,
  };
  if (reply->error) return;
  if (reply->should_retry >= 0) {
    out->should_retry = reply->should_retry ? 1 : -1;
  }
  if (refusal) {
    words_of(reply, text, sizeof text);
    out->said = tinker__trouble_said(refusal, text);
    out->expected = tinker__trouble_expected(refusal, text);
  }
}

/* "could not connect: nothing was sent: Connection refused (/run/x.sock)". The
 * time of one attempt is not the deadline of the operation. */
static const char *text_of_error(const tinker__http_reply_t *reply, char *out,
                                 size_t out_len) {
  const char *what = reply->error == TINKER_ETIMEDOUT
                         ? "no answer in time"
                         : tinker_code_text(reply->error);
  bool more = reply->detail[0] && strcmp(reply->detail, what) != 0;
  tinker__why(out, out_len, 0, "%s%s%s", what, more ? ": " : "",
              more ? reply->detail : "");
  return out;
}

const char *tinker__trouble_text(const tinker__http_reply_t *reply, char *out,
                                 size_t out_len) {
  char text[400] = "";
  bool named = reply->request_id[0] != 0;
  if (reply->error || !reply->status) return text_of_error(reply, out, out_len);
  words_of(reply, text, sizeof text);
  tinker__why(
      out, out_len, 0, "%s answered %d%s%s%s%s%s",
      tinker__http_foreign(reply) ? "something between here and the server"
                                  : "the server",
      reply->status, named ? " (log id " : "", named ? reply->request_id : "",
      named ? ")" : "", text[0] ? ": " : "", text);
  return out;
}
