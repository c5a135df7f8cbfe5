/* proof: the worker of one run of the proof. It trains by small steps, with the
 * next one always begun before the present one has ended, and writes down the
 * bits of every loss and of every token's log-probability. Whatever goes wrong
 * is the run's to mend (tinker/recovery.h): the loop asks for the next step.
 *
 * The commit of a step is called when the next one is begun, and a step is
 * reported when it was written down and is committed. So the parent may kill
 * the worker after any report: nothing that is committed is missing. */
#include <string.h>
#include <tinker/recovery.h>
#include <unistd.h>

#include "quick.h"

enum { BATCH = 8 };
static const double rate = 2e-3;

/* A step that was begun; next is what it was handed out by. */
typedef struct begun_s {
  int number;
  tinker_future_t *next, *forward, *optim, *commit;
} begun_t;

static void record(FILE *file, const begun_t *step) {
  const tinker_forward_result_t *result = NULL;
  uint64_t bits;
  quick_check(tinker_future_get_forward(step->forward, &result), "result");
  double loss = quick_metric(result, "loss:sum");
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

/* The parent reads what the run decides. */
static void on_event(void *user, const char *line, size_t len) {
  (void)user;
  printf("%.*s\n", (int)len, line);
  fflush(stdout);
}

/* A run's name is one run, wherever its folder is: each proof takes new ones,
 * with the end of its folder's name, since the service keeps the old runs. */
static tinker_run_t *open_run(const quick_paths_t *paths, const char *name) {
  char own[64];
  const char *mark = strrchr(paths->runs, '-');
  tinker_run_t *run = NULL;
  tinker_error_t *error = NULL;
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  snprintf(own, sizeof own, "%s%s", name, mark ? mark : "");
  adam.learning_rate = rate;
  plan.base_model = QUICK_MODEL;
  plan.rank = 8;
  plan.seed = 7;
  plan.steps = QUICK_PROOF_STEPS;
  plan.adam = &adam;
  options.state_dir = paths->runs;
  options.name = own;
  options.plan = &plan;
  options.checkpoint_every = QUICK_PROOF_SAVE;
  options.event_cb = on_event;
  if (tinker_run_open(&run, &options, &error) != TINKER_OK) {
    quick_die("run %s: %s", own, tinker_error_message(error));
  }
  return run;
}

/* Begins the next step. false: there is none, since all are done or the run has
 * stopped. What an earlier process has sent of it is taken as it is; the batch
 * follows from the number of the step. */
static bool begin(begun_t *b, tinker_run_t *run, const quick_corpus_t *corpus) {
  const tinker_run_step_t *step = NULL;
  quick_batch_t batch;
  b->next = tinker_run_next(run, NULL);
  if (tinker_future_wait(b->next, -1) != TINKER_OK) return false;
  quick_check(tinker_future_get_run_step(b->next, &step), "next step");
  if (step->done) return false;
  b->number = (int)step->step;
  quick_batch_fill(&batch, corpus, b->number, BATCH);
  b->forward = step->forward_count
                   ? tinker_future_retain(step->forward[0])
                   : tinker_run_forward_backward(run, batch.data, batch.size,
                                                 NULL, NULL);
  b->optim = step->optim ? tinker_future_retain(step->optim)
                         : tinker_run_optim_step(run, NULL, NULL);
  return true;
}

/* A step that has failed is nothing to end for: the next one says what is to be
 * done. */
static void end(const begun_t *b, FILE *file) {
  bool computed = tinker_future_wait(b->forward, -1) == TINKER_OK;
  if (computed) record(file, b);
  if (tinker_future_wait(b->commit, -1) != TINKER_OK) return;
  printf("step %d\n", b->number);
  fflush(stdout);
}

static void release(begun_t *b) {
  tinker_future_release(b->next);
  tinker_future_release(b->forward);
  tinker_future_release(b->optim);
  tinker_future_release(b->commit);
}

static int train(tinker_run_t *run, const quick_corpus_t *corpus,
                 const quick_proof_t *proof, FILE *file) {
  begun_t now = {0}, next = {0};
  bool marked = false;
  for (bool more = begin(&now, run, corpus); more; now = next) {
    next = (begun_t){0};
    now.commit = tinker_run_commit(run, NULL, 0, NULL);
    more = begin(&next, run, corpus);
    end(&now, file);
    /* The next batch is out; the parent's kill is on its way. */
    while (now.number == proof->stop_after) pause();
    if (now.number == proof->mark_after && !marked) {
      marked = true;
      quick_check(tinker_run_distrust(run, "marked by its operator"), "mark");
    }
    release(&now);
  }
  int rc = tinker_future_status(now.next);
  if (rc != TINKER_OK) {
    fprintf(stderr, "quickstart: %s\n",
            tinker_error_message(tinker_future_error(now.next)));
  }
  release(&now);
  return rc == TINKER_OK ? QUICK_OK : QUICK_TROUBLE;
}

int quick_proof(const quick_paths_t *paths, const quick_proof_t *proof) {
  char name[64];
  quick_corpus_t corpus;
  tinker_tokenizer_t *tokenizer = quick_tokenizer(paths->model);
  quick_corpus_load(&corpus, paths, tokenizer);
  snprintf(name, sizeof name, "proof-%s.txt", proof->name);
  FILE *file = quick_open(paths->out, name, "a");
  tinker_run_t *run = open_run(paths, proof->name);
  int status = train(run, &corpus, proof, file);
  fclose(file);
  tinker_run_release(run);
  quick_corpus_free(&corpus);
  tinker_tokenizer_release(tokenizer);
  return status;
}
