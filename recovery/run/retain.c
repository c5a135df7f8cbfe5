/* retain: does what keep/ says for the run's checkpoints, a bit after each
 * commit. All of it is journaled before it is sent, and whatever fails is said
 * and tried again later: training waits for none of it, and goes on without.
 *
 * Times are of the wall clock as it was when the run was opened, advanced by
 * the boot clock: no step of the wall clock touches a run that is open. */
#include <math.h>
#include <string.h>

#include "run/run.h"

#define CALL_MS 30000
#define LOAD_MS 600000
#define AGAIN_MS 30000 /* after a failure */
#define FINISH_MS 30000
#define LOOK_MS 100
#define ACTIONS 32
#define HELD 3 /* checkpoints that outlive a run's stop */

static int64_t boot_ms(const tinker_run_t *run) {
  return run->world->boot_ms(run->world->user);
}

static int64_t now_ms(const tinker_run_t *run) {
  return run->opened_wall_ms + boot_ms(run) - run->opened_boot_ms;
}

int64_t tinker__rec_expiry(const tinker_run_t *run, int64_t seconds) {
  return seconds < 0 ? TINKER__REC_NEVER : now_ms(run) + 1000 * seconds;
}

/* --- What there is -------------------------------------------------------- */

static bool is_busy(const tinker_run_t *run, const char *name) {
  const tinker__rec_retain_t *r = &run->retain;
  for (size_t i = 0; i < TINKER__REC_CHORES; i++) {
    const tinker__rec_chore_t *c = &r->chores[i];
    if (c->future && strcmp(c->name, name) == 0) return true;
  }
  return r->scratch.client && strcmp(r->scratch.name, name) == 0;
}

static bool is_later(const tinker_run_t *run, const char *name) {
  const tinker__rec_retain_t *r = &run->retain;
  for (size_t i = 0; i < TINKER__REC_LATER; i++) {
    if (strcmp(r->later[i].name, name) == 0) {
      return boot_ms(run) < r->later[i].until_ms;
    }
  }
  return false;
}

static tinker__rec_keep_ckpt_t fact_of(const tinker_run_t *run,
                                       const tinker__rec_ckpt_t *c) {
  const char *from = run->state.from_path;
  return (tinker__rec_keep_ckpt_t){.step = c->step,
                                   .expires_ms = c->expires_ms,
                                   .marked_ms = c->marked_ms,
                                   .metric = NAN,
                                   .provable = c->probe_count > 0,
                                   .validated = c->level >= 3,
                                   .quarantined = c->quarantined,
                                   .in_use = from && !strcmp(c->path, from),
                                   .deleting = c->deleting,
                                   .busy = is_busy(run, c->name),
                                   .later = is_later(run, c->name)};
}

bool tinker__rec_usable(const tinker_run_t *run, const tinker__rec_ckpt_t *c) {
  tinker__rec_keep_ckpt_t fact = fact_of(run, c);
  return !c->deleted && tinker__rec_keep_usable(&fact, now_ms(run));
}

/* The checkpoints that are there, with their facts in the same order. */
typedef struct {
  tinker__rec_ckpt_t **ckpts;
  tinker__rec_keep_facts_t facts;
} there_t;

static int gather(tinker_run_t *run, there_t *t) {
  size_t n = 0;
  memset(t, 0, sizeof *t);
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    n += !TINKER__CONTAINER(l, tinker__rec_ckpt_t, link)->deleted;
  }
  t->ckpts = tinker__mem_array(&run->mem, n, sizeof(tinker__rec_ckpt_t *));
  t->facts.ckpts = tinker__mem_array(&run->mem, n, sizeof *t->facts.ckpts);
  if (!t->ckpts || !t->facts.ckpts) return TINKER_ENOMEM;
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (c->deleted) continue;
    t->ckpts[t->facts.count] = c;
    t->facts.ckpts[t->facts.count++] = fact_of(run, c);
  }
  t->facts.now_ms = now_ms(run);
  t->facts.incident =
      run->state.incident != 0 || run->phase != TINKER__REC_RUN_READY;
  return 0;
}

static void there_free(tinker_run_t *run, there_t *t) {
  tinker__mem_free(&run->mem, t->ckpts);
  tinker__mem_free(&run->mem, t->facts.ckpts);
}

