/* fb_decode: what the two decoders of forward_backward share. Inside wire
 * only. */
#ifndef TINKER_WIRE_FB_DECODE_H
#define TINKER_WIRE_FB_DECODE_H

#include "wire/fb_request.h"
#include "wire/tensor.h"

typedef struct tinker__fb_decoder_s {
  tinker__arena_t *arena;
  tinker__fb_view_t *view;
  char *why;
  size_t why_len;
  int code; /* of malformed input in this format */
} tinker__fb_decoder_t;

/* "top: text" in `why`; returns code. */
int tinker__fb_fail(const tinker__fb_decoder_t *d, int code, const char *top,
                    const char *text);
int tinker__fb_no_memory(const tinker__fb_decoder_t *d);
int tinker__fb_name(const tinker__fb_decoder_t *d, const char *top,
                    tinker__str_t name);
/* Sorts in place; a name that is there twice is an error. */
int tinker__fb_sort_inputs(const tinker__fb_decoder_t *d,
                           tinker__datum_view_t *datum, size_t index);
/* Sorts and checks the entries and puts them into the view. */
int tinker__fb_set_config(const tinker__fb_decoder_t *d,
                          tinker__config_entry_t *c, size_t n);
int tinker__fb_decode_json(tinker__fb_decoder_t *d, tinker__str_t body);
/* 0 or TINKER_ENOMEM. Maps of the view are sorted. */
int tinker__fb_digest(const tinker__fb_view_t *view, tinker__mem_t *mem,
                      unsigned char out[TINKER__SHA256_LEN]);

/* Reads a ModelInput where j stands; j's errors are in `why` afterwards. */
int tinker__prompt_from_json(const tinker__chunk_view_t **chunks, size_t *count,
                             tinker__arena_t *arena, tinker__json_t *j,
                             const tinker__where_t *at);

/* Notes one of an object's fields; true when it was noted before. Readers don't
 * agree on the meaning of a field that is there twice. */
static inline bool tinker__again(unsigned *seen, unsigned bit) {
  bool was = (*seen & bit) != 0;
  *seen |= bit;
  return was;
}

#endif
