/* gate: what a program decides about a training step: whether one of which a
 * part has failed goes on. Any thread; the decision is carried out on the
 * loop's. */
#include "api/core.h"
#include "api/handles.h"

typedef struct acceptance_s {
  tinker__task_t task;
  tinker__turn_t *turn; /* a reference */
} acceptance_t;

static void accept_run(tinker__task_t *task) {
  acceptance_t *a = TINKER__CONTAINER(task, acceptance_t, task);
  tinker__mem_t *mem = a->turn->mem;
  tinker__turn_accept_partial(a->turn);
  tinker__turn_release(a->turn);
  tinker__mem_free(mem, a);
}

/* The refused calls before this one are taken here and not on the loop's
 * thread, where later ones would be taken with them. */
static int post(tinker_client_t *core, acceptance_t *a) {
  pthread_mutex_lock(&core->lock);
  bool open = tinker__core_phase(core) < TINKER__CLIENT_CLOSING;
  if (open) {
    tinker__turn_take_refused(a->turn);
    tinker__loop_post(core->loop, &a->task);
  }
  pthread_mutex_unlock(&core->lock);
  return open ? 0 : TINKER_ECLOSED;
}

int tinker_trainer_accept_partial(tinker_trainer_t *trainer) {
  if (!trainer) return TINKER_EINVAL;
  tinker_client_t *core = trainer->core;
  if (!tinker__core_is_here(core)) return TINKER_EFORKED;
  acceptance_t *a = tinker__mem_zalloc(core->mem, sizeof *a);
  if (!a) return TINKER_ENOMEM;
  tinker__task_init(&a->task, accept_run);
  a->turn = tinker__turn_retain(trainer->turn);
  int rc = post(core, a);
  if (!rc) return 0;
  tinker__turn_release(a->turn);
  tinker__mem_free(core->mem, a);
  return rc;
}
