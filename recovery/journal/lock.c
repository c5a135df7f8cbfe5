/* lock: see lock.h. The list of all locks is the only state of this library
 * that belongs to no handle: fork() asks for it. */
#include "journal/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/str.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static tinker__link_t all = {&all, &all};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void) {
  pthread_mutex_lock(&mutex);
}

static void in_parent(void) {
  pthread_mutex_unlock(&mutex);
}

/* The child's descriptors are copies: closing them leaves the parent's lock. */
static void in_child(void) {
  TINKER__LIST_EACH(l, tmp, &all) {
    tinker__rec_lock_t *lock = TINKER__CONTAINER(l, tinker__rec_lock_t, link);
    close(lock->fd);
    lock->fd = -1;
    tinker__list_remove(l);
  }
  pthread_mutex_unlock(&mutex);
}

static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}

static int failed(const char *path, char *why, size_t why_len) {
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path, strerror(errno));
}

static int take(tinker__rec_lock_t *l, const char *path, char *why,
                size_t why_len) {
  struct stat st;
  l->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (l->fd < 0) return failed(path, why, why_len);
  if (flock(l->fd, LOCK_EX | LOCK_NB) != 0) {
    return errno == EWOULDBLOCK
               ? tinker__why(why, why_len, TINKER_EBUSY,
                             "%s: another process works on this run", path)
               : failed(path, why, why_len);
  }
  if (fstat(l->fd, &st) != 0) return failed(path, why, why_len);
  l->device = st.st_dev;
  l->inode = st.st_ino;
  if (!tinker__rec_lock_held(l, path)) { /* removed while we took it */
    return tinker__why(why, why_len, TINKER_EBUSY,
                       "%s: it was removed meanwhile", path);
  }
  return 0;
}

int tinker__rec_lock_take(tinker__rec_lock_t *l, const char *path, char *why,
                          size_t why_len) {
  tinker__list_init(&l->link);
  pthread_once(&once, watch_forks);
  pthread_mutex_lock(&mutex);
  int rc = take(l, path, why, why_len);
  if (rc == 0) tinker__list_push_back(&all, &l->link);
  if (rc != 0 && l->fd >= 0) close(l->fd);
  if (rc != 0) l->fd = -1;
  pthread_mutex_unlock(&mutex);
  return rc;
}

bool tinker__rec_lock_held(const tinker__rec_lock_t *l, const char *path) {
  struct stat st;
  return l->fd >= 0 && stat(path, &st) == 0 && st.st_dev == l->device &&
         st.st_ino == l->inode;
}

void tinker__rec_lock_release(tinker__rec_lock_t *l) {
  pthread_mutex_lock(&mutex);
  if (l->fd >= 0) {
    tinker__list_remove(&l->link);
    close(l->fd);
    l->fd = -1;
  }
  pthread_mutex_unlock(&mutex);
}
