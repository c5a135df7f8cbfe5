/* asample: request and result in all forms. */
#include "wire_test.h"

#include <math.h>

#include "wire/sample.h"

TestSuite(sample, .init = wire_setup, .fini = wire_teardown);

static const char full[] =
    "{\"sampling_session_id\":\"S:sample:1\",\"seq_id\":7,\"num_samples\":2,"
    "\"prompt\":{\"chunks\":[{\"tokens\":[1,2,3],\"type\":\"encoded_text\"}]},"
    "\"sampling_params\":{\"max_tokens\":16,\"seed\":18446744073709551615,"
    "\"stop\":[\"\\n\",\"é\"],\"temperature\":0.7,\"top_k\":-1,"
    "\"top_p\":0.95},\"prompt_logprobs\":true,\"topk_prompt_logprobs\":2,"
    "\"topk_sample_logprobs\":0,\"target_prompt_logprobs\":{\"data\":[-1,9],"
    "\"dtype\":\"int64\",\"shape\":[2,1]},\"prompt_alt_tokens_k\":1,"
    "\"prompt_logprobs_last_n\":2,\"record_stability_info\":false,"
    "\"type\":\"sample\"}";

static int decode(const char *text, tinker__sample_request_t *r,
                  unsigned char *digest) {
  return tinker__sample_request_decode(r, &arena, tinker__str(text), digest,
                                       why, sizeof(why));
}

Test(sample, request_round_trip) {
  tinker__sample_request_t r, again;
  unsigned char a[TINKER__SHA256_LEN], b[TINKER__SHA256_LEN];
  tinker__wire_body_t body;
  cr_assert_eq(decode(full, &r, a), 0, "%s", why);
  cr_assert(r.num_samples == 2 && r.seq_id == 7 && r.has_last_n);
  cr_assert(r.params.seed == UINT64_MAX && r.params.max_tokens == 16);
  cr_assert(r.params.stop == TINKER__STOP_STRINGS && r.params.stop_count == 2);
  cr_assert(tinker__str_eqs(r.params.stop_strings[0], "\n"));
  cr_assert(r.params.temperature == 0.7 && r.params.top_p == 0.95);
  cr_assert_eq(r.chunks[0].text.tokens[2], 3);
  cr_assert_eq(tinker__sample_request_encode(&body, &mem, &r), 0);
  cr_assert_eq(body.estimate, 30);
  cr_assert_eq(tinker__wire_body_stamp(&body, r.sampling_session_id, r.seq_id),
               0);
  cr_assert(tinker__str_eqs(sent(&body), full), "%.*s", (int)sent(&body).len,
            sent(&body).ptr);
  cr_assert_eq(tinker__sample_request_decode(&again, &arena, sent(&body), b,
                                             why, sizeof(why)),
               0);
  cr_assert_arr_eq(a, b, sizeof(a));
  tinker__wire_body_free(&body);
  for (size_t len = 0; len < sizeof(full) - 1; len++) {
    cr_assert_neq(tinker__sample_request_decode(&r, &arena,
                                                (tinker__str_t){full, len}, b,
                                                why, sizeof(why)),
                  0);
  }
}

#define REQ(params, rest)                                                      \
  "{\"prompt\":{\"chunks\":[{\"tokens\":[5]}]},\"sampling_params\":{" params   \
  "}" rest "}"

/* The room in front of a body is for the id as it is escaped. */
Test(sample, ids_that_are_escaped_find_room) {
  static const char *const parts[] = {
      "\x01", "\x7f", "\xc2\x85", "\xe2\x80\xae", "\"", "\\", "a"};
  tinker__sample_request_t r;
  unsigned char a[TINKER__SHA256_LEN];
  char id[601];
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    tinker__wire_body_t body;
    size_t n = strlen(parts[i]), len = 0;
    for (; len + n < sizeof id; len += n) memcpy(id + len, parts[i], n);
    id[len] = 0;
    cr_assert_eq(decode(full, &r, a), 0, "%s", why);
    r.sampling_session_id = (tinker__str_t){id, len};
    cr_assert_eq(tinker__sample_request_encode(&body, &mem, &r), 0);
    cr_assert_eq(tinker__wire_body_stamp(&body, r.sampling_session_id, 7), 0,
                 "%zu", i);
    tinker__wire_body_free(&body);
  }
}

