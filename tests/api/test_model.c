/* Random orders of everything that a program and a service can do to a client:
 * calls of all kinds, refused ones, with and without callback, detached, with
 * deadlines; cancel, release, next, waits; answers that are late, lost,
 * refused, nonsense; drain, close, release. Of each order the following has to
 * hold:
 *
 * - each callback runs exactly once, never before its call has returned;
 * - each operation without a callback is handed out exactly once by next,
 * unless nobody holds it any more;
 * - each future ends, and no memory is left;
 * - a number that is sent again carries the same bytes, numbers have no hole,
 *   and optim_steps that succeed have rising numbers in the order of the calls;
 * - what is said not to have happened was not accepted by the service.
 *
 * The number of orders and the seed are variables of the environment; what
 * fails names its order, which can then be run alone:
 *
 *   TINKER_MODEL_ORDERS=1000000 TINKER_MODEL_SEED=7 TINKER_MODEL_ORDER=1234 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"

/* A build with sanitizers takes ten times as long. */
enum { ORDERS = TINKER_TEST_ASSERTS ? 1000 : 10000 };
enum { CALLS = 96, HANDLES = 8, NUMBERS = 256, DATA = 3 };

/* One call of the program. */
typedef struct made_s {
  tinker_future_t *future; /* our reference, or NULL */
  tinker_kind_t kind;
  int model; /* of its trainer, -1 = none */
  bool calls_back;
  bool in_call; /* it has not returned yet */
  bool gone;    /* nobody holds it: next may leave it out */
  int called, taken;
  int status;
} made_t;

/* A number that the service has seen. */
typedef struct number_s {
  int model;
  long seq;
  uint64_t hash;
  bool accepted;
} number_t;

static rig_t rig;
static uint64_t state, order;
static made_t calls[CALLS];
static size_t call_count;
static tinker_trainer_t *trainers[HANDLES];
static tinker_sampler_t *samplers[HANDLES];
static size_t trainer_count, sampler_count;
static number_t numbers[NUMBERS];
static size_t number_count;
static tinker_datum_t **data;
static tinker_input_t *prompt;
static bool over, chunked; /* over: drained or closed */
static struct {
  size_t well, failed, refused, next, unknown, again, canceled, timed_out;
} met;

#define holds(ok_)                                                             \
  cr_assert((ok_), "order %llu: %s", (unsigned long long)order, #ok_)

static size_t draw(size_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (size_t)(state >> 11) % n;
}

static bool one_in(size_t n) {
  return draw(n) == 0;
}

/* --- the service --- */

static int model_in(const char *body, size_t len) {
  static const char mark[] = "s1:train:";
  for (size_t i = 0; i + sizeof mark <= len; i++) {
    if (!memcmp(body + i, mark, sizeof mark - 1)) {
      return atoi(body + i + sizeof mark - 1);
    }
  }
  return -1;
}

static uint64_t hash_of(const char *body, size_t len) {
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < len; i++) {
    h = (h ^ (unsigned char)body[i]) * 1099511628211u;
  }
  return h;
}

static number_t *find(int model, long seq) {
  for (size_t i = 0; i < number_count; i++) {
    if (numbers[i].model == model && numbers[i].seq == seq) return &numbers[i];
  }
  return NULL;
}

/* NULL for a request that has no number of a model. */
static number_t *note(const script_request_t *q) {
  if (!q->numbered || !strcmp(q->path, ASAMPLE)) return NULL;
  long seq = rig_seq(q);
  int model = model_in(q->body, q->body_len);
  if (seq < 0 || model < 0) return NULL;
  number_t *n = find(model, seq);
  uint64_t hash = hash_of(q->body, q->body_len);
  if (n) {
    met.again++;
    holds(n->hash == hash);
    return n;
  }
  holds(number_count < NUMBERS);
  n = &numbers[number_count++];
  *n = (number_t){.model = model, .seq = seq, .hash = hash};
  return n;
}

#define WEIGHS(n_, ...)                                                        \
  for (size_t i_ = 0; i_ < (n_); i_++) *at++ = (script_reply_t)__VA_ARGS__

