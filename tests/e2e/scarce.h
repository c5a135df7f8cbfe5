/* scarce: a program that lacks memory or threads. */
#ifndef TINKER_TESTS_E2E_SCARCE_H
#define TINKER_TESTS_E2E_SCARCE_H

#include <tinker/alloc.h>

/* An allocator whose n-th allocation fails, n by TINKER_FAIL_ALLOC; it and some
 * that follow by TINKER_FAIL_ALLOCS. Where TINKER_COUNT names a file, the
 * number of allocations and of threads is written there at the exit. The n-th
 * thread of the program, by TINKER_FAIL_THREAD, is not made. */
const tinker_allocator_t *scarce_allocator(void);

#endif
