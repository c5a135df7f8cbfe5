/* fault: what a future that failed says of the model that it was of. Any
 * thread of the run. */
#include <string.h>

#include "run/run.h"

/* Nothing is known of the service: neither healthy nor lost. */
static bool is_unknown(int code) {
  return code == TINKER_ECONNECT || code == TINKER_ETRANSPORT ||
         code == TINKER_ETLS || code == TINKER_EBILLING ||
         code == TINKER_EAUTH || code == TINKER_ETIMEDOUT ||
         code == TINKER_ECANCELED || code == TINKER_ECLOSED ||
         code == TINKER_ENOMEM || code == TINKER_ERANDOM;
}

bool tinker__rec_is_blind(const tinker_error_t *error) {
  int code = tinker_error_code(error);
  int status = tinker_error_http_status(error);
  return code == TINKER_ECONNECT || code == TINKER_ETRANSPORT ||
         code == TINKER_ETLS || code == TINKER_EBILLING ||
         code == TINKER_EAUTH || code == TINKER_EPROTO ||
         code == TINKER_EJSON || status >= 500 || status == 429 ||
         status == 408 || status == 403;
}

/* Does the error say that the remote model can't be trusted? The client gives
 * its handle up, too, where nobody has answered it for long, and then says so
 * of every later call: the model may be well, and another handle shows it. */
static bool speaks_of_model(const tinker_error_t *error) {
  int code = tinker_error_code(error);
  bool handle_only =
      code == TINKER_EFATAL && !tinker_error_outcome_is_unknown(error);
  if (tinker__rec_is_blind(error)) return false;
  return (tinker_error_needs_recovery(error) && !handle_only) ||
         code == TINKER_ESESSION || code == TINKER_ENOENT ||
         (code == TINKER_ESERVER &&
          tinker_error_category(error) != TINKER_CATEGORY_USER);
}

/* Does the service not know a request that it has given an id to? Then it has
 * lost its count of the model's calls, too, and what is sent again under an old
 * number may be a new call to it. Of a result that it only has dropped it says
 * 410. */
static bool has_lost_count(const tinker_error_t *error) {
  return tinker_error_code(error) == TINKER_ELOST &&
         tinker_error_http_status(error) == 404;
}

void tinker__rec_fault_of(tinker__rec_fault_t *f, const tinker_error_t *error) {
  int code = tinker_error_code(error);
  memset(f, 0, sizeof *f);
  f->code = code;
  tinker__why(f->why, sizeof f->why, 0, "%s", tinker_error_message(error));
  f->unknown = is_unknown(code) || tinker__rec_is_blind(error);
  f->resend = code == TINKER_ELOST && !has_lost_count(error);
  f->unsure = tinker_error_outcome_is_unknown(error) && code != TINKER_ECLOSED;
  f->model = speaks_of_model(error) || has_lost_count(error);
  f->again = tinker_error_category(error) == TINKER_CATEGORY_USER &&
             !tinker_error_outcome_is_unknown(error) && !f->model &&
             !tinker_error_is_fatal(error) && !tinker__rec_is_blind(error);
}

int tinker__rec_await(tinker_future_t *future, tinker__rec_fault_t *f) {
  int rc = tinker_future_wait(future, -1);
  if (rc == 0) return 0;
  if (tinker_future_error(future)) {
    tinker__rec_fault_of(f, tinker_future_error(future));
  } else { /* it could not be waited for */
    *f = (tinker__rec_fault_t){.code = rc, .unknown = true};
    tinker__why(f->why, sizeof f->why, 0, "%s", tinker_code_text(rc));
  }
  return rc;
}
