/* fuzz_messages: the small messages, the classifier of replies, times. The
 * first byte picks the message; what is read must be written as it was meant.
 */
#include "wire/messages.h"
#include "wire/time.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Room for every struct, aligned for all of them. */
typedef union fuzz_any_u {
  char bytes[1024];
  double number;
  void *pointer;
} fuzz_any_t;

static const tinker__bind_table_t *const tables[] = {
    &tinker__config_request_msg,
    &tinker__client_config_msg,
    &tinker__dynamic_config_msg,
    &tinker__create_session_msg,
    &tinker__create_session_reply_msg,
    &tinker__heartbeat_msg,
    &tinker__finish_msg,
    &tinker__capabilities_reply_msg,
    &tinker__create_model_msg,
    &tinker__get_info_reply_msg,
    &tinker__optim_step_msg,
    &tinker__optim_step_result_msg,
    &tinker__save_weights_msg,
    &tinker__save_sampler_msg,
    &tinker__save_sampler_result_msg,
    &tinker__load_weights_msg,
    &tinker__load_weights_result_msg,
    &tinker__weights_info_reply_msg,
    &tinker__create_sampling_msg,
    &tinker__sampler_reply_msg,
    &tinker__accepted_msg,
    &tinker__retrieve_msg,
    &tinker__try_again_msg,
    &tinker__failure_msg,
    &tinker__create_model_result_msg,
    &tinker__save_weights_result_msg,
    &tinker__create_sampling_reply_msg,
    &tinker__weights_info_msg,
    &tinker__announced_msg,
    &tinker__call_head_msg,
    &tinker__call_subject_msg,
    &tinker__sample_head_msg,
    &tinker__optimizer_msg,
    &tinker__refusal_msg,
    &tinker__set_ttl_msg,
    &tinker__runs_reply_msg,
    &tinker__checkpoints_reply_msg,
    &tinker__sessions_reply_msg,
    &tinker__session_reply_msg};
#define TABLES (sizeof(tables) / sizeof(*tables))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__buf_t first, second;
  tinker__reply_t reply;
  fuzz_any_t any;
  char why[256];
  if (!size) return 0;
  tinker__str_t body = {(const char *)data + 1, size - 1};
  const tinker__bind_table_t *t = tables[data[0] % TABLES];
  if (t->size > sizeof(any)) __builtin_trap();
  tinker__mem_init(&mem, NULL, 1u << 26);
  tinker__arena_init(&arena, &mem);
  tinker__buf_init(&first, &mem, 1u << 24);
  tinker__buf_init(&second, &mem, 1u << 24);
  if (!tinker__message_decode(t, &any, &arena, body, why, sizeof(why)) &&
      !tinker__message_encode(&first, t, &any)) {
    if (tinker__message_decode(t, &any, &arena, tinker__buf_str(&first), why,
                               sizeof(why))) {
      __builtin_trap();
    }
    tinker__message_encode(&second, t, &any);
    if (!tinker__str_eq(tinker__buf_str(&first), tinker__buf_str(&second))) {
      __builtin_trap();
    }
  }
  tinker__reply_classify(&reply, &arena, TINKER__STR("application/json"), body,
                         why, sizeof(why));
  int64_t ms = 0;
  if (tinker__time_read(body, &ms) && ms < -62135683200000) __builtin_trap();
  tinker__buf_free(&first);
  tinker__buf_free(&second);
  tinker__arena_free(&arena);
  if (atomic_load(&mem.live_blocks)) __builtin_trap();
  return 0;
}
