/* exec: numbered calls of a model, executed. Engine thread. A task is a model
 * with work: each step runs one piece of its present call, so that sampling
 * gets its turn in between. Loads and saves are in exec_state.c. */
#include "service/run/exec.h"

#include <string.h>

#include <tinker/error.h>

#include "db/row.h"
#include "service/core/trying.h"

void tinker__svc_exec_stick(tinker__svc_model_t *m, int rc) {
  m->stuck = true;
  tinker__svc_trouble(m, rc, "");
}

void tinker__svc_exec_fail(tinker__svc_op_t *op, int rc, const char *why) {
  bool user = rc == TINKER_EINVAL || rc == TINKER_ENOENT ||
              rc == TINKER_EEXIST || rc == TINKER_ENOTSUP;
  tinker__svc_model_t *m = op->model;
  /* What the moment is to blame for says nothing of the model, and a call must
   * not fail because what came before it can't be restored now. */
  if (m &&
      (m->stuck || (op->replay && (rc == TINKER_ENOMEM || rc == TINKER_EIO)))) {
    if (!m->is_short) tinker__svc_trouble(m, rc, why);
    m->stuck = true;
    return;
  }
  tinker__svc_op_fail(op, user ? "user" : "server", "%s",
                      *why ? why : tinker_code_text(rc));
}

void tinker__svc_exec_model_free(tinker__svc_model_t *m) {
  if (m->pass) tinker__svc_model_api(m)->pass_end(m->pass);
  if (m->train) tinker__svc_model_api(m)->train_free(m->train);
  m->pass = NULL;
  m->train = NULL;
  tinker__svc_claim_settle(m);
}

/* The model's state, from its snapshot if it is not in memory. */
int tinker__svc_exec_train(tinker__svc_model_t *m, char *why, size_t why_len) {
  char dir[1200];
  tinker__svc_t *s = m->service;
  if (m->train) return 0;
  if (!m->snapshot) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "the model was not created");
  }
  if (tinker__svc_claim(m, NULL) != 0) return TINKER_ENOMEM;
  tinker__svc_checkpoint_dir(s, "snapshots", m->snapshot, dir, sizeof dir);
  int rc = tinker__svc_model_api(m)->train_load(m->base->base, dir, true,
                                                &m->train, why, why_len);
  m->stuck = rc != 0;
  return rc;
}

/* --- Creation ------------------------------------------------------------- */

static void run_create(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[300] = "";
  tinker__buf_t out;
  int rc = tinker__svc_claim(m, NULL);
  if (rc == 0) {
    rc = tinker__svc_model_api(m)->train_new(m->base->base, &m->lora, &m->train,
                                             why, sizeof why);
  }
  if (rc != 0) {
    tinker__svc_exec_fail(op, rc, why);
    return;
  }
  tinker__create_model_result_t result = {m->id};
  tinker__buf_init(&out, m->service->mem, 4096);
  tinker__message_encode(&out, &tinker__create_model_result_msg, &result);
  tinker__svc_op_complete(op, TINKER__SVC_OP_DONE, TINKER__FORMAT_JSON, &out,
                          NULL, NULL, NULL);
}

/* --- forward_backward ----------------------------------------------------- */

static int alloc_outputs(tinker__svc_work_t *w) {
  for (size_t i = 0; i < w->n_data; i++) {
    tinker__eng_train_datum_t *d = &w->data[i];
    size_t n = d->n * d->k;
    d->out_logprobs = tinker__arena_array(&w->arena, n, sizeof(float));
    d->out_loss = tinker__arena_array(&w->arena, n, sizeof(float));
    if (!d->out_logprobs || !d->out_loss) return TINKER_ENOMEM;
  }
  return 0;
}

static int begin_pass(tinker__svc_model_t *m, tinker__svc_op_t *op, char *why,
                      size_t why_len) {
  tinker__svc_work_t *w = op->work;
  int rc = tinker__svc_exec_train(m, why, why_len);
  if (rc == 0) rc = tinker__svc_claim(m, w);
  if (rc == 0) rc = alloc_outputs(w);
  if (rc != 0) return rc;
  return tinker__svc_model_api(m)->pass_begin(m->train, w->data, w->n_data,
                                              &w->loss, w->forward_only,
                                              &m->pass, why, why_len);
}

