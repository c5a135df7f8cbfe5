/* The public calls against a TLS server: which certificates a client accepts,
 * and that an unaccepted one gets nothing to read.
 *
 * The client takes the machine's store of authorities, and nothing sets
 * another one. So that a certificate can be good here, this program stands
 * between the transport and curl_easy_init, which makes each handle, and puts
 * the test's authority in the place of the machine's. Every other option is
 * the transport's own. */
#include <criterion/criterion.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/tinker.h>
#include <unistd.h>

#include "support/calls.h"
#include "support/tls_server.h"
#include "support/why.h"

enum { FAR_MS = 60000, HOUR_S = 3600, DAY_S = 86400 };

static char store[64]; /* the PEM file, "" = the machine's */

CURL *curl_easy_init(void) {
  static CURL *(*init)(void);
  if (!init) *(void **)&init = dlsym(RTLD_NEXT, "curl_easy_init");
  CURL *easy = init();
  if (!easy || !store[0]) return easy;
  curl_easy_setopt(easy, CURLOPT_CAINFO, store);
  curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
  return easy;
}

static const char *reply_to(const char *path) {
  if (strstr(path, "get_server_capabilities")) {
    return "{\"supported_models\":[{\"model_name\":\"tiny\"}]}";
  }
  return "{}";
}

/* The code that a call ends with, and how it says so. */
typedef struct outcome_s {
  int code, unknown;
  char message[400];
} outcome_t;

static outcome_t ask(const char *host, int port) {
  tinker_client_options_t o;
  tinker_client_t *client = NULL;
  tinker_future_t *f = NULL;
  outcome_t out;
  char url[128], why[200] = "";
  snprintf(url, sizeof(url), "https://%s:%d", host, port);
  tinker_client_options_init(&o);
  o.base_url = url;
  o.api_key = "tml-secret";
  cr_assert_eq(why_client(&client, &o, why, sizeof(why)), 0, "%s", why);
  cr_assert_eq(calls_begun(tinker_client_get_capabilities(client, NULL), &f),
               0);
  out.code = tinker_future_wait(f, FAR_MS);
  const tinker_error_t *e = tinker_future_error(f);
  out.unknown = tinker_error_outcome_is_unknown(e);
  snprintf(out.message, sizeof(out.message), "%s", tinker_error_message(e));
  tinker_future_release(f);
  tinker_client_release(client);
  cr_assert_eq(tinker_shutdown(FAR_MS), 0);
  return out;
}

typedef struct authority_s {
  tls_identity_t known, unknown;
} authority_t;

static authority_t open_store(void) {
  static const tls_spec_t known = {"an authority", NULL, -DAY_S, DAY_S};
  static const tls_spec_t unknown = {"another one", NULL, -DAY_S, DAY_S};
  authority_t a = {tls_identity(&known, NULL), tls_identity(&unknown, NULL)};
  snprintf(store, sizeof(store), "/tmp/tinker-tls-%d.pem", (int)getpid());
  tls_identity_write(&a.known, store);
  return a;
}

static void close_store(authority_t *a) {
  unlink(store);
  tls_identity_free(&a->known);
  tls_identity_free(&a->unknown);
}

#define HERE "DNS:localhost,IP:127.0.0.1"

static const struct {
  const char *what;
  tls_spec_t spec;
  enum { KNOWN, UNKNOWN, ITSELF } by;
  const char *host;
} refused[] = {
    {"nobody signed it",
     {"localhost", HERE, -DAY_S, DAY_S},
     ITSELF,
     "localhost"},
    {"an unknown authority",
     {"localhost", HERE, -DAY_S, DAY_S},
     UNKNOWN,
     "localhost"},
    {"expired", {"localhost", HERE, -DAY_S, -HOUR_S}, KNOWN, "localhost"},
    {"not yet valid", {"localhost", HERE, HOUR_S, DAY_S}, KNOWN, "localhost"},
    {"another name",
     {"localhost", "DNS:example.org", -DAY_S, DAY_S},
     KNOWN,
     "localhost"},
    {"a longer name",
     {"x", "DNS:localhost.example.org", -DAY_S, DAY_S},
     KNOWN,
     "localhost"},
    {"a name for an address",
     {"127.0.0.1", "DNS:localhost", -DAY_S, DAY_S},
     KNOWN,
     "127.0.0.1"}};

/* No byte of a request reaches a server that can't show who it is. */
Test(tls, no_trust_no_request, .timeout = 120) {
  authority_t a = open_store();
  for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
    const tls_identity_t *by = refused[i].by == KNOWN     ? &a.known
                               : refused[i].by == UNKNOWN ? &a.unknown
                                                          : NULL;
    tls_identity_t id = tls_identity(&refused[i].spec, by);
    tls_server_t *server = tls_server_new(&id, reply_to);
    outcome_t got = ask(refused[i].host, tls_server_port(server));
    tls_seen_t seen = tls_server_free(server);
    tls_identity_free(&id);
    cr_assert_eq(got.code, TINKER_ETLS, "%s: %s: %s", refused[i].what,
                 tinker_code_name(got.code), got.message);
    cr_assert_not(got.unknown, "%s", refused[i].what);
    cr_assert_not_null(strstr(got.message, "ertificate"), "%s: %s",
                       refused[i].what, got.message);
    cr_assert_gt(seen.connections, 0, "%s", refused[i].what);
    cr_assert_eq(seen.bytes, 0u, "%s: %zu bytes", refused[i].what, seen.bytes);
    cr_assert(seen.keys == 0 && !seen.plain, "%s", refused[i].what);
  }
  close_store(&a);
}

/* The same server with a good certificate is served. */
Test(tls, a_good_certificate_is_accepted, .timeout = 120) {
  static const char *const hosts[] = {"localhost", "127.0.0.1"};
  static const tls_spec_t spec = {"x", HERE, -DAY_S, DAY_S};
  authority_t a = open_store();
  tls_identity_t id = tls_identity(&spec, &a.known);
  for (int i = 0; i < 2; i++) {
    tls_server_t *server = tls_server_new(&id, reply_to);
    outcome_t got = ask(hosts[i], tls_server_port(server));
    tls_seen_t seen = tls_server_free(server);
    cr_assert_eq(got.code, 0, "%s: %s", hosts[i], got.message);
    cr_assert_eq(seen.keys, 3); /* config, dynamic_config, capabilities */
    cr_assert_gt(seen.bytes, 0u);
  }
  tls_identity_free(&id);
  close_store(&a);
}

/* The machine's own store is asked when nothing else is said: it does not know
 * the test's authority. */
Test(tls, the_machine_does_not_know_it, .timeout = 120) {
  static const tls_spec_t spec = {"x", HERE, -DAY_S, DAY_S};
  authority_t a = open_store();
  tls_identity_t id = tls_identity(&spec, &a.known);
  tls_server_t *server = tls_server_new(&id, reply_to);
  close_store(&a);
  store[0] = '\0';
  outcome_t got = ask("localhost", tls_server_port(server));
  tls_seen_t seen = tls_server_free(server);
  cr_assert_eq(got.code, TINKER_ETLS, "%s", got.message);
  cr_assert_eq(seen.bytes, 0u);
  tls_identity_free(&id);
}
