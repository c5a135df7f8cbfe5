/* release: see release.h. */
#include "release.h"

#include <stdio.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "journal/facts.h"
#include "journal/load.h"
#include "journal/lock.h"

/* One record, by a writer of its own. */
static int put(const tinker__rec_folder_t *folder, char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_t *file = NULL;
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  const tinker__rec_file_spec_t spec = {.mem = folder->mem,
                                        .world = folder->world,
                                        .path = path,
                                        .lineage = folder->lineage};
  tinker__buf_t text;
  tinker__buf_init(&text, folder->mem, TINKER__REC_MAX_FIELDS);
  facts.why = tinker__str("an operator's word");
  int rc = tinker__rec_facts_write(&facts, &text);
  const tinker__rec_draft_t draft = {TINKER__REC_RELEASE, TINKER__REC_NO_STEP,
                                     tinker__buf_str(&text), tinker__str("")};
  if (rc == 0) rc = tinker__rec_folder_file(folder, 0, path, why, why_len);
  if (rc == 0) rc = tinker__rec_file_open(&file, &spec, why, why_len);
  if (rc == 0 && (rc = tinker__rec_file_put(file, &draft)) != 0) {
    tinker__why(why, why_len, rc, "%s: %s", path, tinker_code_text(rc));
  }
  tinker__rec_file_close(file);
  tinker__buf_free(&text);
  return rc;
}

static int release(const tinker__rec_folder_t *folder, char *why,
                   size_t why_len) {
  tinker__rec_state_t state;
  int rc = tinker__rec_load(folder, &state, why, why_len);
  if (rc != 0) return rc;
  bool waits = state.stopped || state.held;
  tinker__rec_state_free(&state);
  return waits ? put(folder, why, why_len) : 0;
}

int tinker__rec_release(tinker__mem_t *mem, const tinker__world_t *world,
                        const char *state_dir, const char *name, char *why,
                        size_t why_len) {
  char path[TINKER__REC_PATH_ROOM], lock_path[TINKER__REC_PATH_ROOM + 8];
  struct stat st;
  tinker__rec_lock_t lock = {.fd = -1};
  const tinker__rec_folder_t folder = {mem, world, path, name, true};
  int n = snprintf(path, sizeof path, "%s/runs/%s", state_dir, name);
  if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0) {
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "%s/runs/%s: there is no such run", state_dir, name);
  }
  snprintf(lock_path, sizeof lock_path, "%s/lock", path);
  int rc = tinker__rec_lock_take(&lock, lock_path, why, why_len);
  if (rc != 0) return rc;
  rc = release(&folder, why, why_len);
  tinker__rec_lock_release(&lock);
  return rc;
}
