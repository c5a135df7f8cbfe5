/* Syntax, what is refused by name, limits, and bytes that are not text. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "sample.h"

Test(parse, syntax) {
  SAYS("on: [true\n", "f.yaml:2:1: malformed YAML: while parsing a flow "
                      "sequence that begins on line 1: did not find expected "
                      "',' or ']'\n");
  SAYS("inner:\n  wait: 1s\n room: 1KiB\n",
       "f.yaml:3:2: malformed YAML: while parsing a block mapping that begins "
       "on line 1: did not find expected key\n");
  SAYS("on: true\n\tlevel: 1\n",
       "f.yaml:2:1: malformed YAML: a tab where only spaces may stand\n");
  SAYS("on: true\ninner:\n\twait: 1s\n",
       "f.yaml:3:1: malformed YAML: a tab where only spaces may stand\n");
  SAYS("name: \"x\n", "f.yaml:2:1: malformed YAML: while scanning a quoted "
                      "scalar that begins on line 1: found unexpected end of "
                      "stream\n");
  SAYS("name: @x\n",
       "f.yaml:1:7: malformed YAML: while scanning for the next token that "
       "begins on line 1: found character that cannot start any token\n");
  SAYS("name: \"\\q\"\n",
       "f.yaml:1:8: malformed YAML: while parsing a quoted scalar that begins "
       "on line 1: found unknown escape character\n");
}

Test(parse, empty_and_more) {
  SAYS("", "f.yaml:1:1: the file is empty\n");
  SAYS("# nothing\n", "f.yaml:1:1: the file is empty\n");
  SAYS("---\n...\n", "f.yaml:2:1: has no value: it wants a map of keys\n");
  SAYS("- 1\n", "f.yaml:1:1: is a list: it wants a map of keys\n");
  SAYS("hello\n", "f.yaml:1:1: is a text: it wants a map of keys\n");
  SAYS("on: true\n---\non: false\n",
       "f.yaml:2:1: a second document is not allowed: one file has one\n");
  SAYS("%YAML 1.1\n---\non: true\n...\n", "");
  SAYS("\xef\xbb\xbfon: true\r\nlevel: 2\r\n", "");
}

Test(parse, refused_by_name) {
  SAYS("inner: &d\n  wait: 2s\n",
       "f.yaml:1:8: key 'inner': anchors (&d) are not allowed\n");
  SAYS("level: &a 1\n",
       "f.yaml:1:8: key 'level': anchors (&a) are not allowed\n");
  SAYS("level: *a\n", "f.yaml:1:8: key 'level': aliases (*a) are not "
                      "allowed\n");
  SAYS("argv: [a, *b]\n",
       "f.yaml:1:11: key 'argv[1]': aliases (*b) are not allowed\n");
  SAYS("level: !!str 1\n", "f.yaml:1:8: key 'level': tags "
                           "(tag:yaml.org,2002:str) are not allowed\n");
  SAYS("inner: !x {}\n", "f.yaml:1:8: key 'inner': tags (!x) are not "
                         "allowed\n");
  SAYS("argv: ! []\n", "f.yaml:1:7: key 'argv': tags (!) are not allowed\n");
  SAYS("inner:\n  <<: *d\n  wait: 2s\n",
       "f.yaml:2:3: key 'inner': merge keys (<<) are not allowed\n");
  SAYS("*a : 1\n", "f.yaml:1:1: aliases (*a) are not allowed\n");
  SAYS("&a on: true\n", "f.yaml:1:1: anchors (&a) are not allowed\n");
  SAYS("? [a]\n: 1\n",
       "f.yaml:1:3: a key must be a text, not a list or a map\n");
}

Test(parse, bytes) {
  SAYS("on: true\nname: \xff\n", "f.yaml:2:7: the byte 0xff is not UTF-8\n");
  SAYS("name: caf\xc3\xa9 \xc3(\n", "f.yaml:1:12: the byte 0xc3 is not "
                                    "UTF-8\n");
  SAYS("name: \xed\xa0\x80\n", "f.yaml:1:7: the byte 0xed is not UTF-8\n");
  SAYS("name: a\0b\n",
       "f.yaml:1:8: the hidden character U+0000 is not allowed\n");
  SAYS("on: true # \x1b[2J\n",
       "f.yaml:1:12: the hidden character U+001B is not allowed\n");
  SAYS("name: \xe2\x80\xaegpj\n",
       "f.yaml:1:7: the hidden character U+202E is not allowed\n");
  SAYS("on: true\r\nname: \xef\xbb\xbf\n",
       "f.yaml:2:7: the hidden character U+FEFF is not allowed\n");
  SAYS("on: true\rname: \xc2\x85\n",
       "f.yaml:2:7: the hidden character U+0085 is not allowed\n");
  SAYS("name: \xef\xbf\xbf\n",
       "f.yaml:1:7: control characters are not allowed\n");
  SAYS("name: caf\xc3\xa9 \xf0\x9f\x98\x80\n", "");
}

Test(parse, limits) {
  static char text[TINKER__YAML_MAX_BYTES + 2];
  char deep[300] = "f.yaml:1:33: key '";
  memset(text, '[', 100000);
  for (int i = 0; i < TINKER__YAML_MAX_DEPTH - 1; i++) strcat(deep, "[0]");
  strcat(deep, "': too many levels: at most 32 are allowed\n");
  sample_says(text, 100000, deep);
  text[0] = '[';
  for (size_t i = 1; i < 30000; i += 2) memcpy(text + i, "1,", 2);
  sample_says(text, 30000,
              "f.yaml:1:20000: too many values: at most 10000 are allowed\n");
  memset(text, ' ', sizeof text);
  memcpy(text, "on: true", 8);
  sample_says(text, TINKER__YAML_MAX_BYTES, "");
  sample_says(text, TINKER__YAML_MAX_BYTES + 1,
              "f.yaml:1:1: the file has 1048577 bytes: at most 1048576 are "
              "allowed\n");
}
