/* crash: a crash of the engine is an error of one call, not a dead service.
 *
 * SIGSEGV and its kind can't be survived by a process that must not compute
 * nonsense: the handler notes which call was being executed and executes the
 * program anew, same process id, same arguments, same port. The new image finds
 * the log, fails that call, and goes on. Too many crashes in a row, and the
 * signal kills as it would have. One per program. */
#ifndef TINKER_DAEMON_CRASH_H
#define TINKER_DAEMON_CRASH_H

#include "service/boot/service.h"

/* What the image before this one left. */
typedef struct tinker__svc_crash_s {
  int signal;   /* 0 = there was no crash */
  int64_t call; /* what was in tinker__svc_crash_doing */
  int port;     /* TCP, 0 = none */
} tinker__svc_crash_t;

/* Before the flags are read, which may change argv. False without memory. */
bool tinker__svc_crash_begin(int argc, char **argv,
                             tinker__svc_crash_t *before);
/* From here on a crash starts the program again. */
void tinker__svc_crash_catch(void);
/* Where the service says what it is doing: what a crash is blamed on. */
_Atomic(_Atomic int64_t *) *tinker__svc_crash_doing(void);
/* The TCP port that the next image shall take, 0 = none. */
void tinker__svc_crash_port(int port);
/* No longer: the service is about to end. */
void tinker__svc_crash_release(void);

#endif
