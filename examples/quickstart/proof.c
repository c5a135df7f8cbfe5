/* proof: the worker behind one run of the proof. It takes small steps with
 * the next one always submitted before the present one has ended, and writes
 * down the bits of every loss and of every token's log-probability. The
 * parent may kill it at any moment: a record is flushed before the step is
 * reported. */
#include <string.h>
#include <unistd.h>

#include "quick.h"

enum { BATCH = 8 };
static const double rate = 2e-3;

static void record(FILE *file, const quick_step_t *step,
                   const tinker_forward_result_t *result) {
  double loss = quick_metric(result, "loss:sum");
  uint64_t bits;
  memcpy(&bits, &loss, sizeof bits);
  fprintf(file, "%d %016llx", step->number, (unsigned long long)bits);
  for (size_t i = 0; i < tinker_forward_result_count(result); i++) {
    tinker_tensor_view_t lp;
    quick_check(tinker_forward_result_tensor(result, i, "logprobs", &lp),
                "logprobs");
    for (size_t j = 0; j < lp.count; j++) {
      uint32_t word;
      memcpy(&word, &lp.f32[j], sizeof word);
      fprintf(file, " %08x", (unsigned)word);
    }
  }
  fputc('\n', file);
  fflush(file);
}

static void report_path(tinker_future_t *future, const char *what) {
  const char *path = NULL;
  quick_await(future, what);
  quick_check(tinker_future_get_path(future, &path), what);
  printf("%s %s\n", what, path);
  fflush(stdout);
  tinker_future_release(future);
}

static tinker_future_t *save(tinker_trainer_t *trainer, const char *run,
                             const char *label) {
  char name[64];
  snprintf(name, sizeof name, "proof-%s-%s", run, label);
  return tinker_trainer_save_state(trainer, name, NULL, NULL);
}

static tinker_trainer_t *trainer_of(tinker_client_t *client,
                                    const quick_proof_t *proof) {
  tinker_trainer_options_t options = TINKER_TRAINER_OPTIONS_INIT;
  options.base_model = QUICK_MODEL;
  options.rank = 8;
  options.seed = 7;
  return quick_take_trainer(
      proof->path == NULL ? tinker_client_create_trainer(client, &options, NULL)
                          : tinker_client_create_trainer_from_state(
                                client, proof->path, proof->optimizer, NULL));
}

/* Steps first..last; the checkpoint is ordered between two steps without
 * waiting for either. */
static void run(tinker_trainer_t *trainer, const quick_corpus_t *corpus,
                const quick_proof_t *proof, FILE *file) {
  quick_step_t now, next = {0};
  tinker_future_t *saving = NULL;
  int first = proof->path ? QUICK_PROOF_SAVE + 1 : 1;
  quick_step_submit(&now, trainer, corpus, first, BATCH, rate);
  for (int n = first; n <= QUICK_PROOF_STEPS; n++) {
    if (n == QUICK_PROOF_SAVE) {
      saving = save(trainer, proof->name, "checkpoint");
    }
    if (n < QUICK_PROOF_STEPS) {
      quick_step_submit(&next, trainer, corpus, n + 1, BATCH, rate);
    }
    record(file, &now, quick_step_await(&now));
    quick_step_free(&now);
    now = next;
    if (n == QUICK_PROOF_SAVE) report_path(saving, "checkpoint");
    printf("step %d\n", n);
    fflush(stdout);
    /* The next batch is out; the parent's kill is on its way. */
    if (n == proof->stop_after) {
      for (;;) pause();
    }
  }
}

int quick_proof(const quick_paths_t *paths, const quick_proof_t *proof) {
  char name[64];
  quick_corpus_t corpus;
  tinker_tokenizer_t *tokenizer = quick_tokenizer(paths->model);
  quick_corpus_load(&corpus, paths, tokenizer);
  snprintf(name, sizeof name, "proof-%s.txt", proof->name);
  FILE *file = quick_open(paths->out, name, "w");
  tinker_client_t *client = quick_connect();
  tinker_trainer_t *trainer = trainer_of(client, proof);
  run(trainer, &corpus, proof, file);
  report_path(save(trainer, proof->name, "final"), "final");
  fclose(file);
  tinker_trainer_release(trainer);
  quick_disconnect(client);
  quick_corpus_free(&corpus);
  tinker_tokenizer_release(tokenizer);
  return QUICK_OK;
}
