/* path: the words of a checkpoint's path, tinker://RUN/weights/NAME or
 * tinker://RUN/sampler_weights/NAME (protocol 6). Pure. */
#ifndef TINKER_WIRE_PATH_H
#define TINKER_WIRE_PATH_H

#include <stdbool.h>

#include "base/str.h"

#define TINKER__PATH_PREFIX "tinker://"
#define TINKER__PATH_TRAINING "weights"
#define TINKER__PATH_SAMPLER "sampler_weights"
#define TINKER__PATH_EXTERNAL "external_weights"

/* True when path begins like a tinker:// path and goes on. False for NULL. */
bool tinker__path_is(const char *path);
/* Splits tinker://RUN/KIND/NAME; false for another text. */
bool tinker__path_split(tinker__str_t path, tinker__str_t part[3]);

#endif
