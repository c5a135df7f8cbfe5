/* Inputs and examples that no service would take: each is refused where it is
 * made, and the sentence names the argument, with its index if it is a list. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "rig.h"

enum { TOO_MANY = 1 << 28 };

#define LONG_NAME                                                              \
  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void made(int code, tinker_error_t *e, const void *out,
                 const char *field) {
  cr_assert_null(out, "%s", field);
  cr_assert(code == TINKER_EINVAL || code == TINKER_EOVERFLOW, "%s: %s", field,
            tinker_code_name(code));
  cr_assert_eq(tinker_error_code(e), code, "%s", field);
  cr_assert(strstr(tinker_error_message(e), field), "%s: \"%s\"", field,
            tinker_error_message(e));
  tinker_error_release(e);
}

/* call: sets e. */
#define MADE(out_, field_, call_)                                              \
  do {                                                                         \
    tinker_error_t *e = NULL;                                                  \
    int rc_ = (call_);                                                         \
    made(rc_, e, (out_), (field_));                                            \
  } while (0)

static tinker_input_t *some_input(void) {
  tinker_input_t *in = NULL;
  must(!tinker_input_from_tokens(&in, (const int32_t[]){1, 2}, 2, NULL, NULL));
  return in;
}

Test(malformed, inputs) {
  static const int32_t odd[4] = {1, 2, INT32_MIN, -1};
  tinker_input_t *in = NULL;
  const tinker_allocator_t part = {0};
#define INPUT(field_, ...)                                                     \
  MADE(in, field_, tinker_input_from_tokens(__VA_ARGS__, &e))
  INPUT("out", NULL, odd, 2, NULL);
  INPUT("tokens", &in, NULL, 2, NULL);
  INPUT("n is 0", &in, odd, 0, NULL);
  INPUT("tokens[2]", &in, odd, 4, NULL);
  INPUT("tokens", &in, odd, TOO_MANY + 1, NULL);
  INPUT("allocator", &in, odd, 2, &part);
#undef INPUT
  must(!tinker_input_new(&in, NULL, NULL));
  MADE(NULL, "input", tinker_input_add_tokens(NULL, odd, 2, &e));
  MADE(NULL, "tokens", tinker_input_add_tokens(in, NULL, 2, &e));
  MADE(NULL, "n is 0", tinker_input_add_tokens(in, odd, 0, &e));
  MADE(NULL, "tokens[0]", tinker_input_add_tokens(in, odd + 3, 1, &e));
  MADE(NULL, "tokens", tinker_input_add_tokens(in, odd, SIZE_MAX, &e));
  cr_assert_eq(tinker_input_length(in), 0u);
  tinker_datum_t *d = NULL;
  MADE(d, "input is empty", tinker_datum_new(&d, in, NULL, &e));
  MADE(d, "input", tinker_datum_new(&d, NULL, NULL, &e));
  MADE(d, "out", tinker_datum_new(NULL, in, NULL, &e));
  in = tinker_input_release(in);
  in = some_input();
  MADE(d, "allocator", tinker_datum_new(&d, in, &part, &e));
  tinker_input_release(in);
}

Test(malformed, supervised) {
  static const int32_t good[3] = {1, 2, 3}, odd[3] = {1, -2, 3};
  static const float numbers[3] = {0, 1, INFINITY}, not [3] = {0, NAN, 1};
  tinker_datum_t *d = NULL;
#define MAKE(field_, ...)                                                      \
  MADE(d, field_, tinker_datum_new_supervised(__VA_ARGS__, &e))
  MAKE("out", NULL, good, NULL, 3, NULL);
  MAKE("tokens", &d, NULL, NULL, 3, NULL);
  MAKE("tokens[1]", &d, odd, NULL, 3, NULL);
  MAKE("n is 0", &d, good, NULL, 0, NULL);
  MAKE("n is 1", &d, good, NULL, 1, NULL);
  MAKE("n is", &d, good, NULL, SIZE_MAX, NULL);
  MAKE("weights[2]", &d, good, numbers, 3, NULL);
  MAKE("weights[1]", &d, good, not, 3, NULL);
  MAKE("allocator", &d, good, NULL, 3, &(const tinker_allocator_t){0});
#undef MAKE
}

Test(malformed, rollouts) {
  static const int32_t p[3] = {1, 2, 3}, s[2] = {4, 5};
  static const int32_t odd[3] = {1, 2, -3};
  static const float q[2] = {-1, -2}, not [2] = {-1, NAN};
  static const float endless[2] = {-INFINITY, -1};
  tinker_datum_t *d = NULL;
#define MAKE(field_, ...) MADE(d, field_, tinker_datum_new_rl(__VA_ARGS__, &e))
  MAKE("out", NULL, p, 3, s, q, 2, 1, NULL);
  MAKE("prompt", &d, NULL, 3, s, q, 2, 1, NULL);
  MAKE("prompt_len", &d, p, 0, s, q, 2, 1, NULL);
  MAKE("prompt[2]", &d, odd, 3, s, q, 2, 1, NULL);
  MAKE("tokens", &d, p, 3, NULL, q, 2, 1, NULL);
  MAKE("tokens[1]", &d, p, 3, odd + 1, q, 2, 1, NULL);
  MAKE("logprobs is NULL", &d, p, 3, s, NULL, 2, 1, NULL);
  MAKE("logprobs[1]", &d, p, 3, s, not, 2, 1, NULL);
  MAKE("logprobs[0]", &d, p, 3, s, endless, 2, 1, NULL);
  MAKE("n is 0", &d, p, 3, s, q, 0, 1, NULL);
  MAKE("tokens", &d, p, 3, s, q, SIZE_MAX, 1, NULL);
  MAKE("tokens", &d, p, SIZE_MAX, s, q, 2, 1, NULL);
  MAKE("advantage", &d, p, 3, s, q, 2, NAN, NULL);
  MAKE("advantage", &d, p, 3, s, q, 2, INFINITY, NULL);
  MAKE("allocator", &d, p, 3, s, q, 2, 1, &(const tinker_allocator_t){0});
#undef MAKE
}

