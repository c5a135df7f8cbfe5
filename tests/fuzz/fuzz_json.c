/* fuzz_json: the reader, and the writer on what it read. */
#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "wire/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void numbers(tinker__mem_t *mem, tinker__str_t text) {
  tinker__json_t j;
  int32_t *i = NULL;
  int64_t *l = NULL;
  float *f = NULL;
  size_t n = 0, m = 0, k = 0;
  tinker__json_init(&j, mem, text.ptr, text.len);
  bool ok = tinker__json_i32_array(&j, &i, &n, 1000);
  tinker__json_init(&j, mem, text.ptr, text.len);
  bool wide = tinker__json_i64_array(&j, &l, &m, 1000);
  tinker__json_init(&j, mem, text.ptr, text.len);
  bool real = tinker__json_f32_array(&j, &f, &k, 1000, true);
  if (ok && (!wide || !real || n != m || n != k)) __builtin_trap();
  for (size_t x = 0; ok && x < n; x++) {
    if (i[x] != l[x]) __builtin_trap();
  }
  tinker__mem_free(mem, i);
  tinker__mem_free(mem, l);
  tinker__mem_free(mem, f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__json_t j;
  char line[200];
  tinker__str_t text = {size ? (const char *)data : "", size};
  tinker__mem_init(&mem, NULL, 1u << 26);
  tinker__json_init(&j, &mem, text.ptr, text.len);
  tinker__json_skip(&j);
  tinker__json_end(&j);
  tinker__json_done(&j);
  numbers(&mem, text);
  tinker__error_body_text(&mem, text, line, sizeof(line));
  if (!tinker__utf8_valid(line, strlen(line))) __builtin_trap();
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
