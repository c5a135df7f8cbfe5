/* pages: see pages.h. Linux gives large pages to programs that ask, if its
 * settings allow. A refusal does no harm, so the result is not looked at. */
#define _DEFAULT_SOURCE /* madvise */

#include "cpu/pages.h"

#include <stdint.h>
#include <sys/mman.h>

#define WORTH ((size_t)4 << 20)
#define PAGE ((uintptr_t)2 << 20)

void tinker__cpu_pages_large(void *block, size_t bytes) {
#ifdef MADV_HUGEPAGE
  uintptr_t from = ((uintptr_t)block + PAGE - 1) / PAGE * PAGE;
  uintptr_t to = ((uintptr_t)block + bytes) / PAGE * PAGE;
  if (bytes >= WORTH) madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
  (void)block;
  (void)bytes;
#endif
}