Test(malformed, tensors) {
  static const char *const names[] = {NULL,  "",     "Weights", "a-b",
                                      "a b", "\xc3", LONG_NAME};
  static const float values[4] = {0, 1, 2, NAN};
  static const int64_t integers[4] = {0, 1, 2, 3};
  tinker_datum_t *d = NULL;
  tinker_input_t *in = some_input();
  must(!tinker_datum_new(&d, in, NULL, NULL));
  tinker_input_release(in);
  for (size_t i = 0; i < 7; i++) {
    MADE(NULL, "name", tinker_datum_set_f32(d, names[i], values, 2, 0, &e));
    MADE(NULL, "name", tinker_datum_set_i64(d, names[i], integers, 2, 0, &e));
  }
  MADE(NULL, "datum", tinker_datum_set_f32(NULL, "a", values, 2, 0, &e));
  MADE(NULL, "a is NULL", tinker_datum_set_f32(d, "a", NULL, 2, 0, &e));
  MADE(NULL, "a: rows", tinker_datum_set_f32(d, "a", values, 0, 0, &e));
  MADE(NULL, "a[3]", tinker_datum_set_f32(d, "a", values, 4, 0, &e));
  MADE(NULL, "a[3]", tinker_datum_set_f32(d, "a", values, 2, 2, &e));
  MADE(NULL, "a:", tinker_datum_set_f32(d, "a", values, SIZE_MAX, 2, &e));
  MADE(NULL, "a:", tinker_datum_set_f32(d, "a", values, 2, SIZE_MAX, &e));
  MADE(NULL, "datum", tinker_datum_set_i64(NULL, "a", integers, 2, 0, &e));
  MADE(NULL, "a is NULL", tinker_datum_set_i64(d, "a", NULL, 2, 0, &e));
  MADE(NULL, "a: rows", tinker_datum_set_i64(d, "a", integers, 0, 5, &e));
  MADE(NULL, "a:", tinker_datum_set_i64(d, "a", integers, SIZE_MAX, 0, &e));
  char name[8];
  tinker_error_t *error = NULL;
  int rc = 0;
  for (int i = 0; i < 20 && !rc; i++) {
    snprintf(name, sizeof name, "t%d", i);
    rc = tinker_datum_set_i64(d, name, integers, 2, 0, &error);
  }
  made(rc, error, NULL, name);
  tinker_datum_release(d);
}

static void not_freed(void *user) {
  (void)user;
  cr_assert_fail("what was refused is still the caller's");
}

Test(malformed, arrays_that_are_handed_over) {
  static const int32_t odd[3] = {1, 2, -3};
  static const int64_t targets[2] = {1, -1};
  static const float values[2] = {0, INFINITY};
  tinker_input_t *in = NULL, *some = some_input();
  tinker_datum_t *d = NULL;
  must(!tinker_input_new(&in, NULL, NULL));
  must(!tinker_datum_new(&d, some, NULL, NULL));
#define TAKE(field_, ...) MADE(NULL, field_, __VA_ARGS__)
  TAKE("input", tinker_input_take_tokens(NULL, odd, 2, not_freed, NULL, &e));
  TAKE("input", tinker_input_take_tokens(some, odd, 2, not_freed, NULL, &e));
  TAKE("tokens", tinker_input_take_tokens(in, NULL, 2, not_freed, NULL, &e));
  TAKE("tokens[2]", tinker_input_take_tokens(in, odd, 3, not_freed, NULL, &e));
  TAKE("n is 0", tinker_input_take_tokens(in, odd, 0, not_freed, NULL, &e));
  TAKE("free_cb", tinker_input_take_tokens(in, odd, 2, NULL, NULL, &e));
  TAKE("target_tokens[1]", tinker_datum_take_i64(d, "target_tokens", targets, 2,
                                                 0, not_freed, NULL, &e));
  TAKE("a[1]",
       tinker_datum_take_f32(d, "a", values, 2, 0, not_freed, NULL, &e));
  TAKE("free_cb", tinker_datum_take_f32(d, "a", values, 1, 0, NULL, NULL, &e));
  TAKE("name",
       tinker_datum_take_i64(d, "A", targets, 2, 0, not_freed, NULL, &e));
#undef TAKE
  tinker_datum_release(d);
  tinker_input_release(some);
  tinker_input_release(in);
}
