/* attach: what the error of a call says of its model. */
#include <criterion/criterion.h>
#include <tinker/tinker.h>

#include "run/run.h"

static tinker__rec_fault_t fault_of(int code, int status) {
  tinker__rec_fault_t f;
  tinker_error_t *error = NULL;
  tinker_reason_t reason = TINKER_REASON_INIT;
  reason.code = code;
  reason.http_status = status;
  reason.category = TINKER_CATEGORY_SERVER;
  reason.outcome_unknown = 1;
  cr_assert_eq(tinker_error_make(&reason, &error), code);
  tinker__rec_fault_of(&f, error);
  tinker_error_release(error);
  return f;
}

/* A result that the service has dropped can be had by the same number; where it
 * does not know its own id of a request, the number may be new to it. */
Test(attach, a_lost_result_or_a_lost_count) {
  tinker__rec_fault_t dropped = fault_of(TINKER_ELOST, 410);
  cr_assert(dropped.resend && !dropped.model);
  tinker__rec_fault_t forgotten = fault_of(TINKER_ELOST, 404);
  cr_assert(!forgotten.resend && forgotten.model);
}
