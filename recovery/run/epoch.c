/* epoch: a client with its journal file. The run's thread, but for
 * tinker__rec_epoch_made. */
#include <stdio.h>
#include <string.h>

#include "run/run.h"

static int open_file(tinker__rec_epoch_t *e, char *why, size_t why_len) {
  tinker_run_t *run = e->run;
  char path[TINKER__REC_PATH_ROOM];
  const tinker__rec_folder_t folder = {&run->mem, run->world, run->dir,
                                       run->options.name, true};
  tinker__rec_file_spec_t spec = {.mem = &run->mem,
                                  .world = run->world,
                                  .path = path,
                                  .failed = &run->unwritten,
                                  .full = tinker__rec_reserve_give,
                                  .room = &run->reserve,
                                  .relaxed = run->ruled.relaxed,
                                  .lineage = run->options.name,
                                  .epoch = e->number};
  int rc = tinker__rec_folder_file(&folder, e->number, path, why, why_len);
  if (rc != 0) return rc;
  snprintf(e->prefix, sizeof e->prefix, "%.*s", (int)(strlen(path) - 3), path);
  tinker__rec_bodies_init(&e->bodies, run->world, e->prefix);
  tinker__rec_bodies_init(&e->drops, run->world, e->prefix);
  /* The start has read it up to there, if it was there then. */
  spec.from = tinker__rec_marks_at(&run->marks, e->number);
  return tinker__rec_file_open(&e->file, &spec, why, why_len);
}

static int open_client(tinker__rec_epoch_t *e, const char *session,
                       int64_t incarnation, char *why, size_t why_len) {
  tinker_client_options_t o = e->run->client_options;
  tinker_seams_t seams = tinker__rec_seams;
  tinker_adoption_t adopt = TINKER_ADOPTION_INIT;
  tinker_error_t *error = NULL;
  tinker__rec_stamps_t stamps;
  tinker__rec_stamps(e->run, e, TINKER__REC_NO_STEP, TINKER__REC_NO_STEP,
                     &stamps);
  o.metadata = stamps.list;
  o.metadata_count = stamps.count;
  seams.user = e;
  if (e->run->options.gate == TINKER_RUN_GATE_PIPELINED) seams.gate = NULL;
  o.seams = &seams;
  if (session) {
    adopt.session_id = session;
    adopt.incarnation = incarnation;
    o.adopt = &adopt;
  }
  int rc = tinker_client_new(&e->client, &o, &error);
  if (rc != 0) {
    tinker__why(why, why_len, rc, "%s", tinker_error_message(error));
    tinker_error_release(error);
  }
  return rc;
}

/* From here on the end of the run closes the client, and with it ends what its
 * thread waits for. */
static int join_run(tinker__rec_epoch_t *e, char *why, size_t why_len) {
  tinker_run_t *run = e->run;
  pthread_mutex_lock(&run->lock);
  bool closing = atomic_load(&run->closing);
  if (!closing) tinker__list_push_back(&run->live, &e->link);
  pthread_mutex_unlock(&run->lock);
  if (!closing) return 0;
  tinker_client_release(e->client);
  return tinker__why(why, why_len, TINKER_ECLOSED, "the run ends");
}

int tinker__rec_epoch_open(tinker_run_t *run, int64_t number,
                           const char *session, int64_t incarnation,
                           tinker__rec_epoch_t **out, char *why,
                           size_t why_len) {
  tinker__rec_epoch_t *e = tinker__mem_zalloc(&run->mem, sizeof *e);
  if (!e) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  e->run = run;
  e->number = number;
  e->bodies.fd = -1;
  e->bodies_from = run->state.committed;
  const tinker__rec_used_t *used =
      tinker__rec_used_find(&run->state.used, number);
  snprintf(e->nonce, sizeof e->nonce, "%s", used ? used->nonce : "");
  tinker__list_init(&e->made);
  tinker__list_init(&e->tickets);
  tinker__list_init(&e->link);
  int rc = open_file(e, why, why_len);
  if (rc == 0) rc = open_client(e, session, incarnation, why, why_len);
  if (rc == 0) rc = join_run(e, why, why_len);
  if (rc != 0) {
    tinker__rec_epoch_free(e);
    return rc;
  }
  *out = e;
  return 0;
}

uint64_t tinker__rec_epoch_made(tinker__rec_epoch_t *e, int64_t step,
                                tinker__rec_slot_t slot,
                                const unsigned char *batch, const char *name) {
  tinker_run_t *run = e->run;
  tinker__rec_made_t *m = tinker__mem_zalloc(&run->mem, sizeof *m);
  if (!m) return 0;
  m->step = step;
  m->slot = slot;
  m->has_batch = batch != NULL;
  if (batch) memcpy(m->batch, batch, sizeof m->batch);
  snprintf(m->name, sizeof m->name, "%s", name ? name : "");
  pthread_mutex_lock(&run->lock);
  m->op = ++run->next_op;
  tinker__list_push_back(&e->made, &m->link);
  pthread_mutex_unlock(&run->lock);
  return m->op;
}

void tinker__rec_epoch_forget(tinker__rec_epoch_t *e, int64_t step) {
  TINKER__LIST_EACH(l, tmp, &e->made) {
    tinker__rec_made_t *m = TINKER__CONTAINER(l, tinker__rec_made_t, link);
    if (m->step > step) continue;
    tinker__list_remove(&m->link);
    tinker__mem_free(&e->run->mem, m);
  }
}

/* The client's thread may still note something: it finds no file then. */
static void close_file(tinker__rec_epoch_t *e) {
  pthread_mutex_lock(&e->run->lock);
  tinker__rec_file_t *file = e->file;
  e->file = NULL;
  pthread_mutex_unlock(&e->run->lock);
  tinker__rec_file_close(file);
}

void tinker__rec_epoch_end(tinker__rec_epoch_t *e) {
  if (!e) return;
  tinker_run_t *run = e->run;
  if (!atomic_load(&e->may_finish)) atomic_store(&e->fenced, true);
  pthread_mutex_lock(&run->lock);
  tinker_trainer_t *trainer = e->trainer;
  e->trainer = NULL;
  if (run->epoch == e) run->epoch = NULL;
  if (e->number != run->state.epoch) run->orphans_due = true;
  tinker__list_remove(&e->link);
  tinker__list_push_back(&run->old, &e->link);
  pthread_mutex_unlock(&run->lock);
  tinker_trainer_release(trainer);
  tinker_future_t *closed = tinker_client_close(e->client, NULL);
  tinker_future_wait(closed, -1);
  tinker_future_release(closed);
  close_file(e);
  /* It is still answered after this, inside its own calls. */
  tinker_client_release(e->client);
}

void tinker__rec_epoch_free(tinker__rec_epoch_t *e) {
  if (!e) return;
  tinker_run_t *run = e->run;
  tinker__rec_file_close(e->file);
  tinker__rec_bodies_close(&e->bodies);
  tinker__rec_epoch_forget(e, INT64_MAX);
  tinker__rec_tickets_free(e);
  tinker__list_remove(&e->link);
  tinker__mem_free(&run->mem, e);
}
