/* sighting: see sighting.h. */
#include "journal/sighting.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/file.h"
#include "base/json_read.h"
#include "base/json_write.h"

#define ROOM 4096 /* of paths and of the file */

static bool path_of(const char *dir, const char *end, char out[ROOM]) {
  int n = snprintf(out, ROOM, "%s/sighting%s", dir, end);
  return n > 0 && n < ROOM;
}

static int compose(const tinker__world_t *w, const tinker__rec_sighting_t *s,
                   tinker__buf_t *out) {
  char boot[TINKER__BOOT_ID_LEN];
  tinker__jsonw_t j;
  w->boot_id(w->user, boot);
  tinker__jsonw_init(&j, out);
  tinker__jsonw_begin_object(&j);
  tinker__jsonw_key(&j, "boot");
  tinker__jsonw_cstr(&j, boot);
  tinker__jsonw_key(&j, "asked_ms");
  tinker__jsonw_i64(&j, s->asked_ms);
  tinker__jsonw_key(&j, "model");
  tinker__jsonw_cstr(&j, s->model);
  tinker__jsonw_key(&j, "corrupted");
  tinker__jsonw_bool(&j, s->corrupted);
  tinker__jsonw_end_object(&j);
  return tinker__buf_error(out);
}

/* As a whole for who reads it. After a loss of power it is of another boot, so
 * it needs no sync. */
static int put(const tinker__world_t *w, const char *dir,
               const tinker__buf_t *text) {
  char draft[ROOM], path[ROOM];
  if (!path_of(dir, ".new", draft) || !path_of(dir, "", path)) {
    return TINKER_EOVERFLOW;
  }
  int fd =
      w->open(w->user, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return TINKER_EIO;
  bool whole =
      w->write(w->user, fd, text->data, text->len) == (ssize_t)text->len;
  w->close(w->user, fd);
  return whole && w->rename(w->user, draft, path) == 0 ? 0 : TINKER_EIO;
}

int tinker__rec_sighting_write(const tinker__world_t *w, tinker__mem_t *mem,
                               const char *dir,
                               const tinker__rec_sighting_t *s) {
  tinker__buf_t text;
  tinker__buf_init(&text, mem, ROOM);
  int rc = compose(w, s, &text);
  if (rc == 0) rc = put(w, dir, &text);
  tinker__buf_free(&text);
  return rc;
}

/* Each field is read, and the boot is this one. */
static bool read_fields(tinker__json_t *j, const char *boot,
                        tinker__rec_sighting_t *out) {
  tinker__str_t key, text;
  bool same = false;
  if (!tinker__json_object(j)) return false;
  while (tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "boot")) {
      same = tinker__json_string(j, &text) && tinker__str_eqs(text, boot);
    } else if (tinker__str_eqs(key, "asked_ms")) {
      tinker__json_i64(j, &out->asked_ms);
    } else if (tinker__str_eqs(key, "corrupted")) {
      tinker__json_bool(j, &out->corrupted);
    } else if (tinker__str_eqs(key, "model") && tinker__json_string(j, &text)) {
      snprintf(out->model, sizeof out->model, "%.*s", (int)text.len, text.ptr);
    } else {
      tinker__json_skip(j);
    }
  }
  return same && out->asked_ms >= 0 && *out->model;
}

bool tinker__rec_sighting_read(const tinker__world_t *w, tinker__mem_t *mem,
                               const char *dir, tinker__rec_sighting_t *out) {
  char path[ROOM], boot[TINKER__BOOT_ID_LEN];
  tinker__buf_t text;
  tinker__json_t j;
  *out = (tinker__rec_sighting_t){.asked_ms = -1};
  tinker__buf_init(&text, mem, ROOM);
  bool there =
      path_of(dir, "", path) && tinker__file_read(w, path, &text, NULL, 0) == 0;
  if (there) {
    w->boot_id(w->user, boot);
    tinker__json_init(&j, mem, text.data, text.len);
    there = read_fields(&j, boot, out);
    there = tinker__json_end(&j) == 0 && there;
    tinker__json_done(&j);
  }
  tinker__buf_free(&text);
  return there;
}
