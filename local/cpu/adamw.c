/* adamw: the optimizer step, PyTorch's AdamW with decoupled decay. Engine
 * thread, with elements spread over the pool. A step goes over all elements
 * several times, in their order, a stretch in each call. Where a call ends
 * changes no bit. */
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"

/* Elements whose squares are summed in float before they go into the double
 * chain of the norm. */
#define NORM_BLOCK 256
/* An element takes about as long as so many multiply-adds, because five arrays
 * are read from memory or written for it. */
#define ELEMENT_COST 64

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
  /* With eps 0 an entry whose gradient has always been zero, like all of A in
   * the first step, would become 0 / 0. */
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

static double norm2(const tinker__cpu_kernels_t *ks, const float *g, size_t n,
                    double sum) {
  for (size_t i = 0; i < n; i += NORM_BLOCK) {
    size_t len = n - i < NORM_BLOCK ? n - i : NORM_BLOCK;
    sum += (double)ks->sumsq(g + i, len);
  }
  return sum;
}

/* Sums the squares in double, for gradients whose squares are past the range of
 * a float. The sum is infinite or NaN if an element is. */
static double careful_norm2(const float *g, size_t n, double sum) {
  for (size_t i = 0; i < n; i++) sum += (double)g[i] * (double)g[i];
  return sum;
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

/* 1 - beta^t */
static float bias(double beta, uint64_t t) {
  return beta == 0 ? 1.0f : (float)(1.0 - tinker__cpu_pow(beta, (double)t));
}

/* Updates elements [at, at + n) of the next version. */
static void apply(tinker__eng_train_t *t, const tinker__eng_optim_params_t *p,
                  size_t n) {
  tinker__engine_t *e = t->base->engine;
  size_t at = t->optim.at;
  bool clip = p->grad_clip_norm > 0;
  double factor = clip ? p->grad_clip_norm / (sqrt(t->optim.sum) + 1e-6) : 1.0;
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
      .p = t->optim.next->w + at,
      .m = t->m + at,
      .v = t->v + at,
      .g = t->g + at,
  };
  memcpy(j.p, t->current->w + at, n * sizeof(float));
  tinker__cpu_rows_run(e, n, 4, update, &j);
}

/* How many elements the next piece takes: whole blocks of the norm. */
static size_t stretch(const tinker__eng_train_t *t) {
  size_t left = t->lora->floats - t->optim.at;
  uint64_t n =
      (t->base->engine->piece / ELEMENT_COST / NORM_BLOCK + 1) * NORM_BLOCK;
  return n < left ? (size_t)n : left;
}

static int start_update(tinker__eng_train_t *t, char *why, size_t why_len) {
  if (!isfinite(t->optim.sum)) {
    t->optim.stage = TINKER__OPTIM_CLEAR;
    return 0;
  }
  t->optim.stage = TINKER__OPTIM_IDLE;
  int rc = tinker__cpu_adapter_new(&t->optim.next, t->lora);
  if (rc) return tinker__why(why, why_len, rc, "no memory for the weights");
  t->optim.stage = TINKER__OPTIM_UPDATE;
  return 0;
}

static void publish(tinker__eng_train_t *t, bool keep_grad) {
  tinker__cpu_adapter_release(t->current);
  t->current = t->optim.next;
  t->optim.next = NULL;
  t->step++;
  t->optim.stage = keep_grad ? TINKER__OPTIM_IDLE : TINKER__OPTIM_CLEAR;
}

/* Called when all elements have passed a stage. Begins the next one. */
static int next_stage(tinker__eng_train_t *t,
                      const tinker__eng_optim_params_t *p, char *why,
                      size_t why_len) {
  tinker__cpu_optim_t *o = &t->optim;
  o->at = 0;
  switch (o->stage) {
  case TINKER__OPTIM_NORM:
    if (isfinite(o->sum)) return start_update(t, why, why_len);
    o->sum = 0;
    o->stage = TINKER__OPTIM_CAREFUL;
    break;
  case TINKER__OPTIM_CAREFUL: return start_update(t, why, why_len);
  case TINKER__OPTIM_UPDATE: publish(t, p->keep_grad); break;
  default: t->has_grad = false; o->stage = TINKER__OPTIM_IDLE;
  }
  return 0;
}

/* Does the present stage for a stretch of elements. */
static int advance(tinker__eng_train_t *t, const tinker__eng_optim_params_t *p,
                   char *why, size_t why_len) {
  tinker__cpu_optim_t *o = &t->optim;
  size_t n = stretch(t);
  const float *g = t->g + o->at;
  switch (o->stage) {
  case TINKER__OPTIM_NORM:
    o->sum = norm2(t->base->engine->ks, g, n, o->sum);
    break;
  case TINKER__OPTIM_CAREFUL: o->sum = careful_norm2(g, n, o->sum); break;
  case TINKER__OPTIM_UPDATE: apply(t, p, n); break;
  default: memset(t->g + o->at, 0, n * sizeof(float));
  }
  o->at += n;
  return o->at < t->lora->floats ? 0 : next_stage(t, p, why, why_len);
}

static int start(tinker__eng_train_t *t,
                 const tinker__eng_optim_params_t *params, char *why,
                 size_t why_len) {
  int rc = check(params, why, why_len);
  if (rc) return rc;
  if (t->busy) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "a pass is collecting gradients");
  }
  t->optim = (tinker__cpu_optim_t){.stage = TINKER__OPTIM_NORM};
  return 0;
}

int tinker__cpu_optim_step(tinker__eng_train_t *t,
                           const tinker__eng_optim_params_t *params,
                           tinker__eng_optim_metrics_t *out, char *why,
                           size_t why_len) {
  tinker__cpu_optim_t *o = &t->optim;
  int rc = 0;
  if (o->stage == TINKER__OPTIM_IDLE) rc = start(t, params, why, why_len);
  /* A small state goes through all stages in one call. */
  for (size_t done = 0, n; !rc && o->stage != TINKER__OPTIM_IDLE; done += n) {
    n = stretch(t);
    if (done && done + n > t->base->engine->piece / ELEMENT_COST) return 1;
    rc = advance(t, params, why, why_len);
  }
  if (rc) return rc;
  if (!isfinite(o->sum)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "NonFiniteInTensor: gradient: not finite; weights "
                       "unchanged, gradients cleared");
  }
  *out =
      (tinker__eng_optim_metrics_t){.grad_norm = sqrt(o->sum), .step = t->step};
  return 0;
}
