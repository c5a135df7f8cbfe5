/* Values with one word of text, in and out. */
#include "yaml/scalar.h"

#include <criterion/criterion.h>

static void reads(tinker__yaml_type_t type, const char *text, int64_t i,
                  double f, const char *back) {
  tinker__yaml_scalar_t v;
  char out[48];
  const char *wrong = tinker__yaml_scalar_read(type, tinker__str(text), &v);
  cr_assert_null(wrong, "%s %s", text, wrong);
  cr_assert_eq(v.i, i, "%s", text);
  cr_assert_eq(v.f, f, "%s", text);
  tinker__yaml_scalar_write(type, &v, out);
  cr_assert_str_eq(out, back, "%s is written as %s", text, out);
}

static void refuses(tinker__yaml_type_t type, const char *text,
                    const char *why) {
  tinker__yaml_scalar_t v;
  const char *wrong = tinker__yaml_scalar_read(type, tinker__str(text), &v);
  cr_assert_not_null(wrong, "%s is taken", text);
  cr_assert_str_eq(wrong, why, "%s: %s", text, wrong);
}

Test(scalar, durations) {
  tinker__yaml_type_t t = TINKER__YAML_DURATION;
  reads(t, "0s", 0, 0, "0ms");
  reads(t, "250ms", 250, 0, "250ms");
  reads(t, "10s", 10000, 0, "10s");
  reads(t, "90s", 90000, 0, "90s");
  reads(t, "60m", 3600000, 0, "1h");
  reads(t, "60h", 216000000, 0, "60h");
  reads(t, "14d", 1209600000, 0, "14d");
  refuses(t, "10", "lacks its unit: ms, s, m, h or d");
  static const char no[] =
      "is not a duration: a whole number and ms, s, m, h or d";
  refuses(t, "", no);
  refuses(t, "s", no);
  refuses(t, "1.5h", no);
  refuses(t, "-1s", no);
  refuses(t, "10 s", no);
  refuses(t, "10sec", no);
  refuses(t, "1h30m", no);
  refuses(t, "10S", no);
  refuses(t, "99999999999999999999s", "is too large");
  refuses(t, "9223372036854775807s", "is too large");
}

Test(scalar, sizes_and_counts) {
  reads(TINKER__YAML_SIZE, "12B", 12, 0, "12B");
  reads(TINKER__YAML_SIZE, "2048B", 2048, 0, "2KiB");
  reads(TINKER__YAML_SIZE, "256MiB", 268435456, 0, "256MiB");
  reads(TINKER__YAML_SIZE, "1TiB", (int64_t)1 << 40, 0, "1TiB");
  refuses(TINKER__YAML_SIZE, "256", "lacks its unit: B, KiB, MiB, GiB or TiB");
  refuses(TINKER__YAML_SIZE, "256MB",
          "is not a size: a whole number and B, KiB, MiB, GiB or TiB");
  reads(TINKER__YAML_COUNT, "7", 7, 0, "7");
  reads(TINKER__YAML_COUNT, "2M", 2000000, 0, "2M");
  reads(TINKER__YAML_COUNT, "1500", 1500, 0, "1500");
  refuses(TINKER__YAML_COUNT, "2m",
          "is not a count: a whole number, and k, M or G if need be");
}

Test(scalar, numbers) {
  reads(TINKER__YAML_BOOL, "true", 1, 0, "true");
  reads(TINKER__YAML_BOOL, "false", 0, 0, "false");
  refuses(TINKER__YAML_BOOL, "yes", "is neither true nor false");
  refuses(TINKER__YAML_BOOL, "True", "is neither true nor false");
  reads(TINKER__YAML_INT, "-12", -12, 0, "-12");
  refuses(TINKER__YAML_INT, "1.0", "is not a whole number");
  refuses(TINKER__YAML_INT, "0x10", "is not a whole number");
  refuses(TINKER__YAML_INT, "9223372036854775808", "is too large");
  reads(TINKER__YAML_FLOAT, "0.1", 0, 0.1, "0.1");
  reads(TINKER__YAML_FLOAT, "2", 0, 2, "2");
  refuses(TINKER__YAML_FLOAT, ".5", "is not a number");
  refuses(TINKER__YAML_FLOAT, ".inf", "is not a number");
  refuses(TINKER__YAML_FLOAT, "nan", "is not a number");
  refuses(TINKER__YAML_FLOAT, "1e999", "is too large");
  reads(TINKER__YAML_RATE, "2/s", 0, 2, "2/s");
  reads(TINKER__YAML_RATE, "30/m", 0, 0.5, "0.5/s");
  reads(TINKER__YAML_RATE, "36/h", 0, 0.01, "0.01/s");
  refuses(TINKER__YAML_RATE, "2", "lacks its unit: /s, /m or /h");
  refuses(TINKER__YAML_RATE, "2/d", "is not a rate: a number and /s, /m or /h");
}
