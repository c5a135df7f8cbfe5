/* One character at a time: complete, cut off, wrong. */
#include <criterion/criterion.h>
#include <string.h>

#include "text/utf8.h"

Test(utf8, tells_apart) {
  static const struct {
    const char *bytes;
    int n;
  } rows[] = {
      {"\x80", -1},         {"\xbf", -1},
      {"\xc0\x80", -1},     {"\xc1\xbf", -1},
      {"\xc2", 0},          {"\xc2\x41", -1},
      {"\xe0\x80\x80", -1}, {"\xe0\x9f", -1},
      {"\xe0\xa0", 0},      {"\xe2\x82", 0},
      {"\xe2\x82\x41", -2}, {"\xed\xa0\x80", -1}, /* a surrogate */
      {"\xed\x9f", 0},      {"\xf0\x8f\xbf", -1},
      {"\xf0\x90\x80", 0},  {"\xf0\x90\x80\x41", -3},
      {"\xf0\x90\x41", -2}, {"\xf4\x90\x80\x80", -1},
      {"\xf4\x8f", 0},      {"\xf5\x80", -1},
      {"\xff", -1},         {"\xf0", 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t cp;
    cr_expect_eq(tinker__utf8_next(rows[i].bytes, strlen(rows[i].bytes), &cp),
                 rows[i].n, "row %zu", i);
  }
}

Test(utf8, goes_both_ways) {
  for (uint32_t cp = 1; cp <= 0x10ffff; cp++) {
    char bytes[5] = "";
    uint32_t back = 0;
    if (cp == 0xd800) cp = 0xe000;
    size_t n = tinker__utf8_put(bytes, cp);
    cr_assert_eq(tinker__utf8_next(bytes, n, &back), (int)n);
    cr_assert_eq(back, cp);
    cr_assert_eq(n, strlen(bytes));
  }
}
