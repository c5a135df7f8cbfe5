/* exec: executes the numbered calls of models. Engine thread. A task is a model
 * with work; each step runs one piece of its present call, so that sampling
 * gets its turn in between. Loads and saves are in exec_state.c. */
#include "service/run/exec.h"

#include <string.h>

#include <tinker/error.h>

#include "db/row.h"
#include "service/core/trying.h"

void tinker__svc_exec_stick(tinker__svc_model_t *m, int rc) {
  tinker__svc_trouble(m, rc, "");
}

void tinker__svc_exec_fail(tinker__svc_op_t *op, int rc, const char *why) {
  bool user = rc == TINKER_EINVAL || rc == TINKER_ENOENT ||
              rc == TINKER_EEXIST || rc == TINKER_ENOTSUP;
  tinker__svc_model_t *m = op->model;
  /* A call does not fail for a reason that may pass, or because an earlier call
   * can't be restored now. Its model is parked instead. */
  if (m &&
      (m->stuck || (op->redo && (rc == TINKER_ENOMEM || rc == TINKER_EIO)))) {
    if (m->stuck != TINKER__SVC_STUCK_SHORT) tinker__svc_trouble(m, rc, why);
    return;
  }
  tinker__svc_op_fail(op, user ? "user" : "server", "%s",
                      *why ? why : tinker_code_text(rc));
}

void tinker__svc_exec_pass_end(tinker__svc_model_t *m) {
  if (m->pass) tinker__svc_model_api(m)->pass_end(m->pass);
  m->pass = NULL;
}

void tinker__svc_exec_model_free(tinker__svc_model_t *m) {
  tinker__svc_exec_pass_end(m);
  if (m->train) tinker__svc_model_api(m)->train_free(m->train);
  m->train = NULL;
  tinker__svc_claim_settle(m);
}

/* Loads the model's state from its snapshot if it is not in memory. */
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
  const tinker__engine_api_t *api = tinker__svc_model_api(m);
  int rc =
      api->train_resume
          ? api->train_resume(m->base->base, dir, &m->train, why, why_len)
          : api->train_load(m->base->base, dir, true, &m->train, why, why_len);
  if (rc != 0) m->stuck = TINKER__SVC_STUCK_TROUBLE;
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
  tinker__svc_op_complete(op, TINKER__SVC_OUTCOME_DONE, TINKER__FORMAT_JSON,
                          &out, NULL, NULL, NULL);
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

/* The memory for the whole call is claimed before the model comes into memory:
 * models that were there and waited would keep what each of them waits for. */
static int begin_pass(tinker__svc_model_t *m, tinker__svc_op_t *op, char *why,
                      size_t why_len) {
  tinker__svc_work_t *w = op->work;
  int rc = tinker__svc_claim(m, w);
  if (rc == 0) rc = tinker__svc_exec_train(m, why, why_len);
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
  tinker__svc_exec_pass_end(m);
  tinker__buf_init(&out, m->service->mem, (size_t)1 << 31);
  int rc = tinker__svc_result_forward_backward(&out, op->work, loss);
  if (rc != 0 && !out.error) out.error = rc;
  tinker__svc_op_complete(op, TINKER__SVC_OUTCOME_DONE, TINKER__FORMAT_PROTO,
                          &out, NULL, NULL, NULL);
}

/* Runs a piece of a pass; true while there is more. */
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
  if (rc == TINKER_ECANCELED) { /* the service stops; the next start does it */
    tinker__svc_exec_pass_end(m);
    return true;
  }
  if (rc == 0 && op->acts & TINKER__ACT_APPLY_TWICE) {
    op->acts &= ~(unsigned)TINKER__ACT_APPLY_TWICE;
    tinker__svc_exec_pass_end(m);
    return true;
  }
  if (rc == 0) {
    end_pass(m, op);
  } else {
    tinker__svc_exec_pass_end(m);
    tinker__svc_exec_fail(op, rc, why);
  }
  return false;
}

