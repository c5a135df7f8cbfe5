/* tokenizer: what tinker_tokenizer_t points at. Made by load.c, never changed
 * afterwards; encode.c and decode.c read it from any thread. */
#ifndef TINKER_TEXT_TOKENIZER_H
#define TINKER_TEXT_TOKENIZER_H

#include <stdatomic.h>
#include <tinker/tokenizer.h>

#include "text/added.h"
#include "text/bpe.h"
#include "text/split.h"

#define TINKER__TOKENIZER_MAX_BYTES (128u << 20)
#define TINKER__TOKENIZER_MAX_STEPS 16
#define TINKER__TEMPLATE_MAX 16

struct tinker_tokenizer_s {
  atomic_uint refs;
  tinker_allocator_t allocator;
  bool has_allocator;
  tinker__mem_t *mem; /* = &own; not const in a const tokenizer */
  tinker__mem_t own;
  bool no_jit;

  tinker__strings_t bytes; /* what each id stands for; finds vocabulary */
  unsigned char *special;  /* per id: 1 = special */
  tinker__bpe_t bpe;
  bool ignore_merges; /* a whole word in the vocabulary needs no merges */

  bool nfc;
  tinker__added_set_t raw;        /* matched in the text as it is */
  tinker__added_set_t normalized; /* matched after normalisation */
  tinker__split_t steps[TINKER__TOKENIZER_MAX_STEPS];
  size_t num_steps;
  /* The tokens that the template puts before and after a text. */
  int32_t before[TINKER__TEMPLATE_MAX], behind[TINKER__TEMPLATE_MAX];
  size_t num_before, num_behind;
};

/* Fills a zeroed tokenizer whose mem and no_jit are set; on failure what it
 * has filled is left for tinker__tokenizer_clear. */
int tinker__tokenizer_load(tinker_tokenizer_t *t, tinker__str_t text, char *why,
                           size_t why_len);
void tinker__tokenizer_clear(tinker_tokenizer_t *t);

/* ids gets the ids of text (valid UTF-8). */
int tinker__tokenizer_run(const tinker_tokenizer_t *t, tinker__str_t text,
                          uint32_t flags, tinker__ids_t *ids);

#endif
