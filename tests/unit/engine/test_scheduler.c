/* What the engine thread does next, by a clock that steps and rounds move:
 * neither samples nor tasks starve, whatever the other kind does. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "engine/scheduler.h"

enum { VOCAB = 2, MOST = 400 };

/* Of one test; the engine thread's but for `over`. */
static struct {
  tinker__mem_t mem;
  tinker__eng_scheduler_t *scheduler;
  int64_t now_ms, round_ms;
  char log[MOST + 1]; /* a letter a step, 'r' a round */
  size_t n;
  int unfinished; /* tasks and generations */
  void (*on_round)(size_t round);
  size_t rounds;
  uint64_t counted; /* rounds, by the scheduler */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool over;
} rig = {.lock = PTHREAD_MUTEX_INITIALIZER,
         .changed = PTHREAD_COND_INITIALIZER};

static int64_t now_ms(void *user) {
  (void)user;
  return rig.now_ms;
}

static const tinker__world_t world = {.now_ms = now_ms};

static void note(char what, int64_t took) {
  cr_assert_lt(rig.n, MOST);
  rig.log[rig.n++] = what;
  rig.now_ms += took;
}

static void one_finished(void) {
  if (--rig.unfinished > 0) return;
  pthread_mutex_lock(&rig.lock);
  rig.over = true;
  pthread_cond_signal(&rig.changed);
  pthread_mutex_unlock(&rig.lock);
}

/* --- An engine without a model -------------------------------------------- */

struct tinker__eng_slot_s {
  size_t len;
};

static struct tinker__eng_slot_s the_slot;

static int slot_new(tinker__eng_base_t *b, tinker__eng_adapter_t *a, size_t max,
                    tinker__eng_slot_t **out, char *why, size_t why_len) {
  (void)b;
  (void)a;
  (void)max;
  (void)why;
  (void)why_len;
  *out = &the_slot;
  return 0;
}

static uint64_t slot_bytes(const tinker__eng_base_t *b, size_t max) {
  (void)b;
  return max;
}

static int slot_grow(tinker__eng_slot_t *s, size_t max, char *why,
                     size_t why_len) {
  (void)s;
  (void)max;
  (void)why;
  (void)why_len;
  return 0;
}

static void slot_free(tinker__eng_slot_t *s) {
  (void)s;
}

static void base_info(const tinker__eng_base_t *b,
                      tinker__eng_base_info_t *out) {
  (void)b;
  *out = (tinker__eng_base_info_t){.vocab_size = VOCAB};
}

static int decode(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                  size_t n, const atomic_bool *cancel, char *why,
                  size_t why_len) {
  const float row[VOCAB] = {0, 1};
  (void)e;
  (void)cancel;
  (void)why;
  (void)why_len;
  for (size_t i = 0; i < n; i++) items[i].on_row(items[i].user, 0, row, VOCAB);
  note('r', rig.round_ms);
  if (rig.on_round) rig.on_round(++rig.rounds);
  return 0;
}

static float log_sum_exp(const tinker__engine_t *e, const float *row,
                         size_t n) {
  (void)e;
  (void)row;
  (void)n;
  return 0;
}

static const tinker__engine_api_t api = {
    .slot_new = slot_new,
    .slot_bytes = slot_bytes,
    .slot_free = slot_free,
    .slot_grow = slot_grow,
    .base_info = base_info,
    .decode = decode,
    .log_sum_exp = log_sum_exp,
};

/* --- Work ----------------------------------------------------------------- */

typedef struct {
  tinker__eng_task_t task;
  char name;
  int steps;
  int64_t step_ms;
  void (*begin)(void); /* before the last step */
} work_t;

static bool work_step(tinker__eng_task_t *task) {
  work_t *w = TINKER__CONTAINER(task, work_t, task);
  note(w->name, w->step_ms);
  if (--w->steps > 0) return true;
  if (w->begin) w->begin();
  one_finished();
  return false;
}

static void push(work_t *w) {
  w->task.step = work_step;
  rig.unfinished++;
  tinker__eng_scheduler_push(rig.scheduler, &w->task);
}

