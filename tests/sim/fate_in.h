/* fate_in: what the scenarios are made with. */
#ifndef TESTS_SIM_FATE_IN_H
#define TESTS_SIM_FATE_IN_H

#include "sim/fate.h"

#define SIM_SECOND INT64_C(1000)
#define SIM_MINUTE (60 * SIM_SECOND)
#define SIM_HOUR (60 * SIM_MINUTE)
#define SIM_DAY (24 * SIM_HOUR)
#define SIM_MUTATIONS 26 /* of an undisturbed run of the usual length */

typedef struct sim_scenario_s {
  const char *name, *title;
  void (*fill)(sim_script_t *s, sim_rng_t *r);
} sim_scenario_t;

extern const sim_scenario_t sim_service_scenarios[]; /* F01 to F24 */
extern const size_t sim_service_scenario_count;
extern const sim_scenario_t sim_data_scenarios[]; /* F25 to F50 */
extern const size_t sim_data_scenario_count;
extern const sim_scenario_t sim_host_scenarios[]; /* from F60 on */
extern const size_t sim_host_scenario_count;

/* From low to high, both included. */
int64_t sim_pick(sim_rng_t *r, int64_t low, int64_t high);

sim_action_t *sim_add(sim_script_t *s, sim_act_t act, sim_when_t when,
                      sim_ask_t ask, int64_t n);
sim_fault_t *sim_go_wrong(sim_script_t *s, sim_bug_t bug, int64_t nth,
                          int64_t times);

/* --- Demands -------------------------------------------------------------- */

/* R4, and R5 if `more` intervals are lost beside: one incident at least. */
void sim_demand_back(sim_script_t *s, int64_t incidents, int64_t more);
/* It may have to go back, or may not. */
void sim_demand_may_go_back(sim_script_t *s, int64_t incidents);
void sim_demand_stop(sim_script_t *s, const char *reason);
void sim_demand_nothing(sim_script_t *s); /* it goes on, I13 */

#endif
