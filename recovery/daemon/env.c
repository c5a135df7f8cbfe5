/* env: what of its environment the daemon hands to a trainer. Pure. */
#include <string.h>

#include "daemon.h"

/* entry: "NAME=VALUE". */
static bool allowed(const char *entry, const char *const *allow, size_t n) {
  size_t len = strcspn(entry, "=");
  for (size_t i = 0; i < n; i++) {
    size_t want = strlen(allow[i]);
    if (want && allow[i][want - 1] == '*') {
      if (len >= want - 1 && strncmp(entry, allow[i], want - 1) == 0) {
        return true;
      }
    } else if (len == want && strncmp(entry, allow[i], len) == 0) {
      return true;
    }
  }
  return false;
}

/* Do both set one variable? */
static bool same_name(const char *entry, const char *own) {
  size_t len = own ? strcspn(own, "=") + 1 : 0;
  return own && strncmp(entry, own, len) == 0;
}

char **tinker__rec_env_pick(tinker__mem_t *mem, char *const *environment,
                            const char *const *allow, size_t n,
                            const char *own) {
  size_t count = 0, kept = 0;
  while (environment[count]) count++;
  char **out = tinker__mem_array(mem, count + 2, sizeof *out);
  for (size_t i = 0; out && i < count; i++) {
    if (same_name(environment[i], own)) continue;
    if (allowed(environment[i], allow, n)) out[kept++] = environment[i];
  }
  if (out && own) out[kept] = (char *)(uintptr_t)own; /* only read */
  return out;
}