static void on_done(tinker__eng_gen_t *g, int rc, const char *why) {
  cr_assert_eq(rc, 0, "%s", why);
  tinker__eng_gen_free(g);
  one_finished();
}

static tinker__eng_slots_t slots = {.limit = UINT64_MAX};
static tinker__eng_backend_t backend = {.api = &api, .slots = &slots};

/* A sample that takes so many rounds. */
static void sample(size_t rounds) {
  const int32_t prompt = 0;
  tinker__eng_gen_spec_t spec = {.prompt = &prompt,
                                 .n_prompt = 1,
                                 .num_samples = 1,
                                 .max_tokens = rounds,
                                 .sampling = {.top_p = 1}};
  tinker__eng_gen_t *g = NULL;
  cr_assert_eq(tinker__eng_gen_new(&g, &rig.mem, &spec), 0);
  g->backend = &backend;
  g->done = on_done;
  rig.unfinished++;
  tinker__eng_scheduler_sample(rig.scheduler, g);
}

/* Runs what `begin` starts, on the engine thread, until all is finished: the
 * log, without the step that began. */
static const char *run(int64_t share, int64_t round_ms, void (*begin)(void)) {
  static work_t first;
  _Atomic int64_t doing = 0;
  tinker__eng_scheduler_policy_t policy = {&world, share};
  tinker__mem_init(&rig.mem, NULL, 0);
  rig.round_ms = round_ms;
  first = (work_t){.name = '^', .steps = 1, .begin = begin};
  cr_assert_eq(tinker__eng_scheduler_new(&rig.scheduler, &rig.mem, &policy,
                                         &doing, NULL, NULL, NULL),
               0);
  push(&first);
  pthread_mutex_lock(&rig.lock);
  while (!rig.over) pthread_cond_wait(&rig.changed, &rig.lock);
  pthread_mutex_unlock(&rig.lock);
  rig.counted = tinker__eng_scheduler_rounds(rig.scheduler);
  tinker__eng_scheduler_free(rig.scheduler, NULL);
  cr_assert_eq(atomic_load(&rig.mem.live_blocks), 0);
  return rig.log + 1;
}

/* --- Tests ---------------------------------------------------------------- */

static void long_steps(void) {
  static work_t w = {.name = 't', .steps = 3, .step_ms = 100};
  push(&w);
  sample(35);
}

/* Rounds have as long as the step before them; after the last one they go on
 * alone. */
Test(scheduler, samples_do_not_starve) {
  cr_assert_str_eq(run(50, 10, long_steps),
                   "rtrrrrrrrrrtrrrrrrrrrrtrrrrrrrrrrrrrrr");
}

Test(scheduler, counts_its_rounds) {
  const char *log = run(50, 10, long_steps);
  cr_assert_eq(rig.counted, 35u);
  cr_assert_eq(strlen(log), 38u);
}

static void steps_and_rounds(void) {
  static work_t w = {.name = 't', .steps = 40, .step_ms = 10};
  push(&w);
  sample(200);
}

static size_t count(const char *text, size_t n, char what) {
  size_t found = 0;
  for (size_t i = 0; i < n; i++) found += text[i] == what;
  return found;
}

/* The policy's share, of any stretch of time in which both have work. */
static void expect_share(int64_t share) {
  const char *log = run(share, 10, steps_and_rounds);
  size_t both = strrchr(log, 't') - log;
  for (size_t n = 0; n < both; n++) {
    long rounds = (long)count(log, n, 'r') * 100, want = (long)n * share;
    cr_assert_leq(rounds, want + 200, "%zu: %s", n, log);
    cr_assert_geq(rounds, want - 200, "%zu: %s", n, log);
  }
}

Test(scheduler, a_fifth_for_samples) {
  expect_share(20);
}
Test(scheduler, four_fifths_for_samples) {
  expect_share(80);
}

static void long_rounds(void) {
  static work_t w = {.name = 't', .steps = 23, .step_ms = 10};
  push(&w);
  for (int i = 0; i < 8; i++) sample(4);
}

/* However many samples, and however long a round: steps have had as long
 * before the next. */
Test(scheduler, tasks_do_not_starve) {
  cr_assert_str_eq(run(50, 100, long_rounds), "rttttttttttrttttttttttrtttr");
}

