/* server_http: routes, sessions and polls of the simulated service. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/map.h"
#include "sim/server_in.h"

#define HOLD_MS 30000   /* of a long poll */
#define KEEP_MS 3600000 /* results, after the session's end */
#define UNKNOWN_MS 1000 /* until a poll whose end is not known looks again */

/* --- Replies -------------------------------------------------------------- */

static void send(sim_server_t *s, sim_reply_t *reply, int status) {
  reply->status = status;
  reply->body = s->out.len ? s->out.data : NULL;
  reply->len = s->out.len;
}

void sim_reply(sim_server_t *s, sim_reply_t *reply,
               const tinker__bind_table_t *table, const void *in) {
  tinker__buf_clear(&s->out);
  tinker__message_encode(&s->out, table, in);
  send(s, reply, 200);
}

static void reply_text(sim_server_t *s, sim_reply_t *reply, tinker__str_t t) {
  tinker__buf_clear(&s->out);
  tinker__buf_add(&s->out, t.ptr, t.len);
  send(s, reply, 200);
}

void sim_refuse(sim_server_t *s, sim_reply_t *reply, int status,
                const char *fmt, ...) {
  char text[400];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  size_t len = strlen(text);
  while (len && !tinker__utf8_valid(text, len)) text[--len] = 0;
  tinker__refusal_t m = {text};
  sim_reply(s, reply, &tinker__refusal_msg, &m);
  reply->status = status;
}

bool sim_read(sim_server_t *s, const sim_request_t *r, sim_reply_t *reply,
              const tinker__bind_table_t *table, void *out) {
  char why[300];
  if (tinker__message_decode(table, out, &s->scratch, sim_body(r), why,
                             sizeof why) == 0) {
    return true;
  }
  sim_refuse(s, reply, 422, "%s", why);
  return false;
}

/* --- Sessions ------------------------------------------------------------- */

session_t *sim_live(sim_server_t *s, sim_reply_t *reply, tinker__str_t id) {
  session_t *n = sim_session(s, id);
  if (!n || n->view.gone) {
    sim_refuse(s, reply, 404, "session not found: %.*s", (int)id.len, id.ptr);
    return NULL;
  }
  if (n->view.ended_ms) {
    sim_refuse(s, reply, 410, "session %s has ended (%s)", n->view.id,
               n->view.end_reason);
    return NULL;
  }
  n->view.seen_ms = s->now_ms;
  return n;
}

static session_t *new_session(sim_server_t *s, const sim_request_t *r) {
  uint64_t random[2];
  session_t *n = sim_new(s, sizeof *n);
  for (int i = 0; i < 2; i++) {
    s->drawn++;
    random[i] = tinker__siphash(s->seed, 4, &s->drawn, sizeof s->drawn);
  }
  tinker__uuid4_of((unsigned char *)random, n->view.id);
  n->view.created_ms = n->view.seen_ms = s->now_ms;
  if (r->idempotency_key) {
    n->key = sim_text(s, tinker__str(r->idempotency_key));
  }
  sim_push(s, &s->sessions, n);
  return n;
}

static void create_session(sim_server_t *s, const sim_request_t *r,
                           const tinker__str_t *part, sim_reply_t *reply) {
  tinker__create_session_t m;
  session_t *n = NULL;
  (void)part;
  if (!sim_read(s, r, reply, &tinker__create_session_msg, &m)) return;
  if (m.user_metadata.len && m.user_metadata.ptr[0] != '{') {
    sim_refuse(s, reply, 422, "user_metadata: must be an object");
    return;
  }
  sim_entry_t *e = sim_note(s, SIM_CREATE_SESSION, r, reply);
  for (size_t i = 0; r->idempotency_key && i < s->sessions.n; i++) {
    session_t *o = s->sessions.items[i];
    if (o->key && !strcmp(o->key, r->idempotency_key)) n = o;
  }
  e->fate = n ? SIM_REPEATED : SIM_APPLIED;
  if (n && memcmp(n->digest, e->body, sizeof n->digest) != 0) {
    e->fate = SIM_REFUSED;
    sim_refuse(s, reply, e->status = 409, "a session exists for this key");
    return;
  }
  if (!n) {
    n = new_session(s, r);
    memcpy(n->digest, e->body, sizeof n->digest);
    if (m.user_metadata.len) n->metadata = sim_text(s, m.user_metadata);
    if (m.display_name) {
      n->display_name = sim_text(s, tinker__str(m.display_name));
    }
  }
  e->session = sim_index(&s->sessions, n);
  e->status = 200;
  tinker__create_session_reply_t out = {.session_id = n->view.id};
  sim_reply(s, reply, &tinker__create_session_reply_msg, &out);
}

static void heartbeat(sim_server_t *s, const sim_request_t *r,
                      const tinker__str_t *part, sim_reply_t *reply) {
  tinker__heartbeat_t m;
  tinker__heartbeat_reply_t out = {0};
  (void)part;
  if (!sim_read(s, r, reply, &tinker__heartbeat_msg, &m)) return;
  if (sim_hit(s, SIM_BUG_BEAT_GONE, NULL)) {
    sim_refuse(s, reply, 404, "session not found: %s", m.session_id);
  } else if (sim_live(s, reply, tinker__str(m.session_id))) {
    sim_reply(s, reply, &tinker__heartbeat_reply_msg, &out);
  }
}

