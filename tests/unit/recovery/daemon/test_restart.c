/* What becomes of a trainer, in virtual time. */
#include "restart.h"

#include <criterion/criterion.h>

#define S(name) TINKER__REC_TRAINER_##name
#define ON(name) TINKER__REC_ON_##name
#define DO(name) TINKER__REC_DO_##name

static const tinker__rec_restart_policy_t policy =
    TINKER__REC_RESTART_POLICY_INIT;
static const tinker__rec_end_t by_kill = {.known = true, .signal = 9};
static const tinker__rec_end_t unseen = {.known = false};

static tinker__rec_restart_t running(void) {
  tinker__rec_restart_t r;
  tinker__rec_restart_init(&r, 100);
  cr_assert_eq(r.state, S(WAITING));
  cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(TICK), 99), DO(NOTHING));
  cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(TICK), 100), DO(START));
  cr_assert_eq(r.state, S(RUNNING));
  return r;
}

static tinker__rec_reach_t at_step(int64_t step) {
  return (tinker__rec_reach_t){
      .readable = true, .epoch = 1, .committed = step, .target = 50};
}

/* Dies, and is started again if that is due at once. */
static void die(tinker__rec_restart_t *r, const tinker__rec_end_t *end,
                const tinker__rec_reach_t *reach) {
  tinker__rec_restart_died(r, &policy, end, reach, 1000, UINT64_MAX);
}

static void again(tinker__rec_restart_t *r) {
  cr_assert_eq(r->state, S(WAITING));
  cr_assert_eq(tinker__rec_restart_on(r, &policy, ON(TICK), r->at_ms),
               DO(START));
}

static tinker__rec_end_t exited(int code) {
  return (tinker__rec_end_t){.known = true, .code = code};
}

Test(restart, names) {
  for (int s = 0; s < TINKER__REC_TRAINER_STATES; s++) {
    cr_assert(tinker__rec_trainer_state_name((tinker__rec_trainer_state_t)s));
  }
}

/* With progress each time it is started again at once, for ever. */
Test(restart, progress_counts_anew) {
  tinker__rec_restart_t r = running();
  for (int64_t step = 1; step < 40; step++) {
    tinker__rec_reach_t reach = at_step(step);
    die(&r, &by_kill, &reach);
    cr_assert_eq(r.fruitless, 1);
    cr_assert_eq(r.at_ms, 1000);
    again(&r);
  }
}

/* Without it: at once, then up to 1 s, up to 2 s, then no more (F63). */
Test(restart, crash_loop_ends) {
  tinker__rec_restart_t r = running();
  const tinker__rec_reach_t none = at_step(0);
  for (int i = 0; i < 3; i++) {
    die(&r, &by_kill, &none);
    int64_t most = i == 0 ? 0 : (int64_t)1000 << (i - 1);
    cr_assert_geq(r.at_ms, 1000);
    cr_assert_leq(r.at_ms, 1000 + most, "%d: %lld", i, (long long)r.at_ms);
    again(&r);
  }
  die(&r, &by_kill, &none);
  cr_assert_eq(r.state, S(EXHAUSTED));
  cr_assert(tinker__rec_restart_over(&r));
  cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(TICK), INT64_MAX),
               DO(NOTHING));
  /* An operator's word lets it try again, as often. */
  tinker__rec_restart_on(&r, &policy, ON(RELEASE), 5000);
  cr_assert_eq(r.fruitless, 0);
  cr_assert_eq(r.at_ms, 5000);
  again(&r);
}

/* Full jitter: the wait is anywhere up to the bound, which has a ceiling. */
Test(restart, backoff_has_a_ceiling) {
  tinker__rec_restart_policy_t p = policy;
  p.max_restarts = 1000;
  const tinker__rec_reach_t none = at_step(0);
  tinker__rec_restart_t r = running();
  for (int i = 0; i < 100; i++) {
    int64_t bound = i == 0 ? 0 : i > 9 ? 300000 : (int64_t)1000 << (i - 1);
    if (bound > 300000) bound = 300000;
    tinker__rec_restart_died(&r, &p, &by_kill, &none, 0, (uint64_t)bound);
    cr_assert_eq(r.at_ms, bound, "%d: %lld", i, (long long)r.at_ms);
    again(&r);
  }
}

/* Without jitter it is the bound itself, whatever the factor. */
Test(restart, backoff_without_jitter) {
  static const int64_t want[] = {0, 1000, 1500, 2250, 3375, 4000, 4000};
  tinker__rec_restart_policy_t p = policy;
  p.jitter = false, p.factor = 1.5, p.cap_ms = 4000, p.max_restarts = 100;
  const tinker__rec_reach_t none = at_step(0);
  tinker__rec_restart_t r = running();
  for (int i = 0; i < 7; i++) {
    tinker__rec_restart_died(&r, &p, &by_kill, &none, 0, 12345);
    cr_assert_eq(r.at_ms, want[i], "%d: %lld", i, (long long)r.at_ms);
    again(&r);
  }
}

/* A run that went back to a checkpoint has come on when a step was committed
 * after it, and not by the loss of steps. */
Test(restart, rollback_is_no_progress) {
  tinker__rec_restart_t r = running();
  tinker__rec_reach_t reach = at_step(30);
  die(&r, &by_kill, &reach);
  again(&r);
  reach.epoch = 2, reach.from_step = reach.committed = 20;
  die(&r, &by_kill, &reach);
  cr_assert_eq(r.fruitless, 2);
  again(&r);
  reach.committed = 21;
  die(&r, &by_kill, &reach);
  cr_assert_eq(r.fruitless, 1);
}

