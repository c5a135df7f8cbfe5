/* Processes: one that waits at its gate has done nothing, and a number that was
 * given to another process meanwhile is not taken for it (F65). */
#include "process.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

static char *const nothing[] = {NULL};
static char sh[] = "sh", option[] = "-c", nowhere[] = "/nowhere/at/all";
static char why[200];

static tinker__rec_process_t make(const char *script) {
  tinker__rec_process_t p;
  char *const argv[] = {sh, option, (char *)(uintptr_t)script, NULL};
  const tinker__rec_program_t program = {argv, nothing, 022};
  cr_assert_eq(tinker__rec_process_make(&p, &program, why, sizeof why), 0, "%s",
               why);
  return p;
}

static tinker__rec_end_t end_of(tinker__rec_process_t *p) {
  tinker__rec_end_t end;
  struct pollfd f = {.fd = p->fd, .events = POLLIN};
  cr_assert_eq(poll(&f, 1, 60000), 1);
  cr_assert(tinker__rec_process_ended(p, &end));
  cr_assert_eq(p->fd, -1);
  return end;
}

Test(process, exit_code) {
  tinker__rec_end_t end;
  tinker__rec_process_t p = make("exit 7");
  cr_assert_not(tinker__rec_process_ended(&p, &end)); /* it waits */
  tinker__rec_process_go(&p);
  end = end_of(&p);
  cr_assert(end.known && end.code == 7 && end.signal == 0);
}

Test(process, program_that_is_not_there) {
  tinker__rec_process_t p;
  char *const argv[] = {nowhere, NULL};
  const tinker__rec_program_t program = {argv, nothing, 022};
  cr_assert_eq(tinker__rec_process_make(&p, &program, why, sizeof why), 0);
  tinker__rec_process_go(&p);
  cr_assert_eq(end_of(&p).code, 127);
}

/* The gate closes without a word: it ends and was never the program. */
Test(process, gate_closes) {
  tinker__rec_process_t p = make("exit 7");
  close(p.gate);
  p.gate = -1;
  tinker__rec_end_t end = end_of(&p);
  cr_assert(end.known && end.code == 0 && end.signal == 0);
}

Test(process, killed) {
  tinker__rec_process_t p = make("read x < /dev/zero");
  tinker__rec_process_go(&p);
  tinker__rec_process_signal(&p, SIGKILL);
  cr_assert_eq(end_of(&p).signal, SIGKILL);
  tinker__rec_process_signal(&p, SIGKILL); /* nothing happens */
}

Test(process, found_by_its_start) {
  tinker__rec_process_t p = make("exit 0"), q;
  cr_assert_eq(tinker__rec_process_find(&q, p.pid, p.started, why, sizeof why),
               0);
  tinker__rec_process_leave(&q);
  cr_assert_eq(
      tinker__rec_process_find(&q, p.pid, p.started + 1, why, sizeof why),
      TINKER_ENOENT);
  cr_assert_eq(q.fd, -1);
  pid_t pid = p.pid;
  int64_t started = p.started;
  tinker__rec_process_go(&p);
  end_of(&p);
  cr_assert_eq(tinker__rec_process_find(&q, pid, started, why, sizeof why),
               TINKER_ENOENT);
}

Test(process, dump) {
  tinker__mem_t mem;
  tinker__buf_t text;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&text, &mem, 4096);
  tinker__rec_process_t p = make("exit 0");
  tinker__rec_process_dump(&p, &text);
#ifdef __linux__
  cr_assert(text.len && strstr(tinker__buf_cstr(&text), " unit_recoverd "),
            "%s", tinker__buf_cstr(&text));
#endif
  tinker__rec_process_leave(&p);
  tinker__buf_free(&text);
}