static tinker__rec_keep_policy_t policy_of(const tinker_run_t *run) {
  const tinker_run_options_t *o = &run->options;
  int64_t steps = run->plan.steps;
  double part = run->ruled.every_fraction;
  return (tinker__rec_keep_policy_t){
      .last = o->keep_last,
      .min_validated = run->ruled.min_validated,
      .every_steps = steps > 0 ? (int64_t)ceil(part * (double)steps) : 0,
      .first = run->ruled.keep_first,
      .final_step = steps > 0 ? steps : -1,
      .ttl_s = o->ttl_seconds,
      .delay_ms = o->delete_delay_ms};
}

/* --- Outcomes ------------------------------------------------------------- */

static int note(tinker_run_t *run, tinker__rec_type_t type, int64_t step,
                const tinker__rec_facts_t *facts) {
  return tinker__rec_note(run, NULL, type, step, facts, tinker__str(""));
}

static void failed(tinker_run_t *run, tinker__rec_keep_kind_t kind,
                   const char *name, int code, const char *why) {
  static const char *const names[] = {"renew", "validate", "mark", "delete"};
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  run->retain.again_ms[kind] = boot_ms(run) + AGAIN_MS;
  facts.count = ++run->retain.failed[kind];
  facts.name = tinker__str(name);
  facts.cause = tinker__str(names[kind]);
  facts.code = code;
  facts.why = tinker__str(why);
  tinker__rec_say(run, "keep_failed", run->state.committed, &facts);
}

static void refuse(tinker_run_t *run, const tinker__rec_ckpt_t *c,
                   const char *why) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.name = tinker__str(c->name);
  facts.evidence = tinker__str(why);
  note(run, TINKER__REC_CKPT_QUARANTINED, c->step, &facts);
  tinker__rec_say(run, "checkpoint_refused", c->step, &facts);
}

/* The service has answered. One that it does not have is no candidate any more,
 * and a deletion has nothing left to do. */
static void end_chore(tinker_run_t *run, tinker__rec_chore_t *c) {
  tinker__rec_fault_t f = {0};
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__rec_ckpt_t *ckpt = tinker__rec_state_ckpt(&run->state, c->name);
  bool deletes = c->kind == TINKER__REC_KEEP_DELETE;
  int rc = tinker__rec_await(c->future, &f);
  c->future = tinker_future_release(c->future);
  facts.name = tinker__str(c->name);
  facts.end = 0;
  if (rc == TINKER_ENOENT && !deletes && ckpt) refuse(run, ckpt, f.why);
  if (rc != 0 && !(rc == TINKER_ENOENT && deletes)) {
    failed(run, c->kind, c->name, rc, f.why);
    return;
  }
  run->retain.failed[c->kind] = 0;
  if (!deletes) {
    facts.expires_ms = c->expires_ms == TINKER__REC_NEVER ? -1 : c->expires_ms;
  }
  note(run, deletes ? TINKER__REC_CKPT_DELETED : TINKER__REC_CKPT_TTL,
       ckpt ? ckpt->step : TINKER__REC_NO_STEP, &facts);
  tinker__rec_say(run, deletes ? "checkpoint_deleted" : "checkpoint_renewed",
                  ckpt ? ckpt->step : TINKER__REC_NO_STEP, &facts);
}

/* --- Proof by a load ------------------------------------------------------ */

static void begin_scratch(tinker_run_t *run, const tinker__rec_ckpt_t *c) {
  tinker__rec_scratch_t *s = &run->retain.scratch;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_error_t *error = NULL;
  int rc = tinker_client_new(&s->client, &run->client_options, &error);
  if (rc != 0) {
    failed(run, TINKER__REC_KEEP_VALIDATE, c->name, rc,
           tinker_error_message(error));
    tinker_error_release(error);
    return;
  }
  tinker__why(s->name, sizeof s->name, 0, "%s", c->name);
  call.timeout_ms = LOAD_MS;
  s->future =
      tinker_client_create_trainer_from_state(s->client, c->path, 1, &call);
}

/* Its session is finished by its end. */
static void close_scratch(tinker__rec_scratch_t *s) {
  tinker_future_release(s->future);
  s->trainer = tinker_trainer_release(s->trainer);
  s->future = tinker_client_close(s->client, NULL);
  s->closing = true;
}

