/* Slots: how much they take, what they hold, and which of them are refused.
 * Their rows are in test_decode.c. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/kv.h"
#include "cpu/train.h"
#include "support.h"

static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

/* The rows of n tokens that a slot gets. */
static uint64_t feed(tiny_t *b, tinker__eng_slot_t *s, size_t from, size_t n) {
  uint64_t h = HASH_START;
  char why[256] = "";
  tinker__eng_decode_item_t item = {
      .slot = s,
      .tokens = b->s[0].tokens + from,
      .n = n,
      .on_row = hash_row,
      .user = &h,
  };
  cr_assert_eq(b->r.api->decode(b->r.engine, &item, 1, NULL, why, sizeof why),
               0, "%s", why);
  return h;
}

static tinker__eng_slot_t *slot(tiny_t *b, tinker__eng_adapter_t *a,
                                size_t max) {
  tinker__eng_slot_t *s = NULL;
  cr_assert_eq(b->r.api->slot_new(b->r.base, a, max, &s, NULL, 0), 0);
  return s;
}

/* A slot takes what it is priced at, its lists aside, whether it is made, is a
 * copy, or has grown. */
Test(kv, takes_its_price) {
  enum { LISTS = 1000 };
  tiny_t b;
  tinker__eng_slot_t *copy = NULL;
  tiny_open(&b, &tiny_shape);
  cr_assert_eq(b.r.api->slot_limit(b.r.engine), UINT64_MAX);
  tinker__eng_slot_t *first = slot(&b, NULL, 5);
  feed(&b, first, 0, 3); /* working memory */
  for (size_t max = 7; max <= tiny_shape.context; max += 131) {
    uint64_t price = b.r.api->slot_bytes(b.r.base, max);
    size_t before = atomic_load(&b.r.mem.live_bytes), bytes;
    for (int way = 0; way < 2; way++) {
      if (way == 0) copy = slot(&b, NULL, max);
      if (way == 1) {
        cr_assert_eq(b.r.api->slot_fork(first, 3, max, &copy, NULL, 0), 0);
      }
      bytes = atomic_load(&b.r.mem.live_bytes) - before;
      cr_assert(bytes >= price && bytes <= price + LISTS, "%zu", max);
      b.r.api->slot_free(copy);
    }
    before -= b.r.api->slot_bytes(b.r.base, first->max);
    cr_assert_eq(b.r.api->slot_grow(first, max, NULL, 0), 0);
    cr_assert_eq(atomic_load(&b.r.mem.live_bytes) - before, price);
  }
  b.r.api->slot_free(first);
  tiny_close(&b);
}

/* While it grows, it takes a layer more at most. */
Test(kv, grows_a_layer_at_a_time) {
  enum { HEADS = 100 }; /* of the allocator */
  tiny_t b;
  char why[256] = "";
  tiny_open(&b, &tiny_shape);
  tinker__eng_slot_t *s = slot(&b, NULL, 20);
  uint64_t more =
      b.r.api->slot_bytes(b.r.base, 300) - b.r.api->slot_bytes(b.r.base, 20);
  uint64_t layer = b.r.api->slot_bytes(b.r.base, 20) / tiny_shape.layers;
  b.r.mem.ceiling = atomic_load(&b.r.mem.live_bytes) + more + layer + HEADS;
  cr_assert_eq(b.r.api->slot_grow(s, 300, why, sizeof why), 0, "%s", why);
  b.r.mem.ceiling = 0;
  b.r.api->slot_free(s);
  tiny_close(&b);
}

/* Asked for less room than it has, a slot keeps its room. */
Test(kv, does_not_shrink) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_slot_t *s = slot(&b, NULL, 12), *other = slot(&b, NULL, 12);
  feed(&b, s, 0, 4);
  feed(&b, other, 0, 4);
  cr_assert_eq(b.r.api->slot_grow(s, 5, NULL, 0), 0);
  cr_assert_eq(feed(&b, s, 4, 8), feed(&b, other, 4, 8));
  b.r.api->slot_free(s);
  b.r.api->slot_free(other);
  tiny_close(&b);
}

