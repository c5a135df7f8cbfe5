/* steps: those that were begun and are not committed. Under the run's lock. */
#include <string.h>

#include "run/run.h"

tinker__rec_step_t *tinker__rec_step_new(tinker_run_t *run, int64_t number) {
  tinker__rec_step_t *s = tinker__mem_zalloc(&run->mem, sizeof *s);
  if (!s) return NULL;
  s->number = number;
  tinker__list_push_back(&run->steps, &s->link);
  if (number > run->handed) run->handed = number;
  return s;
}

void tinker__rec_step_free(tinker_run_t *run, tinker__rec_step_t *s) {
  tinker__list_remove(&s->link);
  for (size_t i = 0; i < s->forward_count; i++) {
    tinker_future_release(s->forward[i]);
  }
  tinker_future_release(s->optim);
  tinker_future_release(s->save);
  tinker_future_release(s->probe);
  tinker_future_release(s->probe_again);
  tinker__mem_free(&run->mem, s->forward);
  tinker__mem_free(&run->mem, s->batches);
  tinker__mem_free(&run->mem, s->cursor);
  tinker__mem_free(&run->mem, s);
}

tinker__rec_step_t *tinker__rec_step_last(const tinker_run_t *run) {
  if (tinker__list_empty(&run->steps)) return NULL;
  return TINKER__CONTAINER(run->steps.prev, tinker__rec_step_t, link);
}

static int grow(tinker_run_t *run, tinker__rec_step_t *s) {
  if (s->forward_count < s->forward_cap) return 0;
  size_t cap = s->forward_cap ? 2 * s->forward_cap : 4;
  void *futures =
      tinker__mem_realloc(&run->mem, s->forward, cap * sizeof *s->forward);
  if (!futures) return TINKER_ENOMEM;
  s->forward = futures;
  void *batches =
      tinker__mem_realloc(&run->mem, s->batches, cap * sizeof *s->batches);
  if (!batches) return TINKER_ENOMEM;
  s->batches = batches;
  s->forward_cap = cap;
  return 0;
}

int tinker__rec_step_add(tinker_run_t *run, tinker__rec_step_t *s,
                         tinker_future_t *future, const unsigned char *batch) {
  int rc = grow(run, s);
  if (rc != 0) return rc;
  s->forward[s->forward_count] = tinker_future_retain(future);
  memcpy(s->batches[s->forward_count], batch, TINKER__SHA256_LEN);
  s->forward_count++;
  return 0;
}

void tinker__rec_steps_drop(tinker_run_t *run) {
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    tinker__rec_step_free(run, TINKER__CONTAINER(l, tinker__rec_step_t, link));
  }
  if (run->late) tinker__rec_step_free(run, run->late);
  run->late = NULL;
}

tinker__str_t tinker__rec_step_cursor(const tinker_run_t *run) {
  const tinker__rec_step_t *last = tinker__rec_step_last(run);
  const tinker__rec_step_t *from = NULL;
  if (last && last->committing) {
    from = last;
  } else if (last && last->link.prev != &run->steps) {
    from = TINKER__CONTAINER(last->link.prev, tinker__rec_step_t, link);
  }
  if (from) {
    return (tinker__str_t){from->cursor ? from->cursor : "", from->cursor_len};
  }
  return tinker__buf_str(&run->state.cursor);
}
