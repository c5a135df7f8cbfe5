/* options: reading of size-stamped option structs. Pure. */
#ifndef TINKER_BASE_OPTIONS_H
#define TINKER_BASE_OPTIONS_H

#include <stddef.h>

/* Copies what the caller knows of an option struct into out (known bytes,
 * rest zero). given: NULL = all defaults. name: of the struct, for `why`. 0,
 * TINKER_EINVAL (size not set or too small) or TINKER_ENOTSUP (the caller set
 * a field that this library does not have). */
int tinker__options_take(void *out, size_t known, const void *given,
                         const char *name, char *why, size_t why_len);

#endif
