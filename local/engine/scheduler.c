/* scheduler: see scheduler.h. The lock guards the two inboxes and the counts;
 * the batch belongs to the engine thread alone. */
#include "engine/scheduler.h"

#include <pthread.h>

#include <tinker/error.h>

struct tinker__eng_scheduler_s {
  tinker__mem_t *mem;
  int (*on_start)(void *user);
  void (*on_stop)(void *user);
  void *user;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake, started_cond;
  tinker__link_t tasks, gens;
  bool stop, started;
  atomic_bool halt; /* set with stop, for readers without the lock */
  int start_rc;
  tinker__eng_batch_t batch; /* engine thread */
  atomic_uint_fast64_t beat; /* odd = in a step or round */
  atomic_uint_fast64_t rounds;
  _Atomic int64_t *doing; /* belongs to the owner */

  /* Engine thread. */
  tinker__eng_scheduler_policy_t policy;
  int64_t mark; /* when the present turn began */
  int64_t due;  /* milliseconds times 100 that rounds have earned and not had;
                   negative = that steps have earned */
};

/* A turn, and which kinds of work there were when it was chosen. */
typedef struct {
  bool rounds, tasks;
  tinker__eng_task_t *task; /* NULL = a round */
} turn_t;

static int64_t now(const tinker__eng_scheduler_t *s) {
  return s->policy.world->now_ms(s->policy.world->user);
}

/* Waits until there is work. The time of waiting is booked to no turn. Under
 * the lock. */
static void wait_for_work(tinker__eng_scheduler_t *s) {
  bool waited = false;
  while (!s->stop && tinker__list_empty(&s->tasks) &&
         tinker__list_empty(&s->gens) && tinker__eng_batch_idle(&s->batch)) {
    pthread_cond_wait(&s->wake, &s->lock);
    waited = true;
  }
  if (waited) s->mark = now(s);
}

/* True when a step is next, if there is work of both kinds. */
static bool steps_turn(const tinker__eng_scheduler_t *s, const turn_t *last) {
  return s->due < 0 || (s->due == 0 && !last->task);
}

/* Waits for work, moves new generations to the batch, and takes the first task
 * if a step is next. *turn is the last turn before the call and the next one
 * after it. False when the thread must end. */
static bool next_turn(tinker__eng_scheduler_t *s, turn_t *turn) {
  tinker__link_t *l;
  pthread_mutex_lock(&s->lock);
  wait_for_work(s);
  bool go = !s->stop;
  if (go) {
    while ((l = tinker__list_pop_front(&s->gens)) != NULL) {
      tinker__eng_batch_add(&s->batch,
                            TINKER__CONTAINER(l, tinker__eng_gen_t, link));
    }
    turn_t next = {
        .rounds = !tinker__eng_batch_idle(&s->batch),
        .tasks = !tinker__list_empty(&s->tasks),
    };
    if (next.tasks && (!next.rounds || steps_turn(s, turn))) {
      l = tinker__list_pop_front(&s->tasks);
      next.task = TINKER__CONTAINER(l, tinker__eng_task_t, link);
    }
    *turn = next;
  }
  pthread_mutex_unlock(&s->lock);
  return go;
}

/* Books the time of a turn. Rounds for which no task waited use up the time due
 * to rounds but owe none to steps. Steps for which no round waited earn rounds
 * no more than a share of the last step. */
static void settle(tinker__eng_scheduler_t *s, const turn_t *turn) {
  int64_t end = now(s), took = end - s->mark;
  int64_t cost = took * (100 - s->policy.sample_share);
  s->mark = end;
  if (turn->task) {
    if (!turn->rounds) s->due = 0;
    s->due += took * s->policy.sample_share;
  } else if (turn->tasks) {
    s->due -= cost;
  } else if (s->due > 0) {
    s->due = s->due > cost ? s->due - cost : 0;
  }
}

static void give_back(tinker__eng_scheduler_t *s, tinker__eng_task_t *task) {
  pthread_mutex_lock(&s->lock);
  tinker__list_push_front(&s->tasks, &task->link);
  pthread_mutex_unlock(&s->lock);
}

static void run_round(tinker__eng_scheduler_t *s) {
  atomic_store(s->doing, -1);
  atomic_fetch_add(&s->rounds, 1); /* before anybody sees its tokens */
  tinker__eng_batch_round(&s->batch);
  atomic_store(s->doing, 0);
}

