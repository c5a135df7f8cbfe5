/* Bodies in pieces: the same bytes whoever owns the arrays, at every reading,
 * whatever the caller does with them meanwhile. */
#include "wire_test.h"

#include "base/shared.h"
#include "wire/fb_request.h"
#include "wire/sample.h"

enum { LONG = 3000, SHORT = 10 };

static int32_t tokens[LONG];
static int64_t targets[LONG];
static float weights[LONG];

static void setup(void) {
  wire_setup();
  for (int i = 0; i < LONG; i++) {
    tokens[i] = i * 61 % 200000;
    targets[i] = tokens[i] + 1;
    weights[i] = (float)i / 7;
  }
}

TestSuite(body, .init = setup, .fini = wire_teardown);

/* Two datums, the second too short to be worth a piece. */
typedef struct batch_s {
  void *blocks[3];
  tinker__chunk_view_t chunks[3];
  tinker__named_tensor_t inputs[2][2];
  tinker__datum_view_t datums[2];
  tinker__fb_view_t view;
} batch_t;

static void fill(batch_t *b, const int32_t *t, const int64_t *y,
                 const float *w) {
  b->chunks[0] = tinker__text_chunk(t, 1);
  b->chunks[1] = tinker__text_chunk(t + 1, LONG - 1);
  b->chunks[2] = tinker__text_chunk(t, SHORT);
  for (int i = 0; i < 3; i++) b->chunks[i].text.owner = b->blocks[0];
  for (int i = 0; i < 2; i++) {
    size_t n = i ? SHORT : LONG;
    b->inputs[i][0] = (tinker__named_tensor_t){
        TINKER__STR("weights"),
        {.dtype = TINKER__DTYPE_F32, .data = w, .count = n}};
    b->inputs[i][0].tensor.owner = b->blocks[2];
    b->inputs[i][1] = (tinker__named_tensor_t){
        TINKER__STR("target_tokens"),
        {.dtype = TINKER__DTYPE_I64, .data = y, .count = n}};
    b->inputs[i][1].tensor.owner = b->blocks[1];
  }
  b->datums[0] = (tinker__datum_view_t){b->chunks, 2, b->inputs[0], 2};
  b->datums[1] = (tinker__datum_view_t){b->chunks + 2, 1, b->inputs[1], 2};
  b->view = (tinker__fb_view_t){.model_id = TINKER__STR("m"),
                                .datums = b->datums,
                                .datum_count = 2,
                                .loss_fn = TINKER__STR("cross_entropy")};
}

static void borrow(batch_t *b) {
  *b = (batch_t){0};
  fill(b, tokens, targets, weights);
}

static void own(batch_t *b) {
  *b = (batch_t){0};
  b->blocks[0] = tinker__shared_dup(NULL, tokens, sizeof tokens);
  b->blocks[1] = tinker__shared_dup(NULL, targets, sizeof targets);
  b->blocks[2] = tinker__shared_dup(NULL, weights, sizeof weights);
  fill(b, b->blocks[0], b->blocks[1], b->blocks[2]);
}

static void disown(batch_t *b) {
  for (int i = 0; i < 3; i++) tinker__shared_release(b->blocks[i]);
}

/* Borrowed arrays may change at once, owned ones live as long as the body. */
Test(body, of_a_batch_is_the_same_whoever_owns_the_arrays) {
  batch_t a, b;
  tinker__wire_body_t whole, pieces;
  borrow(&a);
  own(&b);
  cr_assert_eq(
      tinker__fb_request_encode(&whole, &mem, &a.view, why, sizeof why), 0,
      "%s", why);
  memset(tokens, 0, sizeof tokens);
  cr_assert_eq(tinker__fb_request_encode(&pieces, &mem, &b.view, NULL, 0), 0);
  disown(&b);
  cr_assert_eq(pieces.estimate, whole.estimate);
  for (int64_t seq = 5; seq < 500; seq += 400) {
    cr_assert_eq(tinker__wire_body_stamp(&whole, TINKER__STR("m"), seq), 0);
    cr_assert_eq(tinker__wire_body_stamp(&pieces, TINKER__STR("m"), seq), 0);
    tinker__str_t want = tinker__wire_body_str(&whole);
    cr_assert_not_null(want.ptr);
    cr_assert_null(tinker__wire_body_str(&pieces).ptr);
    cr_assert_eq(tinker__wire_body_str(&pieces).len, want.len);
    for (int again = 0; again < 2; again++) {
      cr_assert(tinker__str_eq(sent(&pieces), want));
    }
  }
  /* Three long arrays, what is before and behind each, nothing short. */
  cr_assert_eq(pieces.count, 7);
  cr_assert_null(whole.list);
  tinker__wire_body_free(&whole);
  tinker__wire_body_free(&pieces);
}

static void ask(tinker__sample_request_t *r, const tinker__chunk_view_t *c,
                size_t n) {
  tinker__sample_request_init(r);
  r->sampling_session_id = TINKER__STR("s");
  r->chunks = c;
  r->chunk_count = n;
}

