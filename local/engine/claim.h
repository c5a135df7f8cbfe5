/* claim: memory for the slots of generations.
 *
 * A claim is memory held free, or used, for the slots of one generation. It
 * grows by pages of tokens. Who needs a page and finds none takes the caches of
 * the youngest that is younger than itself, one after the other; the youngest
 * waits for its page. A generation that is alone and still finds none fails
 * with the numbers. Who has given its caches up starts again only when there is
 * room for all it had and for a page of everyone that runs, so that it is not
 * sent away at once. Engine thread. */
#ifndef TINKER_ENGINE_CLAIM_H
#define TINKER_ENGINE_CLAIM_H

#include "engine/generate.h"

#define TINKER__CLAIM_PAGE 128 /* tokens of a slot */

/* The claim of one that waits. 0 = taken, 1 = it has to wait, or an error. */
int tinker__eng_claim_first(tinker__eng_gen_t *g);
/* Room for the tokens that it has to feed: moves it between DECODE and STALLED,
 * and sends younger ones back to the head of the queue. 0 or an error. */
int tinker__eng_claim_page(tinker__eng_gen_t *g);
/* Where a limit has fallen below what is claimed, the youngest go back. */
void tinker__eng_claim_shrink(tinker__eng_batch_t *b);
/* When so many of its slots are gone, or never came. */
void tinker__eng_claim_drop(tinker__eng_gen_t *g, size_t slots);

#endif
