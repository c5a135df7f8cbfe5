/* The state of a trainer's sum of gradients, see sum.h. */
#include "flow/sum.h"

#define WHOLE TINKER__SUM_WHOLE
#define OVERDUE TINKER__SUM_OVERDUE
#define SPOILED TINKER__SUM_SPOILED
#define DIRTY TINKER__SUM_DIRTY

/* States by events; the first one if the sum is empty then. An empty sum can't
 * be OVERDUE or DIRTY, and one that is not empty can't be SPOILED. */
/* clang-format off */
static const tinker__sum_state_t
    moves[TINKER__SUM_STATES][TINKER__SUM_EVENTS][2] = {
  [WHOLE] = {
    [TINKER__SUM_ADDED] = {WHOLE, WHOLE},
    [TINKER__SUM_BACK] = {SPOILED, DIRTY},
    [TINKER__SUM_LACKS] = {SPOILED, DIRTY},
    [TINKER__SUM_STEPPED] = {WHOLE, WHOLE},
    [TINKER__SUM_MISSED] = {WHOLE, OVERDUE},
    [TINKER__SUM_REJECTED] = {WHOLE, DIRTY},
    [TINKER__SUM_ACCEPTED] = {WHOLE, WHOLE},
  },
  [OVERDUE] = {
    [TINKER__SUM_ADDED] = {WHOLE, OVERDUE},
    [TINKER__SUM_BACK] = {SPOILED, DIRTY},
    [TINKER__SUM_LACKS] = {SPOILED, DIRTY},
    [TINKER__SUM_STEPPED] = {WHOLE, WHOLE},
    [TINKER__SUM_MISSED] = {WHOLE, OVERDUE},
    [TINKER__SUM_REJECTED] = {WHOLE, DIRTY},
    [TINKER__SUM_ACCEPTED] = {WHOLE, WHOLE},
  },
  [SPOILED] = {
    [TINKER__SUM_ADDED] = {SPOILED, DIRTY},
    [TINKER__SUM_BACK] = {SPOILED, DIRTY},
    [TINKER__SUM_LACKS] = {SPOILED, DIRTY},
    [TINKER__SUM_STEPPED] = {WHOLE, WHOLE},
    [TINKER__SUM_MISSED] = {WHOLE, DIRTY},
    [TINKER__SUM_REJECTED] = {WHOLE, DIRTY},
    [TINKER__SUM_ACCEPTED] = {WHOLE, WHOLE},
  },
  [DIRTY] = {
    [TINKER__SUM_ADDED] = {SPOILED, DIRTY},
    [TINKER__SUM_BACK] = {SPOILED, DIRTY},
    [TINKER__SUM_LACKS] = {SPOILED, DIRTY},
    [TINKER__SUM_STEPPED] = {WHOLE, WHOLE},
    [TINKER__SUM_MISSED] = {WHOLE, DIRTY},
    [TINKER__SUM_REJECTED] = {WHOLE, DIRTY},
    [TINKER__SUM_ACCEPTED] = {WHOLE, WHOLE},
  },
};
/* clang-format on */

void tinker__sum_on(tinker__sum_t *sum, tinker__sum_event_t event) {
  if (event == TINKER__SUM_ADDED) {
    sum->parts++;
  } else if (event == TINKER__SUM_BACK) {
    sum->parts--;
  } else if (event == TINKER__SUM_STEPPED) {
    sum->parts = 0;
  }
  sum->state = moves[sum->state][event][sum->parts > 0];
}

const char *tinker__sum_state_name(tinker__sum_state_t state) {
  static const char *const names[TINKER__SUM_STATES] = {"whole", "overdue",
                                                        "spoiled", "dirty"};
  return names[state];
}

/* MISSED then LACKS leads where LACKS alone leads, and so does LACKS after a
 * whole step that failed. */
tinker__before_t tinker__before_on(tinker__before_t before,
                                   tinker__sum_event_t event) {
  if (event == TINKER__SUM_LACKS) return TINKER__BEFORE_LACKS;
  return before == TINKER__BEFORE_NOTHING || before == TINKER__BEFORE_MISSED
             ? TINKER__BEFORE_MISSED
             : TINKER__BEFORE_BOTH;
}

tinker__before_t tinker__before_then(tinker__before_t before,
                                     tinker__before_t then) {
  if (then == TINKER__BEFORE_LACKS || then == TINKER__BEFORE_BOTH) {
    before = tinker__before_on(before, TINKER__SUM_LACKS);
  }
  if (then == TINKER__BEFORE_MISSED || then == TINKER__BEFORE_BOTH) {
    before = tinker__before_on(before, TINKER__SUM_MISSED);
  }
  return before;
}

void tinker__before_run(tinker__before_t before, tinker__sum_t *sum) {
  if (before == TINKER__BEFORE_LACKS || before == TINKER__BEFORE_BOTH) {
    tinker__sum_on(sum, TINKER__SUM_LACKS);
  }
  if (before == TINKER__BEFORE_MISSED || before == TINKER__BEFORE_BOTH) {
    tinker__sum_on(sum, TINKER__SUM_MISSED);
  }
}