/* A journal that can't be read shows no progress, and no loss of it. */
Test(restart, unreadable_counts) {
  tinker__rec_restart_t r = running();
  tinker__rec_reach_t reach = at_step(7), unknown = {.target = -1};
  die(&r, &by_kill, &reach);
  again(&r);
  die(&r, &by_kill, &unknown);
  cr_assert_eq(r.fruitless, 2);
  cr_assert_eq(r.committed, 7);
}

Test(restart, exit_codes) {
  static const struct {
    int code;
    bool finished, stopped;
    int64_t target;
    tinker__rec_trainer_state_t want;
  } rows[] = {{0, true, false, 50, S(FINISHED)},
              {0, false, false, -1, S(FINISHED)}, /* it has no last step */
              {0, false, false, 50, S(WAITING)},  /* too early (F62) */
              {75, false, false, 50, S(EXHAUSTED)},
              {93, false, false, 50, S(STOPPED)},
              {1, false, true, 50, S(STOPPED)}, /* the run was stopped */
              {1, true, false, 50, S(WAITING)},
              {1, false, false, 50, S(WAITING)}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__rec_restart_t r = running();
    tinker__rec_end_t end = exited(rows[i].code);
    tinker__rec_reach_t reach = at_step(3);
    reach.finished = rows[i].finished;
    reach.stopped = rows[i].stopped;
    reach.target = rows[i].target;
    die(&r, &end, &reach);
    cr_assert_eq(r.state, rows[i].want, "row %zu: %d", i, (int)r.state);
  }
}

/* Once is a crash, twice without progress needs somebody (F62). */
Test(restart, early_end_twice) {
  tinker__rec_restart_t r = running();
  const tinker__rec_end_t end = exited(0);
  tinker__rec_reach_t reach = at_step(3);
  die(&r, &end, &reach);
  again(&r);
  reach.committed = 4; /* it came on: it counts anew */
  die(&r, &end, &reach);
  again(&r);
  die(&r, &end, &reach);
  cr_assert_eq(r.state, S(STOPPED));
}

/* Of a process of an earlier daemon only the run's journal tells the end. */
Test(restart, unseen_end) {
  tinker__rec_restart_t r = running();
  tinker__rec_reach_t reach = at_step(50);
  reach.finished = true;
  die(&r, &unseen, &reach);
  cr_assert_eq(r.state, S(FINISHED));
  r = running();
  reach = at_step(30);
  die(&r, &unseen, &reach);
  cr_assert_eq(r.state, S(WAITING));
}

/* TERM, then KILL, then what was to follow. */
Test(restart, asked_to_end) {
  static const struct {
    tinker__rec_trainer_event_t event;
    tinker__rec_trainer_state_t want;
  } rows[] = {{ON(HANG), S(WAITING)},
              {ON(HOLD), S(HELD)},
              {ON(STOP), S(STOPPED)},
              {ON(LEAVE), S(LEFT)}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__rec_restart_t r = running();
    const tinker__rec_reach_t reach = at_step(3);
    cr_assert_eq(tinker__rec_restart_on(&r, &policy, rows[i].event, 200),
                 DO(TERM));
    cr_assert_eq(r.at_ms, 15200);
    cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(TICK), 15199),
                 DO(NOTHING));
    cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(TICK), 15200),
                 DO(KILL));
    cr_assert(tinker__rec_restart_alive(&r));
    die(&r, &by_kill, &reach);
    cr_assert_eq(r.state, rows[i].want, "row %zu: %d", i, (int)r.state);
    cr_assert_not(tinker__rec_restart_alive(&r));
  }
}

/* The last word holds, also while the process still ends. */
Test(restart, hold_wins) {
  tinker__rec_restart_t r = running();
  const tinker__rec_reach_t reach = at_step(3);
  cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(HANG), 200), DO(TERM));
  cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(HOLD), 210), DO(NOTHING));
  cr_assert_eq(r.at_ms, 15200); /* it gets no more time by that */
  die(&r, &by_kill, &reach);
  cr_assert_eq(r.state, S(HELD));
  cr_assert_eq(tinker__rec_restart_on(&r, &policy, ON(TICK), INT64_MAX),
               DO(NOTHING));
  tinker__rec_restart_on(&r, &policy, ON(RELEASE), 300);
  again(&r);
  tinker__rec_restart_on(&r, &policy, ON(HOLD), 400);
  tinker__rec_restart_on(&r, &policy, ON(RELEASE), 410);
  die(&r, &by_kill, &reach);
  cr_assert_eq(r.state, S(WAITING));
}

/* One that ends when it is asked, with its last step done, has finished. */
Test(restart, finished_meanwhile) {
  tinker__rec_restart_t r = running();
  tinker__rec_reach_t reach = at_step(50);
  const tinker__rec_end_t end = exited(0);
  reach.finished = true;
  tinker__rec_restart_on(&r, &policy, ON(LEAVE), 200);
  die(&r, &end, &reach);
  cr_assert_eq(r.state, S(FINISHED));
}

/* What the table does not have changes nothing. */
Test(restart, nothing_else) {
  for (int s = S(FINISHED); s < TINKER__REC_TRAINER_STATES; s++) {
    for (int e = 0; e < TINKER__REC_ON_EVENTS; e++) {
      tinker__rec_restart_t r = {.state = (tinker__rec_trainer_state_t)s};
      bool back = e == ON(RELEASE) && s != S(FINISHED);
      cr_assert_eq(tinker__rec_restart_on(&r, &policy,
                                          (tinker__rec_trainer_event_t)e, 10),
                   DO(NOTHING));
      cr_assert_eq((int)r.state, back ? (int)S(WAITING) : s);
    }
  }
}
