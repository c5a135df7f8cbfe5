/* marks: canonical combining classes as the reference knows them. Pure.
 *
 * Hugging Face's tokenizers normalises by the tables of Unicode 9: a mark that
 * came later counts as a base character there and is never reordered. Which
 * ids a model was trained on depends on it, so it is done the same way here,
 * whatever version utf8proc has. */
#ifndef TINKER_TEXT_MARKS_H
#define TINKER_TEXT_MARKS_H

#include <stdbool.h>
#include <stdint.h>

/* 0 for all that is not a mark of Unicode 9. */
unsigned tinker__mark_class(int32_t cp);
/* True when a character is composed of others only since a version after 9; the
 * reference neither takes it apart nor puts it together. */
bool tinker__composed_later(int32_t cp);

#endif
