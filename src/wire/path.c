/* path: see path.h. */
#include "wire/path.h"

#include <string.h>

bool tinker__path_is(const char *path) {
  size_t n = strlen(TINKER__PATH_PREFIX);
  return path && !strncmp(path, TINKER__PATH_PREFIX, n) && path[n];
}

bool tinker__path_split(tinker__str_t path, tinker__str_t part[3]) {
  if (!tinker__str_starts(path, TINKER__PATH_PREFIX)) return false;
  const char *at = path.ptr + strlen(TINKER__PATH_PREFIX);
  const char *end = path.ptr + path.len;
  for (int i = 0; i < 3; i++) {
    const char *slash = i < 2 ? memchr(at, '/', (size_t)(end - at)) : end;
    if (!slash || slash == at) return false;
    part[i] = (tinker__str_t){at, (size_t)(slash - at)};
    at = slash + (i < 2 ? 1 : 0);
  }
  return !memchr(part[2].ptr, '/', part[2].len);
}