Test(sample, forms_of_stop_and_defaults) {
  tinker__sample_request_t r;
  cr_assert_eq(decode(REQ("", ""), &r, NULL), 0, "%s", why);
  cr_assert(r.num_samples == 1 && r.params.temperature == 1 &&
            r.params.top_k == -1 && r.params.top_p == 1 &&
            !r.params.has_max_tokens && !r.params.has_seed && r.seq_id == -1);
  cr_assert_eq(r.params.stop, TINKER__STOP_DEFAULT);
  cr_assert_eq(decode(REQ("\"stop\":null,\"seed\":-1", ""), &r, NULL), 0);
  cr_assert(r.params.stop == TINKER__STOP_DEFAULT &&
            r.params.seed == UINT64_MAX);
  cr_assert_eq(decode(REQ("\"stop\":[]", ""), &r, NULL), 0);
  cr_assert_eq(r.params.stop, TINKER__STOP_NONE);
  cr_assert_eq(decode(REQ("\"stop\":\"x\"", ""), &r, NULL), 0);
  cr_assert(r.params.stop == TINKER__STOP_STRINGS && r.params.stop_count == 1);
  cr_assert_eq(decode(REQ("\"stop\":[3,4]", ""), &r, NULL), 0);
  cr_assert(r.params.stop == TINKER__STOP_TOKENS && r.params.stop_count == 2 &&
            r.params.stop_tokens[1] == 4);
}

#define TARGET(data, shape, more)                                              \
  ",\"target_prompt_logprobs\":{\"data\":[" data                               \
  "],\"dtype\":\"int64\",\"shape\":[" shape "]" more "}"
#define CSR(crow, col)                                                         \
  ",\"sparse_crow_indices\":[" crow "],\"sparse_col_indices\":[" col "]"

/* A CSR stays one, however wide it says to be, and is another request than the
 * dense form: the reply has its layout. */
Test(sample, target_keeps_its_layout) {
  static const struct {
    const char *body, *text;
  } bad[] = {
      {REQ("", TARGET("9", "2,1", CSR("0,1", "0"))), "2 crow_indices for 2"},
      {REQ("", TARGET("9", "2,1", CSR("0,0,1", "1"))), "outside the row"},
      {REQ("", TARGET("9", "2,1", CSR("0,0,2", "0"))), "do not span"},
      {REQ("", TARGET("9,8", "1,2", CSR("0,2", "1,0"))), "do not increase"},
      {REQ("", TARGET("9", "2,1", CSR("0,0,1", ""))), "0 col_indices"},
      {REQ("", TARGET("9", "-1,1", CSR("0,0,1", "0"))), "negative"},
      {REQ("", TARGET("9", "2,4294967296", CSR("0,0,1", "0"))), "too large"},
      {REQ("", TARGET("9", "2,1", ",\"sparse_col_indices\":[0]")),
       "or neither"},
      {REQ("", TARGET("9", "1,1,1", "")), "two dimensions"}};
  tinker__sample_request_t r;
  unsigned char a[TINKER__SHA256_LEN], b[TINKER__SHA256_LEN];
  cr_assert_eq(
      decode(REQ("", TARGET("9", "2,1000000000", CSR("0,0,1", "999999999"))),
             &r, a),
      0, "%s", why);
  cr_assert(r.has_target && r.target.count == 1 && r.target.crow[2] == 1 &&
            r.target.col[0] == 999999999);
  cr_assert_eq(decode(REQ("", TARGET("9", "1,1", CSR("0,1", "0"))), &r, a), 0);
  cr_assert_eq(decode(REQ("", TARGET("9", "1,1", "")), &r, b), 0);
  cr_assert(!r.target.crow && memcmp(a, b, sizeof(a)) != 0);
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_eq(decode(bad[i].body, &r, NULL), TINKER_EINVAL, "%s",
                 bad[i].body);
    cr_assert_not_null(strstr(why, bad[i].text), "%s: %s", bad[i].body, why);
  }
}

