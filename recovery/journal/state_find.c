/* state_find: what is in a state, by number or name. */
#include <string.h>

#include "journal/state.h"

tinker__rec_op_t *tinker__rec_state_op(const tinker__rec_state_t *s,
                                       uint64_t id) {
  TINKER__LIST_EACH(l, tmp, &s->ops) {
    tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    if (op->id == id) return op;
  }
  return NULL;
}

tinker__rec_ckpt_t *tinker__rec_state_ckpt(const tinker__rec_state_t *s,
                                           const char *name) {
  TINKER__LIST_EACH(l, tmp, &s->ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (strcmp(c->name, name) == 0) return c;
  }
  return NULL;
}

tinker__rec_past_t *tinker__rec_state_past(const tinker__rec_state_t *s,
                                           int64_t step) {
  for (size_t i = 0; i < s->past_count; i++) {
    size_t at = (s->past_at + TINKER__REC_PAST - 1 - i) % TINKER__REC_PAST;
    if (s->past[at].step == step) return &s->past[at];
  }
  return NULL;
}
