/* pages: large pages for large blocks, so that a pass over weights does not
 * wait for the tables of the memory. A hint; any thread. */
#ifndef TINKER_LOCAL_CPU_PAGES_H
#define TINKER_LOCAL_CPU_PAGES_H

#include <stddef.h>

/* Before the block's first use. Its contents don't change; a small block, or
 * a system without such pages, is left alone. */
void tinker__cpu_pages_large(void *block, size_t bytes);

#endif
