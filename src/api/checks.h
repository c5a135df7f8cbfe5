/* checks: of texts that callers give. Pure. */
#ifndef TINKER_API_CHECKS_H
#define TINKER_API_CHECKS_H

#include <stdbool.h>

/* Is it a text that a message can carry: UTF-8, not empty, of the length that a
 * text may have? NULL is none. */
bool tinker__text_ok(const char *s);
/* And a path of saved weights: "tinker://...". */
bool tinker__path_ok(const char *s);

#endif
