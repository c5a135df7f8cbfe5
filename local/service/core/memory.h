/* memory: reads from the kernel how much memory this process may still take.
 * Any thread. */
#ifndef TINKER_SERVICE_MEMORY_H
#define TINKER_SERVICE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/world.h"

/* The bytes that can be taken without swapping: Linux's MemAvailable, or less
 * where the memory limit of this process's control group (version 1 or 2) or
 * of a group around it leaves less. False where the kernel does not say it. */
bool tinker__svc_memory_available(const tinker__world_t *world,
                                  uint64_t *bytes);

#endif
