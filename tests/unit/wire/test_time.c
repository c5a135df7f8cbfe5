/* The times of messages. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/time.h"

#define NONE INT64_MIN

static int64_t read(const char *text) {
  int64_t ms = NONE;
  bool ok = tinker__time_read(tinker__str(text), &ms);
  cr_assert_eq(ok, ms != NONE, "%s", text);
  return ms;
}

Test(time, as_services_write_it) {
  static const struct {
    const char *text;
    int64_t ms;
  } rows[] = {{"1970-01-01T00:00:00Z", 0},
              {"1969-12-31T23:59:59.999Z", -1},
              {"2026-11-21T00:02:00Z", 1795219320000},
              {"2026-11-21T03:02:43.832385", 1795230163832},
              {"2026-11-21T03:02:43.9Z", 1795230163900},
              {"2026-11-21t03:02:43z", NONE},
              {"2026-08-08 03:35:23+00:00", 1786160123000},
              {"2026-11-21T02:02:00+02:00", 1795219320000},
              {"2026-11-20T18:32:00-0530", 1795219320000},
              {"2026-11-21T01:02:00+01", 1795219320000},
              {"2024-02-29T12:00:00Z", 1709208000000},
              {"2000-02-29T00:00:00Z", 951782400000},
              {"0001-01-01T00:00:00Z", -62135596800000},
              {"9999-12-31T23:59:59.999999Z", 253402300799999}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    cr_assert_eq(read(rows[i].text), rows[i].ms, "%s: %lld", rows[i].text,
                 (long long)read(rows[i].text));
  }
}

Test(time, what_is_not_one) {
  static const char *const texts[] = {"",
                                      "now",
                                      "2026",
                                      "2026-11-21",
                                      "2026-11-21T",
                                      "2026-11-21T03:02",
                                      "2026-11-21T03:02:",
                                      "2026-11-21T03:02:4",
                                      "2026-11-21T03:02:43.",
                                      "2026-11-21T03:02:43.Z",
                                      "2026-11-21T03:02:43Zx",
                                      "2026-11-21T03:02:43+",
                                      "2026-11-21T03:02:43+1",
                                      "2026-11-21T03:02:43+02:0",
                                      "2026-11-21T03:02:43+02:60",
                                      "2026-11-21T03:02:43+24:00",
                                      "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z",
                                      "2026-01-00T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "1900-02-29T00:00:00Z",
                                      "2026-04-31T00:00:00Z",
                                      "0000-01-01T00:00:00Z",
                                      "2026-01-01T24:00:00Z",
                                      "2026-01-01T00:60:00Z",
                                      "2026-01-01T00:00:61Z",
                                      "+026-01-01T00:00:00Z",
                                      "2026/01/01T00:00:00Z",
                                      "1795219320000"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    cr_assert_eq(read(texts[i]), NONE, "%s", texts[i]);
  }
}

/* Every day that the C library knows, far around the present. */
Test(time, the_calendar) {
  for (int64_t day = -30000; day < 60000; day++) {
    char text[40];
    struct tm tm;
    time_t seconds = (time_t)(day * 86400 + (day & 0xffff));
    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    cr_assert_eq(read(text), (int64_t)seconds * 1000, "%s", text);
  }
}

/* No prefix of a time is read past its end. */
Test(time, stays_in_the_text) {
  static const char text[] = "2026-11-21T03:02:43.832+02:30";
  for (size_t n = 0; n < sizeof text; n++) {
    char *copy = malloc(n ? n : 1);
    int64_t ms = 0;
    memcpy(copy, text, n);
    tinker__time_read((tinker__str_t){copy, n}, &ms);
    free(copy);
  }
}