static void end_pass(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  tinker__buf_t out;
  double loss = tinker__svc_model_api(m)->pass_loss(m->pass);
  tinker__svc_model_api(m)->pass_end(m->pass);
  m->pass = NULL;
  tinker__buf_init(&out, m->service->mem, (size_t)1 << 31);
  int rc = tinker__svc_result_forward_backward(&out, op->work, loss);
  if (rc != 0 && !out.error) out.error = rc;
  tinker__svc_op_complete(op, TINKER__SVC_OP_DONE, TINKER__FORMAT_PROTO, &out,
                          NULL, NULL, NULL);
}

/* True while there is more of it. */
static bool run_pass(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[300] = "";
  int rc = 0;
  if (!m->pass) rc = begin_pass(m, op, why, sizeof why);
  m->worked = rc == 0 && !op->work->forward_only;
  if (rc == 0) {
    rc = tinker__svc_model_api(m)->pass_step(
        m->pass, tinker__eng_scheduler_halt(m->service->scheduler), why,
        sizeof why);
  }
  if (rc > 0) return true;
  if (rc == TINKER_ECANCELED) { /* the service stops: at the next start */
    tinker__svc_model_api(m)->pass_end(m->pass);
    m->pass = NULL;
    return true;
  }
  if (rc == 0 && op->acts & TINKER__ACT_APPLY_TWICE) {
    op->acts &= ~(unsigned)TINKER__ACT_APPLY_TWICE;
    tinker__svc_model_api(m)->pass_end(m->pass);
    m->pass = NULL;
    return true;
  }
  if (rc == 0) {
    end_pass(m, op);
  } else {
    if (m->pass) tinker__svc_model_api(m)->pass_end(m->pass);
    m->pass = NULL;
    tinker__svc_exec_fail(op, rc, why);
  }
  return false;
}

/* --- optim_step ----------------------------------------------------------- */

/* True while there is more of it. */
static bool run_optim(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[300] = "";
  tinker__eng_optim_metrics_t metrics;
  tinker__buf_t out;
  int rc = tinker__svc_exec_train(m, why, sizeof why);
  op->work->adam.keep_grad = (op->acts & TINKER__ACT_KEEP_GRADIENTS) != 0;
  if (rc == 0) {
    rc = tinker__svc_model_api(m)->optim_step(m->train, &op->work->adam,
                                              &metrics, why, sizeof why);
    m->worked = true;
  }
  if (rc > 0) return true;
  if (rc == 0 && op->acts & TINKER__ACT_APPLY_TWICE) {
    op->acts &= ~(unsigned)TINKER__ACT_APPLY_TWICE;
    return true;
  }
  if (rc != 0) {
    tinker__svc_exec_fail(op, rc, why);
    return false;
  }
  tinker__number_t norm = {"unclipped_grad_l2:mean", metrics.grad_norm};
  tinker__optim_step_result_t result = {
      {&norm, op->work->adam.grad_clip_norm > 0 ? 1 : 0}};
  tinker__buf_init(&out, m->service->mem, 4096);
  tinker__message_encode(&out, &tinker__optim_step_result_msg, &result);
  tinker__svc_op_complete(op, TINKER__SVC_OP_DONE, TINKER__FORMAT_JSON, &out,
                          NULL, NULL, NULL);
  if (!m->stuck) tinker__svc_keep_due(m, op->seq + 1);
  return false;
}

/* --- Tasks ---------------------------------------------------------------- */

/* The body of an op, as it was read from the log, is decoded. What was decoded
 * once can be decoded, but for the memory it takes. */
static int reload_work(tinker__svc_op_t *op, char *why, size_t why_len) {
  int status;
  tinker__svc_work_in_t in = {
      .kind = op->kind,
      .base = op->model->base,
      .format = op->log_format,
      .body = {op->log_body ? op->log_body : "", op->log_len},
      .seed = op->seed,
  };
  if (op->work || !op->log_body) return 0;
  int rc = tinker__svc_work_parse(&op->work, op->service, &in, &status, why,
                                  why_len);
  op->model->stuck = rc == TINKER_ENOMEM;
  tinker__svc_op_drop_log(op);
  return rc;
}

