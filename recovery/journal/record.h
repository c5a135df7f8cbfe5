/* record: what a journal holds, one fact each, in the order in which it became
 * known. A record has a type, the step that it belongs to, fields (a JSON
 * object, for people and for the fold) and sometimes bytes (a cursor, a request
 * body). Pure.
 *
 * Types are numbers in files: they are never reused and never renamed. A reader
 * meets types that it does not know and leaves them alone. */
#ifndef TINKER_RECOVERY_JOURNAL_RECORD_H
#define TINKER_RECOVERY_JOURNAL_RECORD_H

#include "base/digest.h"
#include "base/world.h"

/* X(name, number): who writes it stands in docs/internals/recovery.md. */
#define TINKER__REC_TYPES(X)                                                   \
  X(LINEAGE_OPEN, 1)                                                           \
  X(PLAN, 2)                                                                   \
  X(POLICY_SET, 3)                                                             \
  X(HOLD, 4)                                                                   \
  X(RELEASE, 5)                                                                \
  X(FINISH, 6)                                                                 \
  X(GEN_START, 10)                                                             \
  X(GEN_STOP, 11)                                                              \
  X(CLOCK_EVENT, 12)                                                           \
  X(BLIND_ENTER, 13)                                                           \
  X(BLIND_LEAVE, 14)                                                           \
  X(PAUSE_ENTER, 15)                                                           \
  X(PAUSE_LEAVE, 16)                                                           \
  X(STEP_BEGIN, 20)                                                            \
  X(OP_INTENT, 21)                                                             \
  X(OP_WITHDRAWN, 22)                                                          \
  X(OP_SENT, 23)                                                               \
  X(OP_ENDED, 24)                                                              \
  X(GATE, 25)                                                                  \
  X(CURSOR, 26)                                                                \
  X(STEP_COMMIT, 27)                                                           \
  X(ATTACH, 30)                                                                \
  X(CKPT_SAVED, 41)                                                            \
  X(CKPT_FINGERPRINT, 42)                                                      \
  X(CKPT_LEVEL, 43)                                                            \
  X(CKPT_TTL, 44)                                                              \
  X(CKPT_TOMBSTONE, 45)                                                        \
  X(CKPT_DELETED, 46)                                                          \
  X(CKPT_QUARANTINED, 47)                                                      \
  X(SIGNAL, 60)                                                                \
  X(INC_OPEN, 61)                                                              \
  X(FENCE_INTENT, 62)                                                          \
  X(FENCED, 63)                                                                \
  X(CLASSIFIED, 64)                                                            \
  X(CKPT_CHOSEN, 65)                                                           \
  X(ATTEMPT_BEGIN, 66)                                                         \
  X(CREATED, 68)                                                               \
  X(LOADED, 70)                                                                \
  X(PROVED, 71)                                                                \
  X(EPOCH_ACTIVE, 72)                                                          \
  X(ROLLBACK, 73)                                                              \
  X(ATTEMPT_END, 76)                                                           \
  X(LEDGER, 77)                                                                \
  X(INC_CLOSE, 78)                                                             \
  X(INC_STOP, 79)                                                              \
  X(ORPHAN_FOUND, 90)                                                          \
  X(ORPHAN_CLEARED, 91)

typedef enum {
#define TINKER__REC_ENUM(name, number) TINKER__REC_##name = number,
  TINKER__REC_TYPES(TINKER__REC_ENUM)
#undef TINKER__REC_ENUM
} tinker__rec_type_t;

#define TINKER__REC_NO_STEP (-1)
#define TINKER__REC_MAX_FIELDS (64 << 10) /* bytes of a record's fields */
#define TINKER__REC_MAX_BYTES (1 << 20)   /* of its bytes */

/* What its writer says. */
typedef struct tinker__rec_draft_s {
  tinker__rec_type_t type;
  int64_t step; /* TINKER__REC_NO_STEP = it belongs to none */
  tinker__str_t fields;
  tinker__str_t bytes; /* empty = it has none */
} tinker__rec_draft_t;

/* As it stands in the file. Views: valid as long as the reader says. */
typedef struct tinker__rec_record_s {
  int64_t id; /* 1, 2, 3 ... without a gap */
  int64_t type;
  int64_t generation; /* of its writer: counts those of the file, from 1 */
  int64_t step;
  const char *boot; /* of the machine, when it was written */
  int64_t boot_ms;  /* since then, with the time asleep */
  int64_t wall_ms;  /* for people only: no decision reads it */
  tinker__str_t fields;
  tinker__str_t bytes;
} tinker__rec_record_t;

/* Name of a type, NULL when it is not known. */
const char *tinker__rec_type_name(int64_t type);

/* The hash that begins the chain of a file: of what the file is. */
int tinker__rec_chain_begin(const char *lineage, int64_t epoch,
                            unsigned char hash[TINKER__SHA256_LEN]);
/* hash: of the record before; becomes the record's. Every field counts. h: as
 * new, and so again afterwards: a chain needs one. 0 or TINKER_ENOMEM, then
 * hash is what it was. */
int tinker__rec_chain_next(tinker__sha256_t *h, const tinker__rec_record_t *r,
                           unsigned char hash[TINKER__SHA256_LEN]);

#endif
