/* file: one file of a journal, an SQLite database with one writer.
 *
 * A record is durable (WAL, synchronous=FULL) when tinker__rec_file_put
 * returns, or `done` of tinker__rec_file_add is called; records that wait at
 * the same time share one fsync. One that nobody waits for is in the file at
 * once, and durable with the next one that somebody does. Each has the hash of
 * the one before it, so a reader tells damage, a gap, a swap and a splice from
 * a tail that was never acknowledged, which SQLite drops. After a failed write
 * the file takes nothing more: what follows would hang on a record that is not
 * there.
 *
 * A file has one writer at a time: its number, the generation, is counted up by
 * each one that opens it, and a trigger of the database refuses a record of an
 * older generation, whoever sends it. So one that was thought dead writes
 * nothing. That the older one has ended is the lock's business (lock.h).
 *
 * Any thread. `done` runs on the file's own thread; it may add, and must not
 * put or close. */
#ifndef TINKER_RECOVERY_JOURNAL_FILE_H
#define TINKER_RECOVERY_JOURNAL_FILE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/world.h"
#include "journal/record.h"

typedef struct tinker__rec_file_s tinker__rec_file_t;

/* Gets each record, in order; views are valid during the call. A value other
 * than 0 ends the reading, and is what it returns; `why` is the reader's. */
typedef int (*tinker__rec_each_cb)(void *user, const tinker__rec_record_t *r,
                                   char *why, size_t why_len);
/* rc: 0 when it is durable, else TINKER_EIO and it is not there. */
typedef void (*tinker__rec_done_cb)(void *user, int rc);

/* A place in a file: its records up to this one. id 0 = none. */
typedef struct tinker__rec_mark_s {
  int64_t id;
  unsigned char hash[TINKER__SHA256_LEN]; /* of that record */
} tinker__rec_mark_t;

typedef struct tinker__rec_file_spec_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;
  const char *path;
  const char *lineage; /* at most 64 characters; what the file must say */
  int64_t epoch;       /* the same; 0 = the supervisor's file */
  bool relaxed;        /* survives the death of processes, not of the machine */
  bool own; /* of a reader: nobody else works on the file, so what a writer that
               was killed has left half done may be rolled back */
  atomic_bool *failed; /* set when a record can't be written; may be NULL */
  /* The disk is full. True: there may be room now, and what failed is tried
   * once more. On the file's thread, or that which opens it. May be NULL. */
  bool (*full)(void *room);
  void *room;
  tinker__rec_each_cb each; /* may be NULL */
  void *user;
  /* What was read before, and is not read again; NULL or id 0 = nothing. */
  const tinker__rec_mark_t *from;
  /* Of a reader: the last record to be read; 0 = the last one of the file. */
  int64_t to;
  /* Of a reader: the first and the last type to be shown. It has to read the
   * file again in full, since with this the chain is not checked. 0 = all. */
  tinker__rec_type_t first_type, last_type;
  tinker__rec_mark_t *end; /* gets the last record that was read; may be NULL */
} tinker__rec_file_spec_t;

/* Opens or makes a file and becomes its writer, after every record behind
 * `from` was checked and shown to `each`. 0, TINKER_EFORMAT (damaged, of
 * another lineage, or of a newer version: nothing was changed), TINKER_ESTATE
 * (it has not the record `from`), TINKER_EIO, TINKER_ENOMEM, or what `each`
 * returned. */
int tinker__rec_file_open(tinker__rec_file_t **out,
                          const tinker__rec_file_spec_t *spec, char *why,
                          size_t why_len);
/* Reads, beside its writer. The codes of tinker__rec_file_open(); TINKER_ENOENT
 * if there is none, TINKER_EBUSY if it can't be read now. */
int tinker__rec_file_read(const tinker__rec_file_spec_t *spec, char *why,
                          size_t why_len);
/* Number of this writer. */
int64_t tinker__rec_file_generation(const tinker__rec_file_t *f);

/* 0, or a code (TINKER_EIO after a failure, TINKER_EOVERFLOW, TINKER_ENOMEM):
 * then `done` is not called. done NULL: nobody waits, and the record alone
 * makes no fsync. */
int tinker__rec_file_add(tinker__rec_file_t *f, const tinker__rec_draft_t *d,
                         tinker__rec_done_cb done, void *user);
/* The same, and waits. Not in a `done`. */
int tinker__rec_file_put(tinker__rec_file_t *f, const tinker__rec_draft_t *d);
/* Waits for all that was added. NULL allowed. Returns NULL. */
tinker__rec_file_t *tinker__rec_file_close(tinker__rec_file_t *f);

#endif
