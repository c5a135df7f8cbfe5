/* options: see options.h. */
#include "base/options.h"

#include <string.h>

#include <tinker/error.h>

#include "base/str.h"

int tinker__options_take(void *out, size_t known, const void *defaults,
                         const void *given, const char *name, char *why,
                         size_t why_len) {
  size_t size = known;
  memcpy(out, defaults, known);
  if (given) memcpy(&size, given, sizeof size);
  /* No version of a struct has ended inside a pointer. */
  if (size <= sizeof size || size > 65536 || size % sizeof(void *)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s.size is %zu: begin with tinker_%s_init()", name,
                       size, name);
  }
  if (!given) return 0;
  const unsigned char *bytes = given;
  for (size_t i = known; i < size; i++) {
    if (bytes[i]) {
      return tinker__why(why, why_len, TINKER_ENOTSUP,
                         "%s has a field set at byte %zu that this version "
                         "does not know",
                         name, i);
    }
  }
  memcpy(out, given, size < known ? size : known);
  return 0;
}
