/* auth: see the header. No sentence here ever shows a credential. */
#include "session/auth.h"

#include <string.h>
#include <tinker/error.h>

#include "base/str.h"
#include "http/url.h"

#define DEFAULT_BASE_URL                                                       \
  "https://tinker.thinkingmachines.dev/services/tinker-prod"

/* Empty counts as unset. */
static const char *first_set(const tinker__world_t *world, const char *given,
                             const char *name) {
  if (given && *given) return given;
  const char *value = world->env(world->user, name);
  return value && *value ? value : NULL;
}

const char *tinker__auth_base_url(const tinker__world_t *world,
                                  const char *given) {
  const char *url = first_set(world, given, "TINKER_BASE_URL");
  return url ? url : DEFAULT_BASE_URL;
}

/* Reads where the key would go. A URL that is wrong is said before a key that
 * is missing: the socket's path without "unix:", for example, needs none. */
static int read_way(tinker__mem_t *mem, const char *base_url, bool *is_public,
                    char *why, size_t why_len) {
  tinker__target_t target;
  int rc = tinker__target_parse(&target, mem, base_url, why, why_len);
  if (rc) return rc;
  *is_public = !target.tls && !target.loopback;
  tinker__target_free(&target, mem);
  return 0;
}

int tinker__auth_credential(const tinker__world_t *world, tinker__mem_t *mem,
                            const char *base_url, const char *given,
                            bool plain_ok, char **out, char *why,
                            size_t why_len) {
  const char *from = given && *given ? "api_key" : "TINKER_API_KEY";
  const char *key = first_set(world, given, "TINKER_API_KEY");
  bool is_public;
  int rc = read_way(mem, base_url, &is_public, why, why_len);
  if (rc) return rc;
  if (!key && strncmp(base_url, "unix:", 5) == 0) {
    *out = NULL;
    return 0;
  }
  if (!key) {
    return tinker__why(why, why_len, TINKER_EAUTH,
                       "api_key: not given, and TINKER_API_KEY is not set%s",
                       strcmp(base_url, DEFAULT_BASE_URL)
                           ? ""
                           : " (base_url and TINKER_BASE_URL name no service: "
                             "it is the public one)");
  }
  if (strncmp(key, "tml-", 4) != 0 && strncmp(key, "eyJ", 3) != 0) {
    return tinker__why(why, why_len, TINKER_EAUTH,
                       "%s: begins with neither tml- nor eyJ", from);
  }
  if (is_public && !plain_ok) {
    return tinker__why(
        why, why_len, TINKER_EAUTH,
        "base_url: http:// to another machine would show the key "
        "to everybody on the way: use https:// or a tunnel to a "
        "local port, or set key_over_http");
  }
  char *copy = tinker__mem_strdup(mem, key);
  if (!copy) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  *out = copy;
  return 0;
}
