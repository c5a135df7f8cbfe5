/* split: one step of a pre-tokenizer: cuts text at the matches of a regular
 * expression (PCRE2, compiled at run time where that is allowed). Immutable
 * once made; each thread brings its own match data. */
#ifndef TINKER_TEXT_SPLIT_H
#define TINKER_TEXT_SPLIT_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/mem.h"
#include "base/str.h"

/* The treatment of a match, named as in tokenizer.json. */
typedef enum {
  TINKER__SPLIT_ISOLATED,        /* a piece of its own */
  TINKER__SPLIT_REMOVED,         /* dropped */
  TINKER__SPLIT_MERGED_PREVIOUS, /* joined to the text before */
  TINKER__SPLIT_MERGED_NEXT,     /* joined to the text after it */
  TINKER__SPLIT_CONTIGUOUS       /* matches in a row are one piece */
} tinker__split_behavior_t;

/* The memory that PCRE2 uses, and whether it ran out, which must not be
 * mistaken for a system that forbids code made at run time. */
typedef struct tinker__split_source_s {
  tinker__mem_t *mem;
  bool failed;
} tinker__split_source_t;

typedef struct tinker__split_s {
  tinker__split_source_t source;
  pcre2_code *code; /* NULL: leaves the text whole */
  tinker__split_behavior_t behavior;
  bool invert;       /* matches count as gaps and gaps as matches */
  bool prefix_space; /* text that does not start with ' ' gets one first */
} tinker__split_t;

/* Sets split->code from a PCRE2 pattern; the split must stay where it is from
 * then on. `literal`: the pattern is plain text. 0, TINKER_ENOTSUP (PCRE2
 * refuses it) or TINKER_ENOMEM. */
int tinker__split_compile(tinker__split_t *split, tinker__mem_t *mem,
                          tinker__str_t pattern, bool literal, bool no_jit,
                          char *why, size_t why_len);
void tinker__split_free(tinker__split_t *split);
/* Match data in memory from mem; NULL without memory. */
pcre2_match_data *tinker__split_room(const tinker__split_t *split,
                                     tinker__mem_t *mem);

typedef int (*tinker__piece_cb)(void *user, tinker__str_t piece);

/* Hands every piece, some of them empty, to cb in order; a result of cb that
 * is not 0 ends it and is returned. text: valid UTF-8. 0, TINKER_EOVERFLOW (a
 * limit of the matcher) or TINKER_ENOMEM. */
int tinker__split_run(const tinker__split_t *split, pcre2_match_data *room,
                      tinker__str_t text, tinker__piece_cb cb, void *user);

#endif
