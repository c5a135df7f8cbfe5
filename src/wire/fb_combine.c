/* fb_combine: the results of the chunks of one call made one (fb_output.h,
 * protocol 6.5). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "wire/fb_output.h"

/* The values of one key in all parts, and their weights. */
typedef struct tinker__column_s {
  const double *x;
  const double *w;
  size_t n;
} tinker__column_t;

static double mean_of(tinker__column_t c) {
  double sum = 0, weight = 0;
  for (size_t i = 0; i < c.n; i++) {
    sum += c.w[i] * c.x[i];
    weight += c.w[i];
  }
  return sum / weight;
}

static double sum_of(tinker__column_t c) {
  double sum = 0;
  for (size_t i = 0; i < c.n; i++) sum += c.x[i];
  return sum;
}

static double min_of(tinker__column_t c) {
  double m = c.x[0];
  for (size_t i = 1; i < c.n; i++) m = c.x[i] < m ? c.x[i] : m;
  return m;
}

static double max_of(tinker__column_t c) {
  double m = c.x[0];
  for (size_t i = 1; i < c.n; i++) m = c.x[i] > m ? c.x[i] : m;
  return m;
}

static double slack_of(tinker__column_t c) {
  return max_of(c) - mean_of(c);
}

/* x truncated to an integer, modulo 2^64; 0 if x is not finite. */
static uint64_t modulo(double x) {
  const double two64 = 18446744073709551616.0;
  if (!isfinite(x)) return 0;
  double r = fmod(trunc(x), two64);
  if (r >= 0) return (uint64_t)r;
  return 0 - (uint64_t)-r;
}

static double hash2_of(tinker__column_t c) {
  uint64_t sum = 0;
  for (size_t i = 0; i < c.n; i++) sum += modulo(c.x[i]);
  return (double)sum;
}

static const struct {
  const char *suffix;
  double (*reduce)(tinker__column_t c);
  bool weighted;
} reductions[] = {{"mean", mean_of, true},   {"sum", sum_of, false},
                  {"min", min_of, false},    {"max", max_of, false},
                  {"slack", slack_of, true}, {"hash2", hash2_of, false}};

typedef struct tinker__combiner_s {
  tinker__arena_t *arena;
  const tinker__fb_output_t *parts;
  size_t n;
  double *x, *w; /* one per part */
  tinker__number_t *metrics;
  size_t count, cap;
  char *why;
  size_t why_len;
} tinker__combiner_t;

static int no_memory(const tinker__combiner_t *c) {
  return tinker__why(c->why, c->why_len, tinker__arena_error(c->arena),
                     "no memory to combine the results");
}

static int add(tinker__combiner_t *c, const char *name, double value) {
  c->metrics = tinker__arena_grow(c->arena, c->metrics, c->count, &c->cap,
                                  sizeof(*c->metrics));
  if (!c->metrics) return no_memory(c);
  c->metrics[c->count++] = (tinker__number_t){name, value};
  return 0;
}

/* First value under the key itself, those of later parts under key_1, ... */
static int add_unique(tinker__combiner_t *c, const char *key) {
  int rc = add(c, key, c->x[0]);
  for (size_t i = 1; !rc && i < c->n; i++) {
    size_t room = strlen(key) + 24;
    char *name = tinker__arena_alloc(c->arena, room);
    if (!name) return no_memory(c);
    snprintf(name, room, "%s_%zu", key, i);
    rc = add(c, name, c->x[i]);
  }
  return rc;
}

static bool find(const tinker__fb_output_t *part, const char *key,
                 double *out) {
  for (size_t i = 0; i < part->metric_count; i++) {
    if (strcmp(part->metrics[i].name, key) == 0) {
      *out = part->metrics[i].value;
      return true;
    }
  }
  return false;
}

static int combine_key(tinker__combiner_t *c, const char *key) {
  const char *colon = strchr(key, ':');
  if (!colon || strchr(colon + 1, ':')) {
    return tinker__why(c->why, c->why_len, TINKER_EPROTO,
                       "metric \"%s\" is not of the form name:reduction", key);
  }
  double weight = 0;
  for (size_t i = 0; i < c->n; i++) {
    if (!find(&c->parts[i], key, &c->x[i])) {
      return 0; /* missing in a part: dropped */
    }
    c->w[i] = (double)c->parts[i].datum_count;
    weight += c->w[i];
  }
  if (strcmp(colon + 1, "unique") == 0) return add_unique(c, key);
  for (size_t i = 0; i < sizeof(reductions) / sizeof(*reductions); i++) {
    if (strcmp(colon + 1, reductions[i].suffix) != 0) continue;
    if (reductions[i].weighted && weight == 0) {
      return tinker__why(c->why, c->why_len, TINKER_EPROTO,
                         "metric \"%s\" is a mean over no datums", key);
    }
    return add(c, key,
               reductions[i].reduce((tinker__column_t){c->x, c->w, c->n}));
  }
  return 0;
}

static int concatenate(tinker__combiner_t *c, tinker__fb_output_t *out) {
  size_t total = 0;
  for (size_t i = 0; i < c->n; i++) total += c->parts[i].datum_count;
  tinker__output_datum_t *all =
      tinker__arena_array(c->arena, total, sizeof(*all));
  if (!all) return no_memory(c);
  out->datums = all;
  out->datum_count = total;
  for (size_t i = 0; i < c->n; i++) {
    size_t n = c->parts[i].datum_count;
    if (n) memcpy(all, c->parts[i].datums, n * sizeof(*all));
    all += n;
  }
  return 0;
}

int tinker__fb_output_combine(tinker__fb_output_t *out, tinker__arena_t *arena,
                              const tinker__fb_output_t *parts, size_t n,
                              char *why, size_t why_len) {
  tinker__combiner_t c = {
      .arena = arena,
      .parts = parts,
      .n = n,
      .why = why,
      .why_len = why_len,
  };
  memset(out, 0, sizeof(*out));
  if (!n) {
    return tinker__why(why, why_len, TINKER_EINVAL, "no results to combine");
  }
  out->type = parts[0].type;
  c.x = tinker__arena_array(arena, n, sizeof(*c.x));
  c.w = tinker__arena_array(arena, n, sizeof(*c.w));
  int rc = c.x && c.w ? concatenate(&c, out) : no_memory(&c);
  for (size_t i = 0; !rc && i < parts[0].metric_count; i++) {
    rc = combine_key(&c, parts[0].metrics[i].name);
  }
  out->metrics = c.metrics;
  out->metric_count = c.count;
  return rc;
}
