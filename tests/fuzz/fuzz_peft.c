/* fuzz_peft: adapter_config.json, and names of an adapter's tensors. What was
 * read is written and must read back the same. */
#include <string.h>

#include "model/peft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_back(tinker__mem_t *mem, const tinker__peft_config_t *c) {
  tinker__peft_config_t again;
  tinker__buf_t b;
  tinker__buf_init(&b, mem, 1u << 20);
  tinker__peft_config_write(&b, c);
  if (tinker__peft_config_parse(&again, mem, tinker__buf_str(&b), NULL, 0) != 0)
    __builtin_trap();
  if (again.rank != c->rank || again.targets != c->targets) __builtin_trap();
  tinker__mem_free(mem, again.base_model);
  tinker__buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__peft_config_t c;
  tinker__lora_target_t target;
  tinker__lora_side_t side;
  uint32_t layer;
  char name[TINKER__PEFT_NAME_MAX];
  tinker__str_t text = {size ? (const char *)data : "", size};
  tinker__mem_init(&mem, NULL, 1u << 26);
  if (tinker__peft_tensor_parse(text, &target, &layer, &side)) {
    tinker__peft_tensor_name(name, target, layer, side);
    if (!tinker__str_eqs(text, name)) __builtin_trap();
  }
  if (tinker__peft_config_parse(&c, &mem, text, name, sizeof name) == 0) {
    read_back(&mem, &c);
    tinker__mem_free(&mem, c.base_model);
  }
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
