/* sighting: what was written is read; what is not whole, or of another boot, is
 * none. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "journal/sighting.h"
#include "made.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static char boot[TINKER__BOOT_ID_LEN];
static tinker__world_t world;

static void boot_id(void *user, char out[TINKER__BOOT_ID_LEN]) {
  (void)user;
  snprintf(out, TINKER__BOOT_ID_LEN, "%s", boot);
}

static void setup(void) {
  made_setup();
  tinker__mem_init(&mem, NULL, 0);
  world = *tinker__world_real();
  world.boot_id = boot_id;
  snprintf(boot, sizeof boot, "one");
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(sighting, .init = setup, .fini = teardown);

static const tinker__rec_sighting_t sample = {1234, true, "m:train:0"};

static int put(const tinker__rec_sighting_t *s) {
  return tinker__rec_sighting_write(&world, &mem, made_dir, s);
}

static bool get(tinker__rec_sighting_t *out) {
  return tinker__rec_sighting_read(&world, &mem, made_dir, out);
}

Test(sighting, there_and_back) {
  tinker__rec_sighting_t s, fine = {99, false, "other"};
  cr_assert_not(get(&s));
  cr_assert_eq(put(&sample), 0);
  cr_assert(get(&s));
  cr_assert(s.asked_ms == 1234 && s.corrupted);
  cr_assert_str_eq(s.model, "m:train:0");
  cr_assert_eq(put(&fine), 0);
  cr_assert(get(&s));
  cr_assert(s.asked_ms == 99 && !s.corrupted);
  cr_assert_str_eq(s.model, "other");
}

/* Its clock has begun anew. */
Test(sighting, of_another_boot) {
  tinker__rec_sighting_t s;
  cr_assert_eq(put(&sample), 0);
  snprintf(boot, sizeof boot, "two");
  cr_assert_not(get(&s));
}

Test(sighting, any_part_of_it) {
  tinker__rec_sighting_t s;
  unsigned char whole[512];
  cr_assert_eq(put(&sample), 0);
  size_t len = made_slurp(made_path("sighting"), whole, sizeof whole);
  for (size_t i = 0; i < len; i++) {
    made_spit(made_path("sighting"), whole, i);
    cr_assert_not(get(&s), "%zu bytes", i);
  }
  made_spit(made_path("sighting"), whole, len);
  cr_assert(get(&s));
}

Test(sighting, without_a_field) {
  static const char *const texts[] = {
      "{}",
      "[]",
      "{\"boot\":\"one\",\"asked_ms\":1,\"corrupted\":true}",
      "{\"boot\":\"one\",\"model\":\"m\",\"corrupted\":true}",
      "{\"asked_ms\":1,\"model\":\"m\",\"corrupted\":true}",
      "{\"boot\":\"one\",\"asked_ms\":1,\"model\":\"m\",\"corrupted\":2}"};
  tinker__rec_sighting_t s;
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    made_spit(made_path("sighting"), texts[i], strlen(texts[i]));
    cr_assert_not(get(&s), "%s", texts[i]);
  }
}

Test(sighting, where_nothing_can_be_written) {
  tinker__rec_sighting_t s;
  cr_assert_eq(
      tinker__rec_sighting_write(&world, &mem, "/nowhere/at/all", &sample),
      TINKER_EIO);
  cr_assert_not(get(&s));
}

static int sweep(tinker__mem_t *m, void *user) {
  tinker__rec_sighting_t s;
  (void)user;
  int rc = tinker__rec_sighting_write(&world, m, made_dir, &sample);
  if (rc != 0) return rc;
  return tinker__rec_sighting_read(&world, m, made_dir, &s) ? 0 : TINKER_ENOMEM;
}

Test(sighting, no_memory) {
  cr_assert_gt(tinker__fail_sweep(sweep, NULL, TINKER_ENOMEM), 1);
}
