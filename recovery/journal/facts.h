/* facts: the fields of records, as a struct and as JSON. One struct for all
 * types: a record has the fields that its writer has set. Numbers that may not
 * be finite are written as the 16 hexadecimal digits of their bits. Pure. */
#ifndef TINKER_RECOVERY_JOURNAL_FACTS_H
#define TINKER_RECOVERY_JOURNAL_FACTS_H

#include "base/arena.h"
#include "base/buf.h"
#include "journal/state.h"

#define TINKER__REC_UNSET INT64_MIN /* of a number */

/* A request in OP_INTENT. */
typedef struct tinker__rec_sent_s {
  int64_t seq_id;
  int64_t len, datums, offset;
  unsigned char sha256[TINKER__SHA256_LEN];
} tinker__rec_sent_t;

typedef struct tinker__rec_facts_s {
  int64_t op, slot, kind, side, request, end, code;
  int64_t epoch, from_step, to_step, incident, attempt, level;
  int64_t incarnation, next_model, next_sampling, delay_ms, count;
  int64_t pid, started, signal; /* of a trainer, in the daemon's journal */
  int64_t seconds, expires_ms, at_ms; /* by the wall clock; -1 = never */
  int64_t lost;                       /* 1: the cursor is not known */
  int64_t disowned; /* epochs up to it are not this journal's */
  double loss, noise;
  bool has_loss, has_noise;
  tinker__str_t name, path, model, session, id, why, batch, plan, cause,
      evidence, nonce;
  const tinker__rec_sent_t *requests; /* of the reader's arena */
  size_t request_count;
} tinker__rec_facts_t;

#define TINKER__REC_FACTS_INIT                                                 \
  {                                                                            \
    .op = TINKER__REC_UNSET, .slot = TINKER__REC_UNSET,                        \
    .kind = TINKER__REC_UNSET, .side = TINKER__REC_UNSET,                      \
    .request = TINKER__REC_UNSET, .end = TINKER__REC_UNSET,                    \
    .code = TINKER__REC_UNSET, .epoch = TINKER__REC_UNSET,                     \
    .from_step = TINKER__REC_UNSET, .to_step = TINKER__REC_UNSET,              \
    .incident = TINKER__REC_UNSET, .attempt = TINKER__REC_UNSET,               \
    .level = TINKER__REC_UNSET, .incarnation = TINKER__REC_UNSET,              \
    .next_model = TINKER__REC_UNSET, .next_sampling = TINKER__REC_UNSET,       \
    .delay_ms = TINKER__REC_UNSET, .count = TINKER__REC_UNSET,                 \
    .pid = TINKER__REC_UNSET, .started = TINKER__REC_UNSET,                    \
    .signal = TINKER__REC_UNSET, .seconds = TINKER__REC_UNSET,                 \
    .expires_ms = TINKER__REC_UNSET, .at_ms = TINKER__REC_UNSET,               \
    .lost = TINKER__REC_UNSET, .disowned = TINKER__REC_UNSET                   \
  }

/* Writes the fields that are set. out: is cleared first. 0 or the buffer's
 * error. */
int tinker__rec_facts_write(const tinker__rec_facts_t *f, tinker__buf_t *out);
/* Reads fields; views are of `fields` or the arena. A name that it does not
 * know is skipped. 0, TINKER_EFORMAT or TINKER_ENOMEM. */
int tinker__rec_facts_read(tinker__rec_facts_t *f, tinker__arena_t *arena,
                           tinker__str_t fields, char *why, size_t why_len);

/* 64 hexadecimal digits as 32 bytes; false for anything else. */
bool tinker__rec_unhex(tinker__str_t text,
                       unsigned char out[TINKER__SHA256_LEN]);

#endif
