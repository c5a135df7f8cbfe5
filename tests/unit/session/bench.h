/* What the tests of the session share: a session on the tests' own loop and
 * transport. */
#ifndef TESTS_UNIT_SESSION_BENCH_H
#define TESTS_UNIT_SESSION_BENCH_H

#include "session/session.h"
#include "support/fake_loop.h"
#include "support/script_transport.h"

#define CONFIG "api/v1/client/config"
#define DYNAMIC "api/v1/client/dynamic_config"
#define CREATE "api/v1/create_session"
#define BEAT "api/v1/session_heartbeat"
#define FINISH "api/v1/sessions/s-1/finish"

typedef struct bench_s {
  tinker__mem_t own;
  tinker__mem_t *mem;
  fake_loop_t fake;
  script_t *script;
  tinker__session_t *session;
  char events[1024]; /* "silent\n", "back\n", "ended\n", "text\n" */
  int closed;
} bench_t;

/* A waiter that remembers how it ended. */
typedef struct probe_s {
  tinker__session_waiter_t waiter;
  bench_t *bench;
  int times;
  int code;
  int status;
  unsigned unknown;
  char text[300];
} probe_t;

/* 0, or the session's own code: then there is nothing to close. */
int bench_open(bench_t *b, tinker__mem_t *mem);
/* Closes the session, the transport and the loop; checks that all ended. */
void bench_close(bench_t *b);
/* Only the session and all after it, for a bench without checks. */
void bench_close_quietly(bench_t *b);

/* The replies of a server that is well. */
void bench_expect_config(bench_t *b);
void bench_expect_session(bench_t *b); /* with config */

void bench_need(bench_t *b, probe_t *p, tinker__session_need_t need);
void bench_forget(bench_t *b, probe_t *p);
void bench_finish(bench_t *b, probe_t *p, const char *detail,
                  int64_t timeout_ms);
/* Opens a session; the script gets what it takes. */
void bench_start(bench_t *b);

#endif
