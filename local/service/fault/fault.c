/* fault: see fault.h. */
#include "service/fault/fault.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <tinker/error.h>

#include "base/file.h"
#include "service/parse/body.h"
#include "service/parse/work.h"
#include "wire/bind_rows.h"

#define MAX_PLAN ((size_t)4 << 20)
#define REORDER_MS 2000 /* a held request waits for another at most so long */
#define PREFIX "api/v1/"

/* --- The ledger ----------------------------------------------------------- */

static const char *const events[] = {
    [TINKER__SVC_ACCEPTED] = "accepted",
    [TINKER__SVC_REJECTED] = "rejected",
    [TINKER__SVC_APPLIED] = "applied",
    [TINKER__SVC_FAILED] = "failed",
};

static void add_line(tinker__svc_t *s, const tinker__svc_ledger_line_t *line) {
  if (!tinker__svc_ledger_add(s->faults->ledger, line)) {
    tinker__svc_fatal(s, "out of memory for a line of the ledger");
  }
}

static void settle(tinker__svc_t *s) {
  if (!tinker__svc_ledger_settle(s->faults->ledger)) {
    tinker__svc_fatal(s, "the ledger could not be written");
  }
}

static void add_call(const tinker__svc_op_t *op, tinker__svc_event_t event) {
  tinker__svc_ledger_line_t line = {
      .event = events[event],
      .endpoint = tinker__svc_op_endpoint(op->kind),
      .id = op->request_id,
      .seq = op->seq,
  };
  add_line(op->service, &line);
}

static void add_other(tinker__svc_t *s, const char *endpoint, const char *id) {
  tinker__svc_ledger_line_t line = {
      .event = "accepted",
      .endpoint = endpoint,
      .id = id,
      .seq = -1,
  };
  add_line(s, &line);
}

static void add_fault(tinker__svc_t *s, const tinker__svc_fault_rule_t *f,
                      const char *endpoint, const char *id, int64_t seq) {
  tinker__svc_ledger_line_t line = {
      .event = "fault",
      .endpoint = endpoint,
      .id = id,
      .seq = seq,
      .act = tinker__svc_fault_act_name(f->act),
      .rule = (size_t)(f - s->faults->plan->rules),
  };
  add_line(s, &line);
}

/* --- Life ----------------------------------------------------------------- */

int tinker__svc_faults_open(tinker__svc_t *s, char *why, size_t why_len) {
  tinker__buf_t text;
  char reason[300];
  if (!s->config.faults) return 0;
  tinker__svc_faults_t *f = s->faults = tinker__mem_zalloc(s->mem, sizeof *f);
  if (!f) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  tinker__list_init(&f->held);
  tinker__list_init(&f->paused);
  tinker__buf_init(&text, s->mem, MAX_PLAN);
  int rc = tinker__file_read(s->world, s->config.faults, &text, why, why_len);
  if (rc == 0) {
    rc = tinker__svc_fault_plan_read(&f->plan, s->mem, tinker__buf_str(&text),
                                     reason, sizeof reason);
    if (rc != 0) {
      tinker__why(why, why_len, rc, "--faults %s: %s", s->config.faults,
                  reason);
    }
  }
  tinker__buf_free(&text);
  if (rc != 0) return rc;
  return tinker__svc_ledger_open(&f->ledger, s->mem, s->world, s->state_dir,
                                 why, why_len);
}

void tinker__svc_faults_free(tinker__svc_t *s) {
  if (!s->faults) return;
  tinker__svc_fault_plan_free(s->faults->plan);
  tinker__svc_ledger_free(s->faults->ledger);
  tinker__mem_free(s->mem, s->faults);
  s->faults = NULL;
}

/* Bits of op.acts beside tinker__svc_act_t, set only while the ledger is read:
 * the ledger has a line for the call, and one for its result. */
enum { NOTED = 1 << 30, NOTED_END = 1 << 29 };

static void note_line(tinker__svc_op_t *op, tinker__str_t event) {
  if (tinker__str_eqs(event, "accepted") ||
      tinker__str_eqs(event, "rejected")) {
    op->acts |= NOTED;
  } else if (!tinker__str_eqs(event, "fault")) {
    op->acts |= NOTED_END;
  }
}

