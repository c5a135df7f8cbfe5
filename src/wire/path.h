/* path: the words of a checkpoint's path, tinker://RUN/weights/NAME or
 * tinker://RUN/sampler_weights/NAME (protocol 6). Pure. */
#ifndef TINKER_WIRE_PATH_H
#define TINKER_WIRE_PATH_H

#include <stdbool.h>

#include "base/str.h"

#define TINKER__PATH_PREFIX "tinker://"
#define TINKER__PATH_TRAINING "weights"
#define TINKER__PATH_SAMPLER "sampler_weights"

/* Whether it begins like a path and goes on. NULL is none. */
bool tinker__path_is(const char *path);
/* Splits tinker://RUN/KIND/NAME; false when it is none. */
bool tinker__path_split(tinker__str_t path, tinker__str_t part[3]);

#endif
