/* keep: which checkpoints of a run stay, and what has to be done for that: give
 * one more time to live, prove one by a load, mark one that is not needed, and
 * later delete it. Pure: facts go in, actions are returned, and whoever carries
 * them out journals each of them first. Called again with what has changed, it
 * names what is still to be done, so a lost action costs nothing.
 *
 * Invariants. Nothing is deleted while an incident is open, nor what the active
 * epoch was loaded from, nor before newer ones were proven in its place, as
 * many as the policy keeps and never fewer than min_validated. A checkpoint
 * that was refused or cut off is left alone. One that is marked is a checkpoint
 * as before until its deletion begins: a recovery may still need it. */
#ifndef TINKER_RECOVERY_KEEP_KEEP_H
#define TINKER_RECOVERY_KEEP_KEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TINKER__REC_KEEP_NEVER INT64_MAX /* of a time: it does not expire */

typedef struct tinker__rec_keep_policy_s {
  int64_t last; /* newest proven ones that stay; 0 = nothing is deleted */
  int64_t min_validated;
  int64_t every_steps; /* the first after each so many steps stays; 0 = none */
  int64_t best;        /* so many of the least metric stay */
  bool first;          /* the oldest stays */
  int64_t final_step;  /* of the last step, stays for good; -1 = none */
  int64_t ttl_s;       /* time to live; -1 = without an end */
  int64_t delay_ms;    /* from the mark to the deletion */
} tinker__rec_keep_policy_t;

typedef struct tinker__rec_keep_ckpt_s {
  int64_t step;
  int64_t expires_ms; /* or TINKER__REC_KEEP_NEVER */
  int64_t marked_ms;  /* when it was marked; -1 = it is not */
  double metric;      /* not finite = it has none */
  bool provable;      /* it has a fingerprint */
  bool validated;     /* a load has shown what was saved */
  bool quarantined;
  bool in_use;   /* the active epoch was loaded from it */
  bool deleting; /* its deletion was journaled */
  bool busy;     /* an action for it is under way */
  bool later;    /* its proof has failed, and is tried again later */
  bool kept;     /* written: it stays */
} tinker__rec_keep_ckpt_t;

/* What is there, in the order in which it was saved. What is known to be gone
 * is left out. */
typedef struct tinker__rec_keep_facts_s {
  tinker__rec_keep_ckpt_t *ckpts;
  size_t count;
  int64_t now_ms;
  bool incident; /* one is open */
} tinker__rec_keep_facts_t;

typedef enum {
  TINKER__REC_KEEP_RENEW,
  TINKER__REC_KEEP_VALIDATE,
  TINKER__REC_KEEP_MARK,
  TINKER__REC_KEEP_DELETE
} tinker__rec_keep_kind_t;

typedef struct tinker__rec_keep_action_s {
  tinker__rec_keep_kind_t kind;
  size_t index;    /* of the checkpoint */
  int64_t seconds; /* of RENEW; -1 = without an end */
} tinker__rec_keep_action_t;

/* Writes the first `max` actions, in the order in which they are to be done,
 * and returns how many. */
size_t tinker__rec_keep_plan(const tinker__rec_keep_policy_t *p,
                             const tinker__rec_keep_facts_t *f,
                             tinker__rec_keep_action_t *out, size_t max);

/* A recovery may load it: it is neither refused, nor being deleted, nor
 * expired. */
bool tinker__rec_keep_usable(const tinker__rec_keep_ckpt_t *c, int64_t now_ms);

#endif
