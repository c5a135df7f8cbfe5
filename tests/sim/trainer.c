/* trainer: see trainer.h. The first thread of a child, and the run's for its
 * events. */
#include "sim/trainer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tinker/recovery.h>

#include "sim/host.h"

enum { MOST_PARTS = 8, MOST_AHEAD = 8, MOST_DATA = 128, LENGTH = 12 };

typedef struct {
  int64_t step;
  size_t parts;
  tinker_future_t *forward[MOST_PARTS];
  tinker_future_t *commit;
} begun_t;

typedef struct {
  const sim_program_t *program;
  const sim_trainer_t *plan;
  tinker_run_t *run;
  begun_t begun[MOST_AHEAD];
  int64_t count; /* of begun */
  int64_t patience;
} loop_t;

sim_word_t sim_tell(const sim_shadow_t *line, const char *text, size_t len) {
  char *answer;
  sim_message_t m = {.what = SIM_SAY_SHADOW,
                     .len = (uint32_t)len,
                     .a = line->kind,
                     .b = line->step,
                     .c = line->kind == SIM_SHADOW_NEXT ? line->rolled_back
                                                        : line->code,
                     .loss = line->loss};
  sim_host_point();
  sim_word_t word = (sim_word_t)sim_host_ask(&m, text, &answer).a;
  sim_host_point();
  return word;
}

static void tell(sim_shadow_kind_t kind, int64_t step, int code) {
  sim_shadow_t line = {.kind = kind, .step = step, .code = code};
  sim_tell(&line, NULL, 0);
}

static sim_word_t tell_next(const tinker_run_step_t *step) {
  sim_shadow_t line = {.kind = SIM_SHADOW_NEXT,
                       .step = step->step,
                       .rolled_back = step->rolled_back};
  return sim_tell(&line, NULL, 0);
}

static sim_word_t tell_failed(int64_t step, int code,
                              const tinker_error_t *error) {
  sim_shadow_t line = {.kind = SIM_SHADOW_FAILED, .step = step, .code = code};
  const char *text = error ? tinker_error_message(error) : "";
  return sim_tell(&line, text, strlen(text));
}

static void on_event(void *user, const char *text, size_t len) {
  sim_shadow_t line = {.kind = SIM_SHADOW_EVENT};
  (void)user;
  sim_tell(&line, text, len);
}

static void pause_ms(int64_t ms) {
  struct timespec t = {ms / 1000, ms % 1000 * 1000000};
  if (ms > 0) nanosleep(&t, NULL);
}

/* --- The run -------------------------------------------------------------- */

static bool has_changed(const sim_program_t *p) {
  return p->plan->changes_life >= 0 && p->life >= p->plan->changes_life;
}

static tinker_run_t *open_run(const sim_program_t *p) {
  const sim_trainer_t *t = p->plan;
  tinker_run_t *run = NULL;
  tinker_error_t *error = NULL;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t o = TINKER_RUN_OPTIONS_INIT;
  tinker_client_options_t client = TINKER_CLIENT_OPTIONS_INIT;
  adam.learning_rate = 0.01;
  if (t->other_plan && has_changed(p)) adam.learning_rate = 0.5;
  plan.base_model = SIM_BASE_MODEL;
  plan.rank = 4;
  plan.seed = 1;
  plan.steps = t->steps;
  plan.data = t->fresh;
  plan.adam = &adam;
  client.base_url = "http://127.0.0.1:9";
  client.api_key = SIM_KEY;
  o.state_dir = p->folder;
  o.name = SIM_RUN;
  o.plan = &plan;
  o.client = &client;
  o.checkpoint_every = t->every;
  o.attempts = (int32_t)t->attempts;
  o.allow_step_zero = t->zero;
  o.gate = t->strict;
  o.keep_last = t->keep;
  o.delete_delay_ms = t->delay_ms;
  o.ttl_seconds = t->ttl_seconds;
  o.watch_ms = t->watch_ms;
  o.event_cb = on_event;
  int rc = tinker_run_open(&run, &o, &error);
  if (rc) tell_failed(0, rc, error);
  tinker_error_release(error);
  return run;
}

/* --- A step --------------------------------------------------------------- */

static tinker_datum_t *example(int64_t step, int64_t part, int64_t i) {
  int32_t tokens[LENGTH];
  float weights[LENGTH];
  tinker_datum_t *datum = NULL;
  for (int64_t k = 0; k < LENGTH; k++) {
    tokens[k] =
        (int32_t)((k * 7 + step * 13 + part * 5 + i * 3 + k * k * step) % 32);
    weights[k] = 1.0f;
  }
  int rc =
      tinker_datum_new_supervised(&datum, tokens, weights, LENGTH, NULL, NULL);
  return rc ? NULL : datum;
}

