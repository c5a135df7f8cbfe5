/* restart: see restart.h. */
#include "restart.h"

#include <stddef.h>

typedef tinker__rec_trainer_state_t state_t;

static const char *const names[TINKER__REC_TRAINER_STATES] = {
    [TINKER__REC_TRAINER_WAITING] = "waiting",
    [TINKER__REC_TRAINER_RUNNING] = "running",
    [TINKER__REC_TRAINER_ENDING] = "ending",
    [TINKER__REC_TRAINER_KILLED] = "killed",
    [TINKER__REC_TRAINER_HELD] = "held",
    [TINKER__REC_TRAINER_FINISHED] = "finished",
    [TINKER__REC_TRAINER_STOPPED] = "stopped",
    [TINKER__REC_TRAINER_EXHAUSTED] = "exhausted",
    [TINKER__REC_TRAINER_LEFT] = "left"};

const char *tinker__rec_trainer_state_name(state_t s) {
  return names[s];
}

bool tinker__rec_restart_alive(const tinker__rec_restart_t *r) {
  return r->state == TINKER__REC_TRAINER_RUNNING ||
         r->state == TINKER__REC_TRAINER_ENDING ||
         r->state == TINKER__REC_TRAINER_KILLED;
}

bool tinker__rec_restart_over(const tinker__rec_restart_t *r) {
  return r->state >= TINKER__REC_TRAINER_FINISHED;
}

void tinker__rec_restart_init(tinker__rec_restart_t *r, int64_t now_ms) {
  *r = (tinker__rec_restart_t){.state = TINKER__REC_TRAINER_WAITING,
                               .at_ms = now_ms};
}

/* --- Events --------------------------------------------------------------- */

#define S(name) TINKER__REC_TRAINER_##name
#define ON(name) TINKER__REC_ON_##name
#define DO(name) TINKER__REC_DO_##name

/* What is not here changes nothing. `then` matters for ENDING and KILLED. */
static const struct {
  state_t from;
  tinker__rec_trainer_event_t event;
  state_t to, then;
  tinker__rec_trainer_act_t act;
} rows[] = {
    {S(WAITING), ON(TICK), S(RUNNING), S(WAITING), DO(START)},
    {S(WAITING), ON(HOLD), S(HELD), S(HELD), DO(NOTHING)},
    {S(WAITING), ON(RELEASE), S(WAITING), S(WAITING), DO(NOTHING)},
    {S(WAITING), ON(STOP), S(STOPPED), S(STOPPED), DO(NOTHING)},
    {S(WAITING), ON(LEAVE), S(LEFT), S(LEFT), DO(NOTHING)},
    {S(RUNNING), ON(HANG), S(ENDING), S(WAITING), DO(TERM)},
    {S(RUNNING), ON(HOLD), S(ENDING), S(HELD), DO(TERM)},
    {S(RUNNING), ON(STOP), S(ENDING), S(STOPPED), DO(TERM)},
    {S(RUNNING), ON(LEAVE), S(ENDING), S(LEFT), DO(TERM)},
    {S(ENDING), ON(TICK), S(KILLED), S(WAITING), DO(KILL)},
    {S(ENDING), ON(HOLD), S(ENDING), S(HELD), DO(NOTHING)},
    {S(ENDING), ON(RELEASE), S(ENDING), S(WAITING), DO(NOTHING)},
    {S(ENDING), ON(STOP), S(ENDING), S(STOPPED), DO(NOTHING)},
    {S(ENDING), ON(LEAVE), S(ENDING), S(LEFT), DO(NOTHING)},
    {S(KILLED), ON(HOLD), S(KILLED), S(HELD), DO(NOTHING)},
    {S(KILLED), ON(RELEASE), S(KILLED), S(WAITING), DO(NOTHING)},
    {S(KILLED), ON(STOP), S(KILLED), S(STOPPED), DO(NOTHING)},
    {S(KILLED), ON(LEAVE), S(KILLED), S(LEFT), DO(NOTHING)},
    {S(HELD), ON(RELEASE), S(WAITING), S(WAITING), DO(NOTHING)},
    {S(HELD), ON(STOP), S(STOPPED), S(STOPPED), DO(NOTHING)},
    {S(HELD), ON(LEAVE), S(LEFT), S(LEFT), DO(NOTHING)},
    {S(STOPPED), ON(RELEASE), S(WAITING), S(WAITING), DO(NOTHING)},
    {S(EXHAUSTED), ON(RELEASE), S(WAITING), S(WAITING), DO(NOTHING)},
    {S(LEFT), ON(RELEASE), S(WAITING), S(WAITING), DO(NOTHING)},
};

