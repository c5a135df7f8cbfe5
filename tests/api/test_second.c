/* A submission that hangs goes out a second time beside the first, sooner than
 * the first is given up. */
#include "faults.h"

#define ACCEPTED(id) "{\"request_id\":\"optim_step-" id "-0\"}"

static bool same_bytes(const script_request_t *a, const script_request_t *b) {
  return a && b && a->body_len == b->body_len &&
         !memcmp(a->body, b->body, a->body_len);
}

static void submit(rig_t *rig, tinker_trainer_t *t, seen_t *seen,
                   script_reply_t first, script_reply_t second) {
  script_expect(rig->script, TINKER__HTTP_POST, OPTIM, first);
  script_expect(rig->script, TINKER__HTTP_POST, OPTIM, second);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(
                               t, NULL, CALLS_WITH(NULL, rig_seen, seen)),
                           NULL),
               0);
  rig_run(rig);
}

Test(second, it_carries_the_same_number_on_a_connection_of_its_own) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen[2] = {{0}};
  start(&rig, &t);
  submit(&rig, t, &seen[0], (script_reply_t){.delay_ms = -1},
         (script_reply_t){.body = ACCEPTED("1")});
  calls_begun(tinker_trainer_save_state(t, "a", NULL,
                                        CALLS_WITH(NULL, rig_seen, &seen[1])),
              NULL);
  fake_loop_advance(&rig.loop, 9999);
  cr_assert_eq(rig_count(&rig, OPTIM), 1u);
  fake_loop_advance(&rig.loop, 1);
  cr_assert_eq(rig_count(&rig, OPTIM), 2u);
  const script_request_t *a = rig_request(&rig, OPTIM, 0);
  const script_request_t *b = rig_request(&rig, OPTIM, 1);
  cr_assert(same_bytes(a, b) && rig_seq(b) == 1);
  cr_assert(!a->fresh && b->fresh);
  cr_assert(seen[0].calls == 1 && seen[0].status == 0);
  cr_assert(seen[1].calls == 1 && seen[1].status == 0);
  cr_assert_eq(rig_seq(rig_request(&rig, SAVE, 0)), 2);
  cr_assert_eq(script_parked(rig.script), 0u); /* the first was canceled */
  fake_loop_advance(&rig.loop, 60000);
  cr_assert_eq(rig_count(&rig, OPTIM), 2u);
  end(&rig, t);
}

Test(second, the_first_reply_counts) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen = {0};
  start(&rig, &t);
  submit(&rig, t, &seen,
         (script_reply_t){.delay_ms = 12000, .body = ACCEPTED("11")},
         (script_reply_t){.delay_ms = 5000, .body = ACCEPTED("22")});
  fake_loop_advance(&rig.loop, 20000);
  cr_assert(seen.calls == 1 && seen.status == 0);
  cr_assert(rig_polls(&rig, 11) == 1 && rig_polls(&rig, 22) == 0);
  end(&rig, t);

  seen = (seen_t){0};
  start(&rig, &t);
  submit(&rig, t, &seen,
         (script_reply_t){.delay_ms = 14000, .body = ACCEPTED("11")},
         (script_reply_t){.delay_ms = 2000, .body = ACCEPTED("22")});
  fake_loop_advance(&rig.loop, 20000);
  cr_assert(seen.calls == 1 && seen.status == 0);
  cr_assert(rig_polls(&rig, 11) == 0 && rig_polls(&rig, 22) == 1);
  end(&rig, t);
}

/* What dies on the way leaves it to the other one, in either order. */
Test(second, one_of_two_may_die) {
  static const script_reply_t dead = {
      .error = TINKER_ETRANSPORT,
      .sent = true,
      .delay_ms = 11000,
  };
  for (int round = 0; round < 2; round++) {
    script_reply_t fine = {.delay_ms = 30000, .body = ACCEPTED("1")};
    rig_t rig;
    tinker_trainer_t *t;
    seen_t seen = {0};
    start(&rig, &t);
    submit(&rig, t, &seen, round ? fine : dead, round ? dead : fine);
    fake_loop_advance(&rig.loop, 29000);
    cr_assert_eq(seen.calls, 0);
    fake_loop_advance(&rig.loop, 12000);
    cr_assert(seen.calls == 1 && seen.status == 0);
    cr_assert_eq(rig_count(&rig, OPTIM), 2u);
    end(&rig, t);
  }
}

