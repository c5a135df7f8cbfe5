/* quick: what the files of the quick start share.
 *
 * One program, two roles. The parent (main.c) starts the local service and
 * workers, kills one of them and starts it again, and compares what they wrote;
 * it makes no call of libtinker. A worker (tune.c, proof.c) is the same
 * executable run again with a role; each is one client with a session of its
 * own, so that a kill -9 of a worker is what a crash of a training program is.
 * Workers report to the parent by lines on a pipe and by files in the output
 * folder. */
#ifndef QUICK_H
#define QUICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <tinker/tinker.h>

enum {
  QUICK_OK = 0,
  QUICK_FAILED = 1, /* the loss did not fall enough, or a bit differs */
  QUICK_USAGE = 2,
  QUICK_TROUBLE = 3 /* something could not be done at all */
};

#define QUICK_MODEL "tiny-kjv"

typedef struct quick_paths_s {
  const char *self;   /* this executable */
  const char *locald; /* tinker-locald */
  const char *model;  /* folder of the base model */
  const char *data;   /* the text to fine-tune on */
  const char *out;    /* folder for everything written */
  const char *runs;   /* folder of the proof's runs, fresh each time */
} quick_paths_t;

/* trouble.c: ends the process with a sentence; for things that leave nothing
 * to go on with. */
void quick_die(const char *format, ...);
void *quick_alloc(size_t count, size_t size);
FILE *quick_open(const char *folder, const char *name, const char *mode);

/* process.c */
typedef struct quick_process_s {
  pid_t pid;
  FILE *lines; /* its standard output */
} quick_process_t;

void quick_spawn(quick_process_t *process, const char *const *argv,
                 const char *log_path);
void quick_spawn_shared(quick_process_t *process, const char *const *argv);
bool quick_line(quick_process_t *process, char *line, size_t size);
int quick_wait(quick_process_t *process); /* exit status, or -signal */
/* Ends all that run; may be called in a signal handler. */
void quick_kill_children(void);

/* service.c: the local service on a socket in a private folder. */
typedef struct quick_service_s {
  quick_process_t process;
  char folder[32];
  char url[64];
} quick_service_t;

/* name: of its state folder and its log. faults: a plan, NULL = none. */
void quick_service_start(quick_service_t *service, const quick_paths_t *paths,
                         const char *name, const char *faults);
void quick_service_stop(quick_service_t *service);

/* corpus.c: the text as training examples in a fixed order. */
typedef struct quick_corpus_s {
  tinker_datum_t **train, **heldout;
  size_t num_train, num_heldout;
  size_t *train_tokens; /* targets in train[i] */
  size_t heldout_tokens;
} quick_corpus_t;

/* text.c: text to tokens and back. */
tinker_tokenizer_t *quick_tokenizer(const char *model_folder);
size_t quick_encode(const tinker_tokenizer_t *tokenizer, const char *text,
                    bool with_end, int32_t *tokens, size_t max);
void quick_sample(tinker_sampler_t *sampler,
                  const tinker_tokenizer_t *tokenizer, const char *prompt,
                  uint32_t max_tokens);

void quick_corpus_load(quick_corpus_t *corpus, const quick_paths_t *paths,
                       const tinker_tokenizer_t *tokenizer);
void quick_corpus_free(quick_corpus_t *corpus);

/* A batch: `size` examples of the corpus, picked by step number. */
typedef struct quick_batch_s {
  tinker_datum_t *data[64];
  size_t size, tokens;
} quick_batch_t;

void quick_batch_fill(quick_batch_t *batch, const quick_corpus_t *corpus,
                      int step, size_t size);

/* connect.c: what every worker does with libtinker. */
tinker_client_t *quick_connect(void);
void quick_disconnect(tinker_client_t *client);
void quick_check(int rc, const char *what);
void quick_await(tinker_future_t *future, const char *what);
tinker_trainer_t *quick_take_trainer(tinker_future_t *future);

/* A step that is under way: its two operations. */
typedef struct quick_step_s {
  int number;
  size_t tokens;
  tinker_future_t *forward, *optim;
} quick_step_t;

void quick_step_submit(quick_step_t *step, tinker_trainer_t *trainer,
                       const quick_corpus_t *corpus, int number, size_t size,
                       double rate);
const tinker_forward_result_t *quick_step_await(quick_step_t *step);
void quick_step_free(quick_step_t *step);
double quick_metric(const tinker_forward_result_t *result, const char *name);

/* The two kinds of worker; each returns an exit status. */
typedef struct quick_plan_s {
  int steps;
  double margin; /* the held-out loss has to fall by this, nats per token */
} quick_plan_t;
int quick_tune(const quick_paths_t *paths, const quick_plan_t *plan);
typedef struct quick_proof_s {
  const char *name; /* of the run: "U", "K", ... */
  int stop_after;   /* wait to be killed after this step; 0 = never */
  int mark_after;   /* the model is marked as corrupted; 0 = never */
} quick_proof_t;
int quick_proof(const quick_paths_t *paths, const quick_proof_t *proof);

#define QUICK_PROOF_STEPS 20
#define QUICK_PROOF_SAVE 10 /* a checkpoint after so many steps */
#define QUICK_PROOF_KILL 13 /* the step after which something happens */

/* prove.c: the parent's side of the proof. Stops the service, another one is
 * used for the last run. Returns QUICK_OK or QUICK_FAILED. */
int quick_prove(const quick_paths_t *paths, quick_service_t *service);

/* compare.c: two record files, steps first..last. */
typedef struct quick_diff_s {
  size_t losses, logprobs; /* compared */
  size_t differ;           /* of them with any bit different */
  int first;               /* step of the first difference, 0 = none */
  bool complete;           /* both have every step */
} quick_diff_t;

void quick_compare(quick_diff_t *diff, const quick_paths_t *paths,
                   const char *left, const char *right, int first, int last);

/* adapter.c: what the newest checkpoint of the service holds. */
typedef struct quick_adapter_s {
  uint64_t digest; /* FNV-1a of weights, moments and step count */
  long size;       /* bytes */
} quick_adapter_t;

void quick_adapter_newest(quick_adapter_t *adapter, const quick_paths_t *paths);

/* plot.c: the loss curve. */
typedef struct quick_curve_s {
  double loss[1024];
  int count;
  double heldout_before, heldout_after;
} quick_curve_t;

void quick_plot(const quick_curve_t *curve, const char *folder);

#endif
