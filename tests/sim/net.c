/* net: what is on its way between a client and the service. Each request and
 * each reply takes some virtual milliseconds of the seed's choice, so that
 * requests overtake each other. The parent's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "sim/run_in.h"

#define MS INT64_C(1000000)

/* Enough to tell two bodies of one timeline apart. */
static uint64_t mark_of(const char *bytes, size_t len) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < len; i++) {
    h = (h ^ (unsigned char)bytes[i]) * 1099511628211u;
  }
  return h;
}

static int64_t latency_ns(sim_state_t *s) {
  return (int64_t)(1 + sim_rng_below(&s->rng, 8)) * MS +
         (int64_t)sim_rng_below(&s->rng, 1000) * 1000;
}

static void add(sim_state_t *s, sim_transit_t t) {
  if (s->net_count == SIM_NET) {
    sim_stop(s, "too many requests are under way");
    free(t.bytes);
    return;
  }
  t.order = ++s->order;
  s->net[s->net_count++] = t;
}

static void drop(sim_state_t *s, size_t i) {
  free(s->net[i].bytes);
  s->net[i] = s->net[--s->net_count];
}

/* --- A request ------------------------------------------------------------ */

static const char *next_text(const char **at, uint32_t len) {
  const char *text = len ? *at : NULL;
  *at += len;
  return text;
}

static sim_request_t parse(const char *bytes) {
  sim_lengths_t n;
  sim_request_t r = {.method = NULL};
  memcpy(&n, bytes, sizeof n);
  const char *at = bytes + sizeof n;
  r.method = next_text(&at, n.method);
  r.path = next_text(&at, n.path);
  r.content_type = next_text(&at, n.content_type);
  r.accept = next_text(&at, n.accept);
  r.idempotency_key = next_text(&at, n.key);
  r.body = next_text(&at, n.body);
  r.len = n.body;
  return r;
}

/* What a box on the way answers: the service has nothing of the request. */
static bool answer_before(const sim_action_t *a, sim_head_t *h,
                          const char **body) {
  *h = (sim_head_t){.sent = true, .retry_after_ms = -1};
  *body = "";
  snprintf(h->content_type, sizeof h->content_type, "application/json");
  switch (a ? a->act : SIM_ACT_NONE) {
  case SIM_ACT_REFUSE:
  case SIM_ACT_TLS:
    h->error = a->act == SIM_ACT_TLS ? TINKER_ETLS : TINKER_ECONNECT;
    h->sent = false;
    return true;
  case SIM_ACT_LOSE: h->error = TINKER_ETRANSPORT; return true;
  case SIM_ACT_STATUS:
    h->status = (int32_t)a->arg;
    *body = "{\"detail\":\"simulated\"}";
    return true;
  case SIM_ACT_EMPTY_400:
    h->status = 400;
    h->content_type[0] = '\0';
    return true;
  case SIM_ACT_HTML:
    h->status = 200;
    snprintf(h->content_type, sizeof h->content_type, "text/html");
    *body = "<html><body>Log in to the network</body></html>";
    return true;
  case SIM_ACT_REDIRECT:
    h->status = 302;
    h->content_type[0] = '\0';
    snprintf(h->location, sizeof h->location, "http://portal.invalid/login");
    return true;
  default: return false;
  }
}

static void give_back(sim_state_t *s, int life, uint64_t id, int64_t at_ns,
                      const sim_head_t *h, const char *body, size_t len) {
  char *bytes = malloc(len + 1);
  if (!bytes) abort();
  memcpy(bytes, body ? body : "", body ? len : 0);
  add(s, (sim_transit_t){.way = SIM_RETURNS,
                         .at_ns = at_ns,
                         .life = life,
                         .id = id,
                         .bytes = bytes,
                         .len = len,
                         .head = *h});
}