Test(sample, faults_are_named) {
  static const struct {
    const char *body, *text;
  } bad[] = {
      {"{}", "prompt: is missing"},
      {"{\"prompt\":{\"chunks\":[]}}", "sampling_params: is missing"},
      {REQ("\"max_tokens\":0", ""), "sampling_params.max_tokens: must be 1"},
      {REQ("\"temperature\":-0.5", ""),
       "sampling_params.temperature: must be 0 to 1e30, not -0.5"},
      {REQ("\"top_p\":0", ""), "sampling_params.top_p"},
      {REQ("\"top_p\":1.5", ""),
       "sampling_params.top_p: must be above 0 and at most 1, not 1.5"},
      {REQ("\"top_k\":0", ""),
       "sampling_params.top_k: must be positive, or -1 for all, not 0"},
      {REQ("\"top_k\":1.5", ""), "sampling_params.top_k: expected an integer"},
      {REQ("\"seed\":\"x\"", ""), "sampling_params.seed: expected a number"},
      {REQ("\"stop\":[\"a\",1]", ""), "sampling_params.stop"},
      {REQ("\"stop\":[1,\"a\"]", ""), "sampling_params.stop"},
      {REQ("\"stop\":[\"\"]", ""), "an empty text"},
      {REQ("\"stop\":{}", ""), "sampling_params.stop"},
      {REQ("", ",\"num_samples\":0"), "num_samples: must be 1 to"},
      {REQ("", ",\"topk_prompt_logprobs\":-1"), "topk_prompt_logprobs"},
      {REQ("", ",\"prompt_logprobs_last_n\":2"), "needs prompt_logprobs"},
      {REQ("", ",\"sampling_session_id\":\"S\""), "seq_id: is missing"},
      {REQ("", ",\"target_prompt_logprobs\":{\"data\":[9],\"dtype\":"
               "\"int64\"}"),
       "two dimensions"},
      {"{\"prompt\":{\"chunks\":[{\"type\":\"image\"}]}}", "prompt: only"},
      {"{\"prompt\":{\"chunks\":[{\"tokens\":[2147483648]}]}}",
       "prompt: integer out of range"},
      {"[]", "must be a JSON object"}};
  tinker__sample_request_t r;
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_lt(decode(bad[i].body, &r, NULL), 0, "%s", bad[i].body);
    cr_assert_not_null(strstr(why, bad[i].text), "%s: %s", bad[i].body, why);
  }
}

/* A request with n stops, each of them `one`. */
static int decode_stops(size_t n, const char *one,
                        tinker__sample_request_t *r) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 23);
  tinker__buf_adds(&b, "{\"prompt\":{\"chunks\":[{\"tokens\":[1]}]},"
                       "\"sampling_params\":{\"stop\":[");
  for (size_t i = 0; i < n; i++) {
    if (i) tinker__buf_adds(&b, ",");
    tinker__buf_adds(&b, one);
  }
  tinker__buf_adds(&b, "]}}");
  cr_assert_eq(tinker__buf_error(&b), 0);
  int rc = tinker__sample_request_decode(r, &arena, tinker__buf_str(&b), NULL,
                                         why, sizeof(why));
  tinker__buf_free(&b);
  return rc;
}

Test(sample, number_of_stops) {
  tinker__sample_request_t r;
  cr_assert_eq(decode_stops(1024, "\"a\"", &r), 0, "%s", why);
  cr_assert_eq(r.params.stop_count, 1024u);
  cr_assert_eq(decode_stops(1030, "\"a\"", &r), TINKER_EOVERFLOW);
  cr_assert_str_eq(why, "sampling_params.stop: 1030 texts are more than 1024");
  cr_assert_eq(decode_stops(1 << 20, "7", &r), 0, "%s", why);
  cr_assert_eq(r.params.stop_count, 1u << 20);
  cr_assert_eq(decode_stops((1 << 20) + 2, "7", &r), TINKER_EOVERFLOW);
  cr_assert_str_eq(
      why, "sampling_params.stop: 1048578 tokens are more than 1048576");
}

static void result_in(tinker__sample_result_t *r, const char *hex) {
  bytes_t b = unhex(hex);
  cr_assert_eq(
      tinker__sample_result_decode(r, &arena, bytes_str(&b), why, sizeof(why)),
      0, "%s", why);
  tinker__buf_t out;
  tinker__buf_init(&out, &mem, 4096);
  cr_assert_eq(tinker__sample_result_encode(&out, &mem, r), 0);
  cr_assert(tinker__str_eq(tinker__buf_str(&out), bytes_str(&b)), "%s", hex);
  tinker__buf_free(&out);
  tinker__sample_result_t cut;
  for (size_t len = 0; len < b.len; len++) {
    char *copy = malloc(len + 1);
    memcpy(copy, b.data, len);
    tinker__sample_result_decode(&cut, &arena, (tinker__str_t){copy, len}, why,
                                 sizeof(why));
    free(copy);
  }
}

