/* forward_backward requests: golden bytes, JSON form, zstd, malformed input. */
#include "wire_test.h"

#include <zstd.h>

#include "wire/fb_request.h"

TestSuite(fb_request, .init = wire_setup, .fini = wire_teardown);

#define GOLDEN                                                                 \
  "0a016d10011a640a100a0e0a0c01000000020000000300000012300a0d746172676574"     \
  "5f746f6b656e73121f0a180200000000000000030000000000000004000000000000001"    \
  "802220103121e0a077765696768747312130a0c000000000000803f0000803f1801220"     \
  "103220d63726f73735f656e74726f7079"

static const int32_t tokens[] = {1, 2, 3};
static const int64_t targets[] = {2, 3, 4};
static const float weights[] = {0, 1, 1};
static const tinker__chunk_view_t chunks[] = {{.text = {tokens, 3, NULL}}};
/* Unsorted on purpose. */
static const tinker__named_tensor_t inputs[] = {
    {{"weights", 7}, {TINKER__DTYPE_F32, 1, {3}, weights, 3, NULL, NULL, NULL}},
    {{"target_tokens", 13},
     {TINKER__DTYPE_I64, 0, {0}, targets, 3, NULL, NULL, NULL}}};
static const tinker__datum_view_t datums[] = {{chunks, 1, inputs, 2}};

static tinker__fb_view_t view(void) {
  return (tinker__fb_view_t){
      .model_id = TINKER__STR("m"),
      .datums = datums,
      .datum_count = 1,
      .loss_fn = TINKER__STR("cross_entropy"),
  };
}

static void check_bytes(const tinker__fb_view_t *v, int64_t seq,
                        const char *hex) {
  tinker__wire_body_t b;
  bytes_t want = unhex(hex);
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, v, why, sizeof(why)), 0,
               "%s", why);
  cr_assert_eq(tinker__wire_body_stamp(&b, TINKER__STR("m"), 1000000), 0);
  cr_assert_eq(tinker__wire_body_stamp(&b, TINKER__STR("m"), seq), 0);
  cr_assert(tinker__str_eq(sent(&b), bytes_str(&want)));
  tinker__wire_body_free(&b);
}

Test(fb_request, golden_bytes_out) {
  tinker__fb_view_t v = view();
  check_bytes(&v, 1, GOLDEN);
  tinker__config_entry_t config[] = {
      {TINKER__STR("mode"), true, 0, TINKER__STR("abc")},
      {TINKER__STR("beta"), false, 0.05, TINKER__STR("")}};
  tinker__fb_view_t ppo = {
      .model_id = TINKER__STR("m"),
      .loss_fn = TINKER__STR("ppo"),
      .config = config,
      .config_count = 2,
  };
  check_bytes(&ppo, 2,
              "0a016d1002220370706f2a0f0a0462657461119a9999999999a93f3a110a0462"
              "6574611209099a9999999999a93f3a0d0a046d6f646512051203616263");
  cr_assert_eq(tinker__datum_estimate(&datums[0]), 12 + 24 + 12);
}

Test(fb_request, stamp_limits) {
  tinker__fb_view_t v = view();
  tinker__wire_body_t b;
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, &v, NULL, 0), 0);
  cr_assert_eq(tinker__wire_body_stamp(&b, TINKER__STR("m"), -1),
               TINKER_EINVAL);
  cr_assert_eq(tinker__wire_body_stamp(&b, TINKER__STR("m"), INT64_MAX),
               TINKER_EOVERFLOW);
  cr_assert_eq(tinker__wire_body_stamp(
                   &b, TINKER__STR("a much longer identifier than m"), 1),
               TINKER_EOVERFLOW);
  cr_assert_eq(tinker__wire_body_stamp(&b, TINKER__STR("\xff"), 1),
               TINKER_EINVAL);
  cr_assert_eq(tinker__wire_body_stamp(&b, TINKER__STR("m"), INT32_MAX), 0);
  tinker__wire_body_free(&b);
}

