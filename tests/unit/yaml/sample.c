#include "sample.h"

#include <criterion/criterion.h>
#include <string.h>

/* clang-format off */
static const tinker__yaml_word_t modes[] = {
    {"off", 0, NULL}, {"act", 1, NULL}, {"dream", 2, "it is a dream"},
    {NULL, 0, NULL}};
static const tinker__yaml_word_t limits[] = {
    {"none", -1, NULL}, {NULL, 0, NULL}};
static const tinker__yaml_word_t flags[] = {
    {"red", 0, NULL}, {"green", 1, NULL}, {"blue", 2, "no blue yet"},
    {NULL, 0, NULL}};

#define IN(field) offsetof(inner_t, field)
static const tinker__yaml_field_t inner[] = {
    {.key = "wait", .type = TINKER__YAML_DURATION, .offset = IN(wait),
     .initial = "10s", .least = "1s", .most = "1h", .words = limits,
     .what = "How long."},
    {.key = "room", .type = TINKER__YAML_SIZE, .offset = IN(room),
     .initial = "4KiB", .least = "1KiB", .what = "How much."},
    {.key = "name", .type = TINKER__YAML_TEXT, .offset = IN(name),
     .initial = "x", .what = "Whose."},
    {.key = NULL}};

static const tinker__yaml_field_t item[] = {
    {.key = "match", .type = TINKER__YAML_NAMED,
     .offset = offsetof(item_t, match), .required = true, .what = "Which."},
    {.key = "", .type = TINKER__YAML_HERE, .offset = offsetof(item_t, inner),
     .table = inner},
    {.key = NULL}};

static void start_item(void *into, const void *root) {
  item_t *it = into;
  *it = (item_t){.inner = ((const sample_t *)root)->inner};
}

#define AT(field) offsetof(sample_t, field)
const tinker__yaml_field_t sample_table[] = {
    {.key = "on", .type = TINKER__YAML_BOOL, .offset = AT(on),
     .initial = "true", .what = "Whether."},
    {.key = "level", .type = TINKER__YAML_INT, .offset = AT(level),
     .initial = "3", .least = "-2", .most = "9", .what = "How high."},
    {.key = "count", .type = TINKER__YAML_COUNT, .offset = AT(count),
     .initial = "2M", .what = "How many."},
    {.key = "wait", .type = TINKER__YAML_DURATION, .offset = AT(wait),
     .initial = "none", .words = limits, .what = "How long."},
    {.key = "room", .type = TINKER__YAML_SIZE, .offset = AT(room),
     .initial = "1MiB", .most = "1GiB", .what = "How much."},
    {.key = "mode", .type = TINKER__YAML_CHOICE, .offset = AT(mode),
     .initial = "act", .words = modes, .what = "What it does."},
    {.key = "flags", .type = TINKER__YAML_FLAGS, .offset = AT(flags),
     .initial = "red, green", .words = flags, .what = "Which colours."},
    {.key = "span", .type = TINKER__YAML_SPAN, .offset = AT(span),
     .initial = "5s, 5m", .least = "1s", .what = "From, to."},
    {.key = "share", .type = TINKER__YAML_FLOAT, .offset = AT(share),
     .initial = "0.25", .least = "0", .most = "1", .words = limits,
     .what = "Which part."},
    {.key = "rate", .type = TINKER__YAML_RATE, .offset = AT(rate),
     .initial = "2/s", .what = "How often."},
    {.key = "name", .type = TINKER__YAML_TEXT, .offset = AT(name),
     .what = "Its name."},
    {.key = "argv", .type = TINKER__YAML_TEXTS, .offset = AT(argv),
     .what = "Words."},
    {.key = "match", .type = TINKER__YAML_NAMED, .offset = AT(match),
     .what = "Pairs."},
    {.key = "inner", .type = TINKER__YAML_MAP, .offset = AT(inner),
     .table = inner},
    {.key = "items", .type = TINKER__YAML_LIST, .offset = AT(items),
     .table = item, .size = sizeof(item_t), .start = start_item,
     .what = "All of them."},
    {.key = "plain", .type = TINKER__YAML_LIST, .offset = AT(plain),
     .table = inner, .size = sizeof(inner_t), .what = "Some."},
    {.key = "future", .type = TINKER__YAML_LATER, .what = "it is not now"},
    {.key = NULL}};
/* clang-format on */

int sample_read(tinker__mem_t *mem, const char *text, size_t len,
                sample_t *into, tinker__yaml_t **y, char *report, size_t n) {
  tinker__buf_t out;
  *y = NULL;
  memset(into, 0, sizeof *into);
  report[0] = 0;
  int rc = tinker__yaml_read(y, mem, (tinker__str_t){text, len}, "f.yaml",
                             sample_table, into);
  if (!*y) return rc;
  cr_assert_eq(rc, tinker__yaml_error(*y));
  tinker__mem_t own;
  tinker__mem_init(&own, NULL, 0);
  tinker__buf_init(&out, &own, n - 1);
  tinker__yaml_report(*y, &out);
  cr_assert_eq(tinker__buf_error(&out), 0);
  if (out.len) memcpy(report, out.data, out.len);
  report[out.len] = 0;
  tinker__buf_free(&out);
  return rc;
}

void sample_says(const char *text, size_t len, const char *want) {
  tinker__mem_t mem;
  tinker__yaml_t *y;
  sample_t s;
  static char report[20000];
  tinker__mem_init(&mem, NULL, 0);
  sample_read(&mem, text, len, &s, &y, report, sizeof report);
  cr_assert_str_eq(report, want, "%s\n--- says\n%s--- not\n%s", text, report,
                   want);
  tinker__yaml_free(y);
  cr_assert_eq(mem.live_blocks, 0);
}
