/* state: what a run's journal amounts to: the records of the supervisor's file
 * and of its epochs' files, folded one after the other. Everything that a
 * process needs to go on is here, and nothing else decides. Pure; one thread at
 * a time.
 *
 * The order, since files speak of each other: what all epochs have saved and
 * reached (history), then the supervisor's file, then the active epoch's in
 * full (load.h). A process that writes folds its records as they are. */
#ifndef TINKER_RECOVERY_JOURNAL_STATE_H
#define TINKER_RECOVERY_JOURNAL_STATE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/list.h"
#include "journal/record.h"
#include "journal/used.h"

#define TINKER__REC_MAX_CURSOR (64 << 10) /* bytes */
#define TINKER__REC_MAX_NAME 256
#define TINKER__REC_NEVER INT64_MAX /* of a time: it does not expire */
#define TINKER__REC_PAST 4096       /* committed steps whose losses are kept */

/* What an operation is for. Numbers in files. */
typedef enum {
  TINKER__REC_SLOT_OTHER = 0,
  TINKER__REC_SLOT_FORWARD_BACKWARD = 1,
  TINKER__REC_SLOT_OPTIM = 2,
  TINKER__REC_SLOT_SAVE = 3,
  TINKER__REC_SLOT_PROBE = 4
} tinker__rec_slot_t;

typedef enum {
  TINKER__REC_REQUEST_OPEN,   /* it may have been sent */
  TINKER__REC_REQUEST_SENT,   /* the service has given it an id */
  TINKER__REC_REQUEST_RESULT, /* carried out */
  TINKER__REC_REQUEST_FAILED  /* refused, or failed */
} tinker__rec_request_state_t;

/* One request of an operation: what is needed to ask for its result, or to send
 * it again. */
typedef struct tinker__rec_request_s {
  tinker__rec_request_state_t state;
  int64_t seq_id;
  int64_t offset; /* in the step's side file, or in the operation's bytes */
  size_t len;
  size_t datums;
  unsigned char sha256[TINKER__SHA256_LEN];
  char *id;     /* NULL = none is known */
  int64_t code; /* of FAILED: why (tinker_code_t) */
} tinker__rec_request_t;

/* An operation that counts as sent and is not done with. */
typedef struct tinker__rec_op_s {
  tinker__link_t link;
  uint64_t id;
  int64_t step;
  tinker__rec_slot_t slot;
  int64_t kind; /* tinker_kind_t */
  char *name;   /* of the checkpoint that it saves or probes; or "" */
  unsigned char batch[TINKER__SHA256_LEN]; /* of its data; zero = it has none */
  int64_t expires_ms;                      /* of the checkpoint that it saves */
  bool side; /* bodies are in the side file, else in `bytes` */
  char *bytes;
  size_t bytes_len;
  tinker__rec_request_t *requests;
  size_t request_count;
  int64_t intents; /* that were not withdrawn */
  /* next_seq_id of the state before the last intent and after it. */
  int64_t before, after;
} tinker__rec_op_t;

/* A checkpoint. level: V0 to V5 of the proofs, -1 = it has no path yet. */
typedef struct tinker__rec_ckpt_s {
  tinker__link_t link;
  char *name;
  char *path;
  int64_t step, epoch;
  int level;
  bool quarantined;   /* refused by a proof, or of a branch that was cut off */
  bool deleting;      /* its deletion has begun */
  bool deleted;       /* it is gone */
  int64_t expires_ms; /* at the earliest; or TINKER__REC_NEVER */
  int64_t
      marked_ms; /* when it was found to be needed no more; -1 = it is not */
  char *cursor;  /* of its step */
  size_t cursor_len;
  float *probe; /* its fingerprint: probe_count numbers; NULL = it has none */
  size_t probe_count;
  double noise;     /* largest difference of two fingerprints of one state */
  bool cursor_lost; /* its journal was lost, and its cursor with it */
} tinker__rec_ckpt_t;

/* The cursor of a step whose commit was called. */
typedef struct tinker__rec_cursor_s {
  tinker__link_t link;
  int64_t step;
  char *data;
  size_t len;
} tinker__rec_cursor_t;

/* A step that was committed. */
typedef struct tinker__rec_past_s {
  int64_t step, epoch;
  unsigned char *batches; /* digests of its batches, one behind the other */
  size_t batch_count;
  double loss; /* of all its batches */
  bool has_loss;
  bool doubted; /* done again, it came out with the loss `again` */
  double again;
} tinker__rec_past_t;

typedef struct tinker__rec_state_s {
  tinker__mem_t *mem;
  bool history; /* the first of the three passes */
  /* The supervisor's: */
  char *plan;            /* JSON of the latest PLAN; NULL = the run is new */
  int64_t epoch;         /* active; 0 = none */
  int64_t last_epoch;    /* the highest that was begun */
  int64_t from_step;     /* the active epoch began after it */
  char *session, *model; /* of the active epoch */
  char *from_path;       /* what it was loaded from; "" = nothing */
  bool cursor_lost;      /* that of from_step is not known */
  int64_t disowned;      /* epochs up to it are another journal's; 0 = none */
  tinker__link_t used;   /* epochs that were begun */
  tinker__link_t orphans;
  bool finished, held;
  char *stopped;     /* reason; NULL = it is not */
  char *distrusted;  /* why the active epoch's model can't be trusted any more;
                        NULL = it can */
  int64_t incident;  /* open; 0 = none */
  int64_t incidents; /* so far */
  int64_t attempts;  /* of the open incident */
  int64_t progress;  /* step at which attempts began to count */
  int64_t fruitless; /* attempts since then, over incidents */
  /* The active epoch's: */
  int64_t committed;      /* last step; 0 = none */
  tinker__buf_t cursor;   /* of that step */
  tinker__link_t cursors; /* of steps after `committed` */
  tinker__link_t ops;
  uint64_t last_op;
  int64_t next_seq_id;                                     /* free */
  int64_t next_model_seq_id, next_sampling_session_seq_id; /* -1 = unknown */
  int64_t attached; /* processes that went on with the session */
  /* All epochs': */
  tinker__link_t ckpts;
  tinker__rec_past_t *past; /* a ring: past_count steps are in it */
  size_t past_count, past_at;
  int64_t records; /* that were folded, some of them in two passes */
} tinker__rec_state_t;

int tinker__rec_state_init(tinker__rec_state_t *s, tinker__mem_t *mem);
void tinker__rec_state_free(tinker__rec_state_t *s);

/* epoch: of the record's file, 0 = the supervisor's. 0, TINKER_EFORMAT (a
 * record that can't be) or TINKER_ENOMEM. A process folds its own records too,
 * as it writes them. */
int tinker__rec_state_fold(tinker__rec_state_t *s, int64_t epoch,
                           const tinker__rec_record_t *r, char *why,
                           size_t why_len);

/* NULL = none. */
tinker__rec_op_t *tinker__rec_state_op(const tinker__rec_state_t *s,
                                       uint64_t id);
tinker__rec_ckpt_t *tinker__rec_state_ckpt(const tinker__rec_state_t *s,
                                           const char *name);
/* The cursor of a step after the last committed one; false = none is known. */
bool tinker__rec_state_cursor(const tinker__rec_state_t *s, int64_t step,
                              tinker__str_t *out);
tinker__rec_past_t *tinker__rec_state_past(const tinker__rec_state_t *s,
                                           int64_t step);

#endif