/* Both die: then it is one failure, and a third goes out after a pause. That
 * the dead ones may have arrived is not forgotten. */
Test(second, both_may_die) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f;
  start(&rig, &t);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.delay_ms = -1}); /* 60 s */
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.error = TINKER_ECONNECT, .delay_ms = 55000});
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.status = 422, .body = DETAIL("no")});
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  const tinker_error_t *e = ended(&rig, f, TINKER_EREJECTED);
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert_eq(rig_count(&rig, OPTIM), 3u);
  cr_assert_geq(rig_request(&rig, OPTIM, 2)->at_ms -
                    rig_request(&rig, OPTIM, 1)->at_ms,
                55250);
  tinker_future_release(f);
  end(&rig, t);
}

/* A second one that the transport does not take changes nothing. */
Test(second, refused_by_the_transport) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen = {0};
  start(&rig, &t);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.delay_ms = 10001, .body = ACCEPTED("1")});
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  rig_run(&rig);
  fake_loop_advance(&rig.loop, 9999);
  script_fail_submit(rig.script, 2); /* after the heartbeat */
  fake_loop_advance(&rig.loop, 2);
  cr_assert(seen.calls == 1 && seen.status == 0);
  cr_assert_eq(rig_count(&rig, OPTIM), 1u);
  end(&rig, t);
}

/* Without a number nobody would know the copy; and what is large takes its
 * time. */
Test(second, not_without_a_number_and_later_for_what_is_large) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen[2] = {{0}};
  tinker_trainer_options_t o;
  start(&rig, &t);
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  size_t before = rig_count(&rig, CREATE);
  script_expect(rig.script, TINKER__HTTP_POST, CREATE,
                (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_client_create_trainer(
                  rig.client, &o, CALLS_WITH(NULL, rig_seen, &seen[0])),
              NULL);
  tinker_datum_t **batch = rig_batch(1, 200000); /* some 3 MB */
  script_expect(rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.delay_ms = -1});
  script_expect(rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_trainer_forward(t, batch, 1, NULL,
                                     CALLS_WITH(NULL, rig_seen, &seen[1])),
              NULL);
  fake_loop_advance(&rig.loop, 18000);
  cr_assert_eq(rig_count(&rig, FB), 1u);
  fake_loop_advance(&rig.loop, 40000);
  cr_assert_eq(rig_count(&rig, FB), 2u);
  cr_assert_eq(rig_count(&rig, CREATE), before + 1);
  fake_loop_advance(&rig.loop, 3000);
  cr_assert(seen[0].calls == 1 && seen[0].status == TINKER_ETRANSPORT);
  rig_batch_free(batch, 1);
  end(&rig, t); /* closed while both are out */
  cr_assert_eq(seen[1].status, TINKER_ECLOSED);
}

/* A sample too: its number is the sampler's. */
Test(second, of_a_sample_whose_result_is_lost_afterwards) {
  static const int32_t tokens[2] = {1, 2};
  rig_t rig;
  tinker_input_t *p = NULL;
  seen_t seen = {0};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_sampler_t *s = rig_sampler(&rig);
  cr_assert_eq(tinker_input_new(&p, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(p, tokens, 2, NULL), 0);
  script_expect(rig.script, TINKER__HTTP_POST, ASAMPLE,
                (script_reply_t){.delay_ms = -1});
  expect_poll(&rig, (script_reply_t){.status = 410, .body = DETAIL("gone")});
  calls_begun(
      tinker_sampler_sample(s, p, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  fake_loop_advance(&rig.loop, 12000);
  cr_assert(seen.calls == 1 && seen.status == 0);
  cr_assert_eq(rig_count(&rig, ASAMPLE), 3u);
  cr_assert_eq(rig_seq(rig_request(&rig, ASAMPLE, 1)), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, ASAMPLE, 2)), 1);
  tinker_input_release(p);
  tinker_sampler_release(s);
  rig_done(&rig);
}
