/* Execution by number: whatever the order of arrival, next is what has no gap
 * before it. The service is a bare struct: nothing runs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <tinker/error.h>

#include "service/calls/calls.h"
#include "service/core/core.h"
#include "service/run/exec.h"
#include "support/fail_alloc.h"

static tinker__svc_session_t session = {.id = "s"};

static tinker__svc_op_t *arrive(tinker__svc_model_t *m, int64_t seq,
                                tinker__svc_op_state_t state) {
  tinker__svc_op_t *op =
      tinker__svc_op_new(m->service, m->id, seq, TINKER__SVC_OP_OPTIM);
  if (!op) return NULL;
  op->model = m;
  op->state = state;
  tinker__list_push_back(&m->ops, &op->all);
  tinker__svc_model_enqueue(m, op);
  return op;
}

/* Takes what can be executed; its numbers as text. */
static void drain(tinker__svc_model_t *m, char *out) {
  tinker__svc_op_t *op;
  for (;;) {
    m->state = TINKER__SVC_MODEL_QUEUED;
    if (!(op = tinker__svc_model_begin(m))) break;
    out += sprintf(out, "%lld ", (long long)op->seq);
    m->next_seq++;
  }
  *out = 0;
}

static void start(tinker__svc_t *s, tinker__mem_t *mem,
                  tinker__svc_model_t **m) {
  tinker__mem_init(mem, NULL, 0);
  *s = (tinker__svc_t){.mem = mem, .runner = &tinker__svc_runner};
  *m = tinker__svc_model_new(s, &session, 3);
  cr_assert_neq(*m, NULL);
  cr_assert_str_eq((*m)->id, "s:train:3");
  (*m)->next_seq = 1;
}

Test(order, permutations) {
  tinker__mem_t mem;
  tinker__svc_t s;
  tinker__svc_model_t *m;
  char text[100];
  static const int orders[][5] = {
      {1, 2, 3, 4, 5}, {5, 4, 3, 2, 1}, {2, 1, 4, 3, 5}, {3, 5, 1, 4, 2}};
  for (size_t i = 0; i < 4; i++) {
    start(&s, &mem, &m);
    for (int j = 0; j < 5; j++) {
      cr_assert_neq(arrive(m, orders[i][j], TINKER__SVC_OP_WAITING), NULL);
    }
    drain(m, text);
    cr_assert_str_eq(text, "1 2 3 4 5 ");
    tinker__svc_model_free(&s, m);
    cr_assert_eq(mem.live_blocks, 0);
  }
}

Test(order, gaps_rejections_and_durability) {
  tinker__mem_t mem;
  tinker__svc_t s;
  tinker__svc_model_t *m;
  char text[100];
  start(&s, &mem, &m);
  arrive(m, 4, TINKER__SVC_OP_WAITING);
  drain(m, text);
  cr_assert_str_eq(text, "", "4 ran before 1");
  arrive(m, 1, TINKER__SVC_OP_WAITING);
  drain(m, text);
  cr_assert_str_eq(text, "1 ");
  /* 2 was rejected and consumed its number; 3 is not in the log yet. */
  arrive(m, 2, TINKER__SVC_OP_REJECTED);
  tinker__svc_op_t *three = arrive(m, 3, TINKER__SVC_OP_LOGGING);
  drain(m, text);
  cr_assert_str_eq(text, "");
  cr_assert_eq(m->next_seq, 3);
  three->state = TINKER__SVC_OP_WAITING;
  drain(m, text);
  cr_assert_str_eq(text, "3 4 ");
  tinker__svc_model_free(&s, m);
  cr_assert_eq(mem.live_blocks, 0);
}

static int make(tinker__mem_t *mem, void *user) {
  tinker__svc_t s = {.mem = mem, .runner = &tinker__svc_runner};
  tinker__svc_model_t *m = tinker__svc_model_new(&s, &session, 0);
  (void)user;
  if (!m) return TINKER_ENOMEM;
  tinker__svc_op_t *op = arrive(m, 1, TINKER__SVC_OP_WAITING);
  tinker__svc_model_free(&s, m);
  return op ? 0 : TINKER_ENOMEM;
}

Test(order, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(make, NULL, TINKER_ENOMEM), 4);
}