static tinker_future_t *batch(const loop_t *l, int64_t step, int64_t part) {
  tinker_datum_t *data[MOST_DATA];
  int64_t n = l->plan->big < 1           ? 1
              : l->plan->big > MOST_DATA ? MOST_DATA
                                         : l->plan->big;
  bool other = l->plan->other_data && has_changed(l->program);
  for (int64_t i = 0; i < n; i++) {
    data[i] = example(step + (other ? 1000 : 0), part, i);
  }
  tinker_future_t *f =
      tinker_run_forward_backward(l->run, data, (size_t)n, NULL, NULL);
  for (int64_t i = 0; i < n; i++) tinker_datum_release(data[i]);
  return f;
}

static void begin(loop_t *l, const tinker_run_step_t *step) {
  begun_t *b = &l->begun[l->count++];
  int64_t cursor = step->step;
  b->step = step->step;
  b->parts = 0;
  for (int64_t part = 0; part < l->plan->parts; part++) {
    b->forward[b->parts++] = (size_t)part < step->forward_count
                                 ? tinker_future_retain(step->forward[part])
                                 : batch(l, step->step, part);
  }
  tinker_future_t *optim = step->optim
                               ? tinker_future_retain(step->optim)
                               : tinker_run_optim_step(l->run, NULL, NULL);
  b->commit = tinker_run_commit(l->run, &cursor, sizeof cursor, NULL);
  tinker_future_release(optim);
}

static void drop_first(loop_t *l) {
  begun_t *b = &l->begun[0];
  for (size_t i = 0; i < b->parts; i++) tinker_future_release(b->forward[i]);
  tinker_future_release(b->commit);
  memmove(b, b + 1, (size_t)--l->count * sizeof *b);
}

/* Waits for the oldest step; if it has failed, all that were begun have. */
static int end(loop_t *l) {
  begun_t *b = &l->begun[0];
  sim_shadow_t line = {.kind = SIM_SHADOW_COMMIT, .step = b->step};
  int rc = tinker_future_wait(b->commit, -1);
  for (size_t i = 0; rc == 0 && i < b->parts; i++) {
    double loss = 0;
    tinker_future_wait(b->forward[i], -1);
    tinker_future_loss(b->forward[i], &loss);
    line.loss += loss;
  }
  if (rc) {
    tell_failed(b->step, rc, tinker_future_error(b->commit));
  } else {
    sim_tell(&line, NULL, 0);
  }
  drop_first(l);
  while (rc && l->count > 0) drop_first(l);
  return rc;
}

/* --- The loop ------------------------------------------------------------- */

/* A run that has stopped says the same for ever; one that goes on in another
 * process does not. */
static bool has_stopped(int rc, const tinker_error_t *error) {
  return rc == TINKER_ESTATE &&
         strstr(tinker_error_message(error), "the run was stopped");
}

/* After next has failed: is it to be asked again? */
static bool goes_on(loop_t *l, int rc, const tinker_error_t *error) {
  sim_word_t word = tell_failed(0, rc, error);
  while (l->count > 0) drop_first(l);
  if (word == SIM_WORD_RESUME) {
    return tinker_run_resume(l->run, "somebody has looked at it") == 0;
  }
  if (rc == TINKER_ESTATE || l->patience-- <= 0) return false;
  pause_ms(l->plan->again_ms);
  return true;
}

/* What is to be done next; 0, or an exit status. */
static int do_step(loop_t *l, const tinker_run_step_t *step) {
  if (step->done) return 0;
  if (tell_next(step) == SIM_WORD_LEAVE) return SIM_STATUS_LEFT;
  pause_ms(l->plan->pause_ms);
  begin(l, step);
  return 0;
}

static int run_loop(loop_t *l) {
  const tinker_run_step_t *step;
  for (;;) {
    tinker_future_t *next = tinker_run_next(l->run, NULL);
    int rc = tinker_future_wait(next, -1);
    bool again = rc && goes_on(l, rc, tinker_future_error(next));
    if (rc == 0) rc = tinker_future_get_run_step(next, &step);
    int status = rc == 0 ? do_step(l, step)
                 : has_stopped(rc, tinker_future_error(next))
                     ? SIM_STATUS_STOPPED
                     : SIM_STATUS_GAVE_UP;
    bool done = status == 0 && step->done, failed = false;
    tinker_future_release(next);
    if (again) continue;
    if (status) return status;
    while (l->count > 0 && (done || l->count >= l->plan->ahead)) {
      if (end(l)) failed = true;
    }
    if (failed && l->patience-- <= 0) return 1;
    if (done && !failed) return 0;
  }
}

int sim_trainer_main(const sim_program_t *program) {
  loop_t l = {.program = program,
              .plan = program->plan,
              .patience = program->plan->patience};
  tell(SIM_SHADOW_BORN, 0, 0);
  l.run = open_run(program);
  if (!l.run) return SIM_STATUS_GAVE_UP;
  int rc = run_loop(&l);
  while (l.count > 0) drop_first(&l);
  if (rc == 0) tell(SIM_SHADOW_DONE, 0, 0);
  tinker_run_release(l.run);
  return rc;
}
