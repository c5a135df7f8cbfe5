/* What one daemon leaves to the next one. */
#include "ledger.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

static tinker__mem_t mem;
static char dir[] = "/tmp/ledgerXXXXXX", why[512];
static tinker__rec_ledger_t ledger;

static int try_open(tinker__rec_ledger_t *l) {
  return tinker__rec_ledger_open(l, &mem, tinker__world_real(), dir, why,
                                 sizeof why);
}

static void begin(void) {
  tinker__mem_init(&mem, NULL, 0);
  cr_assert(mkdtemp(dir));
  cr_assert_eq(try_open(&ledger), 0, "%s", why);
}

static void end(void) {
  char command[100];
  tinker__rec_ledger_close(&ledger);
  cr_assert_eq(mem.live_blocks, 0);
  snprintf(command, sizeof command, "rm -r %s", dir);
  cr_assert_eq(system(command), 0);
}

static const tinker__rec_left_t *reopen(const char *name) {
  tinker__rec_ledger_close(&ledger);
  cr_assert_eq(try_open(&ledger), 0, "%s", why);
  return tinker__rec_ledger_find(&ledger, name);
}

static void note(tinker__rec_type_t type, tinker__rec_facts_t f,
                 const char *name) {
  f.name = tinker__str(name);
  cr_assert_eq(tinker__rec_ledger_note(&ledger, type, &f, true), 0);
}

static tinker__rec_facts_t facts(void) {
  const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  return none;
}

static void note_begin(const char *name) {
  tinker__rec_facts_t f = facts();
  f.pid = 4711, f.started = 99, f.attempt = 3;
  note(TINKER__REC_ATTEMPT_BEGIN, f, name);
}

static void note_end(const char *name, const char *state) {
  tinker__rec_facts_t f = facts();
  f.cause = tinker__str(state);
  f.count = 2, f.level = 1, f.epoch = 4, f.from_step = 17, f.delay_ms = 900;
  note(TINKER__REC_ATTEMPT_END, f, name);
}

TestSuite(ledger, .init = begin, .fini = end);

Test(ledger, nothing_is_known_of_a_new_one) {
  cr_assert_null(reopen("a"));
}

Test(ledger, a_start_without_an_end) {
  note_begin("a");
  note_end("b", "waiting");
  const tinker__rec_left_t *x = reopen("a");
  cr_assert(x && x->alive);
  cr_assert_eq(x->pid, 4711);
  cr_assert_eq(x->started, 99);
  cr_assert_eq(x->attempts, 3);
  cr_assert_eq(x->restart.state, TINKER__REC_TRAINER_RUNNING);
  cr_assert_eq(strlen(x->boot), 36);
}

/* Deaths are counted over the ends of daemons (I12). */
Test(ledger, an_end) {
  note_begin("a");
  note_end("a", "waiting");
  const tinker__rec_left_t *x = reopen("a");
  cr_assert(x && !x->alive);
  cr_assert_eq(x->restart.state, TINKER__REC_TRAINER_WAITING);
  cr_assert_eq(x->restart.fruitless, 2);
  cr_assert_eq(x->restart.early, 1);
  cr_assert_eq(x->restart.epoch, 4);
  cr_assert_eq(x->restart.committed, 17);
  cr_assert_eq(x->delay_ms, 900);
  note_end("a", "exhausted");
  cr_assert_eq(reopen("a")->restart.state, TINKER__REC_TRAINER_EXHAUSTED);
}

/* The word of an operator holds for the next daemon, also for a trainer that
 * still runs (F94). */
Test(ledger, words) {
  note_begin("a");
  note(TINKER__REC_HOLD, facts(), "a");
  const tinker__rec_left_t *x = reopen("a");
  cr_assert(x->alive);
  cr_assert_eq(x->restart.state, TINKER__REC_TRAINER_HELD);
  note_end("a", "held");
  cr_assert_eq(reopen("a")->restart.state, TINKER__REC_TRAINER_HELD);
  note(TINKER__REC_RELEASE, facts(), "a");
  x = reopen("a");
  cr_assert_eq(x->restart.state, TINKER__REC_TRAINER_WAITING);
  cr_assert_eq(x->restart.fruitless, 0);
  note(TINKER__REC_INC_STOP, facts(), "a");
  cr_assert_eq(reopen("a")->restart.state, TINKER__REC_TRAINER_STOPPED);
}

/* F67, F68. */
Test(ledger, one_daemon) {
  tinker__rec_ledger_t other;
  cr_assert_eq(try_open(&other), TINKER_EBUSY);
  cr_assert(strstr(why, "another daemon works on this folder"), "%s", why);
  tinker__rec_ledger_close(&other);
  cr_assert(tinker__rec_ledger_held(&ledger));
  cr_assert_eq(unlink(ledger.lock_path), 0);
  cr_assert_not(tinker__rec_ledger_held(&ledger));
}

Test(ledger, damage_is_refused) {
  char path[100];
  note_begin("a");
  tinker__rec_ledger_close(&ledger);
  snprintf(path, sizeof path, "%s/daemon.db", dir);
  FILE *f = fopen(path, "r+");
  cr_assert(f);
  fputs("not a database at all", f);
  fclose(f);
  cr_assert_neq(try_open(&ledger), 0);
  cr_assert(strstr(why, "daemon.db"), "%s", why);
}

static int try_reopen(uint64_t n) {
  tinker__rec_ledger_close(&ledger);
  mem.fail_at = mem.count + n;
  int rc = try_open(&ledger);
  mem.fail_at = 0;
  return rc;
}

/* Whichever allocation fails, it is opened or refused as a whole. */
Test(ledger, without_memory) {
  int rc = TINKER_ENOMEM;
  note_begin("a");
  note_end("b", "held");
  for (uint64_t n = 1; rc != 0 && n < 500; n++) {
    rc = try_reopen(n);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM || rc == TINKER_EIO, "%d", rc);
  }
  cr_assert_eq(rc, 0);
  cr_assert(tinker__rec_ledger_find(&ledger, "a")->alive);
}