Test(sample, golden_results_both_ways) {
  tinker__sample_result_t r;
  result_in(&r, "0a14120805000000060000001a08000000bf0000c0bf");
  cr_assert(r.sequence_count == 1 && r.sequences[0].stopped);
  cr_assert(r.sequences[0].count == 2 && r.sequences[0].tokens[1] == 6 &&
            r.sequences[0].logprobs[1] == -1.5f);
  result_in(&r, "0a0e08011204070000001a04000080be12080000c07f000000c02002");
  cr_assert(!r.sequences[0].stopped && r.cache_hit_tokens == 2);
  cr_assert(r.prompt_count == 2 && isnan(r.prompt_logprobs[0]) &&
            r.prompt_logprobs[1] == -2);
  bytes_t all = unhex(
      "0a3e120805000000060000001a08000000bf0000c0bf22280a1005000000090000000600"
      "0000000000001210000000bf000080bf0000c0bf804fc3c7180220022a100a08000000c0"
      "0000000018012202020132240a100a0807000000080000001803220202011210"
      "0a08000080be000040bf180122020201");
  cr_assert_eq(tinker__sample_result_decode(&r, &arena, bytes_str(&all), why,
                                            sizeof(why)),
               0, "%s", why);
  cr_assert(r.sequences[0].topk.k == 2 && r.sequences[0].topk.length == 2);
  cr_assert(tinker__topk_row_len(&r.sequences[0].topk, 0) == 2 &&
            tinker__topk_row_len(&r.sequences[0].topk, 1) == 1);
  cr_assert(r.has_target && r.target.ndim == 2 && r.target.shape[0] == 2);
  cr_assert(r.has_alt && ((const int64_t *)r.alt_tokens.data)[1] == 8 &&
            ((const float *)r.alt_logprobs.data)[0] == -0.25f);
  result_in(&r, "1a280a1000000000000000000900000004000000"
                "1210804fc3c7804fc3c7cdccccbd000020c018022002");
  cr_assert(tinker__topk_row_len(&r.prompt_topk, 0) == 0 &&
            tinker__topk_row_len(&r.prompt_topk, 1) == 2 &&
            tinker__topk_row_len(&r.prompt_topk, 2) == 0);
}

/* A reply in CSR keeps its layout in both forms. */
Test(sample, results_of_a_wide_target) {
  static const int64_t crow[3] = {0, 0, 1}, col[1] = {999999999};
  static const float value[1] = {-0.5f};
  static const char text[] =
      "{\"type\":\"sample\",\"sequences\":[],\"target_prompt_logprobs\":"
      "{\"data\":[-0.5],\"dtype\":\"float32\",\"shape\":[2,1000000000],"
      "\"sparse_crow_indices\":[0,0,1],\"sparse_col_indices\":[999999999]},"
      "\"prompt_cache_hit_tokens\":0}";
  tinker__sample_result_t r = {.has_target = true,
                               .target = {.dtype = TINKER__DTYPE_F32,
                                          .ndim = 2,
                                          .shape = {2, 1000000000},
                                          .data = value,
                                          .count = 1,
                                          .crow = crow,
                                          .col = col}};
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 4096);
  cr_assert_eq(tinker__sample_result_encode(&b, &mem, &r), 0);
  cr_assert_eq(tinker__sample_result_decode(&r, &arena, tinker__buf_str(&b),
                                            why, sizeof(why)),
               0, "%s", why);
  tinker__buf_clear(&b);
  cr_assert_eq(tinker__sample_result_encode_json(&b, &r), 0);
  cr_assert(tinker__str_eqs(tinker__buf_str(&b), text), "%.*s", (int)b.len,
            b.data);
  cr_assert_eq(tinker__sample_result_decode_json(&r, &arena, TINKER__STR(text),
                                                 why, sizeof(why)),
               0, "%s", why);
  cr_assert(r.target.count == 1 && r.target.col[0] == 999999999);
  tinker__buf_free(&b);
}

Test(sample, malformed_results) {
  static const char *const bad[] = {
      "0a0208021200",                                 /* unknown stop reason */
      "0a05120301000000",                             /* not even a message */
      "0a0512030100ff",                               /* tokens of 3 bytes */
      "0a0a1204070000001a020000",                     /* logprobs of 2 bytes */
      "0a141204070000001a0c000080be000080be000080be", /* too many */
      "1203000000",      /* prompt logprobs of 3 bytes */
      "1a0418022002",    /* top-k without cells */
      "2a060a040000803f" /* target without dtype */
  };
  tinker__sample_result_t r;
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    bytes_t b = unhex(bad[i]);
    cr_assert_eq(tinker__sample_result_decode(&r, &arena, bytes_str(&b), why,
                                              sizeof(why)),
                 TINKER_EPROTO, "row %zu", i);
  }
}

