/* Sampling by the engine itself: the same tokens alone and in a crowd of
 * mixed adapters, prompts and settings; and their log-probabilities, those of
 * the prompts too, are forward's to the bit. */
#define _DEFAULT_SOURCE /* syscall */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "cpu/kernels/kernels.h"
#include "engine/generate.h"
#include "support.h"

#define REQUESTS 12
#define SAMPLES 3
#define LONGEST 40

typedef struct {
  rig_t r;
  char dir[256];
  tinker__eng_train_t *train[2];
  tinker__eng_adapter_t *adapter[3]; /* the last none */
  tinker__eng_slots_t slots;
  tinker__eng_backend_t backend;
} bench_t;

static void setup(bench_t *b) {
  memset(b, 0, sizeof *b);
  b->slots.limit = UINT64_MAX;
  temp_dir(b->dir);
  write_model(b->dir, &tiny_shape);
  rig_open(&b->r, b->dir, 2, NULL);
  for (size_t i = 0; i < 2; i++) {
    b->train[i] = random_train(&b->r, i ? 16 : 4, 61 + i);
    cr_assert_eq(
        b->r.api->adapter_current(b->train[i], &b->adapter[i], NULL, 0), 0);
  }
}

static void teardown(bench_t *b) {
  for (size_t i = 0; i < 2; i++) {
    b->r.api->adapter_release(b->adapter[i]);
    b->r.api->train_free(b->train[i]);
  }
  rig_close(&b->r);
  temp_remove(b->dir);
}

static void on_done(tinker__eng_gen_t *g, int rc, const char *why) {
  (void)g;
  cr_assert_eq(rc, 0, "%s", why);
}

/* Temperature 0, top-k and top-p among them. */
static tinker__eng_gen_t *request(bench_t *b, size_t i, size_t longest) {
  int32_t prompt[29];
  size_t n = 1 + i * 13 % 29;
  for (size_t k = 0; k < n; k++) {
    prompt[k] = (int32_t)((i + 7 * k + k * k) % tiny_shape.vocab);
  }
  tinker__eng_gen_spec_t spec = {
      .prompt = prompt,
      .n_prompt = n,
      .num_samples = 1 + i % SAMPLES,
      .max_tokens = longest - n,
      .sampling = {.temperature = (float)(i % 4) * 0.5f,
                   .top_k = i % 5 == 1 ? 7 : -1,
                   .top_p = i % 5 == 2 ? 0.8 : 1.0,
                   .seed = 1000 + i},
      .prompt_logprobs = true,
  };
  tinker__eng_gen_t *g = NULL;
  cr_assert_eq(tinker__eng_gen_new(&g, &b->r.mem, &spec), 0);
  b->backend = (tinker__eng_backend_t){
      .api = b->r.api,
      .engine = b->r.engine,
      .slots = &b->slots,
  };
  g->backend = &b->backend;
  g->base = b->r.base;
  g->adapter = b->adapter[i % 3];
  g->done = on_done;
  return g;
}

static void run(bench_t *b, tinker__eng_gen_t **gens, size_t n) {
  tinker__eng_batch_t batch;
  tinker__eng_batch_init(&batch, &b->r.mem);
  for (size_t i = 0; i < n; i++) tinker__eng_batch_add(&batch, gens[i]);
  while (!tinker__eng_batch_idle(&batch)) tinker__eng_batch_round(&batch);
  tinker__eng_batch_free(&batch);
}

static void check_same(const tinker__eng_gen_t *a, const tinker__eng_gen_t *b) {
  cr_assert_eq(memcmp(a->prompt_logprobs + 1, b->prompt_logprobs + 1,
                      (a->n_prompt - 1) * sizeof(float)),
               0);
  for (size_t i = 0; i < a->num_samples; i++) {
    const tinker__eng_gen_seq_t *x = &a->seqs[i], *y = &b->seqs[i];
    cr_assert_eq(x->n, y->n);
    cr_assert_eq(memcmp(x->tokens, y->tokens, x->n * sizeof *x->tokens), 0);
    cr_assert_eq(memcmp(x->logprobs, y->logprobs, x->n * sizeof(float)), 0);
  }
}

