/* reason: what an error says, as a program puts it (tinker_reason_t). Pure. */
#ifndef TINKER_BASE_REASON_H
#define TINKER_BASE_REASON_H

#include "base/error.h"

/* Takes a reason: `spec` gets all but the sentence, `message` that, never NULL.
 * Both borrow the reason's strings. given: NULL is refused. 0, TINKER_EINVAL or
 * TINKER_ENOTSUP with a sentence. */
int tinker__reason_take(tinker__error_spec_t *spec, const char **message,
                        const tinker_reason_t *given, char *why,
                        size_t why_len);

#endif
