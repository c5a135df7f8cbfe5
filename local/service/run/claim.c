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

/* Makes the model wait, and notes the reason for polls. */
static int wait_short(tinker__svc_model_t *m, const char *of, uint64_t need,
                      uint64_t others, uint64_t limit) {
  char why[200];
  snprintf(why, sizeof why,
           "waiting for memory: needs %" PRIu64 " bytes, others use %" PRIu64
           " of %" PRIu64 " for %s",
           need, others, limit, of);
  tinker__svc_trouble(m, 0, why);
  m->stuck = TINKER__SVC_STUCK_SHORT;
  return TINKER_ENOMEM;
}

int tinker__svc_claim_log(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  tinker__svc_share_t *p = &m->service->logs;
  if (op->log_held) return 0;
  if (!tinker__svc_share_take(p, op->log_size, true)) {
    return wait_short(m, "bodies from the log", op->log_size,
                      atomic_load(&p->used), atomic_load(&p->limit));
  }
  op->log_held = op->log_size;
  return 0;
}

/* New results wait while older ones are being stored. A result is counted when
 * it is made. */
static int wait_for_results(tinker__svc_model_t *m,
                            const tinker__svc_work_t *pass) {
  tinker__svc_share_t *p = &m->service->results;
  uint64_t need = tinker__svc_price_result(pass);
  if (!tinker__svc_share_take(p, need, true)) {
    return wait_short(m, "results", need, atomic_load(&p->used),
                      atomic_load(&p->limit));
  }
  tinker__svc_share_give(p, need);
  return 0;
}

int tinker__svc_claim(tinker__svc_model_t *m, const tinker__svc_work_t *pass) {
  tinker__svc_t *s = m->service;
  if (pass && wait_for_results(m, pass) != 0) return TINKER_ENOMEM;
  uint64_t limit = atomic_load(&s->train_limit);
  uint64_t others = s->claimed - m->claimed;
  uint64_t need = tinker__svc_price_state(m);
  if (pass) {
    need = tinker__svc_price_add(need, tinker__svc_price_pass(m, pass));
  }
  if (!others || tinker__svc_price_add(others, need) <= limit) {
    set(m, need);
    return 0;
  }
  atomic_store(&s->pressed, true);
  return wait_short(m, "training", need, others, limit);
}

void tinker__svc_claim_settle(tinker__svc_model_t *m) {
  if (m->pass) return;
  set(m, m->train ? tinker__svc_price_state(m) : 0);
}
