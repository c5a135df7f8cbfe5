/* fuzz_safetensors: any bytes; what is accepted is read to the last byte and
 * must be found under its name. */
#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__safetensors_t *st = NULL;
  char why[256];
  unsigned sum = 0;
  tinker__mem_init(&mem, NULL, 1u << 28);
  if (tinker__safetensors_parse(&st, &mem, data, size, why, sizeof why) == 0)
    for (size_t i = 0; i < tinker__safetensors_len(st); i++) {
      const tinker__tensor_t *t = tinker__safetensors_at(st, i);
      for (uint64_t k = 0; k < t->bytes; k++)
        sum += ((const unsigned char *)t->data)[k];
      if (tinker__safetensors_find(st, t->name) != t) __builtin_trap();
    }
  tinker__safetensors_free(st);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return sum == UINT32_MAX && size == 0;
}
