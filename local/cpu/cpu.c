/* cpu: the table of the engine's functions. Threads as engine.h says. */
#include "cpu/cpu.h"

#include "cpu/kv.h"
#include "cpu/state.h"
#include "cpu/train.h"

static int adapter_current(tinker__train_t *t, tinker__adapter_t **out,
                           char *why, size_t why_len) {
  (void)why;
  (void)why_len;
  *out = tinker__adapter_retain(t->current);
  return 0;
}

static float log_sum_exp(const tinker__engine_t *e, const float *row,
                         size_t n) {
  return e->ks->lse(row, n);
}

const tinker__engine_api_t *tinker__engine_cpu(void) {
  static const tinker__engine_api_t api = {
      .abi = TINKER_ENGINE_ABI,
      .name = "cpu",
      .open = tinker__cpu_open,
      .close = tinker__cpu_close,
      .estimate = tinker__cpu_estimate,
      .base_load = tinker__base_load,
      .base_release = tinker__base_release,
      .base_info = tinker__base_info,
      .train_new = tinker__train_new,
      .train_free = tinker__train_free,
      .train_config = tinker__train_config,
      .train_has_grad = tinker__train_has_grad,
      .pass_begin = tinker__pass_begin,
      .pass_step = tinker__pass_step,
      .pass_loss = tinker__pass_loss,
      .pass_end = tinker__pass_end,
      .optim_step = tinker__optim_step,
      .train_save = tinker__train_save,
      .train_load = tinker__train_load,
      .train_peek = tinker__train_peek,
      .adapter_current = adapter_current,
      .adapter_save = tinker__adapter_save,
      .adapter_load = tinker__adapter_load,
      .adapter_release = tinker__adapter_release,
      .slot_new = tinker__slot_new,
      .slot_bytes = tinker__slot_bytes,
      .slot_limit = tinker__slot_limit,
      .slot_free = tinker__slot_free,
      .slot_len = tinker__slot_len,
      .slot_fork = tinker__slot_fork,
      .decode = tinker__decode,
      .log_sum_exp = log_sum_exp,
  };
  return &api;
}
