/* Bodies of the local service's calls: whatever comes, an answer. The first
 * byte picks the call. */
#include <string.h>

#include "service/parse/work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static tinker__svc_base_model_t base = {
    .name = "m", .info = {.vocab_size = 100, .context_length = 64}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static tinker__mem_t mem;
  char why[300];
  int status = 0;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_head_t head;
  tinker__svc_work_t *work = NULL;
  if (len == 0) return 0;
  tinker__mem_init(&mem, NULL, (size_t)256 << 20);
  tinker__svc_t service = {.mem = &mem};
  tinker__svc_work_in_t in = {.kind = (tinker__svc_op_kind_t)(data[0] % 8),
                              .base = &base,
                              .format = data[0] & 8 ? TINKER__FORMAT_PROTO
                                                    : TINKER__FORMAT_JSON,
                              .body = {(const char *)data + 1, len - 1}};
  tinker__svc_work_proto_head(in.body, &head, why, sizeof why);
  tinker__svc_body_digest(&mem, in.body, "a", digest);
  if (tinker__svc_work_parse(&work, &service, &in, &status, why, sizeof why) ==
      0) {
    tinker__svc_work_free(work);
  }
  if (mem.live_blocks) __builtin_trap();
  return 0;
}
