/* The digest of a training example: it says what the example says, however it
 * was built. The golden values were computed by another program from the
 * serialisation that tinker/data.h describes. */
#include <criterion/criterion.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/mem.h"
#include "rig.h"

typedef struct hex_s {
  char text[65];
} hex_t;

static hex_t hex_of(tinker_datum_t *d) {
  unsigned char digest[32];
  hex_t hex;
  cr_assert_eq(tinker_datum_sha256(d, digest), 0);
  tinker__hex(digest, sizeof digest, hex.text);
  return hex;
}

/* The same; gives the example back. */
static hex_t digest(tinker_datum_t *d) {
  hex_t hex = hex_of(d);
  tinker_datum_release(d);
  return hex;
}

static tinker_datum_t *around(tinker_input_t *input) {
  tinker_datum_t *d = NULL;
  cr_assert_eq(tinker_datum_new(&d, input, NULL, NULL), 0);
  tinker_input_release(input);
  return d;
}

static tinker_datum_t *of_tokens(const int32_t *tokens, size_t n) {
  tinker_input_t *input = NULL;
  cr_assert_eq(tinker_input_from_tokens(&input, tokens, n, NULL, NULL), 0);
  return around(input);
}

static void f32(tinker_datum_t *d, const char *name, const float *v,
                size_t rows, size_t cols) {
  cr_assert_eq(tinker_datum_set_f32(d, name, v, rows, cols, NULL), 0);
}

static void i64(tinker_datum_t *d, const char *name, const int64_t *v,
                size_t rows, size_t cols) {
  cr_assert_eq(tinker_datum_set_i64(d, name, v, rows, cols, NULL), 0);
}

#define SUPERVISED                                                             \
  "8e96d2647b4149f6e662b8b4b48e39709687e87c7f7b8be2eb5009df0600808d"

static const int32_t tokens[4] = {1, 2, INT32_MAX, 4};
static const float weights[4] = {9, 0.5F, -1, 1};
static const int64_t targets[3] = {2, INT32_MAX, 4};

static tinker_datum_t *by_hand(void) {
  tinker_datum_t *d = of_tokens(tokens, 3);
  f32(d, "weights", weights + 1, 3, 0);
  i64(d, "target_tokens", targets, 3, 0);
  return d;
}

static void keep(void *user) {
  (void)user;
}

static tinker_datum_t *taken(void) {
  tinker_input_t *input = NULL;
  cr_assert_eq(tinker_input_new(&input, NULL, NULL), 0);
  cr_assert_eq(tinker_input_take_tokens(input, tokens, 3, keep, NULL, NULL), 0);
  tinker_datum_t *d = around(input);
  cr_assert_eq(tinker_datum_take_i64(d, "target_tokens", targets, 3, 0, keep,
                                     NULL, NULL),
               0);
  cr_assert_eq(
      tinker_datum_take_f32(d, "weights", weights + 1, 3, 0, keep, NULL, NULL),
      0);
  return d;
}

static tinker_datum_t *supervised(void) {
  tinker_datum_t *d = NULL;
  cr_assert_eq(tinker_datum_new_supervised(&d, tokens, weights, 4, NULL, NULL),
               0);
  return d;
}

