/* What memory there is, read from files as the kernel writes them: the opens
 * of the world lead into a folder of the test's. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/core/memory.h"

#define GROUP "/sys/fs/cgroup"

typedef struct {
  tinker__world_t world;
  char dir[32];
  char made[32][128];
  size_t n;
} disk_t;

/* "/a/b" lies in the folder as "_a_b". */
static void local_path(const disk_t *d, const char *path, char out[512]) {
  size_t n = (size_t)snprintf(out, 512, "%s/%s", d->dir, path);
  for (size_t i = strlen(d->dir) + 1; i < n; i++) {
    if (out[i] == '/') out[i] = '_';
  }
}

static int open_local(void *user, const char *path, int flags, mode_t mode) {
  char real[512];
  const tinker__world_t *w = tinker__world_real();
  local_path(user, path, real);
  return w->open(w->user, real, flags, mode);
}

static void set_up(disk_t *d) {
  memset(d, 0, sizeof *d);
  d->world = *tinker__world_real();
  d->world.user = d;
  d->world.open = open_local;
  strcpy(d->dir, "/tmp/tk-memory-XXXXXX");
  cr_assert_not_null(mkdtemp(d->dir));
}

static void tear_down(disk_t *d) {
  char real[512];
  for (size_t i = 0; i < d->n; i++) {
    local_path(d, d->made[i], real);
    unlink(real);
  }
  cr_assert_eq(rmdir(d->dir), 0);
}

static void put(disk_t *d, const char *path, const char *text) {
  char real[512];
  local_path(d, path, real);
  FILE *f = fopen(real, "w");
  cr_assert_not_null(f);
  cr_assert_geq(fputs(text, f), 0);
  cr_assert_eq(fclose(f), 0);
  snprintf(d->made[d->n++], sizeof d->made[0], "%s", path);
}

static void expect(const disk_t *d, uint64_t want) {
  uint64_t got = 0;
  cr_assert(tinker__svc_memory_available(&d->world, &got));
  cr_assert_eq(got, want, "%llu, want %llu", (unsigned long long)got,
               (unsigned long long)want);
}

Test(memory, what_the_machine_and_the_groups_leave) {
  disk_t d;
  uint64_t got = 7;
  set_up(&d);
  cr_assert(!tinker__svc_memory_available(&d.world, &got));
  put(&d, "/proc/meminfo", "MemTotal: 9 kB\nMemAvailabl: 1 kB\n");
  cr_assert(!tinker__svc_memory_available(&d.world, &got));
  put(&d, "/proc/meminfo",
      "MemTotal:       24576 kB\nMemFree:   5 kB\nMemAvailable:   8192 kB\n");
  expect(&d, 8192u * 1024);
  put(&d, "/proc/self/cgroup", "1:memory:/old\n0::/a/b\n");
  expect(&d, 8192u * 1024);
  put(&d, GROUP "/a/b/memory.max", "max\n");
  put(&d, GROUP "/a/b/memory.current", "900\n");
  expect(&d, 8192u * 1024);
  /* The cache of files counts as used, and is free all the same. */
  put(&d, GROUP "/a/b/memory.max", "1000\n");
  expect(&d, 100);
  put(&d, GROUP "/a/b/memory.stat", "anon 500\nfile_x 1\nfile 400\n");
  expect(&d, 500);
  /* A limit around the group, and one that is passed already. */
  put(&d, GROUP "/a/memory.max", "2000\n");
  put(&d, GROUP "/a/memory.current", "1700\n");
  expect(&d, 300);
  put(&d, GROUP "/memory.max", "2000\n");
  put(&d, GROUP "/memory.current", "2001\n");
  expect(&d, 0);
  /* A container sees its own group as the root. */
  put(&d, "/proc/self/cgroup", "0::/\n");
  put(&d, GROUP "/memory.current", "1500\n");
  expect(&d, 500);
  tear_down(&d);
}

#define V1 GROUP "/memory"

Test(memory, groups_of_version_1) {
  static disk_t d;
  set_up(&d);
  put(&d, "/proc/meminfo", "MemAvailable:   8192 kB\n");
  put(&d, "/proc/self/cgroup",
      "12:cpu,cpuacct:/x\n7:hugetlb,memory:/a/b\n3:memory_x:/c\n");
  expect(&d, 8192u * 1024);
  /* No limit is a very large number. */
  put(&d, V1 "/a/b/memory.limit_in_bytes", "9223372036854771712\n");
  put(&d, V1 "/a/b/memory.usage_in_bytes", "900\n");
  expect(&d, 8192u * 1024);
  put(&d, V1 "/a/b/memory.limit_in_bytes", "1000\n");
  expect(&d, 100);
  put(&d, V1 "/a/b/memory.stat", "cache 1\nrss 5\ntotal_cache 400\n");
  expect(&d, 500);
  put(&d, V1 "/a/memory.limit_in_bytes", "2000\n");
  put(&d, V1 "/a/memory.usage_in_bytes", "1700\n");
  expect(&d, 300);
  /* Both versions side by side: the smaller. */
  put(&d, "/proc/self/cgroup", "7:memory:/a/b\n0::/u\n");
  put(&d, GROUP "/u/memory.max", "777\n");
  put(&d, GROUP "/u/memory.current", "500\n");
  expect(&d, 277);
  put(&d, "/proc/self/cgroup", "0::/u\n7:memory:/a/b\n");
  put(&d, GROUP "/u/memory.current", "400\n");
  expect(&d, 300);
  /* A container sees its own group as the root. */
  put(&d, "/proc/self/cgroup", "7:memory:/docker/1f\n");
  put(&d, V1 "/memory.limit_in_bytes", "600\n");
  put(&d, V1 "/memory.usage_in_bytes", "50\n");
  expect(&d, 550);
  put(&d, "/proc/self/cgroup", "7:memory\n:\n7:memory:\n\nmemory");
  expect(&d, 8192u * 1024);
  tear_down(&d);
}
