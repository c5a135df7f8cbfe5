/* file: whole files through the world table. publish writes a new file beside
 * the old one, fsyncs it, renames it and fsyncs the folder: after a crash
 * either the old or the new content is there, never a part. */
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
/* Durable replace. mode: permission bits, 0600 say. A crash may leave a
 * "<path>.<16 hex>.tmp" there. */
int tinker__file_publish(const tinker__world_t *w, const char *path,
                         const void *data, size_t len, mode_t mode, char *why,
                         size_t why_len);
/* fsync of a folder, after files in it were created or renamed. */
int tinker__file_sync_dir(const tinker__world_t *w, const char *dir, char *why,
                          size_t why_len);

#endif