/* The members of a line of the ledger that a restart needs. */
typedef struct tinker__svc_noted_s {
  int64_t rule;
  const char *event, *id, *act;
} tinker__svc_noted_t;
static const tinker__bind_field_t noted_rows[] = {
    ROW(tinker__svc_noted_t, I64, rule, 0),
    ROW(tinker__svc_noted_t, STR, event, 0),
    ROW(tinker__svc_noted_t, STR, id, 0),
    ROW(tinker__svc_noted_t, STR, act, 0)};
static const tinker__svc_noted_t noted_default = {-1, "", "", ""};
static const tinker__bind_table_t noted_msg =
    TABLE(noted_rows, tinker__svc_noted_t, NULL, &noted_default);

/* Gives op the acts of rule f. */
static void set_acts(tinker__svc_op_t *op, const tinker__svc_fault_rule_t *f) {
  static const unsigned acts[TINKER__FAULT_ACTS] = {
      [TINKER__FAULT_FORGET] = TINKER__ACT_FORGET,
      [TINKER__FAULT_CORRUPT] = TINKER__ACT_CORRUPT,
      [TINKER__FAULT_CRASH] = TINKER__ACT_CRASH,
      [TINKER__FAULT_DROP_OPTIMIZER] = TINKER__ACT_DROP_OPTIMIZER,
      [TINKER__FAULT_APPLY_TWICE] = TINKER__ACT_APPLY_TWICE,
      [TINKER__FAULT_KEEP_GRADIENTS] = TINKER__ACT_KEEP_GRADIENTS,
      [TINKER__FAULT_IGNORE] = TINKER__ACT_IGNORE,
      [TINKER__FAULT_FLIP_BIT] = TINKER__ACT_FLIP_BIT,
      [TINKER__FAULT_SAVE_OLD] = TINKER__ACT_SAVE_OLD,
      [TINKER__FAULT_EXPIRE] = TINKER__ACT_EXPIRE,
  };
  op->acts |= acts[f->act];
  if (f->act == TINKER__FAULT_FORGET && !f->applied) {
    op->acts |= TINKER__ACT_LOSE;
  }
  if (f->act == TINKER__FAULT_CORRUPT && !f->flag) op->acts |= TINKER__ACT_HIDE;
  if (f->act == TINKER__FAULT_EXPIRE) op->expires_ms = f->ms;
}

/* Reads a line of an earlier run: counts its rule as fired and gives its call
 * the acts of that rule. */
static int restore_line(tinker__svc_t *s, tinker__str_t text) {
  tinker__arena_t a;
  tinker__svc_noted_t m;
  tinker__arena_init(&a, s->mem);
  int rc = tinker__message_decode(&noted_msg, &m, &a, text, NULL, 0);
  tinker__svc_op_t *op =
      rc == 0 ? tinker__map_get(s->op_by_id, tinker__str(m.id)) : NULL;
  if (op) note_line(op, tinker__str(m.event));
  if (rc == 0 && m.rule >= 0 && (size_t)m.rule < s->faults->plan->n) {
    tinker__svc_fault_rule_t *f = &s->faults->plan->rules[m.rule];
    if (!strcmp(m.act, tinker__svc_fault_act_name(f->act))) {
      f->fired++;
      f->first_ms = s->world->now_ms(s->world->user);
      if (op) set_acts(op, f);
    }
    if (op && op->acts & TINKER__ACT_CORRUPT && op->model) {
      op->model->hides_broken = !f->flag;
    }
  }
  tinker__arena_free(&a);
  return rc == TINKER_ENOMEM ? rc : 0;
}

static int by_row(const void *a, const void *b) {
  const tinker__svc_op_t *x = *(tinker__svc_op_t *const *)a;
  const tinker__svc_op_t *y = *(tinker__svc_op_t *const *)b;
  return x->row < y->row ? -1 : x->row > y->row;
}