static void finish_session(sim_server_t *s, const sim_request_t *r,
                           const tinker__str_t *part, sim_reply_t *reply) {
  tinker__finish_t m;
  session_t *n = sim_session(s, part[0]);
  if (!sim_read(s, r, reply, &tinker__finish_msg, &m)) return;
  const char *why = m.has_reason ? m.reason.type : "finished";
  if (m.has_reason && strcmp(why, "success") != 0 &&
      strcmp(why, "errored") != 0 && strcmp(why, "interrupted") != 0) {
    sim_refuse(s, reply, 422,
               "reason.type must be success, errored or "
               "interrupted");
    return;
  }
  if (!n || n->view.gone) {
    sim_refuse(s, reply, 404, "session not found: %.*s", (int)part[0].len,
               part[0].ptr);
    return;
  }
  sim_entry_t *e = sim_note(s, SIM_FINISH_SESSION, r, reply);
  e->session = sim_index(&s->sessions, n);
  e->status = 200;
  e->fate = n->view.ended_ms ? SIM_REPEATED : SIM_APPLIED;
  if (!n->view.ended_ms) sim_session_end(s, n, why, s->now_ms);
  reply_text(s, reply, TINKER__STR("{}"));
}

/* --- Polls ---------------------------------------------------------------- */

static op_t *find_op(const sim_server_t *s, tinker__str_t id) {
  for (size_t i = 0; i < s->models.n; i++) {
    model_t *m = s->models.items[i];
    if (!tinker__str_starts(id, m->view.id)) continue;
    for (op_t *op = m->ops; op; op = op->next) {
      if (tinker__str_eqs(id, op->id)) return op;
    }
  }
  return NULL;
}

static void tell(sim_server_t *s, const sim_request_t *r, const op_t *op,
                 sim_reply_t *reply) {
  tinker__fb_output_t result;
  if (op->state == OP_FAILED || !op->proto.len) {
    reply_text(s, reply, op->json);
  } else if (r->accept && strstr(r->accept, "protobuf")) {
    reply_text(s, reply, op->proto);
    reply->content_type = "application/x-protobuf";
  } else {
    tinker__fb_output_decode(&result, &s->scratch, op->proto, NULL, 0);
    tinker__buf_clear(&s->out);
    tinker__fb_output_encode_json(&s->out, &result);
    send(s, reply, 200);
  }
}

/* Holds the poll of a call without a result, or sends it away. */
static void hold(sim_server_t *s, const sim_request_t *r, const op_t *op,
                 sim_reply_t *reply) {
  char why[60];
  int64_t missing, end = r->arrived_ms + HOLD_MS;
  int64_t ready = sim_op_ready(op, &missing);
  if (s->now_ms < end) {
    if (ready == INT64_MAX) ready = s->now_ms + UNKNOWN_MS;
    reply->again_ms = ready < end ? ready : end;
    return;
  }
  tinker__try_again_t out = {op->id, "active", NULL};
  snprintf(why, sizeof why, "waiting for seq_id %lld", (long long)missing);
  if (missing >= 0) out.queue_state_reason = why;
  if (missing >= 0 || op->paused_until_ms > s->now_ms) {
    out.queue_state = "paused_capacity";
  }
  sim_reply(s, reply, &tinker__try_again_msg, &out);
}

static void retrieve(sim_server_t *s, const sim_request_t *r,
                     const tinker__str_t *part, sim_reply_t *reply) {
  tinker__retrieve_t m;
  (void)part;
  if (!sim_read(s, r, reply, &tinker__retrieve_msg, &m)) return;
  op_t *op = find_op(s, tinker__str(m.request_id));
  sim_session_t *n = op ? &op->model->session->view : NULL;
  bool pending = op && op->state == OP_WAITING;
  if (!op || n->gone || op->state == OP_REJECTED ||
      (pending && op->model->view.unloaded)) {
    sim_refuse(s, reply, 404, "request_id not found: %s", m.request_id);
    return;
  }
  n->seen_ms = s->now_ms;
  bool kept = !n->ended_ms || s->now_ms - n->ended_ms < KEEP_MS || pending;
  if (op->forgotten || !kept) {
    sim_refuse(s, reply, 410, "request %s is no longer known", m.request_id);
  } else if (pending) {
    hold(s, r, op, reply);
  } else {
    tell(s, r, op, reply);
  }
}

/* --- Routes --------------------------------------------------------------- */

/* Does the path fit? "*" stands for one part. */
static bool fits(const char *pattern, const char *path, tinker__str_t part[3]) {
  size_t n = 0;
  while (*pattern && *path && *path != '?') {
    if (*pattern == '*') {
      size_t len = strcspn(path, "/?");
      part[n++] = (tinker__str_t){path, len};
      path += len;
      pattern++;
    } else if (*pattern++ != *path++) {
      return false;
    }
  }
  return !*pattern && (!*path || *path == '?');
}

static const sim_route_t routes[] = {
    {"POST", "api/v1/create_session", create_session},
    {"POST", "api/v1/session_heartbeat", heartbeat},
    {"POST", "api/v1/sessions/*/finish", finish_session},
    {"POST", "api/v1/retrieve_future", retrieve},
    {NULL, NULL, NULL}};

void sim_server_call(sim_server_t *s, int64_t now_ms,
                     const sim_request_t *request, sim_reply_t *reply) {
  const sim_route_t *tables[] = {routes, sim_call_routes, sim_rest_routes};
  tinker__str_t part[3];
  *reply = (sim_reply_t){
      .retry_after_ms = -1, .content_type = "application/json", .entry = -1};
  sim_server_run(s, now_ms);
  tinker__arena_free(&s->scratch);
  tinker__buf_clear(&s->out);
  for (size_t i = 0; i < 3; i++) {
    for (const sim_route_t *t = tables[i]; t->method; t++) {
      if (strcmp(t->method, request->method) != 0) continue;
      if (!fits(t->path, request->path, part)) continue;
      t->handler(s, request, part, reply);
      return;
    }
  }
  sim_refuse(s, reply, 404, "no such endpoint: %s", request->path);
}
