/* probe: see probe.h. */
#include "prove/probe.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define TOKENS 16 /* of each example */
#define SMALL_IDS 64

_Static_assert(TINKER__REC_PROBE_ITEMS *(TOKENS - 1) == TINKER_FINGERPRINT_LEN,
               "one number for each token that has one before it");

/* Steps of a linear congruential generator (Knuth's MMIX constants). */
static void tokens_of(size_t item, int32_t out[TOKENS]) {
  uint64_t x = 0x9e3779b97f4a7c15u * (item + 1);
  for (size_t i = 0; i < TOKENS; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    out[i] = (int32_t)((x >> 33) % SMALL_IDS);
  }
}

void tinker__rec_probe_make(tinker_datum_t *data[TINKER__REC_PROBE_ITEMS],
                            const tinker_allocator_t *allocator) {
  int32_t tokens[TOKENS];
  for (size_t i = 0; i < TINKER__REC_PROBE_ITEMS; i++) {
    data[i] = NULL;
    tokens_of(i, tokens);
    tinker_datum_new_supervised(&data[i], tokens, NULL, TOKENS, allocator,
                                NULL);
  }
}

void tinker__rec_probe_free(tinker_datum_t *data[TINKER__REC_PROBE_ITEMS]) {
  for (size_t i = 0; i < TINKER__REC_PROBE_ITEMS; i++) {
    data[i] = tinker_datum_release(data[i]);
  }
}

tinker_future_t *tinker_trainer_fingerprint(tinker_trainer_t *trainer,
                                            const tinker_call_options_t *call) {
  tinker_datum_t *data[TINKER__REC_PROBE_ITEMS];
  tinker__rec_probe_make(data, NULL);
  tinker_future_t *future = tinker_trainer_forward(
      trainer, data, TINKER__REC_PROBE_ITEMS, NULL, call);
  tinker__rec_probe_free(data);
  return future;
}

tinker_future_t *tinker__rec_probe(tinker_trainer_t *trainer, uint64_t op,
                                   bool ahead) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.tag = op;
  call.ahead = ahead;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  return tinker_trainer_fingerprint(trainer, &call);
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

int tinker_future_get_fingerprint(tinker_future_t *future,
                                  float out[TINKER_FINGERPRINT_LEN]) {
  const tinker_forward_result_t *result = NULL;
  tinker_tensor_view_t view;
  float found[TINKER_FINGERPRINT_LEN];
  size_t len = 0;
  if (!out) return TINKER_EINVAL;
  int rc = tinker_future_get_forward(future, &result);
  size_t n = rc == 0 ? tinker_forward_result_count(result) : 0;
  for (size_t i = 0; i < n && rc == 0; i++) {
    rc = tinker_forward_result_tensor(result, i, "logprobs", &view);
    if (rc == 0 && (!view.f32 || view.count > TINKER_FINGERPRINT_LEN - len)) {
      rc = TINKER_ENOENT;
    }
    if (rc != 0) break;
    memcpy(found + len, view.f32, view.count * sizeof *view.f32);
    len += view.count;
  }
  if (rc == 0 && len != TINKER_FINGERPRINT_LEN) rc = TINKER_ENOENT;
  if (rc == 0) memcpy(out, found, sizeof found);
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
