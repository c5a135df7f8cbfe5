/* bodies: the bytes that were added, or an error that says which are missing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/digest.h"
#include "journal/bodies.h"
#include "made.h"
#include "support/fail_alloc.h"
#include "support/file_script.h"

static tinker__mem_t mem;
static tinker__buf_t out;
static char prefix[256], why[300];
static unsigned char digest[32];

static void setup(void) {
  made_setup();
  snprintf(prefix, sizeof prefix, "%s", made_path("e1"));
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 1 << 20);
}

static void teardown(void) {
  tinker__buf_free(&out);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(bodies, .init = setup, .fini = teardown);

static int add(tinker__rec_bodies_t *b, int64_t step, const char *text,
               int64_t *offset) {
  size_t half = strlen(text) / 2;
  const tinker_segment_t parts[] = {{text, half},
                                    {text + half, strlen(text) - half}};
  return tinker__rec_bodies_add(b, step, parts, 2, offset, why, sizeof why);
}

static int get(const tinker__rec_bodies_t *b, int64_t step, int64_t offset,
               const char *text) {
  cr_assert_eq(tinker__sha256(text, strlen(text), digest), 0);
  int rc = tinker__rec_bodies_read(b, step, offset, strlen(text), digest, &out,
                                   why, sizeof why);
  if (rc == 0) cr_assert(tinker__str_eqs(tinker__buf_str(&out), text));
  return rc;
}

Test(bodies, what_is_added_is_read) {
  tinker__rec_bodies_t b, reader;
  int64_t at[3];
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  tinker__rec_bodies_init(&reader, tinker__world_real(), prefix);
  cr_assert_eq(add(&b, 5, "the first", &at[0]), 0);
  cr_assert_eq(add(&b, 6, "another step", &at[1]), 0);
  cr_assert_eq(add(&b, 5, "the second", &at[2]), 0);
  cr_assert(at[0] == 0 && at[1] == 0 && at[2] == 9);
  cr_assert_eq(get(&reader, 5, at[2], "the second"), 0);
  cr_assert_eq(get(&reader, 5, at[0], "the first"), 0);
  cr_assert_eq(get(&b, 6, at[1], "another step"), 0);
  tinker__rec_bodies_close(&b);
}

Test(bodies, another_digest_is_refused) {
  tinker__rec_bodies_t b;
  int64_t at;
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  cr_assert_eq(add(&b, 5, "some bytes", &at), 0);
  cr_assert_eq(get(&b, 5, at, "same bytes"), TINKER_EFORMAT);
  cr_assert(strstr(why, "e1.s5.bodies"), "%s", why);
  cr_assert_eq(get(&b, 5, at + 1, "ome bytes"), 0);
  tinker__rec_bodies_close(&b);
}

Test(bodies, a_file_that_is_cut_is_refused) {
  tinker__rec_bodies_t b;
  int64_t at;
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  cr_assert_eq(add(&b, 5, "some bytes", &at), 0);
  tinker__rec_bodies_close(&b);
  cr_assert_eq(truncate(made_path("e1.s5.bodies"), 9), 0);
  cr_assert_eq(get(&b, 5, at, "some bytes"), TINKER_EFORMAT);
  cr_assert(strstr(why, "has 9 bytes"), "%s", why);
  cr_assert_eq(get(&b, 5, -1, "some bytes"), TINKER_EFORMAT);
  cr_assert_eq(get(&b, 5, INT64_MAX, "some bytes"), TINKER_EFORMAT);
  cr_assert_eq(unlink(made_path("e1.s5.bodies")), 0);
  cr_assert_eq(get(&b, 5, at, "some bytes"), TINKER_ENOENT);
}

/* A process that goes on appends, and what is there stays. */
Test(bodies, two_processes_append) {
  tinker__rec_bodies_t b;
  int64_t at;
  int status = 0;
  pid_t child = fork();
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  if (child == 0) {
    _exit(add(&b, 5, "of the first", &at) == 0 && at == 0 ? 0 : 1);
  }
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert_eq(status, 0);
  cr_assert_eq(add(&b, 5, "of the second", &at), 0);
  cr_assert_eq(at, 12);
  cr_assert_eq(get(&b, 5, 0, "of the first"), 0);
  cr_assert_eq(get(&b, 5, at, "of the second"), 0);
  tinker__rec_bodies_close(&b);
}