/* What disturbs any request and says nothing about it. */
static void disturb(script_reply_t *reply) {
  static script_reply_t ways[32];
  static size_t count;
  if (!count) {
    script_reply_t *at = ways;
    WEIGHS(8, {.error = TINKER_ETRANSPORT, .sent = true});
    WEIGHS(4, {.error = TINKER_ECONNECT});
    WEIGHS(4, {.status = 503, .body = "down"});
    WEIGHS(2, {.status = 408});
    WEIGHS(3, {.status = 429, .retry_after_ms = 1500, .body = DETAIL("slow")});
    WEIGHS(1, {.status = 429, .body = DETAIL("slow"), .should_retry = -1});
    WEIGHS(2, {.delay_ms = -1});
    WEIGHS(1, {.status = 402, .body = DETAIL("pay")});
    WEIGHS(2, {.body = "<html>", .content_type = "text/html"});
    WEIGHS(1, {.status = 404, .body = "no page"});
    WEIGHS(1, {.body = "{}"});
    count = (size_t)(at - ways);
  }
  *reply = ways[draw(count)];
}

/* What the service says to a request that it does not take. */
static void refuse(script_reply_t *reply) {
  static const script_reply_t ways[] = {
      {.status = 400, .body = DETAIL("bad")},
      {.status = 422, .body = DETAIL("no")},
      {.status = 409, .body = DETAIL("other")},
      {.status = 404, .body = DETAIL("model x not found")},
      {.status = 401, .body = DETAIL("who")},
      {.status = 413, .body = DETAIL("large")}};
  *reply = ways[draw(sizeof ways / sizeof ways[0])];
}

static void answer_poll(script_reply_t *reply) {
  static const script_reply_t ways[] = {
      {.body = "{\"type\":\"try_again\",\"request_id\":\"x\","
               "\"queue_state\":\"active\"}"},
      {.body = "{\"type\":\"try_again\",\"request_id\":\"x\","
               "\"queue_state\":\"paused_capacity\"}",
       .delay_ms = 2000},
      {.status = 408, .body = "{\"queue_state\":\"paused_rate_limit\"}"},
      {.status = 410, .body = DETAIL("gone")},
      {.body = "{\"error\":\"no\",\"category\":\"user\"}"},
      {.body = "{\"error\":\"no\",\"category\":\"server\"}"}};
  if (one_in(3)) {
    disturb(reply);
  } else if (one_in(4)) {
    *reply = ways[draw(sizeof ways / sizeof ways[0])];
  }
}

static void meddle(void *user, const script_request_t *q,
                   script_reply_t *reply) {
  (void)user;
  number_t *n = note(q);
  reply->delay_ms = one_in(3) ? (int64_t)draw(3000) : 0;
  if (!strcmp(q->path, RETRIEVE)) {
    answer_poll(reply);
    return;
  }
  if (one_in(12) && (!n || !n->accepted) && !strstr(q->path, "session")) {
    refuse(reply);
  } else if (one_in(4)) {
    disturb(reply);
  }
  bool lost = reply->error == TINKER_ETRANSPORT || reply->delay_ms < 0;
  if (n && (lost || (!reply->error && !reply->status))) n->accepted = true;
}

/* --- the program --- */

static void submit(void);
static void cancel_one(void);

static void ended_one(tinker_future_t *f, int status, void *user) {
  made_t *m = user;
  holds(!m->in_call);
  holds(tinker_future_user(f) == user && tinker_future_kind(f) == m->kind);
  holds(tinker_future_status(f) == status);
  m->called++;
  m->status = status;
  if (one_in(8)) submit();
  if (one_in(8)) cancel_one();
}

static tinker_call_options_t options_of(made_t *m) {
  static const int64_t times[] = {
      TINKER_TIMEOUT_DEFAULT, TINKER_NO_TIMEOUT, 0, 1, 500, 5000, 60000, -7};
  tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
  m->calls_back = draw(2);
  if (m->calls_back) o.cb = ended_one;
  o.user = m;
  o.detached = one_in(4);
  if (one_in(2)) o.timeout_ms = times[draw(8)];
  return o;
}

