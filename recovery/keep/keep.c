/* keep: see keep.h. */
#include "keep/keep.h"

#include <math.h>

typedef struct {
  const tinker__rec_keep_policy_t *p;
  const tinker__rec_keep_facts_t *f;
  tinker__rec_keep_action_t *out;
  size_t max, count;
} plan_t;

bool tinker__rec_keep_usable(const tinker__rec_keep_ckpt_t *c, int64_t now_ms) {
  return !c->quarantined && !c->deleting && c->expires_ms > now_ms;
}

static bool usable(const plan_t *x, size_t i) {
  return tinker__rec_keep_usable(&x->f->ckpts[i], x->f->now_ms);
}

/* It may stand in for older ones: it is proven, or would be if it was asked
 * for, and will not expire soon. One whose proof has just failed is not asked
 * for now, so that an older one takes its place. */
static bool stands(const plan_t *x, size_t i, bool if_asked) {
  const tinker__rec_keep_ckpt_t *c = &x->f->ckpts[i];
  bool lasts = c->expires_ms == TINKER__REC_KEEP_NEVER ||
               c->expires_ms - x->f->now_ms > x->p->ttl_s * 1000 / 5;
  bool proven = c->validated || (if_asked && !c->later);
  return usable(x, i) && c->provable && proven && lasts;
}

static int64_t least(const plan_t *x) {
  return x->p->last > x->p->min_validated ? x->p->last : x->p->min_validated;
}

/* --- Which ones stay ------------------------------------------------------ */

/* The newest proven ones, and whatever was saved among or after them. */
static void keep_last(plan_t *x, bool if_asked) {
  int64_t seen = 0;
  for (size_t i = x->f->count; i-- > 0;) {
    tinker__rec_keep_ckpt_t *c = &x->f->ckpts[i];
    c->kept = usable(x, i) && (x->p->last == 0 || c->in_use || seen < least(x));
    if (stands(x, i, if_asked)) seen++;
  }
}

static void keep_anchors(plan_t *x) {
  bool any = false;
  int64_t part = 0;
  for (size_t i = 0; i < x->f->count; i++) {
    tinker__rec_keep_ckpt_t *c = &x->f->ckpts[i];
    if (!usable(x, i)) continue;
    if (!any && x->p->first) c->kept = true;
    any = true;
    if (c->step == x->p->final_step) c->kept = true;
    if (x->p->every_steps <= 0 || c->step / x->p->every_steps <= part) continue;
    part = c->step / x->p->every_steps;
    c->kept = true;
  }
}

/* Fewer than `best` have a lesser metric; of equals the older one is better. */
static void keep_best(plan_t *x) {
  const tinker__rec_keep_ckpt_t *all = x->f->ckpts;
  if (x->p->best <= 0) return;
  for (size_t i = 0; i < x->f->count; i++) {
    int64_t better = 0;
    if (!usable(x, i) || !isfinite(all[i].metric)) continue;
    for (size_t k = 0; k < x->f->count; k++) {
      if (k == i || !usable(x, k) || !isfinite(all[k].metric)) continue;
      better += all[k].metric < all[i].metric ||
                (k < i && all[k].metric == all[i].metric);
    }
    if (better < x->p->best) x->f->ckpts[i].kept = true;
  }
}

static void choose(plan_t *x, bool if_asked) {
  keep_last(x, if_asked);
  keep_anchors(x);
  keep_best(x);
}

/* --- What is to be done --------------------------------------------------- */

static void add(plan_t *x, tinker__rec_keep_kind_t kind, size_t i,
                int64_t seconds) {
  if (x->f->ckpts[i].busy || x->count == x->max) return;
  x->out[x->count++] = (tinker__rec_keep_action_t){kind, i, seconds};
}

/* Half of its life is over; or it seems to have more than a whole one, because
 * the clock was set back. What never expires is left so. */
static void renew(plan_t *x, size_t i) {
  const tinker__rec_keep_ckpt_t *c = &x->f->ckpts[i];
  int64_t left = c->expires_ms - x->f->now_ms, life = x->p->ttl_s * 1000;
  bool expired = !c->quarantined && !c->deleting && !usable(x, i);
  if (c->expires_ms == TINKER__REC_KEEP_NEVER || !(c->kept || expired)) return;
  if (x->p->ttl_s < 0 || c->step == x->p->final_step) {
    add(x, TINKER__REC_KEEP_RENEW, i, -1);
  } else if (left < life / 2 || left > life) {
    add(x, TINKER__REC_KEEP_RENEW, i, x->p->ttl_s);
  }
}

/* An older one could go if the newest were proven: the newest that is not is to
 * be proven. Needs `kept` as it would be then. */
static void validate(plan_t *x) {
  bool surplus = false;
  int64_t seen = 0;
  for (size_t i = 0; i < x->f->count; i++) {
    surplus |= usable(x, i) && !x->f->ckpts[i].kept;
  }
  if (!surplus || x->f->incident) return;
  for (size_t i = x->f->count; i-- > 0 && seen < least(x);) {
    if (!stands(x, i, true)) continue;
    seen++;
    if (x->f->ckpts[i].validated) continue;
    add(x, TINKER__REC_KEEP_VALIDATE, i, 0);
    return;
  }
}

/* One that was marked and is needed again stays, with its mark. */
static void dispose(plan_t *x, tinker__rec_keep_kind_t kind) {
  for (size_t i = 0; i < x->f->count && !x->f->incident; i++) {
    const tinker__rec_keep_ckpt_t *c = &x->f->ckpts[i];
    bool surplus = usable(x, i) && !c->kept;
    bool marked = c->marked_ms >= 0;
    bool due = marked && x->f->now_ms - c->marked_ms >= x->p->delay_ms;
    if (kind == TINKER__REC_KEEP_MARK && surplus && !marked) {
      add(x, kind, i, 0);
    }
    if (kind == TINKER__REC_KEEP_DELETE && ((surplus && due) || c->deleting)) {
      add(x, kind, i, 0);
    }
  }
}

size_t tinker__rec_keep_plan(const tinker__rec_keep_policy_t *p,
                             const tinker__rec_keep_facts_t *f,
                             tinker__rec_keep_action_t *out, size_t max) {
  plan_t x = {.p = p, .f = f, .out = out, .max = max};
  choose(&x, false);
  for (size_t i = 0; i < f->count; i++) renew(&x, i);
  choose(&x, true);
  validate(&x);
  choose(&x, false);
  dispose(&x, TINKER__REC_KEEP_MARK);
  dispose(&x, TINKER__REC_KEEP_DELETE);
  return x.count;
}