Test(fb_request, malformed_views_are_refused_by_name) {
  tinker__wire_body_t b;
  tinker__named_tensor_t in[2] = {inputs[0], inputs[0]};
  tinker__datum_view_t d = {chunks, 1, in, 2};
  tinker__fb_view_t v = view();
  v.datums = &d;
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, &v, why, sizeof(why)),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "data[0].loss_fn_inputs: a name comes twice");
  d.input_count = 1;
  in[0].tensor.shape[0] = 4;
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, &v, why, sizeof(why)),
               TINKER_EINVAL);
  cr_assert_str_eq(why,
                   "data[0].loss_fn_inputs.weights: 3 values for a shape of 4");
  in[0].tensor.shape[0] = 3;
  in[0].name = TINKER__STR("");
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, &v, why, sizeof(why)),
               TINKER_EINVAL);
  v.loss_fn = TINKER__STR("\xff");
  cr_assert_eq(tinker__fb_request_encode(&b, &mem, &v, why, sizeof(why)),
               TINKER_EINVAL);
  cr_assert_not_null(strstr(why, "loss_fn"));
}

static void check_view(const tinker__fb_request_t *r) {
  const tinker__fb_view_t *v = &r->view;
  cr_assert(tinker__str_eqs(v->model_id, "m"));
  cr_assert_eq(v->seq_id, 1);
  cr_assert(tinker__str_eqs(v->loss_fn, "cross_entropy"));
  cr_assert_eq(v->datum_count, 1);
  cr_assert_eq(v->datums[0].chunk_count, 1);
  cr_assert_arr_eq(v->datums[0].chunks[0].text.tokens, tokens, sizeof(tokens));
  cr_assert_eq(v->datums[0].input_count, 2);
  const tinker__named_tensor_t *t = v->datums[0].inputs;
  cr_assert(tinker__str_eqs(t[0].name, "target_tokens"));
  cr_assert_eq(t[0].tensor.dtype, TINKER__DTYPE_I64);
  cr_assert_eq(t[0].tensor.count, 3);
  cr_assert_arr_eq(t[0].tensor.data, targets, sizeof(targets));
  cr_assert_arr_eq(t[1].tensor.data, weights, sizeof(weights));
  cr_assert(t[1].tensor.ndim == 1 && t[1].tensor.shape[0] == 3);
}

static int decode(tinker__fb_request_t *out, tinker__str_t body,
                  tinker__fb_format_t format) {
  return tinker__fb_request_decode(out, &arena, body, format, false, 1 << 20,
                                   why, sizeof(why));
}

static const char json[] =
    "{\"seq_id\":1,\"forward_backward_input\":{\"data\":[{\"loss_fn_inputs\":"
    "{\"weights\":{\"data\":[0.0,1,1.0],\"dtype\":\"float32\",\"shape\":[3]},"
    "\"target_tokens\":{\"shape\":null,\"data\":[2,3,4],\"dtype\":\"int64\"}}"
    ",\"model_input\":{\"chunks\":[{\"tokens\":[1,2,3],\"type\":"
    "\"encoded_text\"}]}}],\"loss_fn\":\"cross_entropy\",\"new\":[1]},"
    "\"model_id\":\"\\u006d\"}";

