/* pages: asks the system for large pages for large blocks, so that reading the
 * weights does not wait for page tables. A hint only. Any thread. */
#ifndef TINKER_LOCAL_CPU_PAGES_H
#define TINKER_LOCAL_CPU_PAGES_H

#include <stddef.h>

/* Call it before the block's first use; its contents don't change. Does nothing
 * for a small block, or on a system without such pages. */
void tinker__cpu_pages_large(void *block, size_t bytes);

#endif
