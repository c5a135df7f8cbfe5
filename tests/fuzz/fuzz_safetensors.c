/* fuzz_safetensors: any bytes; what is accepted is read to the last byte, must
 * be found under its name, and is the same once it was written and read. */
#include <string.h>

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const tinker__safetensors_t *st,
                    const tinker__safetensors_t *again) {
  if (tinker__safetensors_len(st) != tinker__safetensors_len(again)) {
    __builtin_trap();
  }
  for (size_t i = 0; i < tinker__safetensors_len(st); i++) {
    const tinker__tensor_t *a = tinker__safetensors_at(st, i);
    const tinker__tensor_t *b = tinker__safetensors_find(again, a->name);
    if (!b || a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) != 0 ||
        a->bytes != b->bytes || memcmp(a->data, b->data, a->bytes) != 0) {
      __builtin_trap();
    }
  }
}

/* The writer's own limits: what it makes, no one names like this. */
static bool may_write(const tinker__safetensors_t *st) {
  bool good = true;
  for (size_t i = 0; i < tinker__safetensors_len(st); i++) {
    tinker__str_t name = tinker__safetensors_at(st, i)->name;
    good = good && name.len < 512 && !memchr(name.ptr, 0, name.len);
  }
  return good;
}

static void write_again(tinker__mem_t *mem, const tinker__safetensors_t *st) {
  tinker__safetensors_t *again = NULL;
  tinker__buf_t out;
  tinker__str_t format = TINKER__STR("");
  size_t n = tinker__safetensors_len(st);
  tinker__meta_t meta = {"format", "pt"};
  tinker__safetensors_meta(st, "format", &format);
  tinker__tensor_t *all = tinker__mem_array(mem, n, sizeof *all);
  if (!all) return;
  for (size_t i = 0; i < n; i++) all[i] = *tinker__safetensors_at(st, i);
  tinker__buf_init(&out, mem, 1u << 26);
  if (tinker__safetensors_write(&out, mem, all, n, &meta, 1, NULL, 0) != 0 ||
      tinker__safetensors_parse(&again, mem, out.data, out.len, NULL, 0) != 0 ||
      !tinker__safetensors_meta(again, "format", &format) ||
      !tinker__str_eqs(format, "pt")) {
    __builtin_trap();
  }
  compare(st, again);
  tinker__safetensors_free(again);
  tinker__buf_free(&out);
  tinker__mem_free(mem, all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__safetensors_t *st = NULL;
  char why[256];
  unsigned sum = 0;
  tinker__mem_init(&mem, NULL, 1u << 28);
  if (tinker__safetensors_parse(&st, &mem, data, size, why, sizeof why) == 0) {
    for (size_t i = 0; i < tinker__safetensors_len(st); i++) {
      const tinker__tensor_t *t = tinker__safetensors_at(st, i);
      for (uint64_t k = 0; k < t->bytes; k++) {
        sum += ((const unsigned char *)t->data)[k];
      }
      if (tinker__safetensors_find(st, t->name) != t) __builtin_trap();
    }
    if (may_write(st)) write_again(&mem, st);
  }
  tinker__safetensors_free(st);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return sum == UINT32_MAX && size == 0;
}
