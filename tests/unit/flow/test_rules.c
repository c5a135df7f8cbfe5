/* The rules that need no operation: cutting, quotas, the table. */
#include <criterion/criterion.h>

#include "flow/chunk.h"
#include "flow/op.h"
#include "flow/quota.h"

static size_t cut(size_t max_len, uint64_t max_bytes, const uint64_t *sizes,
                  size_t n, size_t *ends) {
  tinker__chunk_limits_t l = {max_len, max_bytes};
  size_t count = 0;
  for (size_t at = 0; at < n; count++) {
    ends[count] = at = tinker__chunk_end(&l, sizes, n, at);
  }
  cr_assert_eq(count, tinker__chunk_count(&l, sizes, n));
  return count;
}

Test(rules, chunks) {
  const uint64_t sizes[6] = {10, 10, 25, 5, 5, 100};
  size_t ends[6];
  cr_assert_eq(cut(1024, 1000, sizes, 6, ends), 1u);
  cr_assert_eq(cut(2, 1000, sizes, 6, ends), 3u);
  cr_assert_eq(cut(1024, 20, sizes, 6, ends), 4u);
  cr_assert(ends[0] == 2 && ends[1] == 3 && ends[2] == 5 && ends[3] == 6);
  cr_assert_eq(cut(1, 0, sizes, 6, ends), 6u);
  const uint64_t huge[2] = {UINT64_MAX, UINT64_MAX};
  cr_assert_eq(cut(9, UINT64_MAX, huge, 2, ends), 2u);
}

Test(rules, quota) {
  tinker__quota_t q;
  tinker__link_t a, b, c;
  tinker__list_init(&a);
  tinker__list_init(&b);
  tinker__list_init(&c);
  tinker__quota_init(&q, 100);
  cr_assert(tinker__quota_enter(&q, &a, 1000)); /* larger than all: alone */
  cr_assert(!tinker__quota_enter(&q, &b, 1));
  cr_assert(!tinker__quota_enter(&q, &c, 1));
  cr_assert_null(tinker__quota_next(&q));
  tinker__quota_leave(&q, 1000);
  cr_assert_eq(tinker__quota_next(&q), &b);
  tinker__quota_take(&q, 1);
  cr_assert(!tinker__quota_enter(&q, &a, 1)); /* nobody overtakes c */
  cr_assert_eq(tinker__quota_next(&q), &c);
  cr_assert_eq(tinker__quota_next(&q), &a);
}

/* DONE is final, nothing but a turn leads out of QUEUED, what is at the door is
 * sent by its answer alone or is withdrawn, and numbers that were taken are
 * given up only by ON_QUIT. */
Test(rules, table) {
  for (int e = 0; e < TINKER__OP_EVENTS; e++) {
    tinker__op_move_t m = tinker__op_move(TINKER__OP_DONE, e);
    cr_assert(m.next == TINKER__OP_DONE &&
              (m.action == TINKER__DO_NOTHING || m.action == TINKER__DO_NEVER));
    m = tinker__op_move(TINKER__OP_QUEUED, e);
    cr_assert_eq(m.next == TINKER__OP_SENDING, e == TINKER__ON_TURN);
    m = tinker__op_move(TINKER__OP_ADMITTING, e);
    cr_assert_eq(m.next == TINKER__OP_SENDING, e == TINKER__ON_GO);
    cr_assert_eq(m.next == TINKER__OP_DONE, m.action == TINKER__DO_WITHDRAW);
    m = tinker__op_move(TINKER__OP_TRAILING, e);
    cr_assert_eq(m.action == TINKER__DO_ABORT, e == TINKER__ON_QUIT);
    m = tinker__op_move(TINKER__OP_SENDING, e);
    cr_assert_eq(m.action == TINKER__DO_ABORT, e == TINKER__ON_QUIT);
    m = tinker__op_move(TINKER__OP_LEAVING, e);
    cr_assert_eq(m.action == TINKER__DO_ABORT, e == TINKER__ON_QUIT);
  }
  for (int s = 0; s < TINKER__OP_STATES; s++) {
    cr_assert(tinker__op_state_name(s)[0]);
  }
}
