/* lookout: asks the service for all training runs, a page at a time, and leaves
 * what it says of each trainer's model in that run's folder (sighting.h), so
 * that a thousand runs make one call a second and not a hundred. What a
 * sighting means decides the run. The daemon's thread, which never waits for an
 * answer. */
#include <string.h>
#include <tinker/error.h>
#include <tinker/rest.h>

#include "daemon.h"
#include "journal/sighting.h"

#define PAGE 100       /* rows */
#define MOST_PAGES 12  /* of a round: what is behind is asked for by its run */
#define ROUND_MS 10000 /* of all pages, if there are few enough */
#define LEAST_MS 1000  /* between two calls */
#define ANSWER_MS 5000 /* then it has none */
#define LOOK_MS 20     /* between two looks whether it is there */

static bool is_watched(const tinker__rec_trainer_t *t) {
  return t->restart.state == TINKER__REC_TRAINER_RUNNING &&
         t->view.reach.readable && !t->view.reach.finished && *t->view.model;
}

static bool has_any(const tinker__rec_daemon_t *d) {
  TINKER__LIST_EACH(l, tmp, &d->trainers) {
    if (is_watched(TINKER__CONTAINER(l, tinker__rec_trainer_t, link))) {
      return true;
    }
  }
  return false;
}

/* A file that can't be written is as a row that is not there: the run asks. */
static void see(tinker__rec_daemon_t *d, const tinker_training_run_t *row) {
  if (!row->corrupted_known) return; /* it says nothing of the model (F90) */
  TINKER__LIST_EACH(l, tmp, &d->trainers) {
    tinker__rec_trainer_t *t =
        TINKER__CONTAINER(l, tinker__rec_trainer_t, link);
    if (!is_watched(t) || strcmp(t->view.model, row->run_id) != 0) continue;
    tinker__rec_sighting_t s = {.asked_ms = d->lookout.asked_ms,
                                .corrupted = row->corrupted != 0};
    memcpy(s.model, t->view.model, sizeof s.model);
    tinker__rec_sighting_write(d->world, &d->mem, t->folder_path, &s);
  }
}

/* Whatever fails, the next round begins at the beginning. */
static void take(tinker__rec_daemon_t *d) {
  tinker__rec_lookout_t *s = &d->lookout;
  const tinker_training_run_list_t *list;
  int64_t pages = s->offset / PAGE + 1;
  bool more = false;
  if (tinker_future_get_run_list(s->asked, &list) == 0) {
    for (size_t i = 0; i < list->count; i++) see(d, &list->runs[i]);
    more = list->count == PAGE && pages < MOST_PAGES &&
           (list->total_count < 0 || list->total_count > pages * PAGE);
  }
  s->asked = tinker_future_release(s->asked);
  if (!more) s->pages = pages;
  s->offset = more ? s->offset + PAGE : 0;
}

static void ask(tinker__rec_daemon_t *d, int64_t now) {
  tinker__rec_lookout_t *s = &d->lookout;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_page_t page = TINKER_PAGE_INIT;
  int64_t wait = s->pages > 0 ? ROUND_MS / s->pages : LEAST_MS;
  call.timeout_ms = ANSWER_MS;
  page.offset = s->offset;
  page.limit = PAGE;
  s->asked_ms = d->world->boot_ms(d->world->user);
  s->asked = tinker_client_list_runs(d->beat.client, &page, &call);
  s->next_ms = now + (wait > LEAST_MS ? wait : LEAST_MS);
}

void tinker__rec_lookout_turn(tinker__rec_daemon_t *d) {
  tinker__rec_lookout_t *s = &d->lookout;
  int64_t now = d->world->now_ms(d->world->user);
  if (s->asked && tinker_future_status(s->asked) == TINKER_EAGAIN) return;
  if (s->asked) take(d);
  if (now < s->next_ms || !d->beat.client) return;
  if (has_any(d)) {
    ask(d, now);
  } else {
    s->next_ms = now + LEAST_MS;
  }
}

int64_t tinker__rec_lookout_due(const tinker__rec_daemon_t *d) {
  const tinker__rec_lookout_t *s = &d->lookout;
  if (!s->asked) return d->beat.client ? s->next_ms : INT64_MAX;
  return d->world->now_ms(d->world->user) + LOOK_MS;
}

void tinker__rec_lookout_end(tinker__rec_daemon_t *d) {
  tinker_future_cancel(d->lookout.asked);
  d->lookout.asked = tinker_future_release(d->lookout.asked);
}
