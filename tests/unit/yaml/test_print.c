/* A struct as YAML that reads back, and a table as a page. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "sample.h"
#include "support/fail_alloc.h"

static void prints(const char *text, const char *want) {
  tinker__mem_t mem;
  tinker__yaml_t *y, *again;
  tinker__buf_t out, twice;
  sample_t s, t;
  char report[2000];
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 100000);
  tinker__buf_init(&twice, &mem, 100000);
  sample_read(&mem, text, strlen(text), &s, &y, report, sizeof report);
  cr_assert_str_empty(report);
  tinker__yaml_print(&out, sample_table, &s, NULL);
  cr_assert_str_eq(tinker__buf_cstr(&out), want, "%s", tinker__buf_cstr(&out));
  sample_read(&mem, out.data, out.len, &t, &again, report, sizeof report);
  cr_assert_str_empty(report);
  tinker__yaml_print(&twice, sample_table, &t, NULL);
  cr_assert_str_eq(tinker__buf_cstr(&twice), want);
  tinker__buf_free(&out);
  tinker__buf_free(&twice);
  tinker__yaml_free(y);
  tinker__yaml_free(again);
  cr_assert_eq(mem.live_blocks, 0);
}

#define REST                                                                   \
  "level: 3\ncount: 2M\nwait: none\nroom: 1MiB\nmode: act\n"                   \
  "flags: [red, green]\nspan: [5s, 5m]\nshare: 0.25\nrate: 2/s\n"

Test(print, defaults) {
  prints("{}", "on: true\n" REST "name: \"\"\nargv: []\nmatch: {}\n"
               "inner:\n  wait: 10s\n  room: 4KiB\n  name: x\n"
               "items: []\nplain: []\n");
}

Test(print, texts_and_items) {
  prints("on: false\nname: \"a \\\"b\\\" \\\\ \\n\\t: #\"\n"
         "argv: [\"\", no, 12, ./x, a b, \"null\"]\n"
         "match: {user.p: \"1\", \"a b\": ~x}\n"
         "inner: {wait: 20s}\n"
         "items: [{match: {a: b}}, {match: {}, wait: none, name: c}]\n"
         "plain: [{}, {wait: 1m}]\n",
         "on: false\n" REST "name: \"a \\\"b\\\" \\\\ \\n\\t: #\"\n"
         "argv: [\"\", \"no\", \"12\", \"./x\", \"a b\", \"null\"]\n"
         "match: {user.p: \"1\", \"a b\": \"~x\"}\n"
         "inner:\n  wait: 20s\n  room: 4KiB\n  name: x\n"
         "items:\n  - match: {a: b}\n"
         "  - match: {}\n    wait: none\n    name: c\n"
         "plain:\n  - {}\n  - wait: 1m\n");
}

Test(print, words_that_others_take_for_something) {
  tinker__mem_t mem;
  tinker__buf_t out;
  sample_t s, t;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 1000);
  tinker__yaml_start(sample_table, &s);
  t = s;
  s.mode = 0;
  s.inner.room = 1 << 20;
  tinker__yaml_print(&out, sample_table, &s, &t);
  cr_assert_str_eq(tinker__buf_cstr(&out),
                   "mode: \"off\"\ninner:\n  room: 1MiB\nitems: []\n"
                   "plain: []\n");
  tinker__buf_free(&out);
}

static int print_items(tinker__mem_t *mem, void *user) {
  tinker__buf_t out;
  inner_t items[2] = {{1000, 1024, "a"}, {2000, 1024, "b"}};
  sample_t s;
  (void)user;
  tinker__yaml_start(sample_table, &s);
  s.plain = (tinker__yaml_list_t){items, 2};
  tinker__buf_init(&out, mem, 100000);
  tinker__yaml_print(&out, sample_table, &s, &s);
  int rc = tinker__buf_error(&out);
  tinker__buf_free(&out);
  return rc;
}

Test(print, without_memory) {
  cr_assert_gt(tinker__fail_sweep(print_items, NULL, TINKER_ENOMEM), 1);
}

Test(print, reference) {
  tinker__mem_t mem;
  tinker__buf_t out;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 100000);
  tinker__yaml_reference(&out, sample_table, "a.");
  static const char *const rows[] = {
      "| `a.on` | true or false | `true` | - | Whether. |\n",
      "| `a.level` | whole number | `3` | from -2 to 9 | How high. |\n",
      "| `a.wait` | duration | `none` | `none` | How long. |\n",
      "| `a.room` | size | `1MiB` | at most 1GiB | How much. |\n",
      "| `a.mode` | word | `act` | `off`, `act`; not yet `dream` | What it "
      "does. |\n",
      "| `a.flags` | list of words | `[red, green]` | `red`, `green`; not yet "
      "`blue` | Which colours. |\n",
      "| `a.span` | two durations | `[5s, 5m]` | at least 1s | From, to. |\n",
      "| `a.share` | number | `0.25` | from 0 to 1, or `none` | Which part. "
      "|\n",
      "| `a.name` | text | `\"\"` | - | Its name. |\n",
      "| `a.match` | map of texts | `{}` | - | Pairs. |\n",
      "| `a.inner.room` | size | `4KiB` | at least 1KiB | How much. |\n",
      "| `a.items[].match` | map of texts | must be set | - | Which. |\n",
      "| `a.plain[].name` | text | `x` | - | Whose. |\n",
      "| `a.future` | not honoured yet | - | - | it is not now |\n"};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    cr_assert_not_null(strstr(tinker__buf_cstr(&out), rows[i]), "%s in %s",
                       rows[i], out.data);
  }
  cr_assert_null(strstr(out.data, "items[].wait"));
  tinker__buf_free(&out);
}