void sim_net_request(sim_state_t *s, sim_child_t *c, uint64_t id, char *bytes,
                     size_t len, const sim_action_t *a) {
  sim_request_t r = parse(bytes);
  sim_head_t head;
  const char *body;
  int64_t at_ns = s->o->shared->now_ns + latency_ns(s);
  sim_write(s, "life %d asks %llu %s %s %016llx%s%s", c->life,
            (unsigned long long)id, r.method, r.path,
            (unsigned long long)mark_of(r.body, r.len), a ? ": " : "",
            a ? sim_act_name(a->act) : "");
  if (answer_before(a, &head, &body)) {
    give_back(s, c->life, id, at_ns, &head, body, strlen(body));
    free(bytes);
    return;
  }
  add(s, (sim_transit_t){.way = SIM_ARRIVES,
                         .at_ns = at_ns,
                         .life = c->life,
                         .id = id,
                         .act = a,
                         .bytes = bytes,
                         .len = len});
}

/* --- At the service ------------------------------------------------------- */

/* Held requests may have their answer now. */
static void ask_held_again(sim_state_t *s) {
  for (size_t i = 0; i < s->net_count; i++) {
    if (s->net[i].way == SIM_HELD) s->net[i].at_ns = s->o->shared->now_ns;
  }
}

/* Keeps the reply for SIM_ACT_OTHERS_REPLY. */
static void remember(sim_state_t *s, const sim_head_t *h, const char *body,
                     size_t len) {
  char *copy = malloc(len + 1);
  if (!copy) abort();
  memcpy(copy, body, len);
  free(s->last_body);
  s->last_body = copy;
  s->last_len = len;
  s->last_head = *h;
}

static void garble(sim_state_t *s, char *body, size_t len) {
  for (int i = 0; i < 3 && len > 0; i++) {
    body[sim_rng_below(&s->rng, len)] = (char)sim_rng_below(&s->rng, 256);
  }
  if (len > 0) body[0] = '\x01';
}

/* What becomes of a reply on its way. false: it never arrives. */
static bool spoil(sim_state_t *s, const sim_action_t *a, sim_head_t *h,
                  char *body, size_t *len, int64_t *at_ns) {
  switch (a ? a->act : SIM_ACT_NONE) {
  case SIM_ACT_NEVER: return false;
  case SIM_ACT_CUT:
    *h = (sim_head_t){.error = TINKER_ETRANSPORT, .sent = true};
    *len = 0;
    return true;
  case SIM_ACT_LATE: *at_ns += a->arg * MS; return true;
  case SIM_ACT_STATUS_AFTER:
    h->status = (int32_t)a->arg;
    *len = 0;
    return true;
  case SIM_ACT_GARBLE: garble(s, body, *len); return true;
  case SIM_ACT_TRUNCATE: *len /= 2; return true;
  default: return true;
  }
}

static void reply_to(sim_state_t *s, const sim_transit_t *t,
                     const sim_reply_t *reply) {
  sim_head_t h = {.sent = true,
                  .status = reply->status,
                  .retry_after_ms = reply->retry_after_ms};
  int64_t at_ns = s->o->shared->now_ns + latency_ns(s);
  size_t len = reply->len;
  char *body = malloc(len + 1);
  if (!body) abort();
  memcpy(body, len ? reply->body : "", len);
  snprintf(h.content_type, sizeof h.content_type, "%s",
           reply->content_type ? reply->content_type : "");
  bool others = t->act && t->act->act == SIM_ACT_OTHERS_REPLY && s->last_body;
  sim_write(s, "life %d answer %llu %d %016llx", t->life,
            (unsigned long long)t->id, reply->status,
            (unsigned long long)mark_of(body, len));
  if (others) {
    give_back(s, t->life, t->id, at_ns, &s->last_head, s->last_body,
              s->last_len);
  } else if (spoil(s, t->act, &h, body, &len, &at_ns)) {
    give_back(s, t->life, t->id, at_ns, &h, body, len);
  }
  if (!others) remember(s, &h, body, len);
  free(body);
}

