/* ledger: see ledger.h. */
#include "ledger.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#define LINEAGE "daemon"

/* --- Reading -------------------------------------------------------------- */

tinker__rec_left_t *tinker__rec_ledger_find(const tinker__rec_ledger_t *l,
                                            const char *name) {
  TINKER__LIST_EACH(it, tmp, &l->left) {
    tinker__rec_left_t *x = TINKER__CONTAINER(it, tinker__rec_left_t, link);
    if (strcmp(x->name, name) == 0) return x;
  }
  return NULL;
}

static tinker__rec_left_t *left_of(tinker__rec_ledger_t *l,
                                   tinker__str_t name) {
  char text[TINKER__REC_NAME_ROOM];
  snprintf(text, sizeof text, "%.*s", (int)name.len, name.ptr);
  tinker__rec_left_t *x = tinker__rec_ledger_find(l, text);
  if (x) return x;
  x = tinker__mem_zalloc(l->mem, sizeof *x);
  if (!x) return NULL;
  memcpy(x->name, text, sizeof text);
  tinker__list_push_back(&l->left, &x->link);
  return x;
}

static tinker__rec_trainer_state_t state_of(tinker__str_t name) {
  for (int s = 0; s < TINKER__REC_TRAINER_STATES; s++) {
    const char *text =
        tinker__rec_trainer_state_name((tinker__rec_trainer_state_t)s);
    if (tinker__str_eqs(name, text)) return (tinker__rec_trainer_state_t)s;
  }
  return TINKER__REC_TRAINER_WAITING;
}

static int64_t number(int64_t value) {
  return value == TINKER__REC_UNSET ? 0 : value;
}

static void fold_end(tinker__rec_left_t *x, const tinker__rec_record_t *r,
                     const tinker__rec_facts_t *f) {
  tinker__rec_restart_t *s = &x->restart;
  x->alive = false;
  s->state = state_of(f->cause);
  s->fruitless = number(f->count);
  s->early = number(f->level);
  s->epoch = number(f->epoch);
  s->committed = number(f->from_step);
  x->delay_ms = number(f->delay_ms);
  s->at_ms = r->boot_ms + x->delay_ms;
}

static void fold(tinker__rec_left_t *x, const tinker__rec_record_t *r,
                 const tinker__rec_facts_t *f) {
  snprintf(x->boot, sizeof x->boot, "%s", r->boot);
  switch (r->type) {
  case TINKER__REC_ATTEMPT_BEGIN:
    x->alive = true;
    x->pid = number(f->pid);
    x->started = number(f->started);
    x->attempts = number(f->attempt);
    x->restart.state = TINKER__REC_TRAINER_RUNNING;
    break;
  case TINKER__REC_ATTEMPT_END: fold_end(x, r, f); break;
  case TINKER__REC_HOLD: x->restart.state = TINKER__REC_TRAINER_HELD; break;
  case TINKER__REC_INC_STOP:
    x->restart.state = TINKER__REC_TRAINER_STOPPED;
    break;
  case TINKER__REC_RELEASE:
    x->restart.fruitless = x->restart.early = x->delay_ms = 0;
    x->restart.state = TINKER__REC_TRAINER_WAITING;
    x->restart.at_ms = r->boot_ms;
    break;
  default: break;
  }
}

static int each(void *user, const tinker__rec_record_t *r, char *why,
                size_t why_len) {
  tinker__rec_ledger_t *l = user;
  tinker__rec_facts_t facts;
  tinker__arena_t arena;
  tinker__arena_init(&arena, l->mem);
  int rc = tinker__rec_facts_read(&facts, &arena, r->fields, why, why_len);
  if (rc == 0 && facts.name.len) {
    tinker__rec_left_t *x = left_of(l, facts.name);
    rc = x ? 0 : tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
    if (x) fold(x, r, &facts);
  }
  tinker__arena_free(&arena);
  return rc;
}

/* --- Opening -------------------------------------------------------------- */

static int open_file(tinker__rec_ledger_t *l, const char *dir, char *why,
                     size_t why_len) {
  char path[TINKER__REC_PATH_ROOM + 16];
  const tinker__rec_file_spec_t spec = {.mem = l->mem,
                                        .world = l->world,
                                        .path = path,
                                        .lineage = LINEAGE,
                                        .each = each,
                                        .user = l};
  char told[512] = "";
  snprintf(path, sizeof path, "%s/daemon.db", dir);
  int rc = tinker__rec_file_open(&l->file, &spec, told, sizeof told);
  if (rc == 0) return 0;
  bool named = strstr(told, path) != NULL;
  return tinker__why(why, why_len, rc, "%s%s%s", named ? "" : path,
                     named ? "" : ": ", told);
}

int tinker__rec_ledger_open(tinker__rec_ledger_t *l, tinker__mem_t *mem,
                            const tinker__world_t *world, const char *dir,
                            char *why, size_t why_len) {
  memset(l, 0, sizeof *l);
  l->mem = mem;
  l->world = world;
  l->lock.fd = -1;
  tinker__list_init(&l->left);
  int n = snprintf(l->lock_path, sizeof l->lock_path, "%s/daemon.lock", dir);
  if (n < 0 || (size_t)n >= sizeof l->lock_path) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "the path of the state folder is too long");
  }
  if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", dir,
                       strerror(errno));
  }
  int rc = tinker__rec_lock_take(&l->lock, l->lock_path, why, why_len);
  if (rc == TINKER_EBUSY) {
    tinker__why(why, why_len, rc, "%s: another daemon works on this folder",
                dir);
  }
  return rc == 0 ? open_file(l, dir, why, why_len) : rc;
}

void tinker__rec_ledger_close(tinker__rec_ledger_t *l) {
  l->file = tinker__rec_file_close(l->file);
  TINKER__LIST_EACH(it, tmp, &l->left) {
    tinker__mem_free(l->mem, TINKER__CONTAINER(it, tinker__rec_left_t, link));
  }
  tinker__list_init(&l->left);
  tinker__rec_lock_release(&l->lock);
}

bool tinker__rec_ledger_held(const tinker__rec_ledger_t *l) {
  return tinker__rec_lock_held(&l->lock, l->lock_path);
}

/* --- Writing -------------------------------------------------------------- */

/* Deaths are counted across a loss of power, too, so the record is synced
 * although the daemon goes on meanwhile. */
static void on_durable(void *user, int rc) {
  (void)user; /* a failure shows with the next record */
  (void)rc;
}

int tinker__rec_ledger_note(tinker__rec_ledger_t *l, tinker__rec_type_t type,
                            const tinker__rec_facts_t *facts, bool wait) {
  tinker__buf_t text;
  tinker__buf_init(&text, l->mem, TINKER__REC_MAX_FIELDS);
  int rc = tinker__rec_facts_write(facts, &text);
  const tinker__rec_draft_t draft = {type, TINKER__REC_NO_STEP,
                                     tinker__buf_str(&text), tinker__str("")};
  if (rc == 0) {
    rc = wait ? tinker__rec_file_put(l->file, &draft)
              : tinker__rec_file_add(l->file, &draft, on_durable, NULL);
  }
  tinker__buf_free(&text);
  return rc;
}
