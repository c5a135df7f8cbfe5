/* keep: each rule by itself, then made histories with a clock of their own:
 * whatever is saved, lost, refused or killed, a recovery finds what it needs.
 */
#include "keep/keep.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { MOST = 512, ACTIONS = 64, HOUR = 3600000 };
enum { LIVES = RECOVERY_FEW_RUNS ? 100 : 1000 };

static const tinker__rec_keep_policy_t usual = {.last = 3,
                                                .min_validated = 2,
                                                .every_steps = 0,
                                                .first = true,
                                                .final_step = -1,
                                                .ttl_s = -1,
                                                .delay_ms = 15 * 60000};
static tinker__rec_keep_policy_t policy;
static tinker__rec_keep_ckpt_t all[MOST];
static tinker__rec_keep_action_t actions[ACTIONS];
static tinker__rec_keep_facts_t facts;
static size_t count;
static uint64_t state;

static void setup(void) {
  policy = usual;
  memset(all, 0, sizeof all);
  facts = (tinker__rec_keep_facts_t){.ckpts = all};
  state = 1;
}

TestSuite(keep, .init = setup);

/* Saved and proven, each after 10 steps. */
static void proven(size_t n) {
  for (size_t i = 0; i < n; i++) {
    all[i] = (tinker__rec_keep_ckpt_t){.step = 10 * (int64_t)(i + 1),
                                       .expires_ms = TINKER__REC_KEEP_NEVER,
                                       .marked_ms = -1,
                                       .metric = NAN,
                                       .provable = true,
                                       .validated = true};
  }
  facts.count = n;
}

static void plan(void) {
  count = tinker__rec_keep_plan(&policy, &facts, actions, ACTIONS);
}

static bool has(tinker__rec_keep_kind_t kind, size_t index) {
  for (size_t i = 0; i < count; i++) {
    if (actions[i].kind == kind && actions[i].index == index) return true;
  }
  return false;
}

static size_t number_of(tinker__rec_keep_kind_t kind) {
  size_t n = 0;
  for (size_t i = 0; i < count; i++) n += actions[i].kind == kind;
  return n;
}

/* --- What stays ----------------------------------------------------------- */

Test(keep, the_first_and_the_newest_stay) {
  proven(6);
  plan();
  cr_assert_eq(count, 2);
  cr_assert(has(TINKER__REC_KEEP_MARK, 1));
  cr_assert(has(TINKER__REC_KEEP_MARK, 2));
  policy.first = false;
  plan();
  cr_assert(has(TINKER__REC_KEEP_MARK, 0));
}

Test(keep, nothing_is_deleted_without_a_number) {
  proven(9);
  policy.last = 0;
  all[3].marked_ms = 0;
  facts.now_ms = 100 * HOUR;
  plan();
  cr_assert_eq(count, 0);
}

Test(keep, fewer_than_the_least_number_is_raised_to_it) {
  proven(5);
  policy.last = 1;
  policy.first = false;
  plan();
  cr_assert_eq(count, 3);
  cr_assert_not(has(TINKER__REC_KEEP_MARK, 3));
}

Test(keep, anchors_stay) {
  proven(12);
  policy.every_steps = 25;
  policy.final_step = 20;
  plan(); /* 10 first, 20 final, 30 and 50 and 80 and 100 of a part */
  for (size_t i = 0; i < 12; i++) {
    bool gone = i == 3 || i == 5 || i == 6 || i == 8;
    cr_assert_eq(has(TINKER__REC_KEEP_MARK, i), gone, "%zu", i);
  }
}

Test(keep, the_best_stay_and_of_equals_the_older) {
  proven(8);
  policy.best = 2;
  all[1].metric = 0.5;
  all[2].metric = 0.25;
  all[3].metric = 0.5;
  all[4].metric = INFINITY;
  plan();
  for (size_t i = 1; i < 5; i++) {
    cr_assert_eq(has(TINKER__REC_KEEP_MARK, i), i > 2, "%zu", i);
  }
}

Test(keep, what_was_refused_is_left_alone_and_stands_for_none) {
  proven(5);
  all[4].quarantined = all[3].quarantined = true;
  all[0].quarantined = true;
  all[0].expires_ms = 1;
  policy.first = false;
  policy.ttl_s = 3600;
  plan();
  cr_assert_eq(count, 0);
}

