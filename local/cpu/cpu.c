/* cpu: the table of the engine's functions. Threads as engine.h says. */
#include "cpu/cpu.h"

#include "cpu/kv.h"
#include "cpu/state.h"
#include "cpu/train.h"

static int adapter_current(tinker__eng_train_t *t, tinker__eng_adapter_t **out,
                           char *why, size_t why_len) {
  (void)why;
  (void)why_len;
  *out = tinker__cpu_adapter_retain(t->current);
  return 0;
}

static float log_sum_exp(const tinker__engine_t *e, const float *row,
                         size_t n) {
  return e->ks->lse(row, n);
}

const tinker__engine_api_t *tinker__cpu_engine(void) {
  static const tinker__engine_api_t api = {
      .abi = TINKER_ENGINE_ABI,
      .size = sizeof(tinker__engine_api_t),
      .caps = TINKER_ENGINE_TRAINS,
      .name = "cpu",
      .open = tinker__cpu_open,
      .close = tinker__cpu_close,
      .estimate = tinker__cpu_estimate,
      .load_begin = tinker__cpu_load_begin,
      .load_step = tinker__cpu_load_step,
      .load_end = tinker__cpu_load_end,
      .base_release = tinker__cpu_base_release,
      .base_info = tinker__cpu_base_info,
      .train_new = tinker__cpu_train_new,
      .train_free = tinker__cpu_train_free,
      .train_config = tinker__cpu_train_config,
      .train_has_grad = tinker__cpu_train_has_grad,
      .pass_begin = tinker__cpu_pass_begin,
      .pass_step = tinker__cpu_pass_step,
      .pass_loss = tinker__cpu_pass_loss,
      .pass_end = tinker__cpu_pass_end,
      .optim_step = tinker__cpu_optim_step,
      .train_save = tinker__cpu_train_save,
      .train_load = tinker__cpu_train_load,
      .train_peek = tinker__cpu_train_peek,
      .adapter_current = adapter_current,
      .adapter_save = tinker__cpu_adapter_save,
      .adapter_load = tinker__cpu_adapter_load,
      .adapter_retain = tinker__cpu_adapter_retain,
      .adapter_release = tinker__cpu_adapter_release,
      .slot_new = tinker__cpu_slot_new,
      .slot_bytes = tinker__cpu_slot_bytes,
      .slot_limit = tinker__cpu_slot_limit,
      .slot_free = tinker__cpu_slot_free,
      .slot_len = tinker__cpu_slot_len,
      .slot_fork = tinker__cpu_slot_fork,
      .slot_grow = tinker__cpu_slot_grow,
      .decode = tinker__cpu_decode,
      .log_sum_exp = log_sum_exp,
      .pick = tinker__cpu_pick,
      .train_bytes = tinker__cpu_train_bytes,
      .pass_bytes = tinker__cpu_pass_bytes,
      .train_keep = tinker__cpu_train_keep,
      .train_resume = tinker__cpu_train_resume,
  };
  return &api;
}
