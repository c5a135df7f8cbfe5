/* What is known of models, services and the client, see results.h. */
#include "api/results.h"

static const char *or_empty(const char *s) {
  return s ? s : "";
}

static tinker_error_t *decode_info(tinker_future_t *f) {
  tinker__get_info_reply_t reply;
  tinker__job_t *job = tinker__job_of(f);
  tinker_error_t *error =
      tinker__result_message(f, &tinker__get_info_reply_msg, &reply);
  if (error) return error;
  tinker_model_info_t *info = tinker__arena_alloc(&job->arena, sizeof *info);
  if (!info) return tinker__result_malformed(f, TINKER_ENOMEM, "");
  const char *name = reply.model_data.model_name ? reply.model_data.model_name
                                                 : reply.model_name;
  *info = (tinker_model_info_t){
      .model_id = or_empty(reply.model_id),
      .base_model = or_empty(name),
      .arch = or_empty(reply.model_data.arch),
      .tokenizer_id = or_empty(reply.model_data.tokenizer_id),
      .lora_rank = reply.has_lora_rank && reply.lora_rank > 0 &&
                           reply.lora_rank <= UINT32_MAX
                       ? (uint32_t)reply.lora_rank
                       : 0};
  f->result = info;
  return NULL;
}

static int32_t tristate(bool has, bool value) {
  return has ? value : -1;
}

static tinker_error_t *decode_capabilities(tinker_future_t *f) {
  tinker__capabilities_reply_t reply;
  tinker__arena_t *arena = &tinker__job_of(f)->arena;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__capabilities_reply_msg, &reply);
  if (error) return error;
  const tinker__capability_t *in = reply.supported_models.items;
  size_t n = reply.supported_models.count;
  tinker_capabilities_t *out = tinker__arena_alloc(arena, sizeof *out);
  tinker_supported_model_t *models =
      tinker__arena_array(arena, n, sizeof *models);
  if (!out || !models) return tinker__result_malformed(f, TINKER_ENOMEM, "");
  for (size_t i = 0; i < n; i++) {
    models[i] = (tinker_supported_model_t){
        .name = or_empty(in[i].model_name),
        .max_context_length =
            in[i].has_max_context_length && in[i].max_context_length > 0
                ? (uint64_t)in[i].max_context_length
                : 0,
        .trainable = tristate(in[i].has_trainable, in[i].trainable),
        .sampleable = tristate(in[i].has_sampleable, in[i].sampleable),
    };
  }
  *out = (tinker_capabilities_t){models, n};
  f->result = out;
  return NULL;
}

TINKER__RESULT(info);
TINKER__RESULT(capabilities);

/* The client's own text: it is the result as it is. */
static tinker_error_t *decode_dump(tinker_future_t *f) {
  f->result = f->raw[0].data;
  f->raw[0].data = NULL; /* raw replies go after decoding */
  return NULL;
}

static void free_dump(tinker_future_t *f) {
  tinker__mem_free(f->mem, f->result);
  tinker__job_free(f);
}

const tinker__future_ops_t tinker__result_dump = {decode_dump, free_dump};
