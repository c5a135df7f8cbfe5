/* check: tests conditions that must hold if the code is right, with any input.
 *
 *   if (!TINKER__HOLDS(state < STATES)) return end_with_error(...);
 *
 * A build with assertions stops there and names the place: the asan, tsan, fuzz
 * and dev presets. A release build tests the condition as well and goes on in
 * the `if`, which ends the one operation that is broken, with an error and a
 * line in the log. Input is never checked with this: wrong input is not a bug
 * of ours. The condition has no side effects, because it is read twice. */
#ifndef TINKER_BASE_CHECK_H
#define TINKER_BASE_CHECK_H

#include <assert.h>

#define TINKER__HOLDS(condition) (assert(condition), (condition))

#endif
