/* Log messages of a client, delivered to a callback. The library writes to no
 * stream by itself, unless the environment variable TINKER_LOG asks for it
 * (log_cb in options.h).
 *
 * An operation that has been held for 2 s (progress.h has the reasons) is a
 * warning that names the reason and the time, and again every 30 s; one line
 * tells of all that the same thing holds. */
#ifndef TINKER_LOG_H
#define TINKER_LOG_H

#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  TINKER_LOG_DEBUG = 1,
  TINKER_LOG_INFO = 2,
  TINKER_LOG_WARNING = 3,
  TINKER_LOG_ERROR = 4,
  TINKER_LOG_OFF = 5 /* as a least level: nothing is logged */
} tinker_log_level_t;

/* Gets one message.
 *
 * Runs on the client's delivery thread, one call at a time, with no lock held.
 * user is what the option struct was given. component names the part of the
 * library, "flow" for example. message is one line of UTF-8 without a line
 * end. Both are valid during the call only. Messages that nobody fetched in
 * time are dropped, and their number is reported by a message of its own. Keys,
 * prompts and tokens never appear. */
typedef void (*tinker_log_cb)(void *user, tinker_log_level_t level,
                              const char *component, const char *message);

/* Name of a level, "debug" for example.
 * level: any value. Returns a static string, "unknown" for a number that is not
 * a level. Never NULL. Any thread. */
TINKER_API const char *tinker_log_level_name(tinker_log_level_t level);

#ifdef __cplusplus
}
#endif

#endif
