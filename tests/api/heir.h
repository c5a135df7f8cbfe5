/* heir: a client that goes on with the session of another process, for the
 * tests of that. */
#ifndef TESTS_API_HEIR_H
#define TESTS_API_HEIR_H

#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

#define SAMPLING "api/v1/create_sampling_session"
#define FINISH "api/v1/sessions/s7/finish"
#define BEAT "api/v1/session_heartbeat"
#define SESSION "api/v1/create_session"
#define LOAD "api/v1/load_weights"
#define INFO "api/v1/get_info"

typedef struct heir_s {
  rig_t rig;
  tinker_adoption_t adopt;
  tinker_trainer_t *trainer;
} heir_t;

static inline int code_of(tinker_future_t *f) {
  int code = tinker_future_wait(f, 1000);
  tinker_future_release(f);
  return code;
}

static inline void begin(heir_t *h, int64_t incarnation) {
  rig_init(&h->rig, NULL);
  tinker_adoption_init(&h->adopt);
  h->adopt.session_id = "s7";
  h->adopt.incarnation = incarnation;
  h->rig.adopt = &h->adopt;
  h->rig.session = "s7";
  h->trainer = NULL;
}

static inline void adopt_trainer(heir_t *h, int64_t next) {
  tinker_future_t *f =
      tinker_client_adopt_trainer(h->rig.client, "s7:train:0", next, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_ADOPT_TRAINER);
  cr_assert_eq(tinker_future_get_trainer(f, &h->trainer), 0);
  tinker_future_release(f);
}

static inline void end(heir_t *h) {
  tinker_trainer_release(h->trainer);
  rig_done(&h->rig);
}

static inline bool says(const script_request_t *q, const char *words) {
  return q && strstr(q->body, words);
}

#endif
