/* bpe: byte pair encoding of one piece of text. The pair of lowest rank merges
 * first, the leftmost among equals; a heap finds it, so a piece of n bytes
 * takes n log n steps. */
#ifndef TINKER_TEXT_BPE_H
#define TINKER_TEXT_BPE_H

#include "text/table.h"

/* Growing list of ids. */
typedef struct tinker__ids_s {
  tinker__mem_t *mem;
  int32_t *at;
  size_t len;
  size_t cap;
} tinker__ids_t;

int tinker__ids_reserve(tinker__ids_t *ids, size_t more);
int tinker__ids_add(tinker__ids_t *ids, int32_t id);

/* Immutable. */
typedef struct tinker__bpe_s {
  tinker__merges_t merges;
  int32_t byte_ids[256]; /* -1: a byte that UTF-8 never has */
} tinker__bpe_t;

/* Working memory of one encode call, kept from piece to piece. */
typedef struct tinker__bpe_room_s {
  tinker__mem_t *mem;
  struct tinker__symbol_s *symbols;
  size_t num_symbols;
  struct tinker__candidate_s *heap;
  size_t heap_len, heap_cap;
} tinker__bpe_room_t;

/* Appends the ids of piece (valid UTF-8, below 2^31 bytes). 0 or
 * TINKER_ENOMEM. */
int tinker__bpe_encode(const tinker__bpe_t *bpe, tinker__bpe_room_t *room,
                       tinker__str_t piece, tinker__ids_t *out);
void tinker__bpe_room_free(tinker__bpe_room_t *room);

#endif
