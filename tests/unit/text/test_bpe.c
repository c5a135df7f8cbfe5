/* Byte pair encoding: which pair merges first. */
#include <criterion/criterion.h>
#include <string.h>

#include "text/bpe.h"

static tinker__mem_t mem;
static tinker__bpe_t bpe;
static tinker__bpe_room_t room;
static tinker__ids_t ids;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  room = (tinker__bpe_room_t){.mem = &mem};
  ids = (tinker__ids_t){.mem = &mem};
  for (int i = 0; i < 256; i++) bpe.byte_ids[i] = i;
  cr_assert_eq(tinker__merges_init(&bpe.merges, &mem, 1, 8), 0);
}

static void teardown(void) {
  tinker__merges_free(&bpe.merges);
  tinker__bpe_room_free(&room);
  tinker__mem_free(&mem, ids.at);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(bpe, .init = setup, .fini = teardown);

static void merge(uint32_t left, uint32_t right, uint32_t rank, uint32_t id) {
  tinker__merges_put(&bpe.merges, (tinker__merge_t){left, right, rank, id});
}

static void expect(const char *text, const int32_t *want, size_t n) {
  ids.len = 0;
  cr_assert_eq(tinker__bpe_encode(&bpe, &room, tinker__str(text), &ids), 0);
  cr_expect(ids.len == n && memcmp(ids.at, want, n * sizeof *want) == 0,
            "%s: %zu", text, ids.len);
}

Test(bpe, the_lowest_rank_merges_first) {
  merge('a', 'b', 1, 256);
  merge('b', 'c', 0, 257);
  expect("abc", (int32_t[]){'a', 257}, 2);
  expect("abab", (int32_t[]){256, 256}, 2);
  expect("", (int32_t[]){0}, 0);
}

Test(bpe, the_leftmost_among_equals) {
  merge('a', 'a', 0, 256);
  expect("aaa", (int32_t[]){256, 'a'}, 2);
  expect("aaaaa", (int32_t[]){256, 256, 'a'}, 3);
}

Test(bpe, what_merged_merges_again) {
  merge('a', 'b', 2, 256);
  merge('c', 'd', 1, 257);
  merge(256, 257, 0, 258);
  expect("abcd", (int32_t[]){258}, 1);
  expect("xabcdcd", (int32_t[]){'x', 258, 257}, 3);
}

/* n log n steps: with n squared this would be minutes. */
Test(bpe, long_pieces_end) {
  enum { N = 1 << 18 };
  static char text[N + 1];
  memset(text, 'a', N);
  merge('a', 'a', 0, 256);
  merge(256, 256, 1, 257);
  cr_assert_eq(tinker__bpe_encode(&bpe, &room, tinker__str(text), &ids), 0);
  cr_assert_eq(ids.len, N / 4);
  for (size_t i = 0; i < ids.len; i++) cr_assert_eq(ids.at[i], 257);
}