Test(keep, what_is_loaded_from_stays) {
  proven(6);
  all[1].in_use = true;
  plan();
  cr_assert_not(has(TINKER__REC_KEEP_MARK, 1));
  cr_assert(has(TINKER__REC_KEEP_MARK, 2));
}

/* --- Two phases ----------------------------------------------------------- */

Test(keep, deletion_is_the_delay_after_the_mark) {
  proven(5);
  all[1].marked_ms = 1000;
  facts.now_ms = 1000 + policy.delay_ms - 1;
  plan();
  cr_assert_eq(count, 0);
  facts.now_ms++;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_DELETE, 1));
}

Test(keep, nothing_goes_while_an_incident_is_open) {
  proven(6);
  all[1].marked_ms = 0;
  all[2].deleting = true;
  all[5].validated = false;
  facts.now_ms = HOUR;
  facts.incident = true;
  plan();
  cr_assert_eq(count, 0);
}

Test(keep, a_marked_one_that_is_needed_again_stays) {
  proven(5);
  all[1].marked_ms = 0;
  all[3].quarantined = true;
  facts.now_ms = HOUR;
  plan();
  cr_assert_eq(count, 0);
}

Test(keep, a_deletion_that_was_begun_goes_on) {
  proven(4);
  all[3].deleting = true;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_DELETE, 3));
  all[3].busy = true;
  plan();
  cr_assert_eq(count, 0);
}

/* --- Proofs --------------------------------------------------------------- */

Test(keep, the_newest_is_proven_before_an_older_one_goes) {
  proven(5);
  all[4].validated = false;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_VALIDATE, 4));
  all[4].validated = true;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_MARK, 1));
}

Test(keep, one_whose_proof_fails_holds_up_no_other) {
  proven(6);
  all[5].validated = all[4].validated = false;
  all[5].later = true;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_VALIDATE, 4));
}

/* It is among the newest, proves nothing, and those before it were not all
 * proven in time: an older one is, so that what is older still can go. */
Test(keep, one_whose_proof_fails_is_made_up_for) {
  proven(6);
  all[4].validated = all[2].validated = false;
  all[4].later = true;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_VALIDATE, 2));
  all[2].validated = true;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_MARK, 1));
}

Test(keep, nothing_is_proven_while_nothing_could_go) {
  proven(4);
  for (size_t i = 0; i < 4; i++) all[i].validated = false;
  plan();
  cr_assert_eq(count, 0);
}

Test(keep, what_cannot_be_proven_stands_for_none) {
  proven(6);
  all[5].provable = all[4].provable = false;
  plan();
  cr_assert_eq(number_of(TINKER__REC_KEEP_MARK), 0);
  cr_assert_eq(count, 0);
}

/* --- Time to live --------------------------------------------------------- */

Test(keep, a_life_is_renewed_at_its_half) {
  proven(2);
  policy.ttl_s = 7200;
  all[0].expires_ms = HOUR;
  all[1].expires_ms = HOUR - 1;
  plan();
  cr_assert_eq(count, 1);
  cr_assert(has(TINKER__REC_KEEP_RENEW, 1));
  cr_assert_eq(actions[0].seconds, 7200);
}

Test(keep, a_clock_that_was_set_back_renews) {
  proven(1);
  policy.ttl_s = 7200;
  all[0].expires_ms = 2 * HOUR + 1;
  plan();
  cr_assert(has(TINKER__REC_KEEP_RENEW, 0));
}

/* The clock may be wrong; the service knows. */
Test(keep, a_life_that_seems_over_is_asked_for) {
  proven(1);
  policy.ttl_s = 7200;
  facts.now_ms = 10 * HOUR;
  all[0].expires_ms = HOUR;
  plan();
  cr_assert(has(TINKER__REC_KEEP_RENEW, 0));
  cr_assert_not(tinker__rec_keep_usable(&all[0], facts.now_ms));
}

