/* options: reading of size-stamped option structs. Pure. */
#ifndef TINKER_API_OPTIONS_H
#define TINKER_API_OPTIONS_H

#include <stdbool.h>
#include <tinker/options.h>

/* Copies what the caller knows of an option struct into out (known bytes,
 * rest zero). given: NULL = all defaults. name: of the struct, for `why`. 0,
 * TINKER_EINVAL (size not set or too small) or TINKER_ENOTSUP (the caller set
 * a field that this library does not have). */
int tinker__options_take(void *out, size_t known, const void *given,
                         const char *name, char *why, size_t why_len);

/* Is it a text that a message can carry: UTF-8, not empty, of the length that a
 * text may have? NULL is none. */
bool tinker__text_ok(const char *s);
/* And a path of saved weights: "tinker://...". */
bool tinker__path_ok(const char *s);

#endif
