/* The journal where a program turns the client on its own uv loop, and what it
 * hears of a training step. */
#include <uv.h>

#include "journal.h"

/* --- on a uv loop --- */

typedef struct on_uv_s {
  journal_t j; /* first: the seams' user */
  uv_loop_t loop;
  pthread_t thread;
  bool running; /* the test is in uv_run */
  uint64_t ticket;
} on_uv_t;

static void check_inside(const on_uv_t *u) {
  must(u->running && pthread_equal(u->thread, pthread_self()));
}

static void uv_intent(void *user, const tinker_intent_t *intent) {
  check_inside(user);
  on_intent(user, intent);
}

static void uv_withdrawn(void *user, uint64_t ticket) {
  check_inside(user);
  on_withdrawn(user, ticket);
}

static void uv_accepted(void *user, uint64_t ticket, size_t request,
                        const char *request_id) {
  check_inside(user);
  on_accepted(user, ticket, request, request_id);
}

static void uv_ended(void *user, uint64_t ticket, size_t request,
                     const tinker_outcome_t *o) {
  check_inside(user);
  on_ended(user, ticket, request, o);
}

static int uv_fence(void *user, const char *model_id, char *why,
                    size_t why_len) {
  check_inside(user);
  return on_fence(user, model_id, why, why_len);
}

/* Holds the question for the test's thread. */
static void uv_gate(void *user, const tinker_gate_question_t *question) {
  on_uv_t *u = user;
  check_inside(u);
  hear(&u->j, " gate");
  u->ticket = question->ticket;
}

static void on_uv(journal_t *j) {
  on_uv_t *u = (on_uv_t *)(void *)j;
  must(uv_loop_init(&u->loop) == 0);
  u->thread = pthread_self();
  rig_init_uv(&j->rig, &u->loop);
  j->seams.intent = uv_intent;
  j->seams.withdrawn = uv_withdrawn;
  j->seams.accepted = uv_accepted;
  j->seams.ended = uv_ended;
  j->seams.fence = uv_fence;
  j->seams.gate = uv_gate;
}

/* Until nothing keeps the loop going, or for one turn. */
static void run(on_uv_t *u, uv_run_mode mode) {
  u->running = true;
  uv_run(&u->loop, mode);
  u->running = false;
}

static void *answer_go(void *user) {
  on_uv_t *u = user;
  must(tinker_admission_answer(u->j.rig.client, u->j.kept[0], TINKER_VERDICT_GO,
                               NULL) == 0);
  return NULL;
}

static void *gate_go(void *user) {
  on_uv_t *u = user;
  must(tinker_gate_answer(u->j.rig.client, u->ticket, TINKER_GATE_GO, NULL) ==
       0);
  return NULL;
}

/* Another thread answers while the loop sleeps, or before: it wakes it. */
static void answered(on_uv_t *u, void *(*answer)(void *user),
                     tinker_future_t *f) {
  pthread_t thread;
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  cr_assert_eq(pthread_create(&thread, NULL, answer, u), 0);
  run(u, UV_RUN_DEFAULT);
  cr_assert_eq(pthread_join(thread, NULL), 0);
  cr_assert_eq(tinker_future_status(f), 0);
  tinker_future_release(f);
}

static void end_uv(on_uv_t *u) {
  tinker_trainer_release(u->j.trainer);
  u->j.rig.client = tinker_client_release(u->j.rig.client);
  run(u, UV_RUN_DEFAULT);
  cr_assert_eq(uv_loop_close(&u->loop), 0);
  rig_done(&u->j.rig);
}

/* Everything is heard inside uv_run, on its thread, and nothing outside; an
 * answer from another thread lets the mutation go. */
