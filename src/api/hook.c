/* The hook's life, its queue, and who runs it, see hook.h. */
#include "api/hook.h"

#include <signal.h>

#include "base/error.h"
#include "base/options.h"
#include "loop/reap.h"

/* The client whose hook this thread runs. */
static _Thread_local const tinker_client_t *mine;

bool tinker__hook_is_here(const tinker_client_t *core) {
  return mine == core;
}

/* --- records --- */

static void told_run(tinker__task_t *task) {
  tinker__record_t *r = TINKER__CONTAINER(task, tinker__record_t, told);
  tinker_client_t *core = r->hook->core;
  tinker__flow_unhold(&core->flow, r->op, tinker__loop_now(core->loop));
}

static void over_run(tinker__task_t *task) {
  tinker__record_free(TINKER__CONTAINER(task, tinker__record_t, over));
}

static void init_event(tinker__event_t *event, tinker__record_t *record,
                       tinker__tell_t tell, size_t request) {
  *event =
      (tinker__event_t){.tell = tell, .record = record, .request = request};
  tinker__list_init(&event->link);
}

static bool fill(tinker__record_t *r, size_t requests, size_t segments) {
  tinker__mem_t *mem = r->hook->core->mem;
  r->requests = tinker__mem_zalloc(mem, requests * sizeof *r->requests);
  r->segments = tinker__mem_zalloc(mem, segments * sizeof *r->segments);
  for (size_t i = 0; i < requests; i++) {
    init_event(&r->entries[i].accepted, r, TINKER__TELL_ACCEPTED, i);
    init_event(&r->entries[i].ended, r, TINKER__TELL_ENDED, i);
  }
  return (!requests || r->requests) && (!segments || r->segments);
}

tinker__record_t *tinker__record_new(tinker__hook_t *hook, uint64_t ticket,
                                     size_t requests, size_t segments) {
  tinker__record_t *r = tinker__mem_zalloc(
      hook->core->mem, sizeof *r + requests * sizeof r->entries[0]);
  if (!r) return NULL;
  r->hook = hook;
  r->ticket = ticket;
  r->left = r->intent.request_count = requests;
  tinker__task_init(&r->answer, tinker__hook_answer);
  tinker__task_init(&r->told, told_run);
  tinker__task_init(&r->over, over_run);
  init_event(&r->first, r, TINKER__TELL_INTENT, 0);
  init_event(&r->withdrawn, r, TINKER__TELL_WITHDRAWN, 0);
  bool ok = fill(r, requests, segments);
  pthread_mutex_lock(&hook->lock);
  ok = ok &&
       !tinker__map_put(hook->records, tinker__record_key(&r->ticket), r, NULL);
  pthread_mutex_unlock(&hook->lock);
  if (ok) return r;
  tinker__record_free(r);
  return NULL;
}

void tinker__record_free(tinker__record_t *r) {
  tinker__hook_t *hook = r->hook;
  tinker__mem_t *mem = hook->core->mem;
  pthread_mutex_lock(&hook->lock);
  tinker__map_remove(hook->records, tinker__record_key(&r->ticket));
  pthread_mutex_unlock(&hook->lock);
  for (size_t i = 0; i < r->intent.request_count; i++) {
    tinker__entry_t *e = &r->entries[i];
    tinker__mem_free(mem, e->request_id);
    tinker__mem_free(mem, (void *)(uintptr_t)e->outcome.body);
    tinker__error_release((tinker_error_t *)(uintptr_t)e->outcome.error);
  }
  tinker__error_release(r->refusal);
  tinker__mem_free(mem, r->own);
  tinker__mem_free(mem, r->requests);
  tinker__mem_free(mem, r->segments);
  tinker__mem_free(mem, r);
}

tinker__record_t *tinker__hook_find(tinker__hook_t *hook, uint64_t ticket) {
  return tinker__map_get(hook->records, tinker__record_key(&ticket));
}

/* --- the queue --- */

void tinker__hook_push(tinker__hook_t *hook, tinker__event_t *event) {
  pthread_mutex_lock(&hook->lock);
  tinker__list_push_back(&hook->events, &event->link);
  pthread_cond_signal(&hook->changed);
  pthread_mutex_unlock(&hook->lock);
  if (!hook->threaded) {
    tinker__loop_deliver(hook->core->loop, &hook->deliver);
  }
}

