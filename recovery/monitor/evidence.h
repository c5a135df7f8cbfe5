/* evidence: what is known of a model's health at the service, and what follows
 * from it. Pure: observations in, a state out, and when to look again. No
 * function here reads a clock, and the wall clock is no input at all.
 *
 * An observation is good, bad, or says nothing (UNKNOWN): the network is gone,
 * the key is refused, a portal answers. What says nothing is never a reason for
 * an incident; it only lets what is known grow old. An incident needs two bad
 * observations: of two sources within confirm_ms, or two readings of the run's
 * record. A model that was shown as corrupted stays suspect for as long as it
 * is used, and the second sighting counts whenever it is made.
 *
 * Nobody judges across a gap: when the service was not seen for a while, or the
 * machine has slept, all that was known before is void. */
#ifndef TINKER_RECOVERY_MONITOR_EVIDENCE_H
#define TINKER_RECOVERY_MONITOR_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

/* Changed by the table in evidence.c alone. INCIDENT is left with another
 * model. */
typedef enum {
  TINKER__REC_WATCH_ADOPTING, /* the model's record was not read yet */
  TINKER__REC_WATCH_HEALTHY,
  TINKER__REC_WATCH_SUSPECT,
  TINKER__REC_WATCH_PAUSED, /* the account is: nothing is known */
  TINKER__REC_WATCH_BLIND,  /* nothing is known */
  TINKER__REC_WATCH_INCIDENT,
  TINKER__REC_WATCH_STATES
} tinker__rec_watch_state_t;

typedef enum {
  TINKER__REC_NEWS_OK,     /* a good reading */
  TINKER__REC_NEWS_CALM,   /* good readings for long enough */
  TINKER__REC_NEWS_BAD,    /* a bad observation; alone it decides nothing */
  TINKER__REC_NEWS_PROVEN, /* the one that makes it enough */
  TINKER__REC_NEWS_DIM,    /* a reading that says nothing */
  TINKER__REC_NEWS_BLIND,  /* the last of several in a row */
  TINKER__REC_NEWS_PAUSED, /* the account is blocked */
  TINKER__REC_NEWS_SLEPT,  /* the clocks went apart */
  TINKER__REC_NEWS_COUNT
} tinker__rec_news_t;

/* The transition table. */
tinker__rec_watch_state_t tinker__rec_watch_move(tinker__rec_watch_state_t from,
                                                 tinker__rec_news_t news);

typedef enum {
  TINKER__REC_SOURCE_RECORD, /* readings of the run's record */
  TINKER__REC_SOURCE_CALLS,  /* training calls */
  TINKER__REC_SOURCES
} tinker__rec_source_t;

typedef enum {
  TINKER__REC_VALUE_OK,
  TINKER__REC_VALUE_BAD,
  TINKER__REC_VALUE_UNKNOWN
} tinker__rec_value_t;

/* How a reading is bad, or why it says nothing. */
typedef enum {
  TINKER__REC_SIGN_OTHER,
  TINKER__REC_SIGN_CORRUPTED, /* BAD: the record says so */
  /* BAD: there is no record, and there are others. Before the record was read
   * once, it says nothing: lists and look-ups may be behind. */
  TINKER__REC_SIGN_GONE,
  TINKER__REC_SIGN_PAUSED /* UNKNOWN: the account is blocked */
} tinker__rec_sign_t;

typedef struct tinker__rec_observation_s {
  tinker__rec_source_t source;
  tinker__rec_value_t value;
  tinker__rec_sign_t sign;
  int64_t asked_ms; /* boot clock when it was asked for: its age counts so */
  int64_t boot_ms;  /* boot clock now: with the time asleep */
  int64_t now_ms;   /* monotonic clock now: may be without it */
} tinker__rec_observation_t;

typedef struct tinker__rec_evidence_policy_s {
  int64_t idle_ms;    /* between two readings, +- 20 % */
  int64_t suspect_ms; /* the same while it is suspect, at the beginning too */
  int64_t confirm_ms; /* bad observations are counted together for so long */
  int64_t settle_ms;  /* without a bad one before it is healthy again */
  int calm;           /* good readings in a row that this needs, too */
  int blind;          /* readings in a row that say nothing: blind */
  int64_t drift_ms;   /* between the clocks that is no sleep */
} tinker__rec_evidence_policy_t;

#define TINKER__REC_EVIDENCE_POLICY_INIT                                       \
  { 10000, 2000, 15000, 30000, 3, 3, 1000 }

typedef struct tinker__rec_evidence_s {
  tinker__rec_evidence_policy_t policy;
  tinker__rec_watch_state_t state;
  int64_t drift;  /* boot clock minus monotonic clock */
  bool seen;      /* the record was read */
  bool corrupted; /* it was shown as corrupted */
  bool bad[TINKER__REC_SOURCES];
  int64_t bad_at[TINKER__REC_SOURCES]; /* boot clock */
  int64_t suspect_at; /* boot clock of the last reason to look closely */
  int calm, dim;      /* readings in a row */
} tinker__rec_evidence_t;

/* Another model, of which nothing is known. */
void tinker__rec_evidence_begin(tinker__rec_evidence_t *e,
                                const tinker__rec_evidence_policy_t *policy,
                                int64_t boot_ms, int64_t now_ms);
/* Returns the state. Observations are added in the order in which they were
 * asked for. */
tinker__rec_watch_state_t
tinker__rec_evidence_add(tinker__rec_evidence_t *e,
                         const tinker__rec_observation_t *o);
/* Milliseconds until the next reading. random: any number, for the jitter. */
int64_t tinker__rec_evidence_next(const tinker__rec_evidence_t *e,
                                  int64_t boot_ms, uint32_t random);

#endif
