/* fail_alloc: runs a piece of code once for each allocation it makes, with
 * that allocation failing. */
#ifndef TINKER_TESTS_SUPPORT_FAIL_ALLOC_H
#define TINKER_TESTS_SUPPORT_FAIL_ALLOC_H

#include "base/mem.h"

/* Calls body with the first allocation failing, then the second, and so on,
 * until it succeeds (returns 0). Each failing run must return expected_code and
 * leave no block. body frees what it made also when it succeeds.
 * Returns the number of allocations that were made to fail, or -1 after
 * printing to stderr what went wrong. */
int tinker__fail_sweep(int (*body)(tinker__mem_t *mem, void *user), void *user,
                       int expected_code);

#endif
