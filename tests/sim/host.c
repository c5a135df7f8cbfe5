/* host: the scheduler. The state is the running thread's alone: a thread gives
 * it away by waking another one's gate before it waits at its own. */
#include "sim/host.h"

#include <dlfcn.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim/host_in.h"

enum { MOST_THREADS = 128 };

typedef struct {
  sim_on_t on;
  const void *what;
  int64_t until_ns;
  bool late;       /* it goes on since its time has passed */
  atomic_int gate; /* 1: it may run */
  bool joined;     /* it has ended and was joined: its place is free */
  pthread_t id;
  void *(*start)(void *);
  void *arg;
} sim_thread_t;

static struct {
  bool inside;
  sim_host_options_t o;
  sim_rng_t rng;
  uint64_t points;
  bool stirred; /* polls are to be asked again */
  void (*take)(const sim_message_t *m, char *bytes);
  sim_thread_t threads[MOST_THREADS];
  int n;
} host;

static _Thread_local sim_thread_t *me;

bool sim_host_inside(void) {
  return host.inside && me;
}

uint64_t sim_host_points(void) {
  return host.points;
}

/* Of the clock that stands still while the machine sleeps: deadlines are of
 * it. */
int64_t sim_now_ns(void) {
  return host.o.shared->now_ns - host.o.shared->asleep_ns;
}

uint64_t sim_draw(void) {
  return sim_rng_next(&host.rng);
}

int sim_self(void) {
  return me ? (int)(me - host.threads) + 1 : 0;
}

void sim_host_on_reply(void (*take)(const sim_message_t *m, char *bytes)) {
  host.take = take;
}

void sim_host_stir(void) {
  host.stirred = true;
}

static _Noreturn void die(int status) {
  syscall(SYS_exit_group, status);
  abort();
}

sim_message_t sim_host_ask(const sim_message_t *m, const void *bytes,
                           char **answer) {
  sim_message_t a;
  if (!sim_wire_send(host.o.fd, m, bytes) ||
      !sim_wire_receive(host.o.fd, &a, answer)) {
    die(SIM_STATUS_KILLED); /* the parent is gone */
  }
  if (a.what == SIM_ANSWER_DIE) die((int)a.a);
  return a;
}

/* --- Which thread is next ------------------------------------------------- */

