/* NFC: composing, order of marks, the limits of Unicode 9, long runs. The
 * comparison with the reference is tests/interop/test_tokenizer.py. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"
#include "text/normalize.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(normalize, .init = setup, .fini = teardown);

Test(normalize, composes_and_orders) {
  static const char *const rows[][2] = {
      {"", ""},
      {"plain \xc3\xa9", "plain \xc3\xa9"},
      {"e\u0301", "\u00e9"},
      {"s\u0307\u0323", "\u1e69"},
      {"\u212b", "\u00c5"},
      {"\u1100\u1161\u11a8", "\uac01"},
      {"\u0958", "\u0915\u093c"}, /* excluded from composing */
      {"\u0301a", "\u0301a"},
      {"e\u0301\u0301", "\u00e9\u0301"},
      {"a\u0345\u0301", "\u00e1\u0345"},
      {"a\u0305\u0301", "a\u0305\u0301"}, /* same class: blocked */
      {"a\u0316\u0305\u0301", "a\u0316\u0305\u0301"},
      {"a\u0316\u0301", "\u00e1\u0316"},
      {"\u0f71\u0f74\u0f72", "\u0f71\u0f72\u0f74"},
      /* A mark of Unicode 10: a base to the reference, which thus blocks. */
      {"a\u1df6\u0301", "a\u1df6\u0301"},
      {"a\u0301\u1df6", "\u00e1\u1df6"},
      /* Composed in Unicode 13 only. */
      {"\U00011935\U00011930", "\U00011935\U00011930"},
      {"\U00011938", "\U00011938"},
  };
  tinker__buf_t room;
  tinker__buf_init(&room, &mem, 1 << 20);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__str_t out;
    cr_assert_eq(tinker__nfc(&out, &room, tinker__str(rows[i][0])), 0);
    cr_expect(tinker__str_eqs(out, rows[i][1]), "row %zu: %.*s", i,
              (int)out.len, out.ptr);
  }
  tinker__buf_free(&room);
}

Test(normalize, sorts_long_runs_stably) {
  enum { PAIRS = 50000 };
  static char text[1 + 4 * PAIRS], want[1 + 4 * PAIRS];
  tinker__buf_t room;
  tinker__str_t out;
  text[0] = want[0] = 'q';
  for (int i = 0; i < PAIRS; i++) { /* U+0301 above, U+0323 below */
    memcpy(text + 1 + 4 * i, "\xcc\x81\xcc\xa3", 4);
    memcpy(want + 1 + 2 * i, "\xcc\xa3", 2);
    memcpy(want + 1 + 2 * (PAIRS + i), "\xcc\x81", 2);
  }
  tinker__buf_init(&room, &mem, 1 << 20);
  cr_assert_eq(tinker__nfc(&out, &room, (tinker__str_t){text, sizeof text}), 0);
  cr_assert_eq(out.len, sizeof want);
  cr_assert_eq(memcmp(out.ptr, want, sizeof want), 0);
  tinker__buf_free(&room);
}

static int normalize(tinker__mem_t *m, void *user) {
  static char text[401] = "e";
  tinker__buf_t room;
  tinker__str_t out;
  (void)user;
  for (int i = 0; i < 200; i++) {
    memcpy(text + 1 + 2 * i, i % 2 ? "\xcc\xa3" : "\xcc\x81", 2);
  }
  tinker__buf_init(&room, m, 1 << 20);
  int rc = tinker__nfc(&out, &room, (tinker__str_t){text, sizeof text});
  tinker__buf_free(&room);
  return rc;
}

Test(normalize, survives_lack_of_memory) {
  cr_assert_geq(tinker__fail_sweep(normalize, NULL, TINKER_ENOMEM), 4);
}
