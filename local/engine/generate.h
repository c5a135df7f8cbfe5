/* generate: sampling requests and the decode rounds that serve them.
 *
 * A generation is one request: a prompt, num_samples sequences that share its
 * prefill, and the scores that are to be recorded. A batch holds all
 * generations that are under way, of all engines. A round feeds every sequence
 * one token, or a prompt its next piece, with one call of an engine per base
 * model. The tokens of a generation do not depend on the others in the batch.
 *
 * Memory for caches is given by age (claim.h). A generation starts with room
 * for its prompt and a page, and claims the next page when that is used up. If
 * no page is free, the youngest generation gives its caches up. It then waits
 * as the first in the queue, keeps the tokens it has made, and is fed them
 * again later. So the oldest always gets on, and each becomes the oldest once.
 * The tokens stay the same, because they are keyed by seed, sample and
 * position.
 *
 * Engine thread, except gen_new, the flag `cancel` (any thread), and the
 * reading of a finished generation. */
#ifndef TINKER_ENGINE_GENERATE_H
#define TINKER_ENGINE_GENERATE_H

#include "base/buf.h"
#include "base/list.h"
#include "engine/backend.h"
#include "engine/pick.h"

typedef struct tinker__eng_gen_s tinker__eng_gen_t;
typedef struct tinker__eng_prefill_s tinker__eng_prefill_t; /* prefill.h */

/* Gives the bytes of a token, which stop strings are compared with. */
typedef struct tinker__eng_gen_text_s {
  int (*bytes)(void *user, int32_t token, const char **bytes, size_t *len);
  void *user;
} tinker__eng_gen_text_t;

/* Ids to score at the positions of a prompt after the first. Those of position
 * r + 1 are ids[starts[r]] up to ids[starts[r + 1]]; an id of -1 is skipped. */
typedef struct tinker__eng_gen_target_s {
  const int64_t *starts; /* n_prompt of them; NULL = no target at all */
  const int64_t *ids;    /* starts[n_prompt - 1] of them */
} tinker__eng_gen_target_t;

typedef struct tinker__eng_gen_spec_s {
  const int32_t *prompt; /* copied, >= 1 token */
  size_t n_prompt;
  size_t num_samples; /* >= 1 */
  size_t max_tokens;  /* >= 1, per sequence */
  tinker__eng_sampling_t sampling;
  const int32_t *stop_tokens; /* copied */
  size_t n_stop_tokens;
  const tinker__str_t *stop_strings; /* copied; need text */
  size_t n_stop_strings;
  const tinker__eng_gen_text_t *text; /* borrowed; NULL without stop strings */
  bool prompt_logprobs;
  size_t top_prompt;  /* entries per prompt position, 0 = none */
  size_t top_sample;  /* entries per generated token, 0 = none */
  size_t prompt_from; /* first prompt position of the log-probs and top_prompt;
                         0 means 1, since nothing predicts the first token */
  tinker__eng_gen_target_t target; /* arrays borrowed until done */
  size_t draws; /* alternatives per prompt position after the first */
} tinker__eng_gen_spec_t;

typedef struct tinker__eng_gen_seq_s {
  int32_t *tokens;
  float *logprobs; /* log-softmax of the raw logits */
  size_t n;
  int32_t *top_ids;    /* n * top_sample */
  float *top_logprobs; /* the same */
  bool stopped;        /* by a stop token or string, else by the length */
  /* Internal, while it runs. */
  tinker__eng_slot_t *slot;
  size_t fed;   /* tokens that are in the slot */
  size_t piece; /* tokens that this round feeds */
  size_t pick;  /* index in batch.picks in this round, SIZE_MAX = none */
  tinker__buf_t text;
  bool finished;
  size_t cap;
  int32_t next; /* picked by this round, -1 = none yet */
  float next_logprob;
  struct tinker__eng_gen_s *gen;
} tinker__eng_gen_seq_t;

typedef enum {
  TINKER__GEN_NEW,     /* its model is not known yet */
  TINKER__GEN_WAITS,   /* prepared, without any memory for caches */
  TINKER__GEN_PREFILL, /* the prompt is being fed */
  TINKER__GEN_DECODE,  /* the sequences are being fed */
  TINKER__GEN_STALLED, /* the sequences wait for a free page */
  TINKER__GEN_ENDED    /* it holds no handle of an engine any more */
} tinker__eng_gen_state_t;

struct tinker__eng_gen_s {
  tinker__link_t link;
  tinker__mem_t *mem;
  /* Called once, last, on the engine thread, with rc 0, or a code and a
   * sentence in why. The callee then owns the generation. */
  void (*done)(tinker__eng_gen_t *gen, int rc, const char *why);
  /* Called once on the engine thread before the first round. Sets backend, base
   * (borrowed until done) and adapter (borrowed during the call). NULL = they
   * are set already. */
  int (*prepare)(tinker__eng_gen_t *gen, char *why, size_t why_len);
  /* Called on the engine thread for each new token of a sample, which is the
   * last of seqs[sample].tokens. A token is never taken back. A result that is
   * not 0 ends the generation with that code. NULL = not wanted. */
  int (*on_token)(tinker__eng_gen_t *gen, size_t sample);
  void *user;
  atomic_bool cancel;

