/* memory: see memory.h. A file that is missing or has another form is no
 * limit: a wrong guess must not keep a service from starting. */
#include "service/core/memory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define TEXT_MAX 8192
#define ROOT "/sys/fs/cgroup"

/* The start of a file as a string. */
static bool read_text(const tinker__world_t *w, const char *path,
                      char text[TEXT_MAX]) {
  int fd = w->open(w->user, path, O_RDONLY | O_CLOEXEC, 0);
  size_t len = 0;
  ssize_t n = 0;
  if (fd < 0) return false;
  while (len + 1 < TEXT_MAX &&
         (n = w->read(w->user, fd, text + len, TEXT_MAX - 1 - len)) > 0) {
    len += (size_t)n;
  }
  w->close(w->user, fd);
  text[len] = 0;
  return n >= 0;
}

/* The number behind `key` at the start of a line. */
static bool number(const char *text, const char *key, uint64_t *out) {
  while (text && strncmp(text, key, strlen(key)) != 0) {
    text = strchr(text, '\n');
    if (text) text++;
  }
  if (!text) return false;
  text += strlen(key);
  text += strspn(text, " \t");
  tinker__str_t digits = {text, strspn(text, "0123456789")};
  return tinker__parse_u64(digits, out) == 0;
}

static bool group_text(const tinker__world_t *w, const char *group,
                       const char *file, char text[TEXT_MAX]) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, ROOT "%s/%s", group, file);
  return n > 0 && (size_t)n < sizeof path && read_text(w, path, text);
}

/* What a group's limit leaves. The file cache counts as used there, but goes
 * when memory is asked for. */
static void limit_by_group(const tinker__world_t *w, const char *group,
                           uint64_t *bytes) {
  char text[TEXT_MAX];
  uint64_t max, used, cache = 0;
  if (!group_text(w, group, "memory.max", text) || !number(text, "", &max)) {
    return; /* "max" */
  }
  if (!group_text(w, group, "memory.current", text) ||
      !number(text, "", &used)) {
    return;
  }
  if (group_text(w, group, "memory.stat", text)) number(text, "file ", &cache);
  used -= cache < used ? cache : used;
  uint64_t left = max > used ? max - used : 0;
  if (left < *bytes) *bytes = left;
}

bool tinker__svc_memory_available(const tinker__world_t *w, uint64_t *bytes) {
  char text[TEXT_MAX], group[TEXT_MAX];
  uint64_t kib;
  if (!read_text(w, "/proc/meminfo", text) ||
      !number(text, "MemAvailable:", &kib) || kib > UINT64_MAX / 1024) {
    return false;
  }
  *bytes = kib * 1024;
  if (!read_text(w, "/proc/self/cgroup", text)) return true;
  const char *line = strstr(text, "0::/");
  if (!line) return true;
  snprintf(group, sizeof group, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
  if (strstr(group, "..")) *group = 0; /* outside of what is seen here */
  if (!strcmp(group, "/")) *group = 0;
  for (;;) { /* a group is under the limits of those around it too */
    limit_by_group(w, group, bytes);
    char *slash = strrchr(group, '/');
    if (!slash) return true;
    *slash = 0;
  }
}
