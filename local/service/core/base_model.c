/* base_model: see base_model.h. */
#include "service/core/base_model.h"

#include <string.h>

#include <tinker/error.h>

#include "service/core/core.h"

tinker__svc_base_model_t *tinker__svc_base_find(tinker__svc_t *s,
                                                tinker__str_t name) {
  for (size_t i = 0; i < s->n_bases; i++) {
    if (tinker__str_eqs(name, s->bases[i].name)) return &s->bases[i];
  }
  return NULL;
}

bool tinker__svc_base_same(const tinker__svc_base_model_t *a,
                           const tinker__svc_base_model_t *b) {
  const char *x = a->info.digest, *y = b->info.digest;
  return a == b || (x && y && strcmp(x, y) == 0);
}

int tinker__svc_base_usable(const tinker__svc_base_model_t *b, char *why,
                            size_t why_len) {
  switch (b->state) {
  case TINKER__BASE_LOADED: return 0;
  case TINKER__BASE_LOADING:
    return tinker__why(why, why_len, TINKER_EBUSY,
                       "base_model '%s' is being loaded", b->name);
  case TINKER__BASE_LEAVING:
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "base_model '%s' is not served here any more", b->name);
  default:
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "base_model '%s' is not served here at present",
                       b->name);
  }
}

bool tinker__svc_base_move(tinker__svc_base_model_t *b,
                           tinker__svc_base_state_t to) {
  static const bool moves[4][4] = {
      [TINKER__BASE_ABSENT][TINKER__BASE_LOADING] = true,
      [TINKER__BASE_LOADING][TINKER__BASE_ABSENT] = true,
      [TINKER__BASE_LOADING][TINKER__BASE_LOADED] = true,
      [TINKER__BASE_LOADED][TINKER__BASE_LEAVING] = true,
      [TINKER__BASE_LEAVING][TINKER__BASE_LOADED] = true,
      [TINKER__BASE_LEAVING][TINKER__BASE_ABSENT] = true};
  if (!moves[b->state][to]) return false;
  b->state = to;
  return true;
}

void tinker__svc_base_leave(tinker__svc_base_model_t *b) {
  tinker__svc_t *s = b->service;
  if (b->state != TINKER__BASE_LEAVING || b->refs) return;
  if (s->stopping || !s->scheduler) return; /* the stop unloads it */
  tinker__eng_scheduler_push(s->scheduler, &b->task);
}

void tinker__svc_base_hold(tinker__svc_base_model_t *b, bool *holds) {
  if (*holds) return;
  *holds = true;
  b->refs++;
}

void tinker__svc_base_drop(tinker__svc_base_model_t *b, bool *holds) {
  if (!*holds) return;
  *holds = false;
  b->refs--;
  tinker__svc_base_leave(b);
}
