/* checks: of texts that callers give. Pure. */
#ifndef TINKER_API_CHECKS_H
#define TINKER_API_CHECKS_H

#include <stdbool.h>

/* What keeps a text from being carried by a message: not UTF-8, empty, too long
 * or NULL. NULL = nothing. A static string that completes "<name> ...". */
const char *tinker__text_fault(const char *s);
/* Is a text that can be carried a path of saved weights, "tinker://..."? */
bool tinker__path_ok(const char *s);
/* What is wrong with the name of a checkpoint, in the same way. */
const char *tinker__name_fault(const char *s);

#endif
