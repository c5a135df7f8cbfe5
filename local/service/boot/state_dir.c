/* state_dir: see state_dir.h. */
#define _XOPEN_SOURCE 700 /* realpath */

#include "service/boot/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tinker/error.h>

#include "base/file.h"
#include "service/http/http.h"
#include "service/store/marker.h"

typedef enum {
  HOME_NEW, /* empty */
  HOME_OLD, /* a store without a marker: maybe the format before markers */
  HOME_MARKED,
  HOME_FOREIGN /* anything else */
} home_kind_t;

struct tinker__svc_state_dir_s {
  home_kind_t kind;
  int lock_fd, dir_fd, mark_fd;
  char stranger[80]; /* a name in it that shows that it is foreign */
  char store[TINKER__STORE_ID];
  tinker__svc_store_facts_t facts;
  tinker__map_t *folders; /* see tinker__svc_store_peek */
  int64_t top;            /* the largest number of a folder, or of its row */
};

#define PATH_LEN 1300

static const char *const kinds[] = {"checkpoints", "snapshots"};

static void path_in(const tinker__svc_t *s, const char *name, char *out) {
  snprintf(out, PATH_LEN, "%s/%s", s->state_dir, name);
}

static int refuse(tinker__svc_t *s, int rc, const char *what) {
  return tinker__why(s->why, sizeof s->why, rc, "state folder %s: %s",
                     s->state_dir, what);
}

static int refuse_errno(tinker__svc_t *s, const char *path) {
  return tinker__why(s->why, sizeof s->why, TINKER_EIO, "state folder %s: %s",
                     path, strerror(errno));
}

/* --- The folder itself ---------------------------------------------------- */

static int make_dir(tinker__svc_t *s, const char *path) {
  if (mkdir(path, 0700) == 0 || errno == EEXIST) return 0;
  return refuse_errno(s, path);
}

static int find_dir(tinker__svc_t *s) {
  char real[PATH_MAX];
  int rc = make_dir(s, s->config.state_dir);
  if (rc != 0) return rc;
  if (!realpath(s->config.state_dir, real) || strlen(real) > 1000) {
    return tinker__why(s->why, sizeof s->why, TINKER_EIO,
                       "state folder %s: the path can't be used",
                       s->config.state_dir);
  }
  s->state_dir = tinker__mem_strdup(s->mem, real);
  return s->state_dir ? 0 : TINKER_ENOMEM;
}

