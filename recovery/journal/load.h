/* load: the journal of a run, read from its folder. The folder has
 * "supervisor.db", the decisions, and "e<N>.db" for each epoch, one writer
 * each. Reading changes nothing. */
#ifndef TINKER_RECOVERY_JOURNAL_LOAD_H
#define TINKER_RECOVERY_JOURNAL_LOAD_H

#include "journal/file.h"
#include "journal/snapshot.h"
#include "journal/state.h"

#define TINKER__REC_PATH_ROOM 4096

typedef struct tinker__rec_folder_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;
  const char *path;    /* of the run's folder */
  const char *lineage; /* the run's name */
  bool own;            /* the caller has the run's lock (file.h) */
} tinker__rec_folder_t;

/* Path of a file of the folder; epoch 0 = the supervisor's. 0 or
 * TINKER_EOVERFLOW. */
int tinker__rec_folder_file(const tinker__rec_folder_t *f, int64_t epoch,
                            char out[TINKER__REC_PATH_ROOM], char *why,
                            size_t why_len);
/* Reads everything into a new state, which the caller frees; of what a snapshot
 * has, only that the last record of each file is the one that it was made of. A
 * folder without journal gives the state of a new run. 0, or a code of
 * tinker__rec_file_read(): TINKER_EFORMAT also if the file of the active epoch
 * is missing, or if there is one that the supervisor's does not know of. */
int tinker__rec_load(const tinker__rec_folder_t *f, tinker__rec_state_t *s,
                     char *why, size_t why_len);
/* The same, and how far it has read, for tinker__rec_load_keep() and for who
 * opens a file. The caller frees marks too. */
int tinker__rec_load_marked(const tinker__rec_folder_t *f,
                            tinker__rec_state_t *s, tinker__rec_marks_t *marks,
                            char *why, size_t why_len);
/* Keeps what was loaded as the folder's snapshot. 0 or a code, then there is
 * the one that was there before. One process at a time. */
int tinker__rec_load_keep(const tinker__rec_folder_t *f,
                          const tinker__rec_state_t *s,
                          const tinker__rec_marks_t *marks, char *why,
                          size_t why_len);
/* Removes the snapshot: the next one reads everything. */
void tinker__rec_load_doubt(const tinker__rec_folder_t *f);
/* Shows every record of all files to `each`, file by file: epoch of the file
 * and record. For people. */
typedef int (*tinker__rec_show_cb)(void *user, int64_t epoch,
                                   const tinker__rec_record_t *r);
int tinker__rec_show(const tinker__rec_folder_t *f, tinker__rec_show_cb each,
                     void *user, char *why, size_t why_len);

#endif
