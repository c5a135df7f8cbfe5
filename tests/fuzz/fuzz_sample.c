/* fuzz_sample: asample's request (which must survive our encoder) and its
 * result in both forms. The first byte picks one. */
#include <string.h>

#include "wire/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(tinker__arena_t *arena, tinker__str_t body) {
  tinker__sample_request_t r, same;
  unsigned char a[TINKER__SHA256_LEN], b[TINKER__SHA256_LEN];
  tinker__wire_body_t own;
  char why[256];
  if (tinker__sample_request_decode(&r, arena, body, a, why, sizeof(why))) {
    return;
  }
  if (!tinker__sample_request_encode(&own, arena->mem, &r)) {
    int64_t seq = r.seq_id < 0 ? 0 : r.seq_id;
    if (tinker__wire_body_stamp(&own, r.sampling_session_id, seq)) {
      __builtin_trap();
    }
    tinker__buf_t text;
    tinker__buf_init(&text, arena->mem, 1u << 26);
    int rc = tinker__wire_body_copy(&own, &text);
    if (!rc) {
      rc = tinker__sample_request_decode(&same, arena, tinker__buf_str(&text),
                                         b, why, sizeof(why));
    }
    if (!rc && r.seq_id >= 0 && memcmp(a, b, sizeof(a)) != 0) __builtin_trap();
    tinker__buf_free(&text);
  }
  tinker__wire_body_free(&own);
}

static void result(tinker__arena_t *arena, tinker__str_t body, bool json) {
  tinker__sample_result_t r;
  tinker__buf_t out;
  char why[256];
  tinker__buf_init(&out, arena->mem, 1u << 24);
  int rc =
      json
          ? tinker__sample_result_decode_json(&r, arena, body, why, sizeof(why))
          : tinker__sample_result_decode(&r, arena, body, why, sizeof(why));
  if (!rc) {
    tinker__sample_result_encode(&out, arena->mem, &r);
    tinker__buf_clear(&out);
    tinker__sample_result_encode_json(&out, &r);
  }
  tinker__buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  if (!size) return 0;
  tinker__str_t body = {(const char *)data + 1, size - 1};
  tinker__mem_init(&mem, NULL, 1u << 27);
  tinker__arena_init(&arena, &mem);
  if (data[0] % 3 == 0) {
    request(&arena, body);
  } else {
    result(&arena, body, data[0] % 3 == 1);
  }
  tinker__arena_free(&arena);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
