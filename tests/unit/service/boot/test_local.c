/* The options of <tinker/local.h>: what is refused before anything is made,
 * with field, value and range. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/local.h>

#include "support/why_local.h"

static const char *model = "/nowhere/model";
static tinker_local_options_t o;

static void setup(void) {
  tinker_local_options_init(&o);
  o.model_dirs = &model;
  o.model_count = 1;
  setenv("TMPDIR", "/nowhere", 1); /* a folder would be the next thing */
}

TestSuite(local, .init = setup);

static void refused(int code, const char *want) {
  tinker_local_t *local = NULL;
  char why[300] = "";
  cr_assert_eq(why_local_start(&local, &o, why, sizeof why), code, "%s", why);
  cr_assert_str_eq(why, want);
  cr_assert_eq(local, NULL);
}

Test(local, arguments) {
  tinker_local_t *local = NULL;
  char why[300] = "";
  cr_assert_eq(why_local_start(NULL, &o, why, sizeof why), TINKER_EINVAL);
  cr_assert_str_eq(why, "out is NULL");
  cr_assert_eq(why_local_start(&local, NULL, why, sizeof why), TINKER_EINVAL);
  cr_assert_str_eq(why, "options is NULL");
  cr_assert_eq(why_local_start(&local, NULL, NULL, 0), TINKER_EINVAL);
}

Test(local, size) {
  struct {
    tinker_local_options_t o;
    int64_t later;
  } newer = {.o = o, .later = 1};
  tinker_local_t *local = NULL;
  char why[300] = "";
  newer.o.size = sizeof newer;
  cr_assert_eq(why_local_start(&local, &newer.o, why, sizeof why),
               TINKER_ENOTSUP, "%s", why);
  newer.later = 0; /* then only the folder is wrong */
  cr_assert_eq(why_local_start(&local, &newer.o, why, sizeof why), TINKER_EIO,
               "%s", why);
  o.size = 0;
  refused(TINKER_EINVAL,
          "local_options.size is 0: begin with tinker_local_options_init()");
}

Test(local, models) {
  const char *empty = "", *none = NULL;
  o.model_count = 0;
  refused(TINKER_EINVAL, "model_count is 0 and must be from 1 to 32");
  o.model_count = 33;
  refused(TINKER_EINVAL, "model_count is 33 and must be from 1 to 32");
  o.model_count = 1;
  o.model_dirs = NULL;
  refused(TINKER_EINVAL, "model_dirs is NULL");
  o.model_dirs = &none;
  refused(TINKER_EINVAL, "model_dirs[0] is NULL");
  o.model_dirs = &empty;
  refused(TINKER_EINVAL, "model_dirs[0] is empty");
  o.model_dirs = &model;
  o.model_names = &empty;
  refused(TINKER_EINVAL, "model_names[0] is empty");
}

/* Both ends of each range are taken (the folder is wrong then), one beyond is
 * not. */
static void range(const char *name, int64_t *field, int64_t min, int64_t max) {
  int64_t before = *field;
  char want[200];
  const char *folder = "no private folder can be made in /nowhere: No such "
                       "file or directory";
  *field = min;
  refused(TINKER_EIO, folder);
  *field = max;
  refused(TINKER_EIO, folder);
  for (int i = 0; i < 2; i++) {
    if (i == 1 && max == INT64_MAX) break;
    *field = i ? max + 1 : min - 1;
    snprintf(want, sizeof want, "%s is %lld and must be from %lld to %lld",
             name, (long long)*field, (long long)min, (long long)max);
    refused(TINKER_EINVAL, want);
  }
  *field = before;
}

Test(local, ranges) {
  range("threads", &o.threads, 0, 1024);
  range("max_memory_bytes", &o.max_memory_bytes, 0, INT64_MAX);
  range("max_body_bytes", &o.max_body_bytes, 1, 1 << 30);
  range("max_tokens", &o.max_tokens, 1, (int64_t)1 << 40);
  range("session_timeout_ms", &o.session_timeout_ms, 1000, 1000000000);
  range("sample_share", &o.sample_share, 1, 99);
}

static void *no_malloc(size_t size, void *user) {
  (void)size;
  (void)user;
  return NULL;
}

static void *no_calloc(size_t n, size_t size, void *user) {
  (void)n;
  return no_malloc(size, user);
}

static void *no_realloc(void *p, size_t size, void *user) {
  (void)p;
  return no_malloc(size, user);
}

static void no_free(void *p, void *user) {
  (void)user;
  cr_assert_eq(p, NULL);
}

Test(local, the_rest) {
  tinker_allocator_t a = {no_malloc, no_calloc, no_realloc, NULL, NULL};
  o.allocator = &a;
  refused(TINKER_EINVAL, "allocator: all four functions must be set");
  a.free_fn = no_free;
  refused(TINKER_ENOMEM, "out of memory");
  o.allocator = NULL;
  o.state_dir = "";
  refused(TINKER_EINVAL, "state_dir is empty");
}
