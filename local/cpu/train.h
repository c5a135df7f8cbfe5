/* train: an adapter being trained, and a pass (forward_backward) under way.
 *
 * Runs on the engine thread. Weights, gradients and moments have the shape of
 * the adapter's layout. One pass that collects gradients at a time; it keeps
 * what is needed to put the gradients back as they were. */
#ifndef TINKER_LOCAL_CPU_TRAIN_H
#define TINKER_LOCAL_CPU_TRAIN_H

#include "cpu/loss.h"

struct tinker__train_s {
  tinker__base_t *base; /* a reference */
  tinker__lora_t *lora; /* a reference */
  tinker__adapter_t *current;
  float *g, *m, *v; /* [lora->floats]; g is zero when !has_grad */
  bool has_grad;
  bool busy; /* a pass collects gradients */
  uint64_t step;
};

int tinker__train_new(tinker__base_t *b, const tinker__lora_config_t *config,
                      tinker__train_t **out, char *why, size_t why_len);
/* The same with undefined weights: loading fills them. */
int tinker__train_blank(tinker__base_t *b, const tinker__lora_config_t *config,
                        tinker__train_t **out, char *why, size_t why_len);
void tinker__train_free(tinker__train_t *t);
void tinker__train_config(const tinker__train_t *t, tinker__lora_config_t *out);
bool tinker__train_has_grad(const tinker__train_t *t);
/* 0 or TINKER_EINVAL. */
int tinker__lora_check(const tinker__lora_config_t *config, char *why,
                       size_t why_len);

int tinker__pass_begin(tinker__train_t *t, const tinker__train_datum_t *data,
                       size_t n, const tinker__loss_config_t *loss,
                       bool forward_only, tinker__pass_t **out, char *why,
                       size_t why_len);
int tinker__pass_step(tinker__pass_t *p, const atomic_bool *cancel, char *why,
                      size_t why_len);
double tinker__pass_loss(const tinker__pass_t *p);
void tinker__pass_end(tinker__pass_t *p);

int tinker__optim_step(tinker__train_t *t, const tinker__optim_params_t *params,
                       tinker__optim_metrics_t *out, char *why, size_t why_len);

#endif