/* NULL: there is none, and where a thread waits for one, none follows. */
static tinker__event_t *next_event(tinker__hook_t *hook) {
  pthread_mutex_lock(&hook->lock);
  while (hook->threaded && !hook->closing &&
         tinker__list_empty(&hook->events)) {
    pthread_cond_wait(&hook->changed, &hook->lock);
  }
  tinker__link_t *link = tinker__list_pop_front(&hook->events);
  pthread_mutex_unlock(&hook->lock);
  return link ? TINKER__CONTAINER(link, tinker__event_t, link) : NULL;
}

static void run_queue(tinker__hook_t *hook) {
  tinker__event_t *event;
  while ((event = next_event(hook))) tinker__hook_tell(event);
}

static void *thread_main(void *arg) {
  tinker__hook_t *hook = arg;
  tinker__reap_mark_thread();
  mine = hook->core;
  run_queue(hook);
  tinker__loop_post(hook->core->loop, &hook->drained);
  return NULL;
}

static void deliver_run(tinker__task_t *task) {
  tinker__hook_t *hook = TINKER__CONTAINER(task, tinker__hook_t, deliver);
  run_queue(hook);
  if (hook->closed) tinker__loop_post(hook->core->loop, &hook->drained);
}

/* --- end --- */

/* Questions of the gate whose operation has ended were never answered. */
static void drained_run(tinker__task_t *task) {
  tinker__hook_t *hook = TINKER__CONTAINER(task, tinker__hook_t, drained);
  if (hook->threaded) pthread_join(hook->thread, NULL);
  size_t cursor = 0;
  tinker__str_t key;
  void *record;
  while (tinker__map_next(hook->records, &cursor, &key, &record)) {
    tinker__record_free(record);
  }
  hook->closed(hook->core);
}

void tinker__hook_close(tinker_client_t *core,
                        void (*closed)(tinker_client_t *core)) {
  tinker__hook_t *hook = core->hook;
  if (!hook) {
    closed(core);
    return;
  }
  pthread_mutex_lock(&hook->lock);
  hook->closed = closed;
  hook->closing = true;
  pthread_cond_signal(&hook->changed);
  pthread_mutex_unlock(&hook->lock);
  if (!hook->threaded) tinker__loop_deliver(core->loop, &hook->deliver);
}

void tinker__hook_free(tinker__hook_t *hook) {
  if (!hook) return;
  tinker__map_free(hook->records);
  pthread_cond_destroy(&hook->changed);
  pthread_mutex_destroy(&hook->lock);
  tinker__mem_free(hook->core->mem, hook);
}

/* --- birth --- */

static int check(const tinker_seams_t *s, char *why, size_t why_len) {
  if (s->intent || (!s->withdrawn && !s->accepted && !s->ended)) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "seams: intent is NULL, and withdrawn, accepted or ended "
                     "is set: want intent too");
}

static int make(tinker__hook_t *hook) {
  if (pthread_mutex_init(&hook->lock, NULL)) return TINKER_ENOMEM;
  if (pthread_cond_init(&hook->changed, NULL)) {
    pthread_mutex_destroy(&hook->lock);
    return TINKER_ENOMEM;
  }
  int rc = tinker__map_new(&hook->records, hook->core->mem);
  if (!rc) return 0;
  pthread_cond_destroy(&hook->changed);
  pthread_mutex_destroy(&hook->lock);
  return rc;
}

int tinker__hook_new(tinker__hook_t **out, tinker_client_t *core,
                     const tinker_seams_t *given, char *why, size_t why_len) {
  static const tinker_seams_t defaults = TINKER_SEAMS_INIT;
  tinker_seams_t seams;
  if (!given) return 0;
  int rc = tinker__options_take(&seams, sizeof seams, &defaults, given, "seams",
                                why, why_len);
  if (!rc) rc = check(&seams, why, why_len);
  if (rc) return rc;
  tinker__hook_t *hook = tinker__mem_zalloc(core->mem, sizeof *hook);
  if (!hook) return TINKER_ENOMEM;
  hook->core = core;
  hook->seams = seams;
  tinker__list_init(&hook->events);
  tinker__task_init(&hook->deliver, deliver_run);
  tinker__task_init(&hook->drained, drained_run);
  tinker__hook_doors(hook);
  rc = make(hook);
  if (rc) {
    tinker__mem_free(core->mem, hook);
    return rc;
  }
  *out = hook;
  return 0;
}

int tinker__hook_start(tinker__hook_t *hook) {
  sigset_t old;
  tinker__reap_block_signals(&old);
  hook->threaded = true; /* before the thread reads it */
  int rc = pthread_create(&hook->thread, NULL, thread_main, hook);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (rc) hook->threaded = false;
  return rc ? TINKER_EIO : 0;
}
