/* trouble: failures that leave nothing to go on with. Used by the parent and
 * by workers; each is one process, so ending it is all that is needed. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "quick.h"

void quick_die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("quickstart: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(QUICK_TROUBLE);
}

void *quick_alloc(size_t count, size_t size) {
  void *memory = calloc(count ? count : 1, size);
  if (memory == NULL) quick_die("out of memory");
  return memory;
}

FILE *quick_open(const char *folder, const char *name, const char *mode) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, mode);
  if (file == NULL) quick_die("%s: %s", path, strerror(errno));
  return file;
}
