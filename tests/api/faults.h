/* faults: what the tests of failures share. */
#ifndef TESTS_API_FAULTS_H
#define TESTS_API_FAULTS_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define DETAIL(text) "{\"detail\":\"" text "\"}"

static inline void start(rig_t *rig, tinker_trainer_t **t) {
  rig_init(rig, NULL);
  cr_assert_eq(rig_client(rig), 0);
  *t = rig_trainer(rig);
}

static inline void end(rig_t *rig, tinker_trainer_t *t) {
  tinker_trainer_release(t);
  rig_done(rig);
}

static inline const tinker_error_t *ended(rig_t *rig, tinker_future_t *f,
                                          int code) {
  (void)rig;
  cr_assert_eq(tinker_future_wait(f, 4000000), code, "%s",
               tinker_error_message(tinker_future_error(f)));
  return tinker_future_error(f);
}

static inline int step(rig_t *rig, tinker_trainer_t *t, tinker_future_t **f) {
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), f), 0);
  int rc = tinker_future_wait(*f, 4000000);
  (void)rig;
  return rc;
}

static inline void expect_poll(rig_t *rig, script_reply_t reply) {
  script_expect(rig->script, TINKER__HTTP_POST, RETRIEVE, reply);
}

#endif
