/* claim: memory for the slots of generations, held free before they run, so
 * that none runs out of it on the way. Engine thread. */
#ifndef TINKER_ENGINE_CLAIM_H
#define TINKER_ENGINE_CLAIM_H

#include "engine/generate.h"

/* Sets the room of its slots: what it may come to need, or the most that all
 * memory for slots allows: who asks for much and stops early is served all the
 * same. An error when not even a token would fit. */
int tinker__eng_claim_room(tinker__eng_gen_t *g);
/* Whether the others leave memory for all its slots. */
bool tinker__eng_claim_now(const tinker__eng_gen_t *g);
void tinker__eng_claim_take(tinker__eng_gen_t *g);
/* When so many of its slots are gone, or never came. */
void tinker__eng_claim_drop(tinker__eng_gen_t *g, size_t slots);
/* The error, with why set, of one that needs more than all there is. */
int tinker__eng_claim_too_large(tinker__eng_gen_t *g);

#endif