static int by_number(const void *a, const void *b) {
  const tinker__svc_op_t *x = *(tinker__svc_op_t *const *)a;
  const tinker__svc_op_t *y = *(tinker__svc_op_t *const *)b;
  return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void add_call_again(tinker__svc_op_t *op) {
  if (op->acts & NOTED) return;
  add_call(op, op->state == TINKER__SVC_OP_REJECTED ? TINKER__SVC_REJECTED
                                                    : TINKER__SVC_ACCEPTED);
}

static void add_end_again(tinker__svc_op_t *op) {
  bool noted = op->acts & NOTED_END || op->state == TINKER__SVC_OP_REJECTED;
  op->acts &= ~(unsigned)(NOTED | NOTED_END);
  if (noted || tinker__svc_op_pending(op)) return;
  add_call(op, op->state == TINKER__SVC_OP_DONE ? TINKER__SVC_APPLIED
                                                : TINKER__SVC_FAILED);
}

/* A kill between a commit and its line leaves the line out. The store has the
 * call, so the line is written now: first what was accepted, in the order of
 * the store, and then the results, which a model has in the order of its
 * numbers. */
static int add_missing_lines(tinker__svc_t *s) {
  size_t cursor = 0, n = 0;
  tinker__str_t key;
  void *value;
  size_t all = tinker__map_len(s->op_by_id);
  tinker__svc_op_t **ops = tinker__mem_array(s->mem, all + 1, sizeof(*ops));
  if (!ops) return TINKER_ENOMEM;
  while (tinker__map_next(s->op_by_id, &cursor, &key, &value)) ops[n++] = value;
  qsort(ops, n, sizeof(*ops), by_row);
  for (size_t i = 0; i < n; i++) add_call_again(ops[i]);
  qsort(ops, n, sizeof(*ops), by_number);
  for (size_t i = 0; i < n; i++) add_end_again(ops[i]);
  tinker__mem_free(s->mem, ops);
  return 0;
}

int tinker__svc_faults_restore(tinker__svc_t *s, char *why, size_t why_len) {
  tinker__buf_t lines;
  if (!s->faults) return 0;
  tinker__buf_init(&lines, s->mem, TINKER__MAX_LEDGER);
  int rc = tinker__svc_ledger_read(s->faults->ledger, &lines, why, why_len);
  const char *at = lines.data, *end = rc == 0 && at ? at + lines.len : at;
  while (rc == 0 && at != end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) stop = end;
    rc = restore_line(s, (tinker__str_t){at, (size_t)(stop - at)});
    at = stop == end ? end : stop + 1;
  }
  if (rc == 0) rc = add_missing_lines(s);
  tinker__buf_free(&lines);
  return rc;
}

/* --- Time ----------------------------------------------------------------- */

static void hold(tinker__svc_req_t *r, int64_t ms) {
  tinker__svc_t *s = r->service;
  r->held = true;
  r->deadline_ms = s->world->now_ms(s->world->user) + ms;
  tinker__list_push_back(&s->faults->held, &r->timer_link);
  pthread_cond_signal(&s->timer_wake);
}

static void let_go(tinker__svc_req_t *r) {
  tinker__list_remove(&r->timer_link);
  tinker__svc_req_resume_later(r);
}

static void unpause(tinker__svc_op_t *op) {
  tinker__list_remove(&op->paused);
  op->paused_until_ms = 0;
  if (!tinker__svc_op_logged(op)) return; /* its commit will start it */
  if (op->model) tinker__svc_model_kick(op->model);
  if (op->sampler) tinker__svc_sampler_kick(op);
}

int64_t tinker__svc_faults_tick(tinker__svc_t *s, int64_t now_ms) {
  int64_t next = INT64_MAX;
  if (!s->faults) return next;
  TINKER__LIST_EACH(l, tmp, &s->faults->held) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    if (r->deadline_ms <= now_ms) {
      let_go(r);
    } else if (r->deadline_ms < next) {
      next = r->deadline_ms;
    }
  }
  TINKER__LIST_EACH(k, other, &s->faults->paused) {
    tinker__svc_op_t *op = TINKER__CONTAINER(k, tinker__svc_op_t, paused);
    if (op->paused_until_ms <= now_ms) {
      unpause(op);
    } else if (op->paused_until_ms < next) {
      next = op->paused_until_ms;
    }
  }
  return next;
}

void tinker__svc_faults_release(tinker__svc_t *s) {
  if (!s->faults) return;
  TINKER__LIST_EACH(l, tmp, &s->faults->held) {
    let_go(TINKER__CONTAINER(l, tinker__svc_req_t, timer_link));
  }
}