/* The service gets a request, or is asked again for one that it holds. */
static void arrive(sim_state_t *s, sim_transit_t *t) {
  sim_request_t r = parse(t->bytes);
  sim_reply_t reply;
  int64_t now_ms = sim_ms(s);
  bool first = t->way == SIM_ARRIVES;
  if (first) t->arrived_ms = now_ms;
  r.arrived_ms = t->arrived_ms;
  if (first && t->act && t->act->act == SIM_ACT_TWICE) {
    sim_server_call(s->out->server, now_ms, &r, &reply);
  }
  sim_server_call(s->out->server, now_ms, &r, &reply);
  if (first) ask_held_again(s);
  if (reply.status == SIM_AGAIN) {
    t->way = SIM_HELD;
    t->at_ns = reply.again_ms * MS;
    if (t->at_ns <= s->o->shared->now_ns) t->at_ns = s->o->shared->now_ns + MS;
    return;
  }
  reply_to(s, t, &reply);
  size_t i = (size_t)(t - s->net);
  drop(s, i);
}

/* --- Moving on ------------------------------------------------------------ */

static sim_transit_t *first_of(const sim_state_t *s) {
  const sim_transit_t *first = NULL;
  for (size_t i = 0; i < s->net_count; i++) {
    const sim_transit_t *t = &s->net[i];
    bool sooner = !first || t->at_ns < first->at_ns ||
                  (t->at_ns == first->at_ns && t->order < first->order);
    if (sooner) first = t;
  }
  return (sim_transit_t *)(uintptr_t)first;
}

int64_t sim_net_next_ns(const sim_state_t *s) {
  const sim_transit_t *t = first_of(s);
  return t ? t->at_ns : SIM_NO_TIME;
}

/* A reply is given to a child that waits and is not stopped. */
static bool deliver(sim_state_t *s, sim_transit_t *t) {
  sim_child_t *c = sim_find_child(s, t->life);
  if (!c) {
    drop(s, (size_t)(t - s->net));
    return false;
  }
  if (c->hangs_until_ns > s->o->shared->now_ns) {
    t->at_ns = c->hangs_until_ns;
    return false;
  }
  sim_message_t m = {.what = SIM_ANSWER_REPLY,
                     .len = (uint32_t)(sizeof t->head + t->len),
                     .id = t->id};
  char *bytes = malloc(m.len);
  if (!bytes) abort();
  memcpy(bytes, &t->head, sizeof t->head);
  memcpy(bytes + sizeof t->head, t->bytes, t->len);
  sim_write(s, "life %d reply %llu %d", t->life, (unsigned long long)t->id,
            t->head.error ? t->head.error : t->head.status);
  c->state = SIM_CHILD_RUNS;
  sim_wire_send(c->fd, &m, bytes);
  free(bytes);
  drop(s, (size_t)(t - s->net));
  return true;
}

bool sim_net_move(sim_state_t *s) {
  sim_transit_t *t = first_of(s);
  if (t->way == SIM_RETURNS) return deliver(s, t);
  arrive(s, t);
  return false;
}

void sim_net_cancel(sim_state_t *s, int life, uint64_t id) {
  for (size_t i = 0; i < s->net_count; i++) {
    sim_transit_t *t = &s->net[i];
    if (t->life != life || t->id != id) continue;
    if (t->way == SIM_ARRIVES) {
      t->life = -1; /* what was sent arrives */
    } else {
      drop(s, i);
    }
    return;
  }
}

void sim_net_forget(sim_state_t *s, int life) {
  for (size_t i = s->net_count; i-- > 0;) {
    sim_transit_t *t = &s->net[i];
    if (t->life != life) continue;
    if (t->way == SIM_ARRIVES && !sim_rng_chance(&s->rng, 4)) {
      t->life = -1; /* it is in the network already */
    } else {
      drop(s, i);
    }
  }
}

void sim_net_free(sim_state_t *s) {
  while (s->net_count > 0) drop(s, 0);
  free(s->last_body);
}
