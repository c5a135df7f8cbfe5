/* A client with nothing to do wakes up for its heartbeats and for nothing else:
 * every turn of its loop is counted over an hour of virtual time. */
#include <criterion/criterion.h>

#include "rig.h"

#define BEAT "api/v1/session_heartbeat"
enum { PERIOD_MS = 10000, HOUR = 3600000 / PERIOD_MS };

/* Goes on to the next heartbeat and stops right after it. */
static void to_next_beat(rig_t *rig) {
  size_t beats = rig_count(rig, BEAT);
  while (rig_count(rig, BEAT) == beats) {
    cr_assert(fake_loop_next(&rig->loop));
  }
  fake_loop_advance(&rig->loop, 1); /* its reply */
}

Test(idle, nothing_happens_between_heartbeats) {
  rig_t rig;
  rig_init(&rig, NULL);
  must(rig_client(&rig) == 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  to_next_beat(&rig);
  size_t beats = rig_count(&rig, BEAT), sent = script_count(rig.script);
  size_t turns = rig.loop.turns;
  for (size_t i = 1; i <= HOUR; i++) {
    fake_loop_advance(&rig.loop, PERIOD_MS - 2);
    cr_assert_eq(rig.loop.turns, turns, "before beat %zu", i);
    fake_loop_advance(&rig.loop, 2);
    cr_assert(rig.loop.turns > turns);
    turns = rig.loop.turns;
    cr_assert_eq(rig_count(&rig, BEAT) - beats, i);
  }
  cr_assert_eq(script_count(rig.script) - sent, HOUR); /* and no request else */
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* Before it has a session it has no reason to wake up at all. */
Test(idle, a_client_without_a_session_does_nothing) {
  rig_t rig;
  rig_init(&rig, NULL);
  must(rig_client(&rig) == 0);
  rig_run(&rig);
  size_t turns = rig.loop.turns;
  fake_loop_advance(&rig.loop, 3600000);
  cr_assert_eq(rig.loop.turns, turns);
  cr_assert_eq(script_count(rig.script), 0);
  rig_done(&rig);
}