  tinker__eng_backend_t *backend;
  tinker__eng_base_t *base;
  tinker__eng_adapter_t
      *adapter; /* NULL = the base alone; held from WAITS on */

  int32_t *prompt;
  size_t n_prompt, num_samples, max_tokens;
  tinker__eng_sampling_t sampling;
  int32_t *stop_tokens; /* ascending */
  size_t n_stop_tokens;
  tinker__str_t *stop_strings; /* one block with its text */
  size_t n_stop_strings, longest_stop;
  const tinker__eng_gen_text_t *text;
  size_t top_prompt, top_sample, prompt_from, draws;
  bool want_prompt;
  tinker__eng_gen_target_t target;

  /* n_prompt, NaN before prompt_from; NULL if not asked. */
  float *prompt_logprobs;
  int32_t *top_prompt_ids;     /* n_prompt * top_prompt, from prompt_from on */
  float *top_prompt_logprobs;  /* the same */
  float *target_logprobs;      /* as many as ids, 0 where nothing was asked */
  int32_t *draw_ids;           /* (n_prompt - 1) * draws */
  float *draw_logprobs;        /* the same */
  tinker__eng_gen_seq_t *seqs; /* num_samples */

  /* Internal. */
  tinker__eng_gen_state_t state;
  struct tinker__eng_batch_s *batch;
  tinker__eng_slot_t *prefill; /* in PREFILL alone */
  size_t fed;                  /* prompt tokens in that slot */
  size_t piece;                /* prompt tokens that this round feeds */
  size_t scored;               /* prompt tokens whose rows are done with */
  size_t room;                 /* tokens of a slot */
  uint64_t slot_bytes;
  size_t claims; /* slots that exist or for which memory is kept free */
  /* The rows of the prompt that are needed besides its last. */
  size_t score_from, score_to;
  int error;
  char why[200];
};

int tinker__eng_gen_new(tinker__eng_gen_t **out, tinker__mem_t *mem,
                        const tinker__eng_gen_spec_t *spec);
/* Any thread, for a generation that is not in a batch, or after done. */
void tinker__eng_gen_free(tinker__eng_gen_t *gen);

typedef struct tinker__eng_batch_s {
  tinker__mem_t *mem;
  tinker__link_t waiting, running; /* of tinker__eng_gen_t, the oldest first */
  size_t sequences;                /* of the running generations */
  const atomic_bool *halt; /* when set, a round is given up; NULL = never */
  void *scratch;
  size_t scratch_len;
  tinker__eng_decode_item_t *items;
  tinker__eng_pick_t *picks;
  size_t cap_items; /* of both */
} tinker__eng_batch_t;

void tinker__eng_batch_init(tinker__eng_batch_t *b, tinker__mem_t *mem);
/* Frees the generations in it without calling done. */
void tinker__eng_batch_free(tinker__eng_batch_t *b);
void tinker__eng_batch_add(tinker__eng_batch_t *b, tinker__eng_gen_t *gen);
static inline bool tinker__eng_batch_idle(const tinker__eng_batch_t *b) {
  return tinker__list_empty(&b->waiting) && tinker__list_empty(&b->running);
}
/* Runs one round for all generations in the batch. */
void tinker__eng_batch_round(tinker__eng_batch_t *b);

/* --- For batch.c and claim.c --- */

/* True when g has memory for caches and takes part in rounds. */
static inline bool tinker__eng_gen_runs(const tinker__eng_gen_t *g) {
  return g->state == TINKER__GEN_PREFILL || g->state == TINKER__GEN_DECODE ||
         g->state == TINKER__GEN_STALLED;
}
void tinker__eng_gen_move(tinker__eng_gen_t *g, tinker__eng_gen_state_t to);
void tinker__eng_gen_fail(tinker__eng_gen_t *g, int code, const char *text);
/* Makes the slot for the prompt. The memory has been claimed. */
int tinker__eng_gen_start(tinker__eng_gen_t *g);
/* Gives all caches and claims up; tokens and scores stay. to: WAITS or ENDED.
 */
void tinker__eng_gen_stop(tinker__eng_gen_t *g, tinker__eng_gen_state_t to);
/* Tokens that each unfinished sequence has; it is the same number for all. */
size_t tinker__eng_gen_made(const tinker__eng_gen_t *g);
/* Writes the items of g for this round to items[first] and after, and its picks
 * to picks[*n_picks] and after. Returns the number of items. left: see
 * prefill.h. */
size_t tinker__eng_gen_items(tinker__eng_gen_t *g,
                             tinker__eng_decode_item_t *items, size_t first,
                             tinker__eng_pick_t *picks, size_t *n_picks,
                             tinker__eng_prefill_t *left);
/* Called when the round with those items has succeeded. */
void tinker__eng_gen_advance(tinker__eng_gen_t *g);
bool tinker__eng_gen_finished(const tinker__eng_gen_t *g);

#endif
