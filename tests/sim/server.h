/* server: the simulated service of recovery's tests. It speaks the JSON and
 * protobuf of the real one, really trains a tiny model, and goes wrong as the
 * test says.
 *
 * It is a pure machine: no I/O, no clock, no thread, no random number but of
 * its seed. The same calls at the same times give the same bytes. Times are
 * virtual milliseconds; those that replies show count from SIM_EPOCH_MS.
 *
 * A model is base[32][32] + A[32][r] * B[r][32] over tokens mod 32: the logits
 * of the next token. A and B are trained with Adam in float32 in a fixed order,
 * so equal histories have equal bits. A is drawn from the adapter's seed.
 *
 * Calls of a model run strictly by number and take virtual time. A call of this
 * header first does what is due until then. Views belong to the server and live
 * until its next call, except that indices stay what they are. */
#ifndef TESTS_SIM_SERVER_H
#define TESTS_SIM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_DIGEST_LEN 32
#define SIM_BASE_MODEL "sim-base"
/* 2026-12-01T00:00:00Z: wall time of virtual time 0. */
#define SIM_EPOCH_MS INT64_C(1796083200000)

typedef struct sim_server_s sim_server_t;

sim_server_t *sim_server_new(uint64_t seed);
void sim_server_free(sim_server_t *s);

/* --- Requests ------------------------------------------------------------- */

typedef struct sim_request_s {
  const char *method;          /* "GET", "POST", "PUT", "DELETE" */
  const char *path;            /* "api/v1/optim_step", may have a query */
  const char *content_type;    /* NULL = none */
  const char *accept;          /* NULL = none */
  const char *idempotency_key; /* NULL = none */
  const void *body;
  size_t len;
  /* When this request arrived. It differs from the time of the call only when
   * it is asked again after SIM_AGAIN. */
  int64_t arrived_ms;
} sim_request_t;

#define SIM_AGAIN 0

typedef struct sim_reply_s {
  /* SIM_AGAIN: a long poll is held. Ask the same request again at again_ms, or
   * earlier after any other request; what it gets then is the answer. */
  int status;
  int64_t again_ms;
  int64_t retry_after_ms;   /* -1 = none */
  const char *content_type; /* "application/json" or "application/x-protobuf" */
  const char *body;         /* the server's; NULL when len is 0 */
  size_t len;
  int32_t entry; /* of the ledger that this request has made; -1 = none */
} sim_reply_t;

void sim_server_call(sim_server_t *s, int64_t now_ms,
                     const sim_request_t *request, sim_reply_t *reply);
/* Does what is due until now_ms, without a request. */
void sim_server_run(sim_server_t *s, int64_t now_ms);

/* --- Going wrong ---------------------------------------------------------- */

/* What is counted, per bug, is said behind it: [M] mutations of models that are
 * executed (all numbered calls but forward passes, and loads that make a
 * model), [T] passes that train, [P] all passes, [O] optimizer steps, [S] saves
 * of states, [L] loads, [N] calls with a number (or model_seq_id) that are
 * there for the first time and right, [C] calls that make a model, [R] reads of
 * training runs and lists, [I] weights_info, [H] heartbeats. */
