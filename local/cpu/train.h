/* train: an adapter being trained, and a pass (forward_backward) under way.
 *
 * Runs on the engine thread. Weights, gradients and moments have the shape of
 * the adapter's layout. At most one pass collects gradients at a time; it keeps
 * a copy of the gradients before it, to restore them if it fails. */
#ifndef TINKER_LOCAL_CPU_TRAIN_H
#define TINKER_LOCAL_CPU_TRAIN_H

#include "cpu/loss.h"

/* The stages of an optimizer step. All elements pass one before the next
 * begins. */
typedef enum {
  TINKER__OPTIM_IDLE,
  TINKER__OPTIM_NORM,
  TINKER__OPTIM_CAREFUL, /* the norm again, in double */
  TINKER__OPTIM_UPDATE,  /* m, v and next are partly updated */
  TINKER__OPTIM_CLEAR    /* gradients are cleared: used, or one not finite */
} tinker__cpu_optim_stage_t;

typedef struct tinker__cpu_optim_s {
  tinker__cpu_optim_stage_t stage;
  size_t at;                   /* elements that have passed the stage */
  double sum;                  /* of squares */
  tinker__eng_adapter_t *next; /* NULL before the update and after it */
} tinker__cpu_optim_t;

struct tinker__eng_train_s {
  tinker__eng_base_t *base; /* a reference */
  tinker__cpu_lora_t *lora; /* a reference */
  tinker__eng_adapter_t *current;
  float *g, *m, *v; /* [lora->floats]; g is zero when !has_grad */
  bool has_grad;
  bool busy; /* a pass collects gradients */
  uint64_t step;
  tinker__cpu_optim_t optim;
};

int tinker__cpu_train_new(tinker__eng_base_t *b,
                          const tinker__eng_lora_config_t *config,
                          tinker__eng_train_t **out, char *why, size_t why_len);
/* Makes a state with undefined weights, which loading fills. */
int tinker__cpu_train_blank(tinker__eng_base_t *b,
                            const tinker__eng_lora_config_t *config,
                            tinker__eng_train_t **out, char *why,
                            size_t why_len);
void tinker__cpu_train_free(tinker__eng_train_t *t);
void tinker__cpu_train_config(const tinker__eng_train_t *t,
                              tinker__eng_lora_config_t *out);
bool tinker__cpu_train_has_grad(const tinker__eng_train_t *t);
/* The alpha of every train state. */
#define TINKER__LORA_ALPHA 32.0
/* 0 or TINKER_EINVAL. */
int tinker__cpu_lora_check(const tinker__eng_lora_config_t *config, char *why,
                           size_t why_len);

/* train_bytes and pass_bytes of engine.h. Any thread, since they change no
 * reference count. */
uint64_t tinker__cpu_train_bytes(const tinker__eng_base_t *b,
                                 const tinker__eng_lora_config_t *config);
uint64_t tinker__cpu_pass_bytes(const tinker__eng_base_t *b,
                                const tinker__eng_lora_config_t *config,
                                const tinker__eng_train_datum_t *data, size_t n,
                                bool forward_only);

int tinker__cpu_pass_begin(tinker__eng_train_t *t,
                           const tinker__eng_train_datum_t *data, size_t n,
                           const tinker__eng_loss_config_t *loss,
                           bool forward_only, tinker__eng_pass_t **out,
                           char *why, size_t why_len);
int tinker__cpu_pass_step(tinker__eng_pass_t *p, const atomic_bool *cancel,
                          char *why, size_t why_len);
double tinker__cpu_pass_loss(const tinker__eng_pass_t *p);
void tinker__cpu_pass_end(tinker__eng_pass_t *p);

int tinker__cpu_optim_step(tinker__eng_train_t *t,
                           const tinker__eng_optim_params_t *params,
                           tinker__eng_optim_metrics_t *out, char *why,
                           size_t why_len);

#endif
