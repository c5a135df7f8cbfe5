/* What stands in a file in a struct, and every fault with its place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "sample.h"
#include "support/fail_alloc.h"

static const char full[] =
    "on: false\nlevel: -2\ncount: 5k\nwait: 3m\nroom: 2MiB\nmode: off\n"
    "flags: [green]\nspan: [2s, 2s]\nshare: 0.5\nrate: 30/m\n"
    "name: 12\nargv: [./a, \"b c\", true]\nmatch: {a.b: x, c: \"\"}\n"
    "items:\n  - match: {p: q}\n    room: 8KiB\n  - {match: {}}\n"
    "inner: {wait: 20s}\nplain: [{name: z}]\n";

Test(read, every_type) {
  tinker__mem_t mem;
  tinker__yaml_t *y;
  sample_t s;
  char report[2000];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(
      sample_read(&mem, full, sizeof full - 1, &s, &y, report, sizeof report),
      0, "%s", report);
  cr_assert(!s.on && s.level == -2 && s.count == 5000 && s.wait == 180000);
  cr_assert(s.room == 2 << 20 && s.mode == 0 && s.flags == 2);
  cr_assert(s.span[0] == 2000 && s.span[1] == 2000);
  cr_assert(s.share == 0.5 && s.rate == 0.5);
  cr_assert_str_eq(s.name, "12");
  cr_assert_eq(s.argv.n, 3);
  cr_assert_str_eq(s.argv.items[1], "b c");
  cr_assert_str_eq(s.argv.items[2], "true");
  cr_assert_eq(s.match.n, 2);
  cr_assert_str_eq(s.match.items[0].name, "a.b");
  cr_assert_str_eq(s.match.items[1].text, "");
  cr_assert_eq(s.items.n, 2);
  const item_t *items = s.items.items; /* "inner" stands after them */
  cr_assert(items[0].inner.wait == 20000 && items[0].inner.room == 8192);
  cr_assert(items[1].inner.wait == 20000 && items[1].inner.room == 4096);
  cr_assert_eq(items[1].match.n, 0);
  const inner_t *plain = s.plain.items;
  cr_assert(s.plain.n == 1 && plain->wait == 10000);
  cr_assert_str_eq(plain->name, "z");
  tinker__yaml_free(y);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(read, defaults) {
  sample_t s;
  memset(&s, 0xff, sizeof s);
  tinker__yaml_start(sample_table, &s);
  cr_assert(s.on && s.level == 3 && s.count == 2000000 && s.wait == -1);
  cr_assert(s.room == 1 << 20 && s.mode == 1 && s.flags == 3);
  cr_assert(s.span[0] == 5000 && s.span[1] == 300000);
  cr_assert(s.share == 0.25 && s.rate == 2 && s.inner.wait == 10000);
  cr_assert(s.argv.n == 0 && s.match.n == 0 && s.items.n == 0);
  cr_assert_str_eq(s.name, "");
  cr_assert_str_eq(s.inner.name, "x");
}

Test(read, keys) {
  SAYS("levle: 1\n",
       "f.yaml:1:1: key 'levle': unknown key, did you mean 'level'? Known "
       "here: on, level, count, wait, room, mode, flags, span, share, rate, "
       "name, argv, match, inner, items, plain\n");
  SAYS("inner: {wiat: 1s}\n",
       "f.yaml:1:9: key 'inner.wiat': unknown key, did you mean 'wait'? Known "
       "here: wait, room, name\n");
  SAYS("inner: {share: 1}\n", /* a key of another place */
       "f.yaml:1:9: key 'inner.share': unknown key, did you mean 'share'? "
       "Known here: wait, room, name\n");
  SAYS("plain:\n- {colour: red}\n",
       "f.yaml:2:4: key 'plain[0].colour': unknown key. Known here: wait, "
       "room, name\n");
  SAYS("level: 1\non: true\nlevel: 2\n",
       "f.yaml:3:1: key 'level': is there twice, first on line 1\n");
  SAYS("match: {a: 1, a: 2}\n", "f.yaml:1:15: key 'match.a': is there twice\n");
  SAYS("match: {\"\": 1}\n", "f.yaml:1:9: key 'match.': a name is empty or "
                             "has hidden characters\n");
  SAYS("items:\n  - wait: 5s\n", "f.yaml:2:5: key 'items[0].match': is "
                                 "missing: it wants a map of keys\n");
  SAYS("future: 1\n",
       "f.yaml:1:1: key 'future': known, but not honoured yet: it is not "
       "now\n");
}

