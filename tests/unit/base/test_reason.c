/* The errors that a program makes. */
#include "base/reason.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static tinker_reason_t of(int code) {
  tinker_reason_t r = TINKER_REASON_INIT;
  r.code = code;
  return r;
}

static tinker_error_t *make(const tinker_reason_t *r, int code) {
  tinker_error_t *e = NULL;
  cr_assert_eq(tinker_error_make(r, &e), code);
  cr_assert_eq(tinker_error_code(e), code);
  cr_assert_eq(tinker_error_make(r, NULL), code);
  return e;
}

static void says(const tinker_reason_t *r, int code, const char *words) {
  tinker_error_t *e = make(r, code);
  cr_assert_str_eq(tinker_error_message(e), words);
  tinker_error_release(e);
}

Test(reason, all_of_it) {
  char message[] = "step 7 is \"open\"", id[] = "r-1";
  tinker_reason_t r = of(TINKER_ESTATE);
  r.message = message;
  r.request_id = id;
  r.category = TINKER_CATEGORY_USER;
  r.http_status = 409;
  r.retry_after_ms = INT64_MAX;
  r.fatal = r.outcome_unknown = 1;
  tinker_error_t *e = make(&r, TINKER_ESTATE);
  message[0] = id[0] = 'x'; /* they are copied */
  cr_assert_str_eq(tinker_error_message(e), "step 7 is \"open\"");
  cr_assert_str_eq(tinker_error_request_id(e), "r-1");
  cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_USER);
  cr_assert_eq(tinker_error_http_status(e), 409);
  cr_assert_eq(tinker_error_retry_after_ms(e), INT64_MAX);
  cr_assert(tinker_error_is_fatal(e) && tinker_error_outcome_is_unknown(e));
  cr_assert(!tinker_error_is_retriable(e) && !tinker_error_needs_recovery(e));
  tinker_error_release(e);
  r = of(TINKER_EIO);
  r.retriable = r.needs_recovery = 1;
  e = make(&r, TINKER_EIO);
  cr_assert(!tinker_error_is_fatal(e) && !tinker_error_outcome_is_unknown(e));
  cr_assert(tinker_error_is_retriable(e) && tinker_error_needs_recovery(e));
  tinker_error_release(e);
}

Test(reason, nothing_but_a_code) {
  tinker_reason_t r = of(TINKER_EAGAIN);
  says(&r, TINKER_EAGAIN, "not ready yet");
  r.message = "";
  says(&r, TINKER_EAGAIN, "not ready yet");
  tinker_error_t *e = make(&r, TINKER_EAGAIN);
  cr_assert_str_eq(tinker_error_request_id(e), "");
  tinker_error_release(e);
}

/* Every code of the map is one. */
Test(reason, all_codes) {
#define MADE(name, number, text)                                               \
  do {                                                                         \
    tinker_reason_t r = of(number);                                            \
    says(&r, number, text);                                                    \
  } while (0);
  TINKER_ERROR_MAP(MADE)
#undef MADE
}

Test(reason, what_is_wrong_is_said) {
  tinker_reason_t r = of(0);
  says(NULL, TINKER_EINVAL, "reason is NULL");
  says(&r, TINKER_EINVAL,
       "reason.code is 0: want one below 0 of tinker_code_t");
  r.code = -49;
  says(&r, TINKER_EINVAL,
       "reason.code is -49: want one below 0 of tinker_code_t");
  r = of(TINKER_EIO);
  r.reserved0 = 3;
  says(&r, TINKER_ENOTSUP, "reason.reserved0 is 3: want 0");
  r = of(TINKER_EIO);
  r.size = 0;
  says(&r, TINKER_EINVAL, "reason.size is 0: begin with tinker_reason_init()");
  struct {
    tinker_reason_t r;
    uint64_t later;
  } newer = {of(TINKER_EIO), 0};
  newer.r.size = sizeof newer;
  says(&newer.r, TINKER_EIO, "input or output failed");
  newer.later = 1;
  tinker_error_release(make(&newer.r, TINKER_ENOTSUP));
}

Test(reason, numbers_out_of_range) {
  tinker_reason_t r = of(TINKER_EIO);
  r.category = 3;
  says(&r, TINKER_EINVAL, "reason.category is 3: want 0 to 2");
  r = of(TINKER_EIO);
  r.http_status = 1000;
  says(&r, TINKER_EINVAL, "reason.http_status is 1000: want 0 to 999");
  r = of(TINKER_EIO);
  r.retry_after_ms = -1;
  says(&r, TINKER_EINVAL,
       "reason.retry_after_ms is -1: want 0 to 9223372036854775807");
  size_t flags[] = {offsetof(tinker_reason_t, retriable),
                    offsetof(tinker_reason_t, fatal),
                    offsetof(tinker_reason_t, outcome_unknown),
                    offsetof(tinker_reason_t, needs_recovery)};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    int32_t two = 2;
    r = of(TINKER_EIO);
    memcpy((char *)&r + flags[i], &two, sizeof two);
    tinker_error_release(make(&r, TINKER_EINVAL));
  }
}

/* The end of a sentence that is too long is lost, and what can't be shown is
 * escaped. */
Test(reason, long_and_strange_sentences) {
  char *text = malloc(10000);
  tinker_reason_t r = of(TINKER_EIO);
  memset(text, 'a', 9999);
  text[9999] = 0;
  r.message = text;
  tinker_error_t *e = make(&r, TINKER_EIO);
  cr_assert_eq(strlen(tinker_error_message(e)), 4095u);
  tinker_error_release(e);
  free(text);
  r.message = "%s\x1b[2J";
  e = make(&r, TINKER_EIO);
  cr_assert(!strchr(tinker_error_message(e), '\x1b'));
  cr_assert_eq(strncmp(tinker_error_message(e), "%s", 2), 0);
  tinker_error_release(e);
}
