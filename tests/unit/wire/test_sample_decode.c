/* The digest of a sampling request: whatever changes what is asked changes
 * it. */
#include "wire_test.h"

#include "wire/sample.h"

TestSuite(sample_decode, .init = wire_setup, .fini = wire_teardown);

#define PARAMS                                                                 \
  "{\"max_tokens\":16,\"seed\":5,\"stop\":[\"a\",\"b\"],"                      \
  "\"temperature\":0.5,\"top_k\":7,\"top_p\":0.25}"
static const char full[] =
    "{\"sampling_session_id\":\"S\",\"seq_id\":7,\"num_samples\":2,"
    "\"base_model\":\"m\",\"model_path\":\"p\","
    "\"prompt\":{\"chunks\":[{\"tokens\":[1,2],\"type\":\"encoded_text\"},"
    "{\"tokens\":[3],\"type\":\"encoded_text\"}]},"
    "\"sampling_params\":" PARAMS ",\"prompt_logprobs\":true,"
    "\"topk_prompt_logprobs\":2,\"topk_sample_logprobs\":4,"
    "\"target_prompt_logprobs\":{\"data\":[-1,9],\"dtype\":\"int64\","
    "\"shape\":[2,1]},\"prompt_alt_tokens_k\":1,"
    "\"prompt_logprobs_last_n\":3,\"record_stability_info\":false}";

static const struct {
  const char *from, *to;
} changes[] = {
    {"\"S\"", "\"T\""},
    {"\"seq_id\":7", "\"seq_id\":8"},
    {"\"num_samples\":2", "\"num_samples\":3"},
    {"\"base_model\":\"m\"", "\"base_model\":\"n\""},
    {"\"model_path\":\"p\"", "\"model_path\":\"q\""},
    {"[1,2]", "[1,4]"},
    {"[3],\"type\":\"encoded_text\"}]", "[3,3],\"type\":\"encoded_text\"}]"},
    {"[1,2],\"type\":\"encoded_text\"},{\"tokens\":[3]",
     "[1],\"type\":\"encoded_text\"},{\"tokens\":[2,3]"},
    {"\"max_tokens\":16", "\"max_tokens\":17"},
    {"\"max_tokens\":16,", ""},
    {"\"seed\":5", "\"seed\":6"},
    {"\"seed\":5", "\"seed\":0"},
    {"\"seed\":5,", ""},
    {"\"a\",\"b\"", "\"a\",\"c\""},
    {"\"a\",\"b\"", "\"ab\""},
    {"[\"a\",\"b\"]", "[]"},
    {"[\"a\",\"b\"]", "null"},
    {"[\"a\",\"b\"]", "[1,2]"},
    {"[\"a\",\"b\"]", "[1,3]"},
    {"\"temperature\":0.5", "\"temperature\":0.25"},
    {"\"top_k\":7", "\"top_k\":8"},
    {"\"top_p\":0.25", "\"top_p\":0.5"},
    {"\"prompt_logprobs\":true,", "\"prompt_logprobs\":false,"},
    {"\"prompt_logprobs_last_n\":3", "\"prompt_logprobs_last_n\":2"},
    {"\"topk_prompt_logprobs\":2", "\"topk_prompt_logprobs\":3"},
    {"\"topk_sample_logprobs\":4", "\"topk_sample_logprobs\":3"},
    {"\"prompt_alt_tokens_k\":1", "\"prompt_alt_tokens_k\":2"},
    {"\"record_stability_info\":false", "\"record_stability_info\":true"},
    {"[-1,9]", "[-1,8]"},
    {"[2,1]", "[1,2]"},
    {"\"target_prompt_logprobs\"", "\"another_field\""}};
#define CHANGES (sizeof(changes) / sizeof(*changes))

static void digest(size_t i, unsigned char *out) {
  char text[2048];
  tinker__sample_request_t r;
  const char *from = i ? changes[i - 1].from : "";
  const char *at = strstr(full, from), *to = i ? changes[i - 1].to : "";
  cr_assert_not_null(at, "%s", from);
  snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - full), full, to,
           at + strlen(from));
  if (i && !strcmp(to, "\"prompt_logprobs\":false,")) { /* goes with it */
    char *last = strstr(text, "\"prompt_logprobs_last_n\"");
    memcpy(last, "\"a_field_nobody_knows__\"", 24);
  }
  cr_assert_eq(tinker__sample_request_decode(&r, &arena, tinker__str(text), out,
                                             why, sizeof(why)),
               0, "%s -> %s: %s", from, to, why);
}

Test(sample_decode, everything_that_is_asked_is_in_the_digest) {
  static unsigned char digests[CHANGES + 1][TINKER__SHA256_LEN];
  for (size_t i = 0; i <= CHANGES; i++) {
    digest(i, digests[i]);
    for (size_t k = 0; k < i; k++) {
      cr_assert(memcmp(digests[i], digests[k], TINKER__SHA256_LEN) != 0,
                "%s -> %s is not in it (case %zu)", changes[i - 1].from,
                changes[i - 1].to, k);
    }
  }
  unsigned char again[TINKER__SHA256_LEN];
  digest(0, again);
  cr_assert_arr_eq(again, digests[0], sizeof(again));
}
