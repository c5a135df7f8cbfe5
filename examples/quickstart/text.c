/* text: tokens and text, with the tokenizer that lies in the model's folder. */
#include <string.h>

#include "quick.h"

tinker_tokenizer_t *quick_tokenizer(const char *model_folder) {
  char path[1024];
  tinker_error_t *error = NULL;
  tinker_tokenizer_t *tokenizer = NULL;
  snprintf(path, sizeof path, "%s/tokenizer.json", model_folder);
  if (tinker_tokenizer_new_from_file(&tokenizer, path, NULL, &error) !=
      TINKER_OK) {
    quick_die("%s: %s", path, tinker_error_message(error));
  }
  return tokenizer;
}

/* The ids of a text, cut after `max`; with_end adds the end-of-text token. */
size_t quick_encode(const tinker_tokenizer_t *tokenizer, const char *text,
                    bool with_end, int32_t *tokens, size_t max) {
  static const char end[] = "<|endoftext|>";
  int32_t *ids = NULL;
  size_t n = 0, kept;
  quick_check(
      tinker_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &n),
      "encode");
  kept = n < max - with_end ? n : max - with_end;
  memcpy(tokens, ids, kept * sizeof *ids);
  tinker_tokenizer_free(tokenizer, ids);
  if (with_end) {
    quick_check(tinker_tokenizer_token_id(tokenizer, end, sizeof end - 1,
                                          &tokens[kept++]),
                end);
  }
  return kept;
}

static tinker_future_t *submit(tinker_sampler_t *sampler, const int32_t *tokens,
                               size_t n, uint32_t max_tokens) {
  tinker_input_t *input = NULL;
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  params.max_tokens = max_tokens;
  params.temperature = 0.6;
  params.seed = 1;
  quick_check(tinker_input_from_tokens(&input, tokens, n, NULL, NULL), "input");
  tinker_future_t *future =
      tinker_sampler_sample(sampler, input, &params, NULL);
  tinker_input_release(input);
  return future;
}

/* Draws one continuation of the prompt and prints both. */
void quick_sample(tinker_sampler_t *sampler,
                  const tinker_tokenizer_t *tokenizer, const char *prompt,
                  uint32_t max_tokens) {
  int32_t tokens[256];
  size_t count;
  char *text = NULL;
  const tinker_sample_result_t *result = NULL;
  size_t n = quick_encode(tokenizer, prompt, false, tokens, 256);
  tinker_future_t *future = submit(sampler, tokens, n, max_tokens);
  quick_await(future, "sample");
  quick_check(tinker_future_get_sample(future, &result), "sample");
  const tinker_sequence_t *s = tinker_sample_result_sequences(result, &count);
  quick_check(tinker_tokenizer_decode(tokenizer, s->tokens, s->count,
                                      TINKER_DECODE_SKIP_SPECIAL, &text, NULL),
              "decode");
  for (char *c = text; *c != '\0'; c++) *c = *c == '\n' ? ' ' : *c;
  printf("  %s%s\n", prompt, text);
  tinker_tokenizer_free(tokenizer, text);
  tinker_future_release(future);
}
