/* rest: what the tests of runs, checkpoints and sessions share. */
#ifndef TESTS_API_REST_H
#define TESTS_API_REST_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define RUN "dba3e2f5-1c5f-5c76-90b1-13b4f3901cde:train:0"
#define PATH "tinker://" RUN "/weights/step-1"
#define RUNS "api/v1/training_runs"
#define CHECKPOINT RUNS "/" RUN "/checkpoints/weights/step-1"
#define DETAIL(text) "{\"detail\":\"" text "\"}"

static rig_t rig;

static inline void begin(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
}

/* No call of this file needs a session. */
static inline void end(void) {
  cr_assert_eq(rig_count(&rig, "api/v1/create_session"), 0u);
  cr_assert_eq(script_unused(rig.script), 0u);
  rig_done(&rig);
}

static inline void expect(tinker__http_method_t method, const char *path,
                          script_reply_t reply) {
  script_expect(rig.script, method, path, reply);
}

static inline void expect_get(const char *path, const char *body) {
  expect(TINKER__HTTP_GET, path, (script_reply_t){.body = body});
}

/* The future of a call that ends well. */
static inline tinker_future_t *well(tinker_future_t *f, tinker_kind_t kind) {
  int code = tinker_future_wait(f, 1000000);
  cr_assert_eq(code, 0, "%s", tinker_error_message(tinker_future_error(f)));
  cr_assert_eq(tinker_future_kind(f), kind);
  return f;
}

/* How a call fails. */
static inline tinker_future_t *badly(tinker_future_t *f, int code) {
  cr_assert_eq(tinker_future_wait(f, 1000000), code, "%s",
               tinker_error_message(tinker_future_error(f)));
  return f;
}

static inline bool says(const tinker_future_t *f, const char *words) {
  return strstr(tinker_error_message(tinker_future_error(f)), words) != NULL;
}

/* Ways in which a reply may be missing, after each of which a second request is
 * sent. done: it may have been carried out. */
static const struct {
  script_reply_t reply;
  bool done;
} losses[] = {
    {{.error = TINKER_ETRANSPORT, .sent = true}, true},
    {{.error = TINKER_ETIMEDOUT, .sent = true}, true},
    {{.status = 500, .body = DETAIL("x")}, true},
    {{.status = 503, .body = DETAIL("x")}, true},
    {{.status = 408, .body = DETAIL("x")}, true},
    {{.status = 404, .content_type = "text/html", .body = "<p>portal"}, true},
    {{.error = TINKER_ECONNECT}, false},
    {{.status = 429, .body = DETAIL("x")}, false},
    {{.status = 425, .body = DETAIL("pending"), .retry_after_ms = 500}, false},
};
#define LOSSES (sizeof losses / sizeof *losses)

#endif
