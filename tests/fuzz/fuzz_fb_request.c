/* fuzz_fb_request: forward_backward in its three forms; what decodes is
 * encoded and must mean the same again. The first byte picks the form. */
#include <string.h>

#include "wire/fb_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const tinker__fb_request_t *r, tinker__arena_t *arena) {
  tinker__wire_body_t b;
  tinker__fb_request_t same;
  char why[256];
  if (!tinker__fb_request_encode(&b, arena->mem, &r->view, why, sizeof(why))) {
    if (tinker__wire_body_stamp(&b, r->view.model_id, r->view.seq_id)) {
      __builtin_trap();
    }
    int rc = tinker__fb_request_decode(&same, arena, tinker__wire_body_str(&b),
                                       TINKER__FB_PROTO, false, 1u << 24, why,
                                       sizeof(why));
    if (!rc && memcmp(r->digest, same.digest, sizeof(same.digest)) != 0) {
      __builtin_trap();
    }
  }
  tinker__wire_body_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__fb_request_t r;
  char why[256];
  if (!size) return 0;
  tinker__str_t body = {(const char *)data + 1, size - 1};
  tinker__fb_format_t format = (tinker__fb_format_t)(data[0] % 3);
  tinker__mem_init(&mem, NULL, 1u << 27);
  tinker__arena_init(&arena, &mem);
  if (tinker__fb_request_decode(&r, &arena, body, format, false, 1u << 20, why,
                                sizeof(why)) == 0) {
    again(&r, &arena);
  }
  tinker__arena_free(&arena);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
