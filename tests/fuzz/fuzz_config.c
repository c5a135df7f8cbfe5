/* fuzz_config: config.json and generation_config.json. */
#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__model_config_t c;
  tinker__str_t text = {size ? (const char *)data : "", size};
  char why[256];
  tinker__mem_init(&mem, NULL, 1u << 26);
  if (tinker__config_parse(&c, &mem, text, why, sizeof why) == 0) {
    if (c.num_heads % c.num_kv_heads || c.head_dim % 2 ||
        c.num_eos > TINKER__CONFIG_MAX_EOS) {
      __builtin_trap();
    }
    tinker__config_parse_generation(&c, &mem, text, why, sizeof why);
  }
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