/* --- optim_step ----------------------------------------------------------- */

/* Runs a piece of an optimizer step; true while there is more. */
static bool run_optim(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[300] = "";
  tinker__eng_optim_metrics_t metrics;
  tinker__buf_t out;
  int rc = tinker__svc_exec_train(m, why, sizeof why);
  op->work->adam.keep_grad = (op->acts & TINKER__ACT_KEEP_GRADIENTS) != 0;
  if (op->acts & TINKER__ACT_IGNORE) op->work->adam.learning_rate = 0;
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
  tinker__svc_op_complete(op, TINKER__SVC_OUTCOME_DONE, TINKER__FORMAT_JSON,
                          &out, NULL, NULL, NULL);
  return false;
}

/* --- Tasks ---------------------------------------------------------------- */

/* Decodes the body of an op that was read from the log. It was decoded before,
 * so only lack of memory can fail it. */
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
  if (rc == TINKER_ENOMEM) op->model->stuck = TINKER__SVC_STUCK_TROUBLE;
  tinker__svc_op_drop_log(op);
  return rc;
}

/* True for a call of the log that had no effect on the model, so that a restart
 * does not execute it again. */
static bool skip_replay(const tinker__svc_op_t *op) {
  if (!op->redo) return false;
  switch (op->kind) {
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    return op->state == TINKER__SVC_OP_FAILED || !op->log_size ||
           (op->work && op->work->forward_only);
  case TINKER__SVC_OP_OPTIM: /* refused gradients are gone: that is an effect */
    return op->redo == TINKER__SVC_REDO_UNDONE ||
           (op->state == TINKER__SVC_OP_FAILED && !op->model->train &&
            !op->model->snapshot);
  case TINKER__SVC_OP_CREATE: return op->state == TINKER__SVC_OP_FAILED;
  default: return true; /* saves, and loads that failed */
  }
}

/* Fails a call that the engine crashed in. If its result is known to the client
 * already, the model can't be restored and is broken. */
static void fail_crashed(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  if (!op->redo) {
    tinker__svc_op_fail(op, "server",
                        "the engine crashed in this call (signal %d)",
                        m->service->config.crash_signal);
    return;
  }
  tinker__svc_lock(m->service);
  int rc = tinker__svc_model_break(
      m, "the engine crashed when it executed the log again");
  tinker__svc_unlock(m->service);
  if (rc != 0) tinker__svc_exec_stick(m, rc);
}

/* Fails a call in which the process was killed too often. If it is a call of
 * the log its model is parked, since others may be to blame, and every second
 * start tries it again. */
static void fail_deadly(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  if (!op->redo) {
    tinker__svc_op_fail(op, "server",
                        "the service was killed %d times while it executed "
                        "this call: it may need more memory than there is",
                        TINKER__MAX_DEATHS);
    return;
  }
  tinker__svc_trouble(m, 0,
                      "the service was killed each time it executed its log "
                      "again; the start after the next one tries once more");
}

/* Why the model's calls fail, or NULL. Any thread may set it; it is not freed
 * before the end. */
static const char *broken(tinker__svc_model_t *m) {
  tinker__svc_lock(m->service);
  const char *why = m->broken;
  tinker__svc_unlock(m->service);
  return why;
}

