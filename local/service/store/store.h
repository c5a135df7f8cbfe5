/* store: the tables of a service in its SQLite file, on top of src/db. Here are
 * the schema, its migration, the id of the file, and the look at a file before
 * the service trusts it. The writes are in calls/, run/ and tinker/, beside
 * their reasons. Starting thread, except the reads, which any thread may ask
 * for. */
#ifndef TINKER_SERVICE_STORE_H
#define TINKER_SERVICE_STORE_H

#include <stdbool.h>

#include "base/map.h"
#include "base/mem.h"
#include "db/db.h"

/* The facts that a file states about itself. */
typedef struct tinker__svc_store_facts_s {
  int64_t version; /* of its tables, 0 = there are none */
  bool ours;       /* all tables of that version are there */
  char id[33];     /* "" before version 3 */
  int64_t commits; /* groups that were committed, 0 before version 3 */
} tinker__svc_store_facts_t;

/* Looks into a file. Its content stays as it is; only a journal that a killed
 * start has left is rolled back. folders gets the folders that rows name
 * ("checkpoints/12") with the value TINKER__FOLDER_KEPT, and those whose row
 * was deleted with TINKER__FOLDER_GONE; NULL = not wanted. A file that is not a
 * store of ours gives 0 and facts->ours = false. */
extern char tinker__svc_folder_kept[], tinker__svc_folder_gone[];
#define TINKER__FOLDER_KEPT ((void *)tinker__svc_folder_kept)
#define TINKER__FOLDER_GONE ((void *)tinker__svc_folder_gone)
int tinker__svc_store_peek(tinker__mem_t *mem, const char *path,
                           tinker__svc_store_facts_t *facts,
                           tinker__map_t *folders, char *why, size_t why_len);
/* Opens or creates the file. A file of an older version is migrated, one of a
 * newer version refused (TINKER_EFORMAT). Every commit from now on raises the
 * count in the file. id gets the id that the markers repeat. */
int tinker__svc_store_open(tinker__db_t **out, char id[33], tinker__mem_t *mem,
                           const char *path, char *why, size_t why_len);
/* Reads the stored result of a request, like tinker__db_read: column 0 has its
 * bytes, column 1 its format. TINKER_ENOENT when the row or its result is not
 * there. */
int tinker__svc_store_read_result(tinker__db_t *db, int64_t row,
                                  tinker__db_read_cb done, void *user);
/* Reads the logged body of a request in the same way: bytes and format. */
int tinker__svc_store_read_body(tinker__db_t *db, int64_t row,
                                tinker__db_read_cb done, void *user);

#endif
