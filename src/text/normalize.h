/* normalize: Unicode normalisation form C (see marks.h for which) through
 * utf8proc's tables. Linear in the text, also for long runs of combining marks
 * (utf8proc's own ordering is not). Pure. */
#ifndef TINKER_TEXT_NORMALIZE_H
#define TINKER_TEXT_NORMALIZE_H

#include "base/buf.h"

/* text: valid UTF-8. *out is set to the text itself where nothing can change,
 * else to what was appended to `room` (emptied first). 0, TINKER_ENOMEM or
 * TINKER_EOVERFLOW. */
int tinker__nfc(tinker__str_t *out, tinker__buf_t *room, tinker__str_t text);

#endif