Test(fb_request, three_forms_one_meaning) {
  bytes_t golden = unhex(GOLDEN);
  char packed[512];
  size_t n = ZSTD_compress(packed, sizeof(packed), golden.data, golden.len, 1);
  tinker__fb_request_t a, b, c;
  cr_assert_eq(decode(&a, bytes_str(&golden), TINKER__FB_PROTO), 0, "%s", why);
  check_view(&a);
  cr_assert_eq(decode(&b, (tinker__str_t){packed, n}, TINKER__FB_PROTO_ZSTD), 0,
               "%s", why);
  check_view(&b);
  cr_assert_eq(decode(&c, TINKER__STR(json), TINKER__FB_JSON), 0, "%s", why);
  check_view(&c);
  cr_assert_arr_eq(a.digest, b.digest, sizeof(a.digest));
  cr_assert_arr_eq(a.digest, c.digest, sizeof(a.digest));
  bytes_t more = unhex(GOLDEN "2a0f0a0462657461119a9999999999a93f3001");
  cr_assert_eq(decode(&b, bytes_str(&more), TINKER__FB_PROTO), 0);
  cr_assert(b.view.forward_only);
  cr_assert_eq(b.view.config_count, 1);
  cr_assert(tinker__str_eqs(b.view.config[0].name, "beta") &&
            b.view.config[0].number == 0.05 && !b.view.config[0].is_text);
  cr_assert_neq(memcmp(a.digest, b.digest, sizeof(a.digest)), 0);
  bytes_t v2 = unhex(
      "0a016d1002220370706f2a0f0a0462657461119a9999999999a93f3a110a04626574611"
      "209099a9999999999a93f3a0d0a046d6f646512051203616263");
  cr_assert_eq(decode(&b, bytes_str(&v2), TINKER__FB_PROTO), 0, "%s", why);
  cr_assert_eq(b.view.config_count, 2);
  cr_assert(b.view.config[1].is_text &&
            tinker__str_eqs(b.view.config[1].text, "abc"));
  bytes_t nul = unhex("0a026d001002220370706f");
  cr_assert_eq(decode(&b, bytes_str(&nul), TINKER__FB_PROTO), TINKER_EPROTO);
  cr_assert_not_null(strstr(why, "model_id"), "%s", why);
  bytes_t spans = unhex(
      "0a016d10031a6a0a100a0e0a0c01000000020000000300000012300a0d746172676574"
      "5f746f6b656e73121f0a18020000000000000003000000000000000400000000000000"
      "18022201031a070a050a017118021a0712050a0171180122090a070a01711001180122"
      "0712050a017118022210737461626c655f7265696e666f7263652a130a086b6c5f636f"
      "656666117b14ae47e17a843f3a150a086b6c5f636f6566661209097b14ae47e17a843"
      "f");
  cr_assert_eq(decode(&b, bytes_str(&spans), TINKER__FB_PROTO), 0, "%s", why);
}

/* ForwardBackwardRequest with one datum of one tensor. */
static int decode_tensor(const char *tensor_hex, tinker__fb_request_t *out) {
  char hex[1024];
  size_t n = strlen(tensor_hex) / 2;
  snprintf(hex, sizeof(hex),
           "0a016d10011a%02zx12%02zx0a017412%02zx%s220370706f", n + 7, n + 5, n,
           tensor_hex);
  bytes_t b = unhex(hex);
  return decode(out, bytes_str(&b), TINKER__FB_PROTO);
}

Test(fb_request, csr_becomes_dense_and_bad_tensors_are_refused) {
  tinker__fb_request_t r;
#define CROW(a, b, c)                                                          \
  "1218" a "00000000000000" b "00000000000000" c "00000000000000"
#define COL(a) "1a08" a "00000000000000"
  cr_assert_eq(decode_tensor("122a0a040000803f" CROW("00", "01", "01")
                                 COL("04") "180122020208",
                             &r),
               0, "%s", why);
  const tinker__tensor_view_t *t = &r.view.datums[0].inputs[0].tensor;
  cr_assert(t->ndim == 2 && t->count == 16 && !t->crow);
  for (size_t i = 0; i < 16; i++) {
    cr_assert_eq(((const float *)t->data)[i], i == 4 ? 1.0f : 0.0f);
  }
  static const struct {
    const char *hex, *text;
  } bad[] = {
      {"122a0a040000803f" CROW("00", "01", "01") COL("08") "180122020208",
       "outside the row"},
      {"122a0a040000803f" CROW("00", "02", "01") COL("04") "180122020208",
       "not increasing"},
      {"122a0a040000803f" CROW("00", "01", "02") COL("04") "180122020208",
       "do not span"},
      {"122a0a040000803f" CROW("01", "01", "01") COL("04") "180122020208",
       "do not span"},
      {"122a0a040000803f" CROW("00", "01", "01") COL("04") "180122020308",
       "crow_indices for 3 rows"},
      {"122a0a040000803f" CROW("00", "01", "01") COL("04") "1801220102",
       "shape of two"},
      {"0a0400000000180122020202", "1 values for a shape of 4"},
      {"0a03000000180122020101", "no multiple of 4"},
      {"0a0400000000", "dtype 0"},
      {"0a04000000001804", "dtype 4"},
      {"0a0400000000180122050101010101", "more than 4 dimensions"},
      {"0a04000000001801220affffffffffffffffff01", "negative or too large"},
  };
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_eq(decode_tensor(bad[i].hex, &r), TINKER_EPROTO, "row %zu", i);
    cr_assert(strstr(why, bad[i].text) &&
                  strstr(why, "data[0].loss_fn_inputs.t"),
              "row %zu: %s", i, why);
  }
}

