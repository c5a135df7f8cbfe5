/* metadata: what a caller attaches to a session, a model or a checkpoint
 * (tinker_metadata_t), checked and as the JSON object that a message carries.
 * Pure. */
#ifndef TINKER_API_METADATA_H
#define TINKER_API_METADATA_H

#include "api/call.h"

/* Writes the object; nothing if there are no entries. 0, TINKER_EINVAL with a
 * sentence that names the entry, or TINKER_ENOMEM. */
int tinker__metadata_write(tinker__buf_t *out, const tinker_metadata_t *list,
                           size_t count, char *why, size_t why_len);
/* The same for a call, which it refuses. out: the caller's, freed by it. */
tinker__str_t tinker__call_metadata(tinker__call_t *call, tinker__buf_t *out,
                                    const tinker_metadata_t *list,
                                    size_t count);

#endif
