/* sample: a table with a row of each type, and what the tests do with it. */
#ifndef TESTS_UNIT_YAML_SAMPLE_H
#define TESTS_UNIT_YAML_SAMPLE_H

#include "yaml/yaml.h"

typedef struct inner_s {
  int64_t wait;
  int64_t room;
  const char *name;
} inner_t;

typedef struct item_s {
  tinker__yaml_named_t match;
  inner_t inner;
} item_t;

typedef struct sample_s {
  bool on;
  int64_t level, count, wait, room, mode, flags, span[2];
  double share, rate;
  const char *name;
  tinker__yaml_texts_t argv;
  tinker__yaml_named_t match;
  inner_t inner;
  tinker__yaml_list_t items; /* item_t */
  tinker__yaml_list_t plain; /* inner_t */
} sample_t;

extern const tinker__yaml_field_t sample_table[];

/* Reads text as the file "f.yaml". Writes the report, "" when there are no
 * faults, and returns the code. *y is the caller's, NULL without memory. */
int sample_read(tinker__mem_t *mem, const char *text, size_t len,
                sample_t *into, tinker__yaml_t **y, char *report, size_t n);
/* Fails the test unless text gives that report. */
void sample_says(const char *text, size_t len, const char *report);

#define SAYS(text, report) sample_says(text, sizeof text - 1, report)

#endif
