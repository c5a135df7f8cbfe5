/* out: lines to standard output and standard error that never keep the program
 * from ending. A pipe that nobody reads takes nothing more once it is full: who
 * writes waits for room, and gives up when the end has been asked for. */
#ifndef TINKER_DAEMON_OUT_H
#define TINKER_DAEMON_OUT_H

#include <stdbool.h>
#include <stddef.h>

/* Files 0 to 2 that whoever started this has closed become /dev/null: else the
 * next files that are opened, the store's among them, would get their numbers,
 * and the log would be written into them. Before anything is opened. */
bool tinker__svc_out_begin(void);
/* Writes text and the end of its line to fd (1 or 2). end: a file that can be
 * read from once the program must end; from then on lines are given half a
 * second all together. -1 = none. False when not all of it was written: errno,
 * or 0 for the end. */
bool tinker__svc_out_line(int fd, int end, const char *text, size_t len);
/* A line of "tinker-locald: " and the text, its hidden characters shown, on
 * standard error. */
void tinker__svc_out_say(int end, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
