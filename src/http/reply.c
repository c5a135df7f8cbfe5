/* reply: what can be said of any reply. Pure. */
#include <string.h>

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