/* Times of the state that was entered. */
static void enter(tinker__rec_restart_t *r,
                  const tinker__rec_restart_policy_t *p,
                  tinker__rec_trainer_event_t event, state_t from,
                  int64_t now_ms) {
  if (event == ON(RELEASE)) r->fruitless = r->early = 0;
  if (from == S(RUNNING)) r->at_ms = now_ms + p->grace_ms; /* ENDING */
  if (r->state == S(WAITING)) r->at_ms = now_ms;
}

tinker__rec_trainer_act_t
tinker__rec_restart_on(tinker__rec_restart_t *r,
                       const tinker__rec_restart_policy_t *p,
                       tinker__rec_trainer_event_t event, int64_t now_ms) {
  state_t from = r->state;
  if (event == ON(TICK) && now_ms < r->at_ms) return DO(NOTHING);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].from != from || rows[i].event != event) continue;
    r->state = rows[i].to;
    if (rows[i].act != DO(KILL)) r->then = rows[i].then;
    enter(r, p, event, from, now_ms);
    return rows[i].act;
  }
  return DO(NOTHING);
}

/* --- Deaths --------------------------------------------------------------- */

/* A new epoch begins at the step of its checkpoint: a run that went back and
 * then committed a step has come on. */
static bool came_on(const tinker__rec_restart_t *r,
                    const tinker__rec_reach_t *reach) {
  if (!reach->readable) return false;
  int64_t mark = reach->epoch == r->epoch ? r->committed : reach->from_step;
  return reach->committed > mark;
}

static void count(tinker__rec_restart_t *r, const tinker__rec_reach_t *reach) {
  if (came_on(r, reach)) r->fruitless = r->early = 0;
  r->fruitless++;
  if (!reach->readable) return;
  r->epoch = reach->epoch;
  r->committed = reach->committed;
}

/* Base, then by the factor more each time, at most cap. */
static int64_t delay(const tinker__rec_restart_t *r,
                     const tinker__rec_restart_policy_t *p, uint64_t random) {
  double most = (double)p->base_ms, cap = (double)p->cap_ms;
  if (r->fruitless <= 1) return 0;
  for (int64_t i = 2; i < r->fruitless && most < cap; i++) most *= p->factor;
  uint64_t bound = (uint64_t)(most < cap ? most : cap);
  return (int64_t)(p->jitter ? random % (bound + 1) : bound);
}

/* The end of a trainer that nobody has asked to end. */
static state_t judge(tinker__rec_restart_t *r,
                     const tinker__rec_restart_policy_t *p,
                     const tinker__rec_end_t *end,
                     const tinker__rec_reach_t *reach) {
  bool good = end->known && end->signal == 0 && end->code == 0;
  bool exited = end->known && end->signal == 0;
  bool all = reach->readable && (reach->finished || reach->target < 0);
  if (reach->finished && (good || !end->known)) return S(FINISHED);
  if (reach->stopped || (exited && end->code == p->stopped_code)) {
    return S(STOPPED);
  }
  if (exited && end->code == p->exhausted_code) return S(EXHAUSTED);
  if (good && all) return S(FINISHED);
  count(r, reach);
  if (good && ++r->early > 1) return S(STOPPED);
  return r->fruitless > p->max_restarts ? S(EXHAUSTED) : S(WAITING);
}

/* One that was to end may have done its last step before. */
static state_t ended(const tinker__rec_restart_t *r,
                     const tinker__rec_reach_t *reach) {
  return reach->readable && reach->finished ? S(FINISHED) : r->then;
}

void tinker__rec_restart_died(tinker__rec_restart_t *r,
                              const tinker__rec_restart_policy_t *p,
                              const tinker__rec_end_t *end,
                              const tinker__rec_reach_t *reach, int64_t now_ms,
                              uint64_t random) {
  bool asked = r->state != S(RUNNING);
  if (asked && r->then != S(WAITING)) {
    r->state = ended(r, reach);
    return;
  }
  /* Of one that was killed because it hung, its own last word counts not. */
  const tinker__rec_end_t killed = {.known = false};
  state_t to = judge(r, p, asked ? &killed : end, reach);
  r->state = to;
  r->then = to;
  if (to == S(WAITING)) r->at_ms = now_ms + delay(r, p, random);
}