static void judge_scratch(tinker_run_t *run, const tinker__rec_ckpt_t *c) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  char why[TINKER__REC_WHY];
  tinker__buf_t found;
  tinker__buf_init(&found, &run->mem, 1 << 20);
  int rc = tinker__rec_probe_read(run->retain.scratch.future, &found);
  double d = tinker__rec_probe_differ(c->probe, c->probe_count,
                                      (const float *)(void *)found.data,
                                      found.len / sizeof(float));
  tinker__buf_free(&found);
  facts.name = tinker__str(c->name);
  facts.level = 3;
  facts.evidence = tinker__str("fingerprint of a scratch model");
  if (rc != 0) {
    failed(run, TINKER__REC_KEEP_VALIDATE, c->name, rc, "no fingerprint");
  } else if (d <= 6 * c->noise) {
    run->retain.failed[TINKER__REC_KEEP_VALIDATE] = 0;
    note(run, TINKER__REC_CKPT_LEVEL, c->step, &facts);
    tinker__rec_say(run, "checkpoint_proven", c->step, &facts);
  } else {
    tinker__why(why, sizeof why, 0,
                "a load of it is not what was saved: its answers to the probe "
                "set differ by %a, allowed is %a",
                d, 6 * c->noise);
    refuse(run, c, why);
  }
}

/* If the service could be asked, it is this checkpoint's trouble: the others
 * need not wait for it. */
static void unproven(tinker_run_t *run, int code,
                     const tinker__rec_fault_t *f) {
  tinker__rec_retain_t *r = &run->retain;
  failed(run, TINKER__REC_KEEP_VALIDATE, r->scratch.name, code, f->why);
  if (f->unknown) return;
  size_t at = 0;
  while (at < TINKER__REC_LATER &&
         strcmp(r->later[at].name, r->scratch.name) != 0) {
    at++;
  }
  if (at == TINKER__REC_LATER) at = r->later_at++ % TINKER__REC_LATER;
  tinker__why(r->later[at].name, sizeof r->later[at].name, 0, "%s",
              r->scratch.name);
  r->later[at].until_ms = r->again_ms[TINKER__REC_KEEP_VALIDATE];
  r->again_ms[TINKER__REC_KEEP_VALIDATE] = 0;
}

/* What was waited for has ended: the next part. */
static void go_on(tinker_run_t *run) {
  tinker__rec_scratch_t *s = &run->retain.scratch;
  tinker__rec_fault_t f = {0};
  const tinker__rec_ckpt_t *c = tinker__rec_state_ckpt(&run->state, s->name);
  int rc = s->closing ? 0 : tinker__rec_await(s->future, &f);
  if (s->closing) {
    tinker_future_release(s->future);
    tinker_client_release(s->client);
    memset(s, 0, sizeof *s);
    return;
  }
  if (rc == TINKER_ENOENT && c && !s->trainer) refuse(run, c, f.why);
  if (rc == 0 && c && !s->trainer) {
    rc = tinker_future_get_trainer(s->future, &s->trainer);
    if (rc == 0) {
      tinker_future_release(s->future);
      s->future = tinker__rec_probe(s->trainer, 0, false);
      return;
    }
  }
  if (rc == 0 && c) judge_scratch(run, c);
  if (rc != 0) unproven(run, rc, &f);
  close_scratch(s);
}

/* --- What is begun -------------------------------------------------------- */

static tinker__rec_chore_t *free_chore(tinker_run_t *run) {
  for (size_t i = 0; i < TINKER__REC_CHORES; i++) {
    if (!run->retain.chores[i].future) return &run->retain.chores[i];
  }
  return NULL;
}

static void begin_renew(tinker_run_t *run, tinker__rec_chore_t *chore,
                        const tinker__rec_ckpt_t *c, int64_t seconds) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  chore->expires_ms = tinker__rec_expiry(run, seconds);
  facts.name = tinker__str(c->name);
  facts.seconds = seconds;
  facts.expires_ms = seconds < 0 ? -1 : chore->expires_ms;
  if (note(run, TINKER__REC_CKPT_TTL, c->step, &facts) != 0) return;
  call.timeout_ms = CALL_MS;
  chore->future = tinker_client_set_checkpoint_ttl(
      run->home, c->path, seconds < 0 ? TINKER_NO_TTL : seconds, &call);
}

static void begin_delete(tinker_run_t *run, tinker__rec_chore_t *chore,
                         const tinker__rec_ckpt_t *c) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  facts.name = tinker__str(c->name);
  facts.path = tinker__str(c->path);
  if (!c->deleting &&
      note(run, TINKER__REC_CKPT_DELETED, c->step, &facts) != 0) {
    return;
  }
  call.timeout_ms = CALL_MS;
  chore->future = tinker_client_delete_checkpoint(run->home, c->path, &call);
}

static bool mark(tinker_run_t *run, const tinker__rec_ckpt_t *c) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.name = tinker__str(c->name);
  facts.at_ms = now_ms(run);
  return note(run, TINKER__REC_CKPT_TOMBSTONE, c->step, &facts) == 0;
}

