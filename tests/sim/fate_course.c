/* fate_course: what happens now, by the script. */
#include <string.h>

#include "sim/fate_in.h"

void sim_course_init(sim_course_t *c, const sim_script_t *script) {
  memset(c, 0, sizeof *c);
  c->script = script;
  c->last_ms = -1;
}

static bool healed(const sim_course_t *c, int64_t now_ms) {
  return c->script->heal_ms > 0 && now_ms >= c->script->heal_ms;
}

static const sim_action_t *happens(sim_course_t *c, int64_t now_ms, size_t i) {
  c->last_ms = now_ms;
  c->happened++;
  return &c->script->actions[i];
}

static bool is_mutation(sim_ask_t ask) {
  return ask == SIM_ASK_FORWARD_BACKWARD || ask == SIM_ASK_OPTIM ||
         ask == SIM_ASK_SAVE || ask == SIM_ASK_LOAD || ask == SIM_ASK_CREATE;
}

static bool fits(const sim_action_t *a, sim_ask_t ask) {
  return a->ask == SIM_ASK_ANY || a->ask == ask ||
         (a->ask == SIM_ASK_MUTATION && is_mutation(ask));
}

/* Acts that happen to a request; the others are due by time. */
static bool is_of_request(const sim_action_t *a) {
  return a->act >= SIM_ACT_REFUSE && a->act <= SIM_ACT_TLS;
}

const sim_action_t *sim_course_request(sim_course_t *c, int64_t now_ms,
                                       int64_t life, const char *method,
                                       const char *path) {
  const sim_script_t *s = c->script;
  sim_ask_t ask = sim_ask_of(method, path);
  c->asked[SIM_ASK_ANY]++;
  c->asked[ask] += ask != SIM_ASK_ANY;
  c->asked[SIM_ASK_MUTATION] += is_mutation(ask);
  if (healed(c, now_ms)) return NULL;
  for (size_t i = 0; i < s->action_count; i++) {
    const sim_action_t *a = &s->actions[i];
    if (!fits(a, ask) || (a->life >= 0 && a->life != life)) continue;
    int64_t n = c->asked[a->ask];
    int64_t times = a->times ? a->times : 1;
    bool now = a->when == SIM_WHEN_REQUEST && n >= a->n && n < a->n + times;
    bool in = a->when == SIM_WHEN_TIME && is_of_request(a) && now_ms >= a->n &&
              now_ms < a->n + a->for_ms;
    if (now || in) return happens(c, now_ms, i);
  }
  return NULL;
}

/* The first action of this kind that waits for n, or has waited. */
static const sim_action_t *once(sim_course_t *c, int64_t now_ms, int64_t life,
                                sim_when_t when, int64_t n) {
  const sim_script_t *s = c->script;
  if (healed(c, now_ms)) return NULL;
  for (size_t i = 0; i < s->action_count; i++) {
    const sim_action_t *a = &s->actions[i];
    if (a->when != when || c->done[i] || a->n != n ||
        (a->life >= 0 && a->life != life)) {
      continue;
    }
    c->done[i] = true;
    return happens(c, now_ms, i);
  }
  return NULL;
}

const sim_action_t *sim_course_step(sim_course_t *c, int64_t now_ms,
                                    int64_t life, int64_t step) {
  return once(c, now_ms, life, SIM_WHEN_STEP, step);
}

const sim_action_t *sim_course_commit(sim_course_t *c, int64_t now_ms,
                                      int64_t life, int64_t step) {
  return once(c, now_ms, life, SIM_WHEN_COMMIT, step);
}

const sim_action_t *sim_course_point(sim_course_t *c, int64_t now_ms,
                                     int64_t life, int64_t point) {
  return once(c, now_ms, life, SIM_WHEN_POINT, point);
}

const sim_action_t *sim_course_sync(sim_course_t *c, int64_t now_ms,
                                    int64_t life, int64_t sync) {
  return once(c, now_ms, life, SIM_WHEN_SYNC, sync);
}

const sim_action_t *sim_course_life(sim_course_t *c, int64_t now_ms,
                                    int64_t life) {
  return once(c, now_ms, life, SIM_WHEN_LIFE, life);
}

static bool waits(const sim_course_t *c, size_t i) {
  const sim_action_t *a = &c->script->actions[i];
  return a->when == SIM_WHEN_TIME && !is_of_request(a) && !c->done[i];
}

const sim_action_t *sim_course_due(sim_course_t *c, int64_t now_ms,
                                   int64_t life) {
  for (size_t i = 0; i < c->script->action_count; i++) {
    const sim_action_t *a = &c->script->actions[i];
    if (!waits(c, i) || now_ms < a->n || (a->life >= 0 && a->life != life)) {
      continue;
    }
    c->done[i] = true;
    if (!healed(c, a->n)) return happens(c, now_ms, i);
  }
  return NULL;
}

int64_t sim_course_next_ms(const sim_course_t *c) {
  int64_t next = INT64_MAX;
  for (size_t i = 0; i < c->script->action_count; i++) {
    int64_t n = c->script->actions[i].n;
    if (waits(c, i) && n < next) next = n;
  }
  return next;
}
