/* store: the SQLite file of a service and the thread that writes it.
 *
 * Writes are queued from any thread; the store thread commits all that wait
 * as one transaction (group commit, WAL, synchronous=FULL) and then calls
 * `done` of each on its own thread, in the order of submission. If a group
 * fails each write is tried alone, so that one bad write hurts nobody else.
 * While another process holds a lock on the file it waits, until store_free.
 * Reads go through the same queue: a read sees every write submitted before.
 * before store_start the opening thread may use tinker__svc_store_each. */
#ifndef TINKER_SERVICE_STORE_H
#define TINKER_SERVICE_STORE_H

#include <stdbool.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__svc_store_s tinker__svc_store_t;
typedef struct tinker__svc_write_s tinker__svc_write_t;
struct sqlite3_stmt;

/* rc: 0 when the write is durable, else TINKER_EIO and nothing is changed. */
typedef void (*tinker__svc_write_cb)(void *user, int rc);
/* data is valid during the call; NULL when there is no such row or no value.
 * rc 0, TINKER_ENOENT, TINKER_EIO. */
typedef void (*tinker__svc_read_cb)(void *user, int rc, const void *data,
                                    size_t len, int64_t extra);

/* What a file says about itself. */
typedef struct tinker__svc_store_facts_s {
  int64_t version; /* of its tables, 0 = there are none */
  bool ours;       /* all tables of that version are there */
  char id[33];     /* "" before version 3 */
  int64_t commits; /* groups that were committed, 0 before version 3 */
} tinker__svc_store_facts_t;

/* Looks into a file without changing it. folders gets the folders that rows
 * name ("checkpoints/12"), with TINKER__FOLDER_KEPT or, when the row was taken
 * away, TINKER__FOLDER_GONE as values; NULL = not wanted. A file that is no
 * store of ours gives 0 and facts->ours = false. */
extern char tinker__svc_folder_kept[], tinker__svc_folder_gone[];
#define TINKER__FOLDER_KEPT ((void *)tinker__svc_folder_kept)
#define TINKER__FOLDER_GONE ((void *)tinker__svc_folder_gone)
int tinker__svc_store_peek(const char *path, tinker__svc_store_facts_t *facts,
                           tinker__map_t *folders, char *why, size_t why_len);
/* Opens or creates the file. One of an older version is brought up to date, of
 * a newer one refused (TINKER_EFORMAT). */
int tinker__svc_store_open(tinker__svc_store_t **out, tinker__mem_t *mem,
                           const char *path, char *why, size_t why_len);
/* Runs a query and calls each for every row; a value other than 0 from it
 * ends the walk and is returned. Only before start. */
int tinker__svc_store_each(tinker__svc_store_t *s, const char *sql,
                           int (*each)(void *user, struct sqlite3_stmt *row),
                           void *user, char *why, size_t why_len);
/* Runs statements now, before start. */
int tinker__svc_store_exec(tinker__svc_store_t *s, const char *sql, char *why,
                           size_t why_len);
/* Who watches the store thread; set before start, called on that thread. */
typedef struct tinker__svc_store_watch_s {
  /* Groups have become durable; the `done` of their writes come after it. */
  void (*committed)(void *user, int64_t commits);
  /* Another process holds a lock on the file, for so long: again and again
   * while writes and reads wait for it. It may not use the store. */
  void (*locked)(void *user, int64_t waited_ms);
  void *user;
} tinker__svc_store_watch_t;
void tinker__svc_store_watch(tinker__svc_store_t *s,
                             const tinker__svc_store_watch_t *w);
const char *tinker__svc_store_id(const tinker__svc_store_t *s);
/* How many groups are durable. Any thread. */
int64_t tinker__svc_store_commits(tinker__svc_store_t *s);
int tinker__svc_store_start(tinker__svc_store_t *s);
/* Commits what is queued, ends the thread and closes the file. */
void tinker__svc_store_free(tinker__svc_store_t *s);

/* A write is a list of statements with their values in order. Memory failures
 * stick; submit reports them. sql must be a literal: statements are cached by
 * address. */
tinker__svc_write_t *tinker__svc_write_new(tinker__svc_store_t *s,
                                           tinker__svc_write_cb done,
                                           void *user);
void tinker__svc_write_sql(tinker__svc_write_t *w, const char *sql);
void tinker__svc_write_i64(tinker__svc_write_t *w, int64_t v);
void tinker__svc_write_text(tinker__svc_write_t *w,
                            const char *text); /* NULL = null */
void tinker__svc_write_blob(tinker__svc_write_t *w, const void *data,
                            size_t len);
/* The write frees the block (it came from the store's memory). */
void tinker__svc_write_take(tinker__svc_write_t *w, void *data, size_t len);
/* If this one fails, nothing that was submitted later may become durable: all
 * of it fails too. */
void tinker__svc_write_vital(tinker__svc_write_t *w);
/* A write that shall not happen; NULL allowed. */
void tinker__svc_write_drop(tinker__svc_write_t *w);
/* Queues it. On failure (TINKER_ENOMEM; w may be NULL) `done` is not called
 * and the write is gone. */
int tinker__svc_write_submit(tinker__svc_write_t *w);

/* The stored result of a request. extra is its format. */
int tinker__svc_store_read_result(tinker__svc_store_t *s, int64_t row,
                                  tinker__svc_read_cb done, void *user);
/* The body of a request as it is logged. extra is its format. */
int tinker__svc_store_read_body(tinker__svc_store_t *s, int64_t row,
                                tinker__svc_read_cb done, void *user);

#endif
