/* json_scan: what json_read.c and json_array.c share. */
#ifndef TINKER_BASE_JSON_SCAN_H
#define TINKER_BASE_JSON_SCAN_H

#include "base/json_read.h"

/* Sets a malformed-JSON error; always false. */
bool tinker__json_bad(tinker__json_t *j, const char *reason);
/* Sets the error that a value is JSON, but of another type or range than was
 * asked for; always false. */
bool tinker__json_refuse(tinker__json_t *j, const char *reason);
/* The value that was refused is an element of an array that was not entered. */
void tinker__json_refused_in_array(tinker__json_t *j);
void tinker__json_space(tinker__json_t *j);
/* Takes a number's text; *whole: no fraction and no exponent. */
bool tinker__json_number(tinker__json_t *j, tinker__str_t *text, bool *whole);

#endif
