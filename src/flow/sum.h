/* sum: what is known of the gradients that the service has summed for the next
 * optim_step of a trainer.
 *
 * No call clears that sum but optim_step itself, so a call of the step that was
 * not carried out leaves something that must not go on by itself: an
 * optim_step after it would move the weights by a part of the step, or by
 * momentum alone, and the gradients of the next step would be added to what is
 * left of this one.
 *
 *   WHOLE    all that was asked for is in the sum.
 *   OVERDUE  so it is, but the optim_step that was to use it was not carried
 *            out: another one may, nothing may be added.
 *   SPOILED  something that was asked for is not in the sum, which is empty:
 *            the optim_step fails, and all is well again. Until then nothing is
 *            added: it would make of a step that costs nothing to give up one
 *            that can't be taken back.
 *   DIRTY    something that was asked for is not in the sum, other parts are:
 *            nothing goes on until somebody accepts it as it is.
 *
 * Pure. Loop's thread. */
#ifndef TINKER_FLOW_SUM_H
#define TINKER_FLOW_SUM_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
  TINKER__SUM_WHOLE,
  TINKER__SUM_OVERDUE,
  TINKER__SUM_SPOILED,
  TINKER__SUM_DIRTY,
  TINKER__SUM_STATES
} tinker__sum_state_t;

typedef enum {
  TINKER__SUM_ADDED,    /* the service took a request of forward_backward */
  TINKER__SUM_BACK,     /* it refused to carry out one that it had taken */
  TINKER__SUM_LACKS,    /* a request is missing, or it may be */
  TINKER__SUM_STEPPED,  /* an optim_step was sent */
  TINKER__SUM_MISSED,   /* an optim_step was not sent, or was refused */
  TINKER__SUM_REJECTED, /* no optim_step shall use it: it was judged so, or what
                           is in it is not known */
  TINKER__SUM_ACCEPTED, /* go on with what there is */
  TINKER__SUM_EVENTS
} tinker__sum_event_t;

typedef struct tinker__sum_s {
  tinker__sum_state_t state;
  size_t parts; /* requests in the sum */
} tinker__sum_t;

void tinker__sum_on(tinker__sum_t *sum, tinker__sum_event_t event);
const char *tinker__sum_state_name(tinker__sum_state_t state);
static inline bool tinker__sum_may_add(const tinker__sum_t *sum) {
  return sum->state == TINKER__SUM_WHOLE;
}
static inline bool tinker__sum_may_step(const tinker__sum_t *sum) {
  return sum->state <= TINKER__SUM_OVERDUE;
}

/* Calls that ended in the queue, as far as they matter to the next one in it:
 * the events that have to happen before that one's turn. */
typedef enum {
  TINKER__BEFORE_NOTHING,
  TINKER__BEFORE_MISSED,
  TINKER__BEFORE_LACKS,
  TINKER__BEFORE_BOTH, /* LACKS, then MISSED: a whole step */
  TINKER__BEFORE_STATES
} tinker__before_t;

/* What has to happen before, once `event` (LACKS or MISSED) has to as well, as
 * the last. */
tinker__before_t tinker__before_on(tinker__before_t before,
                                   tinker__sum_event_t event);
/* `then` has to happen after `before`. */
tinker__before_t tinker__before_then(tinker__before_t before,
                                     tinker__before_t then);
/* Lets it happen. */
void tinker__before_run(tinker__before_t before, tinker__sum_t *sum);

#endif
