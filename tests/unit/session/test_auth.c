/* Which credential is used, and that it is never shown. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "session/auth.h"
#include "support/fail_alloc.h"

static const char *env_key, *env_url;

static const char *fake_env(void *user, const char *name) {
  (void)user;
  if (!strcmp(name, "TINKER_API_KEY")) return env_key;
  if (!strcmp(name, "TINKER_BASE_URL")) return env_url;
  return NULL;
}

static tinker__world_t world(void) {
  tinker__world_t w = *tinker__world_real();
  w.env = fake_env;
  return w;
}

typedef struct case_s {
  const char *url, *given, *env;
  int rc;
  const char *key;
  const char *named; /* must stand in the sentence */
  bool plain_ok;
} case_t;

static const case_t cases[] = {
    {"https://h", "tml-a", NULL, 0, "tml-a", NULL, false},
    {"https://h", "tml-a", "tml-b", 0, "tml-a", NULL, false},
    {"https://h", "", "tml-b", 0, "tml-b", NULL, false},
    {"https://h", NULL, "eyJx", 0, "eyJx", NULL, false},
    {"http://127.0.0.1", NULL, NULL, TINKER_EAUTH, NULL, "TINKER_API_KEY",
     false},
    {"https://h", NULL, "", TINKER_EAUTH, NULL, "TINKER_API_KEY", false},
    {"https://h", "secret", "tml-b", TINKER_EAUTH, NULL, "api_key", false},
    {"https://h", NULL, "secret", TINKER_EAUTH, NULL, "TINKER_API_KEY", false},
    {"https://tinker.thinkingmachines.dev/services/tinker-prod", NULL, NULL,
     TINKER_EAUTH, NULL, "TINKER_BASE_URL name no service", false},
    {"unix:/s", NULL, NULL, 0, NULL, NULL, false},
    {"unix:/s", NULL, "tml-b", 0, "tml-b", NULL, false},
    {"unix:/s", "secret", NULL, TINKER_EAUTH, NULL, "api_key", false},
    /* Over plain http to another machine only if that is allowed. */
    {"http://10.0.0.5:8000", "tml-secret", NULL, TINKER_EAUTH, NULL,
     "key_over_http", false},
    {"http://gpu/x", NULL, "tml-secret", TINKER_EAUTH, NULL, "https://", false},
    {"http://127.evil.org", "eyJsecret", NULL, TINKER_EAUTH, NULL, "base_url",
     false},
    {"http://localhost.evil.org", "tml-secret", NULL, TINKER_EAUTH, NULL,
     "base_url", false},
    {"http://gpu", "tml-a", NULL, 0, "tml-a", NULL, true},
    {"http://gpu", "secret", NULL, TINKER_EAUTH, NULL, "api_key", true},
    {"http://127.0.0.1:80/x", "tml-a", NULL, 0, "tml-a", NULL, false},
    {"http://LOCALHOST", "tml-a", NULL, 0, "tml-a", NULL, false},
    {"http://[::1]:8080", "tml-a", NULL, 0, "tml-a", NULL, false},
    /* A wrong URL is said, with a key or without. */
    {"http://user@gpu", "tml-a", NULL, TINKER_EINVAL, NULL, "base_url", false},
    {"/run/tinker.sock", NULL, NULL, TINKER_EINVAL, NULL, "unix:", false},
    {"localhost:8080", NULL, "secret", TINKER_EINVAL, NULL, "http://", true},
};

Test(auth, the_credential_is_found_and_checked) {
  tinker__world_t w = world();
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    const case_t *c = &cases[i];
    char untouched[] = "untouched", why[200] = "", *key = untouched;
    env_key = c->env;
    int rc = tinker__auth_credential(&w, &mem, c->url, c->given, c->plain_ok,
                                     &key, why, sizeof(why));
    cr_assert_eq(rc, c->rc, "case %zu: %s", i, why);
    if (rc) {
      cr_assert_str_eq(key, "untouched");
      cr_assert_not_null(strstr(why, c->named), "case %zu: %s", i, why);
      cr_assert_null(strstr(why, "secret"));
      continue;
    }
    cr_assert_eq(key != NULL, c->key != NULL, "case %zu", i);
    if (key) cr_assert_str_eq(key, c->key);
    tinker__mem_free(&mem, key);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

Test(auth, the_base_url_is_found) {
  tinker__world_t w = world();
  env_url = NULL;
  cr_assert_str_eq(tinker__auth_base_url(&w, NULL),
                   "https://tinker.thinkingmachines.dev/services/tinker-prod");
  env_url = "";
  cr_assert_str_eq(tinker__auth_base_url(&w, ""),
                   "https://tinker.thinkingmachines.dev/services/tinker-prod");
  env_url = "unix:/x";
  cr_assert_str_eq(tinker__auth_base_url(&w, NULL), "unix:/x");
  cr_assert_str_eq(tinker__auth_base_url(&w, "http://y"), "http://y");
}

static int find(tinker__mem_t *mem, void *user) {
  tinker__world_t w = world();
  char *key;
  (void)user;
  int rc = tinker__auth_credential(&w, mem, "https://h", "tml-a", false, &key,
                                   NULL, 0);
  if (!rc) tinker__mem_free(mem, key);
  return rc;
}

Test(auth, every_failed_allocation_is_survived) {
  cr_assert_eq(tinker__fail_sweep(find, NULL, TINKER_ENOMEM), 2);
}
