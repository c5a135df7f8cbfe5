/* Connections that wait too long, and who gives way. No socket. */
#include <criterion/criterion.h>
#include <string.h>

#include "service/http/conns.h"

static int shut_fds[64];
static size_t shut_n;

static void note(int fd) {
  shut_fds[shut_n++] = fd;
}

static tinker__svc_conns_t conns;
static tinker__svc_conn_t conn[16];

static void open_conns(size_t n, size_t max) {
  shut_n = 0;
  tinker__svc_conns_init(&conns, max, note);
  for (size_t i = 0; i < n; i++) {
    tinker__svc_conns_add(&conns, &conn[i], (int)i, (int64_t)i);
  }
}

static void close_conns(size_t n) {
  for (size_t i = 0; i < n; i++) tinker__svc_conns_remove(&conns, &conn[i]);
  cr_assert_eq(conns.n, 0);
  tinker__svc_conns_done(&conns);
}

/* Whole heads and bodies have a limit each; what the service answers has none,
 * and every step begins anew. */
Test(conns, what_waits_too_long) {
  static const int64_t limits[] = {10000, 60000, 120000};
  for (int state = 0; state < TINKER__CONN_WAITS; state++) {
    open_conns(3, 16);
    cr_assert_eq(tinker__svc_conn_limits[state], limits[state]);
    for (size_t i = 0; i < 3; i++) {
      tinker__svc_conns_move(&conns, &conn[i], (tinker__svc_conn_state_t)state,
                             5000 + (int64_t)i);
    }
    tinker__svc_conns_move(&conns, &conn[1], TINKER__CONN_BUSY, 6000);
    tinker__svc_conns_look(&conns, 5000 + limits[state] - 1);
    cr_assert_eq(shut_n, 0);
    tinker__svc_conns_look(&conns, 5000 + limits[state]);
    cr_assert(shut_n == 1 && shut_fds[0] == 0);
    tinker__svc_conns_look(&conns, INT64_MAX);
    cr_assert(shut_n == 2 && shut_fds[1] == 2);
    tinker__svc_conns_look(&conns, INT64_MAX); /* each once */
    cr_assert_eq(shut_n, 2);
    close_conns(3);
  }
}

/* One that is ended stays so, whatever its thread still does with it. */
Test(conns, an_end_is_one) {
  open_conns(1, 16);
  tinker__svc_conns_look(&conns, 10000);
  cr_assert_eq(shut_n, 1);
  cr_assert_eq(conns.n, 0);
  tinker__svc_conns_move(&conns, &conn[0], TINKER__CONN_IDLE, 10001);
  tinker__svc_conns_look(&conns, INT64_MAX);
  cr_assert_eq(shut_n, 1);
  close_conns(1);
}

/* Of 16 places 14 may be taken: those that wait longest for a first head go,
 * then idle ones, then bodies; never who has just come, or is being answered.
 */
Test(conns, a_crowd_makes_room) {
  open_conns(16, 16);
  tinker__svc_conns_look(&conns, 999);
  cr_assert_eq(shut_n, 0, "all have just come");
  tinker__svc_conns_look(&conns, 1002);
  cr_assert(shut_n == 2 && shut_fds[0] == 0 && shut_fds[1] == 1);
  close_conns(16);
  open_conns(16, 16);
  for (size_t i = 0; i < 16; i++) {
    tinker__svc_conns_move(&conns, &conn[i],
                           i < 14   ? TINKER__CONN_BUSY
                           : i < 15 ? TINKER__CONN_BODY
                                    : TINKER__CONN_IDLE,
                           100);
  }
  tinker__svc_conns_look(&conns, 1100);
  cr_assert(shut_n == 1 && shut_fds[0] == 15);
  tinker__svc_conns_look(&conns, 10100);
  cr_assert(shut_n == 2 && shut_fds[1] == 14);
  close_conns(16);
}
