/* crash: makes a crash of the engine the error of one call, instead of the end
 * of the service.
 *
 * A process can't go on after SIGSEGV or a signal like it, since it might
 * compute nonsense. So the handler notes which call was being executed and
 * executes the program anew, with the same process id, arguments and port. The
 * new image finds the log, fails that call, and goes on. After too many crashes
 * in a row the signal kills the process. A program has one such handler. Main
 * thread; the handler runs on the thread that crashed. */
#ifndef TINKER_DAEMON_CRASH_H
#define TINKER_DAEMON_CRASH_H

#include "service/boot/service.h"

/* The note that the image before this one has left. */
typedef struct tinker__svc_crash_s {
  int signal;   /* 0 = there was no crash */
  int64_t call; /* the number that config.doing pointed to */
  int port;     /* TCP, 0 = none */
} tinker__svc_crash_t;

/* Reads the note and copies the arguments. Call it before the flags are read,
 * since that may change argv. False without memory. */
bool tinker__svc_crash_begin(int argc, char **argv,
                             tinker__svc_crash_t *before);
/* Installs the handler: from now on a crash starts the program again. */
void tinker__svc_crash_catch(void);
/* The place for config.doing; a crash is blamed on the call noted there. */
_Atomic(_Atomic int64_t *) *tinker__svc_crash_doing(void);
/* Sets the TCP port that the next image listens on, 0 = none. */
void tinker__svc_crash_port(int port);
/* Takes the handler away, since the service is about to end. */
void tinker__svc_crash_release(void);

#endif