typedef enum {
  SIM_BUG_NONE = 0,
  /* Of runs and sessions. */
  SIM_BUG_CORRUPT,        /* [M] it and all later ones fail; the run shows it */
  SIM_BUG_CORRUPT_HIDDEN, /* [M] the same, but no run shows it */
  SIM_BUG_SHOW_CORRUPTED, /* [R] shown as corrupted, and is not */
  SIM_BUG_OMIT_CORRUPTED, /* [R] the field is left out */
  SIM_BUG_FAIL,           /* [M] it fails, category server, not applied */
  SIM_BUG_UNLOAD,         /* [M] the model is gone (404), its run is there */
  SIM_BUG_DELETE_RUN,     /* [M] the run and the model are gone (404) */
  SIM_BUG_DROP_SESSION,   /* [M] its session is unknown from now on */
  SIM_BUG_RESET_SEQUENCE, /* [M] then the model expects number 1 again */
  SIM_BUG_STALE_LISTS,    /* [R] entries younger than arg ms are left out */
  SIM_BUG_RETIRED,        /* [C] refused with 404: the base is not served */
  SIM_BUG_DELETE_NEWEST,  /* [M] then the newest state is deleted */
  SIM_BUG_BEAT_GONE,      /* [H] 404, and nothing else is wrong */
  /* Of calls and their results. */
  SIM_BUG_FORGET,           /* [N] applied, but its result is gone (410) */
  SIM_BUG_FORGET_UNAPPLIED, /* [N] neither applied, nor is there a result */
  SIM_BUG_STUCK,            /* [N] never executed; polls say "active" */
  SIM_BUG_PAUSE,            /* [N] executed arg ms later; "paused_capacity" */
  SIM_BUG_SLOW,             /* [N] takes arg ms; polls say "active" */
  SIM_BUG_NO_DEDUP,         /* [N, also repeated] a repeated one is a new one */
  SIM_BUG_REJECT,           /* [T] fails, category user, not applied */
  SIM_BUG_REFUSE,           /* [N] 400 at once; its number is used up */
  /* Of numbers. */
  SIM_BUG_APPLY_TWICE,    /* [M] of passes and optimizer steps */
  SIM_BUG_KEEP_GRADIENTS, /* [O] */
  SIM_BUG_IGNORE_UPDATE,  /* [O] nothing changes but the gradients, gone */
  SIM_BUG_FLIP_UPDATE,    /* [O] one mantissa bit of one weight flips */
  SIM_BUG_NAN,            /* [T] the loss is NaN, and the gradients too */
  SIM_BUG_SPIKE,          /* [T] loss and gradients arg times as large */
  SIM_BUG_RAMP,           /* [T] the loss shown grows by arg percent each */
  SIM_BUG_CONSTANT,       /* [P] the answer of the pass before is shown */
  SIM_BUG_POISON_BATCH,   /* [T] the batch of this pass corrupts its model,
                             then and whenever it is seen again */
  /* Of checkpoints. */
  SIM_BUG_SAVE_FAILS,     /* [S] category server */
  SIM_BUG_SAVE_PENDING,   /* [S] said to be done; listed with size 0, and
                             loads fail */
  SIM_BUG_SAVE_UNLISTED,  /* [S] said to be done; nobody finds it */
  SIM_BUG_SAVE_FLIP,      /* [S] a stored bit flips */
  SIM_BUG_SAVE_OLD,       /* [S] it has the state of the checkpoint before */
  SIM_BUG_SAVE_POISONED,  /* [S] its weights are all 0.5 */
  SIM_BUG_SAVE_SHORT,     /* [S] it expires after arg ms */
  SIM_BUG_SAVE_TAKEN,     /* [S] its name is taken, by other weights */
  SIM_BUG_DROP_OPTIMIZER, /* [L] weights only */
  SIM_BUG_LOAD_BASE,      /* [L] a fresh adapter */
  SIM_BUG_LOAD_OLD,       /* [L] the checkpoint before that one */
  SIM_BUG_LOAD_FAILS,     /* [L] category server */
  SIM_BUG_WRONG_INFO,     /* [I] shows twice the rank */
  SIM_BUG_SWAPPED_FLAGS,  /* [I] shows train_unembed turned over */
  SIM_BUGS
} sim_bug_t;

const char *sim_bug_name(sim_bug_t bug);

typedef struct sim_fault_s {
  sim_bug_t bug;
  int64_t nth;   /* the first occurrence that it hits, from 1 */
  int64_t times; /* so many in a row; 0 = all that follow */
  int64_t model; /* only of this model, in order of creation; -1 = of any */
  int64_t arg;
} sim_fault_t;

/* Up to 32 of them, also of one bug; occurrences count from this call on. */
void sim_server_add_fault(sim_server_t *s, const sim_fault_t *fault);
/* Nothing new goes wrong from now on. What is broken stays so. */
void sim_server_heal(sim_server_t *s);
/* The bug at once, for those of models and sessions that say [M]. */
void sim_server_hit(sim_server_t *s, int64_t now_ms, sim_bug_t bug,
                    int64_t model);
/* How often a bug has hit so far. */
int64_t sim_server_hits(const sim_server_t *s, sim_bug_t bug);
/* A session without a sign of life ends after this: 600 s at first. */
void sim_server_set_session_ms(sim_server_t *s, int64_t ms);

/* --- The ledger ----------------------------------------------------------- */

typedef enum {
  SIM_CREATE_SESSION,
  SIM_FINISH_SESSION,
  SIM_CREATE_MODEL,
  SIM_LOAD_NEW, /* a load that makes a model */
  SIM_FORWARD,
  SIM_FORWARD_BACKWARD,
  SIM_OPTIM_STEP,
  SIM_SAVE,
  SIM_SAVE_SAMPLER,
  SIM_LOAD,
  SIM_SET_TTL,
  SIM_DELETE,
  SIM_KINDS
} sim_kind_t;

const char *sim_kind_name(sim_kind_t kind);

