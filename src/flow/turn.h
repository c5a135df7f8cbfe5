/* turn: the order of one trainer's requests, and the numbers of a trainer or
 * a sampler.
 *
 * Invariants of a trainer's turn:
 * - operations leave the queue one at a time, in the order of the calls; the
 *   next one leaves when every part of the last has been answered, those of its
 *   next step included where its kind keeps the turn;
 * - numbers are taken when an operation goes, a run of them for all its parts
 *   at once, so one that is canceled in the queue or at the door leaves no
 *   hole; until then they are provisional, and the next one that is offered
 *   gets the same;
 * - a taken number is delivered, or the turn is fatal: then the queue fails
 *   and nothing is accepted any more;
 * - a number whose request was refused counts as used. Should the server say
 *   later that it waits for it, the refusal was not the server's, nobody will
 *   send the number again, and the turn is fatal;
 * - at most `places` results are polled for at once, the oldest first;
 * - what is known of the sum of gradients decides whether forward_backward and
 *   optim_step may go (sum.h). A call that failed before it was sent counts
 *   where it stood in the order. One that its caller canceled does not: it is
 *   the caller's wish that the step does without it.
 *
 * Reference counted: its trainer holds it, and so does each operation. All
 * but what is marked atomic belongs to the loop's thread. */
#ifndef TINKER_FLOW_TURN_H
#define TINKER_FLOW_TURN_H

#include <stdatomic.h>

#include "flow/op.h"
#include "flow/sum.h"

/* So many refused numbers are remembered, the oldest ones, since a server that
 * misses several names the first. */
#define TINKER__GAPS_MAX 32

struct tinker__turn_s {
  atomic_uint refs;
  atomic_int refused; /* tinker__before_t: what refused calls have left */
  atomic_bool fatal;  /* no later call is accepted: any thread reads it */
  tinker__mem_t *mem;
  char *id;     /* of the model or the sampling session */
  bool ordered; /* a trainer's; a sampler's only counts */
  int64_t next_seq;
  tinker__sum_t sum;     /* of gradients, for the next optim_step */
  uint64_t steps;        /* optim_steps sent, and 1 */
  size_t open;           /* operations that were sent and are not over */
  tinker__before_t last; /* what calls after the queue's last left */
  tinker__link_t queue;  /* operations that wait for their turn */
  tinker__op_t *sending; /* the one whose turn it is */
  tinker__link_t dirty;  /* in flow->turns while there may be work */
  size_t polling;        /* polls out or pausing */
  tinker__link_t line;   /* parts that wait for a place, by number */
  char *fatal_why;       /* sentence, NULL without memory; set before fatal */
  int64_t gaps[TINKER__GAPS_MAX]; /* refused since the last result */
  size_t gap_count;
};

/* A trainer's turn starts at number 1, a sampler's at 0. id: copied. */
int tinker__turn_new(tinker__turn_t **out, tinker__mem_t *mem, const char *id,
                     bool ordered);
tinker__turn_t *tinker__turn_retain(tinker__turn_t *turn);
void tinker__turn_release(tinker__turn_t *turn); /* NULL allowed */

/* Puts an operation at the queue's end; one that goes ahead, before all that
 * don't. */
void tinker__turn_push(tinker__turn_t *turn, tinker__op_t *op);
/* Lets the next operation leave the queue, if it may. */
void tinker__turn_pump(tinker__turn_t *turn);
/* Stamps the bodies of all parts of op with the next numbers. They are
 * provisional: nobody else gets numbers of this turn before they are taken, or
 * its operation has ended. 0, or a code: TINKER_EOVERFLOW when they have run
 * out, TINKER_EINVAL when an adopted one's are not taken yet. */
int tinker__turn_number(tinker__turn_t *turn, tinker__op_t *op);
/* The numbers of op are taken. */
void tinker__turn_take(tinker__turn_t *turn, tinker__op_t *op);
/* Why this operation can't go, or may not because of the sum of gradients: a
 * reference; NULL = it may. */
tinker_error_t *tinker__turn_check(const tinker__op_t *op);
/* The operation ends with its error, and its numbers were not taken. */
void tinker__turn_unsent(tinker__op_t *op);
/* The same for a call that never became an operation, because it was refused.
 * Any thread. The next call takes what it leaves, into op->before. */
void tinker__turn_refused(tinker__turn_t *turn, tinker__effect_t effect);
static inline tinker__before_t tinker__turn_take_refused(tinker__turn_t *turn) {
  return (tinker__before_t)atomic_exchange(&turn->refused,
                                           TINKER__BEFORE_NOTHING);
}
/* Goes on with the sum as it is: whatever has failed until now is accepted, but
 * for refused calls that no later call has taken yet. */
void tinker__turn_accept_partial(tinker__turn_t *turn);
/* A part of a sent operation is accepted by the server, or has failed: as a
 * submission, or afterwards. `unknown`: the server may have carried it out.
 * Returns false when the optim_step that used its sum has been sent before. */
void tinker__turn_added(tinker__part_t *part);
bool tinker__turn_lacks(tinker__part_t *part, bool unknown);
/* Sends what may be sent of op now: parts one after another, or parts 2..n at
 * once and part 1 when all of them have been answered. */
void tinker__turn_dispatch(tinker__op_t *op);
/* A number can't be delivered: everything after it fails, in the order of the
 * calls. Its own operation has ended before. why: borrowed. */
void tinker__turn_fail(tinker__turn_t *turn, const char *why);
/* Why it is fatal; only when it is. Any thread. */
static inline const char *tinker__turn_why(const tinker__turn_t *turn) {
  return turn->fatal_why ? turn->fatal_why : "an earlier number was lost";
}
/* The request with this number was refused; it is not sent again. */
void tinker__turn_give_up(tinker__turn_t *turn, int64_t seq);
/* A result under this number is there: the server waits for none before it. */
void tinker__turn_passed(tinker__turn_t *turn, int64_t seq);
/* True when seq was given up. A server that waits for such a number has not
 * refused it itself: it would know, since the requests that wait were sent
 * later. */
bool tinker__turn_misses(const tinker__turn_t *turn, int64_t seq);

/* Polls: a part asks for a place; one that is done gives it back. */
void tinker__turn_line_up(tinker__turn_t *turn, tinker__part_t *part,
                          size_t places);
void tinker__turn_leave_line(tinker__turn_t *turn, tinker__part_t *part);

#endif
