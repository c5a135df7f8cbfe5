/* made: journals for tests, in a folder of their own that is removed with
 * them, and records whose contents follow from their numbers. */
#ifndef TESTS_UNIT_RECOVERY_JOURNAL_MADE_H
#define TESTS_UNIT_RECOVERY_JOURNAL_MADE_H

#include "journal/facts.h"
#include "journal/file.h"
#include "journal/state.h"

#define MADE_LINEAGE "run-1"

extern char made_dir[64];

/* Makes the folder, and removes it with all that is in it. */
void made_setup(void);
void made_teardown(void);
/* Path of a file in the folder; valid until the call after the next. */
const char *made_path(const char *name);
/* Reads and writes a whole file. len: at most room. */
size_t made_slurp(const char *path, unsigned char *out, size_t room);
void made_spit(const char *path, const void *data, size_t len);

tinker__rec_file_spec_t made_spec(tinker__mem_t *mem, const char *path);
/* The n-th record, from 1, of a file that has the number `salt`. */
typedef struct made_record_s {
  tinker__rec_draft_t draft;
  char fields[64], bytes[64];
} made_record_t;
void made_record(made_record_t *out, int64_t salt, int64_t n);
/* Counts records and compares each with made_record(); user: a made_reader_t.
 */
typedef struct made_reader_s {
  int64_t salt, count;
  int64_t last_generation;
  bool altered; /* one of them is another */
} made_reader_t;
int made_each(void *user, const tinker__rec_record_t *r, char *why,
              size_t why_len);
/* Reads a file with made_each. */
int made_read(const char *path, made_reader_t *reader, char *why,
              size_t why_len);
/* Makes a file with n records, and closes it. */
void made_file(const char *path, int64_t salt, int64_t n);

/* Runs SQL on a file, past the journal. */
void made_sql(const char *path, const char *sql);

/* Folds a record that is made of its facts. */
int made_fold(tinker__rec_state_t *s, int64_t epoch, int64_t type, int64_t step,
              const tinker__rec_facts_t *f, tinker__str_t bytes);

#endif
