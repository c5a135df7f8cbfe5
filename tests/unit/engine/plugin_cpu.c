/* The cpu engine as a loadable one. */
#include "cpu/cpu.h"

__attribute__((visibility("default"))) const tinker__engine_api_t *
tinker_engine_entry(uint32_t abi);

const tinker__engine_api_t *tinker_engine_entry(uint32_t abi) {
  return abi == TINKER_ENGINE_ABI ? tinker__cpu_engine() : NULL;
}