/* Who lent the adapter may let it go. */
Test(kv, holds_its_adapter) {
  tiny_t b;
  tinker__eng_adapter_t *a = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  cr_assert_eq(b.r.api->adapter_current(t, &a, NULL, 0), 0);
  tinker__eng_slot_t *first = slot(&b, a, 12), *s = slot(&b, a, 12), *copy;
  uint64_t want = feed(&b, first, 0, 12);
  b.r.api->slot_free(first);
  b.r.api->train_free(t);
  size_t blocks = atomic_load(&b.r.mem.live_blocks);
  b.r.api->adapter_release(a);
  cr_assert_eq(atomic_load(&b.r.mem.live_blocks), blocks);
  cr_assert_eq(b.r.api->slot_fork(s, 0, 12, &copy, NULL, 0), 0);
  blocks = atomic_load(&b.r.mem.live_blocks);
  b.r.api->slot_free(s);
  cr_assert_eq(feed(&b, copy, 0, 12), want);
  b.r.api->slot_free(copy);
  tiny_close(&b);
}

static void count_row(void *user, size_t position, const float *row, size_t n) {
  size_t *next = user;
  (void)row;
  (void)n;
  cr_assert_eq(position, (*next)++);
}

/* The rows from first_row on, wherever the round cuts the tokens of an item
 * into batches. */
Test(kv, first_row_counts_in_the_item) {
  enum { ITEMS = 4, TOKENS = 300, FIRST = 250 };
  tiny_t b;
  sample_t s;
  size_t next[ITEMS];
  tinker__eng_decode_item_t items[ITEMS];
  tiny_open(&b, &tiny_shape);
  sample_random(&s, TOKENS, 1, tiny_shape.vocab, 3);
  for (size_t i = 0; i < ITEMS; i++) {
    next[i] = FIRST;
    items[i] = (tinker__eng_decode_item_t){.slot = slot(&b, NULL, TOKENS),
                                           .tokens = s.tokens,
                                           .n = TOKENS,
                                           .first_row = FIRST,
                                           .on_row = count_row,
                                           .user = &next[i]};
  }
  cr_assert_eq(b.r.api->decode(b.r.engine, items, ITEMS, NULL, NULL, 0), 0);
  for (size_t i = 0; i < ITEMS; i++) {
    cr_assert_eq(next[i], (size_t)TOKENS, "item %zu", i);
    b.r.api->slot_free(items[i].slot);
  }
  samples_free(&s, 1);
  tiny_close(&b);
}

Test(kv, refuses_room) {
  tiny_t b;
  char why[256] = "";
  tinker__eng_slot_t *none = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_slot_t *s = slot(&b, NULL, 10);
  feed(&b, s, 0, 8);
  cr_assert_eq(b.r.api->slot_new(b.r.base, NULL, 0, &none, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "max_tokens: 0 is not in 1 to 400, the context");
  cr_assert_eq(b.r.api->slot_grow(s, 0, why, sizeof why), TINKER_EINVAL);
  cr_assert_eq(b.r.api->slot_fork(s, 6, 5, &none, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "n: 6 tokens of a slot with 8, into room for 5");
  cr_assert_eq(b.r.api->slot_fork(s, 9, 20, &none, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_eq(b.r.api->slot_fork(s, 5, 401, &none, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_null(none);
  cr_assert_eq(b.r.api->slot_len(s), 8u);
  b.r.api->slot_free(s);
  tiny_close(&b);
}

/* A model's slots take its own adapters, and its rounds its own slots. */
Test(kv, refuses_other_models) {
  tiny_t b;
  char why[256] = "";
  tinker__eng_base_t *second = NULL;
  tinker__eng_slot_t *none = NULL;
  tinker__eng_adapter_t *a = NULL;
  tiny_open(&b, &tiny_shape);
  cr_assert_eq(
      tinker__eng_backend_load(b.r.api, b.r.engine, b.model, &second, NULL, 0),
      0);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  cr_assert_eq(b.r.api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(b.r.api->slot_new(second, a, 5, &none, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "adapter: belongs to another base model");
  cr_assert_null(none);
  tinker__eng_decode_item_t items[2] = {
      {.slot = slot(&b, a, 5), .tokens = b.s[0].tokens, .n = 1},
      {.tokens = b.s[0].tokens, .n = 1}};
  items[0].first_row = items[1].first_row = 1;
  cr_assert_eq(b.r.api->slot_new(second, NULL, 5, &items[1].slot, NULL, 0), 0);
  cr_assert_eq(b.r.api->decode(b.r.engine, items, 2, NULL, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "items[1]: another base than the first item's");
  items[0].n = 0;
  cr_assert_eq(b.r.api->decode(b.r.engine, items, 1, NULL, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "items[0]: no tokens");
  cr_assert_eq(b.r.api->slot_len(items[0].slot), 0u);
  b.r.api->slot_free(items[0].slot);
  b.r.api->slot_free(items[1].slot);
  b.r.api->adapter_release(a);
  b.r.api->train_free(t);
  b.r.api->base_release(second);
  tiny_close(&b);
}
