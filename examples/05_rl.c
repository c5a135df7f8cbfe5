/* 05 rl: reinforcement learning with a reward computed here, in C: the model
 * learns to use short words. Each round samples a group from the present
 * weights, scores it, and makes what was better than the mean more likely.
 *
 * usage: 05_rl TOKENIZER_JSON     (TINKER_BASE_URL, TINKER_MODEL) */
#include "example.h"

enum { ROUNDS = 12, GROUP = 32, LENGTH = 20 };

/* What was sampled, with its log-probabilities at that time and how much better
 * than the mean it was. */
static tinker_datum_t *make_example(int32_t prompt, const tinker_sequence_t *s,
                                    float advantage) {
  tinker_datum_t *datum = NULL;
  tinker_error_t *error = NULL;
  check_made(tinker_datum_new_rl(&datum, &prompt, 1, s->tokens, s->logprobs,
                                 s->count, advantage, NULL, &error),
             &error);
  return datum;
}

static tinker_future_t *sample(tinker_trainer_t *trainer, int32_t prompt,
                               int round) {
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  params.max_tokens = LENGTH;
  params.num_samples = GROUP;
  params.seed = round; /* so that this program always prints the same */
  tinker_sampler_t *sampler =
      take_sampler(tinker_trainer_create_sampler(trainer, NULL));
  tinker_input_t *input = new_input(&prompt, 1);
  tinker_future_t *future =
      tinker_sampler_sample(sampler, input, &params, NULL);
  tinker_input_release(input);
  tinker_sampler_release(sampler);
  return await(future);
}

/* One round; returns the mean reward that the present weights got. */
static float play(tinker_trainer_t *trainer, const tinker_tokenizer_t *t,
                  int round) {
  int32_t prompt = 0;
  size_t n = 0;
  float score[GROUP], mean = 0;
  tinker_datum_t *group[GROUP];
  const tinker_sample_result_t *result = NULL;
  check(tinker_tokenizer_token_id(t, " And", 4, &prompt));
  tinker_future_t *sampled = sample(trainer, prompt, round);
  check(tinker_future_get_sample(sampled, &result));
  const tinker_sequence_t *s = tinker_sample_result_sequences(result, &n);
  for (size_t i = 0; i < n; i++) {
    mean += (score[i] = short_words(t, &s[i])) / (float)n;
  }
  for (size_t i = 0; i < n; i++) {
    group[i] = make_example(prompt, &s[i], score[i] - mean);
  }
  whole_step(trainer, group, n, TINKER_LOSS_IMPORTANCE_SAMPLING, 4e-3);
  for (size_t i = 0; i < n; i++) tinker_datum_release(group[i]);
  tinker_future_release(sampled);
  return mean;
}

int main(int argc, char **argv) {
  float mean[ROUNDS];
  if (argc != 2) return fprintf(stderr, "usage: 05_rl TOKENIZER_JSON\n"), 2;
  tinker_tokenizer_t *tokenizer = load_tokenizer(argv[1]);
  tinker_client_t *client = connect_service();
  tinker_trainer_t *trainer = new_trainer(client, 8);
  for (int i = 0; i < ROUNDS; i++) {
    printf("round %d: mean reward %.4f\n", i + 1,
           (double)(mean[i] = play(trainer, tokenizer, i)));
  }
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  tinker_tokenizer_release(tokenizer);
  check(tinker_shutdown(-1));
  return mean[ROUNDS - 1] > mean[0] ? 0 : 1;
}