Test(keep, the_final_one_lives_for_good) {
  proven(1);
  policy.ttl_s = 7200;
  policy.final_step = 10;
  all[0].expires_ms = 2 * HOUR;
  plan();
  cr_assert(has(TINKER__REC_KEEP_RENEW, 0));
  cr_assert_eq(actions[0].seconds, -1);
}

Test(keep, one_that_expires_soon_stands_for_none) {
  proven(5);
  policy.ttl_s = 10 * 3600;
  all[4].expires_ms = 2 * HOUR;
  plan();
  cr_assert_eq(number_of(TINKER__REC_KEEP_MARK), 0);
  all[4].expires_ms++;
  plan();
  cr_assert(has(TINKER__REC_KEEP_MARK, 1));
}

Test(keep, lives_are_renewed_before_all_else_and_no_more_than_there_is_room) {
  proven(8);
  policy.ttl_s = 7200;
  all[1].marked_ms = 0;
  all[7].expires_ms = HOUR - 1;
  facts.now_ms = 0;
  cr_assert_eq(tinker__rec_keep_plan(&policy, &facts, actions, 2), 2);
  cr_assert_eq(actions[0].kind, TINKER__REC_KEEP_RENEW);
}

/* --- Made histories ------------------------------------------------------- */

/* What the service has. */
typedef struct {
  int64_t expires_ms;
  bool gone, old; /* old: the save has other weights than it says */
} truth_t;

static truth_t truth[MOST];
static bool reached; /* as many good ones as are promised were there */
static double refusals;

static double uniform(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) / 9007199254740992.0;
}

static bool alive(size_t i) {
  return !truth[i].gone && truth[i].expires_ms > facts.now_ms;
}

/* Proven, there, and good. */
static size_t good(void) {
  size_t n = 0;
  for (size_t i = 0; i < facts.count; i++) {
    n += all[i].validated && !all[i].quarantined && alive(i);
  }
  return n;
}

static void save(int64_t step) {
  size_t i = facts.count;
  if (i == MOST || uniform() < 0.3) return; /* the service refuses */
  int64_t end = policy.ttl_s < 0 ? TINKER__REC_KEEP_NEVER
                                 : facts.now_ms + policy.ttl_s * 1000;
  all[i] = (tinker__rec_keep_ckpt_t){.step = step,
                                     .expires_ms = end,
                                     .marked_ms = -1,
                                     .metric = uniform(),
                                     .provable = uniform() < 0.9};
  truth[i] = (truth_t){.expires_ms = end, .old = uniform() < 0.1};
  facts.count++;
}

/* Newer ones that are good: without them an older one may not go. */
static size_t newer(size_t i) {
  size_t n = 0;
  for (size_t k = i + 1; k < facts.count; k++) {
    n +=
        all[k].validated && !all[k].quarantined && !all[k].deleting && alive(k);
  }
  return n;
}

static void check_deletion(size_t i) {
  if (all[i].deleting) return;
  cr_assert_not(facts.incident);
  cr_assert_not(all[i].in_use);
  cr_assert_not(all[i].quarantined);
  cr_assert_geq(all[i].marked_ms, 0);
  cr_assert_geq(facts.now_ms - all[i].marked_ms, policy.delay_ms);
  cr_assert_geq(newer(i), 3);
  cr_assert_neq(all[i].step, policy.final_step);
  for (size_t k = 0; k < i; k++) {
    bool first = !truth[k].gone && !all[k].quarantined;
    if (first) return;
  }
  cr_assert_fail("the first one was deleted");
}

/* Does one action; a process may die after any part of it. */
static bool carry_out(const tinker__rec_keep_action_t *a, bool die) {
  tinker__rec_keep_ckpt_t *c = &all[a->index];
  truth_t *t = &truth[a->index];
  bool refused = uniform() < refusals;
  switch (a->kind) {
  case TINKER__REC_KEEP_RENEW:
    if (refused || die || !alive(a->index)) break;
    t->expires_ms = a->seconds < 0 ? TINKER__REC_KEEP_NEVER
                                   : facts.now_ms + a->seconds * 1000;
    if (uniform() < 0.9) c->expires_ms = t->expires_ms; /* else: reply lost */
    break;
  case TINKER__REC_KEEP_VALIDATE:
    if (refused || die) break;
    if (t->old) c->quarantined = true;
    if (!t->old) c->validated = true;
    break;
  case TINKER__REC_KEEP_MARK: c->marked_ms = facts.now_ms; break;
  case TINKER__REC_KEEP_DELETE:
    check_deletion(a->index);
    c->deleting = true;
    if (die || refused) break;
    t->gone = true;
    break;
  }
  return !die;
}