Test(read, types) {
  SAYS("on: yes\n", "f.yaml:1:5: key 'on': 'yes' is neither true nor false\n");
  SAYS("on: \"true\"\n", "f.yaml:1:5: key 'on': 'true' stands in quotes, "
                         "which make a text of it\n");
  SAYS("level: '3'\n", "f.yaml:1:8: key 'level': '3' stands in quotes, which "
                       "make a text of it: from -2 to 9\n");
  SAYS("on:\n", "f.yaml:1:4: key 'on': has no value: it wants true or "
                "false\n");
  SAYS("level: ~\n",
       "f.yaml:1:8: key 'level': has no value: it wants a whole number\n");
  SAYS("name: null\n",
       "f.yaml:1:7: key 'name': has no value: it wants a text\n");
  SAYS("level: [1]\n",
       "f.yaml:1:8: key 'level': is a list: it wants a whole number\n");
  SAYS("level: {a: 1}\n", "f.yaml:1:8: key 'level': is a map of keys: it "
                          "wants a whole number\n");
  SAYS("inner: 1s\n",
       "f.yaml:1:8: key 'inner': is a text: it wants a map of keys\n");
  SAYS("inner:\n", "f.yaml:1:7: key 'inner': has no value: it wants a map of "
                   "keys\n");
  SAYS("argv: ./a\n",
       "f.yaml:1:7: key 'argv': is a text: it wants a list of texts\n");
  SAYS("argv: [a, [b]]\n",
       "f.yaml:1:11: key 'argv[1]': is a list: it wants a text\n");
  SAYS("match: [a]\n", "f.yaml:1:8: key 'match': is a list: it wants a map of "
                       "names and texts\n");
  SAYS("match: {a: {b: c}}\n",
       "f.yaml:1:12: key 'match.a': is a map of keys: it wants a text\n");
  SAYS("items: {match: {}}\n",
       "f.yaml:1:8: key 'items': is a map of keys: it wants a list\n");
  SAYS("items: [a]\n",
       "f.yaml:1:9: key 'items[0]': is a text: it wants a map of keys\n");
  SAYS("name: \"a\\x1bb\"\n", "f.yaml:1:7: key 'name': holds the hidden "
                              "character U+001B, which is not allowed\n");
}

Test(read, values) {
  SAYS("level: 10\n",
       "f.yaml:1:8: key 'level': '10' is out of range: from -2 to 9\n");
  SAYS("inner: {wait: 500ms}\n", "f.yaml:1:15: key 'inner.wait': '500ms' is "
                                 "out of range: from 1s to 1h, or none\n");
  SAYS("inner: {wait: 10}\n",
       "f.yaml:1:15: key 'inner.wait': '10' lacks its unit: ms, s, m, h or d: "
       "from 1s to 1h, or none\n");
  SAYS("inner: {room: 1B}\n",
       "f.yaml:1:15: key 'inner.room': '1B' is out of range: at least 1KiB\n");
  SAYS("room: 2GiB\n",
       "f.yaml:1:7: key 'room': '2GiB' is out of range: at most 1GiB\n");
  SAYS("share: 1.5\n", "f.yaml:1:8: key 'share': '1.5' is out of range: from "
                       "0 to 1, or none\n");
  SAYS("wait: never\n",
       "f.yaml:1:7: key 'wait': 'never' is not a duration: a whole number and "
       "ms, s, m, h or d: a number, or none\n");
  SAYS("mode: sleep\n",
       "f.yaml:1:7: key 'mode': 'sleep' is not allowed: off, act\n");
  SAYS("mode: dream\n", "f.yaml:1:7: key 'mode': 'dream' is known, but not "
                        "honoured yet: it is a dream\n");
  SAYS("flags: [red, pink]\n",
       "f.yaml:1:14: key 'flags[1]': 'pink' is not allowed: red, green\n");
  SAYS("flags: [red, blue]\n", "f.yaml:1:14: key 'flags[1]': 'blue' is known, "
                               "but not honoured yet: no blue yet\n");
  SAYS("flags: [red, red]\n",
       "f.yaml:1:14: key 'flags[1]': 'red' is there twice\n");
  SAYS("flags: red\n",
       "f.yaml:1:8: key 'flags': is a text: it wants a list of words\n");
  SAYS("span: [5s]\n", "f.yaml:1:7: key 'span': has 1 values: it wants a list "
                       "of two durations, as [5s, 5m]\n");
  SAYS("span: [5s, 2s]\n",
       "f.yaml:1:12: key 'span[1]': '2s' is less than the one before it\n");
  SAYS("span: [5, 2x]\n",
       "f.yaml:1:8: key 'span[0]': '5' lacks its unit: ms, s, m, h or d: at "
       "least 1s\n"
       "f.yaml:1:11: key 'span[1]': '2x' is not a duration: a whole number and "
       "ms, s, m, h or d: at least 1s\n");
  SAYS("level: \"\\e[2J\"\n", "f.yaml:1:8: key 'level': '\\u001b[2J' is not a "
                              "whole number: from -2 to 9\n");
}

Test(read, all_faults_in_order) {
  SAYS("items:\n- {match: {}, wait: 2}\nlevel: x\nzz: 1\n",
       "f.yaml:2:21: key 'items[0].wait': '2' lacks its unit: ms, s, m, h or "
       "d: from 1s to 1h, or none\n"
       "f.yaml:3:8: key 'level': 'x' is not a whole number: from -2 to 9\n"
       "f.yaml:4:1: key 'zz': unknown key. Known here: on, level, count, wait, "
       "room, mode, flags, span, share, rate, name, argv, match, inner, items, "
       "plain\n");
}