Test(digest, golden) {
  static const int32_t one[1] = {9}, runs[3] = {5, 6, 7};
  static const int64_t ids[6] = {1, 2, 3, 4, 5, 6};
  static const float v[6] = {0, -0.0F, FLT_TRUE_MIN, FLT_MAX, 1.5F, -2.25F};
  tinker_input_t *input = NULL;
  cr_assert_str_eq(digest(supervised()).text, SUPERVISED);
  cr_assert_eq(tinker_input_from_tokens(&input, runs, 1, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(input, runs + 1, 2, NULL), 0);
  tinker_datum_t *d = around(input);
  i64(d, "target_tokens", ids, 3, 2);
  f32(d, "weights", v, 3, 2);
  cr_assert_str_eq(
      digest(d).text,
      "d1c807b046b95c6f55770565bf63f3a6204da248fe14bd7c2a5dbabb685c3681");
  cr_assert_str_eq(
      digest(of_tokens(one, 1)).text,
      "2e164e70e6b54e0b2dfd5afb683cf3dab81f87282aec70653f2ab08acbe89beb");
}

Test(digest, does_not_depend_on_how_it_was_built) {
  cr_assert_str_eq(digest(by_hand()).text, SUPERVISED);
  cr_assert_str_eq(digest(taken()).text, SUPERVISED);
  tinker_datum_t *d = supervised(); /* set twice: the last value counts */
  f32(d, "weights", weights, 2, 2);
  f32(d, "weights", weights + 1, 3, 0);
  cr_assert_str_eq(digest(d).text, SUPERVISED);
}

Test(digest, of_a_rollout) {
  static const float logprobs[4] = {0, 0, -1.5F, -2}, adv[4] = {0, 0, 3, 3};
  static const int32_t all[5] = {1, 2, 3, 4, 5};
  static const int64_t next[4] = {2, 3, 4, 5};
  tinker_datum_t *rl = NULL, *d = of_tokens(all, 4);
  f32(d, "logprobs", logprobs, 4, 0);
  i64(d, "target_tokens", next, 4, 0);
  f32(d, "advantages", adv, 4, 0);
  cr_assert_eq(
      tinker_datum_new_rl(&rl, all, 3, all + 3, logprobs + 2, 2, 3, NULL, NULL),
      0);
  cr_assert_str_eq(digest(rl).text, digest(d).text);
}

/* Each of these is another example. */
static tinker_datum_t *variant(int i) {
  static const int32_t other[4] = {1, 3, INT32_MAX, 4};
  static const float zeros[3] = {0, 0, 0}, minus[3] = {0, 0, -0.0F};
  static const int64_t numbers[3] = {0, 0, 0};
  tinker_input_t *input = NULL;
  tinker_datum_t *d = i == 1 ? of_tokens(other, 3) : NULL;
  if (i == 2) { /* two chunks */
    cr_assert_eq(tinker_input_from_tokens(&input, tokens, 1, NULL, NULL), 0);
    cr_assert_eq(tinker_input_add_tokens(input, tokens + 1, 2, NULL), 0);
    d = around(input);
  }
  if (!d) d = of_tokens(tokens, i == 3 ? 2 : 3);
  switch (i) {
  case 4: f32(d, "a", zeros, 3, 0); break;
  case 5: f32(d, "b", zeros, 3, 0); break;
  case 6: f32(d, "ab", zeros, 3, 0); break;
  case 7: f32(d, "a", zeros, 3, 1); break;
  case 8: f32(d, "a", zeros, 1, 3); break;
  case 9: f32(d, "a", minus, 3, 0); break;
  case 10: i64(d, "a", numbers, 3, 0); break;
  case 11: f32(d, "a", zeros, 2, 0); break;
  case 12:
    f32(d, "a", zeros, 3, 0);
    f32(d, "b", zeros, 3, 0);
    break;
  default: break;
  }
  return d;
}

Test(digest, tells_contents_apart) {
  hex_t seen[13];
  for (int i = 0; i < 13; i++) {
    seen[i] = digest(variant(i));
    for (int k = 0; k < i; k++) {
      cr_assert_str_neq(seen[i].text, seen[k].text, "%d and %d", i, k);
    }
    cr_assert_str_eq(digest(variant(i)).text, seen[i].text, "%d", i);
  }
}

/* A call that has used the example leaves it as it was. */
Test(digest, is_that_of_what_was_sent) {
  rig_t rig;
  tinker_datum_t *d = supervised();
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_future_t *f =
      tinker_trainer_forward_backward(t, &d, 1, NULL, CALLS_TIMEOUT(1000));
  cr_assert_str_eq(hex_of(d).text, SUPERVISED);
  cr_assert_eq(tinker_future_wait(f, 2000), 0);
  cr_assert_str_eq(digest(d).text, SUPERVISED);
  tinker_future_release(f);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(digest, codes) {
  unsigned char out[32] = {7}, was[32] = {7};
  tinker__mem_t mem;
  tinker_datum_t *d = NULL;
  tinker__mem_init(&mem, NULL, 0);
  const tinker_allocator_t memory = tinker__mem_allocator(&mem);
  cr_assert_eq(
      tinker_datum_new_supervised(&d, tokens, weights, 4, &memory, NULL), 0);
  cr_assert_eq(tinker_datum_sha256(NULL, out), TINKER_EINVAL);
  cr_assert_eq(tinker_datum_sha256(d, NULL), TINKER_EINVAL);
  uint64_t before = atomic_load(&mem.count), n = 0;
  int rc;
  do {
    atomic_store(&mem.fail_at, atomic_load(&mem.count) + ++n);
    rc = tinker_datum_sha256(d, out);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM);
    cr_assert(rc == 0 || !memcmp(out, was, sizeof out));
  } while (rc);
  cr_assert_gt(atomic_load(&mem.count), before);
  cr_assert_gt(n, 1u);
  tinker_datum_release(d);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0u);
}
