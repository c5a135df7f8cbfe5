/* Every row of the table: its limits hold its default, it can be set, and it
 * sets its own field alone. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"
#include "yaml/scalar.h"

typedef tinker__yaml_field_t field_t;

static tinker__mem_t mem;

/* Calls body for each row that has a key, with the keys around it as the
 * beginning of a file: "{a: {b: ", "}}". */
typedef void (*body_t)(const field_t *f, const char *open, const char *close,
                       const char *path);

static void walk(const field_t *table, const char *open, const char *close,
                 const char *path, body_t body) {
  for (const field_t *f = table; f->key; f++) {
    char inner[500], end[50], key[200];
    const char *comma = open[strlen(open) - 1] == '{' ? "" : ", ";
    snprintf(inner, sizeof inner, "%s%s%s: ", open, comma, f->key);
    snprintf(key, sizeof key, "%s%s%s", path, *path ? "." : "", f->key);
    if (f->type == TINKER__YAML_HERE) {
      walk(f->table, open, close, path, body);
    } else if (f->type == TINKER__YAML_MAP) {
      strcat(inner, "{");
      snprintf(end, sizeof end, "}%s", close);
      walk(f->table, inner, end, key, body);
    } else if (f->type == TINKER__YAML_LIST) {
      strcat(inner, "[{match: {name: a}");
      snprintf(end, sizeof end, "}]%s", close);
      strcat(key, "[0]");
      walk(f->table, inner, end, key, body);
    } else if (strcmp(f->key, "match") || f->type != TINKER__YAML_NAMED) {
      body(f, inner, close, key);
    }
  }
}

static void walk_all(body_t body) {
  tinker__mem_init(&mem, NULL, 0);
  walk(tinker__rec_policy_table, "{", "}", "", body);
  cr_assert_eq(mem.live_blocks, 0);
}

/* A whole file with one key. */
static void file_of(char text[1000], const char *open, const char *value,
                    const char *close, const char *path) {
  const char *version = strcmp(path, "version") ? "version: 1" : "";
  const char *mode = strstr(path, "interval.steps") ? "mode: steps, " : "";
  const char *last = strrchr(open, '{') + 1; /* before the last key */
  if (*mode) {
    snprintf(text, 1000, "{%s%s%.*s%s%s%s%s\n", version, ", ",
             (int)(last - open) - 1, open + 1, mode, last, value, close);
  } else {
    snprintf(text, 1000, "{%s%s%s%s%s\n", version, *version ? ", " : "",
             open + 1, value, close);
  }
}

/* The effective policy, or NULL when the file is refused: then report. */
static char *effective(const char *text, char *report, size_t n) {
  tinker__rec_policy_file_t *file;
  tinker__buf_t out;
  tinker__buf_init(&out, &mem, 100000);
  int rc =
      tinker__rec_policy_parse(&file, &mem, tinker__str(text), "p.yaml", &out);
  if (rc) {
    snprintf(report, n, "%s", tinker__buf_cstr(&out));
    tinker__buf_free(&out);
    return NULL;
  }
  tinker__rec_policy_print(file, &out);
  tinker__rec_policy_free(file);
  cr_assert_eq(tinker__buf_error(&out), 0);
  tinker__buf_cstr(&out);
  return tinker__buf_take(&out, NULL);
}

/* How many lines of b are not in a at their place; the last of them. */
static int differing(const char *a, const char *b, char line[200]) {
  int n = 0;
  while (*b) {
    size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");
    if (la != lb || memcmp(a, b, la)) {
      n++;
      snprintf(line, 200, "%.*s", (int)lb, b);
    }
    a += la + (a[la] == '\n');
    b += lb + (b[lb] == '\n');
  }
  return n;
}

/* --- The rows themselves ---------------------------------------------------
 */

static bool in_limits(const field_t *f, const char *text) {
  tinker__yaml_scalar_t v;
  field_t one = *f;
  if (f->type == TINKER__YAML_SPAN) one.type = TINKER__YAML_DURATION;
  if (f->type == TINKER__YAML_FLAGS) one.type = TINKER__YAML_CHOICE;
  return tinker__yaml_value_read(&one, tinker__str(text), &v, NULL) == NULL;
}

static void row_is_sound(const field_t *f, const char *open, const char *close,
                         const char *path) {
  (void)open;
  (void)close;
  cr_assert(f->what && *f->what, "%s is not described", path);
  if (f->least) cr_assert(in_limits(f, f->least), "%s: least", path);
  if (f->most) cr_assert(in_limits(f, f->most), "%s: most", path);
  if (tinker__yaml_is_scalar(f->type) || f->type == TINKER__YAML_CHOICE) {
    cr_assert(f->initial && in_limits(f, f->initial), "%s: default", path);
    const tinker__yaml_word_t *w =
        tinker__yaml_word_named(f->words, tinker__str(f->initial));
    cr_assert(!w || !w->later, "%s: the default is not honoured", path);
  }
  for (const tinker__yaml_word_t *w = f->words; w && w->name; w++) {
    cr_assert_eq(tinker__yaml_word_of(f->words, w->value), w, "%s: %s", path,
                 w->name);
    cr_assert(f->type != TINKER__YAML_FLAGS ||
              (w->value >= 0 && w->value < 63));
  }
}

