/* Damage: a file is read as what was written, or refused with the place; no
 * record is accepted that is another than was written (I7). */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/file.h"
#include "made.h"

#define RECORDS 6

static char path[256], why[300];

static void setup(void) {
  made_setup();
  snprintf(path, sizeof path, "%s", made_path("e1.db"));
  made_file(path, 1, RECORDS);
}

TestSuite(file_damage, .init = setup, .fini = made_teardown);

static int read_it(made_reader_t *reader) {
  reader->salt = 1;
  why[0] = 0;
  return made_read(path, reader, why, sizeof why);
}

static int open_it(void) {
  tinker__mem_t mem;
  tinker__rec_file_t *f = NULL;
  tinker__mem_init(&mem, NULL, 0);
  const tinker__rec_file_spec_t spec = made_spec(&mem, path);
  int rc = tinker__rec_file_open(&f, &spec, why, sizeof why);
  if (rc == 0) tinker__rec_file_close(f);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  return rc;
}

/* Neither a reader nor a writer takes the file; both name the place. */
static void refused(const char *place) {
  made_reader_t reader = {0};
  cr_assert_eq(read_it(&reader), TINKER_EFORMAT, "%s: %s", place, why);
  cr_assert(strstr(why, place), "%s: %s", place, why);
  cr_assert_not(reader.altered, "%s", place);
  cr_assert_eq(open_it(), TINKER_EFORMAT, "%s: %s", place, why);
  cr_assert(strstr(why, place), "%s: %s", place, why);
}

static void after(const char *sql, const char *place) {
  made_sql(path, sql);
  refused(place);
  unlink(path);
  made_file(path, 1, RECORDS);
}

Test(file_damage, every_field_of_a_record) {
  after("UPDATE record SET type = 22 WHERE id = 3", "record 3");
  after("UPDATE record SET generation = 2 WHERE id = 3", "record 3");
  after("UPDATE record SET step = 7 WHERE id = 3", "record 3");
  after("UPDATE record SET step = -1 WHERE id = 3", "record 3");
  after("UPDATE record SET boot = 'x' WHERE id = 3", "record 3");
  after("UPDATE record SET boot_ms = boot_ms + 1 WHERE id = 3", "record 3");
  after("UPDATE record SET wall_ms = wall_ms + 1 WHERE id = 3", "record 3");
  after("UPDATE record SET fields = '{}' WHERE id = 3", "record 3");
  after("UPDATE record SET fields = fields || ' ' WHERE id = 3", "record 3");
  after("UPDATE record SET bytes = x'' WHERE id = 3", "record 3");
  after("UPDATE record SET hash = zeroblob(32) WHERE id = 3", "record 3");
  after("UPDATE record SET hash = (SELECT hash FROM record WHERE id = 4)"
        " WHERE id = 3",
        "record 3");
}

Test(file_damage, a_value_of_another_kind) {
  after("UPDATE record SET type = 'a' WHERE id = 3", "row 3: type");
  after("UPDATE record SET step = -2 WHERE id = 3", "row 3: step");
  after("UPDATE record SET fields = x'00' WHERE id = 3", "row 3: fields");
  after("UPDATE record SET fields = CAST(x'7bc37d' AS TEXT) WHERE id = 3",
        "row 3: fields");
  after("UPDATE record SET bytes = 'text' WHERE id = 3", "row 3: bytes");
  after("UPDATE record SET hash = x'00' WHERE id = 3", "row 3: hash");
}

Test(file_damage, a_record_is_missing) {
  after("DELETE FROM record WHERE id = 1", "record 2: a gap");
  after("DELETE FROM record WHERE id = 4", "record 5: a gap");
  after("DELETE FROM record WHERE id = 4; UPDATE record SET id = id - 1"
        " WHERE id > 4",
        "record 4");
}

Test(file_damage, two_records_are_swapped) {
  after("UPDATE record SET id = 100 WHERE id = 3;"
        "UPDATE record SET id = 3 WHERE id = 4;"
        "UPDATE record SET id = 4 WHERE id = 100",
        "record 3");
}

Test(file_damage, a_record_stands_twice) {
  after("INSERT INTO record SELECT id + 4, type, generation, step, boot,"
        " boot_ms, wall_ms, fields, bytes, hash FROM record WHERE id = 3",
        "record 7");
}

/* The same record of a file of another epoch: all is alike but its place. */
Test(file_damage, a_record_of_another_file) {
  tinker__mem_t mem;
  tinker__rec_file_t *f = NULL;
  made_record_t r;
  char sql[600];
  tinker__mem_init(&mem, NULL, 0);
  tinker__rec_file_spec_t spec = made_spec(&mem, made_path("e2.db"));
  spec.epoch = 2;
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0);
  for (int64_t i = 1; i <= RECORDS; i++) {
    made_record(&r, 1, i);
    cr_assert_eq(tinker__rec_file_put(f, &r.draft), 0);
  }
  tinker__rec_file_close(f);
  snprintf(sql, sizeof sql,
           "ATTACH '%s' AS other; DELETE FROM record WHERE id = 3;"
           "INSERT INTO record SELECT * FROM other.record WHERE id = 3",
           spec.path);
  after(sql, "record 3");
  snprintf(sql, sizeof sql,
           "ATTACH '%s' AS other; DELETE FROM record;"
           "INSERT INTO record SELECT * FROM other.record",
           spec.path);
  after(sql, "record 1");
}

