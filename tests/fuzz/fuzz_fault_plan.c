/* Fault plans: whatever the file holds, a plan or a reason. */
#include "service/fault/fault_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static tinker__mem_t mem;
  char why[300];
  tinker__svc_fault_plan_t *plan;
  tinker__mem_init(&mem, NULL, (size_t)64 << 20);
  if (tinker__svc_fault_plan_read(&plan, &mem,
                                  (tinker__str_t){(const char *)data, len}, why,
                                  sizeof why) == 0) {
    tinker__svc_fault_call_t call = {TINKER__STR("optim_step"),
                                     TINKER__STR("m"), TINKER__STR(""), 1,
                                     len % 2 == 0};
    for (int i = 0; i < 4; i++) tinker__svc_fault_plan_next(plan, &call, i);
    tinker__svc_fault_plan_free(plan);
  }
  if (mem.live_blocks) __builtin_trap();
  return 0;
}
