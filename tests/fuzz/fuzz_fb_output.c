/* fuzz_fb_output: results of forward_backward in both forms, combined. */
#include "wire/fb_output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches every value, so that a wrong bound is seen. */
static double sum(const tinker__fb_output_t *o) {
  double s = 0;
  for (size_t i = 0; i < o->datum_count; i++) {
    for (size_t f = 0; f < o->datums[i].field_count; f++) {
      const tinker__tensor_view_t *t = &o->datums[i].fields[f].tensor;
      for (size_t k = 0; k < t->count; k++) {
        s += t->dtype == TINKER__DTYPE_F32
                 ? (double)((const float *)t->data)[k]
                 : (double)((const int64_t *)t->data)[k];
      }
    }
  }
  return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__fb_output_t o, both;
  tinker__buf_t out;
  char why[256];
  if (!size) return 0;
  tinker__str_t body = {(const char *)data + 1, size - 1};
  tinker__mem_init(&mem, NULL, 1u << 27);
  tinker__arena_init(&arena, &mem);
  tinker__buf_init(&out, &mem, 1u << 24);
  int rc =
      data[0] & 1
          ? tinker__fb_output_decode_json(&o, &arena, body, why, sizeof(why))
          : tinker__fb_output_take(&o, &arena,
                                   tinker__mem_dup(&mem, body.ptr, body.len),
                                   body.len, why, sizeof(why));
  if (!rc) {
    tinker__fb_output_t parts[2] = {o, o};
    volatile double seen = sum(&o);
    (void)seen;
    if (!tinker__fb_output_combine(&both, &arena, parts, 2, why, sizeof(why))) {
      tinker__fb_output_encode(&out, &mem, &both);
    }
    tinker__buf_clear(&out);
    tinker__fb_output_encode_json(&out, &o);
  }
  tinker__buf_free(&out);
  tinker__arena_free(&arena);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