/* A process that was thought dead appends at the same time: nothing is read as
 * what it is not. */
Test(bodies, two_writers_at_once) {
  tinker__rec_bodies_t a, b;
  int64_t at[4];
  tinker__rec_bodies_init(&a, tinker__world_real(), prefix);
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  cr_assert_eq(add(&a, 5, "a one", &at[0]), 0);
  cr_assert_eq(add(&b, 5, "b one", &at[1]), 0);
  cr_assert_eq(add(&a, 5, "a two", &at[2]), 0);
  cr_assert_eq(add(&b, 5, "b two", &at[3]), 0);
  cr_assert_eq(get(&a, 5, at[0], "a one"), 0);
  cr_assert_eq(get(&a, 5, at[1], "b one"), 0);
  for (int i = 2; i < 4; i++) {
    int rc = get(&a, 5, at[i], i == 2 ? "a two" : "b two");
    cr_assert(rc == 0 || rc == TINKER_EFORMAT, "%d", rc);
  }
  tinker__rec_bodies_close(&a);
  tinker__rec_bodies_close(&b);
}

Test(bodies, the_file_goes_with_its_step) {
  tinker__rec_bodies_t b, drops;
  int64_t at;
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  tinker__rec_bodies_init(&drops, tinker__world_real(), prefix);
  cr_assert_eq(add(&b, 5, "of five", &at), 0);
  cr_assert_eq(add(&b, 6, "of six", &at), 0);
  tinker__rec_bodies_drop(&drops, 5);
  tinker__rec_bodies_drop(&drops, 4); /* there is none */
  cr_assert_eq(get(&b, 5, 0, "of five"), TINKER_ENOENT);
  cr_assert_eq(get(&b, 6, 0, "of six"), 0);
  tinker__rec_bodies_drop(&b, 6);
  cr_assert_eq(b.fd, -1);
  cr_assert_eq(get(&b, 6, 0, "of six"), TINKER_ENOENT);
}

/* After a write that failed the next one has the place that it says. */
Test(bodies, a_failed_write) {
  tinker__file_script_t script;
  tinker__rec_bodies_t b;
  int64_t at = -1;
  tinker__file_script_init(&script);
  tinker__rec_bodies_init(&b, &script.world, prefix);
  cr_assert_eq(add(&b, 5, "whole", &at), 0);
  tinker__file_script_begin(&script, 2); /* the second half of it */
  cr_assert_eq(add(&b, 5, "halves", &at), TINKER_EIO);
  cr_assert_eq(at, 0);
  cr_assert_eq(add(&b, 5, "after", &at), 0);
  cr_assert_eq(get(&b, 5, at, "after"), 0);
  cr_assert_eq(get(&b, 5, 0, "whole"), 0);
  tinker__rec_bodies_close(&b);
  tinker__file_script_begin(&script, 1); /* the opening */
  cr_assert_eq(add(&b, 7, "none", &at), TINKER_EIO);
  cr_assert(strstr(why, "e1.s7.bodies"), "%s", why);
  cr_assert_eq(b.fd, -1);
}

Test(bodies, a_path_that_is_too_long) {
  static char longer[5000];
  tinker__rec_bodies_t b;
  int64_t at;
  memset(longer, 'a', sizeof longer - 1);
  tinker__rec_bodies_init(&b, tinker__world_real(), longer);
  cr_assert_eq(add(&b, 5, "none", &at), TINKER_EOVERFLOW);
  cr_assert_eq(get(&b, 5, 0, "none"), TINKER_EOVERFLOW);
  tinker__rec_bodies_drop(&b, 5);
}

static int read_sweep(tinker__mem_t *m, void *user) {
  tinker__buf_t o;
  tinker__buf_init(&o, m, 1 << 20);
  int rc = tinker__rec_bodies_read(user, 5, 0, 10, digest, &o, why, sizeof why);
  tinker__buf_free(&o);
  return rc;
}

Test(bodies, no_memory) {
  tinker__rec_bodies_t b;
  int64_t at;
  tinker__rec_bodies_init(&b, tinker__world_real(), prefix);
  cr_assert_eq(add(&b, 5, "some bytes", &at), 0);
  cr_assert_eq(get(&b, 5, at, "some bytes"), 0);
  cr_assert_gt(tinker__fail_sweep(read_sweep, &b, TINKER_ENOMEM), 0);
  tinker__rec_bodies_close(&b);
}
