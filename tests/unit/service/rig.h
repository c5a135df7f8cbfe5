/* rig: the local service in this process, its handlers called without a
 * socket. The connection of a request is the request itself: rig.c has the
 * four functions of the HTTP library that handlers reach. One rig at a time;
 * its functions are called from the test's thread. */
#ifndef TINKER_TESTS_UNIT_SERVICE_RIG_H
#define TINKER_TESTS_UNIT_SERVICE_RIG_H

#include <stdatomic.h>

#include "service/boot/service.h"
#include "service/calls/calls.h"
#include "service/http/http.h"

typedef struct rig_s {
  tinker__mem_t mem;
  tinker__world_t world;    /* the real one unless a test changes it */
  tinker__engine_api_t api; /* the CPU engine's, the same */
  tinker__svc_t *s;
  char dir[32];
  int crash_signal; /* what an image before is said to have died of */
  int64_t crash_call;
  bool logs;  /* keeps its log, from the next start on */
  bool debug; /* with debug lines */
  char log[8192];
  size_t log_len;
  tinker__svc_model_spec_t second; /* beside "m"; without a folder: none */
  int64_t max_memory;              /* of the configuration */
  const char *faults; /* file with a fault plan, NULL unless a test sets it */
  atomic_bool ended;  /* the service asked for its end */
  int restarts;
} rig_t;

typedef struct {
  int status;
  char text[16384]; /* NUL-terminated, cut */
} reply_t;

/* Whoever resumes a request under the service's lock hangs then: the library
 * takes a lock of its own, and makes a system call. */
extern bool rig_takes_lock_to_resume;
void rig_open(rig_t *rig);
void rig_close(rig_t *rig); /* asserts that no block is left */
void rig_start(rig_t *rig);
/* Is it in the log by now, and: is it there in the end (a line is written by
 * another thread). */
bool rig_said(rig_t *rig, const char *words);
bool rig_says(rig_t *rig, const char *words);
int rig_try_start(rig_t *rig, char *why, size_t why_len);
void rig_stop(rig_t *rig);
void rig_kill(rig_t *rig); /* without what a stop does for the next start */
/* As an owner does: stops and starts a service that asked for its end. */
void rig_revive(rig_t *rig);
/* route is a line of routes.c ("POST api/v1/asample"), capture what stands
 * for its "*"s, with '/' between them (NULL without), key the idempotency key
 * (NULL = none). */
void rig_call(rig_t *rig, const char *route, const char *capture,
              const char *key, const char *body, reply_t *reply);
/* The same in two steps: what others do meanwhile is up to the test. */
typedef struct rig_pending_s rig_pending_t;
rig_pending_t *rig_send(rig_t *rig, const char *route, const char *capture,
                        const char *key, const char *body);
/* Made, and not handed to its handler yet. */
rig_pending_t *rig_request(rig_t *rig, const char *route, const char *capture,
                           const char *body);
tinker__svc_req_t *rig_req(rig_pending_t *p);
bool rig_answered(rig_pending_t *p); /* a wait would not wait */
void rig_wait(rig_t *rig, rig_pending_t *p, reply_t *reply);
/* For what parks more than once: until it is resumed, and then once more. */
void rig_resumed(rig_pending_t *p);
/* Value of a string member, copied out of the JSON text. */
void rig_member(const reply_t *reply, const char *name, char *out, size_t len);
/* Polls the future of a reply until it is done. */
void rig_result(rig_t *rig, const char *request_id, reply_t *reply);
/* Call and result; both must be 200. */
void rig_do(rig_t *rig, const char *route, const char *body, reply_t *reply);
/* Waits for the end of the engine's step, which follows its answer: what the
 * engine reads may be changed then. */
void rig_idle(rig_t *rig);
/* Files and folders of <state>/<kind> whose name ends with `end`. */
int rig_count(rig_t *rig, const char *kind, const char *end);

/* Bodies. */
void rig_session(rig_t *rig, char *id, size_t len);
void rig_model(rig_t *rig, const char *session, int number, char *id,
               size_t len);
/* A sampling session of the base model, the session's first. */
void rig_sampler(rig_t *rig, const char *session, char *id, size_t len);
/* From now on the store refuses what the trigger's condition names ("INSERT ON
 * requests WHEN NEW.seq = 5"). */
void rig_refuse(rig_t *rig, const char *when);
void rig_allow(rig_t *rig); /* no longer */
void rig_fb_body(char *out, size_t len, const char *model, int seq);
void rig_optim_body(char *out, size_t len, const char *model, int seq);

#endif
