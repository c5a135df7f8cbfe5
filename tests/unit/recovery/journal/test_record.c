/* record: the chain of hashes holds every field, and the place of a record. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "journal/record.h"
#include "support/fail_alloc.h"

static const tinker__rec_record_t sample = {.id = 7,
                                            .type = TINKER__REC_OP_SENT,
                                            .generation = 2,
                                            .step = 5,
                                            .boot = "boot",
                                            .boot_ms = 1000,
                                            .wall_ms = -3,
                                            .fields = {"{\"op\":1}", 8},
                                            .bytes = {"body", 4}};

/* The chain's next hash, by a context of its own. */
static int next_of(tinker__mem_t *mem, const tinker__rec_record_t *r,
                   unsigned char hash[32]) {
  tinker__sha256_t *h = NULL;
  int rc = tinker__sha256_new(&h, mem);
  if (rc == 0) rc = tinker__rec_chain_next(h, r, hash);
  tinker__sha256_free(h);
  return rc;
}

static void hash_of(const tinker__rec_record_t *r, unsigned char out[32]) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__rec_chain_begin("run", 3, out), 0);
  cr_assert_eq(next_of(&mem, r, out), 0);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

static void differs(const tinker__rec_record_t *r, const char *field) {
  unsigned char one[32], two[32];
  hash_of(&sample, one);
  hash_of(r, two);
  cr_assert_neq(memcmp(one, two, 32), 0, "%s is not in the hash", field);
}

Test(record, every_field_counts) {
  tinker__rec_record_t r = sample;
#define CHANGED(field, value)                                                  \
  r = sample;                                                                  \
  r.field = value;                                                             \
  differs(&r, #field)
  CHANGED(id, 8);
  CHANGED(type, TINKER__REC_OP_ENDED);
  CHANGED(generation, 3);
  CHANGED(step, TINKER__REC_NO_STEP);
  CHANGED(boot, "boot2");
  CHANGED(boot_ms, 1001);
  CHANGED(wall_ms, 3);
  CHANGED(fields, tinker__str("{\"op\":2}"));
  CHANGED(bytes, tinker__str("bode"));
#undef CHANGED
}

/* What is at the end of one field may not be the beginning of the next. */
Test(record, a_field_does_not_run_into_its_neighbour) {
  tinker__rec_record_t r = sample;
  r.fields = (tinker__str_t){"{\"op\":1}b", 9};
  r.bytes = (tinker__str_t){"ody", 3};
  differs(&r, "the border of fields and bytes");
  r = sample;
  r.id = 72;
  r.type = 2;
  differs(&r, "the border of id and type");
}

Test(record, a_chain_begins_with_what_the_file_is) {
  unsigned char one[32], two[32];
  cr_assert_eq(tinker__rec_chain_begin("run", 3, one), 0);
  cr_assert_eq(tinker__rec_chain_begin("run", 4, two), 0);
  cr_assert_neq(memcmp(one, two, 32), 0);
  cr_assert_eq(tinker__rec_chain_begin("run2", 3, two), 0);
  cr_assert_neq(memcmp(one, two, 32), 0);
}

Test(record, the_order_counts) {
  tinker__mem_t mem;
  unsigned char one[32], two[32];
  tinker__rec_record_t a = sample, b = sample;
  b.fields = tinker__str("{}");
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__rec_chain_begin("run", 3, one), 0);
  memcpy(two, one, 32);
  cr_assert_eq(next_of(&mem, &a, one), 0);
  cr_assert_eq(next_of(&mem, &b, one), 0);
  cr_assert_eq(next_of(&mem, &b, two), 0);
  cr_assert_eq(next_of(&mem, &a, two), 0);
  cr_assert_neq(memcmp(one, two, 32), 0);
}

/* One context serves a whole chain. */
Test(record, a_context_is_as_new_after_each_record) {
  tinker__mem_t mem;
  tinker__sha256_t *h = NULL;
  unsigned char one[32] = {0}, two[32] = {0};
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__sha256_new(&h, &mem), 0);
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(tinker__rec_chain_next(h, &sample, one), 0);
    cr_assert_eq(next_of(&mem, &sample, two), 0);
    cr_assert_eq(memcmp(one, two, 32), 0, "record %d", i);
  }
  tinker__sha256_free(h);
}

/* Numbers of types are in files: each has one name, and no two share one. */
Test(record, types_have_names) {
  int known = 0;
  for (int64_t i = -1; i < 200; i++) {
    if (tinker__rec_type_name(i)) known++;
  }
  cr_assert_gt(known, 30);
  cr_assert_str_eq(tinker__rec_type_name(TINKER__REC_EPOCH_ACTIVE),
                   "EPOCH_ACTIVE");
  cr_assert_str_eq(tinker__rec_type_name(27), "STEP_COMMIT");
  cr_assert_eq(tinker__rec_type_name(0), NULL);
  cr_assert_eq(tinker__rec_type_name(INT64_MAX), NULL);
}

static int next(tinker__mem_t *mem, void *user) {
  unsigned char before[32];
  memcpy(before, user, 32);
  int rc = next_of(mem, &sample, user);
  if (rc != 0) cr_assert_eq(memcmp(before, user, 32), 0);
  return rc;
}

Test(record, no_memory) {
  unsigned char hash[32] = {0};
  cr_assert_gt(tinker__fail_sweep(next, hash, TINKER_ENOMEM), 0);
}
