/* checks: see checks.h. */
#include "api/checks.h"

#include <string.h>

#include "base/str.h"
#include "wire/path.h"
#include "wire/types.h"

#define NAME_MAX_LEN 255

const char *tinker__text_fault(const char *s) {
  if (!s) return "is NULL";
  size_t n = strlen(s);
  if (n == 0) return "is empty";
  if (n > TINKER__MAX_TEXT) return "is too long";
  return tinker__utf8_valid(s, n) ? NULL : "is not UTF-8";
}

bool tinker__path_ok(const char *s) {
  return tinker__path_is(s);
}

const char *tinker__name_fault(const char *s) {
  size_t n = s ? strlen(s) : 0;
  if (n == 0 || n > NAME_MAX_LEN) {
    return !s ? "is NULL" : n ? "is longer than 255 characters" : "is empty";
  }
  return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789_.-") == n
             ? NULL
             : "has a character that is not one of [A-Za-z0-9_.-]";
}
