/* memory: how much of the machine's memory a model may still take. Reads what
 * the kernel tells, any thread. */
#ifndef TINKER_SERVICE_MEMORY_H
#define TINKER_SERVICE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/world.h"

/* Bytes that can be had without swapping: Linux's MemAvailable, or what the
 * memory limits of this process's control groups (versions 1 and 2, and the
 * groups around them) leave if that is less. False where it can't be known. */
bool tinker__svc_memory_available(const tinker__world_t *world,
                                  uint64_t *bytes);

#endif
