/* fuzz_state: state.json of a saved train state: what is read is written and
 * read again as the same. */
#include <string.h>

#include "model/train_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__buf_t buf;
  tinker__train_state_t h, again;
  tinker__str_t text = {size ? (const char *)data : "", size};
  char why[256];
  tinker__mem_init(&mem, NULL, 1u << 26);
  tinker__buf_init(&buf, &mem, 1u << 20);
  if (tinker__train_state_parse(&h, &mem, text, why, sizeof why) == 0) {
    tinker__train_state_write(&buf, &h);
    if (tinker__train_state_parse(&again, &mem, tinker__buf_str(&buf), why,
                                  sizeof why) ||
        memcmp(h.base, again.base, 65) != 0 || h.step != again.step ||
        h.seed != again.seed || h.rank != again.rank ||
        h.has_grad != again.has_grad) {
      __builtin_trap();
    }
  }
  tinker__buf_free(&buf);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
