/* options: reading of size-stamped option structs. Pure. */
#ifndef TINKER_BASE_OPTIONS_H
#define TINKER_BASE_OPTIONS_H

#include <stddef.h>

/* Copies an option struct into out (`known` bytes). What the caller's struct,
 * of an older size, does not have is taken from `defaults`, a whole struct.
 * given: NULL = all defaults. name: of the struct, for `why`. 0, TINKER_EINVAL
 * (size not set) or TINKER_ENOTSUP (the caller set a field that this library
 * does not have). */
int tinker__options_take(void *out, size_t known, const void *defaults,
                         const void *given, const char *name, char *why,
                         size_t why_len);

#endif
