/* impostor: recognises something else in a file's place, which a download that
 * went wrong or was not finished has left. Pure, any thread. */
#ifndef TINKER_BASE_IMPOSTOR_H
#define TINKER_BASE_IMPOSTOR_H

#include "base/str.h"

/* data: the file, or at least its first 512 bytes. "is a git-lfs pointer, ..."
 * with what to do, a static text to be put after the file's name; NULL when
 * nothing speaks against the file. For binary files this is to be asked only
 * once they turned out malformed. */
const char *tinker__impostor(tinker__str_t data);
/* For a file that must hold one JSON object. 0, or TINKER_EFORMAT with a
 * sentence that begins with `file`. */
int tinker__impostor_json(tinker__str_t text, const char *file, char *why,
                          size_t why_len);

#endif
