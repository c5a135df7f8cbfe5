/* used: the epochs that a journal knows of, whatever became of them, and the
 * models that it knows not to be its own. By the nonce of an epoch, which is
 * attached to all that is made in it, a run tells what it finds at the service:
 * its own, what an attempt has left, and what another journal has made. Part of
 * the state (state.h); pure. */
#ifndef TINKER_RECOVERY_JOURNAL_USED_H
#define TINKER_RECOVERY_JOURNAL_USED_H

#include <stdbool.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__rec_used_s {
  tinker__link_t link;
  int64_t epoch;
  char *nonce; /* "" = it was begun before there were any */
  char *model; /* "" = it has never become active */
} tinker__rec_used_t;

/* A model that was made for an epoch and never became the run's. */
typedef struct tinker__rec_orphan_s {
  tinker__link_t link;
  bool cleared; /* its session was finished */
  char *model;
} tinker__rec_orphan_t;

/* NULL = the journal has not begun it. */
tinker__rec_used_t *tinker__rec_used_find(const tinker__link_t *list,
                                          int64_t epoch);
/* It was begun, or has become active; empty texts change nothing. 0 or
 * TINKER_ENOMEM. */
int tinker__rec_used_add(tinker__link_t *list, tinker__mem_t *mem,
                         int64_t epoch, tinker__str_t nonce,
                         tinker__str_t model);
void tinker__rec_used_free(tinker__link_t *list, tinker__mem_t *mem);

/* NULL = it was not found yet. */
tinker__rec_orphan_t *tinker__rec_orphan_find(const tinker__link_t *list,
                                              tinker__str_t model);
/* 0 or TINKER_ENOMEM. */
int tinker__rec_orphan_add(tinker__link_t *list, tinker__mem_t *mem,
                           tinker__str_t model, bool cleared);
void tinker__rec_orphans_free(tinker__link_t *list, tinker__mem_t *mem);

#endif
