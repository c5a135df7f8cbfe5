/* mapping: a whole file mapped for reading. The file must not be cut while it
 * is mapped (the system answers a read after its end with a signal). */
#ifndef TINKER_MODEL_MAPPING_H
#define TINKER_MODEL_MAPPING_H

#include "base/world.h"

typedef struct tinker__mapping_s {
  void *data; /* NULL = nothing mapped */
  size_t len;
} tinker__mapping_t;

/* 0, TINKER_ENOENT, TINKER_EIO (the system's reason is in `why`) or
 * TINKER_EFORMAT (empty, or no regular file). */
int tinker__mapping_open(tinker__mapping_t *m, const tinker__world_t *world,
                         const char *path, char *why, size_t why_len);
void tinker__mapping_close(tinker__mapping_t *m);

#endif
