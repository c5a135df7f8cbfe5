/* A client of the simulated service for tests: JSON bodies, virtual time that
 * goes on as polls want it. One thread. */
#ifndef TESTS_UNIT_SIM_SERVER_RIG_H
#define TESTS_UNIT_SIM_SERVER_RIG_H

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/server.h"

typedef struct rig_s {
  sim_server_t *server;
  int64_t now;
  char text[60000]; /* the last reply */
  sim_reply_t reply;
  char session[40];
} rig_t;

static inline int rig_send(rig_t *r, const char *method, const char *path,
                           const char *body, const char *key) {
  char full[600];
  snprintf(full, sizeof full, "api/v1/%s", path);
  sim_request_t request = {.method = method,
                           .path = full,
                           .content_type = "application/json",
                           .idempotency_key = key,
                           .body = body,
                           .len = strlen(body),
                           .arrived_ms = r->now};
  for (;;) {
    sim_server_call(r->server, r->now, &request, &r->reply);
    if (r->reply.status != SIM_AGAIN) break;
    cr_assert_gt(r->reply.again_ms, r->now);
    r->now = r->reply.again_ms;
  }
  cr_assert_lt(r->reply.len, sizeof r->text);
  if (r->reply.len) memcpy(r->text, r->reply.body, r->reply.len);
  r->text[r->reply.len] = 0;
  return r->reply.status;
}

static inline int rig_post(rig_t *r, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static inline int rig_post(rig_t *r, const char *path, const char *fmt, ...) {
  char body[8000];
  va_list args;
  va_start(args, fmt);
  vsnprintf(body, sizeof body, fmt, args);
  va_end(args);
  return rig_send(r, "POST", path, body, NULL);
}

static inline int rig_get(rig_t *r, const char *path) {
  return rig_send(r, "GET", path, "", NULL);
}

/* The text of a field of the last reply, or of its number. */
static inline const char *rig_field(const rig_t *r, const char *name,
                                    char out[300]) {
  char quoted[100];
  snprintf(quoted, sizeof quoted, "\"%s\":", name);
  const char *at = strstr(r->text, quoted);
  out[0] = 0;
  if (!at) return out;
  at += strlen(quoted);
  at += *at == '"';
  size_t len = strcspn(at, "\",}]");
  snprintf(out, 300, "%.*s", (int)(len < 299 ? len : 299), at);
  return out;
}

/* Polls; the status of the result. try_again is one, too. */
static inline int rig_result(rig_t *r, const char *id) {
  return rig_post(r, "retrieve_future", "{\"request_id\":\"%s\"}", id);
}

/* Polls the call that was accepted last until it has its result. True: it is
 * a success. */
static inline bool rig_done(rig_t *r) {
  char id[300], *p;
  cr_assert_eq(r->reply.status, 200, "%s", r->text);
  rig_field(r, "request_id", id);
  int status = rig_result(r, id);
  cr_assert_eq(status, 200, "%s", r->text);
  p = strstr(r->text, "\"category\"");
  return p == NULL && !strstr(r->text, "try_again");
}

static inline void rig_session(rig_t *r, const char *key) {
  char id[300];
  cr_assert_eq(rig_send(r, "POST", "create_session",
                        "{\"tags\":[],\"user_metadata\":{},"
                        "\"sdk_version\":\"1\"}",
                        key),
               200);
  snprintf(r->session, sizeof r->session, "%s", rig_field(r, "session_id", id));
}

static inline rig_t rig_new(uint64_t seed) {
  rig_t r = {.server = sim_server_new(seed), .now = 1000};
  rig_session(&r, "first");
  return r;
}

static inline void rig_free(rig_t *r) {
  sim_server_free(r->server);
}

/* Makes model `seq` of the session. */
static inline void rig_model(rig_t *r, int seq) {
  rig_post(r, "create_model",
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"%s\","
           "\"lora_config\":{\"rank\":4,\"seed\":5}}",
           r->session, seq, SIM_BASE_MODEL);
  cr_assert(rig_done(r), "%s", r->text);
}

/* Posts a pass of model 0 on the batch `step`; kind: forward or
 * forward_backward. */
static inline int rig_pass_of(rig_t *r, const char *kind, int model, int seq,
                              int step) {
  int t[5];
  for (int i = 0; i < 5; i++) t[i] = (step * 7 + i * i * 3 + 1) % 60;
  return rig_post(
      r, kind,
      "{\"model_id\":\"%s:train:%d\",\"seq_id\":%d,\"%s_input\":{\"data\":["
      "{\"model_input\":{\"chunks\":[{\"type\":\"encoded_text\","
      "\"tokens\":[%d,%d,%d,%d]}]},\"loss_fn_inputs\":{\"target_tokens\":"
      "{\"data\":[%d,%d,%d,%d],\"dtype\":\"int64\",\"shape\":[4]},"
      "\"weights\":{\"data\":[1.0,1.0,1.0,1.0],\"dtype\":\"float32\","
      "\"shape\":[4]}}}],\"loss_fn\":\"cross_entropy\"}}",
      r->session, model, seq, kind, t[0], t[1], t[2], t[3], t[1], t[2], t[3],
      t[4]);
}

static inline int rig_optim(rig_t *r, int model, int seq) {
  return rig_post(r, "optim_step",
                  "{\"model_id\":\"%s:train:%d\",\"seq_id\":%d,"
                  "\"adam_params\":{\"learning_rate\":0.05}}",
                  r->session, model, seq);
}

static inline int rig_save(rig_t *r, int model, int seq, const char *name) {
  return rig_post(r, "save_weights",
                  "{\"model_id\":\"%s:train:%d\",\"seq_id\":%d,"
                  "\"path\":\"%s\"}",
                  r->session, model, seq, name);
}

/* A model made of a checkpoint of model 0. */
static inline void rig_load(rig_t *r, int model, const char *name,
                            bool optimizer) {
  rig_post(r, "load_weights",
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,"
           "\"path\":\"tinker://%s:train:0/weights/%s\",\"optimizer\":%s}",
           r->session, model, r->session, name, optimizer ? "true" : "false");
}

/* One training step on batch `step`, numbers seq and seq + 1; its loss. */
static inline double rig_step(rig_t *r, int model, int seq, int step) {
  rig_pass_of(r, "forward_backward", model, seq, step);
  size_t entry = (size_t)r->reply.entry;
  rig_done(r);
  rig_optim(r, model, seq + 1);
  rig_done(r);
  return sim_server_entry(r->server, entry)->loss;
}

static inline const sim_entry_t *rig_last(const rig_t *r) {
  return sim_server_entry(r->server, sim_server_entries(r->server) - 1);
}

static inline bool same(const unsigned char *a, const unsigned char *b) {
  return memcmp(a, b, SIM_DIGEST_LEN) == 0;
}

#endif