typedef enum {
  SIM_REFUSED, /* it had no effect; its status says why */
  SIM_WAITING, /* accepted, not executed yet */
  SIM_APPLIED,
  SIM_FAILED,  /* accepted, and its result is a failure */
  SIM_IGNORED, /* accepted, and neither executed nor answered */
  SIM_REPEATED /* a copy of an earlier one, `first`, whose answer it got */
} sim_fate_t;

/* One arrival of a request that may change something. */
typedef struct sim_entry_s {
  int64_t at_ms;
  sim_kind_t kind;
  int32_t session; /* index; -1 = unknown */
  int32_t model;   /* index, also of a checkpoint's owner; -1 = unknown */
  int64_t seq;     /* number; of calls that make a model, model_seq_id */
  int status;      /* of the answer to the request */
  /* The entry that was the first with this number; -1 = it is the first. What
   * became of the call stands there. */
  int32_t first;
  bool same_bytes; /* of a duplicate */
  sim_fate_t fate;
  int64_t done_ms; /* when it was executed; 0 = not yet */
  int32_t times;   /* how often it was applied: 1, if all is well */
  /* Place in the order of all executions, from 1; 0 = not executed. */
  int64_t order;
  unsigned char body[SIM_DIGEST_LEN]; /* of the bytes */
  /* Passes: SHA-256 of tinker_datum_sha256() of all examples, one after the
   * other, which is what journals have of a call that is one request. */
  unsigned char batch[SIM_DIGEST_LEN];
  float learning_rate; /* optimizer steps */
  double loss;         /* passes: loss:sum as it was shown */
  /* Saves, loads, ttl, delete: index, of the last two also of one that is gone;
   * -1 = none. */
  int32_t checkpoint;
  unsigned char weights[SIM_DIGEST_LEN];   /* of the model, after it */
  unsigned char optimizer[SIM_DIGEST_LEN]; /* m, v and t */
  unsigned char gradients[SIM_DIGEST_LEN];
} sim_entry_t;

size_t sim_server_entries(const sim_server_t *s);
const sim_entry_t *sim_server_entry(const sim_server_t *s, size_t i);

typedef struct sim_session_s {
  char id[40];
  int64_t created_ms, seen_ms, ended_ms; /* 0 = it lives */
  const char *end_reason;
  bool gone; /* unknown to every request */
} sim_session_t;

size_t sim_server_sessions(const sim_server_t *s);
const sim_session_t *sim_server_session(const sim_server_t *s, size_t i);

typedef struct sim_model_s {
  char id[64];
  int32_t session;
  int64_t seq;
  int64_t created_ms, used_ms;
  int32_t rank;
  uint64_t lora_seed;
  bool train_attn, train_mlp, train_unembed;
  const char *metadata; /* JSON; NULL = none */
  int64_t next_seq;     /* the number that is executed next */
  int64_t steps;        /* optimizer steps in its state, loaded ones too */
  int32_t loaded;       /* checkpoint that it was made of; -1 = none */
  bool loaded_optimizer;
  bool corrupted, hidden; /* hidden: no run shows it */
  bool unloaded, deleted;
  unsigned char weights[SIM_DIGEST_LEN], optimizer[SIM_DIGEST_LEN];
} sim_model_t;

size_t sim_server_models(const sim_server_t *s);
const sim_model_t *sim_server_model(const sim_server_t *s, size_t i);

typedef struct sim_checkpoint_s {
  char path[280]; /* tinker://RUN/weights/NAME */
  const char *name;
  int32_t model;
  bool sampler;
  int64_t steps; /* optimizer steps in it */
  int64_t created_ms;
  int64_t expires_ms; /* 0 = never */
  int64_t deleted_ms; /* by a request or since it expired; 0 = it is there */
  bool by_request;    /* deleted by one */
  int64_t size;
  bool damaged;  /* a bug has changed, emptied or hidden it */
  bool unlisted; /* SIM_BUG_SAVE_UNLISTED */
  const char *metadata;
  /* Of what a right load gives: what the model had when it was saved. */
  unsigned char weights[SIM_DIGEST_LEN], optimizer[SIM_DIGEST_LEN];
} sim_checkpoint_t;

size_t sim_server_checkpoints(const sim_server_t *s);
const sim_checkpoint_t *sim_server_checkpoint(const sim_server_t *s, size_t i);

/* Index of a model or checkpoint, also of one that is gone; -1 = none. */
int32_t sim_server_find_model(const sim_server_t *s, const char *id);
int32_t sim_server_find_checkpoint(const sim_server_t *s, const char *path);

/* One line of the ledger for people: what arrived, what became of it. */
void sim_server_line(const sim_server_t *s, size_t i, char *out, size_t len);

#endif