/* --- The rule of a request ------------------------------------------------ */

static const tinker__svc_fault_rule_t *rule_of(const tinker__svc_req_t *r) {
  return r->filtered;
}

/* --- The subject of a request --------------------------------------------- */

typedef struct {
  tinker__svc_fault_call_t call;
  tinker__arena_t arena; /* call and subject point into it */
  tinker__call_subject_t subject;
  tinker__svc_head_t head;
} peek_t;

static tinker__str_t first_of(const char *a, const char *b, const char *c) {
  return tinker__str(a ? a : b ? b : c ? c : "");
}

static void peek_json(peek_t *p, tinker__svc_req_t *r) {
  tinker__call_subject_t *m = &p->subject;
  if (tinker__message_decode(&tinker__call_subject_msg, m, &p->arena,
                             tinker__buf_str(&r->body), NULL, 0) != 0) {
    m->request_id = NULL;
    return; /* the handler refuses the body later */
  }
  if (m->has_seq_id) p->call.seq = m->seq_id;
  p->call.id = first_of(m->model_id, m->sampling_session_id, m->session_id);
}

/* Names the call whose result a retrieve_future asks for. Under the lock. */
static void peek_future(peek_t *p, tinker__svc_t *s) {
  const char *id = p->subject.request_id;
  const tinker__svc_op_t *op =
      id ? tinker__map_get(s->op_by_id, tinker__str(id)) : NULL;
  if (!op) return;
  p->call.id = tinker__str(op->model ? op->model->id : op->sampler->id);
  p->call.of = tinker__str(tinker__svc_op_endpoint(op->kind));
  p->call.seq = op->seq;
}

/* Without the lock: a body may be large. */
static void peek(peek_t *p, tinker__svc_req_t *r) {
  char why[200];
  memset(p, 0, sizeof *p);
  tinker__arena_init(&p->arena, r->service->mem);
  p->call.endpoint = tinker__str(r->route->path + strlen(PREFIX));
  p->call.id = p->call.of = TINKER__STR("");
  p->call.seq = -1;
  if (r->body.len && r->body_proto) {
    if (tinker__svc_work_proto_head(tinker__buf_str(&r->body), &p->head, why,
                                    sizeof why) == 0) {
      p->call.id = tinker__str(p->head.model_id);
      p->call.seq = p->head.seq;
    }
  } else if (r->body.len) {
    peek_json(p, r);
  } else if (r->capture[0].ptr) {
    p->call.id = r->capture[0];
  }
}

static tinker__svc_session_t *session_of(tinker__svc_t *s, tinker__str_t id) {
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, id);
  tinker__svc_model_t *m = tinker__map_get(s->model_by_id, id);
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, id);
  return n ? n : m ? m->session : p ? p->session : NULL;
}

/* --- Requests ------------------------------------------------------------- */

static tinker__svc_filtered_t answer_status(tinker__svc_req_t *r) {
  const tinker__svc_fault_rule_t *f = rule_of(r);
  const char *body = f->body ? f->body : "{\"detail\":\"by the fault plan\"}";
  tinker__svc_reply_bytes(
      r, (int)f->status, f->content_type ? f->content_type : "application/json",
      body, strlen(body));
  r->retry_after_s = (int)f->retry_after;
  return TINKER__FILTER_ANSWERED;
}

/* Ends a TCP connection by RST, which connecting the socket to nowhere sends;
 * the library's own close would send a FIN. A Unix socket has no RST, so it is
 * only closed. */
static void reset(tinker__svc_req_t *r) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
  struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
  if (info && !r->unix_socket) {
    connect(info->connect_fd, &nowhere, sizeof nowhere);
  }
}

static tinker__svc_filtered_t go_back(tinker__svc_req_t *r) {
  r->held = false;
  return rule_of(r)->act == TINKER__FAULT_HANG ? TINKER__FILTER_CLOSE
                                               : TINKER__FILTER_GO;
}

