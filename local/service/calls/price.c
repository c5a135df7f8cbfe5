/* price: computes how many bytes a training call takes, before it is accepted
 * and before it is begun. Under the service's lock or on the engine thread; the
 * model holds its base model. */
#include <inttypes.h>

#include <tinker/error.h>

#include "service/calls/calls.h"
#include "service/parse/work.h"

uint64_t tinker__svc_price_add(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t tinker__svc_price_state(const tinker__svc_model_t *m) {
  const tinker__engine_api_t *api = tinker__svc_model_api(m);
  if (!api->train_bytes || !m->base->base) return 0;
  return api->train_bytes(m->base->base, &m->lora);
}

/* Counts the pass, the decoded body, and the outputs twice: as arrays and in
 * the result. */
uint64_t tinker__svc_price_pass(const tinker__svc_model_t *m,
                                const tinker__svc_work_t *w) {
  const tinker__engine_api_t *api = tinker__svc_model_api(m);
  uint64_t outputs = 0;
  if (!api->pass_bytes || !m->base->base) return 0;
  for (size_t i = 0; i < w->n_data; i++) {
    outputs += (uint64_t)4 * sizeof(float) * w->data[i].n * w->data[i].k;
  }
  uint64_t pass = api->pass_bytes(m->base->base, &m->lora, w->data, w->n_data,
                                  w->forward_only);
  return tinker__svc_price_add(pass, outputs + w->arena.used);
}

uint64_t tinker__svc_price_result(const tinker__svc_work_t *w) {
  bool ce = w->loss.kind == TINKER__LOSS_CROSS_ENTROPY;
  uint64_t floats = 0;
  for (size_t i = 0; i < w->n_data; i++) {
    floats += (uint64_t)w->data[i].n * w->data[i].k;
  }
  return floats * sizeof(float) * (ce ? 2 : 1);
}

/* It must also be possible to read it. */
static bool refuses_result(const tinker__svc_model_t *m,
                           const tinker__svc_work_t *w, tinker__svc_req_t *r) {
  uint64_t bytes = tinker__svc_price_result(w);
  uint64_t most =
      atomic_load(&m->service->results.limit) / TINKER__RESULT_PARTS;
  if (bytes <= most) return false;
  tinker__svc_reply_error(r, 400,
                          "forward_backward_input.data: the result has %" PRIu64
                          " bytes, there is memory for %" PRIu64
                          " of a result: send fewer or shorter datums, or "
                          "raise --max-memory",
                          bytes, most);
  return true;
}

bool tinker__svc_price_refuses_call(const tinker__svc_model_t *m,
                                    const tinker__svc_work_t *w,
                                    tinker__svc_req_t *r) {
  uint64_t limit = atomic_load(&m->service->train_limit);
  if (w->kind != TINKER__SVC_OP_FORWARD_BACKWARD) return false;
  uint64_t state = tinker__svc_price_state(m);
  uint64_t pass = tinker__svc_price_pass(m, w);
  if (tinker__svc_price_add(state, pass) <= limit) {
    return refuses_result(m, w, r);
  }
  tinker__svc_reply_error(r, 400,
                          "forward_backward_input.data: needs %" PRIu64
                          " bytes of memory besides %" PRIu64
                          " for its model, %" PRIu64
                          " are available for training: send fewer or shorter "
                          "datums",
                          pass, state, limit);
  return true;
}

bool tinker__svc_price_refuses_model(const tinker__svc_model_t *m,
                                     tinker__svc_req_t *r) {
  uint64_t limit = atomic_load(&m->service->train_limit);
  uint64_t state = tinker__svc_price_state(m);
  if (state <= limit) return false;
  tinker__svc_reply_error(r, 400,
                          "lora_config.rank: a model of rank %u needs %" PRIu64
                          " bytes of memory, %" PRIu64
                          " are available for training",
                          (unsigned)m->lora.rank, state, limit);
  return true;
}
