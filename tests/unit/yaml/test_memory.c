/* Libyaml takes its memory from the C library: here each of these allocations
 * fails too. Where a sanitizer has its own malloc, only those of ours do, in
 * test_read.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <tinker/error.h>

#include "sample.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#if !defined(OWN_MALLOC) && defined(__GLIBC__)
#define OWN_MALLOC 1
#endif

#if OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *ptr, size_t size);

/* Allocations until one fails; 0 = none does. Of the thread that tests. */
static _Thread_local int left;

static int fails(void) {
  return left > 0 && --left == 0;
}

#define SEEN __attribute__((visibility("default"))) /* by libyaml */

SEEN void *malloc(size_t size) {
  return fails() ? NULL : __libc_malloc(size);
}

SEEN void *calloc(size_t count, size_t size) {
  return fails() ? NULL : __libc_calloc(count, size);
}

SEEN void *realloc(void *ptr, size_t size) {
  return fails() ? NULL : __libc_realloc(ptr, size);
}

/* Reads with the n-th allocation failing. True when there were so many. */
static bool read_short(const char *text, int n, int want) {
  tinker__mem_t mem;
  tinker__yaml_t *y = NULL;
  sample_t s;
  tinker__mem_init(&mem, NULL, 0);
  left = n;
  int rc = tinker__yaml_read(&y, &mem, tinker__str(text), "f.yaml",
                             sample_table, &s);
  bool failed = left == 0;
  left = 0;
  cr_assert_eq(rc, failed ? TINKER_ENOMEM : want, "allocation %d: %d", n, rc);
  if (!failed) tinker__yaml_free(y);
  cr_assert_eq(mem.live_blocks, 0, "allocation %d", n);
  return failed;
}

static int sweep(const char *text, int want) {
  int n = 1;
  while (read_short(text, n, want)) n++;
  return n - 1;
}

Test(memory, of_libyaml) {
  cr_assert_gt(sweep("on: false\nflags: [green]\nmatch: {a.b: \"x\\ty\"}\n"
                     "items:\n  - match: {p: 'q'}\n    room: 8KiB\n"
                     "name: >\n  folded\n  text\n",
                     0),
               50);
  cr_assert_gt(
      sweep("on: &a yes\nlevel: *a\ninner: !x {wait: 1}\nname: |\n x\n",
            TINKER_EFORMAT),
      40);
  cr_assert_gt(
      sweep("%YAML 1.1\n%TAG !e! tag:x,2000:\n---\non: true\n...\n", 0), 20);
  cr_assert_gt(sweep("inner: {wait: [1\n", TINKER_EFORMAT), 20);
}
#endif
