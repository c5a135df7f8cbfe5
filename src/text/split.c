/* split: see split.h. */
#include "text/split.h"

#include <tinker/error.h>

/* The state of a run: how far it is, and the piece that the next match may
 * still be joined to. */
typedef struct run_s {
  const tinker__split_t *split;
  tinker__str_t text;
  tinker__piece_cb cb;
  void *user;
  size_t from, to; /* the piece that waits, if `waiting` */
  bool waiting;
  bool was_match; /* what came last */
} run_t;

static void *compile_alloc(size_t size, void *user) {
  tinker__split_source_t *s = user;
  void *p = tinker__mem_alloc(s->mem, size);
  if (!p) s->failed = true;
  return p;
}

static void compile_free(void *p, void *user) {
  tinker__split_source_t *s = user;
  tinker__mem_free(s->mem, p);
}

static void *match_alloc(size_t size, void *user) {
  return tinker__mem_alloc(user, size);
}

static void match_free(void *p, void *user) {
  tinker__mem_free(user, p);
}

static int compile(tinker__split_t *split, pcre2_compile_context *context,
                   tinker__str_t pattern, bool literal, char *why,
                   size_t why_len) {
  uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK;
  int error = 0;
  PCRE2_SIZE at = 0;
  options |= literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  split->code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, options,
                              &error, &at, context);
  if (split->code) return 0;
  PCRE2_UCHAR text[128] = {0};
  pcre2_get_error_message(error, text, sizeof text);
  return tinker__why(why, why_len, TINKER_ENOTSUP, "pattern: %s",
                     (const char *)text);
}

int tinker__split_compile(tinker__split_t *split, tinker__mem_t *mem,
                          tinker__str_t pattern, bool literal, bool no_jit,
                          char *why, size_t why_len) {
  int rc = TINKER_ENOMEM;
  pcre2_compile_context *context = NULL;
  split->source.mem = mem;
  split->source.failed = false;
  pcre2_general_context *general =
      pcre2_general_context_create(compile_alloc, compile_free, &split->source);
  if (general) context = pcre2_compile_context_create(general);
  if (context) rc = compile(split, context, pattern, literal, why, why_len);
  /* Without run-time code the interpreter does the work. */
  if (rc == 0 && !no_jit) pcre2_jit_compile(split->code, PCRE2_JIT_COMPLETE);
  if (split->source.failed) {
    rc = tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  if (rc) tinker__split_free(split);
  if (context) pcre2_compile_context_free(context);
  if (general) pcre2_general_context_free(general);
  return rc;
}

void tinker__split_free(tinker__split_t *split) {
  if (split->code) pcre2_code_free(split->code);
  split->code = NULL;
}

pcre2_match_data *tinker__split_room(const tinker__split_t *split,
                                     tinker__mem_t *mem) {
  pcre2_general_context *general =
      pcre2_general_context_create(match_alloc, match_free, mem);
  if (!general) return NULL;
  pcre2_match_data *room =
      pcre2_match_data_create_from_pattern(split->code, general);
  pcre2_general_context_free(general);
  return room;
}

static int hand_out(run_t *r, size_t from, size_t to) {
  tinker__str_t piece = {r->text.ptr + from, to - from};
  return r->cb(r->user, piece);
}

static int flush(run_t *r) {
  if (!r->waiting) return 0;
  r->waiting = false;
  return hand_out(r, r->from, r->to);
}

/* Starts a piece that may grow; the one before is done. */
static int hold(run_t *r, size_t from, size_t to) {
  int rc = flush(r);
  r->waiting = true;
  r->from = from;
  r->to = to;
  return rc;
}

/* True when the next text, a match or not, joins the piece that waits. */
static bool joins(const run_t *r, bool match) {
  if (!r->waiting) return false;
  switch (r->split->behavior) {
  case TINKER__SPLIT_MERGED_PREVIOUS: return match && !r->was_match;
  case TINKER__SPLIT_MERGED_NEXT: return !match && r->was_match;
  case TINKER__SPLIT_CONTIGUOUS: return match == r->was_match;
  default: return false;
  }
}

static int event(run_t *r, size_t from, size_t to, bool match) {
  int rc = 0;
  match = match != r->split->invert;
  if (match && r->split->behavior == TINKER__SPLIT_REMOVED) {
    rc = flush(r);
  } else if (joins(r, match)) {
    r->to = to;
  } else {
    rc = hold(r, from, to);
  }
  r->was_match = match;
  return rc;
}

/* Finds the next match at or after `at`; *found = there is one. */
static int match(run_t *r, pcre2_match_data *room, size_t at, bool *found) {
  PCRE2_SPTR text = (PCRE2_SPTR)r->text.ptr;
  uint32_t options = PCRE2_NO_UTF_CHECK;
  int n =
      pcre2_match(r->split->code, text, r->text.len, at, options, room, NULL);
  if (n == PCRE2_ERROR_JIT_STACKLIMIT) {
    n = pcre2_match(r->split->code, text, r->text.len, at,
                    options | PCRE2_NO_JIT, room, NULL);
  }
  *found = n >= 0;
  if (n >= 0 || n == PCRE2_ERROR_NOMATCH) return 0;
  return n == PCRE2_ERROR_NOMEMORY ? TINKER_ENOMEM : TINKER_EOVERFLOW;
}

static size_t char_len(tinker__str_t text, size_t at) {
  size_t n = 1;
  while (at + n < text.len &&
         ((unsigned char)text.ptr[at + n] & 0xc0) == 0x80) {
    n++;
  }
  return n;
}

/* An empty match right after the last one does not count: the search goes on
 * one character later, as Oniguruma's does. */
static int run(run_t *r, pcre2_match_data *room) {
  const PCRE2_SIZE *hit = pcre2_get_ovector_pointer(room);
  size_t at = 0, last = 0;
  bool found = true, any = false;
  while (at <= r->text.len) {
    int rc = match(r, room, at, &found);
    if (rc) return rc;
    if (!found) break;
    size_t from = hit[0], to = hit[1];
    if (from == to && any && from == last) {
      at += at < r->text.len ? char_len(r->text, at) : 1;
      continue;
    }
    if (from > last) rc = event(r, last, from, false);
    if (rc == 0) rc = event(r, from, to, true);
    if (rc) return rc;
    at = last = to;
    any = true;
  }
  if (last < r->text.len) return event(r, last, r->text.len, false);
  return 0;
}

int tinker__split_run(const tinker__split_t *split, pcre2_match_data *room,
                      tinker__str_t text, tinker__piece_cb cb, void *user) {
  run_t r = {split, text, cb, user, 0, 0, false, false};
  if (!split->code) return cb(user, text);
  int rc = run(&r, room);
  return rc ? rc : flush(&r);
}
