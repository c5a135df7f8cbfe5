/* claim: shares the memory of training among all models. Engine thread. A model
 * that finds no room waits until others have left memory (see keep.c). A model
 * that is alone does not wait, since nobody could make room for it. */
#include <inttypes.h>
#include <stdio.h>

#include <tinker/error.h>

#include "service/run/exec.h"

static void set(tinker__svc_model_t *m, uint64_t bytes) {
  m->service->claimed += bytes - m->claimed;
  m->claimed = bytes;
}

int tinker__svc_claim(tinker__svc_model_t *m, const tinker__svc_work_t *pass) {
  tinker__svc_t *s = m->service;
  char why[200];
  uint64_t limit = atomic_load(&s->train_limit);
  uint64_t others = s->claimed - m->claimed;
  uint64_t need = tinker__svc_price_state(m);
  if (pass) {
    need = tinker__svc_price_add(need, tinker__svc_price_pass(m, pass));
  }
  if (!others || tinker__svc_price_add(others, need) <= limit) {
    set(m, need);
    atomic_store(&s->pressed, false);
    return 0;
  }
  atomic_store(&s->pressed, true);
  snprintf(why, sizeof why,
           "waiting for memory: needs %" PRIu64 " bytes, others use %" PRIu64
           " of %" PRIu64 " for training",
           need, others, limit);
  tinker__svc_trouble(m, 0, why);
  m->stuck = TINKER__SVC_STUCK_SHORT;
  return TINKER_ENOMEM;
}

void tinker__svc_claim_settle(tinker__svc_model_t *m) {
  if (m->pass) return;
  set(m, m->train ? tinker__svc_price_state(m) : 0);
}
