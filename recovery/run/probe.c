/* probe: a fixed set of examples whose log-probabilities are the fingerprint of
 * a model. The tokens are small numbers, which every vocabulary has, from a
 * fixed sequence: nothing of the user's data, and the same in every process. */
#include <math.h>
#include <stdint.h>

#include "run/run.h"

#define SMALL_IDS 64

/* Steps of a linear congruential generator (Knuth's MMIX constants). */
static void tokens_of(size_t item, int32_t out[TINKER__REC_PROBE_TOKENS]) {
  uint64_t x = 0x9e3779b97f4a7c15u * (item + 1);
  for (size_t i = 0; i < TINKER__REC_PROBE_TOKENS; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    out[i] = (int32_t)((x >> 33) % SMALL_IDS);
  }
}

tinker_future_t *tinker__rec_probe(tinker_trainer_t *trainer, uint64_t op,
                                   bool ahead) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_datum_t *data[TINKER__REC_PROBE_ITEMS] = {NULL};
  int32_t tokens[TINKER__REC_PROBE_TOKENS];
  for (size_t i = 0; i < TINKER__REC_PROBE_ITEMS; i++) {
    tokens_of(i, tokens);
    tinker_datum_new_supervised(&data[i], tokens, NULL,
                                TINKER__REC_PROBE_TOKENS, NULL, NULL);
  }
  call.tag = op;
  call.ahead = ahead;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  /* A datum that there was no memory for is refused by the call. */
  tinker_future_t *future = tinker_trainer_forward(
      trainer, data, TINKER__REC_PROBE_ITEMS, NULL, &call);
  for (size_t i = 0; i < TINKER__REC_PROBE_ITEMS; i++) {
    tinker_datum_release(data[i]);
  }
  return future;
}

int tinker__rec_probe_read(tinker_future_t *future, tinker__buf_t *out) {
  const tinker_forward_result_t *result = NULL;
  tinker_tensor_view_t view;
  int rc = tinker_future_get_forward(future, &result);
  size_t n = rc == 0 ? tinker_forward_result_count(result) : 0;
  for (size_t i = 0; i < n && rc == 0; i++) {
    rc = tinker_forward_result_tensor(result, i, "logprobs", &view);
    if (rc == 0 && !view.f32) rc = TINKER_ENOENT;
    if (rc == 0) {
      rc = tinker__buf_add(out, view.f32, view.count * sizeof *view.f32);
    }
  }
  return rc;
}

double tinker__rec_probe_differ(const float *a, size_t na, const float *b,
                                size_t nb) {
  double most = 0;
  if (na != nb || na == 0) return INFINITY;
  for (size_t i = 0; i < na; i++) {
    double d = fabs((double)a[i] - (double)b[i]);
    if (isnan(d)) return INFINITY;
    if (d > most) most = d;
  }
  return most;
}
