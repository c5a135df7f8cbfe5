/* claim: memory for the slots of generations.
 *
 * A claim is memory that the slots of one generation use, or that is kept free
 * for them. It grows by pages of tokens. A generation that needs a page and
 * finds no room takes the caches of younger ones, the youngest first; the
 * youngest itself waits. A generation that is alone and still finds no room
 * fails, with the numbers. Beside others a generation starts, for the first
 * time or again, only when there is room for all its tokens and a page more,
 * and for a page of every generation that runs, so that it does not lose its
 * caches at once. Engine thread. */
#ifndef TINKER_ENGINE_CLAIM_H
#define TINKER_ENGINE_CLAIM_H

#include "engine/generate.h"

#define TINKER__CLAIM_PAGE 128 /* tokens of a slot */

/* Claims memory for a generation that waits. 0 = claimed, 1 = it has to wait,
 * or an error. */
int tinker__eng_claim_first(tinker__eng_gen_t *g);
/* Claims the next page for g if its tokens have no room. Moves g between DECODE
 * and STALLED, and sends younger generations back to the head of the queue. 0
 * or an error. */
int tinker__eng_claim_page(tinker__eng_gen_t *g);
/* Sends the youngest generations back while more is claimed than the limit of
 * their memory allows. */
void tinker__eng_claim_shrink(tinker__eng_batch_t *b);
/* Gives back the memory of `slots` slots that are freed or were never made. */
void tinker__eng_claim_drop(tinker__eng_gen_t *g, size_t slots);

#endif