static void three_tasks(void) {
  static work_t w[] = {{.name = 'a', .steps = 3, .step_ms = 7},
                       {.name = 'b', .steps = 2, .step_ms = 7},
                       {.name = 'c', .steps = 2, .step_ms = 7}};
  for (int i = 0; i < 3; i++) push(&w[i]);
  sample(7);
}

/* A task that has more to do goes on before those that were pushed later. */
Test(scheduler, tasks_keep_their_turn) {
  cr_assert_str_eq(run(50, 7, three_tasks), "rarararbrbrcrc");
}

static void timeless(void) {
  static work_t w[] = {{.name = 'a', .steps = 3}, {.name = 'b', .steps = 2}};
  for (int i = 0; i < 2; i++) push(&w[i]);
  sample(7);
}

/* A clock that can't tell starves nobody. */
Test(scheduler, alternates_within_a_millisecond) {
  cr_assert_str_eq(run(50, 0, timeless), "rarararbrbrr");
}

static void second_call(size_t round) {
  static work_t w = {.name = 'u', .steps = 1, .step_ms = 40};
  if (round == 2) push(&w);
}

static void calls_with_gaps(void) {
  static work_t w = {.name = 't', .steps = 1, .step_ms = 40};
  rig.on_round = second_call;
  push(&w);
  sample(10);
}

/* The next call arrives when its model's last one is over: meanwhile rounds
 * lose nothing of what they are due. */
Test(scheduler, small_calls_do_not_starve_samples) {
  cr_assert_str_eq(run(50, 10, calls_with_gaps), "rtrrrurrrrrr");
}

static void late_task(size_t round) {
  static work_t w = {.name = 't', .steps = 2, .step_ms = 10};
  if (round == 20) push(&w);
}

static void sample_alone(void) {
  rig.on_round = late_task;
  sample(23);
}

/* Twenty rounds alone are nobody's debt: the two kinds share from then on. */
Test(scheduler, rounds_alone_owe_nothing) {
  cr_assert_str_eq(run(50, 10, sample_alone), "rrrrrrrrrrrrrrrrrrrrtrtrr");
}

static void late_sample(void) {
  sample(12);
}

static void steps_alone(void) {
  static work_t w = {.name = 'a', .steps = 9, .step_ms = 50};
  static work_t v = {.name = 'b', .steps = 2, .step_ms = 50};
  w.begin = late_sample;
  push(&w);
  push(&v);
}

/* Nine steps alone are worth what the last of them is. */
Test(scheduler, steps_alone_owe_one_step) {
  cr_assert_str_eq(run(50, 10, steps_alone), "aaaaaaaaarrrrrbrrrrrbrr");
}

static work_t after_a_pause;

static void then_both(void) {
  static work_t w = {.name = 't', .steps = 3, .step_ms = 10};
  push(&w);
  sample(6);
}

/* The time for which the thread has waited for work is nobody's: after it the
 * two kinds share as from the start. */
Test(scheduler, waiting_is_nobodys_time) {
  _Atomic int64_t doing = 0;
  tinker__eng_scheduler_policy_t policy = {&world, 50};
  tinker__mem_init(&rig.mem, NULL, 0);
  rig.round_ms = 10;
  rig.unfinished = 1; /* one more than the first task has */
  cr_assert_eq(tinker__eng_scheduler_new(&rig.scheduler, &rig.mem, &policy,
                                         &doing, NULL, NULL, NULL),
               0);
  work_t first = {.name = '^', .steps = 1};
  push(&first);
  while (tinker__eng_scheduler_beat(rig.scheduler) < 2) sched_yield();
  rig.unfinished = 0;
  rig.now_ms += 100000;
  after_a_pause = (work_t){.name = '^', .steps = 1, .begin = then_both};
  push(&after_a_pause);
  pthread_mutex_lock(&rig.lock);
  while (!rig.over) pthread_cond_wait(&rig.changed, &rig.lock);
  pthread_mutex_unlock(&rig.lock);
  tinker__eng_scheduler_free(rig.scheduler, NULL);
  cr_assert_str_eq(rig.log, "^^rtrtrtrrr");
}
