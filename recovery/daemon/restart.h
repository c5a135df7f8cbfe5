/* restart: what becomes of a trainer: one table of states and events, and how
 * long a restart waits. Pure: time and chance are given.
 *
 * Deaths without progress are counted; a step that was committed since the
 * death before begins the count anew. The first restart is at once, later ones
 * wait with full jitter. */
#ifndef TINKER_RECOVERY_DAEMON_RESTART_H
#define TINKER_RECOVERY_DAEMON_RESTART_H

#include <stdbool.h>
#include <stdint.h>

/* Exit codes with a meaning, of trainers and of the daemon itself. */
enum { TINKER__REC_EXIT_EXHAUSTED = 75, TINKER__REC_EXIT_STOPPED = 93 };

typedef enum {
  TINKER__REC_TRAINER_WAITING, /* a start is due at at_ms */
  TINKER__REC_TRAINER_RUNNING,
  TINKER__REC_TRAINER_ENDING, /* asked to end; to be killed at at_ms */
  TINKER__REC_TRAINER_KILLED, /* its end is awaited */
  TINKER__REC_TRAINER_HELD,   /* by an operator */
  TINKER__REC_TRAINER_FINISHED,
  TINKER__REC_TRAINER_STOPPED,   /* it needs somebody */
  TINKER__REC_TRAINER_EXHAUSTED, /* too many deaths without progress */
  TINKER__REC_TRAINER_LEFT,      /* the daemon ends; the next one goes on */
  TINKER__REC_TRAINER_STATES
} tinker__rec_trainer_state_t;

typedef enum {
  TINKER__REC_ON_TICK, /* at_ms may have come */
  TINKER__REC_ON_HANG,
  TINKER__REC_ON_HOLD, /* words of an operator */
  TINKER__REC_ON_RELEASE,
  TINKER__REC_ON_STOP,
  TINKER__REC_ON_LEAVE,
  TINKER__REC_ON_EVENTS
} tinker__rec_trainer_event_t;

typedef enum {
  TINKER__REC_DO_NOTHING,
  TINKER__REC_DO_START,
  TINKER__REC_DO_TERM,
  TINKER__REC_DO_KILL
} tinker__rec_trainer_act_t;

typedef struct tinker__rec_restart_policy_s {
  int64_t max_restarts;    /* without progress */
  int64_t base_ms, cap_ms; /* of the wait before the second of them, and most */
  double factor;           /* of each later one, 1 or more */
  bool jitter;             /* anything up to it, else it */
  int64_t grace_ms;        /* between TERM and KILL */
  int64_t stopped_code, exhausted_code; /* of trainers that give up */
} tinker__rec_restart_policy_t;

#define TINKER__REC_RESTART_POLICY_INIT                                        \
  {                                                                            \
    3, 1000, 300000, 2, true, 15000, TINKER__REC_EXIT_STOPPED,                 \
        TINKER__REC_EXIT_EXHAUSTED                                             \
  }

typedef struct tinker__rec_restart_s {
  tinker__rec_trainer_state_t state;
  tinker__rec_trainer_state_t then; /* of ENDING and KILLED: what follows */
  int64_t at_ms;
  int64_t fruitless;        /* deaths without progress in between */
  int64_t early;            /* of these: ends with 0 before the last step */
  int64_t epoch, committed; /* how far the run was at the last death */
} tinker__rec_restart_t;

/* How a process ended. */
typedef struct tinker__rec_end_s {
  bool known; /* false: of a process that is not our child */
  int signal; /* 0 = it exited */
  int code;
} tinker__rec_end_t;

/* How far the run's journal says that it is. */
typedef struct tinker__rec_reach_s {
  bool readable; /* false: nothing else is known */
  bool finished, stopped;
  int64_t epoch; /* 0 = it has no model yet */
  int64_t from_step, committed;
  int64_t target; /* -1 = it has no last step */
} tinker__rec_reach_t;

const char *tinker__rec_trainer_state_name(tinker__rec_trainer_state_t s);
/* Is there a process? */
bool tinker__rec_restart_alive(const tinker__rec_restart_t *r);
/* Is there nothing left to do, whatever time it is? */
bool tinker__rec_restart_over(const tinker__rec_restart_t *r);

void tinker__rec_restart_init(tinker__rec_restart_t *r, int64_t now_ms);
/* Folds an event; the caller carries out what is returned. */
tinker__rec_trainer_act_t
tinker__rec_restart_on(tinker__rec_restart_t *r,
                       const tinker__rec_restart_policy_t *p,
                       tinker__rec_trainer_event_t event, int64_t now_ms);
/* The process has ended. random: any. */
void tinker__rec_restart_died(tinker__rec_restart_t *r,
                              const tinker__rec_restart_policy_t *p,
                              const tinker__rec_end_t *end,
                              const tinker__rec_reach_t *reach, int64_t now_ms,
                              uint64_t random);

#endif