/* On a restart: what left no trace in the model is not executed again. */
static bool skip_replay(const tinker__svc_op_t *op) {
  if (!op->replay) return false;
  switch (op->kind) {
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    return op->state == TINKER__SVC_OP_FAILED || !op->log_size ||
           (op->work && op->work->forward_only);
  case TINKER__SVC_OP_OPTIM: /* refused gradients are gone: not traceless */
    return op->traceless || (op->state == TINKER__SVC_OP_FAILED &&
                             !op->model->train && !op->model->snapshot);
  case TINKER__SVC_OP_CREATE: return op->state == TINKER__SVC_OP_FAILED;
  default: return true; /* saves, and loads that failed */
  }
}

/* One that was told already can't be restored, nor the model with it. */
static void fail_crashed(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  if (!op->replay) {
    tinker__svc_op_fail(op, "server",
                        "the engine crashed in this call (signal %d)",
                        op->crash_signal);
    return;
  }
  tinker__svc_lock(m->service);
  int rc = tinker__svc_model_break(
      m, "the engine crashed when it executed the log again");
  tinker__svc_unlock(m->service);
  if (rc != 0) tinker__svc_exec_stick(m, rc);
}

/* The process may have been killed because of others: a model that could not
 * be restored waits, and is tried again by every second start. */
static void fail_deadly(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  if (!op->replay) {
    tinker__svc_op_fail(op, "server",
                        "the service was killed %d times while it executed "
                        "this call: it may need more memory than there is",
                        TINKER__MAX_DEATHS);
    return;
  }
  m->stuck = true;
  tinker__svc_trouble(m, 0,
                      "the service was killed each time it executed its log "
                      "again; the start after the next one tries once more");
}

/* Why nothing more is executed of it, or NULL. Never freed before the end, but
 * set by any thread. */
static const char *broken(tinker__svc_model_t *m) {
  tinker__svc_lock(m->service);
  const char *why = m->broken;
  tinker__svc_unlock(m->service);
  return why;
}

/* One piece of the call; true while there is more. */
static bool run_op(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[300] = "";
  if (op->crash_signal) {
    fail_crashed(m, op);
    return false;
  }
  if (op->deadly) {
    fail_deadly(m, op);
    return false;
  }
  if (skip_replay(op)) return false;
  int rc = reload_work(op, why, sizeof why);
  if (rc == 0 && tinker__svc_exec_suffer(m, op)) return false;
  const char *reason = broken(m);
  if (rc == 0 && reason) {
    rc = tinker__why(why, sizeof why, TINKER_ESTATE,
                     "the model can't go on: %s", reason);
  }
  if (rc != 0) {
    if (m->pass) {
      tinker__svc_model_api(m)->pass_end(m->pass); /* marked meanwhile */
    }
    m->pass = NULL;
    if (!op->replay || !reason) tinker__svc_exec_fail(op, rc, why);
    return false;
  }
  if (skip_replay(op)) return false;
  switch (op->kind) {
  case TINKER__SVC_OP_CREATE: run_create(m, op); return false;
  case TINKER__SVC_OP_FORWARD_BACKWARD: return run_pass(m, op);
  case TINKER__SVC_OP_OPTIM: return run_optim(m, op);
  case TINKER__SVC_OP_SAVE: tinker__svc_exec_save(m, op); return false;
  case TINKER__SVC_OP_SAVE_SAMPLER:
    tinker__svc_exec_save_sampler(m, op);
    return false;
  default: tinker__svc_exec_load(m, op); return false;
  }
}

/* Takes the next op; NULL when there is none, and then the model is idle. */
static tinker__svc_op_t *take_op(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  bool ended = false, rests = false;
  if (atomic_load(&s->fatal)) return NULL; /* stays busy: the next start */
  tinker__svc_lock(s);
  bool begins = !m->current;
  if (begins) m->current = tinker__svc_model_begin(m);
  tinker__svc_op_t *op = m->current;
  if (op && begins) tinker__svc_debug_op(op, "executes");
  if (!op) {
    ended = m->session->ended_ms && tinker__list_empty(&m->pending);
    rests = m->leaves && !ended;
    if (!ended && !rests) tinker__svc_model_done(m, true);
  }
  m->leaves = false;
  tinker__svc_unlock(s);
  if (rests) tinker__svc_keep_resting(m);
  if (ended) { /* nothing can come any more: stays busy for ever */
    tinker__svc_exec_model_free(m);
    tinker__svc_keep_settled(m);
    tinker__svc_lock(s);
    m->rests_ms = 0;
    tinker__svc_base_drop(m->base, &m->holds);
    tinker__svc_unlock(s);
  }
  return op;
}

