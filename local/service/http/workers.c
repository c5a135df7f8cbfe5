/* workers: see workers.h. */
#include "service/http/workers.h"

#include <tinker/error.h>

struct tinker__svc_workers_s {
  tinker__mem_t *mem;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  tinker__link_t jobs; /* of tinker__svc_req_t */
  size_t waiting, max;
  bool stopped;
  pthread_t *threads;
  size_t n; /* running threads */
};

/* Waits for a job; NULL when the workers are stopped and no job waits. */
static tinker__svc_req_t *next_job(tinker__svc_workers_t *w) {
  pthread_mutex_lock(&w->lock);
  while (!w->waiting && !w->stopped) pthread_cond_wait(&w->wake, &w->lock);
  tinker__link_t *l = tinker__list_pop_front(&w->jobs);
  if (l) w->waiting--;
  pthread_mutex_unlock(&w->lock);
  return l ? TINKER__CONTAINER(l, tinker__svc_req_t, link) : NULL;
}

static void *worker(void *user) {
  tinker__svc_req_t *r;
  while ((r = next_job(user)) != NULL) r->job(r);
  return NULL;
}

int tinker__svc_workers_new(tinker__svc_workers_t **out, tinker__mem_t *mem,
                            size_t threads, size_t max) {
  tinker__svc_workers_t *w = tinker__mem_zalloc(mem, sizeof *w);
  if (!w) return TINKER_ENOMEM;
  w->mem = mem;
  w->max = max;
  tinker__list_init(&w->jobs);
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->wake, NULL);
  w->threads = tinker__mem_array(mem, threads, sizeof *w->threads);
  while (w->threads && w->n < threads &&
         pthread_create(&w->threads[w->n], NULL, worker, w) == 0) {
    w->n++;
  }
  if (!w->n) {
    tinker__svc_workers_free(w);
    return TINKER_ENOMEM;
  }
  *out = w;
  return 0;
}

bool tinker__svc_workers_add(tinker__svc_workers_t *w, tinker__svc_req_t *r,
                             void (*run)(tinker__svc_req_t *r)) {
  pthread_mutex_lock(&w->lock);
  bool room = !w->stopped && w->waiting < w->max;
  if (room) {
    r->job = run;
    tinker__list_push_back(&w->jobs, &r->link);
    w->waiting++;
    pthread_cond_signal(&w->wake);
  }
  pthread_mutex_unlock(&w->lock);
  return room;
}

void tinker__svc_workers_stop(tinker__svc_workers_t *w) {
  if (!w) return;
  pthread_mutex_lock(&w->lock);
  w->stopped = true;
  pthread_cond_broadcast(&w->wake);
  pthread_mutex_unlock(&w->lock);
  for (size_t i = 0; i < w->n; i++) pthread_join(w->threads[i], NULL);
  w->n = 0;
}

void tinker__svc_workers_free(tinker__svc_workers_t *w) {
  if (!w) return;
  tinker__svc_workers_stop(w);
  pthread_mutex_destroy(&w->lock);
  pthread_cond_destroy(&w->wake);
  tinker__mem_free(w->mem, w->threads);
  tinker__mem_free(w->mem, w);
}
