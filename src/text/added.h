/* added: finds the added tokens in a text, before it is split into words: at
 * each place from the left the longest that fits. Immutable once sorted. */
#ifndef TINKER_TEXT_ADDED_H
#define TINKER_TEXT_ADDED_H

#include "base/mem.h"
#include "base/str.h"

#define TINKER__MAX_ADDED 65536

typedef struct tinker__added_s {
  tinker__str_t text; /* owned by the set, NUL-terminated */
  int32_t id;
  bool special;
  bool lstrip, rstrip; /* takes the white space on that side too */
} tinker__added_t;

typedef struct tinker__added_set_s {
  tinker__mem_t *mem;
  tinker__added_t *list; /* by text, once sorted */
  size_t n;
  size_t cap;
  bool first[256]; /* bytes that one starts with */
} tinker__added_set_t;

/* Copies the text. 0 or TINKER_ENOMEM. */
int tinker__added_put(tinker__added_set_t *set, const tinker__added_t *token);
/* To be called once, after the last put. A token that was put twice word for
 * word stays once. 0, or TINKER_EEXIST when a text is there twice with
 * different ids or flags: *twice is set to it. */
int tinker__added_sort(tinker__added_set_t *set, tinker__str_t *twice);
void tinker__added_free(tinker__added_set_t *set);

/* A hit: text[start, end) becomes the token; what lies between the end of the
 * hit before and `start` stays text. */
typedef struct tinker__hit_s {
  const tinker__added_t *token;
  size_t start, end;
} tinker__hit_t;

/* Walks over the hits. *scan (first 0) is where matching goes on, *taken
 * (first 0) the end of the last hit. With `special_as_text` special tokens
 * are passed over. False when there is none left. */
bool tinker__added_next(const tinker__added_set_t *set, tinker__str_t text,
                        bool special_as_text, size_t *scan, size_t *taken,
                        tinker__hit_t *hit);

#endif
