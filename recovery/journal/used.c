/* used: see used.h. */
#include "journal/used.h"

#include <string.h>
#include <tinker/error.h>

tinker__rec_used_t *tinker__rec_used_find(const tinker__link_t *list,
                                          int64_t epoch) {
  TINKER__LIST_EACH(l, tmp, list) {
    tinker__rec_used_t *u = TINKER__CONTAINER(l, tinker__rec_used_t, link);
    if (u->epoch == epoch) return u;
  }
  return NULL;
}

static int set_text(tinker__mem_t *mem, char **to, tinker__str_t text) {
  if (*to && !text.len) return 0;
  char *copy = tinker__mem_strndup(mem, text.len ? text.ptr : "", text.len);
  if (!copy) return TINKER_ENOMEM;
  tinker__mem_free(mem, *to);
  *to = copy;
  return 0;
}

static void used_free(tinker__rec_used_t *u, tinker__mem_t *mem) {
  tinker__list_remove(&u->link);
  tinker__mem_free(mem, u->nonce);
  tinker__mem_free(mem, u->model);
  tinker__mem_free(mem, u);
}

int tinker__rec_used_add(tinker__link_t *list, tinker__mem_t *mem,
                         int64_t epoch, tinker__str_t nonce,
                         tinker__str_t model) {
  tinker__rec_used_t *u = tinker__rec_used_find(list, epoch);
  bool added = !u;
  if (!u) {
    u = tinker__mem_zalloc(mem, sizeof *u);
    if (!u) return TINKER_ENOMEM;
    u->epoch = epoch;
    tinker__list_push_back(list, &u->link);
  }
  int rc = set_text(mem, &u->nonce, nonce);
  if (rc == 0) rc = set_text(mem, &u->model, model);
  if (rc != 0 && added) used_free(u, mem);
  return rc;
}

void tinker__rec_used_free(tinker__link_t *list, tinker__mem_t *mem) {
  TINKER__LIST_EACH(l, tmp, list) {
    used_free(TINKER__CONTAINER(l, tinker__rec_used_t, link), mem);
  }
}

tinker__rec_orphan_t *tinker__rec_orphan_find(const tinker__link_t *list,
                                              tinker__str_t model) {
  TINKER__LIST_EACH(l, tmp, list) {
    tinker__rec_orphan_t *o = TINKER__CONTAINER(l, tinker__rec_orphan_t, link);
    if (tinker__str_eqs(model, o->model)) return o;
  }
  return NULL;
}

static void orphan_free(tinker__rec_orphan_t *o, tinker__mem_t *mem) {
  tinker__list_remove(&o->link);
  tinker__mem_free(mem, o->model);
  tinker__mem_free(mem, o);
}

int tinker__rec_orphan_add(tinker__link_t *list, tinker__mem_t *mem,
                           tinker__str_t model, bool cleared) {
  tinker__rec_orphan_t *o = tinker__rec_orphan_find(list, model);
  if (!o) {
    o = tinker__mem_zalloc(mem, sizeof *o);
    if (!o) return TINKER_ENOMEM;
    tinker__list_push_back(list, &o->link);
    if (set_text(mem, &o->model, model) != 0) {
      orphan_free(o, mem);
      return TINKER_ENOMEM;
    }
  }
  o->cleared |= cleared;
  return 0;
}

void tinker__rec_orphans_free(tinker__link_t *list, tinker__mem_t *mem) {
  TINKER__LIST_EACH(l, tmp, list) {
    orphan_free(TINKER__CONTAINER(l, tinker__rec_orphan_t, link), mem);
  }
}
