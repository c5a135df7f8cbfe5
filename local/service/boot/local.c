/* local: the public functions of <tinker/local.h>. A tinker_local_t owns copies
 * of the options, the service, and a private folder with its socket and, unless
 * the program names another folder, its state. Runs on the caller's thread. */
#define _XOPEN_SOURCE 700 /* nftw, realpath */

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tinker/local.h>

#include "base/error.h"
#include "base/options.h"
#include "base/str.h"
#include "cpu/cpu.h"
#include "service/boot/service.h"

#define WHY_MAX 1024
#define MAX_MODELS 32
#define MAX_ENDPOINT (5 + 107) /* "unix:" and a path */
#define OPEN_FILES 16          /* that nftw may hold open at once */

struct tinker_local_s {
  tinker__mem_t mem;
  tinker_allocator_t allocator; /* the same as mem's; frees the struct */
  tinker__svc_t *service;       /* NULL until it has started */
  pid_t owner;
  char *state_dir; /* owned, NULL = temporary */
  tinker__svc_model_spec_t models[MAX_MODELS];
  char *names[MAX_MODELS], *dirs[MAX_MODELS]; /* owned */
  char folder[PATH_MAX];                      /* "" = not made */
  dev_t device;                               /* of the folder as made */
  ino_t inode;
  char temporary[PATH_MAX + 8]; /* the state folder in `folder` */
  char endpoint[MAX_ENDPOINT + 1];
  tinker_local_log_cb log_cb;
  tinker_local_ended_cb ended_cb;
  void *log_user, *ended_user;
  atomic_flag ended;
};

/* --- Options -------------------------------------------------------------- */

#define AT(member) offsetof(tinker_local_options_t, member)

static const struct {
  const char *name;
  size_t at;
  int64_t min, max;
} numbers[] = {
    {"threads", AT(threads), 0, 1024},
    {"max_memory_bytes", AT(max_memory_bytes), 0, INT64_MAX},
    {"max_body_bytes", AT(max_body_bytes), 1, 1 << 30},
    {"max_tokens", AT(max_tokens), 1, (int64_t)1 << 40},
    {"session_timeout_ms", AT(session_timeout_ms), 1000, 1000000000},
    {"sample_share", AT(sample_share), 1, 99},
};

static int check_numbers(const tinker_local_options_t *o, char *why,
                         size_t why_len) {
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    int64_t v;
    memcpy(&v, (const char *)o + numbers[i].at, sizeof v);
    if (v < numbers[i].min || v > numbers[i].max) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "%s is %" PRId64 " and must be from %" PRId64
                         " to %" PRId64,
                         numbers[i].name, v, numbers[i].min, numbers[i].max);
    }
  }
  return 0;
}

static int check_models(const tinker_local_options_t *o, char *why,
                        size_t why_len) {
  if (o->model_count < 1 || o->model_count > MAX_MODELS) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "model_count is %zu and must be from 1 to %d",
                       o->model_count, MAX_MODELS);
  }
  if (!o->model_dirs) {
    return tinker__why(why, why_len, TINKER_EINVAL, "model_dirs is NULL");
  }
  for (size_t i = 0; i < o->model_count; i++) {
    const char *name = o->model_names ? o->model_names[i] : NULL;
    if (!o->model_dirs[i] || !*o->model_dirs[i] || (name && !*name)) {
      return tinker__why(why, why_len, TINKER_EINVAL, "%s[%zu] is %s",
                         name && !*name ? "model_names" : "model_dirs", i,
                         (name && !*name) || o->model_dirs[i] ? "empty"
                                                              : "NULL");
    }
  }
  return 0;
}

static int take_options(tinker_local_options_t *o,
                        const tinker_local_options_t *given, char *why,
                        size_t why_len) {
  if (!given) {
    return tinker__why(why, why_len, TINKER_EINVAL, "options is NULL");
  }
  static const tinker_local_options_t defaults = TINKER_LOCAL_OPTIONS_INIT;
  int rc = tinker__options_take(o, sizeof *o, &defaults, given, "local_options",
                                why, why_len);
  if (rc == 0) rc = check_models(o, why, why_len);
  if (rc == 0) rc = check_numbers(o, why, why_len);
  if (rc != 0) return rc;
  const tinker_allocator_t *a = o->allocator;
  if (a && (!a->malloc_fn || !a->calloc_fn || !a->realloc_fn || !a->free_fn)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "allocator: all four functions must be set");
  }
  if (o->state_dir && !*o->state_dir) {
    return tinker__why(why, why_len, TINKER_EINVAL, "state_dir is empty");
  }
  return 0;
}

/* --- The private folder --------------------------------------------------- */

static int make_folder(tinker_local_t *l, char *why, size_t why_len) {
  char path[PATH_MAX];
  struct stat st;
  const tinker__world_t *world = tinker__world_real();
  const char *tmp = world->env(world->user, "TMPDIR");
  if (!tmp || !*tmp) tmp = "/tmp";
  int n = snprintf(path, sizeof path, "%s/tinker-local-XXXXXX", tmp);
  if (n < 0 || (size_t)n >= sizeof path || !mkdtemp(path)) {
    return tinker__why(
        why, why_len, TINKER_EIO, "no private folder can be made in %s: %s",
        tmp, strerror((size_t)n < sizeof path ? errno : ENAMETOOLONG));
  }
  if (!realpath(path, l->folder) || lstat(l->folder, &st) != 0) {
    int error = errno;
    rmdir(path);
    l->folder[0] = 0;
    return tinker__why(why, why_len, TINKER_EIO, "the folder %s: %s", path,
                       strerror(error));
  }
  l->device = st.st_dev;
  l->inode = st.st_ino;
  n = snprintf(l->endpoint, sizeof l->endpoint, "unix:%s/s", l->folder);
  if ((size_t)n >= sizeof l->endpoint) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "TMPDIR is too long for a socket in it: %s/s has more "
                       "than 107 bytes",
                       l->folder);
  }
  return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *at) {
  (void)st;
  (void)at;
  return type == FTW_DP ? rmdir(path) : unlink(path);
}

