/* rig: a client on a fake loop and a scripted transport, in front of a small
 * pretended service that answers every call well. A test replaces single
 * answers with script_expect before it makes the calls. */
#ifndef TESTS_API_RIG_H
#define TESTS_API_RIG_H

#include <tinker/tinker.h>

#include "api/core.h"
#include "support/calls.h"
#include "support/fake_loop.h"
#include "support/script_transport.h"

/* An assert that release builds keep. */
#define must(ok)                                                               \
  do {                                                                         \
    if (!(ok)) rig_fail(__FILE__, __LINE__, #ok);                              \
  } while (0)
void rig_fail(const char *file, int line, const char *what);

#define FB "api/v1/forward_backward"
#define OPTIM "api/v1/optim_step"
#define RETRIEVE "api/v1/retrieve_future"
#define ASAMPLE "api/v1/asample"
#define SAVE "api/v1/save_weights"
#define CREATE "api/v1/create_model"

typedef struct rig_s {
  tinker__mem_t mem;
  fake_loop_t loop;
  tinker__loop_t *on;   /* &loop.base, or a real one */
  int32_t mode;         /* of the client, a tinker_run_mode_t */
  struct uv_loop_s *uv; /* that `on` has borrowed, or NULL */
  script_t *script;
  tinker_client_t *client;
  int log_lines;            /* warnings of the client */
  char log_line[256];       /* the last one */
  int32_t log_level;        /* for rig_client; 0 = the default */
  bool no_log_cb;           /* the client's log is not listened to */
  tinker_event_cb event_cb; /* of the client; NULL = none */
  void *event_user;
  char trace[64][192]; /* debug lines of the client */
  size_t traced;
  const char *config;                /* reply of client/config */
  const char *session;               /* id, "s1" */
  const char *base_url;              /* what errors name; NULL = nothing */
  unsigned accepted;                 /* requests accepted so far */
  bool many;                         /* each new model has an id of its own */
  long models;                       /* made so far */
  const tinker_adoption_t *adopt;    /* of the client, or NULL */
  const tinker_seams_t *seams;       /* of the client, or NULL */
  const tinker_metadata_t *metadata; /* of the client */
  size_t metadata_count;
} rig_t;

/* What a callback left behind. */
typedef struct seen_s {
  int calls;
  int status;
  int64_t at_ms;
  rig_t *rig;
} seen_t;

void rig_init(rig_t *rig, const char *config);
/* On real threads: time passes by itself, the transport is still scripted. */
void rig_init_threads(rig_t *rig);
/* In step mode: the test steps, in real time. */
void rig_init_step(rig_t *rig);
/* On a uv loop of the test's, a uv_loop_t, in real time: the test runs it, also
 * between the release of the client and rig_done. */
void rig_init_uv(rig_t *rig, struct uv_loop_s *uv);
/* 0 or what tinker__client_new_on returned. */
int rig_client(rig_t *rig);
/* Closes, frees, and checks that nothing is left. */
void rig_done(rig_t *rig);

/* The same without a client: making it failed. */
void rig_drop(rig_t *rig);

/* Until nothing happens any more without time passing. */
void rig_run(rig_t *rig);
void rig_seen(tinker_future_t *future, int status, void *user);

tinker_trainer_t *rig_trainer(rig_t *rig);
tinker_sampler_t *rig_sampler(rig_t *rig);
/* A batch of n examples of `len` tokens each. */
tinker_datum_t **rig_batch(size_t n, size_t len);
void rig_batch_free(tinker_datum_t **batch, size_t n);

/* The n-th request (from 0) to a path; NULL if there were fewer. */
const script_request_t *rig_request(const rig_t *rig, const char *path,
                                    size_t n);
size_t rig_count(const rig_t *rig, const char *path);
/* Where in the order of all requests that was; -1 if nowhere. */
int rig_index(const rig_t *rig, const char *path, size_t n);
/* Number that a request carries, -1 for none. */
long rig_seq(const script_request_t *request);
/* Polls of the request that was accepted under this number. */
size_t rig_polls(const rig_t *rig, long seq);

/* What a poll is told while the service waits for another number. */
#define WAITS_FOR(n)                                                           \
  "{\"type\":\"try_again\",\"request_id\":\"x\",\"queue_state\":"              \
  "\"paused_capacity\",\"queue_state_reason\":\"waiting for seq_id " n "\"}"

#endif