/* Does not wait once the service stops: nobody would let r go on. */
static tinker__svc_filtered_t wait_ms(tinker__svc_req_t *r, int64_t ms) {
  if (r->service->stopping) return go_back(r);
  MHD_suspend_connection(r->conn);
  hold(r, ms);
  return TINKER__FILTER_WAIT;
}

static tinker__svc_filtered_t begin(tinker__svc_req_t *r, tinker__str_t id) {
  tinker__svc_session_t *n;
  switch (rule_of(r)->act) {
  case TINKER__FAULT_DELAY: return wait_ms(r, rule_of(r)->ms);
  case TINKER__FAULT_HANG: return wait_ms(r, INT64_MAX / 2);
  case TINKER__FAULT_REORDER: return wait_ms(r, REORDER_MS);
  case TINKER__FAULT_DROP: return TINKER__FILTER_CLOSE;
  case TINKER__FAULT_RESET: reset(r); return TINKER__FILTER_CLOSE;
  case TINKER__FAULT_STATUS: return answer_status(r);
  case TINKER__FAULT_SESSION_GONE:
    n = session_of(r->service, id);
    if (n && n->state == TINKER__SVC_SESSION_LIVE &&
        !tinker__svc_ends(r->service)) {
      tinker__svc_session_end(r->service, n, "gone by the fault plan");
    }
    return TINKER__FILTER_GO;
  case TINKER__FAULT_STALE_LIST:
    r->stale_ms = rule_of(r)->ms;
    return TINKER__FILTER_GO;
  case TINKER__FAULT_SHOW_CORRUPTED:
    r->shows_corrupted = true;
    return TINKER__FILTER_GO;
  default: return TINKER__FILTER_GO;
  }
}

/* `by` overtakes the requests that were held to be overtaken: they go on. */
static void let_overtaken_go(tinker__svc_t *s, const tinker__svc_req_t *by) {
  TINKER__LIST_EACH(l, tmp, &s->faults->held) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    if (r != by && rule_of(r)->act == TINKER__FAULT_REORDER) {
      r->deadline_ms = 0; /* at the timer's next look, after `by` */
      pthread_cond_signal(&s->timer_wake);
    }
  }
}

static tinker__svc_filtered_t arrive(tinker__svc_req_t *r) {
  peek_t p;
  tinker__svc_t *s = r->service;
  tinker__svc_filtered_t next = TINKER__FILTER_GO;
  if (strncmp(r->route->path, PREFIX, strlen(PREFIX)) != 0) return next;
  peek(&p, r);
  tinker__svc_lock(s);
  let_overtaken_go(s, r);
  peek_future(&p, s);
  const tinker__svc_fault_rule_t *rule = tinker__svc_fault_plan_next(
      s->faults->plan, &p.call, s->world->now_ms(s->world->user));
  r->filtered = rule;
  if (rule) {
    char id[200];
    bool shown = p.call.id.len < sizeof id &&
                 tinker__utf8_valid(p.call.id.ptr, p.call.id.len);
    snprintf(id, sizeof id, "%.*s", shown ? (int)p.call.id.len : 0,
             p.call.id.ptr);
    add_fault(s, rule, r->route->path + strlen(PREFIX), id, p.call.seq);
    next = begin(r, p.call.id);
  }
  tinker__svc_unlock(s);
  if (rule) settle(s);
  tinker__arena_free(&p.arena);
  return next;
}

static tinker__svc_filtered_t leave(tinker__svc_req_t *r) {
  switch (rule_of(r)->act) {
  case TINKER__FAULT_LOSE_REPLY: return TINKER__FILTER_CLOSE;
  case TINKER__FAULT_CONTENT_TYPE:
    r->content_type = rule_of(r)->content_type;
    return TINKER__FILTER_GO;
  case TINKER__FAULT_DUPLICATE:
    if (r->repeated) return TINKER__FILTER_GO;
    r->repeated = true;
    return TINKER__FILTER_WAIT;
  default: return TINKER__FILTER_GO;
  }
}

/* Suspends r between two pieces of its reply. False when the service stops: the
 * rest is sent without pauses. */
static bool pause_reply(tinker__svc_req_t *r) {
  tinker__svc_t *s = r->service;
  tinker__svc_lock(s);
  bool pause = !s->stopping;
  if (pause) {
    MHD_suspend_connection(r->conn);
    hold(r, rule_of(r)->ms);
    r->repeated = true; /* read_slowly's next call is after the pause */
  }
  tinker__svc_unlock(s);
  return pause;
}

