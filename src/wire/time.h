/* time: the times of messages, ISO 8601 (protocol 2.2). Pure. */
#ifndef TINKER_WIRE_TIME_H
#define TINKER_WIRE_TIME_H

#include <stdbool.h>

#include "base/str.h"

/* Reads "2026-11-21T00:02:00.5Z": a date, 'T' or a space, a time of day,
 * perhaps a fraction of a second, which is cut after the milliseconds, and 'Z'
 * or an offset; without either it is UTC. ms: milliseconds since 1970,
 * untouched on failure. False for another text and for what no calendar has. */
bool tinker__time_read(tinker__str_t text, int64_t *ms);

#endif
