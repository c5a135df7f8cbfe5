/* reply: what can be said of any reply. Pure. */
#include <string.h>

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