/* The newest that is usable: what a recovery loads. */
static void recover(void) {
  for (size_t i = 0; i < facts.count; i++) all[i].in_use = false;
  for (size_t i = facts.count; i-- > 0;) {
    if (truth[i].gone || !all[i].provable) continue;
    if (!tinker__rec_keep_usable(&all[i], facts.now_ms)) continue;
    cr_assert(alive(i), "it points at one that has expired");
    if (truth[i].old) {
      all[i].quarantined = true;
      continue;
    }
    all[i].in_use = all[i].validated = true;
    return;
  }
}

/* What is known to be gone is left out of the facts. */
static void tick(void) {
  static tinker__rec_keep_ckpt_t part[MOST];
  size_t of[MOST], n = 0;
  for (size_t i = 0; i < facts.count; i++) {
    if (!truth[i].gone) of[n] = i, part[n++] = all[i];
  }
  tinker__rec_keep_facts_t there = facts;
  there.ckpts = part;
  there.count = n;
  count = tinker__rec_keep_plan(&policy, &there, actions, 4);
  for (size_t i = 0; i < count; i++) {
    actions[i].index = of[actions[i].index];
    if (!carry_out(&actions[i], uniform() < 0.05)) return;
  }
}

static void play(int steps, int64_t pause_ms) {
  size_t before = 0;
  facts.count = 0;
  facts.now_ms = 0;
  reached = facts.incident = false;
  for (int step = 1; step <= steps; step++) {
    facts.now_ms += (int64_t)(uniform() * (double)pause_ms);
    if (step % 2 == 0) save(step);
    before = good();
    tick();
    /* An action takes away only what is more than enough. */
    cr_assert(good() >= before || good() >= 3);
    if (good() >= 3) reached = true;
    if (facts.incident && uniform() < 0.5) facts.incident = false;
    if (uniform() < 0.03) facts.incident = true, recover();
  }
}

Test(keep, no_recovery_points_at_an_expired_one) {
  for (uint64_t seed = 1; seed <= LIVES; seed++) {
    setup();
    state = seed;
    policy.ttl_s = 4 * 3600 + (int64_t)(uniform() * 1e6);
    policy.every_steps = seed % 3 ? 0 : 25;
    policy.last = 1 + (int64_t)(seed % 4) + (seed % 4 < 2 ? 2 : 0);
    refusals = 0.3;
    play(150, HOUR / 2);
    for (size_t i = 0; i < facts.count; i++) {
      if (all[i].validated && !all[i].quarantined && !all[i].deleting) {
        cr_assert(!all[i].kept || alive(i), "seed %d", (int)seed);
      }
    }
  }
}

Test(keep, never_fewer_good_ones_than_promised) {
  int full = 0;
  for (uint64_t seed = 1; seed <= 10 * LIVES; seed++) {
    setup();
    state = seed * 77;
    policy.final_step = 60;
    policy.best = (int64_t)(seed % 2);
    refusals = 0.2;
    play(60, 10 * 60000);
    full += reached;
  }
  cr_assert_gt(full, 5 * LIVES);
}

/* Without failures: first, three newest, one of the last save, and those that
 * wait for their end. */
Test(keep, what_is_stored_is_bounded) {
  refusals = 0;
  policy.delay_ms = 0;
  for (int step = 1; step <= 200; step++) {
    size_t i = facts.count++, stored = 0;
    all[i] = (tinker__rec_keep_ckpt_t){.step = step,
                                       .expires_ms = TINKER__REC_KEEP_NEVER,
                                       .marked_ms = -1,
                                       .provable = true};
    truth[i] = (truth_t){.expires_ms = TINKER__REC_KEEP_NEVER};
    for (int round = 0; round < 6; round++) tick();
    for (size_t k = 0; k <= i; k++) stored += alive(k);
    cr_assert_leq(stored, 6, "%zu", stored);
  }
}
