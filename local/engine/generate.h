/* generate: sampling requests and the decode rounds that serve them.
 *
 * A generation is one request: a prompt, num_samples sequences that share its
 * prefill, and what is to be recorded. A batch holds all generations that are
 * under way, of all engines; a round feeds every sequence one token (or a
 * prompt its next piece) through one call of an engine per base model. Which
 * tokens come out does not depend on who else is in the batch. A generation
 * waits until there is memory for all its slots, so that none runs out of it on
 * the way.
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
  tinker__buf_t text;
  bool finished;
  size_t cap;
  int32_t next; /* picked by this round, -1 = none yet */
  float next_logprob;
  struct tinker__eng_gen_s *gen;
} tinker__eng_gen_seq_t;

struct tinker__eng_gen_s {
  tinker__link_t link;
  tinker__mem_t *mem;
  /* Called once on the engine thread; rc 0 or a code with why set. The
   * generation is the callee's from then on. */
  void (*done)(tinker__eng_gen_t *gen, int rc, const char *why);
  /* Called on the engine thread before the first round: sets backend, base and
   * adapter (borrowed until done, and until this is called for another one). */
  int (*prepare)(tinker__eng_gen_t *gen, char *why, size_t why_len);
  void *user;
  atomic_bool cancel;

  tinker__eng_backend_t *backend;
  tinker__eng_base_t *base;
  tinker__eng_adapter_t *adapter; /* NULL = the base alone */

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
  struct tinker__eng_batch_s *batch;
  tinker__eng_slot_t
      *prefill; /* NULL before the first round and after prefill */
  size_t fed;   /* prompt tokens in the slot */
  size_t piece; /* more of them in this round */
  size_t room;  /* tokens of a slot */
  uint64_t slot_bytes;
  size_t claims; /* slots that are there or for which memory is held free */
  /* Rows of the prompt that are looked at, besides its last. */
  size_t score_from, score_to;
  bool started, decoding;
  int error;
  char why[200];
};

int tinker__eng_gen_new(tinker__eng_gen_t **out, tinker__mem_t *mem,
                        const tinker__eng_gen_spec_t *spec);
/* Any thread, for a generation that is not in a batch, or after done. */
void tinker__eng_gen_free(tinker__eng_gen_t *gen);

typedef struct tinker__eng_batch_s {
  tinker__mem_t *mem;
  tinker__link_t waiting, running; /* of tinker__eng_gen_t */
  size_t sequences;                /* of the running ones */
  const atomic_bool *halt; /* a round under way is given up; NULL = never */
  void *scratch;
  size_t scratch_len;
  tinker__eng_decode_item_t *items;
  size_t cap_items;
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

#endif
