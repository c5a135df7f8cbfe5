/* checks: see checks.h. */
#include "api/checks.h"

#include <string.h>

#include "base/str.h"
#include "wire/path.h"
#include "wire/types.h"

bool tinker__text_ok(const char *s) {
  size_t n = s ? strlen(s) : 0;
  return n > 0 && n <= TINKER__MAX_TEXT && tinker__utf8_valid(s, n);
}

bool tinker__path_ok(const char *s) {
  return tinker__text_ok(s) && tinker__path_is(s);
}
