/* compound: an operation that is several of the flow's, its children, under one
 * future, their parent.
 *
 * The children have futures like any other, which nobody sees: they have no
 * callback, tinker_client_next does not return them, and their end is reported
 * to the compound alone. Cancel, deadline and close reach them through it; the
 * getters of results look into them. It settles its future once, when it knows
 * enough.
 *
 * It belongs to its future, and each child that runs holds a reference to that.
 * All children are made with the compound, so that nothing is allocated later.
 * It is built on the caller's thread; then it is the home loop's, that of its
 * future's client, but for `ended`, which runs on the child's loop. */
#ifndef TINKER_API_COMPOUND_H
#define TINKER_API_COMPOUND_H

#include "api/job.h"

typedef struct tinker__compound_s tinker__compound_t;

typedef struct tinker__child_s {
  tinker__compound_t *compound;
  tinker_future_t *future; /* a reference */
  tinker__op_t *op;        /* until it is submitted */
  tinker__task_t ended;    /* to the home loop: the kind's business */
} tinker__child_t;

typedef struct tinker__compound_ops_s {
  /* All children are submitted with it, in this order, and no other operation
   * of the client comes between. Else `begin` submits them. */
  bool together;
  /* The first thing on the home loop. May be NULL. */
  void (*begin)(tinker__compound_t *compound);
  /* A child has settled; on its loop, inside its flow. */
  void (*ended)(tinker__child_t *child);
  /* Ends the waiting with this code: cancel, deadline, close. Only while its
   * future is pending. */
  void (*stop)(tinker__compound_t *compound, int code, const char *why);
  void (*free)(tinker__compound_t *compound); /* what it has of its own; or NULL
                                               */
} tinker__compound_ops_t;

struct tinker__compound_s {
  const tinker__compound_ops_t *ops;
  tinker_future_t *future; /* not counted */
  tinker__link_t link;     /* among those that a drain has to wait for */
  tinker__task_t begin;
  tinker__timer_t deadline;
  int64_t deadline_ms; /* -1 = none */
  int64_t timeout_ms;  /* until it, from the call on; for people */
  void *user;          /* the kind's business */
  /* The child whose result is the compound's; NULL = all of them are. */
  const tinker__child_t *chosen;
  size_t count;
  tinker__child_t children[];
};

static inline tinker__compound_t *
tinker__compound_of(const tinker_future_t *f) {
  return tinker__job_of(f)->compound;
}

/* Makes a future a compound without children, with room for so many. NULL
 * without memory. */
tinker__compound_t *tinker__compound_new(tinker_future_t *future,
                                         const tinker__compound_ops_t *ops,
                                         size_t room);
/* Adds a child, an operation of `core`. NULL without memory. */
tinker__op_t *tinker__compound_add(tinker__compound_t *compound,
                                   tinker_client_t *core, tinker__turn_t *turn,
                                   const tinker__kind_t *kind,
                                   const tinker__future_ops_t *result,
                                   size_t parts);
/* Sends a child's operation on its way. 0, or what tinker__driver_submit
 * says: then it has not begun. Any thread. */
int tinker__compound_start(tinker__child_t *child);
/* The end of a child's future, whose reference is given away. */
void tinker__compound_child_ended(tinker_future_t *future);
/* Ends the compound with error, whose reference is given away, or NULL, and
 * reports it. */
void tinker__compound_settle(tinker__compound_t *compound,
                             tinker_error_t *error);
/* Ends the waiting, unless it has ended. */
void tinker__compound_stop(tinker__compound_t *compound, int code,
                           const char *why);
/* The future that has a result of this kind: f itself or a child; else NULL. */
tinker_future_t *tinker__compound_find(tinker_future_t *f,
                                       const tinker__future_ops_t *kind);
/* The first child that has not ended; f itself if it has none or all have.
 * Any thread. */
tinker_future_t *tinker__compound_running(tinker_future_t *f);
/* promise.c: its name; NULL of one that is not a promise. */
const char *tinker__promise_name(const tinker__compound_t *compound);
/* Frees what a future has of it. NULL allowed. */
void tinker__compound_free(tinker__compound_t *compound, tinker__mem_t *mem);

#endif
