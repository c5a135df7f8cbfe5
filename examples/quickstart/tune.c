/* tune: the worker of the main job. Measures the held-out loss and samples,
 * fine-tunes with a live line, saves with the optimizer, measures and samples
 * again, and draws the curve. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "quick.h"

enum { BATCH = 16, RANK = 16, SAMPLE_TOKENS = 48 };
static const double rate_peak = 4e-3;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Full rate for the first half, then a straight line to a tenth. */
static double rate_at(int step, int steps) {
  double left = 2.0 * (steps - step) / steps;
  return rate_peak * (left >= 1 ? 1 : 0.1 + 0.9 * left);
}

static double heldout_loss(tinker_trainer_t *trainer,
                           const quick_corpus_t *corpus) {
  const tinker_forward_result_t *result = NULL;
  tinker_future_t *future = tinker_trainer_forward(
      trainer, corpus->heldout, corpus->num_heldout, NULL, NULL);
  quick_await(future, "forward");
  quick_check(tinker_future_get_forward(future, &result), "result");
  double loss = quick_metric(result, "loss:sum");
  tinker_future_release(future);
  return loss / (double)corpus->heldout_tokens;
}

static void sample(tinker_trainer_t *trainer,
                   const tinker_tokenizer_t *tokenizer, const char *title) {
  static const char *const prompts[] = {
      "firewall:", "power user:", "spaghetti code:"};
  tinker_sampler_t *sampler = NULL;
  tinker_future_t *future = tinker_trainer_create_sampler(trainer, NULL);
  quick_await(future, "create_sampler");
  quick_check(tinker_future_get_sampler(future, &sampler), "sampler");
  tinker_future_release(future);
  printf("\n%s\n", title);
  for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
    quick_sample(sampler, tokenizer, prompts[i], SAMPLE_TOKENS);
  }
  printf("\n");
  tinker_sampler_release(sampler);
}

static void live(int step, int steps, double loss, double speed, double left) {
  bool terminal = isatty(STDOUT_FILENO);
  if (!terminal && step % 10 != 0 && step != 1) return;
  printf("%sstep %3d/%d  loss %.3f  %5.0f tokens/s  %3.0f s left%s",
         terminal ? "\r" : "", step, steps, loss, speed, left,
         terminal && step < steps ? " " : "\n");
  fflush(stdout);
}

static void train(tinker_trainer_t *trainer, const quick_corpus_t *corpus,
                  int steps, quick_curve_t *curve) {
  quick_step_t now, next = {0};
  double begin = seconds();
  size_t tokens = 0;
  quick_step_submit(&now, trainer, corpus, 1, BATCH, rate_at(1, steps));
  for (int n = 1; n <= steps; n++) {
    if (n < steps) {
      quick_step_submit(&next, trainer, corpus, n + 1, BATCH,
                        rate_at(n + 1, steps));
    }
    double sum = quick_metric(quick_step_await(&now), "loss:sum");
    tokens += now.tokens;
    curve->loss[curve->count++] = sum / (double)now.tokens;
    double spent = seconds() - begin;
    live(n, steps, sum / (double)now.tokens, (double)tokens / spent,
         spent / n * (steps - n));
    quick_step_free(&now);
    now = next;
  }
}

static void save(tinker_trainer_t *trainer) {
  const char *path = NULL;
  tinker_future_t *future =
      tinker_trainer_save_state(trainer, "tuned", NULL, NULL);
  quick_await(future, "save_state");
  quick_check(tinker_future_get_path(future, &path), "save_state");
  printf("saved with optimizer: %s\n", path);
  tinker_future_release(future);
}

static tinker_trainer_t *create(tinker_client_t *client) {
  tinker_trainer_options_t options = TINKER_TRAINER_OPTIONS_INIT;
  options.base_model = QUICK_MODEL;
  options.rank = RANK;
  options.seed = 1;
  return quick_take_trainer(
      tinker_client_create_trainer(client, &options, NULL));
}

static int verdict(const quick_curve_t *curve, double margin) {
  double fell = curve->heldout_before - curve->heldout_after;
  printf("held-out loss: %.3f before, %.3f after: fell by %.3f nats per token"
         " (at least %.1f wanted)\n",
         curve->heldout_before, curve->heldout_after, fell, margin);
  return fell >= margin ? QUICK_OK : QUICK_FAILED;
}

int quick_tune(const quick_paths_t *paths, const quick_plan_t *plan) {
  quick_curve_t curve = {.count = 0};
  quick_corpus_t corpus;
  tinker_tokenizer_t *tokenizer = quick_tokenizer(paths->model);
  quick_corpus_load(&corpus, paths, tokenizer);
  printf("%zu entries to train on, %zu held out; %d steps of %d entries, LoRA"
         " rank %d; losses in nats per token\n",
         corpus.num_train, corpus.num_heldout, plan->steps, BATCH, RANK);
  tinker_client_t *client = quick_connect();
  tinker_trainer_t *trainer = create(client);
  sample(trainer, tokenizer, "Samples before:");
  curve.heldout_before = heldout_loss(trainer, &corpus);
  train(trainer, &corpus, plan->steps, &curve);
  save(trainer);
  curve.heldout_after = heldout_loss(trainer, &corpus);
  sample(trainer, tokenizer, "Samples after:");
  quick_plot(&curve, paths->out);
  int status = verdict(&curve, plan->margin);
  tinker_trainer_release(trainer);
  quick_disconnect(client);
  quick_corpus_free(&corpus);
  tinker_tokenizer_release(tokenizer);
  return status;
}
