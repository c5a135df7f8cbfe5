/* gate: with a strict gate no optim_step leaves before the losses of its step
 * are known and finite. The results are waited for on a thread of the gate: the
 * client's own may not wait, and the run's may be waiting for that very
 * optim_step.
 *
 * A step that fails the judgement leaves the weights clean: they are saved
 * ahead of everything that is queued, and its optim_step and all behind it
 * end, so that the run goes back to that save and loses no step. */
#include <math.h>
#include <string.h>

#include "run/run.h"

typedef struct {
  tinker__link_t link;
  tinker__rec_epoch_t *epoch;
  uint64_t ticket;
  int64_t step;
  tinker_future_t **forward; /* references */
  size_t count;
} question_t;

static void question_free(tinker_run_t *run, question_t *q) {
  for (size_t i = 0; i < q->count; i++) tinker_future_release(q->forward[i]);
  tinker__mem_free(&run->mem, q->forward);
  tinker__mem_free(&run->mem, q);
}

/* --- The client's journal thread ------------------------------------------ */

/* The step of an optim_step that this process has made or adopted. */
static int64_t number_of(const tinker__rec_epoch_t *e, uint64_t tag) {
  const tinker__rec_op_t *op = tinker__rec_state_op(&e->run->state, tag);
  if (op) return op->step;
  TINKER__LIST_EACH(l, tmp, &e->made) {
    const tinker__rec_made_t *m =
        TINKER__CONTAINER(l, tinker__rec_made_t, link);
    if (m->op == tag) return m->step;
  }
  return TINKER__REC_NO_STEP;
}

static const tinker__rec_step_t *step_of(const tinker__rec_epoch_t *e,
                                         uint64_t tag) {
  int64_t number = number_of(e, tag);
  TINKER__LIST_EACH(l, tmp, &e->run->steps) {
    const tinker__rec_step_t *s =
        TINKER__CONTAINER(l, tinker__rec_step_t, link);
    if (s->number == number) return s;
  }
  return NULL;
}

static question_t *question_of(tinker__rec_epoch_t *e,
                               const tinker_gate_question_t *asked) {
  tinker_run_t *run = e->run;
  const tinker__rec_step_t *s = step_of(e, asked->tag);
  question_t *q = s ? tinker__mem_zalloc(&run->mem, sizeof *q) : NULL;
  if (!q) return NULL;
  q->epoch = e;
  q->ticket = asked->ticket;
  q->step = s->number;
  q->forward =
      tinker__mem_array(&run->mem, s->forward_count, sizeof *q->forward);
  for (size_t i = 0; q->forward && i < s->forward_count; i++) {
    q->forward[q->count++] = tinker_future_retain(s->forward[i]);
  }
  if (q->forward) return q;
  question_free(run, q);
  return NULL;
}

void tinker__rec_on_gate(void *user, const tinker_gate_question_t *asked) {
  tinker__rec_epoch_t *e = user;
  tinker_run_t *run = e->run;
  pthread_mutex_lock(&run->lock);
  question_t *q = question_of(e, asked);
  if (q) {
    tinker__list_push_back(&run->questions, &q->link);
    pthread_cond_broadcast(&run->wake);
  }
  pthread_mutex_unlock(&run->lock);
  if (q) return;
  /* Not judged is not passed. */
  tinker_gate_answer(e->client, asked->ticket, TINKER_GATE_END_ALL,
                     "the step can't be judged: it is not known, or there is "
                     "no memory");
}

/* --- The gate's thread ---------------------------------------------------- */

/* Whether all losses are known and finite; one that failed is not the gate's
 * business: the client does not send the optim_step of such a step. */
static bool is_sound(const question_t *q) {
  for (size_t i = 0; i < q->count; i++) {
    double loss = 0;
    if (tinker_future_wait(q->forward[i], -1) != 0) continue;
    if (tinker_future_loss(q->forward[i], &loss) == 0 && !isfinite(loss)) {
      return false;
    }
  }
  return true;
}

/* The weights before this step, ahead of the step. The step's own number is
 * that of the last one whose optim_step was carried out. */
static void save_clean(tinker_run_t *run, question_t *q) {
  pthread_mutex_lock(&run->lock);
  bool first = q->step - 1 <= run->state.from_step || run->clean;
  tinker__rec_step_t *s =
      first ? NULL : tinker__mem_zalloc(&run->mem, sizeof *s);
  pthread_mutex_unlock(&run->lock);
  if (!s) return;
  tinker__list_init(&s->link);
  s->number = q->step - 1;
  tinker__rec_ckpt_submit(run, q->epoch, s, TINKER__REC_SAVE_CLEAN);
  pthread_mutex_lock(&run->lock);
  run->clean = s; /* from here on it is the run's thread's */
  pthread_mutex_unlock(&run->lock);
}

static void judge(tinker_run_t *run, question_t *q) {
  char why[TINKER__REC_WHY];
  if (is_sound(q)) {
    tinker_gate_answer(q->epoch->client, q->ticket, TINKER_GATE_GO, NULL);
    return;
  }
  tinker__why(why, sizeof why, 0, "the loss of step %lld is not finite",
              (long long)q->step);
  save_clean(run, q);
  pthread_mutex_lock(&run->lock);
  tinker__why(run->distrust, sizeof run->distrust, 0, "%s", why);
  pthread_mutex_unlock(&run->lock);
  tinker_gate_answer(q->epoch->client, q->ticket, TINKER_GATE_END_ALL, why);
}

static question_t *take_question(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  while (tinker__list_empty(&run->questions) && !atomic_load(&run->closing)) {
    pthread_cond_wait(&run->wake, &run->lock);
  }
  tinker__link_t *l = tinker__list_pop_front(&run->questions);
  pthread_mutex_unlock(&run->lock);
  return l ? TINKER__CONTAINER(l, question_t, link) : NULL;
}

static void *thread_main(void *user) {
  tinker_run_t *run = user;
  question_t *q;
  while ((q = take_question(run)) != NULL) {
    judge(run, q);
    question_free(run, q);
  }
  return NULL;
}

int tinker__rec_gate_start(tinker_run_t *run) {
  if (run->options.gate != TINKER_RUN_GATE_STRICT) return 0;
  if (pthread_create(&run->gate_thread, NULL, thread_main, run) != 0) {
    return TINKER_ENOMEM;
  }
  run->gated = true;
  return 0;
}

void tinker__rec_gate_end(tinker_run_t *run) {
  if (run->gated) pthread_join(run->gate_thread, NULL);
  run->gated = false;
}
