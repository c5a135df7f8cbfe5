/* row_engine: a made-up engine whose logits are a function of the tokens so
 * far, so that any mistake in what a slot was fed changes what comes out. It
 * counts the memory of its slots and fails a test that goes beyond the limit.
 * One test at a time. */
#ifndef TINKER_TESTS_ENGINE_ROW_ENGINE_H
#define TINKER_TESTS_ENGINE_ROW_ENGINE_H

#include "engine/generate.h"

enum { VOCAB = 17, POISON = 16 };

extern tinker__mem_t *slot_mem; /* what slots are taken from */
/* What has been asked of it. */
extern size_t decode_calls, largest_round, most_tokens, rows_made, slots_made,
    slots_grown;
extern tinker__eng_slots_t slots; /* no limit unless a test sets one */
extern uint64_t slots_live;       /* bytes: ten a token */

/* References to its one adapter, beside the maker's. */
extern int adapter_refs;
tinker__eng_adapter_t *the_adapter(void);

/* Without `pick`; picking is the same engine with it. */
extern const tinker__engine_api_t row_api, picking_api;
extern tinker__eng_backend_t backend, picking;

/* Token t stands for the two letters of 'a' + t. */
extern const tinker__eng_gen_text_t text;

/* Of the generations that have ended since a test set them. */
extern int finished, failed, last_rc;
void on_done(tinker__eng_gen_t *g, int rc, const char *why);

/* A prompt of that many tokens, everything that rows are for recorded. */
tinker__eng_gen_t *make(tinker__mem_t *mem, uint64_t seed, size_t prompt,
                        size_t samples, size_t tokens);
void add(tinker__eng_batch_t *b,
         tinker__eng_gen_t *gen); /* to `backend`, if to none */
/* All of them to their end; nothing is left over. */
void run(tinker__mem_t *mem, tinker__eng_gen_t **gens, size_t n);
void assert_same(const tinker__eng_gen_t *a, const tinker__eng_gen_t *b);

#endif
