/* 04 sample: continue a prompt twice. The text is decoded token by token, as
 * one would show it while it arrives: a stream never splits a character.
 *
 * usage: 04_sample TOKENIZER_JSON [PROMPT]
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include "example.h"

static tinker_input_t *make_prompt(const tinker_tokenizer_t *tokenizer,
                                   const char *text) {
  int32_t *ids = NULL;
  size_t n = 0;
  check(tinker_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &n));
  tinker_input_t *input = new_input(ids, n);
  tinker_tokenizer_free(tokenizer, ids);
  return input;
}

static void print(tinker_tokenizer_t *tokenizer, const char *prompt,
                  const tinker_sequence_t *sequence) {
  tinker_tokenizer_stream_t *stream = NULL;
  const char *text = NULL;
  size_t len = 0;
  check(tinker_tokenizer_stream_new(&stream, tokenizer,
                                    TINKER_DECODE_SKIP_SPECIAL));
  fputs(prompt, stdout);
  for (size_t i = 0; i < sequence->count; i++) {
    check(
        tinker_tokenizer_stream_push(stream, sequence->tokens[i], &text, &len));
    fwrite(text, 1, len, stdout);
  }
  check(tinker_tokenizer_stream_finish(stream, &text, &len));
  fwrite(text, 1, len, stdout);
  fputs("\n---\n", stdout);
  tinker_tokenizer_stream_release(stream);
}

int main(int argc, char **argv) {
  const char *prompt = argc > 2 ? argv[2] : "And it came to pass";
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  const tinker_sample_result_t *result = NULL;
  size_t count = 0;

  if (argc < 2) {
    return fprintf(stderr, "usage: 04_sample TOKENIZER_JSON [PROMPT]\n"), 2;
  }
  tinker_tokenizer_t *tokenizer = load_tokenizer(argv[1]);
  tinker_client_t *client = connect_service();
  tinker_sampler_t *sampler =
      take_sampler(tinker_client_create_sampler(client, example_model(), NULL));

  params.max_tokens = 40;
  params.num_samples = 2;
  params.top_p = 0.9;
  tinker_input_t *input = make_prompt(tokenizer, prompt);
  tinker_future_t *future =
      await(tinker_sampler_sample(sampler, input, &params, NULL));
  check(tinker_future_get_sample(future, &result));
  const tinker_sequence_t *s = tinker_sample_result_sequences(result, &count);
  for (size_t i = 0; i < count; i++) print(tokenizer, prompt, &s[i]);
  tinker_future_release(future);
  tinker_input_release(input);
  tinker_sampler_release(sampler);
  tinker_tokenizer_release(tokenizer);
  tinker_client_release(client);
  check(tinker_shutdown(-1));
  return count == 2 ? 0 : 1;
}
