/* Bodies in a zstd frame: what is taken, and what each fault is called. */
#include "wire_test.h"

#include <zstd.h>

#include "wire/zstd.h"

TestSuite(zstd, .init = wire_setup, .fini = wire_teardown);

enum { LEN = 300000 };

static char plain[LEN], packed[LEN + 4096], back[LEN];

/* Text that neither repeats nor is random: several kinds of blocks. */
static size_t pack(bool size) {
  for (size_t i = 0; i < LEN; i++) {
    plain[i] = (char)("abcdefgh"[i * i / 7 % 8] + (i > 200000 ? 0 : i % 3));
  }
  ZSTD_CCtx *c = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, size);
  ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
  size_t n = ZSTD_compress2(c, packed, sizeof(packed), plain, LEN);
  ZSTD_freeCCtx(c);
  cr_assert_not(ZSTD_isError(n));
  return n;
}

/* Length, then content, as a body's reader does it. */
static int unpack(tinker__str_t body, size_t max) {
  size_t len = 0;
  int rc = tinker__zstd_length(body, max, &len, why, sizeof(why));
  if (rc) return rc;
  char *out = malloc(len + 1); /* so that a write behind it is seen */
  rc = tinker__zstd_unpack(body, out, len, why, sizeof(why));
  if (!rc) memcpy(back, out, len);
  free(out);
  return rc;
}

static void refused(tinker__str_t body, size_t max, int code,
                    const char *text) {
  cr_assert_eq(unpack(body, max), code, "%s", text);
  cr_assert_not_null(strstr(why, text), "%s: %s", text, why);
}

Test(zstd, one_frame_and_nothing_else) {
  size_t n = pack(true);
  tinker__str_t body = {packed, n};
  cr_assert_eq(unpack(body, LEN), 0, "%s", why);
  cr_assert_arr_eq(back, plain, LEN);
  refused(body, LEN - 1, TINKER_EOVERFLOW, "larger than 299999 bytes");
  refused(TINKER__STR(""), LEN, TINKER_EPROTO, "no zstd frame");
  refused(TINKER__STR("{\"a\":1}"), LEN, TINKER_EPROTO, "no zstd frame");
  for (size_t len = 0; len < n; len += len < 20 || len + 20 > n ? 1 : 997) {
    cr_assert_eq(unpack((tinker__str_t){packed, len}, LEN), TINKER_EPROTO);
  }
  cr_assert_not_null(strstr(why, "damaged or cut off"), "%s", why);
  packed[n] = 0;
  refused((tinker__str_t){packed, n + 1}, LEN, TINKER_EPROTO,
          "1 bytes behind the zstd frame");
  /* A frame without content behind it would pass the library. */
  size_t empty = ZSTD_compress(packed + n, 64, "", 0, 1);
  refused((tinker__str_t){packed, n + empty}, LEN, TINKER_EPROTO,
          "bytes behind the zstd frame");
  packed[n / 2] ^= 4;
  refused(body, LEN, TINKER_EPROTO, "damaged");
  n = pack(false);
  refused((tinker__str_t){packed, n}, LEN, TINKER_EPROTO,
          "without a content size");
}

/* 12 bytes whose content is 64 KiB but who say 4, and the other way round. */
Test(zstd, bombs) {
  static const unsigned char more[] = {0x28, 0xb5, 0x2f, 0xfd, 0x20,
                                       4,    0x03, 0,    8,    'x'};
  static const unsigned char less[] = {0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0,  0,
                                       1,    0,    0x23, 0,    0,    'x'};
  refused((tinker__str_t){(const char *)more, sizeof(more)}, LEN, TINKER_EPROTO,
          "damaged");
  refused((tinker__str_t){(const char *)less, sizeof(less)}, LEN, TINKER_EPROTO,
          "damaged");
}
