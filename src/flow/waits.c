/* Counters of waiting, see waits.h. */
#include "flow/waits.h"

void tinker__stay_move(tinker__stay_t *stay, tinker_stage_t stage,
                       int64_t now_ms) {
  if (stage == stay->stage) return;
  if (stay->stage < TINKER_STAGE_ENDED) {
    stay->spent_ms[stay->stage] += now_ms - stay->since_ms;
  }
  stay->stage = stage;
  stay->since_ms = now_ms;
}

/* Two threads may make them at once: the first ones stay. */
tinker__waits_t *tinker__waits_of(tinker__waits_all_t *all, tinker_kind_t kind,
                                  tinker__mem_t *mem) {
  tinker__waits_t *there = atomic_load(&all->kinds[kind]);
  if (there) return there;
  tinker__waits_t *made = tinker__mem_zalloc(mem, sizeof *made);
  if (!made) return NULL;
  if (atomic_compare_exchange_strong(&all->kinds[kind], &there, made)) {
    return made;
  }
  tinker__mem_free(mem, made);
  return there;
}

void tinker__waits_free(tinker__waits_all_t *all, tinker__mem_t *mem) {
  for (int kind = 0; kind <= TINKER_KIND_PROMISE; kind++) {
    tinker__mem_free(mem, atomic_load(&all->kinds[kind]));
  }
}

/* The failure last: who sees it sees the operation, too. */
void tinker__waits_add(tinker__waits_t *waits, const tinker__stay_t *stay,
                       bool failed) {
  for (int i = 0; i < TINKER_STAGE_ENDED; i++) {
    tinker__histogram_add(&waits->stages[i], stay->spent_ms[i]);
  }
  tinker__histogram_add(&waits->total, stay->since_ms - stay->born_ms);
  if (!failed) return;
  atomic_fetch_add_explicit(&waits->failed, 1, memory_order_release);
}
