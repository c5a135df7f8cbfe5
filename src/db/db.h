/* db: an SQLite file and the thread that writes it.
 *
 * Writes are queued from any thread; the db's thread commits all that wait as
 * one transaction (group commit, WAL, synchronous=FULL) and then calls `done`
 * of each on its own thread, in the order of submission. If a group fails each
 * write is tried alone, so that one bad write hurts nobody else. While another
 * process holds a lock on the file the thread waits, until tinker__db_free.
 * Reads go through the same queue: a read sees every write submitted before.
 *
 * Between open and start the opening thread may use the file itself:
 * tinker__db_each, tinker__db_exec. After start the connection belongs to the
 * db's thread. */
#ifndef TINKER_DB_DB_H
#define TINKER_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__db_s tinker__db_t;
typedef struct tinker__db_write_s tinker__db_write_t;
struct sqlite3_stmt;

/* rc: 0 when the write is durable, else TINKER_EIO and nothing is changed.
 * After a sync that failed every later write fails too. */
typedef void (*tinker__db_write_cb)(void *user, int rc);
/* rc 0: row is valid during the call (db/row.h). TINKER_ENOENT: no such row,
 * TINKER_EIO; row is NULL. */
typedef void (*tinker__db_read_cb)(void *user, int rc,
                                   struct sqlite3_stmt *row);

/* Opens or creates a file; a file that is there is opened read-only for
 * `look`, which writes nothing, creates nothing and can't be started. `name`
 * stands for the file in error texts ("the store") and is not copied. 0,
 * TINKER_EIO or TINKER_ENOMEM. */
int tinker__db_open(tinker__db_t **out, tinker__mem_t *mem, const char *path,
                    bool look, const char *name, char *why, size_t why_len);
/* The last error of a file that was opened for `look`: its writer was killed in
 * a transaction, and a journal must be rolled back before anything is read. */
bool tinker__db_is_hot(const tinker__db_t *db);
/* The last error, before start: the disk has no room. */
bool tinker__db_is_full(const tinker__db_t *db);
/* Write-ahead log, and a commit is on the disk when it returns. Before the
 * first write. */
int tinker__db_durable(tinker__db_t *db, char *why, size_t why_len);
/* Runs a query and calls each for every row; a value other than 0 from it
 * ends the walk and is returned. Only before start. */
int tinker__db_each(tinker__db_t *db, const char *sql,
                    int (*each)(void *user, struct sqlite3_stmt *row),
                    void *user, char *why, size_t why_len);
/* Runs statements now, before start. */
int tinker__db_exec(tinker__db_t *db, const char *sql, char *why,
                    size_t why_len);

/* Callbacks of the db's thread; set before start. */
typedef struct tinker__db_watch_s {
  /* A group is about to be committed. The function returns when the data that
   * must be on disk before the group is there. */
  void (*committing)(void *user);
  /* Groups have become durable; the `done` of their writes come after it. */
  void (*committed)(void *user, int64_t commits);
  /* Another process holds a lock on the file, for so long: again and again
   * while writes and reads wait for it. It may not use the db. */
  void (*locked)(void *user, int64_t waited_ms);
  /* A commit found no room on the disk. True: there may be some now, and it is
   * tried once more. */
  bool (*full)(void *user);
  void *user;
} tinker__db_watch_t;
void tinker__db_watch(tinker__db_t *db, const tinker__db_watch_t *w);
/* Counts groups from `commits` on, before start. sql, a literal, is run in
 * each transaction with the new number as its value and must change one row;
 * NULL (as long as this is not called) = the file does not hold the number. */
void tinker__db_count(tinker__db_t *db, const char *sql, int64_t commits);
/* How many groups are durable. Any thread. */
int64_t tinker__db_commits(const tinker__db_t *db);
/* Writes and reads that wait for the thread. Any thread. */
size_t tinker__db_queued(tinker__db_t *db);
int tinker__db_start(tinker__db_t *db); /* 0 or TINKER_ENOMEM */
/* Commits the queued writes, ends the thread and closes the file. NULL allowed.
 */
void tinker__db_free(tinker__db_t *db);

/* A write is a list of statements with their values in order. Memory failures
 * stick; submit reports them. sql must be a literal: statements are cached by
 * address. */
tinker__db_write_t *tinker__db_write_new(tinker__db_t *db,
                                         tinker__db_write_cb done, void *user);
void tinker__db_write_sql(tinker__db_write_t *w, const char *sql);
void tinker__db_write_i64(tinker__db_write_t *w, int64_t v);
/* NULL = null. */
void tinker__db_write_text(tinker__db_write_t *w, const char *text);
void tinker__db_write_textn(tinker__db_write_t *w, tinker__str_t text);
void tinker__db_write_blob(tinker__db_write_t *w, const void *data, size_t len);
/* The write frees the block (it came from the db's memory). */
void tinker__db_write_take(tinker__db_write_t *w, void *data, size_t len);
/* If this one fails, nothing that was submitted later may become durable: all
 * of it fails too. */
void tinker__db_write_vital(tinker__db_write_t *w);
/* It survives the death of the process when it is done, and that of the machine
 * with the next write that is not soft. Of a file that is durable
 * (tinker__db_durable). */
void tinker__db_write_soft(tinker__db_write_t *w);
/* A write that shall not happen; NULL allowed. */
void tinker__db_write_drop(tinker__db_write_t *w);
/* Queues it. On failure (TINKER_ENOMEM; w may be NULL) `done` is not called
 * and the write is gone. */
int tinker__db_write_submit(tinker__db_write_t *w);

/* Queues a read of the first row of a query, a literal, with one value. 0, or
 * TINKER_ENOMEM and `done` is not called. */
int tinker__db_read(tinker__db_t *db, const char *sql, int64_t value,
                    tinker__db_read_cb done, void *user);

#endif
