/* buf: see buf.h. Grows by doubling, so that appends cost amortised O(1). */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

void tinker__buf_init(tinker__buf_t *b, tinker__mem_t *mem, size_t max) {
  *b = (tinker__buf_t){.mem = mem, .max = max};
}

void tinker__buf_free(tinker__buf_t *b) {
  tinker__mem_free(b->mem, b->data);
  *b = (tinker__buf_t){.mem = b->mem, .max = b->max};
}

void tinker__buf_clear(tinker__buf_t *b) {
  b->len = 0;
  b->error = 0;
}

int tinker__buf_fail(tinker__buf_t *b, int code) {
  if (!b->error) b->error = code;
  return b->error;
}

static int grow(tinker__buf_t *b, size_t need) {
  size_t cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
  if (cap < 64) cap = 64;
  if (cap < need) cap = need;
  if (cap > b->max) cap = b->max;
  char *data = tinker__mem_realloc(b->mem, b->data, cap);
  if (!data) return tinker__buf_fail(b, TINKER_ENOMEM);
  b->data = data;
  b->cap = cap;
  return 0;
}

int tinker__buf_reserve(tinker__buf_t *b, size_t more) {
  if (b->error) return b->error;
  if (more <= b->cap - b->len) return 0;
  if (b->len > b->max || more > b->max - b->len) {
    return tinker__buf_fail(b, TINKER_EOVERFLOW);
  }
  return grow(b, b->len + more);
}

int tinker__buf_add(tinker__buf_t *b, const void *data, size_t len) {
  int rc = tinker__buf_reserve(b, len);
  if (rc || !len) return rc;
  memcpy(b->data + b->len, data, len);
  b->len += len;
  return 0;
}

int tinker__buf_adds(tinker__buf_t *b, const char *s) {
  return tinker__buf_add(b, s, strlen(s));
}

int tinker__buf_addc(tinker__buf_t *b, char c) {
  if (b->error || b->len == b->cap) return tinker__buf_add(b, &c, 1);
  b->data[b->len++] = c;
  return 0;
}

int tinker__buf_addf(tinker__buf_t *b, const char *fmt, ...) {
  char small[256];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(small, sizeof(small), fmt, ap);
  va_end(ap);
  if (n < 0) return tinker__buf_fail(b, TINKER_EINVAL);
  size_t len = (size_t)n;
  if (len < sizeof(small)) return tinker__buf_add(b, small, len);
  int rc = tinker__buf_reserve(b, len + 1);
  if (rc) return rc;
  va_start(ap, fmt);
  vsnprintf(b->data + b->len, len + 1, fmt, ap);
  va_end(ap);
  b->len += len;
  return 0;
}

const char *tinker__buf_cstr(tinker__buf_t *b) {
  if (b->error || (b->cap == b->len && grow(b, b->len + 1))) return NULL;
  if (b->cap == b->len) { /* the ceiling left no room for the NUL */
    tinker__buf_fail(b, TINKER_EOVERFLOW);
    return NULL;
  }
  b->data[b->len] = 0;
  return b->data;
}

char *tinker__buf_take(tinker__buf_t *b, size_t *len) {
  char *data = b->data;
  if (len) *len = b->len;
  *b = (tinker__buf_t){.mem = b->mem, .max = b->max};
  return data;
}
