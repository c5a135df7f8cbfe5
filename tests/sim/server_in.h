/* Inside the simulated service only: the server's state. Everything lives in
 * one arena until the server goes; lack of memory ends the program. */
#ifndef TESTS_SIM_SERVER_IN_H
#define TESTS_SIM_SERVER_IN_H

#include "base/arena.h"
#include "base/digest.h"
#include "sim/server.h"
#include "wire/fb_output.h"
#include "wire/fb_request.h"
#include "wire/messages.h"

enum { SIM_VOCAB = 32, SIM_RANK = 4, SIM_WEIGHTS = 2 * SIM_VOCAB * SIM_RANK };

/* The adapter of a model, and the state of its optimizer. */
typedef struct net_s {
  int rank; /* at most SIM_RANK, however large the adapter says it is */
  bool has_grad;
  int64_t t;
  float w[SIM_WEIGHTS]; /* A, then B */
  float g[SIM_WEIGHTS], m[SIM_WEIGHTS], v[SIM_WEIGHTS];
} net_t;

/* One example: n predictions. */
typedef struct example_s {
  size_t n;
  const unsigned char *context, *target; /* mod SIM_VOCAB */
  const float *weights;
  float *logprobs, *losses; /* of the last pass */
} example_t;

void sim_net_init(net_t *net, int64_t rank, uint64_t seed);
/* Returns the sum of the losses. scale: of the gradients. */
double sim_net_pass(net_t *net, const example_t *data, size_t n, bool backward,
                    float scale);
/* False: a gradient is not finite, and all are gone. *norm: before clipping. */
bool sim_net_step(net_t *net, const tinker__adam_wire_t *a, bool keep,
                  double *norm);
void sim_net_digest(const net_t *net, unsigned char *weights,
                    unsigned char *optimizer, unsigned char *gradients);

typedef enum {
  OP_WAITING,
  OP_DONE,
  OP_FAILED,
  OP_REJECTED,
  OP_GONE
} op_state_t;

/* A numbered call, or the making of a model (number 0). */
typedef struct op_s {
  struct op_s *next; /* of its model, in the order of arrival */
  struct model_s *model;
  char id[100];
  sim_kind_t kind;
  int64_t seq;
  op_state_t state;
  size_t entry;
  unsigned char digest[TINKER__SHA256_LEN];
  int64_t arrived_ms, cost_ms, paused_until_ms;
  bool stuck, forgotten, ignored;
  int repeats; /* SIM_BUG_NO_DEDUP */
  example_t *data;
  size_t n_data;
  tinker__adam_wire_t adam;
  const char *name, *metadata; /* saves; metadata may be NULL */
  int64_t ttl_s;               /* 0 = none */
  bool overwrite, optimizer;
  const char *path;    /* loads */
  tinker__str_t proto; /* the result: that of a pass, */
  tinker__str_t json;  /* or any */
} op_t;

typedef struct checkpoint_s {
  sim_checkpoint_t view;
  net_t net;
  bool fails; /* SIM_BUG_SAVE_PENDING */
  bool pending_grad;
  struct checkpoint_s *before; /* of its model; NULL = none */
} checkpoint_t;

typedef struct session_s {
  sim_session_t view;
  const char *key;
  unsigned char digest[TINKER__SHA256_LEN];
  const char *metadata, *display_name;
} session_t;

typedef struct model_s {
  sim_model_t view;
  session_t *session;
  net_t net;
  op_t *ops, *last_op;
  int64_t free_ms; /* when its last call was done */
  bool strict;     /* after SIM_BUG_RESET_SEQUENCE: refuses what is not next */
} model_t;

typedef struct table_s {
  void **items;
  size_t n, cap;
} table_t;

struct sim_server_s {
  tinker__mem_t mem;
  tinker__arena_t arena, scratch; /* scratch: of the present request */
  tinker__buf_t out;              /* the reply */
  uint64_t seed, drawn;
  int64_t now_ms, session_ms;
  int64_t orders;
  table_t sessions, models, checkpoints, entries;
  sim_fault_t faults[32];
  int64_t seen[32];
  size_t n_faults;
  int64_t hits[SIM_BUGS];
  bool has_poison;
  unsigned char poison[SIM_DIGEST_LEN];
  tinker__str_t shown; /* result of the last pass, for SIM_BUG_CONSTANT */
};

/* Memory that is there, zeroed. */
void *sim_new(sim_server_t *s, size_t size);
char *sim_text(sim_server_t *s, tinker__str_t text);
void sim_push(sim_server_t *s, table_t *table, void *item);
/* The fault of this bug that hits now, which counts as an occurrence. */
const sim_fault_t *sim_hit(sim_server_t *s, sim_bug_t bug, const model_t *m);
int64_t sim_arg(sim_server_t *s, sim_bug_t bug, const model_t *m);
/* A new line of the ledger for a request. */
sim_entry_t *sim_note(sim_server_t *s, sim_kind_t kind, const sim_request_t *r,
                      sim_reply_t *reply);
/* The session, which has given a sign of life; NULL: the reply says why. */
session_t *sim_live(sim_server_t *s, sim_reply_t *reply, tinker__str_t id);

session_t *sim_session(const sim_server_t *s, tinker__str_t id);
model_t *sim_model(const sim_server_t *s, tinker__str_t id);
/* A durable checkpoint by its path, or NULL. */
checkpoint_t *sim_checkpoint(const sim_server_t *s, tinker__str_t path);
op_t *sim_op(const model_t *m, int64_t seq);
model_t *sim_model_new(sim_server_t *s, session_t *n, int64_t seq);
/* A copy of op, which gets its id and its cost. */
op_t *sim_op_add(sim_server_t *s, model_t *m, const op_t *op);
/* Rank, flags and seed of another model. */
void sim_like(sim_model_t *m, const sim_model_t *other);
int32_t sim_index(const table_t *table, const void *item); /* -1 = not there */
void sim_session_end(sim_server_t *s, session_t *n, const char *reason,
                     int64_t ms);
/* When the op will have its result; INT64_MAX = not known. *missing: the number
 * that it waits for, -1 = none. */
int64_t sim_op_ready(const op_t *op, int64_t *missing);
void sim_execute(sim_server_t *s, op_t *op, int64_t ms);

/* --- Replies --- */
void sim_reply(sim_server_t *s, sim_reply_t *reply,
               const tinker__bind_table_t *table, const void *in);
void sim_refuse(sim_server_t *s, sim_reply_t *reply, int status,
                const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A message as a text of the server's. */
tinker__str_t sim_message(sim_server_t *s, const tinker__bind_table_t *table,
                          const void *in);
bool sim_read(sim_server_t *s, const sim_request_t *r, sim_reply_t *reply,
              const tinker__bind_table_t *table, void *out);

/* A request whose route is known; part: what stood for the stars. */
typedef void (*sim_handler_t)(sim_server_t *s, const sim_request_t *r,
                              const tinker__str_t *part, sim_reply_t *reply);

typedef struct sim_route_s {
  const char *method; /* NULL = the end */
  const char *path;
  sim_handler_t handler;
} sim_route_t;

extern const sim_route_t sim_call_routes[], sim_rest_routes[];

static inline tinker__str_t sim_body(const sim_request_t *r) {
  return (tinker__str_t){r->body ? r->body : "", r->len};
}

#endif