Test(hook, borrowed_mode) {
  static on_uv_t u;
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "tiny";
  open_journal(&u.j, on_uv);
  tinker_future_t *f = tinker_client_create_trainer(u.j.rig.client, &o, NULL);
  heard(&u.j, "");
  run(&u, UV_RUN_DEFAULT);
  heard(&u.j, "create_session? =0 create_trainer? +0:create_model-9999-0 =0");
  cr_assert_eq(tinker_future_get_trainer(f, &u.j.trainer), 0);
  tinker_future_release(f);
  u.j.keep = true;
  f = forward(&u.j, 1);
  while (u.j.kept_count == 0) run(&u, UV_RUN_ONCE);
  u.j.keep = false;
  heard(&u.j, "forward_backward?1");
  answered(&u, answer_go, f);
  heard(&u.j, "+0:forward_backward-1-1 =0");
  f = tinker_trainer_optim_step(u.j.trainer, NULL, NULL);
  while (u.ticket == 0) run(&u, UV_RUN_ONCE);
  heard(&u.j, "gate");
  answered(&u, gate_go, f);
  heard(&u.j, "optim_step?2 +0:optim_step-2-0 =0");
  u.j.fenced = "no lease";
  f = tinker_trainer_save_state(u.j.trainer, "a", NULL, NULL);
  run(&u, UV_RUN_DEFAULT);
  cr_assert_eq(tinker_future_status(f), TINKER_ESTATE);
  tinker_future_release(f);
  heard(&u.j, "save_state?3 |s1:train:0 -");
  u.j.fenced = NULL;
  f = tinker_client_close(u.j.rig.client, NULL);
  heard(&u.j, "");
  run(&u, UV_RUN_DEFAULT);
  cr_assert_eq(tinker_future_status(f), 0);
  tinker_future_release(f);
  heard(&u.j, "finish_session? =0");
  end_uv(&u);
}

/* --- a training step --- */

static tinker_future_t *step(journal_t *j) {
  tinker_datum_t **batch = rig_batch(1, 3);
  tinker_future_t *f = tinker_trainer_step(
      j->trainer, (tinker_datum_t *const *)batch, 1, NULL, NULL, NULL);
  rig_batch_free(batch, 1);
  return f;
}

/* It is two mutations, the second asked about when the first has been taken. */
Test(hook, a_training_step) {
  journal_t j;
  begin(&j);
  cr_assert_eq(code_of(step(&j)), 0);
  heard(&j, "forward_backward?1 +0:forward_backward-1-1 optim_step?2 =0 "
            "+0:optim_step-2-0 =0");
  end(&j);
}

/* A veto of the first is one of both. */
Test(hook, a_veto_of_the_first_half) {
  journal_t j;
  begin(&j);
  j.refuse = "forward_backward";
  fails(step(&j), TINKER_ESTATE, "the journal refused it: the disk is full");
  heard(&j, "forward_backward?1 -");
  j.refuse = NULL;
  cr_assert_eq(code_of(step(&j)), 0);
  heard(&j, "forward_backward?1 +0:forward_backward-1-1 optim_step?2 =0 "
            "+0:optim_step-2-0 =0");
  cr_assert_eq(rig_count(&j.rig, FB), 1u);
  end(&j);
}

/* A veto of the second leaves the first summed, and the error says so; another
 * optim_step takes its number and the sum. */
Test(hook, a_veto_of_the_second_half) {
  journal_t j;
  begin(&j);
  j.refuse = "optim_step";
  tinker_future_t *f = step(&j);
  cr_assert_eq(tinker_future_wait(f, 1000), TINKER_ESTATE);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  fails(f, TINKER_ESTATE, "its forward_backward was carried out");
  heard(&j, "forward_backward?1 +0:forward_backward-1-1 optim_step?2 =0 -");
  j.refuse = NULL;
  cr_assert_eq(code_of(tinker_trainer_optim_step(j.trainer, NULL, NULL)), 0);
  heard(&j, "optim_step?2 +0:optim_step-2-0 =0");
  end(&j);
}

/* Canceled while the first is asked about, neither goes; while the second is,
 * both do, and the journal hears their results although nobody waits. */
Test(hook, a_canceled_training_step) {
  for (int second = 0; second < 2; second++) {
    journal_t j;
    begin(&j);
    j.keep = true;
    tinker_future_t *f = step(&j);
    rig_run(&j.rig);
    if (second) {
      must(tinker_admission_answer(j.rig.client, j.kept[0], TINKER_VERDICT_GO,
                                   NULL) == 0);
      rig_run(&j.rig);
      heard(&j, "forward_backward?1 +0:forward_backward-1-1 optim_step?2 =0");
    }
    tinker_future_cancel(f);
    cr_assert_eq(code_of(f), TINKER_ECANCELED);
    int rc = tinker_admission_answer(j.rig.client, j.kept[second],
                                     TINKER_VERDICT_GO, NULL);
    cr_assert_eq(rc, second ? 0 : TINKER_ENOENT);
    rig_run(&j.rig);
    heard(&j, second ? "+0:optim_step-2-0 =0" : "forward_backward?1 -");
    cr_assert_eq(rig_count(&j.rig, FB), second ? 1u : 0u);
    cr_assert_eq(rig_count(&j.rig, OPTIM), second ? 1u : 0u);
    end(&j);
  }
}
