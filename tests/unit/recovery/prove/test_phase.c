/* The table of a proof. */
#include <criterion/criterion.h>

#include "prove/phase.h"

#define PHASE(name) TINKER__REC_PHASE_##name
#define EVENT(name) TINKER__REC_EVENT_##name
#define ACTION(name) TINKER__REC_ACTION_##name

/* Everything that can happen, and what comes of it; whatever is not in the list
 * changes nothing. */
Test(prove_phase, every_event_in_every_phase) {
  static const struct {
    tinker__rec_proof_phase_t from;
    tinker__rec_proof_event_t event;
    tinker__rec_proof_action_t action;
    tinker__rec_proof_phase_t to;
  } moves[] = {
      {PHASE(MADE), EVENT(BEGIN), ACTION(LOAD), PHASE(LOADING)},
      {PHASE(MADE), EVENT(GONE), ACTION(CANCEL), PHASE(OVER)},
      {PHASE(LOADING), EVENT(WELL), ACTION(ASK), PHASE(ASKING)},
      {PHASE(LOADING), EVENT(BADLY), ACTION(FAIL), PHASE(OVER)},
      {PHASE(LOADING), EVENT(GONE), ACTION(CANCEL), PHASE(OVER)},
      {PHASE(ASKING), EVENT(WELL), ACTION(JUDGE), PHASE(OVER)},
      {PHASE(ASKING), EVENT(BADLY), ACTION(FAIL), PHASE(OVER)},
      {PHASE(ASKING), EVENT(GONE), ACTION(CANCEL), PHASE(OVER)},
  };
  size_t seen = 0;
  for (int from = PHASE(MADE); from <= PHASE(OVER); from++) {
    for (int event = EVENT(BEGIN); event <= EVENT(GONE); event++) {
      tinker__rec_proof_phase_t phase = from, to = from;
      tinker__rec_proof_action_t action = ACTION(NONE);
      for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        if ((int)moves[i].from != from || (int)moves[i].event != event) {
          continue;
        }
        action = moves[i].action;
        to = moves[i].to;
        seen++;
      }
      cr_assert_eq(tinker__rec_proof_move(&phase, event), action, "%d %d", from,
                   event);
      cr_assert_eq(phase, to, "%d %d", from, event);
    }
  }
  cr_assert_eq(seen, sizeof moves / sizeof *moves);
}
