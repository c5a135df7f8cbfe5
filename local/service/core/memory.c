/* memory: see memory.h. A file of a control group that is missing or has
 * another form sets no limit, since a wrong guess must not keep a service from
 * starting. */
#include "service/core/memory.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define TEXT_MAX 8192
#define ROOT "/sys/fs/cgroup"

/* Reads the first TEXT_MAX - 1 bytes of a file as a string. */
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

/* Reads the number that follows `key` at the start of a line. */
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

/* The files of the two versions of control groups. */
typedef struct {
  const char *root, *limit, *used, *cache;
} version_t;

static const version_t v1 = {ROOT "/memory", "memory.limit_in_bytes",
                             "memory.usage_in_bytes", "total_cache "};
static const version_t v2 = {ROOT, "memory.max", "memory.current", "file "};

static bool group_text(const tinker__world_t *w, const version_t *v,
                       const char *group, const char *file,
                       char text[TEXT_MAX]) {
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s%s/%s", v->root, group, file);
  return n > 0 && (size_t)n < sizeof path && read_text(w, path, text);
}

/* Lowers *bytes to those that the group's limit leaves. The kernel counts the
 * file cache as used, but gives it up when memory is asked for, so it is taken
 * off here. */
static void limit_by_group(const tinker__world_t *w, const version_t *v,
                           const char *group, uint64_t *bytes) {
  char text[TEXT_MAX];
  uint64_t max, used, cache = 0;
  if (!group_text(w, v, group, v->limit, text) || !number(text, "", &max)) {
    return; /* "max" */
  }
  if (!group_text(w, v, group, v->used, text) || !number(text, "", &used)) {
    return;
  }
  if (group_text(w, v, group, "memory.stat", text)) {
    number(text, v->cache, &cache);
  }
  used -= cache < used ? cache : used;
  uint64_t left = max > used ? max - used : 0;
  if (left < *bytes) *bytes = left;
}

/* Applies the limits of a group and of all groups around it. A container may
 * see its own group as the root although its path is the one from outside. */
static void limit_by_groups(const tinker__world_t *w, const version_t *v,
                            tinker__str_t path, uint64_t *bytes) {
  char group[TEXT_MAX];
  snprintf(group, sizeof group, "%.*s", (int)path.len, path.ptr);
  if (strstr(group, "..")) *group = 0; /* the group is not visible here */
  if (!strcmp(group, "/")) *group = 0;
  for (;;) {
    limit_by_group(w, v, group, bytes);
    char *slash = strrchr(group, '/');
    if (!slash) return;
    *slash = 0;
  }
}

/* True when `name` is one of the names between commas. */
static bool among(tinker__str_t list, const char *name) {
  size_t n = strlen(name);
  for (size_t i = 0; i + n <= list.len; i++) {
    bool begins = i == 0 || list.ptr[i - 1] == ',';
    bool ends = i + n == list.len || list.ptr[i + n] == ',';
    if (begins && ends && !memcmp(list.ptr + i, name, n)) return true;
  }
  return false;
}

/* A line of /proc/self/cgroup: number, controllers, path, with ':' between.
 * Version 2 has number 0 and names no controller. */
static void limit_by_line(const tinker__world_t *w, const char *line,
                          uint64_t *bytes) {
  size_t len = strcspn(line, "\n");
  const char *names = memchr(line, ':', len);
  if (!names) return;
  names++;
  const char *path = memchr(names, ':', len - (size_t)(names - line));
  if (!path) return;
  tinker__str_t list = {names, (size_t)(path - names)};
  tinker__str_t group = {path + 1, len - (size_t)(path + 1 - line)};
  if (!group.len || *group.ptr != '/') return;
  if (!list.len) limit_by_groups(w, &v2, group, bytes);
  if (among(list, "memory")) limit_by_groups(w, &v1, group, bytes);
}

bool tinker__svc_memory_available(const tinker__world_t *w, uint64_t *bytes) {
  char text[TEXT_MAX];
  uint64_t kib;
  if (!read_text(w, "/proc/meminfo", text) ||
      !number(text, "MemAvailable:", &kib) || kib > UINT64_MAX / 1024) {
    return false;
  }
  *bytes = kib * 1024;
  if (!read_text(w, "/proc/self/cgroup", text)) return true;
  for (const char *line = text; *line;) {
    limit_by_line(w, line, bytes);
    line += strcspn(line, "\n");
    line += *line == '\n';
  }
  return true;
}
