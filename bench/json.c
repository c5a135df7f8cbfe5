/* bench json: arrays of token ids and of log-probabilities as text, ours
 * against cJSON, in the same run. One JSON object per line. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json_read.h"
#include "base/json_write.h"

#define COUNT 500000
#define ROUNDS 5

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void report(const char *what, size_t bytes, double ours, double cjson) {
  printf("{\"bench\":\"json\",\"what\":\"%s\",\"mb_per_s\":%.0f,"
         "\"cjson_mb_per_s\":%.0f,\"ratio\":%.1f}\n",
         what, (double)bytes / ours / 1e6, (double)bytes / cjson / 1e6,
         cjson / ours);
}

/* Seconds that cJSON takes to read (or write) the array. */
static double cjson_read(const char *text, size_t len, cJSON **out) {
  double from = now_s();
  *out = cJSON_ParseWithLength(text, len);
  return now_s() - from;
}

static double cjson_write(const cJSON *array) {
  double from = now_s();
  char *text = cJSON_PrintUnformatted(array);
  double took = now_s() - from;
  cJSON_free(text);
  return took;
}

static double best(double a, double b) {
  return a < b ? a : b;
}

/* The best of some rounds of everything for one kind of array. */
static int run(tinker__mem_t *mem, const char *kind, const int32_t *ids,
               const float *lps) {
  double w = 1e9, r = 1e9, cw = 1e9, cr = 1e9;
  size_t bytes = 0;
  for (int i = 0; i < ROUNDS; i++) {
    tinker__buf_t b;
    tinker__jsonw_t out;
    tinker__json_t j;
    int32_t *t = NULL;
    float *f = NULL;
    size_t n = 0;
    cJSON *tree;
    tinker__buf_init(&b, mem, (size_t)1 << 30);
    tinker__buf_reserve(&b, (size_t)COUNT * 34);
    tinker__jsonw_init(&out, &b);
    double from = now_s();
    if (ids) {
      tinker__jsonw_i32_array(&out, ids, COUNT);
    } else {
      tinker__jsonw_f32_array(&out, lps, COUNT);
    }
    w = best(w, now_s() - from);
    bytes = b.len;
    tinker__json_init(&j, mem, b.data, b.len);
    from = now_s();
    bool ok = ids ? tinker__json_i32_array(&j, &t, &n, COUNT)
                  : tinker__json_f32_array(&j, &f, &n, COUNT, false);
    r = best(r, now_s() - from);
    cr = best(cr, cjson_read(b.data, b.len, &tree));
    cw = best(cw, cjson_write(tree));
    cJSON_Delete(tree);
    tinker__mem_free(mem, t);
    tinker__mem_free(mem, f);
    tinker__buf_free(&b);
    if (!ok || n != COUNT) return 1;
  }
  char what[32];
  snprintf(what, sizeof(what), "read %s", kind);
  report(what, bytes, r, cr);
  snprintf(what, sizeof(what), "write %s", kind);
  report(what, bytes, w, cw);
  return 0;
}

int main(void) {
  static int32_t ids[COUNT];
  static float lps[COUNT];
  tinker__mem_t mem;
  uint64_t s = 88172645463325252u;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < COUNT; i++) {
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    ids[i] = (int32_t)(s % 151936);
    lps[i] = -(float)(s >> 40) * 1e-6f;
  }
  return run(&mem, "int32", ids, NULL) || run(&mem, "float32", NULL, lps);
}
