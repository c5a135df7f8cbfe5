/* Flags for clients: what is said by itself, what an operator may set, and
 * what each wrong value is called. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "service/tinker/client_config.h"
#include "support/fail_alloc.h"
#include "wire/messages.h"

#define CLIENT TINKER__CONFIG_CLIENT
#define DYNAMIC TINKER__CONFIG_DYNAMIC

static char why[300];

static int write_reply(tinker__mem_t *mem, tinker__svc_config_kind_t kind,
                       const char *json, char *out, size_t len) {
  tinker__buf_t b;
  tinker__buf_init(&b, mem, 65536);
  int rc = tinker__svc_client_config_write(&b, kind, json, why, sizeof why);
  snprintf(out, len, "%.*s", (int)b.len, b.data ? b.data : "");
  tinker__buf_free(&b);
  return rc;
}

static void expect(tinker__svc_config_kind_t kind, const char *json,
                   const char *want) {
  char got[2000];
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(write_reply(&mem, kind, json, got, sizeof got), 0, "%s", why);
  cr_assert_str_eq(got, want);
  cr_assert_eq(mem.live_blocks, 0);
}

/* Every flag there is, with another value than a client's default. */
static const char all[] =
    "{\"pjwt_auth_enabled\":false,\"create_model_via_load_weights\":false,"
    "\"proto_compress_fwdbwd\":true,"
    "\"credential_default_source\":\"credential_cmd\","
    "\"sample_dispatch_bytes_semaphore_size\":1,"
    "\"inflight_response_bytes_semaphore_size\":2,"
    "\"parallel_fwdbwd_chunks\":false,\"fwdbwd_max_chunk_len\":3,"
    "\"fwdbwd_max_chunk_bytes_count\":4,"
    "\"fwdbwd_dispatch_bytes_semaphore_size\":5,"
    "\"billing_exception_max_pause_duration_sec\":6,"
    "\"sample_no_retries\":true,\"sample_enable_stuck_detection\":false,"
    "\"sample_max_concurrent_requests\":7,\"use_pyqwest_transport\":false,"
    "\"sample_use_retrieve_futures\":false,"
    "\"sample_join_sampling_session\":false,"
    "\"custom_loss_server_side\":false}";

Test(client_config, replies) {
  static const char usual[] =
      "{\"pjwt_auth_enabled\":false,\"create_model_via_load_weights\":true,"
      "\"proto_compress_fwdbwd\":false}";
  expect(CLIENT, NULL, usual);
  expect(CLIENT, " {}\n", usual);
  expect(CLIENT, all, all);
  expect(DYNAMIC, NULL, "{\"refresh_interval_sec\":300}");
  expect(DYNAMIC,
         "{\"sample_cancel_enabled\":false,\"sample_cancel_max_batch_size\":9,"
         "\"refresh_interval_sec\":10}",
         "{\"refresh_interval_sec\":10,\"sample_cancel_enabled\":false,"
         "\"sample_cancel_max_batch_size\":9}");
}

/* Our own client reads what an operator says. */
Test(client_config, our_client_reads_it) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__client_config_t c;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  cr_assert_eq(tinker__message_decode(&tinker__client_config_msg, &c, &arena,
                                      tinker__str(all), why, sizeof why),
               0, "%s", why);
  cr_assert(c.sample_dispatch_bytes == 1 && c.fwdbwd_max_chunk_len == 3 &&
            c.fwdbwd_max_chunk_bytes == 4 && c.fwdbwd_dispatch_bytes == 5 &&
            c.billing_max_pause_s == 6 &&
            c.sample_max_concurrent_requests == 7);
  tinker__arena_free(&arena);
}

Test(client_config, faults_name_the_flag) {
  static const struct {
    tinker__svc_config_kind_t kind;
    const char *json, *words;
  } bad[] = {
      {CLIENT, "{\"pjwt_auth_enabled\":true}",
       "client config: pjwt_auth_enabled: this service does not have"},
      {CLIENT, "{\"sample_use_retrieve_futures\":true}",
       "sample_use_retrieve_futures: this service does not have"},
      {CLIENT, "{\"sample_join_sampling_session\":true}",
       "sample_join_sampling_session: this service does not have"},
      {CLIENT, "{\"custom_loss_server_side\":true}",
       "custom_loss_server_side: this service does not have"},
      {DYNAMIC, "{\"sample_cancel_enabled\":true}",
       "dynamic config: sample_cancel_enabled: this service does not have"},
      {CLIENT, "{\"parallel_fwdbwd_chunk\":true}",
       "unknown flag 'parallel_fwdbwd_chunk'"},
      {CLIENT, "{\"refresh_interval_sec\":60}", "unknown flag 'refresh"},
      {DYNAMIC, "{\"use_pyqwest_transport\":true}", "unknown flag 'use_pyqw"},
      {CLIENT, "{\"parallel_fwdbwd_chunks\":1}", "must be true or false"},
      {CLIENT, "{\"sample_no_retries\":null}", "sample_no_retries: must be"},
      {CLIENT, "{\"sample_no_retries\":\"true\"}", "sample_no_retries: must"},
      {CLIENT, "{\"fwdbwd_max_chunk_len\":0}", "integer from 1 to 65536"},
      {CLIENT, "{\"fwdbwd_max_chunk_len\":65537}", "fwdbwd_max_chunk_len"},
      {CLIENT, "{\"fwdbwd_max_chunk_len\":1.5}", "fwdbwd_max_chunk_len"},
      {CLIENT, "{\"fwdbwd_max_chunk_len\":true}", "fwdbwd_max_chunk_len"},
      {CLIENT, "{\"fwdbwd_max_chunk_bytes_count\":99999999999999999999}",
       "fwdbwd_max_chunk_bytes_count: must be an integer"},
      {CLIENT, "{\"billing_exception_max_pause_duration_sec\":-1}",
       "billing_exception_max_pause_duration_sec"},
      {DYNAMIC, "{\"refresh_interval_sec\":9}", "integer from 10 to"},
      {CLIENT, "{\"credential_default_source\":\"file\"}",
       "credential_default_source: must be \"api_key\" or"},
      {CLIENT, "{\"credential_default_source\":true}", "must be \"api_key\""},
      {CLIENT, "{\"sample_no_retries\":true,\"sample_no_retries\":true}",
       "sample_no_retries: given twice"},
      {CLIENT, "", "no JSON object"},
      {CLIENT, "[]", "no JSON object"},
      {CLIENT, "{\"sample_no_retries\":true", "no JSON object"},
      {CLIENT, "{\"sample_no_retries\":}", "no JSON object"},
      {CLIENT, "{} {}", "no JSON object"}};
  char got[2000];
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    cr_assert_eq(write_reply(&mem, bad[i].kind, bad[i].json, got, sizeof got),
                 TINKER_EINVAL, "%s", bad[i].json);
    cr_assert_not_null(strstr(why, bad[i].words), "%s: %s", bad[i].json, why);
    cr_assert_eq(mem.live_blocks, 0);
  }
}

static int with_escape(tinker__mem_t *mem, void *user) {
  char got[2000];
  (void)user;
  return write_reply(mem, CLIENT,
                     "{\"sample_no_\\u0072etries\":true,"
                     "\"credential_default_source\":\"api\\u005fkey\"}",
                     got, sizeof got);
}

Test(client_config, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(with_escape, NULL, TINKER_ENOMEM), 3);
}
