/* file: whole files through the world table. A draft is a new file beside the
 * old one; publishing it fsyncs it, renames it and fsyncs the folder: after a
 * crash either the old or the new content is there, never a part. */
#ifndef TINKER_BASE_FILE_H
#define TINKER_BASE_FILE_H

#include "base/digest.h"
#include "base/world.h"

/* Reads all of path into out (its ceiling is the size cap). 0,
 * TINKER_ENOENT, TINKER_EIO, TINKER_EOVERFLOW, TINKER_ENOMEM; `why` gets the
 * path and the system's reason. */
int tinker__file_read(const tinker__world_t *w, const char *path,
                      tinker__buf_t *out, char *why, size_t why_len);
/* SHA-256 of a file of any length, a piece at a time. The same codes. */
int tinker__file_sha256(const tinker__world_t *w, tinker__mem_t *mem,
                        const char *path, unsigned char out[TINKER__SHA256_LEN],
                        char *why, size_t why_len);
/* A file that is being written under a temporary name. */
typedef struct tinker__draft_s {
  const tinker__world_t *world;
  const char *path; /* borrowed */
  int fd;           /* -1 = the draft was published or dropped */
  char tag[17];     /* of its temporary name, "<path>.<tag>.tmp" */
} tinker__draft_t;

/* mode: permission bits, 0600 say. A crash may leave the temporary file. */
int tinker__draft_begin(tinker__draft_t *d, const tinker__world_t *w,
                        const char *path, mode_t mode, char *why,
                        size_t why_len);
int tinker__draft_add(tinker__draft_t *d, const void *data, size_t len,
                      char *why, size_t why_len);
/* Replaces the file, durably. The draft is over, even if this fails. */
int tinker__draft_publish(tinker__draft_t *d, char *why, size_t why_len);
/* Removes the temporary file of a draft that was not published. */
void tinker__draft_drop(tinker__draft_t *d);
/* Makes and publishes a draft with data in one piece. */
int tinker__file_publish(const tinker__world_t *w, const char *path,
                         const void *data, size_t len, mode_t mode, char *why,
                         size_t why_len);
/* fsync of a folder, after files in it were created or renamed. */
int tinker__file_sync_dir(const tinker__world_t *w, const char *dir, char *why,
                          size_t why_len);

#endif