static void loop(tinker__eng_scheduler_t *s) {
  turn_t turn = {.task = NULL};
  s->mark = now(s);
  while (next_turn(s, &turn)) {
    atomic_fetch_add(&s->beat, 1);
    if (!turn.task) {
      run_round(s);
    } else if (turn.task->step(turn.task)) {
      give_back(s, turn.task);
    }
    settle(s, &turn);
    atomic_fetch_add(&s->beat, 1);
  }
}

static void *engine_thread(void *user) {
  tinker__eng_scheduler_t *s = user;
  int rc = s->on_start ? s->on_start(s->user) : 0;
  tinker__eng_batch_init(&s->batch, s->mem);
  s->batch.halt = &s->halt;
  pthread_mutex_lock(&s->lock);
  s->start_rc = rc;
  s->started = true;
  pthread_cond_signal(&s->started_cond);
  pthread_mutex_unlock(&s->lock);
  if (rc == 0) loop(s);
  tinker__eng_batch_free(&s->batch);
  if (rc == 0 && s->on_stop) s->on_stop(s->user);
  return NULL;
}

static void destroy(tinker__eng_scheduler_t *s) {
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->wake);
  pthread_cond_destroy(&s->started_cond);
  tinker__mem_free(s->mem, s);
}

int tinker__eng_scheduler_new(tinker__eng_scheduler_t **out, tinker__mem_t *mem,
                              const tinker__eng_scheduler_policy_t *policy,
                              _Atomic int64_t *doing,
                              int (*on_start)(void *user),
                              void (*on_stop)(void *user), void *user) {
  tinker__eng_scheduler_t *s = tinker__mem_zalloc(mem, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  s->mem = mem;
  s->policy = *policy;
  s->doing = doing;
  s->on_start = on_start;
  s->on_stop = on_stop;
  s->user = user;
  tinker__list_init(&s->tasks);
  tinker__list_init(&s->gens);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->wake, NULL);
  pthread_cond_init(&s->started_cond, NULL);
  if (pthread_create(&s->thread, NULL, engine_thread, s) != 0) {
    destroy(s);
    return TINKER_ENOMEM;
  }
  pthread_mutex_lock(&s->lock);
  while (!s->started) pthread_cond_wait(&s->started_cond, &s->lock);
  int rc = s->start_rc;
  pthread_mutex_unlock(&s->lock);
  if (rc != 0) {
    pthread_join(s->thread, NULL);
    destroy(s);
    return rc;
  }
  *out = s;
  return 0;
}

void tinker__eng_scheduler_push(tinker__eng_scheduler_t *s,
                                tinker__eng_task_t *task) {
  pthread_mutex_lock(&s->lock);
  tinker__list_push_back(&s->tasks, &task->link);
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
}

void tinker__eng_scheduler_sample(tinker__eng_scheduler_t *s,
                                  tinker__eng_gen_t *gen) {
  pthread_mutex_lock(&s->lock);
  tinker__list_push_back(&s->gens, &gen->link);
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
}

uint64_t tinker__eng_scheduler_beat(const tinker__eng_scheduler_t *s) {
  return atomic_load(&s->beat);
}

uint64_t tinker__eng_scheduler_rounds(const tinker__eng_scheduler_t *s) {
  return atomic_load(&s->rounds);
}

void tinker__eng_scheduler_queued(tinker__eng_scheduler_t *s, size_t *tasks,
                                  size_t *gens) {
  *tasks = *gens = 0;
  pthread_mutex_lock(&s->lock);
  TINKER__LIST_EACH(l, tmp, &s->tasks)++ *tasks;
  TINKER__LIST_EACH(g, next, &s->gens)++ *gens;
  pthread_mutex_unlock(&s->lock);
}

const atomic_bool *
tinker__eng_scheduler_halt(const tinker__eng_scheduler_t *s) {
  return &s->halt;
}

void tinker__eng_scheduler_free(tinker__eng_scheduler_t *s,
                                void (*dropped)(tinker__eng_task_t *task)) {
  tinker__link_t *l;
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  s->stop = true;
  atomic_store(&s->halt, true);
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
  pthread_join(s->thread, NULL);
  while ((l = tinker__list_pop_front(&s->tasks)) != NULL) {
    if (dropped) dropped(TINKER__CONTAINER(l, tinker__eng_task_t, link));
  }
  while ((l = tinker__list_pop_front(&s->gens)) != NULL) {
    tinker__eng_gen_free(TINKER__CONTAINER(l, tinker__eng_gen_t, link));
  }
  destroy(s);
}