Test(policy_table, rows_are_sound) {
  walk_all(row_is_sound);
}

/* --- Setting ---------------------------------------------------------------
 */

static int set, fixed, later;

/* True when the value is taken and changes one line of the effective policy, or
 * the word that is allowed alone changes none. */
static bool takes(const field_t *f, const char *open, const char *value,
                  const char *close, const char *path) {
  char text[1000], base[1000], report[2000] = "", line[200] = "";
  char *before, *after, *again;
  file_of(text, open, value, close, path);
  after = effective(text, report, sizeof report);
  if (!after) return false;
  const char *runs = strncmp(path, "runs", 4) == 0
                         ? "{version: 1, runs: [{match: {name: a}}]}"
                         : "{version: 1}";
  snprintf(base, sizeof base, "%s\n",
           strstr(path, "defaults.checkpoint.interval.steps")
               ? "{version: 1, defaults: {checkpoint: {interval: {mode: "
                 "steps}}}}"
           : strstr(path, "interval.steps")
               ? "{version: 1, runs: [{match: {name: a}, checkpoint: "
                 "{interval: {mode: steps}}}]}"
               : runs);
  before = effective(base, report, sizeof report);
  cr_assert_not_null(before, "%s", report);
  int n = strcmp(before, after) != 0;
  if (n && strncmp(path, "runs", 4) && !strstr(path, "interval.mode")) {
    cr_assert_eq(differing(before, after, line), 1, "%s: '%s'", text, line);
    cr_assert(strstr(line, f->key), "%s changes '%s'", text, line);
  }
  if (n) {
    again = effective(after, report, sizeof report);
    cr_assert_not_null(again, "%s: %s", after, report);
    cr_assert_str_eq(again, after);
    tinker__mem_free(&mem, again);
  }
  tinker__mem_free(&mem, before);
  tinker__mem_free(&mem, after);
  return n == 1;
}

/* "[a, b]" of the words, without the last one that is honoured. */
static void some_words(const field_t *f, char out[300]) {
  const tinker__yaml_word_t *w = f->words, *last = NULL;
  for (; w->name; w++) last = w->later ? last : w;
  strcpy(out, "[");
  for (w = f->words; w->name; w++) {
    if (w == last || w->later) continue;
    strcat(out, out[1] ? ", " : "");
    strcat(out, w->name);
  }
  strcat(out, "]");
}

static bool takes_any(const field_t *f, const char *open, const char *close,
                      const char *path) {
  char words[300] = "";
  const char *texts[] = {f->least, f->most,    "false", "true", "[a]",
                         "/x",     "[2s, 6m]", "3",     "20",   "1m",
                         "20s",    "40m",      "80s",   "3d",   "6d"};
  if (f->type == TINKER__YAML_FLAGS) {
    some_words(f, words);
    if (takes(f, open, words, close, path)) return true;
  }
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    if (texts[i] && takes(f, open, texts[i], close, path)) {
      return true;
    }
  }
  for (const tinker__yaml_word_t *w = f->words; w && w->name; w++) {
    if (takes(f, open, w->name, close, path)) return true;
  }
  return false;
}

/* Keys with one value: all others are refused, most of them by name. */
static bool is_fixed(const char *path) {
  static const char *const ends[] = {"version",
                                     "defaults.mode",
                                     "runs[0].mode",
                                     "heartbeat.owner",
                                     "detect.wake_grace",
                                     "checkpoint.validate",
                                     "retain.final",
                                     "resume.match",
                                     "detect.loss.nonfinite",
                                     "fingerprint.every",
                                     "delete.two_phase",
                                     "delete.while_incident",
                                     "archive.mode",
                                     "resume.choose",
                                     "resume.optimizer",
                                     "resume.optimizer_canary",
                                     "poison.enabled",
                                     "data.cursor"};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
    if (tinker__str_ends(tinker__str(path), ends[i])) return true;
  }
  return false;
}

static void row_can_be_set(const field_t *f, const char *open,
                           const char *close, const char *path) {
  char text[1000], report[2000], want[400];
  if (f->type == TINKER__YAML_LATER) {
    file_of(text, open, "1", close, path);
    cr_assert_null(effective(text, report, sizeof report), "%s", text);
    snprintf(want, sizeof want, "key '%s': known, but not honoured yet: %s\n",
             path, f->what);
    cr_assert(strstr(report, want), "%s says %s", text, report);
    later++;
  } else if (is_fixed(path)) {
    cr_assert(!takes_any(f, open, close, path), "%s can be set", path);
    fixed++;
  } else {
    cr_assert(takes_any(f, open, close, path), "%s can't be set", path);
    set++;
  }
}

Test(policy_table, rows_can_be_set, .timeout = 60) {
  set = fixed = later = 0;
  walk_all(row_can_be_set);
  cr_log_info("%d keys can be set, %d have one value, %d are not honoured", set,
              fixed, later);
  cr_assert(set > 70 && fixed > 25 && later > 150);
}
