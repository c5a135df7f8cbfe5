/* fuzz_peft: adapter_config.json, and names of an adapter's tensors. What was
 * read is written and must read back the same. A safetensors file is taken for
 * an adapter of q_proj and lm_head, of rank 1. */
#include <string.h>

#include "base/file.h"
#include "base/world.h"
#include "model/peft.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_back(tinker__mem_t *mem, const tinker__peft_config_t *c) {
  tinker__peft_config_t again;
  tinker__buf_t b;
  tinker__buf_init(&b, mem, 1u << 20);
  tinker__peft_config_write(&b, c);
  if (tinker__peft_config_parse(&again, mem, tinker__buf_str(&b), NULL, 0) !=
      0) {
    __builtin_trap();
  }
  if (again.rank != c->rank || again.targets != c->targets) __builtin_trap();
  tinker__mem_free(mem, again.base_model);
  tinker__buf_free(&b);
}

static const tinker__model_config_t *model(void) {
  static const char path[] =
      TINKER_SOURCE_DIR "/tests/golden/models/qwen3_tied/config.json";
  static tinker__model_config_t config;
  tinker__mem_t mem;
  tinker__buf_t text;
  if (config.num_layers) return &config;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&text, &mem, 1u << 16);
  if (tinker__file_read(tinker__world_real(), path, &text, NULL, 0) != 0 ||
      tinker__config_parse(&config, &mem, tinker__buf_str(&text), NULL, 0) !=
          0) {
    __builtin_trap();
  }
  tinker__buf_free(&text);
  return &config;
}

/* An adapter that is let in has every tensor it must have. */
static void check_adapter(tinker__mem_t *mem, const uint8_t *data,
                          size_t size) {
  static const tinker__peft_config_t config = {
      .rank = 1,
      .alpha = 1,
      .targets = TINKER__LORA_BIT(TINKER__LORA_Q) |
                 TINKER__LORA_BIT(TINKER__LORA_LM_HEAD),
  };
  tinker__safetensors_t *st = NULL;
  char name[TINKER__PEFT_NAME_MAX], why[256];
  if (tinker__safetensors_parse(&st, mem, data, size, why, sizeof why) != 0) {
    return;
  }
  if (tinker__peft_check(st, &config, model(), why, sizeof why) == 0) {
    if (tinker__safetensors_len(st) != 2 + 2 * model()->num_layers) {
      __builtin_trap();
    }
    for (uint32_t layer = 0; layer < model()->num_layers; layer++) {
      tinker__peft_tensor_name(name, TINKER__LORA_Q, layer, TINKER__LORA_B);
      if (!tinker__safetensors_find(st, tinker__str(name))) __builtin_trap();
    }
  }
  tinker__safetensors_free(st);
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
  check_adapter(&mem, data, size);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