Test(read, many_faults) {
  char text[2000] = "flags:\n", want[4000] = "";
  for (int i = 0; i < 25; i++) {
    strcat(text, "- x\n");
    if (i < TINKER__YAML_MAX_FAULTS) {
      snprintf(want + strlen(want), 200,
               "f.yaml:%d:3: key 'flags[%d]': 'x' is not allowed: red, "
               "green\n",
               i + 2, i);
    }
  }
  strcat(want, "f.yaml: and 5 more faults\n");
  sample_says(text, strlen(text), want);
}

/* The first of the file are described, whatever was found first. */
Test(read, the_first_of_many_faults) {
  char text[2000] = "plain: [{wait: 1}]\nflags:\n", want[4000];
  tinker__mem_t mem;
  tinker__yaml_t *y;
  sample_t s;
  tinker__mem_init(&mem, NULL, 0);
  for (int i = 0; i < 25; i++) strcat(text, "- x\n");
  sample_read(&mem, text, strlen(text), &s, &y, want, sizeof want);
  cr_assert(tinker__str_starts(tinker__str(want), "f.yaml:1:16: key 'plain"),
            "%s", want);
  cr_assert(strstr(want, "f.yaml:21:3: key 'flags[18]'"), "%s", want);
  cr_assert(!strstr(want, "f.yaml:22:3"), "%s", want);
  cr_assert(strstr(want, "f.yaml: and 6 more faults\n"), "%s", want);
  tinker__yaml_free(y);
}

/* What an owner of a table adds. */
Test(read, further_checks) {
  static const char text[] = "inner:\n  wait: 5s\nplain:\n- {name: a}\n";
  tinker__mem_t mem;
  tinker__yaml_t *y;
  sample_t s;
  char report[2000];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(
      sample_read(&mem, text, sizeof text - 1, &s, &y, report, sizeof report),
      0);
  cr_assert(tinker__yaml_has(y, ""));
  cr_assert(tinker__yaml_has(y, "inner.wait"));
  cr_assert(tinker__yaml_has(y, "plain[0].name"));
  cr_assert(!tinker__yaml_has(y, "inner.room"));
  cr_assert(!tinker__yaml_has(y, "plain[1]"));
  cr_assert(!tinker__yaml_has(y, "plain[x"));
  cr_assert(!tinker__yaml_has(y, "inner[0]"));
  tinker__yaml_fault(y, "plain[0].name", "is %d", 1);
  tinker__yaml_fault(y, "inner.room", "is %d", 2);
  tinker__yaml_fault(y, "mode", "is %d", 3);
  cr_assert_eq(tinker__yaml_error(y), TINKER_EFORMAT);
  cr_assert_eq(tinker__yaml_faults(y), 3);
  cr_assert(tinker__yaml_faulty(y, "mode"));
  cr_assert(tinker__yaml_faulty(y, "inner"));
  cr_assert(tinker__yaml_faulty(y, "plain[0].name.more"));
  cr_assert(!tinker__yaml_faulty(y, "inner.wait"));
  cr_assert(!tinker__yaml_faulty(y, "mod"));
  cr_assert(!tinker__yaml_faulty(y, "model"));
  tinker__buf_t out;
  tinker__buf_init(&out, &mem, 2000);
  tinker__yaml_report(y, &out);
  cr_assert_str_eq(tinker__buf_cstr(&out),
                   "f.yaml:1:1: key 'mode': is 3\n"
                   "f.yaml:2:3: key 'inner.room': is 2\n"
                   "f.yaml:4:10: key 'plain[0].name': is 1\n");
  tinker__buf_free(&out);
  tinker__yaml_free(y);
  cr_assert_eq(mem.live_blocks, 0);
}

static int read_full(tinker__mem_t *mem, void *user) {
  tinker__yaml_t *y;
  sample_t s;
  int rc =
      tinker__yaml_read(&y, mem, TINKER__STR(full), "f.yaml", sample_table, &s);
  (void)user;
  if (rc == 0 || rc == TINKER_EFORMAT) tinker__yaml_free(y);
  return rc;
}

static int read_bad(tinker__mem_t *mem, void *user) {
  tinker__yaml_t *y;
  sample_t s;
  int rc = tinker__yaml_read(&y, mem, TINKER__STR("on: 1\nlevel: x\n&a b: *c"),
                             "f.yaml", sample_table, &s);
  (void)user;
  if (rc == TINKER_EFORMAT) tinker__yaml_free(y);
  return rc == TINKER_EFORMAT ? 0 : rc ? rc : TINKER_EINTERNAL;
}

Test(read, without_memory) {
  cr_assert_gt(tinker__fail_sweep(read_full, NULL, TINKER_ENOMEM), 1);
  cr_assert_gt(tinker__fail_sweep(read_bad, NULL, TINKER_ENOMEM), 1);
}
