/* store: the tables of a service in its SQLite file, on src/db: schema,
 * migration, the file's id, and a look at a file before anything in it is
 * believed. The writes are where their reasons are, in calls/ and run/. */
#ifndef TINKER_SERVICE_STORE_H
#define TINKER_SERVICE_STORE_H

#include <stdbool.h>

#include "base/map.h"
#include "base/mem.h"
#include "db/db.h"

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
int tinker__svc_store_peek(tinker__mem_t *mem, const char *path,
                           tinker__svc_store_facts_t *facts,
                           tinker__map_t *folders, char *why, size_t why_len);
/* Opens or creates the file. One of an older version is brought up to date, of
 * a newer one refused (TINKER_EFORMAT). The commits are counted in the file; id
 * gets what the markers in the state folder repeat. */
int tinker__svc_store_open(tinker__db_t **out, char id[33], tinker__mem_t *mem,
                           const char *path, char *why, size_t why_len);
/* The stored result of a request: column 0 is its bytes, column 1 its format.
 * TINKER_ENOENT: there is no such row, or no result. As tinker__db_read. */
int tinker__svc_store_read_result(tinker__db_t *db, int64_t row,
                                  tinker__db_read_cb done, void *user);
/* The body of a request as it is logged, in the same way: bytes and format. */
int tinker__svc_store_read_body(tinker__db_t *db, int64_t row,
                                tinker__db_read_cb done, void *user);

#endif
