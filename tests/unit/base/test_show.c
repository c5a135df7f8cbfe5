/* Text from outside, made harmless for a terminal. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "base/json_write.h"
#include "base/log.h"
#include "base/show.h"

static void shows(const char *text, size_t len, const char *want) {
  char out[80];
  tinker__show(out, sizeof out, (tinker__str_t){text, len});
  cr_assert_str_eq(out, want, "%s, not %s", out, want);
}

#define SHOWS(text, want) shows(text, sizeof text - 1, want)

Test(show, hidden_characters) {
  SHOWS("", "");
  SHOWS("plain ~ \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", /* and wide ones */
        "plain ~ \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
  SHOWS("a\x1b[2J\n\r\t\x7f", "a\\u001b[2J\\u000a\\u000d\\u0009\\u007f");
  SHOWS("a\0b", "a\\u0000b");
  SHOWS("\xc2\x80\xc2\x9f\xc2\xa0", "\\u0080\\u009f\xc2\xa0");
  SHOWS("\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f", "\\u061c\\u200e\\u200f");
  SHOWS("\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xae\xe2\x80\xaf",
        "\xe2\x80\xa7\\u2028\\u202e\xe2\x80\xaf");
  SHOWS("\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa",
        "\xe2\x81\xa5\\u2066\\u2069\xe2\x81\xaa");
  SHOWS("\xff\xc3(\xe2\x80", "\\xff\\xc3(\\xe2\\x80");
}

Test(show, is_cut_between_characters) {
  char out[8];
  tinker__show(out, sizeof out, tinker__str("abcd\n"));
  cr_assert_str_eq(out, "abcd");
  tinker__show(out, sizeof out, tinker__str("abcdef\xc3\xa9"));
  cr_assert_str_eq(out, "abcdef");
  tinker__show(out, sizeof out, tinker__str("abcdefg"));
  cr_assert_str_eq(out, "abcdefg");
  tinker__show(out, 1, tinker__str("a"));
  cr_assert_str_eq(out, "");
}

Test(show, found_in_names) {
  cr_assert(!tinker__has_hidden(tinker__str("caf\xc3\xa9 1.5/x")));
  cr_assert(!tinker__has_hidden(tinker__str("\xff"))); /* another fault */
  cr_assert(tinker__has_hidden(tinker__str("a\tb")));
  cr_assert(tinker__has_hidden(tinker__str("\xe2\x80\xaegpj")));
  cr_assert(tinker__has_hidden((tinker__str_t){"a\0b", 3}));
}

Test(show, escaped_in_json) {
  tinker__mem_t mem;
  tinker__buf_t out;
  tinker__jsonw_t w;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 1000);
  tinker__jsonw_init(&w, &out);
  tinker__jsonw_cstr(&w,
                     "\x1b\"\\\n\x7f\xc2\x9b\xc3\xa9\xe2\x80\xae.\xe2\x82\xac");
  cr_assert(tinker__str_eqs(tinker__buf_str(&out),
                            "\"\\u001b\\\"\\\\\\n\\u007f\\u009b\xc3\xa9"
                            "\\u202e.\xe2\x82\xac\""));
  tinker__buf_free(&out);
}

static void on_line(void *user, tinker_log_level_t level, const char *component,
                    const char *message) {
  (void)level;
  (void)component;
  tinker__why(user, 64, 0, "%s", message);
}

Test(show, in_errors_and_in_the_log) {
  tinker__mem_t mem;
  tinker__log_t *log;
  char line[64] = "";
  tinker__error_spec_t spec = {.code = TINKER_ESERVER};
  tinker__mem_init(&mem, NULL, 0);
  tinker_error_t *e = tinker__error_new(&mem, &spec, "it says %s", "a\x1b[2J");
  cr_assert_str_eq(tinker_error_message(e), "it says a\\u001b[2J");
  tinker__error_release(e);
  cr_assert_eq(tinker__log_new(&log, &mem, TINKER_LOG_INFO, 4, NULL, NULL), 0);
  TINKER__LOG(log, TINKER_LOG_INFO, "session", "%s", "b\r\nERROR forged");
  tinker__log_drain(log, on_line, line);
  cr_assert_str_eq(line, "b\\u000d\\u000aERROR forged");
  tinker__log_free(log);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}