static int json_case(const char *from, const char *to) {
  char text[2048];
  tinker__fb_request_t r;
  const char *at = strstr(json, from);
  cr_assert_not_null(at, "%s", from);
  snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - json), json, to,
           at + strlen(from));
  return decode(&r, tinker__str(text), TINKER__FB_JSON);
}

Test(fb_request, json_errors_name_the_field) {
  static const struct {
    const char *from, *to;
    int code;
    const char *text;
  } rows[] = {
      {"[2,3,4]", "[2,3.5,4]", TINKER_EJSON,
       "data[0].loss_fn_inputs.target_tokens: expected an integer"},
      {"[2,3,4]", "[2,3]", 0, ""},
      {"\"shape\":[3]", "\"shape\":[2]", TINKER_EINVAL,
       "data[0].loss_fn_inputs.weights: 3 values for a shape of 2"},
      {"\"dtype\":\"int64\"", "\"dtype\":\"int8\"", TINKER_EINVAL,
       "dtype is not float32 or int64"},
      {"\"dtype\":\"int64\"", "\"x\":0", TINKER_EINVAL, "dtype is missing"},
      {"\"data\":[2,3,4],", "", TINKER_EINVAL, "data is missing"},
      {"encoded_text", "image", TINKER_EINVAL, "data[0].model_input: only"},
      {"\"model_input\"", "\"model\"", TINKER_EINVAL,
       "data[0].model_input: is missing"},
      {"\"weights\"", "\"target_tokens\"", TINKER_EINVAL, "comes twice"},
      {"\\u006d", "", TINKER_EINVAL, "model_id"},
      {"\"cross_entropy\"", "7", TINKER_EJSON, "expected a string"},
      {"\"seq_id\":1", "\"seq_id\":-1", TINKER_EINVAL,
       "seq_id: must be 0 to 2147483647, not -1"},
      {"forward_backward_input", "forward_input", 0, ""},
      {"\"new\":[1]", "\"loss_fn_config\":{\"a\":1,\"b\":\"x\",\"a\":2}",
       TINKER_EINVAL, "comes twice"},
      {"\"new\":[1]", "\"loss_fn_config\":{\"a\":1.5,\"b\":\"x\"}", 0, ""},
      {"\"new\":[1]", "\"loss_fn_config\":null", 0, ""},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    why[0] = 0;
    cr_assert_eq(json_case(rows[i].from, rows[i].to), rows[i].code,
                 "row %zu: %s", i, why);
    cr_assert_not_null(strstr(why, rows[i].text), "row %zu: %s", i, why);
  }
}

Test(fb_request, cut_at_every_byte) {
  bytes_t golden = unhex(GOLDEN "2a0f0a0462657461119a9999999999a93f3001");
  tinker__fb_request_t r;
  char packed[512];
  size_t n = ZSTD_compress(packed, sizeof(packed), golden.data, golden.len, 1);
  for (size_t len = 0; len < golden.len; len++) {
    char *copy = malloc(len + 1); /* so that a read behind it is seen */
    memcpy(copy, golden.data, len);
    decode(&r, (tinker__str_t){copy, len}, TINKER__FB_PROTO);
    free(copy);
  }
  for (size_t len = 0; len < n; len++) {
    cr_assert_neq(
        decode(&r, (tinker__str_t){packed, len}, TINKER__FB_PROTO_ZSTD), 0);
  }
  for (size_t len = 0; len < sizeof(json) - 1; len++) {
    cr_assert_neq(decode(&r, (tinker__str_t){json, len}, TINKER__FB_JSON), 0);
  }
  cr_assert_eq(tinker__fb_request_decode(&r, &arena, bytes_str(&golden),
                                         TINKER__FB_PROTO, false,
                                         golden.len - 1, why, sizeof(why)),
               TINKER_EOVERFLOW);
}