Test(body, of_a_sample_keeps_the_ids_as_numbers) {
  tinker__sample_request_t r;
  tinker__wire_body_t bodies[2];
  tinker__buf_t want;
  tinker__jsonw_t w;
  int32_t *block = tinker__shared_dup(NULL, tokens, sizeof tokens);
  tinker__chunk_view_t c[3] = {tinker__text_chunk(block, LONG),
                               tinker__text_chunk(NULL, 0),
                               tinker__text_chunk(block, 1)};
  tinker__buf_init(&want, &mem, 1 << 20);
  tinker__jsonw_init(&w, &want);
  tinker__jsonw_i32_array(&w, tokens, LONG);
  ask(&r, c, 3);
  for (int i = 0; i < 2; i++) {
    c[0].text.owner = c[2].text.owner = i ? block : NULL;
    cr_assert_eq(tinker__sample_request_encode(&bodies[i], &mem, &r), 0);
  }
  memset(tokens, 0, sizeof tokens);
  tinker__shared_release(block);
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(bodies[i].estimate, 10 * (LONG + 1));
    cr_assert_eq(tinker__wire_body_stamp(&bodies[i], TINKER__STR("s"), 9), 0);
    tinker__str_t got = sent(&bodies[i]);
    const char *head = "{\"sampling_session_id\":\"s\",\"seq_id\":9,"
                       "\"num_samples\":1,\"prompt\":{\"chunks\":[{\"tokens\":";
    const char *rest = ",\"type\":\"encoded_text\"},{\"tokens\":[],\"type\":"
                       "\"encoded_text\"},{\"tokens\":[0],";
    cr_assert(tinker__str_starts(got, head), "%.200s", got.ptr);
    const char *at = got.ptr + strlen(head);
    cr_assert_eq(memcmp(at, want.data, want.len), 0);
    cr_assert_eq(memcmp(at + want.len, rest, strlen(rest)), 0);
    tinker__wire_body_free(&bodies[i]);
  }
  tinker__buf_free(&want);
}

Test(body, digest_of_what_is_sent) {
  batch_t b;
  tinker__wire_body_t body;
  unsigned char got[TINKER__SHA256_LEN], want[TINKER__SHA256_LEN];
  for (int i = 0; i < 2; i++) {
    if (i) {
      own(&b);
    } else {
      borrow(&b);
    }
    cr_assert_eq(tinker__fb_request_encode(&body, &mem, &b.view, NULL, 0), 0);
    disown(&b);
    cr_assert_eq(tinker__wire_body_stamp(&body, TINKER__STR("m"), 3), 0);
    tinker__str_t text = sent(&body);
    cr_assert_eq(tinker__wire_body_sha256(&body, got), 0);
    cr_assert_eq(tinker__sha256(text.ptr, text.len, want), 0);
    cr_assert_arr_eq(got, want, sizeof want);
    tinker__wire_body_free(&body);
  }
}

/* No block is left with a user too many. */
static int encode_both(tinker__mem_t *m, void *user) {
  batch_t *b = user;
  tinker__sample_request_t r;
  tinker__wire_body_t fb, sample;
  tinker__buf_t copy;
  unsigned char sha[TINKER__SHA256_LEN];
  tinker__buf_init(&copy, m, 1 << 20);
  tinker__wire_body_init(&sample, m);
  ask(&r, b->chunks, 3);
  int rc = tinker__fb_request_encode(&fb, m, &b->view, NULL, 0);
  if (!rc) rc = tinker__sample_request_encode(&sample, m, &r);
  if (!rc) rc = tinker__wire_body_stamp(&fb, TINKER__STR("m"), 1);
  if (!rc) rc = tinker__wire_body_copy(&fb, &copy);
  if (!rc) rc = tinker__wire_body_sha256(&fb, sha);
  tinker__wire_body_free(&fb);
  tinker__wire_body_free(&sample);
  tinker__buf_free(&copy);
  return rc;
}

Test(body, allocation_failures) {
  batch_t b;
  own(&b);
  cr_assert_gt(tinker__fail_sweep(encode_both, &b, TINKER_ENOMEM), 5);
  disown(&b);
  borrow(&b);
  cr_assert_gt(tinker__fail_sweep(encode_both, &b, TINKER_ENOMEM), 5);
}

/* It is written when the operation has its turn, where nothing may fail. */
Test(body, a_stamp_takes_no_memory) {
  batch_t b;
  tinker__wire_body_t body;
  borrow(&b);
  cr_assert_eq(tinker__fb_request_encode(&body, &mem, &b.view, NULL, 0), 0);
  uint64_t before = mem.count;
  cr_assert_eq(tinker__wire_body_stamp(&body, TINKER__STR("m"), 7), 0);
  cr_assert_eq(mem.count, before);
  tinker__wire_body_free(&body);
}
