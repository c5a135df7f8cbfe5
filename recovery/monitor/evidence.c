/* evidence: see evidence.h. */
#include "monitor/evidence.h"

#define ADOPTING TINKER__REC_WATCH_ADOPTING
#define HEALTHY TINKER__REC_WATCH_HEALTHY
#define SUSPECT TINKER__REC_WATCH_SUSPECT
#define PAUSED TINKER__REC_WATCH_PAUSED
#define BLIND TINKER__REC_WATCH_BLIND
#define INCIDENT TINKER__REC_WATCH_INCIDENT

/* SUSPECT alone becomes INCIDENT. Nothing else can be PROVEN: what is known of
 * a model that is not suspect is nothing bad. */
static const tinker__rec_watch_state_t
    moves[TINKER__REC_WATCH_STATES][TINKER__REC_NEWS_COUNT] = {
        /* OK, CALM, BAD, PROVEN, DIM, BLIND, PAUSED, SLEPT */
        [ADOPTING] = {HEALTHY, HEALTHY, SUSPECT, SUSPECT, ADOPTING, BLIND,
                      PAUSED, BLIND},
        [HEALTHY] = {HEALTHY, HEALTHY, SUSPECT, SUSPECT, HEALTHY, BLIND, PAUSED,
                     BLIND},
        [SUSPECT] = {SUSPECT, HEALTHY, SUSPECT, INCIDENT, SUSPECT, BLIND,
                     PAUSED, BLIND},
        [PAUSED] = {HEALTHY, HEALTHY, SUSPECT, SUSPECT, PAUSED, BLIND, PAUSED,
                    BLIND},
        [BLIND] = {SUSPECT, SUSPECT, SUSPECT, SUSPECT, BLIND, BLIND, PAUSED,
                   BLIND},
        [INCIDENT] = {INCIDENT, INCIDENT, INCIDENT, INCIDENT, INCIDENT,
                      INCIDENT, INCIDENT, INCIDENT},
};

tinker__rec_watch_state_t tinker__rec_watch_move(tinker__rec_watch_state_t from,
                                                 tinker__rec_news_t news) {
  return moves[from][news];
}

void tinker__rec_evidence_begin(tinker__rec_evidence_t *e,
                                const tinker__rec_evidence_policy_t *policy,
                                int64_t boot_ms, int64_t now_ms) {
  *e = (tinker__rec_evidence_t){
      .policy = *policy, .state = ADOPTING, .drift = boot_ms - now_ms};
}

/* That the record was there once stays true. */
static void forget(tinker__rec_evidence_t *e) {
  for (int i = 0; i < TINKER__REC_SOURCES; i++) e->bad[i] = false;
  e->corrupted = false;
  e->calm = e->dim = 0;
}

static bool has_slept(tinker__rec_evidence_t *e,
                      const tinker__rec_observation_t *o) {
  int64_t drift = o->boot_ms - o->now_ms;
  int64_t by = drift - e->drift;
  e->drift = drift;
  return by > e->policy.drift_ms || by < -e->policy.drift_ms;
}

static tinker__rec_news_t unknown(tinker__rec_evidence_t *e, bool paused) {
  e->calm = 0;
  e->dim++;
  if (!paused && e->dim < e->policy.blind) return TINKER__REC_NEWS_DIM;
  forget(e);
  return paused ? TINKER__REC_NEWS_PAUSED : TINKER__REC_NEWS_BLIND;
}

static bool is_known(const tinker__rec_evidence_t *e,
                     tinker__rec_source_t source, int64_t at) {
  return e->bad[source] && at - e->bad_at[source] <= e->policy.confirm_ms;
}

/* Calls that fail one after the other are one observation: the run itself
 * decides what they mean. */
static tinker__rec_news_t bad(tinker__rec_evidence_t *e,
                              const tinker__rec_observation_t *o) {
  bool reading = o->source == TINKER__REC_SOURCE_RECORD;
  bool shown = o->sign == TINKER__REC_SIGN_CORRUPTED;
  tinker__rec_source_t other =
      reading ? TINKER__REC_SOURCE_CALLS : TINKER__REC_SOURCE_RECORD;
  bool enough = is_known(e, other, o->asked_ms) ||
                (reading && is_known(e, o->source, o->asked_ms)) ||
                (shown && e->corrupted);
  e->bad[o->source] = true;
  e->bad_at[o->source] = e->suspect_at = o->asked_ms;
  e->calm = 0;
  if (reading) e->dim = 0;
  if (shown) e->corrupted = e->seen = true;
  return enough ? TINKER__REC_NEWS_PROVEN : TINKER__REC_NEWS_BAD;
}

/* A good reading says nothing of the calls, nor calls of the record: a model
 * that is corrupted may go on to answer. */
static tinker__rec_news_t good(tinker__rec_evidence_t *e,
                               const tinker__rec_observation_t *o) {
  e->bad[o->source] = false;
  e->seen = true;
  e->dim = 0;
  e->calm++;
  bool calm = e->calm >= e->policy.calm && !e->corrupted &&
              o->asked_ms - e->suspect_at >= e->policy.settle_ms;
  return calm ? TINKER__REC_NEWS_CALM : TINKER__REC_NEWS_OK;
}

static tinker__rec_news_t judge(tinker__rec_evidence_t *e,
                                const tinker__rec_observation_t *o) {
  if (has_slept(e, o)) { /* it may be from before */
    forget(e);
    return TINKER__REC_NEWS_SLEPT;
  }
  switch (o->value) {
  case TINKER__REC_VALUE_OK: return good(e, o);
  case TINKER__REC_VALUE_BAD:
    if (o->sign == TINKER__REC_SIGN_GONE && !e->seen) return unknown(e, false);
    return bad(e, o);
  default: return unknown(e, o->sign == TINKER__REC_SIGN_PAUSED);
  }
}

tinker__rec_watch_state_t
tinker__rec_evidence_add(tinker__rec_evidence_t *e,
                         const tinker__rec_observation_t *o) {
  bool blind = e->state == BLIND;
  if (e->state == INCIDENT) return e->state;
  if (o->source == TINKER__REC_SOURCE_CALLS &&
      o->value == TINKER__REC_VALUE_OK) {
    e->bad[o->source] = false;
    return e->state;
  }
  e->state = tinker__rec_watch_move(e->state, judge(e, o));
  if (blind && e->state == SUSPECT) e->suspect_at = o->asked_ms;
  return e->state;
}

int64_t tinker__rec_evidence_next(const tinker__rec_evidence_t *e,
                                  int64_t boot_ms, uint32_t random) {
  bool close =
      e->state == ADOPTING ||
      (e->state == SUSPECT && boot_ms - e->suspect_at < e->policy.settle_ms);
  int64_t period = close ? e->policy.suspect_ms : e->policy.idle_ms;
  return period * (800 + random % 401) / 1000;
}
