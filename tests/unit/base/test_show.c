/* Text of strangers in sentences for people. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/show.h"

static void shown(const char *text, const char *want) {
  char out[128];
  tinker__show(out, sizeof out, text);
  cr_assert_str_eq(out, want);
}

Test(show, controls_and_directions_are_escaped) {
  shown("plain text, Grüße, 日本, 🙂 \\",
        "plain text, Grüße, 日本, 🙂 \\");
  shown("a\n\x1b[2J\r\tb\x7f\x01", "a\\n\\x1b[2J\\r\\tb\\x7f\\x01");
  shown("\xc2\x9b"
        "31m\xc2\xa0",
        "\\x9b"
        "31m\xc2\xa0");
  shown("x\xe2\x80\xae"
        "y\xe2\x81\xa6\xe2\x80\xa8\xd8\x9c\xe2\x80\x8f",
        "x\\u202ey\\u2066\\u2028\\u061c\\u200f");
  shown("\xff\xc3(\xed\xa0\x80", "\\xff\\xc3(\\xed\\xa0\\x80");
  shown("", "");
}

/* Every room: never longer, never half a character or escape. */
Test(show, cut_between_characters) {
  const char *text = "é\n🙂\xe2\x80\xae";
  static const char *const prefixes[] = {"", "é", "é\\n", "é\\n🙂",
                                         "é\\n🙂\\u202e"};
  for (size_t room = 1; room < 20; room++) {
    char out[20];
    size_t best = 0;
    memset(out, 'x', sizeof out);
    tinker__show(out, room, text);
    for (size_t i = 0; i < 5; i++) {
      if (strlen(prefixes[i]) < room) best = i;
    }
    cr_assert_str_eq(out, prefixes[best], "%zu", room);
  }
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
  cr_assert_str_eq(tinker_error_message(e), "it says a\\x1b[2J");
  tinker__error_release(e);
  cr_assert_eq(tinker__log_new(&log, &mem, TINKER_LOG_INFO, 4, NULL, NULL), 0);
  TINKER__LOG(log, TINKER_LOG_INFO, "session", "%s", "b\r\nERROR forged");
  tinker__log_drain(log, on_line, line);
  cr_assert_str_eq(line, "b\\r\\nERROR forged");
  tinker__log_free(log);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}
