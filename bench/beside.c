/* beside: sampling and training at the same time on the CPU engine.
 *
 *   bench_beside MODEL_FOLDER [TOKENS [THREADS [SHARE]]]
 *
 * One caller wants a sample of 64 tokens after the other, one trains with
 * passes of TOKENS tokens (default 2048; sequences of 128 at most) and rank-32
 * LoRA, through the scheduler of the service. In turns, so that all see the
 * same machine: samples alone, steps alone, both. Prints how much longer a
 * sample takes beside training ("sample_ratio", 1 = as alone) and how much of
 * its speed training keeps ("train_ratio"): of the medians, and of the least
 * times where a name says so. SHARE: percent of the engine's time for samples
 * (default 50). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/world.h"
#include "cpu/cpu.h"
#include "engine/backend.h"
#include "engine/scheduler.h"
#include "shape.h"

#define LENGTH 128 /* of a training sequence */
#define SAMPLE_TOKENS 64
#define PROMPT 8
#define TURNS 5
#define MOST 4000
#define TURN_S 1.5

typedef struct {
  double s[MOST];
  size_t n;
} times_t;

typedef struct {
  tinker__mem_t mem;
  const tinker__engine_api_t *api;
  const char *dir;
  size_t tokens; /* of a pass */
  tinker__engine_options_t options;
  tinker__eng_slots_t slots;
  tinker__eng_backend_t backend;
  tinker__eng_base_t *base;
  tinker__eng_base_info_t info;
  tinker__eng_train_t *train;
  tinker__eng_train_datum_t *data;
  size_t n_data;
  tinker__eng_scheduler_t *scheduler;
  char why[256];

  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  bool sampled, trained;
  atomic_bool training; /* samples are wanted as long */
} bench_t;

/* A step of training: passes in pieces, then the optimizer. */
typedef struct {
  tinker__eng_task_t task;
  bench_t *bench;
  tinker__eng_pass_t *pass;
} step_t;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(const bench_t *b, int rc) {
  if (rc < 0) die("%s", b->why);
}

static void tell(bench_t *b, bool *what) {
  pthread_mutex_lock(&b->lock);
  *what = true;
  pthread_cond_broadcast(&b->changed);
  pthread_mutex_unlock(&b->lock);
}

static void await(bench_t *b, bool *what) {
  pthread_mutex_lock(&b->lock);
  while (!*what) pthread_cond_wait(&b->changed, &b->lock);
  *what = false;
  pthread_mutex_unlock(&b->lock);
}

/* --- Training ------------------------------------------------------------- */

static bool train_step(tinker__eng_task_t *task) {
  static const tinker__eng_loss_config_t loss = {
      .kind = TINKER__LOSS_CROSS_ENTROPY};
  static const tinker__eng_optim_params_t adam = {
      .learning_rate = 1e-4,
      .beta1 = 0.9,
      .beta2 = 0.95,
      .eps = 1e-8,
  };
  step_t *t = TINKER__CONTAINER(task, step_t, task);
  bench_t *b = t->bench;
  tinker__eng_optim_metrics_t m;
  if (!t->pass) {
    check(b, b->api->pass_begin(b->train, b->data, b->n_data, &loss, false,
                                &t->pass, b->why, sizeof b->why));
  }
  int rc = b->api->pass_step(t->pass, NULL, b->why, sizeof b->why);
  check(b, rc);
  if (rc == 1) return true;
  b->api->pass_end(t->pass);
  t->pass = NULL;
  check(b, b->api->optim_step(b->train, &adam, &m, b->why, sizeof b->why));
  tell(b, &b->trained);
  return false;
}

static void *train_a_while(void *user) {
  step_t *t = user;
  double start = now();
  size_t steps = 0;
  while (now() - start < TURN_S || steps < 2) {
    tinker__eng_scheduler_push(t->bench->scheduler, &t->task);
    await(t->bench, &t->bench->trained);
    steps++;
  }
  atomic_store(&t->bench->training, false);
  double *took = need(malloc(sizeof *took));
  *took = (now() - start) / (double)steps;
  return took;
}

static void make_data(bench_t *b) {
  size_t length = b->tokens < LENGTH ? b->tokens : LENGTH;
  uint32_t s = 7;
  b->n_data = b->tokens / length;
  b->data = need(tinker__mem_array(&b->mem, b->n_data, sizeof *b->data));
  for (size_t i = 0; i < b->n_data; i++) {
    int32_t *tokens = need(tinker__mem_array(&b->mem, length, 4));
    int64_t *targets = need(tinker__mem_array(&b->mem, length, 8));
    float *floats = need(tinker__mem_array(&b->mem, 3 * length, 4));
    for (size_t k = 0; k < length; k++) {
      s = s * 1664525u + 1013904223u;
      tokens[k] = (int32_t)((s >> 8) % b->info.vocab_size);
      targets[k] = (int64_t)((s >> 9) % b->info.vocab_size);
      floats[k] = 1;
    }
    b->data[i] = (tinker__eng_train_datum_t){
        .tokens = tokens,
        .n = length,
        .targets = targets,
        .k = 1,
        .weights = floats,
        .out_logprobs = floats + length,
        .out_loss = floats + 2 * length,
    };
  }
}

/* --- Sampling ------------------------------------------------------------- */

static void on_done(tinker__eng_gen_t *g, int rc, const char *why) {
  if (rc != 0) die("%s", why);
  tell(g->user, &((bench_t *)g->user)->sampled);
}

