/* reply: what can be said of any reply. Pure. */
#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "http/http.h"

/* Markup begins as neither JSON nor a protobuf message can, whatever name the
 * type has; only what calls itself a message is left to its decoder. */
static bool is_page(const tinker__http_reply_t *reply) {
  static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8 */
  tinker__str_t text = tinker__buf_str(&reply->body);
  size_t at = 0;
  if (!strcmp(reply->content_type, "application/x-protobuf")) return false;
  if (text.len >= 3 && !memcmp(text.ptr, mark, 3)) at = 3;
  while (at < text.len && text.ptr[at] && strchr(" \t\r\n", text.ptr[at])) at++;
  return at < text.len && text.ptr[at] == '<';
}

bool tinker__http_failed(const tinker__http_reply_t *reply) {
  return reply->error || reply->status < 200 || reply->status > 299 ||
         is_page(reply);
}

/* A refusal of the service is a JSON object with one of these keys (protocol
 * 2.7 and 9.2). */
static bool is_refusal(tinker__json_t *j) {
  bool named = false;
  tinker__str_t key;
  if (tinker__json_peek(j) != TINKER__JSON_OBJECT) return false;
  tinker__json_object(j);
  while (tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "detail") || tinker__str_eqs(key, "error") ||
        tinker__str_eqs(key, "message")) {
      named = true;
    }
    tinker__json_skip(j);
  }
  return tinker__json_end(j) == 0 && named;
}

/* Without memory for the text's strings nothing is known about its sender, and
 * it counts as a stranger's: a request with a number is sent again then. */
int tinker__http_refusal(const tinker__http_reply_t *reply) {
  tinker__json_t j;
  if (reply->error || reply->status < 400 || reply->status > 499) return 0;
  tinker__json_init(&j, reply->body.mem, reply->body.data, reply->body.len);
  bool refusal = reply->body.len > 0 && is_refusal(&j);
  tinker__json_done(&j);
  return refusal ? reply->status : 0;
}

/* Any gateway may say that it gave up waiting, that a body is too large or
 * that requests come too fast: what follows is the same whoever says it. */
bool tinker__http_foreign(const tinker__http_reply_t *reply) {
  int status = reply->status;
  if (reply->error || status < 400 || status > 499) return false;
  if (status == 408 || status == 413 || status == 429) return false;
  return tinker__http_refusal(reply) == 0;
}

/* ---- parts ---- */

/* The text before the character, which it skips; false without one. */
static bool cut(tinker__str_t *rest, char at, tinker__str_t *before) {
  const char *end = memchr(rest->ptr, at, rest->len);
  if (!end) return false;
  size_t n = (size_t)(end - rest->ptr);
  *before = (tinker__str_t){rest->ptr, n};
  *rest = (tinker__str_t){end + 1, rest->len - n - 1};
  return true;
}

static bool to_length(tinker__str_t text, int64_t *out) {
  return !tinker__parse_i64(text, out) && *out >= 0;
}

void tinker__http_content_range(tinker__http_reply_t *reply,
                                tinker__str_t value) {
  tinker__str_t unit, span, first;
  int64_t from = -1, last = -1, whole = -1;
  reply->range_first = reply->range_last = reply->whole_length = -1;
  if (!cut(&value, ' ', &unit) ||
      !tinker__str_ieq(unit, TINKER__STR("bytes")) ||
      !cut(&value, '/', &span)) {
    return;
  }
  if (!tinker__str_eqs(value, "*") && !to_length(value, &whole)) return;
  if (!tinker__str_eqs(span, "*")) {
    if (!cut(&span, '-', &first) || !to_length(first, &from) ||
        !to_length(span, &last) || last < from ||
        (whole >= 0 && last >= whole)) {
      return;
    }
  }
  reply->range_first = from;
  reply->range_last = last;
  reply->whole_length = whole;
}

int tinker__http_check_range(const tinker__http_request_t *request,
                             const tinker__http_reply_t *reply, char *why,
                             size_t why_len) {
  int64_t first = request->range_first, end = request->range_end;
  if (reply->status != 206) return 0;
  if (!first && !end) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "a part came (206), but the whole was asked for");
  }
  if (reply->range_first == first && (!end || reply->range_last < end)) {
    return 0;
  }
  if (reply->range_first < 0) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "a part came (206) without a Content-Range");
  }
  return tinker__why(why, why_len, TINKER_EPROTO,
                     "bytes %lld to %lld came, but the part from %lld%s was "
                     "asked for",
                     (long long)reply->range_first,
                     (long long)reply->range_last, (long long)first,
                     end ? " to another end" : "");
}