static void begin(tinker_run_t *run, const tinker__rec_keep_action_t *a,
                  const tinker__rec_ckpt_t *c) {
  if (boot_ms(run) < run->retain.again_ms[a->kind]) return;
  if (a->kind == TINKER__REC_KEEP_VALIDATE) {
    if (!run->retain.scratch.client) begin_scratch(run, c);
    return;
  }
  tinker__rec_chore_t *chore = free_chore(run);
  if (!chore) return;
  chore->kind = a->kind;
  tinker__why(chore->name, sizeof chore->name, 0, "%s", c->name);
  if (a->kind == TINKER__REC_KEEP_RENEW) {
    begin_renew(run, chore, c, a->seconds);
  } else {
    begin_delete(run, chore, c);
  }
}

static void settle(tinker_run_t *run) {
  tinker__rec_retain_t *r = &run->retain;
  for (size_t i = 0; i < TINKER__REC_CHORES; i++) {
    tinker__rec_chore_t *c = &r->chores[i];
    if (c->future && tinker_future_wait(c->future, 0) != TINKER_EAGAIN) {
      end_chore(run, c);
    }
  }
  if (r->scratch.client &&
      tinker_future_wait(r->scratch.future, 0) != TINKER_EAGAIN) {
    go_on(run);
  }
}

/* Marks are followed by what they make possible. Returns how many were made. */
static size_t plan(tinker_run_t *run) {
  const tinker__rec_keep_policy_t policy = policy_of(run);
  tinker__rec_keep_action_t actions[ACTIONS];
  size_t marks = 0;
  there_t t;
  if (gather(run, &t) == 0) {
    size_t n = tinker__rec_keep_plan(&policy, &t.facts, actions, ACTIONS);
    for (size_t i = 0; i < n; i++) {
      const tinker__rec_ckpt_t *c = t.ckpts[actions[i].index];
      if (actions[i].kind != TINKER__REC_KEEP_MARK) {
        begin(run, &actions[i], c);
      } else if (mark(run, c)) {
        marks++;
      }
    }
  }
  there_free(run, &t);
  return marks;
}

void tinker__rec_retain(tinker_run_t *run) {
  settle(run);
  plan(run);
}

/* --- The end -------------------------------------------------------------- */

static tinker_future_t *under_way(const tinker_run_t *run) {
  const tinker__rec_retain_t *r = &run->retain;
  for (size_t i = 0; i < TINKER__REC_CHORES; i++) {
    if (r->chores[i].future) return r->chores[i].future;
  }
  return r->scratch.future;
}

void tinker__rec_retain_finish(tinker_run_t *run) {
  int64_t end = boot_ms(run) + FINISH_MS;
  while (boot_ms(run) < end && !atomic_load(&run->closing)) {
    settle(run);
    size_t marks = plan(run);
    tinker_future_t *f = under_way(run);
    if (f) tinker_future_wait(f, LOOK_MS);
    if (!f && !marks) return;
  }
}

/* The newest before `step` that expires; NULL = none. */
static tinker__rec_ckpt_t *expiring(tinker_run_t *run, int64_t step) {
  tinker__rec_ckpt_t *best = NULL;
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (c->expires_ms == TINKER__REC_NEVER || !*c->path || c->step >= step ||
        !tinker__rec_usable(run, c) || is_busy(run, c->name)) {
      continue;
    }
    if (!best || c->step > best->step) best = c;
  }
  return best;
}

void tinker__rec_retain_hold(tinker_run_t *run) {
  tinker__rec_ckpt_t *c = expiring(run, INT64_MAX);
  for (int i = 0; c && i < HELD; i++, c = expiring(run, c->step)) {
    tinker__rec_chore_t chore = {.kind = TINKER__REC_KEEP_RENEW};
    tinker__why(chore.name, sizeof chore.name, 0, "%s", c->name);
    begin_renew(run, &chore, c, -1);
    if (chore.future) end_chore(run, &chore);
  }
}

void tinker__rec_retain_end(tinker_run_t *run) {
  tinker__rec_retain_t *r = &run->retain;
  for (size_t i = 0; i < TINKER__REC_CHORES; i++) {
    r->chores[i].future = tinker_future_release(r->chores[i].future);
  }
  r->scratch.future = tinker_future_release(r->scratch.future);
  r->scratch.trainer = tinker_trainer_release(r->scratch.trainer);
  r->scratch.client = tinker_client_release(r->scratch.client);
}