static double sample(bench_t *b, uint64_t seed) {
  static const int32_t prompt[PROMPT] = {1, 2, 3, 4, 5, 6, 7, 8};
  tinker__eng_gen_spec_t spec = {
      .prompt = prompt,
      .n_prompt = PROMPT,
      .num_samples = 1,
      .max_tokens = SAMPLE_TOKENS,
      .sampling = {.temperature = 1, .top_p = 1, .seed = seed}};
  tinker__eng_gen_t *g = NULL;
  double start = now();
  if (tinker__eng_gen_new(&g, &b->mem, &spec) != 0) die("out of memory");
  g->backend = &b->backend;
  g->base = b->base;
  g->done = on_done;
  g->user = b;
  tinker__eng_scheduler_sample(b->scheduler, g);
  await(b, &b->sampled);
  tinker__eng_gen_free(g);
  return now() - start;
}

/* Beside training as long as that goes on. */
static void sample_for(bench_t *b, times_t *t, bool beside) {
  double start = now();
  do {
    if (t->n == MOST) return;
    t->s[t->n] = sample(b, t->n);
    t->n++;
  } while (beside ? atomic_load(&b->training) : now() - start < TURN_S);
}

/* --- Runs ----------------------------------------------------------------- */

static int open_engine(void *user) {
  static const tinker__eng_lora_config_t c = {
      .rank = 32,
      .seed = 1,
      .train_attn = true,
      .train_mlp = true,
      .train_unembed = true,
  };
  bench_t *b = user;
  b->slots.limit = UINT64_MAX;
  b->backend = (tinker__eng_backend_t){.api = b->api, .slots = &b->slots};
  check(b,
        b->api->open(&b->backend.engine, &b->options, b->why, sizeof b->why));
  check(b, tinker__eng_backend_load(b->api, b->backend.engine, b->dir, &b->base,
                                    b->why, sizeof b->why));
  b->api->base_info(b->base, &b->info);
  check(b, b->api->train_new(b->base, &c, &b->train, b->why, sizeof b->why));
  return 0;
}

static void close_engine(void *user) {
  bench_t *b = user;
  b->api->train_free(b->train);
  b->api->base_release(b->base);
  b->api->close(b->backend.engine);
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(times_t *t) {
  qsort(t->s, t->n, sizeof *t->s, by_size);
  return t->s[t->n / 2];
}

static double finish(pthread_t thread) {
  void *took;
  if (pthread_join(thread, &took) != 0) die("no thread to join");
  double s = *(double *)took;
  free(took);
  return s;
}

static void turns(bench_t *b, int share) {
  static times_t alone, beside, steps, steps_beside;
  step_t t = {.task = {.step = train_step}, .bench = b};
  pthread_t thread;
  tinker__list_init(&t.task.link);
  for (int i = 0; i < TURNS; i++) {
    sample_for(b, &alone, false);
    for (int both = 0; both < 2; both++) {
      atomic_store(&b->training, true);
      if (pthread_create(&thread, NULL, train_a_while, &t) != 0) {
        die("no thread");
      }
      if (both) sample_for(b, &beside, true);
      times_t *into = both ? &steps_beside : &steps;
      into->s[into->n++] = finish(thread);
    }
  }
  double a = median(&alone), c = median(&beside);
  double s = median(&steps), d = median(&steps_beside);
  double least = beside.s[0] / alone.s[0];
  printf("{\"bench\":\"engine\",\"op\":\"beside\",\"share\":%d,"
         "\"step_tokens\":%zu,\"sample_tokens\":%d,\"sample_ms\":%.1f,"
         "\"sample_beside_ms\":%.1f,\"step_ms\":%.1f,\"step_beside_ms\":%.1f,"
         "\"sample_ratio\":%.2f,\"least_sample_ratio\":%.2f,"
         "\"train_ratio\":%.2f,\"least_train_ratio\":%.2f}\n",
         share, b->tokens, SAMPLE_TOKENS, a * 1e3, c * 1e3, s * 1e3, d * 1e3,
         c / a, least, s / d, steps.s[0] / steps_beside.s[0]);
}

int main(int argc, char **argv) {
  static bench_t b = {
      .lock = PTHREAD_MUTEX_INITIALIZER,
      .changed = PTHREAD_COND_INITIALIZER,
  };
  if (argc < 2 || argc > 5) {
    fputs("usage: bench_beside MODEL_FOLDER [TOKENS [THREADS [SHARE]]]\n",
          stderr);
    return 2;
  }
  int share = argc > 4 ? atoi(argv[4]) : 50;
  tinker__eng_scheduler_policy_t policy = {tinker__world_real(), share};
  _Atomic int64_t doing = 0;
  tinker__mem_init(&b.mem, NULL, 0);
  b.api = tinker__cpu_engine();
  b.dir = argv[1];
  b.tokens = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 2048;
  if (b.tokens == 0 || share < 1 || share > 99) die("TOKENS or SHARE");
  b.options.mem = tinker__mem_allocator(&b.mem);
  b.options.threads = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
  if (tinker__eng_scheduler_new(&b.scheduler, &b.mem, &policy, &doing,
                                open_engine, close_engine, &b) != 0) {
    die("no engine thread");
  }
  make_data(&b);
  turns(&b, share);
  tinker__eng_scheduler_free(b.scheduler, NULL);
  return 0;
}
