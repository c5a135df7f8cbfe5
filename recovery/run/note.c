/* note: records and events of a run. */
#include <string.h>

#include "base/json_write.h"
#include "run/run.h"

/* In the file and in the state, in one order. */
static int add(tinker_run_t *run, tinker__rec_epoch_t *epoch,
               const tinker__rec_draft_t *d, tinker__rec_done_cb done,
               void *user) {
  char why[TINKER__REC_WHY];
  tinker__rec_record_t r = {.type = d->type,
                            .step = d->step,
                            .boot = "",
                            .fields = d->fields,
                            .bytes = d->bytes};
  pthread_mutex_lock(&run->lock);
  tinker__rec_file_t *file = epoch ? epoch->file : run->supervisor;
  int rc = file ? tinker__rec_file_add(file, d, done, user) : TINKER_ECLOSED;
  /* An epoch that is not active yet has its own numbers and no steps: what it
   * is becomes known to the state with EPOCH_ACTIVE. */
  bool counts = !epoch || epoch->number == run->state.epoch;
  if (rc == 0) atomic_fetch_add(&run->reread.noted, 1);
  if (rc == 0 && counts) {
    /* Without memory the record is right and written, and this process alone
     * lacks it: it takes no further step. */
    if (tinker__rec_state_fold(&run->state, epoch ? epoch->number : 0, &r, why,
                               sizeof why) != 0) {
      run->lame = true;
    }
  }
  pthread_mutex_unlock(&run->lock);
  return rc;
}

static int with_fields(tinker_run_t *run, const tinker__rec_facts_t *facts,
                       tinker__buf_t *text, tinker__rec_draft_t *d) {
  const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  tinker__buf_init(text, &run->mem, TINKER__REC_MAX_FIELDS);
  int rc = tinker__rec_facts_write(facts ? facts : &none, text);
  d->fields = tinker__buf_str(text);
  if (!d->bytes.ptr) d->bytes = tinker__str("");
  return rc;
}

int tinker__rec_note_add(tinker_run_t *run, tinker__rec_epoch_t *epoch,
                         tinker__rec_type_t type, int64_t step,
                         const tinker__rec_facts_t *facts, tinker__str_t bytes,
                         tinker__rec_done_cb done, void *user) {
  tinker__buf_t text;
  tinker__rec_draft_t d = {.type = type, .step = step, .bytes = bytes};
  int rc = with_fields(run, facts, &text, &d);
  if (rc == 0) rc = add(run, epoch, &d, done, user);
  tinker__buf_free(&text);
  return rc;
}

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t ended;
  bool over;
  int rc;
} wait_t;

static void on_durable(void *user, int rc) {
  wait_t *w = user;
  pthread_mutex_lock(&w->lock);
  w->rc = rc;
  w->over = true;
  pthread_cond_signal(&w->ended);
  pthread_mutex_unlock(&w->lock);
}

int tinker__rec_note(tinker_run_t *run, tinker__rec_epoch_t *epoch,
                     tinker__rec_type_t type, int64_t step,
                     const tinker__rec_facts_t *facts, tinker__str_t bytes) {
  wait_t w = {.over = false};
  pthread_mutex_init(&w.lock, NULL);
  pthread_cond_init(&w.ended, NULL);
  int rc = tinker__rec_note_add(run, epoch, type, step, facts, bytes,
                                on_durable, &w);
  pthread_mutex_lock(&w.lock);
  while (rc == 0 && !w.over) pthread_cond_wait(&w.ended, &w.lock);
  pthread_mutex_unlock(&w.lock);
  pthread_cond_destroy(&w.ended);
  pthread_mutex_destroy(&w.lock);
  return rc != 0 ? rc : w.rc;
}

void tinker__rec_say(tinker_run_t *run, const char *event, int64_t step,
                     const tinker__rec_facts_t *facts) {
  const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  tinker__buf_t fields, line;
  tinker__jsonw_t w;
  if (!run->options.event_cb) return;
  tinker__buf_init(&fields, &run->mem, TINKER__REC_MAX_FIELDS);
  tinker__buf_init(&line, &run->mem, 2 * TINKER__REC_MAX_FIELDS);
  tinker__rec_facts_write(facts ? facts : &none, &fields);
  tinker__jsonw_init(&w, &line);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "event");
  tinker__jsonw_cstr(&w, event);
  tinker__jsonw_key(&w, "run");
  tinker__jsonw_cstr(&w, run->options.name);
  if (step != TINKER__REC_NO_STEP) {
    tinker__jsonw_key(&w, "step");
    tinker__jsonw_i64(&w, step);
  }
  tinker__jsonw_key(&w, "facts");
  tinker__jsonw_raw(&w, tinker__buf_str(&fields));
  tinker__jsonw_end_object(&w);
  if (!tinker__buf_error(&line) && !tinker__buf_error(&fields)) {
    tinker__str_t s = tinker__buf_str(&line);
    run->options.event_cb(run->options.event_user, s.ptr, s.len);
  }
  tinker__buf_free(&line);
  tinker__buf_free(&fields);
}