static void futex(atomic_int *word, int op, int value) {
  syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static void open_gate(sim_thread_t *t) {
  atomic_store(&t->gate, 1);
  futex(&t->gate, FUTEX_WAKE_PRIVATE, 1);
}

static void wait_at_gate(sim_thread_t *t) {
  while (!atomic_load(&t->gate)) futex(&t->gate, FUTEX_WAIT_PRIVATE, 0);
  atomic_store(&t->gate, 0);
}

static void make_ready(sim_thread_t *t, bool late) {
  t->on = SIM_ON_NOTHING;
  t->late = late;
}

/* Those whose time has passed; also the polls, if something has happened. */
static void make_due_ready(void) {
  for (int i = 0; i < host.n; i++) {
    sim_thread_t *t = &host.threads[i];
    if (t->on == SIM_ON_NOTHING || t->on == SIM_ON_END) continue;
    bool late = t->until_ns <= sim_now_ns();
    if (late || (t->on == SIM_ON_POLL && host.stirred)) make_ready(t, late);
  }
  host.stirred = false;
}

static sim_thread_t *pick(void) {
  sim_thread_t *ready[MOST_THREADS];
  uint64_t n = 0;
  make_due_ready();
  for (int i = 0; i < host.n; i++) {
    if (host.threads[i].on == SIM_ON_NOTHING) ready[n++] = &host.threads[i];
  }
  return n ? ready[n > 1 ? sim_rng_below(&host.rng, n) : 0] : NULL;
}

static int64_t earliest(void) {
  int64_t until_ns = SIM_NEVER;
  for (int i = 0; i < host.n; i++) {
    const sim_thread_t *t = &host.threads[i];
    if (t->on != SIM_ON_END && t->until_ns < until_ns) until_ns = t->until_ns;
  }
  return until_ns;
}

/* What each thread waits for, for whoever has to find out why all do. */
static void show_threads(void) {
  static const char *names[] = {"ready", "lock", "cond", "thread",
                                "sleep", "poll", "end"};
  for (int i = 0; i < host.n; i++) {
    const sim_thread_t *t = &host.threads[i];
    fprintf(stderr, "thread %d: %s %p until %lld\n", i + 1, names[t->on],
            t->what, (long long)t->until_ns);
  }
}

/* No thread can go on: the parent lets time pass, or has a reply. */
static void idle(void) {
  char *bytes;
  sim_message_t m = {.what = SIM_SAY_IDLE, .a = earliest()};
  if (m.a == SIM_NEVER && getenv("SIM_THREADS")) show_threads();
  sim_message_t a = sim_host_ask(&m, NULL, &bytes);
  if (a.what == SIM_ANSWER_REPLY) {
    host.take(&a, bytes);
    host.stirred = true;
  }
}

static void switch_away(void) {
  sim_thread_t *self = me, *next;
  while (!(next = pick())) idle();
  if (next == self) return;
  open_gate(next);
  if (self->on != SIM_ON_END) wait_at_gate(self);
}

bool sim_block(sim_on_t on, const void *what, int64_t until_ns) {
  me->on = on;
  me->what = what;
  me->until_ns = until_ns;
  me->late = false;
  switch_away();
  me->until_ns = SIM_NEVER;
  return !me->late;
}

void sim_wake(sim_on_t on, const void *what, bool all) {
  sim_thread_t *waiting[MOST_THREADS];
  uint64_t n = 0;
  for (int i = 0; i < host.n; i++) {
    sim_thread_t *t = &host.threads[i];
    if (t->on == on && t->what == what) waiting[n++] = t;
  }
  if (!all && n > 1) {
    waiting[0] = waiting[sim_rng_below(&host.rng, n)];
    n = 1;
  }
  for (uint64_t i = 0; i < n; i++) make_ready(waiting[i], false);
}

/* A microsecond passes: whoever asks for the time in a loop gets on. */
void sim_host_point(void) {
  if (!sim_host_inside()) return;
  host.o.shared->now_ns += 1000;
  if (++host.points == host.o.die_at) die(host.o.die_status);
  if (host.o.yield && sim_rng_chance(&host.rng, host.o.yield)) switch_away();
}

/* --- Threads -------------------------------------------------------------- */

typedef int create_fn(pthread_t *, const pthread_attr_t *, void *(*)(void *),
                      void *);
typedef int join_fn(pthread_t, void **);

static void *next_symbol(const char *name) {
  void *at = dlsym(RTLD_NEXT, name);
  if (!at) die(3);
  return at;
}

static create_fn *real_create(void) {
  static create_fn *fn;
  if (!fn) *(void **)&fn = next_symbol("pthread_create");
  return fn;
}

static join_fn *real_join(void) {
  static join_fn *fn;
  if (!fn) *(void **)&fn = next_symbol("pthread_join");
  return fn;
}

/* What runs when the thread has ended (its destructors) is not scheduled. */
static void *thread_main(void *arg) {
  sim_thread_t *self = arg;
  me = self;
  wait_at_gate(self);
  void *result = self->start(self->arg);
  self->on = SIM_ON_END;
  sim_wake(SIM_ON_THREAD, self, true);
  switch_away();
  me = NULL;
  return result;
}

static sim_thread_t *new_thread(void) {
  int i = 0;
  while (i < host.n && !host.threads[i].joined) i++;
  if (i == MOST_THREADS) die(4);
  if (i == host.n) host.n++;
  sim_thread_t *t = &host.threads[i];
  memset(t, 0, sizeof *t);
  t->until_ns = SIM_NEVER;
  return t;
}

int pthread_create(pthread_t *out, const pthread_attr_t *attr,
                   void *(*start)(void *), void *arg) {
  if (!sim_host_inside()) return real_create()(out, attr, start, arg);
  sim_host_point();
  sim_thread_t *t = new_thread();
  t->start = start;
  t->arg = arg;
  int rc = real_create()(&t->id, attr, thread_main, t);
  if (rc) t->on = SIM_ON_END;
  if (rc) t->joined = true;
  if (!rc) *out = t->id;
  return rc;
}

static sim_thread_t *find_thread(pthread_t id) {
  for (int i = 0; i < host.n; i++) {
    sim_thread_t *t = &host.threads[i];
    if (!t->joined && pthread_equal(t->id, id)) return t;
  }
  return NULL;
}

int pthread_join(pthread_t id, void **result) {
  sim_thread_t *t = sim_host_inside() ? find_thread(id) : NULL;
  if (!t) return real_join()(id, result);
  sim_host_point();
  while (t->on != SIM_ON_END) sim_block(SIM_ON_THREAD, t, SIM_NEVER);
  int rc = real_join()(id, result);
  t->joined = true;
  return rc;
}

void sim_host_enter(const sim_host_options_t *o) {
  host.o = *o;
  host.rng = sim_rng(o->seed, 1000 + (uint64_t)o->life);
  me = new_thread();
  me->id = pthread_self();
  host.inside = true;
}
