/* What a program decides about a training step. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

typedef struct step_s {
  rig_t rig;
  tinker_seams_t seams;
  uint64_t ticket; /* of the last question */
  int asked;
  tinker_gate_verdict_t verdict;
  bool now; /* it is answered inside, after a save that goes ahead */
  tinker_future_t *save;
  tinker_trainer_t *trainer;
  tinker_datum_t **batch;
} step_t;

static void on_gate(void *user, const tinker_gate_question_t *question) {
  step_t *s = user;
  must(!strcmp(question->model_id, "s1:train:0"));
  s->ticket = question->ticket;
  s->asked++;
  if (!s->now) return;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.ahead = 1;
  s->save = tinker_trainer_save_state(s->trainer, "a", NULL, &call);
  must(tinker_gate_answer(s->rig.client, s->ticket, s->verdict, "too high") ==
       0);
}

static void begin(step_t *s, bool gate) {
  *s = (step_t){.seams = TINKER_SEAMS_INIT};
  rig_init(&s->rig, NULL);
  s->seams.user = s;
  if (gate) s->seams.gate = on_gate;
  s->rig.seams = &s->seams;
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
  begin(&s, false);
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
  begin(&s, false);
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
  begin(&s, false);
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
  begin(&s, false);
  cr_assert_eq(tinker_trainer_accept_partial(NULL), TINKER_EINVAL);
  s.rig.mem.fail_at = s.rig.mem.count + 1;
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), TINKER_ENOMEM);
  s.rig.mem.fail_at = 0;
  tinker_future_release(tinker_client_close(s.rig.client, NULL));
  cr_assert_eq(tinker_trainer_accept_partial(s.trainer), TINKER_ECLOSED);
  end(&s);
}

/* --- the gate --- */

static tinker_future_t *start_optim(step_t *s) {
  return tinker_trainer_optim_step(s->trainer, NULL, NULL);
}

static int give(step_t *s, tinker_gate_verdict_t verdict) {
  return tinker_gate_answer(s->rig.client, s->ticket, verdict, "too high");
}

/* It is asked when all results before the step are there, and the step is held
 * as long as there is no answer; calls behind it wait, too. */
Test(gate, holds_and_goes) {
  step_t s;
  begin(&s, true);
  script_expect(
      s.rig.script, TINKER__HTTP_POST, RETRIEVE,
      (script_reply_t){.delay_ms = 500, .body = "{\"type\":\"try_again\"}"});
  tinker_future_t *f = tinker_trainer_forward_backward(
      s.trainer, (tinker_datum_t *const *)s.batch, 1, NULL, NULL);
  tinker_future_t *g = start_optim(&s), *h = start_optim(&s);
  rig_run(&s.rig);
  cr_assert_eq(s.asked, 0); /* the loss is not known yet */
  cr_assert_eq(ended(f), 0);
  rig_run(&s.rig);
  cr_assert(s.asked == 1 && rig_count(&s.rig, OPTIM) == 0);
  fake_loop_advance(&s.rig.loop, 60000);
  cr_assert(s.asked == 1 && rig_count(&s.rig, OPTIM) == 0);
  cr_assert_eq(give(&s, TINKER_GATE_GO), 0);
  cr_assert_eq(give(&s, TINKER_GATE_GO), TINKER_ENOENT);
  cr_assert_eq(ended(g), 0);
  rig_run(&s.rig);
  cr_assert_eq(s.asked, 2);
  cr_assert_eq(give(&s, TINKER_GATE_GO), 0);
  cr_assert_eq(ended(h), 0);
  end(&s);
}

/* What the verdict submits goes first. */
Test(gate, a_save_goes_ahead) {
  step_t s;
  begin(&s, true);
  s.now = true;
  cr_assert_eq(fb(&s), 0);
  tinker_future_t *g = start_optim(&s);
  tinker_future_t *h = tinker_trainer_save_state(s.trainer, "b", NULL, NULL);
  cr_assert_eq(ended(g), 0);
  cr_assert_eq(ended(h), 0);
  cr_assert_eq(ended(s.save), 0);
  cr_assert_eq(rig_seq(rig_request(&s.rig, SAVE, 0)), 2);
  cr_assert_eq(rig_seq(rig_request(&s.rig, OPTIM, 0)), 3);
  cr_assert_eq(rig_seq(rig_request(&s.rig, SAVE, 1)), 4);
  end(&s);
}

static void fails(tinker_future_t *f, const char *words) {
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_ESTATE);
  const char *text = tinker_error_message(tinker_future_error(f));
  cr_assert(strstr(text, words), "%s", text);
  tinker_future_release(f);
}

/* One step ends and its gradients are still summed: that trainer is dirty. */
Test(gate, ends_one) {
  step_t s;
  begin(&s, true);
  cr_assert_eq(fb(&s), 0);
  tinker_future_t *g = start_optim(&s);
  tinker_future_t *h = tinker_trainer_save_state(s.trainer, "b", NULL, NULL);
  rig_run(&s.rig);
  cr_assert_eq(give(&s, TINKER_GATE_END), 0);
  fails(g, "optim_step was not sent: the gate has ended it: too high");
  cr_assert_eq(ended(h), 0);
  cr_assert_eq(rig_seq(rig_request(&s.rig, SAVE, 0)), 2);
  cr_assert_eq(fb(&s), TINKER_ESTATE);
  end(&s);
}

Test(gate, ends_all) {
  step_t s;
  begin(&s, true);
  tinker_future_t *g = start_optim(&s);
  tinker_future_t *h = tinker_trainer_save_state(s.trainer, "b", NULL, NULL);
  rig_run(&s.rig);
  cr_assert_eq(give(&s, TINKER_GATE_END_ALL), 0);
  fails(g, "too high");
  fails(h, "too high");
  cr_assert_eq(rig_count(&s.rig, SAVE), 0u);
  end(&s);
}

/* Its operation has ended meanwhile: an answer changes nothing, and without one
 * nothing is left. */
Test(gate, canceled_while_it_is_held) {
  step_t s;
  begin(&s, true);
  for (int answered = 0; answered < 2; answered++) {
    tinker_future_t *g = start_optim(&s);
    rig_run(&s.rig);
    tinker_future_cancel(g);
    cr_assert_eq(ended(g), TINKER_ECANCELED);
    if (answered) cr_assert_eq(give(&s, TINKER_GATE_GO), 0);
    rig_run(&s.rig);
  }
  cr_assert_eq(rig_count(&s.rig, OPTIM), 0u);
  end(&s);
}

/* Only what has a place in a trainer's queue can go ahead. */
Test(gate, ahead_is_refused_elsewhere) {
  step_t s;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  begin(&s, false);
  call.ahead = 1;
  cr_assert_eq(ended(tinker_trainer_get_info(s.trainer, &call)), TINKER_EINVAL);
  cr_assert_eq(ended(tinker_client_create_sampler(s.rig.client, "m", &call)),
               TINKER_EINVAL);
  call.ahead = 2;
  cr_assert_eq(ended(tinker_trainer_save_state(s.trainer, "a", NULL, &call)),
               TINKER_EINVAL);
  end(&s);
}