/* Runs one piece of a call; true while there is more. */
static bool run_op(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[300] = "";
  if (op->blame == TINKER__SVC_BLAME_CRASH) {
    fail_crashed(m, op);
    return false;
  }
  if (op->blame == TINKER__SVC_BLAME_DEATHS) {
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
    tinker__svc_exec_pass_end(m); /* broken meanwhile */
    if (!op->redo || !reason) tinker__svc_exec_fail(op, rc, why);
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

static void retire(tinker__svc_model_t *m) {
  tinker__svc_exec_model_free(m);
  tinker__svc_keep_settled(m);
  tinker__svc_lock(m->service);
  tinker__svc_model_retire(m);
  tinker__svc_unlock(m->service);
}

/* Takes the next op. NULL = there is none, and the model is idle, over or out
 * of memory now. If the service must end the model is left as it is, for the
 * next start. */
static tinker__svc_op_t *take_op(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  bool over = false, leaves = false;
  if (atomic_load(&s->fatal)) return NULL;
  tinker__svc_lock(s);
  tinker__svc_op_t *op = m->current;
  if (!op && (op = tinker__svc_model_begin(m)) != NULL) {
    tinker__svc_debug_op(op, "executes");
  }
  if (!op) {
    over = tinker__svc_model_is_over(m);
    leaves = !over && m->state != TINKER__SVC_MODEL_QUEUED;
    if (!over && !leaves) tinker__svc_model_done(m);
  }
  tinker__svc_unlock(s);
  if (leaves) tinker__svc_keep_resting(m);
  if (over) retire(m);
  return op;
}

/* Parks a model whose call can't be executed now, and gives its pass up. A body
 * that was decoded for this turn alone is read from the log again. */
static void park(tinker__svc_model_t *m) {
  tinker__svc_t *s = m->service;
  tinker__svc_exec_pass_end(m);
  if (m->rewinds) {
    tinker__svc_exec_model_free(m);
    tinker__svc_keep_settled(m);
  }
  tinker__svc_lock(s);
  if (m->current->work && !m->current->held) {
    tinker__svc_op_drop_work(m->current);
  }
  if (m->rewinds) m->rests_ms = 0;
  tinker__svc_model_park(m);
  tinker__svc_unlock(s);
}

/* --- Bodies --------------------------------------------------------------- */

/* Called when a body has been read from the log. Store thread. */
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
  } else if (tinker__svc_model_move(m, TINKER__SVC_MODEL_RUNNING) &&
             !s->stopping) {
    tinker__eng_scheduler_push(s->scheduler, &m->task);
  }
  tinker__svc_unlock(s);
}

/* Begins to read the body of op from the log if it is needed and not there.
 * True if so; the model's task is pushed again when the body has been read. */
static bool fetch_body(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  if (op->work || op->log_body || op->blame ||
      op->kind == TINKER__SVC_OP_CREATE || skip_replay(op)) {
    return false;
  }
  if (tinker__svc_claim_log(m, op) != 0) {
    park(m);
    return true;
  }
  tinker__svc_lock(s);
  tinker__svc_model_move(m, TINKER__SVC_MODEL_READING);
  tinker__svc_unlock(s);
  if (tinker__svc_store_read_body(s->store, op->row, on_body, op) != 0) {
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
  int64_t call = op->redo ? TINKER__REDOING(op->row) : op->row;
  atomic_store(s->doing, call);
  m->stuck = TINKER__SVC_NOT_STUCK;
  m->worked = false;
  bool more = run_op(m, op);
  if (m->worked) tinker__svc_keep_worked(m, start);
  if (m->worked && !more && !m->stuck) tinker__svc_keep_due(m, op);
  atomic_store(s->doing, 0);
  tinker__svc_claim_settle(m);
  if (m->stuck) {
    park(m);
    return false;
  }
  if (more) return true;
  tinker__svc_lock(s);
  tinker__svc_op_drop_log(op);
  if (op->redo) tinker__svc_op_drop_work(op); /* no commit does it */
  m->pause_ms = 0;
  m->rests_ms = m->train ? s->world->now_ms(s->world->user) : 0;
  tinker__svc_trying_set(s, call, 0);
  m->current = NULL;
  m->next_seq++;
  tinker__svc_model_done(m);
  tinker__svc_unlock(s);
  return false;
}

const tinker__svc_runner_t tinker__svc_runner = {
    .step = step,
    .sample = tinker__svc_generate,
    .leave = tinker__svc_leave,
};