/* Removes the folder that was made here. Another folder in its place stays, and
 * so does everything that a link or a mount leads to. */
static int remove_folder(const tinker_local_t *l) {
  struct stat st;
  if (!l->folder[0]) return 0;
  if (lstat(l->folder, &st) != 0 || !S_ISDIR(st.st_mode) ||
      st.st_dev != l->device || st.st_ino != l->inode) {
    return TINKER_EIO;
  }
  int flags = FTW_DEPTH | FTW_PHYS | FTW_MOUNT;
  return nftw(l->folder, remove_entry, OPEN_FILES, flags) == 0 ? 0 : TINKER_EIO;
}

/* --- Starting ------------------------------------------------------------- */

static void on_log(void *user, const char *line, size_t len) {
  const tinker_local_t *l = user;
  l->log_cb(l->log_user, line, len);
}

static void on_ended(void *user) {
  tinker_local_t *l = user;
  if (!l->ended_cb || atomic_flag_test_and_set(&l->ended)) return;
  l->ended_cb(l->ended_user);
}

/* The struct has the account of its memory in it, so the struct itself is
 * allocated outside of that account. */
static tinker_local_t *local_new(const tinker_local_options_t *o) {
  tinker__mem_t outside;
  tinker__mem_init(&outside, o->allocator, 0);
  tinker_local_t *l = tinker__mem_zalloc(&outside, sizeof *l);
  if (!l) return NULL;
  tinker__mem_init(&l->mem, o->allocator, 0);
  l->allocator = outside.alloc;
  l->owner = getpid();
  atomic_flag_clear(&l->ended);
  l->log_cb = o->log_cb;
  l->log_user = o->log_user;
  l->ended_cb = o->ended_cb;
  l->ended_user = o->ended_user;
  return l;
}

static void local_free(tinker_local_t *l) {
  tinker__mem_t outside;
  tinker__mem_init(&outside, &l->allocator, 0);
  for (size_t i = 0; i < MAX_MODELS; i++) {
    tinker__mem_free(&l->mem, l->names[i]);
    tinker__mem_free(&l->mem, l->dirs[i]);
  }
  tinker__mem_free(&l->mem, l->state_dir);
  tinker__mem_free(&outside, l);
}

static int copy_texts(tinker_local_t *l, const tinker_local_options_t *o) {
  for (size_t i = 0; i < o->model_count; i++) {
    const char *name = o->model_names ? o->model_names[i] : NULL;
    l->dirs[i] = tinker__mem_strdup(&l->mem, o->model_dirs[i]);
    if (name) l->names[i] = tinker__mem_strdup(&l->mem, name);
    if (!l->dirs[i] || (name && !l->names[i])) return TINKER_ENOMEM;
    l->models[i].name = l->names[i];
    l->models[i].dir = l->dirs[i];
  }
  if (!o->state_dir) {
    snprintf(l->temporary, sizeof l->temporary, "%s/state", l->folder);
    return 0;
  }
  l->state_dir = tinker__mem_strdup(&l->mem, o->state_dir);
  return l->state_dir ? 0 : TINKER_ENOMEM;
}

static int start(tinker_local_t *l, const tinker_local_options_t *o, char *why,
                 size_t why_len) {
  tinker__svc_stage_t stage;
  const tinker__svc_config_t config = {
      .mem = &l->mem,
      .engine = tinker__cpu_engine(),
      .models = l->models,
      .n_models = o->model_count,
      .state_dir = l->state_dir ? l->state_dir : l->temporary,
      .socket_path = l->endpoint + strlen("unix:"),
      .threads = o->threads,
      .max_memory = o->max_memory_bytes,
      .max_body = o->max_body_bytes,
      .max_tokens = o->max_tokens,
      .session_ms = o->session_timeout_ms,
      .sample_share = o->sample_share,
      .log = l->log_cb ? on_log : NULL,
      .ended = on_ended,
      .user = l,
  };
  return tinker__svc_start(&l->service, &config, &stage, why, why_len);
}

static int start_whole(tinker_local_t **out,
                       const tinker_local_options_t *options, char *why,
                       size_t why_len) {
  tinker_local_options_t o;
  int rc = take_options(&o, options, why, why_len);
  if (rc != 0) return rc;
  tinker_local_t *l = local_new(&o);
  if (!l) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  rc = make_folder(l, why, why_len);
  if (rc == 0 && (rc = copy_texts(l, &o)) != 0) {
    tinker__why(why, why_len, rc, "out of memory");
  }
  if (rc == 0) rc = start(l, &o, why, why_len);
  if (rc == 0) {
    *out = l;
    return 0;
  }
  remove_folder(l); /* a failure is not reported: `why` has the first one */
  local_free(l);
  return rc;
}

int tinker_local_start(tinker_local_t **out,
                       const tinker_local_options_t *options,
                       tinker_error_t **error) {
  char why[WHY_MAX] = "";
  if (!out) return tinker__error_give(error, TINKER_EINVAL, "out is NULL");
  int rc = start_whole(out, options, why, sizeof why);
  return tinker__error_give(error, rc, "%s", why);
}

const char *tinker_local_endpoint(const tinker_local_t *local) {
  return local->endpoint;
}

int tinker_local_stop(tinker_local_t *local) {
  if (!local) return 0;
  if (local->owner != getpid()) return TINKER_EFORKED;
  tinker__svc_stop(local->service);
  int rc = remove_folder(local);
  local_free(local);
  return rc;
}