Test(file_damage, a_tail_is_missing) {
  after("DELETE FROM record WHERE id > 4", "record 5");
  after("DELETE FROM record", "record 1");
}

Test(file_damage, what_the_file_is) {
  after("UPDATE head SET lineage = 'run-2'", "run-2");
  after("UPDATE head SET epoch = 2", "epoch 2");
  after("UPDATE head SET format = 2", "newer version");
  after("UPDATE head SET format = 'a'", "head");
  after("UPDATE head SET generation = -1", "head");
  after("DELETE FROM head", "head is missing");
  after("DROP TRIGGER one_writer; DROP TABLE head", "e1.db");
  after("DROP TABLE record", "e1.db");
}

/* The same records, or an error: nothing else. Returns whether they were read.
 */
static bool sound(const unsigned char *data, size_t len, size_t byte) {
  made_reader_t reader = {0};
  made_spit(path, data, len);
  int rc = read_it(&reader);
  cr_assert_not(reader.altered, "byte %zu", byte);
  cr_assert(rc == TINKER_EFORMAT || rc == TINKER_EIO ||
                (rc == 0 && reader.count == RECORDS),
            "byte %zu: code %d, %lld records: %s", byte, rc,
            (long long)reader.count, why);
  cr_assert(rc == 0 || why[0], "byte %zu", byte);
  return rc == 0;
}

/* Each so many bytes one is another; fewer where nothing is. */
#define STRIDE 7

Test(file_damage, each_byte) {
  static unsigned char whole[1 << 20];
  static const unsigned char nothing[STRIDE];
  size_t same = 0, tried = 0;
  size_t len = made_slurp(path, whole, sizeof whole);
  cr_assert(len > 8192 && len < sizeof whole);
  for (size_t i = 0; i + STRIDE <= len; tried++) {
    unsigned char was = whole[i];
    size_t step =
        memcmp(whole + i, nothing, STRIDE) == 0 ? 29 * STRIDE : STRIDE;
    whole[i] ^= (unsigned char)(tried % 2 ? 0xff : 1 << tried / 2 % 8);
    if (sound(whole, len, i)) same++;
    whole[i] = was;
    i += step;
  }
  cr_assert(same > 0 && same < tried, "%zu of %zu", same, tried);
}

/* The heads of pages: how many cells there are, and where. */
Test(file_damage, each_bit_of_the_heads_of_pages) {
  static unsigned char whole[1 << 20];
  size_t len = made_slurp(path, whole, sizeof whole);
  for (size_t page = 0; page < len; page += 4096) {
    for (size_t bit = 0; bit < 64; bit++) {
      size_t at = (page ? page : 100) + bit / 8;
      whole[at] ^= (unsigned char)(1 << bit % 8);
      sound(whole, len, at);
      whole[at] ^= (unsigned char)(1 << bit % 8);
    }
  }
}

/* A write-ahead log that is cut, as a power loss may leave it: some first
 * records, whole. */
Test(file_damage, each_length_of_the_log) {
  static unsigned char db[1 << 20], log[1 << 20];
  tinker__mem_t mem;
  tinker__rec_file_t *f = NULL;
  made_record_t r;
  char name[300];
  int64_t most = 0;
  tinker__mem_init(&mem, NULL, 0);
  unlink(path);
  const tinker__rec_file_spec_t spec = made_spec(&mem, path);
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0);
  for (int64_t i = 1; i <= RECORDS; i++) {
    made_record(&r, 1, i);
    cr_assert_eq(tinker__rec_file_put(f, &r.draft), 0);
  }
  snprintf(name, sizeof name, "%s-wal", path);
  size_t db_len = made_slurp(path, db, sizeof db);
  size_t len = made_slurp(name, log, sizeof log);
  tinker__rec_file_close(f);
  snprintf(path, sizeof path, "%s", made_path("copy.db"));
  snprintf(name, sizeof name, "%s-wal", path);
  for (size_t n = 0; n <= len; n = n + 500 < len ? n + 500 : len) {
    made_reader_t reader = {0};
    made_spit(path, db, db_len);
    made_spit(name, log, n);
    cr_assert_eq(read_it(&reader), 0, "length %zu: %s", n, why);
    cr_assert(!reader.altered && reader.count >= most, "length %zu", n);
    most = reader.count;
    if (n == len) break;
  }
  cr_assert_eq(most, RECORDS);
}

/* A file that is cut anywhere. */
Test(file_damage, each_length) {
  static unsigned char whole[1 << 20];
  size_t len = made_slurp(path, whole, sizeof whole);
  for (size_t n = 1; n < len; n += 97) {
    made_spit(path, whole, n);
    made_reader_t reader = {0};
    int rc = read_it(&reader);
    cr_assert(rc == TINKER_EFORMAT || rc == TINKER_EIO,
              "length %zu: code %d, %lld records", n, rc,
              (long long)reader.count);
    cr_assert_not(reader.altered);
  }
}
