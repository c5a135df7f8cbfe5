/* bodies: the side files of an epoch's journal, with the large request bodies
 * of steps that are not committed, so that a process that goes on can send the
 * same bytes again. One file for each step, "<prefix>.s<step>.bodies", written
 * plainly, without a sync: it survives the end of every process; after a power
 * loss the digest in the synced record shows whether it is whole. The file is
 * removed when its step is committed.
 *
 * One thread at a time. */
#ifndef TINKER_RECOVERY_JOURNAL_BODIES_H
#define TINKER_RECOVERY_JOURNAL_BODIES_H

#include <tinker/seams.h>

#include "base/buf.h"
#include "base/world.h"

typedef struct tinker__rec_bodies_s {
  const tinker__world_t *world;
  const char *prefix; /* borrowed */
  int64_t step;       /* of the open file */
  int64_t end;        /* its length */
  int fd;             /* -1 = none is open */
} tinker__rec_bodies_t;

void tinker__rec_bodies_init(tinker__rec_bodies_t *b, const tinker__world_t *w,
                             const char *prefix);
/* Appends a body, the segments one after the other. offset: receives its place
 * in the file. 0 or TINKER_EIO. */
int tinker__rec_bodies_add(tinker__rec_bodies_t *b, int64_t step,
                           const tinker_segment_t *segments, size_t n,
                           int64_t *offset, char *why, size_t why_len);
/* The body with this digest. out: is cleared first. 0, TINKER_EFORMAT (the
 * bytes are not those), TINKER_ENOENT, TINKER_EIO or TINKER_ENOMEM. */
int tinker__rec_bodies_read(const tinker__rec_bodies_t *b, int64_t step,
                            int64_t offset, size_t len,
                            const unsigned char sha256[32], tinker__buf_t *out,
                            char *why, size_t why_len);
/* Removes the file of a step, if there is one. */
void tinker__rec_bodies_drop(tinker__rec_bodies_t *b, int64_t step);
void tinker__rec_bodies_close(tinker__rec_bodies_t *b);

#endif
