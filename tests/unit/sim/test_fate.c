/* fate: a script is the seed's, each scenario goes wrong somewhere, and what
 * the course of a script says happens when it says. */
#include "sim/fate.h"

#include <criterion/criterion.h>
#include <string.h>

static sim_script_t script, again;
static sim_course_t course;

Test(fate, a_script_is_the_seeds) {
  for (size_t i = 0; i < sim_fates(); i++) {
    const char *name = sim_fate_name(i);
    for (uint64_t seed = 1; seed < 40; seed++) {
      cr_assert(sim_fate_script(name, seed, &script));
      cr_assert(sim_fate_script(name, seed, &again));
      cr_assert_eq(memcmp(&script, &again, sizeof script), 0, "%s", name);
      cr_assert(script.action_count + script.fault_count > 0, "%s", name);
      cr_assert(script.action_count < SIM_MAX_ACTIONS, "%s", name);
      cr_assert(script.fault_count < SIM_MAX_FAULTS, "%s", name);
    }
  }
}

Test(fate, numbers_are_unique_and_in_order) {
  for (size_t i = 1; i < sim_fates(); i++) {
    cr_expect_lt(strcmp(sim_fate_name(i - 1), sim_fate_name(i)), 0, "%s",
                 sim_fate_name(i));
    cr_expect_str_not_empty(sim_fate_title(i));
  }
  cr_expect_not(sim_fate_script("F99", 1, &script));
}

Test(fate, undisturbed_has_the_same_program) {
  cr_assert(sim_fate_script("F35", 3, &script));
  cr_assert(script.trainer.other_plan);
  sim_fate_undisturbed(&script, &again);
  cr_expect_eq(again.action_count + again.fault_count, 0);
  cr_expect_eq(again.trainer.every, script.trainer.every);
  cr_expect_not(again.trainer.other_plan);
}

Test(fate, requests_by_what_they_ask_for) {
  static const struct {
    const char *method, *path;
    sim_ask_t ask;
  } cases[] = {
      {"POST", "api/v1/forward_backward", SIM_ASK_FORWARD_BACKWARD},
      {"POST", "api/v1/forward", SIM_ASK_FORWARD},
      {"POST", "api/v1/optim_step", SIM_ASK_OPTIM},
      {"POST", "api/v1/save_weights", SIM_ASK_SAVE},
      {"POST", "api/v1/load_weights", SIM_ASK_LOAD},
      {"POST", "api/v1/create_model", SIM_ASK_CREATE},
      {"POST", "api/v1/create_session", SIM_ASK_SESSION},
      {"POST", "api/v1/sessions/s1/finish", SIM_ASK_SESSION},
      {"POST", "api/v1/session_heartbeat", SIM_ASK_BEAT},
      {"POST", "api/v1/retrieve_future", SIM_ASK_RESULT},
      {"POST", "api/v1/weights_info", SIM_ASK_READ},
      {"GET", "api/v1/training_runs?limit=1", SIM_ASK_READ},
      {"PUT", "api/v1/training_runs/m/checkpoints/c/ttl", SIM_ASK_TTL},
      {"DELETE", "api/v1/training_runs/m/checkpoints/c", SIM_ASK_DELETE},
      {"POST", "api/v1/client/config", SIM_ASK_OTHER}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    cr_expect_eq(sim_ask_of(cases[i].method, cases[i].path), cases[i].ask, "%s",
                 cases[i].path);
  }
}

static sim_action_t *only(sim_act_t act, sim_when_t when, sim_ask_t ask,
                          int64_t n) {
  memset(&script, 0, sizeof script);
  script.action_count = 1;
  script.actions[0] =
      (sim_action_t){.act = act, .when = when, .ask = ask, .n = n, .life = -1};
  sim_course_init(&course, &script);
  return &script.actions[0];
}

static bool hit(int64_t now_ms, const char *path) {
  return sim_course_request(&course, now_ms, 0, "POST", path) != NULL;
}

Test(fate, the_nth_request_of_its_kind) {
  only(SIM_ACT_CUT, SIM_WHEN_REQUEST, SIM_ASK_OPTIM, 2)->times = 2;
  cr_expect_not(hit(1, "api/v1/optim_step"));
  cr_expect_not(hit(2, "api/v1/forward"));
  cr_expect(hit(3, "api/v1/optim_step"));
  cr_expect(hit(4, "api/v1/optim_step"));
  cr_expect_not(hit(5, "api/v1/optim_step"));
  cr_expect_eq(course.happened, 2);
  cr_expect_eq(course.last_ms, 4);
}

Test(fate, a_window_of_time) {
  only(SIM_ACT_REFUSE, SIM_WHEN_TIME, SIM_ASK_BEAT, 100)->for_ms = 50;
  cr_expect_not(hit(99, "api/v1/session_heartbeat"));
  cr_expect(hit(100, "api/v1/session_heartbeat"));
  cr_expect_not(hit(120, "api/v1/optim_step"));
  cr_expect(hit(149, "api/v1/session_heartbeat"));
  cr_expect_not(hit(150, "api/v1/session_heartbeat"));
  cr_expect_null(sim_course_due(&course, 1000, 0));
  cr_expect_eq(sim_course_next_ms(&course), INT64_MAX);
}

Test(fate, once_and_of_its_life) {
  only(SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, 3)->life = 1;
  cr_expect_null(sim_course_step(&course, 1, 0, 3));
  cr_expect_null(sim_course_step(&course, 1, 1, 2));
  cr_expect_not_null(sim_course_step(&course, 1, 1, 3));
  cr_expect_null(sim_course_step(&course, 1, 1, 3));
}

Test(fate, due_by_time_and_healed) {
  only(SIM_ACT_CLOCK, SIM_WHEN_TIME, SIM_ASK_ANY, 100);
  cr_expect_eq(sim_course_next_ms(&course), 100);
  cr_expect_null(sim_course_due(&course, 99, 0));
  cr_expect_not_null(sim_course_due(&course, 100, 0));
  cr_expect_null(sim_course_due(&course, 100, 0));
  cr_expect_eq(sim_course_next_ms(&course), INT64_MAX);
  only(SIM_ACT_CLOCK, SIM_WHEN_TIME, SIM_ASK_ANY, 100);
  script.heal_ms = 50;
  cr_expect_null(sim_course_due(&course, 100, 0));
  cr_expect_eq(course.happened, 0);
}
