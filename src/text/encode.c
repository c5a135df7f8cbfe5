/* encode: text to ids. Added tokens are cut out of the text, the rest is
 * normalised, and added tokens are cut out of that too. The steps of the
 * pre-tokenizer split the rest, and BPE encodes each piece. All working memory
 * belongs to one call. */
#include <tinker/error.h>

#include "text/normalize.h"
#include "text/tokenizer.h"

typedef struct run_s {
  const tinker_tokenizer_t *t;
  bool special_as_text;
  tinker__ids_t *ids;
  tinker__bpe_room_t bpe;
  tinker__buf_t normal;
  pcre2_match_data *match[TINKER__TOKENIZER_MAX_STEPS];
  tinker__buf_t spaced[TINKER__TOKENIZER_MAX_STEPS];
} run_t;

/* A run about to enter a step. */
typedef struct at_step_s {
  run_t *r;
  size_t step;
} at_step_t;

static int encode_piece(run_t *r, tinker__str_t piece) {
  if (r->t->ignore_merges) {
    int32_t id = tinker__strings_find(&r->t->bytes, piece);
    if (id >= 0) return tinker__ids_add(r->ids, id);
  }
  return tinker__bpe_encode(&r->t->bpe, &r->bpe, piece, r->ids);
}

static int with_space(run_t *r, size_t step, tinker__str_t *piece) {
  tinker__buf_t *room = &r->spaced[step];
  if (piece->ptr[0] == ' ') return 0;
  tinker__buf_clear(room);
  tinker__buf_addc(room, ' ');
  tinker__buf_add(room, piece->ptr, piece->len);
  *piece = tinker__buf_str(room);
  return tinker__buf_error(room);
}

static int run_step(void *user, tinker__str_t piece) {
  at_step_t *at = user;
  run_t *r = at->r;
  if (piece.len == 0) return 0;
  if (at->step == r->t->num_steps) return encode_piece(r, piece);
  const tinker__split_t *split = &r->t->steps[at->step];
  at_step_t next = {r, at->step + 1};
  if (split->prefix_space) {
    int rc = with_space(r, at->step, &piece);
    if (rc) return rc;
  }
  return tinker__split_run(split, r->match[at->step], piece, run_step, &next);
}

typedef int (*rest_cb)(run_t *r, tinker__str_t text);

/* Cuts the set's tokens out of text; what lies between goes to `rest`. */
static int cut_out(run_t *r, const tinker__added_set_t *set, tinker__str_t text,
                   rest_cb rest) {
  size_t scan = 0, taken = 0, done = 0;
  tinker__hit_t hit;
  while (
      tinker__added_next(set, text, r->special_as_text, &scan, &taken, &hit)) {
    int rc = 0;
    if (hit.start > done) {
      rc = rest(r, (tinker__str_t){text.ptr + done, hit.start - done});
    }
    if (rc == 0) rc = tinker__ids_add(r->ids, hit.token->id);
    if (rc) return rc;
    done = hit.end;
  }
  if (done == text.len) return 0;
  return rest(r, (tinker__str_t){text.ptr + done, text.len - done});
}

static int encode_words(run_t *r, tinker__str_t text) {
  at_step_t first = {r, 0};
  return run_step(&first, text);
}

static int encode_normalized(run_t *r, tinker__str_t text) {
  if (r->t->nfc) {
    int rc = tinker__nfc(&text, &r->normal, text);
    if (rc) return rc;
  }
  return cut_out(r, &r->t->normalized, text, encode_words);
}

static int open_rooms(run_t *r) {
  for (size_t i = 0; i < r->t->num_steps; i++) {
    tinker__buf_init(&r->spaced[i], r->t->mem, INT32_MAX);
    if (!r->t->steps[i].code) continue;
    r->match[i] = tinker__split_room(&r->t->steps[i], r->t->mem);
    if (!r->match[i]) return TINKER_ENOMEM;
  }
  return 0;
}

static void close_rooms(run_t *r) {
  for (size_t i = 0; i < r->t->num_steps; i++) {
    if (r->match[i]) pcre2_match_data_free(r->match[i]);
    if (r->spaced[i].mem) tinker__buf_free(&r->spaced[i]);
  }
  tinker__bpe_room_free(&r->bpe);
  tinker__buf_free(&r->normal);
}

static int add_all(tinker__ids_t *ids, const int32_t *list, size_t n) {
  int rc = 0;
  for (size_t i = 0; i < n && rc == 0; i++) rc = tinker__ids_add(ids, list[i]);
  return rc;
}

int tinker__tokenizer_run(const tinker_tokenizer_t *t, tinker__str_t text,
                          uint32_t flags, tinker__ids_t *ids) {
  run_t r = {.t = t, .ids = ids};
  bool around = (flags & TINKER_ENCODE_ADD_SPECIAL) != 0;
  r.special_as_text = (flags & TINKER_ENCODE_SPECIAL_TEXT) != 0;
  r.bpe.mem = t->mem;
  tinker__buf_init(&r.normal, t->mem, INT32_MAX);
  int rc = open_rooms(&r);
  if (rc == 0 && around) rc = add_all(ids, t->before, t->num_before);
  if (rc == 0) rc = cut_out(&r, &t->raw, text, encode_normalized);
  if (rc == 0 && around) rc = add_all(ids, t->behind, t->num_behind);
  close_rooms(&r);
  return rc;
}
