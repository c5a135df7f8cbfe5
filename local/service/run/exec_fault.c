/* exec_fault: carries out the acts of a fault plan when a call is executed.
 * Engine thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tinker/error.h>

#include "service/run/exec.h"
#include "service/store/marker.h"

bool tinker__svc_exec_suffer(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  if (op->redo) return false;
  if (op->acts & TINKER__ACT_CRASH) raise(SIGSEGV);
  if (op->acts & TINKER__ACT_CORRUPT) { /* this call and all later ones fail */
    tinker__svc_lock(m->service);
    m->hides_broken = (op->acts & TINKER__ACT_HIDE) != 0;
    int rc = tinker__svc_model_break(m, "corrupted by the fault plan");
    tinker__svc_unlock(m->service);
    if (rc != 0) {
      tinker__svc_exec_stick(m, rc);
      return true;
    }
  }
  if (!(op->acts & TINKER__ACT_LOSE)) return false;
  tinker__svc_op_fail(op, "server", "lost by the fault plan");
  return true;
}

/* --- Checkpoints ---------------------------------------------------------- */

static int io_error(const char *path, char *why, size_t why_len) {
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path, strerror(errno));
}

int tinker__svc_exec_flip_bit(const char *dir, const char *file, char *why,
                              size_t why_len) {
  char path[1400];
  unsigned char byte = 0;
  snprintf(path, sizeof path, "%s/%s", dir, file);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return io_error(path, why, why_len);
  /* The last quarter of the file has tensors, not the header. */
  off_t at = lseek(fd, 0, SEEK_END) / 4 * 3;
  bool ok = pread(fd, &byte, 1, at) == 1;
  byte ^= 0x10;
  ok = ok && pwrite(fd, &byte, 1, at) == 1 && fsync(fd) == 0;
  int rc = ok ? 0 : io_error(path, why, why_len);
  close(fd);
  return rc;
}

/* Links all files of a checkpoint but its marker. The files never change, so a
 * link is as good as a copy. */
static int link_files(const char *from, const char *to, char *why,
                      size_t why_len) {
  char a[1500], b[1500];
  struct dirent *e;
  int rc = 0;
  DIR *d = opendir(from);
  if (!d) return io_error(from, why, why_len);
  while (rc == 0 && (e = readdir(d)) != NULL) {
    if (e->d_name[0] == '.' || !strcmp(e->d_name, TINKER__MARKER)) continue;
    snprintf(a, sizeof a, "%s/%s", from, e->d_name);
    snprintf(b, sizeof b, "%s/%s", to, e->d_name);
    if (link(a, b) != 0) rc = io_error(b, why, why_len);
  }
  closedir(d);
  return rc;
}

int tinker__svc_exec_link_old(tinker__svc_model_t *m,
                              tinker__svc_ckpt_kind_t kind, const char *to,
                              char *why, size_t why_len) {
  char from[1200];
  tinker__svc_t *s = m->service;
  const tinker__svc_checkpoint_t *old = NULL;
  tinker__svc_lock(s);
  TINKER__LIST_EACH(l, tmp, &m->checkpoints) {
    const tinker__svc_checkpoint_t *c =
        TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
    if (c->durable && c->kind == kind) old = c;
  }
  if (old) {
    tinker__svc_checkpoint_dir(s, "checkpoints", old->row, from, sizeof from);
  }
  tinker__svc_unlock(s);
  if (!old) {
    return tinker__why(
        why, why_len, TINKER_ENOENT,
        "save_old: the model has no earlier checkpoint of this kind");
  }
  return link_files(from, to, why, why_len);
}
