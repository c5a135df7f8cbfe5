/* server_net: the tiny model of the simulated service. Float32 in a fixed
 * order, so that equal histories give equal bits. Pure. */
#include <math.h>
#include <string.h>

#include "base/map.h"
#include "sim/server_in.h"

#define HALF (SIM_VOCAB * SIM_RANK)

/* The i-th number of a stream, from -1 to below 1. */
static float draw(uint64_t seed, uint64_t stream, uint64_t i) {
  uint64_t bits = tinker__siphash(seed, stream, &i, sizeof i);
  return (float)(int32_t)(bits >> 40) / 8388608.0f - 1.0f;
}

void sim_net_init(net_t *net, int64_t rank, uint64_t seed) {
  memset(net, 0, sizeof *net);
  net->rank = rank < SIM_RANK ? (int)rank : SIM_RANK;
  for (int i = 0; i < HALF; i++) {
    if (i % SIM_RANK < net->rank) {
      net->w[i] = 0.5f * draw(seed, 1, (uint64_t)i);
    }
  }
}

static const float *base_row(int context) {
  static float base[SIM_VOCAB][SIM_VOCAB];
  static bool made;
  for (int i = 0; !made && i < SIM_VOCAB * SIM_VOCAB; i++) {
    base[i / SIM_VOCAB][i % SIM_VOCAB] = draw(7, 2, (uint64_t)i);
  }
  made = true;
  return base[context];
}

/* The probabilities of the next token; returns log of the sum of all. */
static float predict(const net_t *net, int context, float p[SIM_VOCAB]) {
  const float *base = base_row(context), *a = net->w + context * SIM_RANK;
  const float *b = net->w + HALF;
  float most = -INFINITY, sum = 0;
  for (int j = 0; j < SIM_VOCAB; j++) {
    p[j] = base[j];
    for (int r = 0; r < SIM_RANK; r++) p[j] += a[r] * b[j * SIM_RANK + r];
    if (p[j] > most) most = p[j];
  }
  for (int j = 0; j < SIM_VOCAB; j++) {
    p[j] = expf(p[j] - most);
    sum += p[j];
  }
  for (int j = 0; j < SIM_VOCAB; j++) p[j] /= sum;
  return logf(sum);
}

/* Adds the gradients of -weight * log p[target]. */
static void learn(net_t *net, int context, int target, float weight,
                  const float p[SIM_VOCAB]) {
  const float *a = net->w + context * SIM_RANK, *b = net->w + HALF;
  float *ga = net->g + context * SIM_RANK, *gb = net->g + HALF;
  for (int j = 0; j < SIM_VOCAB; j++) {
    float d = weight * (p[j] - (j == target ? 1.0f : 0.0f));
    for (int r = 0; r < net->rank; r++) {
      ga[r] += d * b[j * SIM_RANK + r];
      gb[j * SIM_RANK + r] += d * a[r];
    }
  }
}

double sim_net_pass(net_t *net, const example_t *data, size_t n, bool backward,
                    float scale) {
  float p[SIM_VOCAB];
  double loss = 0;
  for (size_t k = 0; k < n; k++) {
    const example_t *e = &data[k];
    for (size_t i = 0; i < e->n; i++) {
      predict(net, e->context[i], p);
      e->logprobs[i] = logf(p[e->target[i]]);
      e->losses[i] = -e->weights[i] * e->logprobs[i];
      loss += (double)e->losses[i];
      if (backward) {
        learn(net, e->context[i], e->target[i], scale * e->weights[i], p);
      }
    }
  }
  if (backward) net->has_grad = true;
  return loss;
}

bool sim_net_step(net_t *net, const tinker__adam_wire_t *a, bool keep,
                  double *norm) {
  double sum = 0, t = (double)(net->t + 1);
  for (int i = 0; i < SIM_WEIGHTS; i++) {
    sum += (double)net->g[i] * (double)net->g[i];
  }
  *norm = sqrt(sum);
  bool finite = isfinite(sum);
  float scale = 1, b1 = (float)a->beta1, b2 = (float)a->beta2;
  if (a->grad_clip_norm > 0 && a->grad_clip_norm < *norm) {
    scale = (float)(a->grad_clip_norm / *norm);
  }
  float c1 = (float)(1 - pow(a->beta1, t)), c2 = (float)(1 - pow(a->beta2, t));
  for (int i = 0; finite && i < SIM_WEIGHTS; i++) {
    float g = scale * net->g[i];
    net->m[i] = b1 * net->m[i] + (1 - b1) * g;
    net->v[i] = b2 * net->v[i] + (1 - b2) * g * g;
    net->w[i] -= (float)a->learning_rate * (float)a->weight_decay * net->w[i];
    net->w[i] -= (float)a->learning_rate * (net->m[i] / c1) /
                 (sqrtf(net->v[i] / c2) + (float)a->eps);
  }
  if (finite) net->t++;
  if (finite && keep) return true;
  memset(net->g, 0, sizeof net->g);
  net->has_grad = false;
  return finite;
}

void sim_net_digest(const net_t *net, unsigned char *weights,
                    unsigned char *optimizer, unsigned char *gradients) {
  struct {
    float m[SIM_WEIGHTS], v[SIM_WEIGHTS];
    int64_t t;
  } adam;
  memcpy(adam.m, net->m, sizeof adam.m);
  memcpy(adam.v, net->v, sizeof adam.v);
  adam.t = net->t;
  tinker__sha256(net->w, sizeof net->w, weights);
  tinker__sha256(&adam, sizeof adam, optimizer);
  if (gradients) tinker__sha256(net->g, sizeof net->g, gradients);
}
