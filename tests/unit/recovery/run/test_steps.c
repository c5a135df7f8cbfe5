/* steps: those that are under way, and where the data of the next one go on.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/tinker.h>

#include "run/run.h"

static tinker_run_t run;

static void setup(void) {
  tinker__mem_init(&run.mem, NULL, 0);
  tinker__list_init(&run.steps);
  cr_assert_eq(tinker__rec_state_init(&run.state, &run.mem), 0);
  tinker__buf_adds(&run.state.cursor, "committed");
}

static void teardown(void) {
  tinker__rec_steps_drop(&run);
  cr_assert(tinker__list_empty(&run.steps));
  tinker__rec_state_free(&run.state);
  cr_assert_eq(atomic_load(&run.mem.live_blocks), 0);
}

TestSuite(steps, .init = setup, .fini = teardown);

static tinker__rec_step_t *step(int64_t number, const char *cursor) {
  tinker__rec_step_t *s = tinker__rec_step_new(&run, number);
  cr_assert(s);
  if (!cursor) return s;
  s->cursor = tinker__mem_strdup(&run.mem, cursor);
  s->cursor_len = strlen(cursor);
  s->committing = true;
  return s;
}

static bool cursor_is(const char *text) {
  return tinker__str_eqs(tinker__rec_step_cursor(&run), text);
}

Test(steps, the_last_one) {
  cr_assert_eq(tinker__rec_step_last(&run), NULL);
  step(4, NULL);
  tinker__rec_step_t *s = step(5, NULL);
  cr_assert_eq(tinker__rec_step_last(&run), s);
  cr_assert_eq(run.handed, 5);
  tinker__rec_step_free(&run, s);
  cr_assert_eq(tinker__rec_step_last(&run)->number, 4);
  step(3, NULL); /* after a rollback */
  cr_assert_eq(run.handed, 5);
}

/* The cursor of the step before the one that is done next. */
Test(steps, the_cursor_is_that_of_the_step_before) {
  cr_assert(cursor_is("committed"));
  tinker__rec_step_t *one = step(1, NULL); /* begun, and asked for again */
  cr_assert(cursor_is("committed"));
  tinker__rec_step_free(&run, one);
  step(1, "one"); /* its commit was called and is not on the disk */
  cr_assert(cursor_is("one"));
  step(2, NULL);
  cr_assert(cursor_is("one"));
  tinker__rec_step_free(&run, tinker__rec_step_last(&run));
  step(2, "two");
  cr_assert(cursor_is("two"));
}

Test(steps, a_cursor_of_no_bytes) {
  tinker__rec_step_t *s = step(1, NULL);
  s->committing = true;
  cr_assert(cursor_is(""));
}

Test(steps, futures_are_kept_with_their_batches) {
  unsigned char batch[TINKER__SHA256_LEN] = {0};
  tinker__rec_step_t *s = step(1, NULL);
  for (int i = 0; i < 9; i++) {
    batch[0] = (unsigned char)i;
    cr_assert_eq(tinker__rec_step_add(&run, s, NULL, batch), 0);
  }
  cr_assert_eq(s->forward_count, 9);
  for (int i = 0; i < 9; i++) cr_assert_eq(s->batches[i][0], i);
}

/* A batch that there was no memory for is not there, and nothing else is gone.
 */
Test(steps, no_memory) {
  unsigned char batch[TINKER__SHA256_LEN] = {0};
  tinker__rec_step_t *s = step(1, NULL);
  for (size_t n = 0; n < 20; n++) {
    for (uint64_t i = 1; i <= 2; i++) {
      run.mem.fail_at = atomic_load(&run.mem.count) + i;
      batch[0] = (unsigned char)n;
      int rc = tinker__rec_step_add(&run, s, NULL, batch);
      cr_assert(rc == 0 || rc == TINKER_ENOMEM);
      if (rc == 0) s->forward_count--;
      cr_assert_eq(s->forward_count, n);
    }
    run.mem.fail_at = 0;
    cr_assert_eq(tinker__rec_step_add(&run, s, NULL, batch), 0);
    cr_assert_eq(s->batches[n / 2][0], n / 2);
  }
  run.mem.fail_at = atomic_load(&run.mem.count) + 1;
  cr_assert_eq(tinker__rec_step_new(&run, 2), NULL);
  run.mem.fail_at = 0;
  cr_assert_eq(run.handed, 1);
}