/* Refuses a folder that others can read. */
static int check_mode(tinker__svc_t *s) {
  struct stat st;
  if (stat(s->state_dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
    return tinker__why(s->why, sizeof s->why, TINKER_EIO,
                       "state folder %s is not a folder", s->state_dir);
  }
  /* The mode is not changed: others may need the folder as it is. */
  if (st.st_mode & 077) {
    return tinker__why(s->why, sizeof s->why, TINKER_EIO,
                       "state folder %s is open to others: name a new folder, "
                       "or set its mode to 0700",
                       s->state_dir);
  }
  return 0;
}

/* Locks the file `lock`, and the folder too, since the file may be deleted
 * while it is held. Some file systems can't lock a folder; there the file is
 * enough.
 */
static int lock_dir(tinker__svc_t *s, tinker__svc_stage_t *stage) {
  char path[PATH_LEN];
  tinker__svc_state_dir_t *h = s->home;
  path_in(s, "lock", path);
  h->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (h->lock_fd < 0) return refuse_errno(s, path);
  h->dir_fd = open(s->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (h->dir_fd < 0) return refuse_errno(s, s->state_dir);
  if (flock(h->lock_fd, LOCK_EX | LOCK_NB) == 0 &&
      (flock(h->dir_fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)) {
    return 0;
  }
  *stage = TINKER__STAGE_BUSY;
  return tinker__why(s->why, sizeof s->why, TINKER_EBUSY,
                     "state folder %s is in use by another process",
                     s->state_dir);
}

/* --- The kind of the folder ----------------------------------------------- */

/* True for names that say nothing about whose folder it is. A folder with only
 * `lock` is one of a start that was killed at once. */
static bool says_nothing(const char *name) {
  return !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "lock") ||
         !strcmp(name, "lost+found");
}

static int read_kind(tinker__svc_t *s) {
  tinker__svc_state_dir_t *h = s->home;
  struct dirent *e;
  bool store = false, marker = false, other = false;
  DIR *d = opendir(s->state_dir);
  if (!d) return refuse_errno(s, s->state_dir);
  while ((e = readdir(d)) != NULL) {
    if (says_nothing(e->d_name)) continue;
    store = store || !strcmp(e->d_name, "store.db");
    marker = marker || !strcmp(e->d_name, TINKER__MARKER);
    if (!other) {
      snprintf(h->stranger, sizeof h->stranger, "%.60s", e->d_name);
    }
    other = true;
  }
  closedir(d);
  h->kind = marker  ? HOME_MARKED
            : store ? HOME_OLD
            : other ? HOME_FOREIGN
                    : HOME_NEW;
  if (h->kind != HOME_FOREIGN) return 0;
  return tinker__why(s->why, sizeof s->why, TINKER_EFORMAT,
                     "state folder %s is not empty and this service did not "
                     "make it (it has '%s'): name a new or an empty folder",
                     s->state_dir, h->stranger);
}

/* --- The store in the folder ---------------------------------------------- */

static int read_marker(tinker__svc_t *s) {
  tinker__svc_marker_t m;
  char why[300];
  int rc = tinker__svc_marker_read(s->world, s->mem, s->state_dir, &m, why,
                                   sizeof why);
  if (rc != 0) {
    return tinker__why(s->why, sizeof s->why, rc, "state folder: %s", why);
  }
  memcpy(s->home->store, m.store, sizeof m.store);
  return 0;
}

/* Checks that the store is whole and is the one that the marker names. */
static int check_id(tinker__svc_t *s) {
  const tinker__svc_state_dir_t *h = s->home;
  if (h->facts.version > 3) return 0; /* tinker__svc_store_open refuses it */
  if (!h->facts.ours || !h->facts.id[0]) {
    return refuse(s, TINKER_EFORMAT,
                  "store.db is damaged or was replaced: put a good copy back "
                  "(with store.db-wal, if there is one); nothing was changed");
  }
  if (strcmp(h->facts.id, h->store) == 0) return 0;
  return refuse(s, TINKER_EFORMAT,
                "store.db is of another state folder: put its own back");
}

/* Refuses a store that has lost commits which were acknowledged. Without a mark
 * that can't be known; a warning is logged then. */
static int check_mark(tinker__svc_t *s) {
  char why[300];
  int64_t commits = 0;
  const tinker__svc_state_dir_t *h = s->home;
  int rc = tinker__svc_mark_read(s->world, s->mem, s->state_dir, h->facts.id,
                                 &commits, why, sizeof why);
  if (rc == TINKER_ENOENT) {
    if (h->kind == HOME_OLD) return 0; /* a first start was killed early */
    tinker__svc_log(s, "warning", "mark_missing", "folder", s->state_dir, NULL);
    return 0;
  }
  if (rc != 0) {
    return tinker__why(s->why, sizeof s->why, rc,
                       "%s: remove it to start without knowing whether "
                       "store.db is the newest",
                       why);
  }
  if (commits <= h->facts.commits) return 0;
  return tinker__why(
      s->why, sizeof s->why, TINKER_EFORMAT,
      "state folder %s: store.db is damaged or older than what was "
      "acknowledged: it has %lld commits of %lld. Put the newest store.db and "
      "store.db-wal back, or remove the file mark to go on without the "
      "missing ones; nothing was changed",
      s->state_dir, (long long)h->facts.commits, (long long)commits);
}

static int peek(tinker__svc_t *s) {
  char path[PATH_LEN], why[300];
  struct stat st;
  tinker__svc_state_dir_t *h = s->home;
  path_in(s, "store.db", path);
  if (lstat(path, &st) != 0) {
    return refuse(s, TINKER_ENOENT,
                  "store.db is missing, and without it what lies beside it "
                  "can't be read: put it back (with store.db-wal, if there is "
                  "one), or name another folder; nothing was changed");
  }
  int rc = tinker__svc_store_peek(s->mem, path, &h->facts, h->folders, why,
                                  sizeof why);
  if (rc == 0) return 0;
  return tinker__why(s->why, sizeof s->why, rc,
                     "state folder %s: store.db can't be read (%s): put a good "
                     "copy back, or name another folder; nothing was changed",
                     s->state_dir, why);
}

static int check_marked_store(tinker__svc_t *s) {
  int rc = peek(s);
  if (rc == 0) rc = check_id(s);
  return rc == 0 ? check_mark(s) : rc;
}

static int check_old_store(tinker__svc_t *s) {
  int rc = peek(s);
  if (rc != 0 || s->home->facts.ours) return rc;
  return refuse(s, TINKER_EFORMAT,
                "store.db was not made by this service: name a new or an "
                "empty folder");
}

/* Refuses a folder that is not a state folder, before the lock is written into
 * it. */
static int check_kind(tinker__svc_t *s) {
  int rc = read_kind(s);
  if (rc == 0 && s->home->kind == HOME_MARKED) rc = read_marker(s);
  if (rc == 0 && s->home->kind == HOME_OLD) rc = check_old_store(s);
  return rc;
}

/* --- Folders of checkpoints and snapshots --------------------------------- */

typedef struct {
  char name[NAME_MAX + 16]; /* checkpoints/12 */
  char path[PATH_LEN + NAME_MAX];
  int64_t row;      /* 0 = the name is not a number */
  bool unfinished;  /* <row>.tmp */
  bool linked;      /* <state>/<kind> is a link */
  const void *fate; /* TINKER__FOLDER_KEPT, _GONE or NULL */
  int marker_rc;
  tinker__svc_marker_t marker;
  char why[200]; /* of marker_rc */
} entry_t;

/* The number in a name that this service gives, 0 for other names. */
static int64_t parse_row(const char *name, size_t len) {
  int64_t row;
  if (!len || name[0] == '0' ||
      tinker__parse_i64((tinker__str_t){name, len}, &row) != 0) {
    return 0;
  }
  return row > 0 && row < TINKER__MAX_ROW ? row : 0;
}

static void fill_entry(tinker__svc_t *s, const char *kind, const char *name,
                       entry_t *e) {
  size_t len = strlen(name);
  memset(e, 0, sizeof *e);
  snprintf(e->name, sizeof e->name, "%s/%s", kind, name);
  snprintf(e->path, sizeof e->path, "%s/%s", s->state_dir, e->name);
  e->unfinished = len > 4 && !strcmp(name + len - 4, ".tmp");
  e->row = parse_row(name, e->unfinished ? len - 4 : len);
  e->unfinished = e->unfinished && e->row;
  if (e->row > s->home->top) s->home->top = e->row;
  if (!e->unfinished) {
    e->fate = tinker__map_get(s->home->folders, tinker__str(e->name));
  }
  e->marker_rc = tinker__svc_marker_read(s->world, s->mem, e->path, &e->marker,
                                         e->why, sizeof e->why);
}

/* True when the entry's marker names this store and the entry's number. */
static bool is_ours(const tinker__svc_t *s, const entry_t *e) {
  return e->marker_rc == 0 && e->marker.row == e->row &&
         !strcmp(e->marker.store, s->home->store);
}

/* Calls each for every entry of <state>/<kind>, except hidden names. */
static int walk(tinker__svc_t *s, const char *kind,
                int (*each)(tinker__svc_t *s, const entry_t *e)) {
  char dir[PATH_LEN];
  struct dirent *d;
  struct stat st;
  entry_t *e = tinker__mem_alloc(s->mem, sizeof *e);
  if (!e) return TINKER_ENOMEM;
  path_in(s, kind, dir);
  bool linked = lstat(dir, &st) == 0 && S_ISLNK(st.st_mode);
  DIR *at = opendir(dir);
  int rc = at || errno == ENOENT ? 0 : refuse_errno(s, dir);
  while (rc == 0 && at && (d = readdir(at)) != NULL) {
    if (d->d_name[0] == '.') continue;
    fill_entry(s, kind, d->d_name, e);
    e->linked = linked;
    rc = e->marker_rc == TINKER_ENOMEM ? TINKER_ENOMEM : each(s, e);
  }
  if (at) closedir(at);
  tinker__mem_free(s->mem, e);
  return rc;
}

static int walk_all(tinker__svc_t *s,
                    int (*each)(tinker__svc_t *s, const entry_t *e)) {
  int rc = walk(s, kinds[0], each);
  return rc == 0 ? walk(s, kinds[1], each) : rc;
}

/* In the format before markers only the store says which folders are ours, so
 * it must know all of them. */
static int check_old(tinker__svc_t *s, const entry_t *e) {
  if (e->unfinished || e->fate) return 0;
  return tinker__why(s->why, sizeof s->why, TINKER_EFORMAT,
                     "state folder %s has %s, which its store.db does not "
                     "know: put the store.db back that it belongs to, or move "
                     "it out of there; nothing was changed",
                     s->state_dir, e->name);
}

static int check_marked(tinker__svc_t *s, const entry_t *e) {
  const tinker__svc_state_dir_t *h = s->home;
  if (e->unfinished) return 0;
  if (is_ours(s, e) && e->marker.commits > h->facts.commits) {
    return tinker__why(
        s->why, sizeof s->why, TINKER_EFORMAT,
        "state folder %s: store.db is damaged or older than %s beside it. Put "
        "the newest store.db and store.db-wal back, or move what is newer out "
        "of there to go on without it; nothing was changed",
        s->state_dir, e->name);
  }
  if (is_ours(s, e) || e->fate != TINKER__FOLDER_KEPT) return 0;
  if (e->marker_rc == TINKER_EIO) { /* only its model or sampler fails */
    tinker__svc_log(s, "error", "folder_unreadable", "folder", e->path, "why",
                    e->why, NULL);
    return 0;
  }
  return tinker__why(s->why, sizeof s->why, TINKER_EFORMAT,
                     "state folder %s: %s is not what this service wrote "
                     "there (%s): put it back; nothing was changed",
                     s->state_dir, e->name,
                     e->marker_rc ? e->why
                                  : "its " TINKER__MARKER
                                    " names another store or number");
}

static int check_folders(tinker__svc_t *s) {
  switch (s->home->kind) {
  case HOME_OLD: return walk_all(s, check_old);
  case HOME_MARKED: return walk_all(s, check_marked);
  default: return 0;
  }
}

/* --- Opening -------------------------------------------------------------- */

int tinker__svc_state_dir_open(tinker__svc_t *s, tinker__svc_stage_t *stage) {
  tinker__svc_state_dir_t *h = tinker__mem_zalloc(s->mem, sizeof *h);
  if (!h) return TINKER_ENOMEM;
  s->home = h;
  h->lock_fd = h->dir_fd = h->mark_fd = -1;
  *stage = TINKER__STAGE_STATE;
  int rc = tinker__map_new(&h->folders, s->mem);
  if (rc == 0) rc = find_dir(s);
  if (rc == 0) rc = check_mode(s);
  if (rc == 0) rc = check_kind(s);
  if (rc == 0) rc = lock_dir(s, stage);
  if (rc == 0) rc = check_kind(s); /* another start may have just made it */
  if (rc == 0 && h->kind == HOME_MARKED) rc = check_marked_store(s);
  if (rc == 0 && h->kind == HOME_OLD && *h->facts.id) rc = check_mark(s);
  if (rc == 0) rc = check_folders(s);
  return rc;
}

void tinker__svc_state_dir_free(tinker__svc_t *s, tinker__svc_state_dir_t *h) {
  if (!h) return;
  if (h->mark_fd >= 0) s->world->close(s->world->user, h->mark_fd);
  if (h->dir_fd >= 0) close(h->dir_fd);
  if (h->lock_fd >= 0) close(h->lock_fd);
  tinker__map_free(h->folders);
  tinker__mem_free(s->mem, h);
}

/* --- Markers -------------------------------------------------------------- */

/* Waits for the ledger before a call is committed to the log: a restart reads
 * from the ledger what the fault plan does to the call. Store thread. */
static void on_committing(void *user) {
  tinker__svc_settle(user);
}

/* Notes the number of commits in the mark. The commits are durable, so a mark
 * that can't be written is only logged: the next start may then not notice that
 * the latest commits were lost. Store thread. */
static void on_commit(void *user, int64_t commits) {
  tinker__svc_t *s = user;
  const tinker__svc_state_dir_t *h = s->home;
  atomic_store(&s->locked_ms, 0);
  if (tinker__svc_mark_set(s->world, h->mark_fd, h->store, commits)) return;
  tinker__svc_log(s, "warning", "mark_failed", "why", strerror(errno), NULL);
}

/* Store thread. Logs a foreign lock after one second and then every ten. Every
 * ten seconds the requests that wait are answered 503, since the lock may be
 * held for ever. */
static void on_locked(void *user, int64_t waited_ms) {
  char text[24];
  tinker__svc_t *s = user;
  int64_t before = atomic_exchange(&s->locked_ms, waited_ms);
  bool first = before < 1000 && waited_ms >= 1000;
  bool again = waited_ms / TINKER__STUCK_MS > before / TINKER__STUCK_MS;
  if (!first && !again) return;
  snprintf(text, sizeof text, "%lld", (long long)waited_ms);
  tinker__svc_log(s, "warning", "store_locked", "why",
                  "another process holds a lock on store.db", "waited_ms", text,
                  NULL);
  if (!again) return;
  tinker__svc_lock(s);
  tinker__svc_acks_release(s);
  tinker__svc_unlock(s);
}

static int mark_old(tinker__svc_t *s, const entry_t *e) {
  if (e->unfinished || e->marker_rc == 0) return 0;
  tinker__svc_marker_t m = {.row = e->row};
  memcpy(m.store, s->home->store, sizeof m.store);
  return tinker__svc_marker_write(s->world, s->mem, e->path, &m, s->why,
                                  sizeof s->why);
}

static int make_kinds(tinker__svc_t *s) {
  char path[PATH_LEN];
  int rc = 0;
  for (int i = 0; rc == 0 && i < 2; i++) {
    path_in(s, kinds[i], path);
    rc = make_dir(s, path);
  }
  return rc;
}

/* The state folder's own marker is written last, so that a start which is
 * killed before is done again by the next one. */
int tinker__svc_state_dir_settle(tinker__svc_t *s) {
  tinker__svc_state_dir_t *h = s->home;
  snprintf(h->store, sizeof h->store, "%s", s->store_id);
  int rc = make_kinds(s);
  if (rc == 0 && h->kind == HOME_OLD) rc = walk_all(s, mark_old);
  if (rc == 0) {
    rc = tinker__svc_mark_open(s->world, s->state_dir, h->store,
                               tinker__db_commits(s->store), &h->mark_fd,
                               s->why, sizeof s->why);
  }
  if (rc == 0 && h->kind != HOME_MARKED) {
    tinker__svc_marker_t m = {.row = 0};
    memcpy(m.store, h->store, sizeof m.store);
    rc = tinker__svc_marker_write(s->world, s->mem, s->state_dir, &m, s->why,
                                  sizeof s->why);
  }
  if (rc != 0) return rc;
  if (h->kind == HOME_OLD) {
    tinker__svc_log(s, "info", "adopted", "folder", s->state_dir, NULL);
  }
  const tinker__db_watch_t watch = {
      .committing = on_committing,
      .committed = on_commit,
      .locked = on_locked,
      .user = s,
  };
  tinker__db_watch(s->store, &watch);
  return 0;
}

/* --- Folders without a row ------------------------------------------------ */

/* Finds a name in lost/ that is not used yet. */
static bool lost_name(const tinker__svc_t *s, const entry_t *e, char *out,
                      size_t len) {
  struct stat st;
  char flat[NAME_MAX + 16];
  snprintf(flat, sizeof flat, "%s", e->name);
  *strchr(flat, '/') = '-';
  for (int i = 0; i < 1000; i++) {
    snprintf(out, len, "%s/lost/%s.%d", s->state_dir, flat, i);
    if (lstat(out, &st) != 0 && errno == ENOENT) return true;
  }
  errno = EEXIST;
  return false;
}

/* Moves an entry to lost/. One that can't be moved stays where it is and does
 * no harm. So does one that a link leads to: others may need it. */
static int move_to_lost(tinker__svc_t *s, const entry_t *e) {
  char to[PATH_LEN + NAME_MAX], dir[PATH_LEN], why[200];
  path_in(s, "lost", dir);
  if (e->linked) {
    tinker__svc_log(s, "error", "lost", "folder", e->path, "why",
                    "a link leads to it: it stays there", NULL);
    return 0;
  }
  bool moved = (mkdir(dir, 0700) == 0 || errno == EEXIST) &&
               lost_name(s, e, to, sizeof to) &&
               s->world->rename(s->world->user, e->path, to) == 0;
  snprintf(why, sizeof why, "%s", moved ? "" : strerror(errno));
  if (moved && tinker__file_sync_dir(s->world, dir, why, sizeof why) == 0) {
    tinker__svc_log(s, "warning", "lost", "folder", e->path, "moved_to", to,
                    NULL);
  } else {
    tinker__svc_log(s, "error", "lost", "folder", e->path, "why", why, NULL);
  }
  return 0;
}

/* True for a folder that is empty or has only a marker that is not whole. */
static bool is_blank(const char *path) {
  struct dirent *d;
  bool blank = true;
  DIR *at = opendir(path);
  if (!at) return false;
  while (blank && (d = readdir(at)) != NULL) {
    size_t len = strlen(d->d_name);
    bool part =
        !strncmp(d->d_name, TINKER__MARKER ".", sizeof TINKER__MARKER) &&
        !strcmp(d->d_name + len - 4, ".tmp");
    blank = part || !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
  }
  closedir(at);
  return blank;
}

/* True when an entry is proved to be ours and of no use. A <row>.tmp without a
 * whole marker has no other file either, since the marker is written first. */
static bool is_worthless(const tinker__svc_t *s, const entry_t *e) {
  if (e->unfinished) return is_ours(s, e) || is_blank(e->path);
  return e->fate == TINKER__FOLDER_GONE && is_ours(s, e);
}

static int tidy_entry(tinker__svc_t *s, const entry_t *e) {
  struct stat st;
  if (e->fate == TINKER__FOLDER_KEPT) {
    tinker__map_remove(s->home->folders, tinker__str(e->name));
    return 0;
  }
  if (!is_worthless(s, e)) return move_to_lost(s, e);
  tinker__svc_folder_remove(e->path);
  if (lstat(e->path, &st) == 0) return move_to_lost(s, e);
  return 0;
}

/* Logs the rows whose folder was not found. */
static void report_missing(tinker__svc_t *s) {
  size_t cursor = 0;
  tinker__str_t name;
  char text[NAME_MAX];
  void *fate;
  while (tinker__map_next(s->home->folders, &cursor, &name, &fate)) {
    size_t cut = name.len;
    while (cut && name.ptr[cut - 1] != '/') cut--;
    int64_t row = parse_row(name.ptr + cut, name.len - cut);
    if (row > s->home->top) s->home->top = row;
    if (fate != TINKER__FOLDER_KEPT) continue;
    snprintf(text, sizeof text, "%.*s", (int)name.len, name.ptr);
    tinker__svc_log(s, "error", "folder_missing", "folder", text, NULL);
  }
}

int tinker__svc_state_dir_tidy(tinker__svc_t *s) {
  int rc = walk_all(s, tidy_entry);
  if (rc != 0) return rc;
  report_missing(s);
  if (s->next_row <= s->home->top) s->next_row = s->home->top + 1;
  return tinker__db_exec(s->store, "DELETE FROM gone", s->why, sizeof s->why);
}
