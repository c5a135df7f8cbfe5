/* reason: see reason.h. Any thread. */
#include "base/reason.h"

#include <inttypes.h>
#include <string.h>

#include "base/options.h"

#define WHY_MAX 200

static bool is_code(int code) {
  return code < 0 && strcmp(tinker_code_name(code), "TINKER_UNKNOWN") != 0;
}

typedef struct range_s {
  const char *name;
  int64_t value, most;
} range_t;

static int check_ranges(const tinker_reason_t *r, char *why, size_t why_len) {
  const range_t ranges[] = {
      {"category", r->category, TINKER_CATEGORY_SERVER},
      {"retry_after_ms", r->retry_after_ms, INT64_MAX},
      {"http_status", r->http_status, 999},
      {"retriable", r->retriable, 1},
      {"fatal", r->fatal, 1},
      {"outcome_unknown", r->outcome_unknown, 1},
      {"needs_recovery", r->needs_recovery, 1},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
    const range_t *q = &ranges[i];
    if (q->value >= 0 && q->value <= q->most) continue;
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "reason.%s is %" PRId64 ": want 0 to %" PRId64, q->name,
                       q->value, q->most);
  }
  return 0;
}

static int check(const tinker_reason_t *r, char *why, size_t why_len) {
  if (!is_code(r->code)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "reason.code is %" PRId32 ": want one below 0 of "
                       "tinker_code_t",
                       r->code);
  }
  if (r->reserved0) {
    return tinker__why(why, why_len, TINKER_ENOTSUP,
                       "reason.reserved0 is %" PRId32 ": want 0", r->reserved0);
  }
  return check_ranges(r, why, why_len);
}

static unsigned advice_of(const tinker_reason_t *r) {
  return (r->retriable ? TINKER__ADVICE_RETRIABLE : 0u) |
         (r->fatal ? TINKER__ADVICE_FATAL : 0u) |
         (r->outcome_unknown ? TINKER__ADVICE_UNKNOWN : 0u) |
         (r->needs_recovery ? TINKER__ADVICE_RECOVER : 0u);
}

int tinker__reason_take(tinker__error_spec_t *spec, const char **message,
                        const tinker_reason_t *given, char *why,
                        size_t why_len) {
  static const tinker_reason_t defaults = TINKER_REASON_INIT;
  tinker_reason_t r;
  if (!given) {
    return tinker__why(why, why_len, TINKER_EINVAL, "reason is NULL");
  }
  int rc = tinker__options_take(&r, sizeof r, &defaults, given, "reason", why,
                                why_len);
  if (!rc) rc = check(&r, why, why_len);
  if (rc) return rc;
  *spec = (tinker__error_spec_t){
      .code = r.code,
      .http_status = r.http_status,
      .category = (tinker_category_t)r.category,
      .advice = advice_of(&r),
      .retry_after_ms = r.retry_after_ms,
      .request_id = r.request_id,
  };
  *message = r.message && r.message[0] ? r.message : tinker_code_text(r.code);
  return 0;
}

int tinker_error_make(const tinker_reason_t *reason, tinker_error_t **error) {
  tinker__error_spec_t spec;
  const char *message = NULL;
  char why[WHY_MAX];
  int rc = tinker__reason_take(&spec, &message, reason, why, sizeof why);
  if (rc) return tinker__error_give(error, rc, "%s", why);
  if (error) *error = tinker__error_own(&spec, "%s", message);
  return spec.code;
}
