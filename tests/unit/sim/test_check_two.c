/* check: two runs that have to be alike, in their decisions (I15) or to the
 * byte (I18). */
#include <criterion/criterion.h>
#include <string.h>

#include "made_history.h"

static made_t calm, m;
static char why[1024];

static void setup(void) {
  made_undisturbed(&calm);
  made_recovered(&m, &calm);
}

TestSuite(check_two, .init = setup);

static made_t other;

Test(check_two, i15_same_decisions) {
  made_recovered(&other, &calm);
  for (size_t i = 0; i < other.h.record_count; i++) other.records[i].at_ms += 7;
  cr_expect_eq(sim_check_i15(&m.h, &other.h, why, sizeof why), 0, "%s", why);
}

Test(check_two, i15_other_decision) {
  made_recovered(&other, &calm);
  made_find(&other, TINKER__REC_ROLLBACK, 1)->step = 0;
  cr_expect_eq(sim_check_i15(&m.h, &other.h, why, sizeof why), 1);
  cr_expect(strstr(why, "ROLLBACK of step 2"), "%s", why);
}

Test(check_two, i15_one_decision_more) {
  made_recovered(&other, &calm);
  made_record(&other, 0, TINKER__REC_INC_OPEN, 4);
  cr_expect_eq(sim_check_i15(&m.h, &other.h, why, sizeof why), 1);
  cr_expect(strstr(why, "INC_OPEN"), "%s", why);
}

Test(check_two, i18_same_bytes) {
  made_recovered(&other, &calm);
  cr_expect_eq(sim_check_i18(&m.h, &other.h, why, sizeof why), 0, "%s", why);
}

Test(check_two, i18_other_ledger) {
  made_recovered(&other, &calm);
  other.entries[3].at_ms++;
  cr_expect_eq(sim_check_i18(&m.h, &other.h, why, sizeof why), 1);
  cr_expect(strstr(why, "from entry 3 on"), "%s", why);
}

Test(check_two, i18_other_journal) {
  made_recovered(&other, &calm);
  other.records[3].at_ms++;
  cr_expect_eq(sim_check_i18(&m.h, &other.h, why, sizeof why), 1);
  cr_expect(strstr(why, "another journal"), "%s", why);
}

Test(check_two, i18_other_words) {
  made_recovered(&other, &calm);
  made_line(&other, SIM_SHADOW_NEXT, 5);
  cr_expect_eq(sim_check_i18(&m.h, &other.h, why, sizeof why), 1);
  cr_expect(strstr(why, "another shadow log"), "%s", why);
}