static tinker_future_t *call_trainer(made_t *m,
                                     const tinker_call_options_t *o) {
  static const int64_t bad_ttl = 5;
  tinker_trainer_t *t = trainers[draw(trainer_count)];
  tinker_save_options_t save = TINKER_SAVE_OPTIONS_INIT;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  m->model = model_in(tinker_trainer_model_id(t),
                      strlen(tinker_trainer_model_id(t)) + 1);
  if (one_in(20)) save.ttl_seconds = bad_ttl;
  if (one_in(20)) adam.beta1 = 2;
  switch (draw(8)) {
  case 0:
  case 1:
    m->kind = TINKER_KIND_FORWARD_BACKWARD;
    return tinker_trainer_forward_backward(t, data, draw(DATA + 1), NULL, o);
  case 2:
  case 3:
    m->kind = TINKER_KIND_OPTIM_STEP;
    return tinker_trainer_optim_step(t, &adam, o);
  case 4:
    m->kind = TINKER_KIND_FORWARD;
    return tinker_trainer_forward(t, data, 1 + draw(DATA), NULL, o);
  case 5:
    m->kind = TINKER_KIND_SAVE_STATE;
    return tinker_trainer_save_state(t, "a", &save, o);
  case 6: m->kind = TINKER_KIND_GET_INFO; return tinker_trainer_get_info(t, o);
  default:
    m->kind = one_in(2) ? TINKER_KIND_SAVE_WEIGHTS_FOR_SAMPLER
                        : TINKER_KIND_CREATE_SAMPLER;
    return m->kind == TINKER_KIND_CREATE_SAMPLER
               ? tinker_trainer_create_sampler(t, o)
               : tinker_trainer_save_weights_for_sampler(t, "b", &save, o);
  }
}

static tinker_future_t *call_client(made_t *m, const tinker_call_options_t *o) {
  tinker_trainer_options_t model = TINKER_TRAINER_OPTIONS_INIT;
  switch (draw(7)) {
  case 5:
    m->kind = TINKER_KIND_LIST_RUNS;
    return tinker_client_list_runs(rig.client, NULL, o);
  case 6:
    m->kind = TINKER_KIND_DELETE_CHECKPOINT;
    return tinker_client_delete_checkpoint(
        rig.client, one_in(10) ? "" : "tinker://r/weights/a", o);
  case 0:
    m->kind = TINKER_KIND_GET_CAPABILITIES;
    return tinker_client_get_capabilities(rig.client, o);
  case 1: m->kind = TINKER_KIND_DUMP; return tinker_client_dump(rig.client, o);
  case 2:
    m->kind = TINKER_KIND_CREATE_SAMPLER;
    return tinker_client_create_sampler(rig.client, "tiny", o);
  default:
    m->kind = TINKER_KIND_CREATE_TRAINER;
    model.base_model = one_in(10) ? "" : "tiny";
    return tinker_client_create_trainer(rig.client, &model, o);
  }
}

/* Enters a call and takes what it returned. */
static void begun(made_t *m, tinker_future_t *f,
                  const tinker_call_options_t *o) {
  bool constant = tinker_future_kind(f) == TINKER_KIND_NONE;
  bool kept = constant && tinker_future_status(f) == TINKER_EAGAIN;
  m->in_call = false;
  holds(f != NULL);
  holds(tinker_future_runs_callback(f) ==
        (m->calls_back && (kept || !constant)));
  if (constant && !kept) { /* nothing is delivered for it */
    holds(tinker_future_status(f) == TINKER_ECLOSED && over);
    m->called = m->taken = 1;
    m->gone = true;
    return;
  }
  holds(kept == (o->detached != 0));
  if (!constant && tinker_future_status(f) != TINKER_EAGAIN) met.refused++;
  m->future = constant ? NULL : f;
}

static void submit(void) {
  if (call_count + 1 >= CALLS) return;
  made_t *m = &calls[call_count++];
  *m = (made_t){.model = -1, .in_call = true};
  tinker_call_options_t o = options_of(m);
  tinker_future_t *f;
  size_t p = draw(10);
  if (p < 6 && trainer_count) {
    f = call_trainer(m, &o);
  } else if (p < 8 && sampler_count) {
    m->kind = TINKER_KIND_SAMPLE;
    f = tinker_sampler_sample(samplers[draw(sampler_count)],
                              one_in(10) ? NULL : prompt, NULL, &o);
  } else {
    f = call_client(m, &o);
  }
  begun(m, f, &o);
}

static made_t *some_held(void) {
  if (!call_count) return NULL;
  made_t *m = &calls[draw(call_count)];
  return m->future ? m : NULL;
}

static void cancel_one(void) {
  made_t *m = some_held();
  if (m) tinker_future_cancel(m->future);
}

static void release_one(void) {
  made_t *m = some_held();
  if (!m) return;
  m->gone = true;
  m->future = tinker_future_release(m->future);
}

static void wait_one(void) {
  made_t *m = some_held();
  if (!m) return;
  int rc = tinker_future_wait(m->future, (int64_t)draw(3000));
  holds(rc == tinker_future_status(m->future));
}

