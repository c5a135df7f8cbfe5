/* The digest of a request is how a second copy is told from another request
 * under the same number: whatever changes what is asked changes it. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"
#include "wire/fb_decode.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(fb_digest, .init = setup, .fini = teardown);

/* A request whose every part a case may change. */
typedef struct request_s {
  int32_t tokens[4];
  tinker__chunk_view_t chunks[2];
  float weights[4];
  int64_t targets[4], crow[3], col[4];
  tinker__named_tensor_t inputs[2];
  tinker__config_entry_t config[2];
  tinker__datum_view_t datums[2];
  tinker__fb_view_t view;
} request_t;

static void fill(request_t *r) {
  *r = (request_t){.tokens = {1, 2, 3, 4},
                   .weights = {0, 1, 1, 0.5f},
                   .targets = {2, 3, 4, 5},
                   .crow = {0, 2, 4},
                   .col = {0, 1, 0, 1}};
  r->chunks[0] = tinker__text_chunk(r->tokens, 2);
  r->chunks[1] = tinker__text_chunk(r->tokens + 2, 2);
  r->inputs[0] = (tinker__named_tensor_t){
      TINKER__STR("target_tokens"),
      {TINKER__DTYPE_I64, 2, {2, 2}, r->targets, 4, NULL, NULL, NULL}};
  r->inputs[1] = (tinker__named_tensor_t){
      TINKER__STR("weights"),
      {TINKER__DTYPE_F32, 2, {2, 2}, r->weights, 4, NULL, NULL, NULL}};
  r->config[0] = (tinker__config_entry_t){TINKER__STR("beta"), false, 0.5,
                                          TINKER__STR("")};
  r->config[1] =
      (tinker__config_entry_t){TINKER__STR("mode"), true, 0, TINKER__STR("x")};
  for (int i = 0; i < 2; i++) {
    r->datums[i] = (tinker__datum_view_t){r->chunks, 2, r->inputs, 2};
  }
  r->view = (tinker__fb_view_t){
      .model_id = TINKER__STR("m"),
      .seq_id = 3,
      .datums = r->datums,
      .datum_count = 2,
      .loss_fn = TINKER__STR("ppo"),
      .config = r->config,
      .config_count = 2,
  };
}

#define CHANGE(name, statement)                                                \
  static void name(request_t *r) {                                             \
    statement;                                                                 \
  }
CHANGE(model_id, r->view.model_id = TINKER__STR("n"))
CHANGE(seq_id, r->view.seq_id = 4)
CHANGE(loss_fn, r->view.loss_fn = TINKER__STR("dro"))
CHANGE(forward_only, r->view.forward_only = true)
CHANGE(datum_count, r->view.datum_count = 1)
CHANGE(config_count, r->view.config_count = 1)
CHANGE(config_name, r->config[0].name = TINKER__STR("gamma"))
CHANGE(config_number, r->config[0].number = 0.25)
CHANGE(config_sign, r->config[0].number = -0.5)
CHANGE(config_text, r->config[1].text = TINKER__STR("y"))
CHANGE(config_kind, r->config[1].is_text = false)
CHANGE(token, r->tokens[3] = 5)
CHANGE(chunking,
       (r->chunks[0].text.count = 1, r->chunks[1].text.tokens = r->tokens + 1,
        r->chunks[1].text.count = 3))
CHANGE(chunk_count, r->datums[1].chunk_count = 1)
CHANGE(input_count, r->datums[1].input_count = 1)
CHANGE(input_name, r->inputs[1].name = TINKER__STR("weight"))
CHANGE(value, r->weights[2] = 0.75f)
CHANGE(sign_of_zero, r->weights[0] = -0.0f)
CHANGE(target, r->targets[0] = 9)
CHANGE(dims, (r->inputs[1].tensor.ndim = 1, r->inputs[1].tensor.shape[0] = 4))
CHANGE(shape,
       (r->inputs[1].tensor.shape[0] = 4, r->inputs[1].tensor.shape[1] = 1))
CHANGE(dtype, (r->inputs[1].tensor.dtype = TINKER__DTYPE_I64,
               r->inputs[1].tensor.count = 2))
CHANGE(sparse,
       (r->inputs[0].tensor.crow = r->crow, r->inputs[0].tensor.col = r->col))

static const struct {
  const char *name;
  void (*change)(request_t *r);
} changes[] = {
#define ROW(name)                                                              \
  { #name, name }
    ROW(model_id),    ROW(seq_id),       ROW(loss_fn),     ROW(forward_only),
    ROW(datum_count), ROW(config_count), ROW(config_name), ROW(config_number),
    ROW(config_sign), ROW(config_text),  ROW(config_kind), ROW(token),
    ROW(chunking),    ROW(chunk_count),  ROW(input_count), ROW(input_name),
    ROW(value),       ROW(sign_of_zero), ROW(target),      ROW(dims),
    ROW(shape),       ROW(dtype),        ROW(sparse)};
#define CHANGES (sizeof(changes) / sizeof(*changes))

Test(fb_digest, everything_that_is_asked_is_in_it) {
  static unsigned char digests[CHANGES + 1][TINKER__SHA256_LEN];
  unsigned char again[TINKER__SHA256_LEN];
  request_t r;
  for (size_t i = 0; i <= CHANGES; i++) {
    fill(&r);
    if (i) changes[i - 1].change(&r);
    cr_assert_eq(tinker__fb_digest(&r.view, &mem, digests[i]), 0);
    for (size_t k = 0; k < i; k++) {
      cr_assert(memcmp(digests[i], digests[k], TINKER__SHA256_LEN) != 0,
                "%s is not in it (case %zu)", changes[i - 1].name, k);
    }
  }
  fill(&r);
  cr_assert_eq(tinker__fb_digest(&r.view, &mem, again), 0);
  cr_assert_arr_eq(again, digests[0], sizeof(again));
}

/* Which entries a sparse tensor names is part of what it says. */
Test(fb_digest, places_of_a_sparse_tensor) {
  unsigned char a[TINKER__SHA256_LEN], b[TINKER__SHA256_LEN];
  request_t r;
  fill(&r);
  sparse(&r);
  cr_assert_eq(tinker__fb_digest(&r.view, &mem, a), 0);
  r.crow[1] = 1;
  cr_assert_eq(tinker__fb_digest(&r.view, &mem, b), 0);
  cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
  r.crow[1] = 2;
  r.col[3] = 0;
  cr_assert_eq(tinker__fb_digest(&r.view, &mem, b), 0);
  cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
}

static int digest(tinker__mem_t *m, void *user) {
  unsigned char out[TINKER__SHA256_LEN];
  return tinker__fb_digest(user, m, out);
}

Test(fb_digest, allocation_failures) {
  request_t r;
  fill(&r);
  cr_assert_gt(tinker__fail_sweep(digest, &r.view, TINKER_ENOMEM), 0);
}
