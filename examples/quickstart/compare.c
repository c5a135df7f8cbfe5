/* compare: two record files, number by number, as text of their bits. Parent
 * only. */
#include <stdlib.h>
#include <string.h>

#include "quick.h"

enum { RECORD_MAX_BYTES = 1 << 18, STEPS_MAX = 256 };

typedef struct records_s {
  char *line[STEPS_MAX]; /* what follows the step's number */
} records_t;

static void load(records_t *records, const char *folder, const char *run) {
  char name[64], *end, *line = quick_alloc(RECORD_MAX_BYTES, 1);
  memset(records, 0, sizeof *records);
  snprintf(name, sizeof name, "proof-%s.txt", run);
  FILE *file = quick_open(folder, name, "r");
  while (fgets(line, RECORD_MAX_BYTES, file) != NULL) {
    long step = strtol(line, &end, 10);
    /* A record without its newline was cut off by the kill. */
    if (step < 1 || step >= STEPS_MAX || strchr(end, '\n') == NULL) continue;
    free(records->line[step]); /* it was done again */
    records->line[step] = quick_alloc(strlen(end) + 1, 1);
    memcpy(records->line[step], end, strlen(end));
  }
  fclose(file);
  free(line);
}

static void unload(records_t *records) {
  for (int i = 0; i < STEPS_MAX; i++) free(records->line[i]);
}

/* The next word at *at, its length in *n; moves on. */
static const char *word(const char **at, size_t *n) {
  const char *begin = *at + strspn(*at, " \n");
  *n = strcspn(begin, " \n");
  *at = begin + *n;
  return begin;
}

static size_t differences(const char *a, const char *b, size_t *words) {
  size_t differ = 0, n, m;
  for (*words = 0;; ++*words) {
    const char *x = word(&a, &n), *y = word(&b, &m);
    if (n == 0 && m == 0) return differ;
    differ += n != m || memcmp(x, y, n) != 0;
  }
}

void quick_compare(quick_diff_t *diff, const quick_paths_t *paths,
                   const char *left, const char *right, int first, int last) {
  records_t a, b;
  memset(diff, 0, sizeof *diff);
  diff->complete = true;
  load(&a, paths->out, left);
  load(&b, paths->out, right);
  for (int step = first; step <= last; step++) {
    size_t words, differ;
    if (a.line[step] == NULL || b.line[step] == NULL) {
      diff->complete = false;
      continue;
    }
    differ = differences(a.line[step], b.line[step], &words);
    diff->losses++;
    diff->logprobs += words - 1;
    diff->differ += differ;
    if (differ > 0 && diff->first == 0) diff->first = step;
  }
  unload(&a);
  unload(&b);
}