/* One pass over prompt and sample gives the numbers that sampling gave. */
static void check_forward(bench_t *b, const tinker__eng_gen_t *g, size_t i,
                          const tinker__eng_gen_seq_t *seq) {
  sample_t s;
  size_t n = g->n_prompt + seq->n - 1;
  sample_random(&s, n, 1, tiny_shape.vocab, 1);
  for (size_t k = 0; k < n; k++) {
    size_t next = k + 1;
    s.tokens[k] = k < g->n_prompt ? g->prompt[k] : seq->tokens[k - g->n_prompt];
    s.targets[k] =
        next < g->n_prompt ? g->prompt[next] : seq->tokens[next - g->n_prompt];
  }
  run_pass(b->train[i % 3], &s, 1, &cross_entropy, true);
  cr_assert_eq(memcmp(s.logprobs, g->prompt_logprobs + 1,
                      (g->n_prompt - 1) * sizeof(float)),
               0, "request %zu: prompt", i);
  cr_assert_eq(memcmp(s.logprobs + g->n_prompt - 1, seq->logprobs,
                      seq->n * sizeof(float)),
               0, "request %zu: sample", i);
  samples_free(&s, 1);
}

Test(sample, alone_in_a_crowd_and_forward) {
  bench_t b;
  tinker__eng_gen_t *crowd[REQUESTS], *alone;
  setup(&b);
  for (size_t i = 0; i < REQUESTS; i++) crowd[i] = request(&b, i, LONGEST);
  run(&b, crowd, REQUESTS);
  for (size_t i = 0; i < REQUESTS; i++) {
    alone = request(&b, i, LONGEST);
    run(&b, &alone, 1);
    check_same(crowd[i], alone);
    tinker__eng_gen_free(alone);
    cr_assert(isnan(crowd[i]->prompt_logprobs[0]));
    for (size_t k = 0; i % 3 < 2 && k < crowd[i]->num_samples; k++) {
      check_forward(&b, crowd[i], i, &crowd[i]->seqs[k]);
    }
    tinker__eng_gen_free(crowd[i]);
  }
  teardown(&b);
}

/* From now on CPUID is a fault on this thread; false where the machine can't
 * be asked for it. */
static bool forbid_cpuid(void) {
#if defined(__linux__) && defined(__x86_64__)
  const long arch_set_cpuid = 0x1012;
  return syscall(SYS_arch_prctl, arch_set_cpuid, 0L) == 0;
#else
  return false;
#endif
}

/* CPUID leaves a virtual machine and takes as long as the rest of a token on
 * a small model: no round may ask, whichever way tokens are picked. */
Test(sample, asks_the_processor_nothing) {
  bench_t b;
  tinker__eng_gen_t *crowd[REQUESTS];
  setup(&b);
  for (size_t i = 0; i < REQUESTS; i++) crowd[i] = request(&b, i, LONGEST);
  cr_assert_not_null(tinker__cpu_kernels_get());
  if (!forbid_cpuid()) cr_skip_test("CPUID can't be made a fault here");
  run(&b, crowd, REQUESTS);
  for (size_t i = 0; i < REQUESTS; i++) tinker__eng_gen_free(crowd[i]);
  teardown(&b);
}

/* With memory for the largest alone: caches grow, are given up and made again,
 * and every bit is as with all of it. */
Test(sample, little_memory) {
  enum { FEW = 5, LONG = 290 };
  bench_t b;
  tinker__eng_gen_t *little[FEW], *much[FEW];
  setup(&b);
  for (size_t i = 0; i < FEW; i++) {
    much[i] = request(&b, i, LONG);
    little[i] = request(&b, i, LONG);
  }
  run(&b, much, FEW);
  b.slots.limit = SAMPLES * b.r.api->slot_bytes(b.r.base, LONG);
  run(&b, little, FEW);
  for (size_t i = 0; i < FEW; i++) {
    cr_assert_eq(little[i]->seqs[0].n + little[i]->n_prompt, LONG);
    check_same(little[i], much[i]);
    for (size_t k = 0; i % 3 < 2 && k < little[i]->num_samples; k++) {
      check_forward(&b, little[i], i, &little[i]->seqs[k]);
    }
    tinker__eng_gen_free(little[i]);
    tinker__eng_gen_free(much[i]);
  }
  teardown(&b);
}
