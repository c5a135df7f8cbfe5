/* adamw: the optimizer step. Engine thread, elements spread over the pool;
 * PyTorch's AdamW with decoupled decay. */
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"

/* Elements whose squares are summed in float before they go into the double
 * chain of the norm. */
#define NORM_BLOCK 256

static int check(const tinker__eng_optim_params_t *p, char *why,
                 size_t why_len) {
  const struct {
    const char *name;
    double value, low, high;
  } fields[] = {{"learning_rate", p->learning_rate, 0, 1e30},
                {"beta1", p->beta1, 0, 1},
                {"beta2", p->beta2, 0, 1},
                {"eps", p->eps, 0, 1e30},
                {"weight_decay", p->weight_decay, 0, 1e30}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    /* The negated form also catches NaN. */
    if (!(fields[i].value >= fields[i].low &&
          fields[i].value < fields[i].high)) {
      return tinker__why(why, why_len, TINKER_EINVAL, "%s: out of range",
                         fields[i].name);
    }
  }
  /* Entries whose gradient has always been zero, as A's in the first step,
   * would become 0 / 0. */
  if ((float)p->eps <= 0.0f) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "eps: must be above zero in float32");
  }
  if (isnan(p->grad_clip_norm)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "grad_clip_norm: not a number");
  }
  return 0;
}

/* Squares past the range of a float: again in double. Infinite or NaN when
 * an element is. */
static double careful_norm2(const float *g, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)g[i] * (double)g[i];
  return sum;
}

static double norm2(const tinker__cpu_kernels_t *ks, const float *g, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i += NORM_BLOCK) {
    size_t len = n - i < NORM_BLOCK ? n - i : NORM_BLOCK;
    sum += (double)ks->sumsq(g + i, len);
  }
  return isfinite(sum) ? sum : careful_norm2(g, n);
}

typedef struct {
  const tinker__cpu_kernels_t *ks;
  tinker__cpu_adamw_t args;
  float *p, *m, *v;
  const float *g;
} job_t;

static void update(void *arg, size_t first, size_t n, unsigned worker) {
  const job_t *j = arg;
  (void)worker;
  j->ks->adamw(j->p + first, j->m + first, j->v + first, j->g + first, n,
               &j->args);
}

/* 1 - beta^t. */
static float bias(double beta, uint64_t t) {
  return beta == 0 ? 1.0f : (float)(1.0 - tinker__cpu_pow(beta, (double)t));
}

static void apply(tinker__eng_train_t *t, tinker__eng_adapter_t *next,
                  const tinker__eng_optim_params_t *p, double norm) {
  tinker__engine_t *e = t->base->engine;
  bool clip = p->grad_clip_norm > 0;
  double factor = clip ? p->grad_clip_norm / (norm + 1e-6) : 1.0;
  job_t j = {
      .ks = e->ks,
      .args = {.lr = (float)p->learning_rate,
               .beta1 = (float)p->beta1,
               .beta2 = (float)p->beta2,
               .eps = (float)p->eps,
               .weight_decay = (float)p->weight_decay,
               .grad_scale = factor < 1.0 ? (float)factor : 1.0f,
               .bias1 = bias(p->beta1, t->step + 1),
               .bias2 = bias(p->beta2, t->step + 1)},
      .p = next->w,
      .m = t->m,
      .v = t->v,
      .g = t->g,
  };
  memcpy(next->w, t->current->w, t->lora->floats * sizeof(float));
  tinker__cpu_rows_run(e, t->lora->floats, 4, update, &j);
  tinker__cpu_adapter_release(t->current);
  t->current = next;
  t->step++;
}

static void clear(tinker__eng_train_t *t) {
  memset(t->g, 0, t->lora->floats * sizeof(float));
  t->has_grad = false;
}

int tinker__cpu_optim_step(tinker__eng_train_t *t,
                           const tinker__eng_optim_params_t *params,
                           tinker__eng_optim_metrics_t *out, char *why,
                           size_t why_len) {
  tinker__eng_adapter_t *next = NULL;
  int rc = check(params, why, why_len);
  if (rc) return rc;
  if (t->busy) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "a pass is collecting gradients");
  }
  double norm = sqrt(norm2(t->base->engine->ks, t->g, t->lora->floats));
  if (!isfinite(norm)) {
    clear(t);
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "NonFiniteInTensor: gradient: not finite; weights "
                       "unchanged, gradients cleared");
  }
  rc = tinker__cpu_adapter_new(&next, t->lora);
  if (rc) return tinker__why(why, why_len, rc, "no memory for the weights");
  apply(t, next, params, norm);
  if (!params->keep_grad) clear(t);
  *out = (tinker__eng_optim_metrics_t){.grad_norm = norm, .step = t->step};
  return 0;
}
