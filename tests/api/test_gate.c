/* What a program decides about a training step. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

typedef struct step_s {
  rig_t rig;
  tinker_trainer_t *trainer;
  tinker_datum_t **batch;
} step_t;

static void begin(step_t *s) {
  rig_init(&s->rig, NULL);
  cr_assert_eq(rig_client(&s->rig), 0);
  s->trainer = rig_trainer(&s->rig);
  s->batch = rig_batch(1, 3);
}

static void end(step_t *s) {
  rig_batch_free(s->batch, 1);
  tinker_trainer_release(s->trainer);
  rig_done(&s->rig);
}

static void reject_next(step_t *s) {
  script_expect(s->rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.status = 400, .body = "{\"detail\":\"no\"}"});
}

static int ended(tinker_future_t *f) {
  int code = tinker_future_wait(f, 1000);
  tinker_future_release(f);
  return code;
}

static int fb(step_t *s) {
  return ended(tinker_trainer_forward_backward(
      s->trainer, (tinker_datum_t *const *)s->batch, 1, NULL, NULL));
}

static int optim(step_t *s, int allow_partial) {
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  adam.allow_partial = allow_partial;
  return ended(tinker_trainer_optim_step(s->trainer, &adam, NULL));
}

/* One of two is in the sum: nothing goes on until that is accepted. */
Test(gate, accept_partial) {
  step_t s;
  begin(&s);
  cr_assert_eq(fb(&s), 0);
  reject_next(&s);
  cr_assert_eq(fb(&s), TINKER_EREJECTED);
  cr_assert_eq(optim(&s, 0), TINKER_ESTATE);
  cr_assert_eq(fb(&s), TINKER_ESTATE);
  cr_assert_eq(rig_count(&s.rig, OPTIM), 0u);
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), 0);
  cr_assert_eq(fb(&s), 0);
  cr_assert_eq(optim(&s, 0), 0);
  end(&s);
}

/* A call that is refused at once, after the acceptance, is not part of it. */
Test(gate, accept_partial_is_about_the_past) {
  step_t s;
  begin(&s);
  cr_assert_eq(fb(&s), 0);
  cr_assert_eq(
      ended(tinker_trainer_forward_backward(s.trainer, NULL, 1, NULL, NULL)),
      TINKER_EINVAL);
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), 0);
  tinker_future_t *bad =
      tinker_trainer_forward_backward(s.trainer, NULL, 1, NULL, NULL);
  rig_run(&s.rig); /* the acceptance is carried out only now */
  tinker_future_release(bad);
  cr_assert_eq(optim(&s, 0), TINKER_ESTATE);
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), 0);
  cr_assert_eq(optim(&s, 0), 0);
  end(&s);
}

Test(gate, allow_partial) {
  step_t s;
  begin(&s);
  cr_assert_eq(fb(&s), 0);
  reject_next(&s);
  cr_assert_eq(fb(&s), TINKER_EREJECTED);
  cr_assert_eq(optim(&s, 2), TINKER_EINVAL);
  cr_assert_eq(optim(&s, 1), 0);
  cr_assert_eq(fb(&s), 0); /* a new step */
  cr_assert_eq(optim(&s, 0), 0);
  end(&s);
}

Test(gate, accept_partial_codes) {
  step_t s;
  begin(&s);
  cr_assert_eq(tinker_trainer_accept_partial(NULL), TINKER_EINVAL);
  s.rig.mem.fail_at = s.rig.mem.count + 1;
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), TINKER_ENOMEM);
  s.rig.mem.fail_at = 0;
  tinker_future_release(tinker_client_close(s.rig.client, NULL));
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), TINKER_ECLOSED);
  end(&s);
}
