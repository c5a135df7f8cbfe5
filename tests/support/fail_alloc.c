/* fail_alloc: see fail_alloc.h. */
#include "support/fail_alloc.h"

#include <inttypes.h>
#include <stdio.h>

#define MAX_SWEEP 100000

static int complain(uint64_t n, const char *what, long long value) {
  fprintf(stderr, "allocation %" PRIu64 " failed: %s %lld\n", n, what, value);
  return -1;
}

int tinker__fail_sweep(int (*body)(tinker__mem_t *mem, void *user), void *user,
                       int expected_code) {
  for (uint64_t n = 1; n <= MAX_SWEEP; n++) {
    tinker__mem_t mem;
    tinker__mem_init(&mem, NULL, 0);
    mem.fail_at = n;
    int rc = body(&mem, user);
    size_t live = atomic_load(&mem.live_blocks);
    uint64_t tried = atomic_load(&mem.count);
    if (live) return complain(n, "blocks left:", (long long)live);
    if (tried < n) {
      return rc ? complain(n, "without a failure the code was", rc)
                : (int)(n - 1);
    }
    if (rc != expected_code) return complain(n, "the code was", rc);
  }
  return complain(MAX_SWEEP, "no end after", MAX_SWEEP);
}