/* Gives the HTTP library the bytes of r's reply, some at a time (trickle) or
 * only the first ones (cut). HTTP thread. */
static ssize_t read_slowly(void *user, uint64_t pos, char *out, size_t max) {
  tinker__svc_req_t *r = user;
  const tinker__svc_fault_rule_t *f = rule_of(r);
  size_t n = r->reply.len - (size_t)pos;
  if (f->act == TINKER__FAULT_CUT) {
    if (pos >= (uint64_t)f->bytes) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n > (size_t)f->bytes - pos) n = (size_t)f->bytes - (size_t)pos;
  } else if (!r->repeated && pause_reply(r)) {
    return 0;
  } else if (n > (size_t)f->bytes) {
    n = (size_t)f->bytes;
  }
  r->repeated = false;
  if (n > max) n = max;
  memcpy(out, r->reply.data + pos, n);
  return (ssize_t)n;
}

static struct MHD_Response *respond(tinker__svc_req_t *r, tinker__str_t body) {
  tinker__svc_fault_act_t act = rule_of(r)->act;
  if (act != TINKER__FAULT_CUT && act != TINKER__FAULT_TRICKLE) return NULL;
  return MHD_create_response_from_callback(body.len, 4096, read_slowly, r,
                                           NULL);
}

/* --- Calls ---------------------------------------------------------------- */

static void attach(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  if (tinker__svc_op_refused(op)) return;
  tinker__svc_fault_call_t call = {
      .endpoint = tinker__str(tinker__svc_op_endpoint(op->kind)),
      .id = tinker__str(op->model ? op->model->id : op->sampler->id),
      .of = TINKER__STR(""),
      .seq = op->seq,
      .accepted = true,
  };
  int64_t now = s->world->now_ms(s->world->user);
  const tinker__svc_fault_rule_t *rule =
      tinker__svc_fault_plan_next(s->faults->plan, &call, now);
  if (!rule) return;
  set_acts(op, rule);
  add_fault(s, rule, tinker__svc_op_endpoint(op->kind), op->request_id,
            op->seq);
  if (rule->act == TINKER__FAULT_PAUSE) {
    op->pause_state = rule->state;
    op->pause_reason = rule->reason;
    op->paused_until_ms = now + rule->ms;
    tinker__list_push_back(&s->faults->paused, &op->paused);
    pthread_cond_signal(&s->timer_wake);
  }
}

/* --- GET _test/ledger ----------------------------------------------------- */

static tinker__svc_handled_t handle_ledger(tinker__svc_t *s,
                                           tinker__svc_req_t *r) {
  char why[300];
  tinker__buf_t lines;
  tinker__jsonw_t w;
  tinker__buf_init(&lines, s->mem, TINKER__MAX_LEDGER);
  int rc = tinker__svc_ledger_read(s->faults->ledger, &lines, why, sizeof why);
  if (rc != 0) {
    tinker__buf_free(&lines);
    return tinker__svc_reply_why(r, rc, 500, why);
  }
  for (size_t i = 0; i + 1 < lines.len; i++) {
    if (lines.data[i] == '\n') lines.data[i] = ',';
  }
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "entries");
  tinker__jsonw_begin_array(&w);
  if (lines.len) {
    tinker__jsonw_raw(&w, (tinker__str_t){lines.data, lines.len - 1});
  }
  tinker__jsonw_end_array(&w);
  tinker__jsonw_end_object(&w);
  tinker__buf_free(&lines);
  return TINKER__ANSWERED;
}

const tinker__svc_route_t tinker__svc_fault_routes[] = {
    {.method = "GET", .path = "_test/ledger", .handler = handle_ledger},
    {.method = NULL},
};

const tinker__svc_filter_t tinker__svc_fault_filter = {
    .arrive = arrive,
    .back = go_back,
    .leave = leave,
    .respond = respond,
};

const tinker__svc_observer_t tinker__svc_fault_observer = {
    .accepting = attach,
    .heard = add_call,
    .other = add_other,
    .settle = settle,
};