static const char json[] =
    "{\"type\":\"sample\",\"sequences\":[{\"stop_reason\":\"stop\","
    "\"tokens\":[5,198],\"logprobs\":[-0.5,-0.1]},{\"stop_reason\":\"length\","
    "\"tokens\":[6,7]}],\"prompt_logprobs\":[null,-2.0,-1.0],"
    "\"topk_prompt_logprobs\":[null,[[2,-0.9],[9,-1.1]],[[3,-1.0]]],"
    "\"target_prompt_logprobs\":{\"data\":[-1.5,0.0],\"dtype\":\"float32\","
    "\"shape\":[2,1]},\"prompt_alt_tokens\":{\"tokens\":{\"data\":[3,4],"
    "\"dtype\":\"int64\",\"shape\":[2,1]},\"logprobs\":{\"data\":[-1.0,-2.0],"
    "\"dtype\":\"float32\",\"shape\":[2,1]}},"
    "\"prompt_cache_hit_tokens\":4}";

static int json_trip(tinker__mem_t *m, void *user) {
  tinker__arena_t a;
  tinker__sample_result_t r;
  tinker__sample_request_t q;
  tinker__wire_body_t body;
  tinker__buf_t b, p;
  (void)user;
  tinker__arena_init(&a, m);
  tinker__buf_init(&b, m, 4096);
  tinker__buf_init(&p, m, 4096);
  tinker__wire_body_init(&body, m);
  int rc = tinker__sample_result_decode_json(&r, &a, TINKER__STR(json), why,
                                             sizeof(why));
  if (!rc) rc = tinker__sample_result_encode_json(&b, &r);
  if (!rc) {
    cr_assert(tinker__str_eqs(tinker__buf_str(&b), json), "%.*s", (int)b.len,
              b.data);
  }
  if (!rc) rc = tinker__sample_result_encode(&p, m, &r);
  if (!rc) {
    rc = tinker__sample_result_decode(&r, &a, tinker__buf_str(&p), why,
                                      sizeof(why));
  }
  if (!rc) {
    unsigned char digest[TINKER__SHA256_LEN];
    rc = tinker__sample_request_decode(&q, &a, TINKER__STR(full), digest, why,
                                       sizeof(why));
  }
  if (!rc) rc = tinker__sample_request_encode(&body, m, &q);
  tinker__wire_body_free(&body);
  tinker__buf_free(&b);
  tinker__buf_free(&p);
  tinker__arena_free(&a);
  return rc;
}

Test(sample, json_form_cuts_and_failures) {
  tinker__sample_result_t r;
  cr_assert_eq(json_trip(&mem, NULL), 0, "%s", why);
  cr_assert_gt(tinker__fail_sweep(json_trip, NULL, TINKER_ENOMEM), 10);
  for (size_t len = 0; len < sizeof(json) - 1; len++) {
    cr_assert_neq(tinker__sample_result_decode_json(
                      &r, &arena, (tinker__str_t){json, len}, why, sizeof(why)),
                  0);
  }
  static const char *const bad[] = {
      "{}",
      "{\"sequences\":[{\"tokens\":[1]}]}",
      "{\"sequences\":[{\"stop_reason\":\"x\",\"tokens\":[1]}]}",
      ("{\"sequences\":[{\"stop_reason\":\"stop\",\"tokens\":[1],"
       "\"logprobs\":[1,2]}]}"),
      "{\"sequences\":[],\"topk_prompt_logprobs\":[[[1]]]}",
      "{\"sequences\":[],\"topk_prompt_logprobs\":[[[1,2,3]]]}",
      "{\"sequences\":[],\"topk_prompt_logprobs\":[[[-1,2]]]}",
      "{\"sequences\":[],\"target_prompt_logprobs\":{\"data\":[1]}}",
      "{\"sequences\":[],\"prompt_alt_tokens\":{}}"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_eq(tinker__sample_result_decode_json(
                     &r, &arena, tinker__str(bad[i]), why, sizeof(why)),
                 TINKER_EJSON, "%s", bad[i]);
  }
}