static void take_one(int64_t timeout_ms) {
  tinker_future_t *f = NULL;
  int rc = tinker_client_next(rig.client, timeout_ms, &f);
  holds(rc == 0 || rc == TINKER_EAGAIN || rc == TINKER_ENOENT);
  if (rc) return;
  made_t *m = tinker_future_user(f);
  met.next++;
  holds(tinker_future_status(f) != TINKER_EAGAIN);
  holds(m && !m->calls_back);
  m->taken++;
  m->status = tinker_future_status(f);
  tinker_future_release(f);
}

/* Handles that calls have made. */
static void collect(void) {
  for (size_t i = 0; i < call_count; i++) {
    made_t *m = &calls[i];
    if (!m->future) continue;
    if (m->kind == TINKER_KIND_CREATE_TRAINER && trainer_count < HANDLES &&
        !tinker_future_get_trainer(m->future, &trainers[trainer_count])) {
      trainer_count++;
    } else if (sampler_count < HANDLES &&
               !tinker_future_get_sampler(m->future,
                                          &samplers[sampler_count])) {
      sampler_count++;
    } else {
      continue;
    }
    if (one_in(2)) continue; /* again, later */
    m->gone = true;
    m->future = tinker_future_release(m->future);
  }
}

static void drop_handle(void) {
  if (one_in(2) && trainer_count > 1) {
    tinker_trainer_release(trainers[--trainer_count]);
  } else if (sampler_count > 1) {
    tinker_sampler_release(samplers[--sampler_count]);
  }
}

/* Drain or close. */
static void finish(bool drain) {
  if (call_count == CALLS) return;
  made_t *m = &calls[call_count++];
  *m = (made_t){.model = -1, .in_call = true};
  tinker_call_options_t o = options_of(m);
  m->kind = drain ? TINKER_KIND_DRAIN : TINKER_KIND_CLOSE;
  begun(m,
        drain ? tinker_client_drain(rig.client, &o)
              : tinker_client_close(rig.client, &o),
        &o);
  over = true;
}

static void happen(void) {
  size_t p = draw(100);
  if (p < 42) {
    submit();
  } else if (p < 62) {
    fake_loop_advance(&rig.loop, (int64_t)draw(2000));
  } else if (p < 68) {
    fake_loop_advance(&rig.loop, (int64_t)draw(90000));
  } else if (p < 76) {
    cancel_one();
  } else if (p < 81) {
    release_one();
  } else if (p < 88) {
    take_one((int64_t)draw(2) * 700);
  } else if (p < 94) {
    wait_one();
  } else if (p < 97) {
    collect();
  } else if (p < 98) {
    drop_handle();
  } else if (one_in(3)) {
    finish(draw(2));
  }
}

/* --- what has to hold at the end --- */

/* The number in "optim_step (seq_id 5): ...", -1 = none. */
static long number_in(const made_t *m, const char *text) {
  const char *name = tinker_kind_name(m->kind);
  size_t n = strlen(name);
  if (strncmp(text, name, n) != 0 || strncmp(text + n, " (seq_id ", 9) != 0) {
    return -1;
  }
  return strtol(text + n + 9, NULL, 10);
}

static void check_said(const made_t *m) {
  const tinker_error_t *e = tinker_future_error(m->future);
  const char *text = tinker_error_message(e);
  met.well += !e;
  met.failed += e != NULL;
  met.canceled += tinker_error_code(e) == TINKER_ECANCELED;
  met.timed_out += tinker_error_code(e) == TINKER_ETIMEDOUT;
  bool unknown = tinker_error_outcome_is_unknown(e);
  if (unknown) met.unknown++;
  if (m->model < 0 || unknown || tinker_error_code(e) == TINKER_ESERVER) return;
  const number_t *n = find(m->model, number_in(m, text));
  cr_assert(!n || !n->accepted, "order %llu: accepted, and said not to be: %s",
            (unsigned long long)order, text);
}

/* Numbers without a hole; a batch in several requests that was cut by a close
 * or a fatal trainer may lack the first of its own. */
static void check_numbers(void) {
  for (int model = 0; model < (int)rig.models && !chunked; model++) {
    size_t count = 0;
    long last = 0;
    for (size_t i = 0; i < number_count; i++) {
      if (numbers[i].model != model) continue;
      count++;
      if (numbers[i].seq > last) last = numbers[i].seq;
    }
    holds((long)count == last);
  }
}

