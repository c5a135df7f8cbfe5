/* phase: see phase.h. */
#include "prove/phase.h"

/* Where nothing stands, nothing happens. */
static const struct {
  tinker__rec_proof_action_t action;
  tinker__rec_proof_phase_t to;
} table[4][4] = {
#define ON(from, event, act, to)                                               \
  [TINKER__REC_PHASE_##from][TINKER__REC_EVENT_##event] = {                    \
      TINKER__REC_ACTION_##act, TINKER__REC_PHASE_##to}
    ON(MADE, BEGIN, LOAD, LOADING),  ON(MADE, GONE, CANCEL, OVER),
    ON(LOADING, WELL, ASK, ASKING),  ON(LOADING, BADLY, FAIL, OVER),
    ON(LOADING, GONE, CANCEL, OVER), ON(ASKING, WELL, JUDGE, OVER),
    ON(ASKING, BADLY, FAIL, OVER),   ON(ASKING, GONE, CANCEL, OVER),
#undef ON
};

tinker__rec_proof_action_t
tinker__rec_proof_move(tinker__rec_proof_phase_t *phase,
                       tinker__rec_proof_event_t event) {
  tinker__rec_proof_action_t action = table[*phase][event].action;
  if (action != TINKER__REC_ACTION_NONE) *phase = table[*phase][event].to;
  return action;
}