/* A few bytes must not unpack into all the memory there is. */
Test(fb_request, bombs_are_refused) {
  size_t n = 40u << 20;
  char *body = malloc(n);
  tinker__fb_request_t r;
  for (size_t i = 0; i < n; i += 2) {
    body[i] = 0x1a; /* an empty datum */
    body[i + 1] = 0;
  }
  cr_assert_eq(tinker__fb_request_decode(&r, &arena, (tinker__str_t){body, n},
                                         TINKER__FB_PROTO, false, n, why,
                                         sizeof(why)),
               TINKER_EOVERFLOW);
  cr_assert_not_null(strstr(why, "more memory than a message of its size may"),
                     "%s", why);
  free(body);
  cr_assert_lt(atomic_load(&mem.live_bytes), 9 * n);
}

/* One chunk more than there may be, in the JSON form. */
Test(fb_request, chunks_have_a_number) {
  static char body[60 * (TINKER__MAX_CHUNKS + 4)];
  tinker__fb_request_t r;
  for (int n = TINKER__MAX_CHUNKS; n <= TINKER__MAX_CHUNKS + 1; n++) {
    size_t at = (size_t)snprintf(
        body, sizeof body,
        "{\"model_id\":\"m\",\"seq_id\":1,\"forward_backward_input\":"
        "{\"loss_fn\":\"cross_entropy\",\"data\":[{\"model_input\":"
        "{\"chunks\":[");
    for (int i = 0; i < n; i++) {
      at += (size_t)snprintf(body + at, sizeof body - at,
                             "%s{\"type\":\"encoded_text\",\"tokens\":[1]}",
                             i ? "," : "");
    }
    snprintf(body + at, sizeof body - at, "]},\"loss_fn_inputs\":{}}]}}");
    int rc = decode(&r, tinker__str(body), TINKER__FB_JSON);
    bool more = n > TINKER__MAX_CHUNKS;
    cr_expect_eq(rc == TINKER_EOVERFLOW, more, "%d: %s", rc, why);
    cr_expect_eq(strstr(why, "more than 4096 chunks") != NULL, more, "%s", why);
  }
}

static int encode_body(tinker__mem_t *m, void *user) {
  tinker__wire_body_t b;
  tinker__config_entry_t config[] = {
      {TINKER__STR("mode"), true, 0, TINKER__STR("abc")}};
  tinker__fb_view_t v = view();
  (void)user;
  v.config = config;
  v.config_count = 1;
  int rc = tinker__fb_request_encode(&b, m, &v, NULL, 0);
  if (!rc) rc = tinker__wire_body_stamp(&b, TINKER__STR("m"), 1);
  tinker__wire_body_free(&b);
  return rc;
}

static int decode_body(tinker__mem_t *m, void *user) {
  bytes_t golden = unhex(GOLDEN);
  tinker__fb_request_t r;
  tinker__arena_t a;
  char text[64];
  tinker__arena_init(&a, m);
  tinker__str_t body = user ? TINKER__STR(json) : bytes_str(&golden);
  int rc = tinker__fb_request_decode(&r, &a, body,
                                     user ? TINKER__FB_JSON : TINKER__FB_PROTO,
                                     false, 4096, text, sizeof(text));
  tinker__arena_free(&a);
  return rc;
}

Test(fb_request, allocation_failures) {
  cr_assert_gt(tinker__fail_sweep(encode_body, NULL, TINKER_ENOMEM), 2);
  cr_assert_gt(tinker__fail_sweep(decode_body, NULL, TINKER_ENOMEM), 0);
  cr_assert_gt(tinker__fail_sweep(decode_body, &mem, TINKER_ENOMEM), 3);
}