static void check_order(void) {
  for (int model = 0; model < (int)rig.models; model++) {
    double last = 0;
    for (size_t i = 0; i < call_count; i++) {
      const tinker_optim_result_t *r;
      size_t n;
      if (calls[i].model != model || !calls[i].future) continue;
      if (tinker_future_get_optim(calls[i].future, &r)) continue;
      const tinker_metric_t *step = tinker_optim_result_metrics(r, &n);
      if (n == 0) continue; /* "{}", which is a result */
      holds(step->value > last);
      last = step->value;
    }
  }
}

static void check_end(void) {
  for (size_t i = 0; i < call_count; i++) {
    made_t *m = &calls[i];
    int ways = m->calls_back ? m->called : m->taken;
    holds(ways == 1 || (ways == 0 && m->gone && !m->calls_back));
    if (!m->future) continue;
    holds(tinker_future_status(m->future) != TINKER_EAGAIN);
    holds(tinker_future_status(m->future) == m->status);
    check_said(m);
  }
  check_numbers();
  check_order();
}

static void take_rest(void) {
  for (size_t left = CALLS + 1; left; left--) {
    size_t before = met.next;
    take_one(0);
    if (met.next == before) return;
  }
}

/* --- an order --- */

static void begin_order(void) {
  call_count = trainer_count = sampler_count = number_count = 0;
  over = false;
  chunked = one_in(4);
  rig_init(&rig, chunked ? "{\"fwdbwd_max_chunk_len\":1}" : NULL);
  rig.many = true;
  script_forget(rig.script);
  must(rig_client(&rig) == 0);
  if (one_in(8)) script_meddle(rig.script, meddle, NULL);
  if (one_in(8)) return; /* from nothing, perhaps disturbed */
  script_meddle(rig.script, NULL, NULL);
  trainers[trainer_count++] = rig_trainer(&rig);
  if (one_in(2)) trainers[trainer_count++] = rig_trainer(&rig);
  samplers[sampler_count++] = rig_sampler(&rig);
  script_meddle(rig.script, meddle, NULL);
}

static void end_order(void) {
  if (one_in(2)) finish(draw(2));
  fake_loop_advance(&rig.loop, one_in(8) ? 10000000 : 100000);
  over = true;
  tinker_future_release(tinker_client_close(rig.client, NULL));
  fake_loop_advance(&rig.loop, 10000);
  take_rest();
  if (one_in(2)) rig.client = tinker_client_release(rig.client);
  fake_loop_run(&rig.loop);
  check_end();
  for (size_t i = 0; i < call_count; i++) {
    tinker_future_release(calls[i].future);
  }
  while (trainer_count) tinker_trainer_release(trainers[--trainer_count]);
  while (sampler_count) tinker_sampler_release(samplers[--sampler_count]);
  rig_done(&rig);
}

static void run(uint64_t number, uint64_t seed) {
  order = number;
  state = (seed << 40) ^ (number * 0x9e3779b97f4a7c15u) ^ 0x2545f4914f6cdd1du;
  for (int i = 0; i < 8; i++) draw(2);
  begin_order();
  size_t events = 5 + draw(50);
  for (size_t i = 0; i < events && call_count + 1 < CALLS; i++) happen();
  end_order();
}

static uint64_t setting(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 10) : otherwise;
}

Test(model, random_orders, .timeout = 3600) {
  uint64_t orders = setting("TINKER_MODEL_ORDERS", ORDERS);
  uint64_t seed = setting("TINKER_MODEL_SEED", 1);
  uint64_t one = setting("TINKER_MODEL_ORDER", UINT64_MAX);
  cr_log_info("model: %llu orders, seed %llu", (unsigned long long)orders,
              (unsigned long long)seed);
  data = rig_batch(DATA, 3);
  must(!tinker_input_from_tokens(&prompt, (const int32_t[]){1, 2}, 2, NULL,
                                 NULL));
  if (one != UINT64_MAX) {
    run(one, seed);
  } else {
    for (uint64_t i = 0; i < orders; i++) run(i, seed);
  }
  rig_batch_free(data, DATA);
  tinker_input_release(prompt);
  cr_log_info("model: %zu well, %zu failed, %zu refused, %zu unknown, %zu "
              "canceled, %zu timed out, %zu by next, %zu sent again",
              met.well, met.failed, met.refused, met.unknown, met.canceled,
              met.timed_out, met.next, met.again);
  if (one != UINT64_MAX) return;
  size_t some = (size_t)orders / 10;
  cr_assert(met.well > some && met.failed > some && met.refused > some &&
            met.unknown > some && met.canceled > some && met.timed_out > some &&
            met.next > some && met.again > some);
}