/* The call can't be executed now: what it has begun is given up. */
static void park(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  if (m->pass) tinker__svc_model_api(m)->pass_end(m->pass);
  m->pass = NULL;
  m->stuck = false;
  if (m->rewinds) {
    tinker__svc_exec_model_free(m);
    tinker__svc_keep_settled(m);
  }
  tinker__svc_lock(s);
  /* Decoded for its turn alone: it is read from the log once more. */
  if (m->current->in_log && m->current->work && !m->current->held) {
    tinker__svc_op_drop_work(m->current);
  }
  if (m->rewinds) m->rests_ms = 0;
  m->waits = m->is_short;
  m->is_short = false;
  tinker__svc_model_park(m);
  tinker__svc_unlock(s);
}

/* --- Bodies --------------------------------------------------------------- */

/* A body has been read. The model is as busy as it was when its task went to
 * wait for it. Store thread. */
static void on_body(void *user, int rc, struct sqlite3_stmt *row) {
  tinker__svc_op_t *op = user;
  tinker__svc_model_t *m = op->model;
  tinker__svc_t *s = op->service;
  tinker__str_t body = rc == 0 ? tinker__db_row_blob(row, 0) : TINKER__STR("");
  char *copy = rc == 0 ? tinker__mem_dup(s->mem, body.ptr, body.len) : NULL;
  if (rc == 0 && !copy) rc = TINKER_ENOMEM;
  tinker__svc_lock(s);
  op->log_body = copy;
  op->log_len = body.len;
  if (rc == 0) op->log_format = (int)tinker__db_row_i64(row, 1);
  if (rc != 0) {
    tinker__svc_op_drop_log(op);
    tinker__svc_trouble(m, rc,
                        rc == TINKER_ENOMEM ? "" : "its log can't be read");
    tinker__svc_model_park(m);
  } else if (!s->stopping) {
    tinker__eng_scheduler_push(s->scheduler, &m->task);
  }
  tinker__svc_unlock(s);
}

/* True while the body of the call is on its way from the log: its task is
 * pushed again when it has arrived. */
static bool fetch_body(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  if (!op->in_log || op->work || op->log_body || op->crash_signal ||
      op->deadly || op->kind == TINKER__SVC_OP_CREATE || skip_replay(op)) {
    return false;
  }
  if (tinker__svc_claim_log(m, op) != 0) {
    park(m);
  } else if (tinker__svc_store_read_body(op->service->store, op->row, on_body,
                                         op) != 0) {
    tinker__svc_trouble(m, TINKER_ENOMEM, "");
    park(m);
  }
  return true;
}

static bool step(tinker__eng_task_t *task) {
  tinker__svc_model_t *m = TINKER__CONTAINER(task, tinker__svc_model_t, task);
  tinker__svc_t *s = m->service;
  tinker__svc_op_t *op = take_op(m);
  if (!op || fetch_body(m, op)) return false;
  int64_t start = s->world->now_ms(s->world->user);
  int64_t call = op->replay ? TINKER__REDOING(op->row) : op->row;
  atomic_store(s->doing, call);
  m->stuck = m->worked = false;
  bool more = run_op(m, op);
  atomic_store(s->doing, 0);
  if (m->worked) tinker__svc_keep_worked(m, start);
  tinker__svc_claim_settle(m);
  if (m->stuck) {
    park(m);
    return false;
  }
  if (more) return true;
  if (m->worked) m->unsaved_bytes += op->log_size;
  tinker__svc_lock(s);
  tinker__svc_op_drop_log(op);
  if (op->replay) tinker__svc_op_drop_work(op); /* no commit will do it */
  m->pause_ms = 0;
  m->rests_ms = m->train ? s->world->now_ms(s->world->user) : 0;
  tinker__svc_trying_set(s, call, 0);
  m->current = NULL;
  m->next_seq++;
  tinker__svc_model_done(m, true);
  tinker__svc_unlock(s);
  return false;
}

const tinker__svc_runner_t tinker__svc_runner = {
    .step = step,
    .sample = tinker__svc_generate,
    .leave = tinker__svc_leave,
};
