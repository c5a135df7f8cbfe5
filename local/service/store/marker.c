/* marker: see marker.h. */
#include "service/store/marker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <tinker/error.h>

#include "base/file.h"
#include "base/json_table.h"
#include "base/json_write.h"

#define FORMAT "tinker-locald state"
#define VERSION 1
#define MAX_MARKER 4096

/* Reads a regular file only: opening a pipe would block the start. */
static int read_file(const tinker__world_t *w, const char *path,
                     tinker__buf_t *text, char *why, size_t why_len) {
  struct stat st;
  if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
    return tinker__why(why, why_len, TINKER_EFORMAT, "%s is not a file", path);
  }
  return tinker__file_read(w, path, text, why, why_len);
}

/* --- Markers -------------------------------------------------------------- */

static void write_marker(tinker__buf_t *out, const tinker__svc_marker_t *m) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "format");
  tinker__jsonw_cstr(&w, FORMAT);
  tinker__jsonw_key(&w, "version");
  tinker__jsonw_i64(&w, VERSION);
  tinker__jsonw_key(&w, "store");
  tinker__jsonw_cstr(&w, m->store);
  if (m->row) {
    tinker__jsonw_key(&w, "row");
    tinker__jsonw_i64(&w, m->row);
    tinker__jsonw_key(&w, "commits");
    tinker__jsonw_i64(&w, m->commits);
  }
  tinker__jsonw_end_object(&w);
  tinker__buf_addc(out, '\n');
}

int tinker__svc_marker_write(const tinker__world_t *w, tinker__mem_t *mem,
                             const char *dir, const tinker__svc_marker_t *m,
                             char *why, size_t why_len) {
  char path[1300];
  tinker__buf_t out;
  tinker__buf_init(&out, mem, MAX_MARKER);
  write_marker(&out, m);
  snprintf(path, sizeof path, "%s/%s", dir, TINKER__MARKER);
  int rc = tinker__buf_error(&out);
  if (rc == 0) {
    rc = tinker__file_publish(w, path, out.data, out.len, 0600, why, why_len);
  } else {
    tinker__why(why, why_len, rc, "out of memory");
  }
  tinker__buf_free(&out);
  return rc;
}

static bool is_id(tinker__str_t s) {
  if (s.len != TINKER__STORE_ID - 1) return false;
  for (size_t i = 0; i < s.len; i++) {
    if (!strchr("0123456789abcdef", s.ptr[i]) || !s.ptr[i]) return false;
  }
  return true;
}

/* Reads a number from 0 up; an absent one is 0. */
static bool take_number(tinker__str_t raw, int64_t *out) {
  *out = 0;
  return !raw.len || (tinker__parse_i64(raw, out) == 0 && *out >= 0);
}

/* raw: format, version, store, row, commits; strings with their quotes. */
static bool take_marker(const tinker__str_t raw[5], tinker__svc_marker_t *m) {
  int64_t version;
  tinker__str_t id = raw[2];
  if (!tinker__str_eqs(raw[0], "\"" FORMAT "\"")) return false;
  if (!take_number(raw[1], &version) || version != VERSION) return false;
  if (id.len < 2) return false;
  id = (tinker__str_t){id.ptr + 1, id.len - 2};
  if (!is_id(id)) return false;
  memcpy(m->store, id.ptr, id.len);
  m->store[id.len] = 0;
  return take_number(raw[3], &m->row) && take_number(raw[4], &m->commits);
}

int tinker__svc_marker_read(const tinker__world_t *w, tinker__mem_t *mem,
                            const char *dir, tinker__svc_marker_t *m, char *why,
                            size_t why_len) {
  static const char *const keys[] = {"format", "version", "store", "row",
                                     "commits"};
  tinker__str_t raw[5];
  char path[1300];
  tinker__buf_t text;
  snprintf(path, sizeof path, "%s/%s", dir, TINKER__MARKER);
  tinker__buf_init(&text, mem, MAX_MARKER);
  int rc = read_file(w, path, &text, why, why_len);
  if (rc == 0) {
    rc = tinker__json_table(mem, tinker__buf_str(&text), path, keys, raw, 5,
                            false, why, why_len);
  }
  if (rc == TINKER_EOVERFLOW) rc = TINKER_EFORMAT;
  if (rc == 0 && !take_marker(raw, m)) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     "%s is of another program, of a later version, or damaged",
                     path);
  }
  tinker__buf_free(&text);
  return rc;
}

/* --- The mark ------------------------------------------------------------- */

enum { MARK = TINKER__STORE_ID + 20 + 1 }; /* bytes of every mark */

static void write_mark(char out[MARK + 1], const char *store, int64_t commits) {
  snprintf(out, MARK + 1, "%s %020" PRId64 "\n", store, commits);
}

static void mark_path(char *out, size_t len, const char *dir) {
  snprintf(out, len, "%s/mark", dir);
}

int tinker__svc_mark_read(const tinker__world_t *w, tinker__mem_t *mem,
                          const char *dir, const char *store, int64_t *commits,
                          char *why, size_t why_len) {
  char path[1300];
  tinker__buf_t text;
  mark_path(path, sizeof path, dir);
  tinker__buf_init(&text, mem, MARK);
  int rc = read_file(w, path, &text, why, why_len);
  if (rc == 0 || rc == TINKER_EOVERFLOW) {
    tinker__str_t s = tinker__buf_str(&text);
    size_t id = TINKER__STORE_ID - 1;
    bool good = rc == 0 && s.len == MARK && !memcmp(s.ptr, store, id) &&
                s.ptr[id] == ' ' && s.ptr[MARK - 1] == '\n';
    tinker__str_t digits = {good ? s.ptr + id + 1 : "", good ? 20 : 0};
    if (tinker__parse_i64(digits, commits) != 0 || *commits < 0) {
      rc = tinker__why(why, why_len, TINKER_EFORMAT,
                       "%s is damaged or of another store", path);
    }
  }
  tinker__buf_free(&text);
  return rc;
}

int tinker__svc_mark_open(const tinker__world_t *w, const char *dir,
                          const char *store, int64_t commits, int *fd,
                          char *why, size_t why_len) {
  char path[1300], text[MARK + 1];
  mark_path(path, sizeof path, dir);
  write_mark(text, store, commits);
  int rc = tinker__file_publish(w, path, text, MARK, 0600, why, why_len);
  if (rc != 0) return rc;
  *fd = w->open(w->user, path, O_WRONLY | O_CLOEXEC, 0);
  if (*fd >= 0) return 0;
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path, strerror(errno));
}

bool tinker__svc_mark_set(const tinker__world_t *w, int fd, const char *store,
                          int64_t commits) {
  char text[MARK + 1];
  write_mark(text, store, commits);
  ssize_t n = w->pwrite(w->user, fd, text, MARK, 0);
  if (n >= 0 && n != MARK) errno = EIO;
  return n == MARK && w->datasync(w->user, fd) == 0;
}
