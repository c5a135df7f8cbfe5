/* A base model is loaded in one call, whole or not at all. */
#include <criterion/criterion.h>
#include <tinker/error.h>

#include "base/str.h"
#include "engine/backend.h"

static int steps_left, last_rc, ended;
static bool wanted;
static char the_load, the_base;

static int load_begin(tinker__engine_t *e, const char *model_dir,
                      tinker__eng_load_t **out, char *why, size_t why_len) {
  (void)e;
  if (model_dir[0] == '?') return tinker__why(why, why_len, TINKER_ENOENT, "?");
  *out = (tinker__eng_load_t *)(void *)&the_load;
  return 0;
}

static int load_step(tinker__eng_load_t *l, const atomic_bool *cancel,
                     char *why, size_t why_len) {
  cr_assert_eq((void *)l, &the_load);
  cr_assert_null(cancel);
  if (steps_left-- > 0) return 1;
  return last_rc ? tinker__why(why, why_len, last_rc, "no") : 0;
}

static void load_end(tinker__eng_load_t *l, tinker__eng_base_t **out) {
  cr_assert_eq((void *)l, &the_load);
  ended++;
  wanted = out != NULL;
  if (out) *out = (tinker__eng_base_t *)(void *)&the_base;
}

static const tinker__engine_api_t api = {
    .load_begin = load_begin,
    .load_step = load_step,
    .load_end = load_end,
};

static int load(const char *dir, int steps, int rc, tinker__eng_base_t **out) {
  steps_left = steps;
  last_rc = rc;
  ended = 0;
  return tinker__eng_backend_load(&api, NULL, dir, out, NULL, 0);
}

Test(backend, loads_whole_or_not) {
  tinker__eng_base_t *none = (tinker__eng_base_t *)(void *)&ended, *b = none;
  cr_assert_eq(load("?", 0, 0, &b), TINKER_ENOENT);
  cr_assert(b == none && ended == 0);
  for (int steps = 0; steps < 3; steps++) {
    cr_assert_eq(load("dir", steps, TINKER_ENOMEM, &b), TINKER_ENOMEM);
    cr_assert(b == none && ended == 1 && !wanted, "a part is not wanted");
  }
  cr_assert_eq(load("dir", 5, 0, &b), 0);
  cr_assert_eq((void *)b, &the_base);
  cr_assert(ended == 1 && steps_left == -1);
}
