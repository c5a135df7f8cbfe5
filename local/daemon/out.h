/* out: writes lines to standard output and standard error without keeping the
 * program from ending. When a pipe that nobody reads is full, a writer waits
 * for room, and gives up once the end has been asked for. Threads: see out.c.
 */
#ifndef TINKER_DAEMON_OUT_H
#define TINKER_DAEMON_OUT_H

#include <stdbool.h>
#include <stddef.h>

/* Opens /dev/null for those of the files 0 to 2 that are closed. Else a file
 * that is opened later, the store for example, would get such a number, and the
 * log would be written into it. Call it before anything is opened. */
bool tinker__svc_out_begin(void);
/* Writes text and a line end to fd (1 or 2). end: a file that becomes readable
 * when the program must end (-1 = none); from then on all lines together get
 * half a second. False when not all of it was written; errno says why, or is 0
 * if the time was over. */
bool tinker__svc_out_line(int fd, int end, const char *text, size_t len);
/* Writes "tinker-locald: " and the text as a line to standard error; control
 * and invisible characters are shown as escapes. */
void tinker__svc_out_say(int end, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
