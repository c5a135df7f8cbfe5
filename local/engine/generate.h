/* generate: sampling requests and the decode rounds that serve them.
 *
 * A generation is one request: a prompt, num_samples sequences that share its
 * prefill, and what is to be recorded. A batch holds all generations that are
 * under way, of all engines; a round feeds every sequence one token (or a
 * prompt its next piece) through one call of an engine per base model. Which
 * tokens come out does not depend on who else is in the batch.
 *
 * Memory for caches goes by age (claim.h): a generation starts with room for
 * its prompt and a page, and asks for the next page when that is used up. When
 * there is none, the youngest gives its caches up: it waits as the first in the
 * queue, keeps the tokens it has made, and is fed them again later. So the
 * oldest always gets on, each becomes the oldest once, and tokens are the same
 * as without: they are keyed by seed, sample and position.
 *
 * All on the engine thread, but gen_new, gen_cancel and the reading of a
 * finished generation. */
#ifndef TINKER_ENGINE_GENERATE_H
#define TINKER_ENGINE_GENERATE_H

#include "base/buf.h"
#include "base/list.h"
#include "engine/backend.h"
#include "engine/pick.h"

typedef struct tinker__eng_gen_s tinker__eng_gen_t;
typedef struct tinker__eng_prefill_s tinker__eng_prefill_t; /* prefill.h */

/* The bytes that a token stands for, for stop strings. */
typedef struct tinker__eng_gen_text_s {
  int (*bytes)(void *user, int32_t token, const char **bytes, size_t *len);
  void *user;
} tinker__eng_gen_text_t;

/* Ids to score at the positions of a prompt after the first: position r + 1
 * has ids[starts[r]] up to ids[starts[r + 1]], an id of -1 asks nothing. */
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
                         0 is 1: nothing predicts the first token */
  tinker__eng_gen_target_t target; /* arrays borrowed until done */
  size_t draws; /* alternatives per prompt position after the first */
} tinker__eng_gen_spec_t;

typedef struct tinker__eng_gen_seq_s {
  int32_t *tokens;
  float *logprobs; /* log-softmax of the raw logits */
  size_t n;
  int32_t *top_ids;    /* n * top_sample */
  float *top_logprobs; /* the same */
  bool stopped;        /* a stop token or string, else the length */
  /* Inside, while it runs. */
  tinker__eng_slot_t *slot;
  size_t fed;   /* of its tokens, in the slot */
  size_t piece; /* of them, fed by this round */
  size_t pick;  /* this round's in batch.picks, SIZE_MAX = none */
  tinker__buf_t text;
  bool finished;
  size_t cap;
  int32_t next; /* picked by this round, -1 = none yet */
  float next_logprob;
  struct tinker__eng_gen_s *gen;
} tinker__eng_gen_seq_t;

typedef enum {
  TINKER__GEN_NEW,     /* nothing is known of its model yet */
  TINKER__GEN_WAITS,   /* prepared, without any memory for caches */
  TINKER__GEN_PREFILL, /* the prompt is being fed */
  TINKER__GEN_DECODE,  /* its sequences are */
  TINKER__GEN_STALLED, /* they need a page that an older one may need */
  TINKER__GEN_ENDED    /* nothing of an engine belongs to it any more */
} tinker__eng_gen_state_t;

struct tinker__eng_gen_s {
  tinker__link_t link;
  tinker__mem_t *mem;
  /* Called once on the engine thread; rc 0 or a code with why set. The
   * generation is the callee's from then on. */
  void (*done)(tinker__eng_gen_t *gen, int rc, const char *why);
  /* Called once on the engine thread before the first round: sets backend, base
   * (borrowed until done) and adapter (borrowed during the call). NULL = they
   * are set. */
  int (*prepare)(tinker__eng_gen_t *gen, char *why, size_t why_len);
  /* Called on the engine thread for each token that sample has got; it is the
   * last of seqs[sample].tokens, and none is ever taken back. Not 0 ends the
   * generation with that code. NULL = not wanted. */
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

  /* Inside. */
  tinker__eng_gen_state_t state;
  struct tinker__eng_batch_s *batch;
  tinker__eng_slot_t *prefill; /* in PREFILL alone */
  size_t fed;                  /* prompt tokens in that slot */
  size_t piece;                /* of them, fed by this round */
  size_t scored;               /* prompt tokens whose rows have been seen to */
  size_t room;                 /* tokens of a slot */
  uint64_t slot_bytes;
  size_t claims; /* slots that are there or for which memory is held free */
  /* Rows of the prompt that are looked at, besides its last. */
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
  size_t sequences;                /* of the running ones */
  const atomic_bool *halt; /* a round under way is given up; NULL = never */
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
/* One round for everyone in the batch. */
void tinker__eng_batch_round(tinker__eng_batch_t *b);

/* --- What generate.c has for batch.c and claim.c --- */

/* It holds memory for caches, and is in the rounds. */
static inline bool tinker__eng_gen_runs(const tinker__eng_gen_t *g) {
  return g->state == TINKER__GEN_PREFILL || g->state == TINKER__GEN_DECODE ||
         g->state == TINKER__GEN_STALLED;
}
void tinker__eng_gen_move(tinker__eng_gen_t *g, tinker__eng_gen_state_t to);
void tinker__eng_gen_fail(tinker__eng_gen_t *g, int code, const char *text);
/* A prompt's slot; claims are taken. */
int tinker__eng_gen_start(tinker__eng_gen_t *g);
/* Gives all caches and claims up; what was made stays. To WAITS or ENDED. */
void tinker__eng_gen_stop(tinker__eng_gen_t *g, tinker__eng_gen_state_t to);
/* Tokens that each unfinished sequence has. */
size_t tinker__eng_gen_made(const tinker__eng_gen_t *g);
/* Items of this round, and picks from n_picks on for the items from `first` on;
 * returns how many items. left: see prefill.h. */
size_t tinker__eng_gen_items(tinker__eng_gen_t *g,
                             tinker__eng_decode_item_t *items, size_t first,
                             tinker__eng_pick_t *picks, size_t *n_picks,
                             tinker__eng_prefill_t *left);
/* The round with those items has succeeded. */
void tinker__eng_gen_advance(tinker__eng_gen_t *g);
bool tinker__eng_gen_finished(const tinker__eng_gen_t *g);

#endif
