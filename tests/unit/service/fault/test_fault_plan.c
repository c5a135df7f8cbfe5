/* Which rule of a plan fires, and when. The wording of refusals is checked with
 * the program (tests/e2e/service_faults.py). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "service/fault/fault_plan.h"
#include "support/fail_alloc.h"

static tinker__svc_fault_plan_t *read_plan(tinker__mem_t *mem,
                                           const char *text) {
  char why[300] = "";
  tinker__svc_fault_plan_t *plan = NULL;
  int rc = tinker__svc_fault_plan_read(&plan, mem, tinker__str(text), why,
                                       sizeof why);
  cr_assert_eq(rc, 0, "%s: %s", text, why);
  return plan;
}

/* The rules that fire for n equal calls, as digits; '.' = none. */
static void fire(tinker__svc_fault_plan_t *plan, const char *endpoint,
                 const char *id, int64_t seq, int n, int64_t step_ms,
                 char *out) {
  tinker__svc_fault_call_t call = {
      .endpoint = tinker__str(endpoint),
      .id = tinker__str(id),
      .of = tinker__str("optim_step"),
      .seq = seq,
  };
  for (int i = 0; i < n; i++) {
    tinker__svc_fault_rule_t *f =
        tinker__svc_fault_plan_next(plan, &call, i * step_ms);
    out[i] = f ? (char)('0' + (f - plan->rules)) : '.';
  }
  out[n] = 0;
}

static const struct {
  const char *rules, *endpoint, *id;
  int64_t seq, step_ms;
  const char *fired;
} cases[] = {
    {"[{\"act\":\"hang\"}]", "a", "", -1, 1, "00000"},
    {"[{\"act\":\"hang\",\"endpoint\":\"b\"}]", "a", "", -1, 1, "....."},
    {"[{\"act\":\"hang\",\"id\":\"n:0\"}]", "a", "s:train:1", -1, 1, "....."},
    {"[{\"act\":\"hang\",\"id\":\"n:0\"}]", "a", "s:train:0", -1, 1, "00000"},
    {"[{\"act\":\"hang\",\"of\":\"asample\"}]", "a", "", -1, 1, "....."},
    {"[{\"act\":\"hang\",\"of\":\"optim_step\"}]", "a", "", -1, 1, "00000"},
    {"[{\"act\":\"hang\",\"seq_id\":0}]", "a", "", 0, 1, "00000"},
    {"[{\"act\":\"hang\",\"seq_id\":0}]", "a", "", -1, 1, "....."},
    {"[{\"act\":\"hang\",\"nth\":3}]", "a", "", -1, 1, "..0.."},
    {"[{\"act\":\"hang\",\"after\":3}]", "a", "", -1, 1, "...00"},
    {"[{\"act\":\"hang\",\"times\":2}]", "a", "", -1, 1, "00..."},
    {"[{\"act\":\"hang\",\"after\":1,\"times\":2}]", "a", "", -1, 1, ".00.."},
    {"[{\"act\":\"hang\",\"for_ms\":20}]", "a", "", -1, 10, "00..."},
    {"[{\"act\":\"hang\",\"nth\":2},{\"act\":\"drop\"}]", "a", "", -1, 1,
     "10111"},
    /* An act of a call is not for a request. */
    {"[{\"act\":\"corrupt\"},{\"act\":\"drop\"}]", "a", "", -1, 1, "11111"}};

Test(fault_plan, which_rule_fires) {
  tinker__mem_t mem;
  char text[300], fired[10];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(text, sizeof text, "{\"rules\":%s}", cases[i].rules);
    tinker__svc_fault_plan_t *plan = read_plan(&mem, text);
    fire(plan, cases[i].endpoint, cases[i].id, cases[i].seq, 5,
         cases[i].step_ms, fired);
    cr_expect_str_eq(fired, cases[i].fired, "%s: %s", text, fired);
    tinker__svc_fault_plan_free(plan);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

Test(fault_plan, chance_repeats_itself) {
  tinker__mem_t mem;
  char text[100], fired[3][1001];
  static const int seeds[] = {1, 1, 2};
  tinker__mem_init(&mem, NULL, 0);
  for (int i = 0; i < 3; i++) {
    int n = 0;
    snprintf(text, sizeof text,
             "{\"seed\":%d,\"rules\":[{\"act\":\"drop\",\"probability\":0.3}]}",
             seeds[i]);
    tinker__svc_fault_plan_t *plan = read_plan(&mem, text);
    fire(plan, "a", "", -1, 1000, 1, fired[i]);
    for (const char *p = fired[i]; *p; p++) n += *p == '0';
    cr_assert(n > 230 && n < 370, "%d", n); /* five deviations */
    tinker__svc_fault_plan_free(plan);
  }
  cr_assert_str_eq(fired[0], fired[1]);
  cr_assert_str_neq(fired[0], fired[2]);
}

static int make(tinker__mem_t *mem, void *user) {
  static const char text[] =
      "{\"seed\":1,\"rules\":[{\"act\":\"status\",\"status\":503,\"body\":"
      "\"x\\n\",\"content_type\":\"text/html\",\"endpoint\":\"a\",\"id\":\"b\","
      "\"of\":\"c\"},{\"act\":\"pause\",\"ms\":1,\"state\":\"s\","
      "\"reason\":\"r\"}]}";
  tinker__svc_fault_plan_t *plan = NULL;
  (void)user;
  int rc = tinker__svc_fault_plan_read(&plan, mem, tinker__str(text), NULL, 0);
  tinker__svc_fault_plan_free(plan);
  return rc;
}

Test(fault_plan, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(make, NULL, TINKER_ENOMEM), 9);
}
