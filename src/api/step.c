/* tinker_trainer_step: forward_backward and optim_step as one.
 *
 * The optim_step is submitted right after the forward_backward and waits for
 * nothing but its turn. Whatever ends the waiting, the two are sent both or not
 * at all: half a step would stay in the trainer's sum of gradients. What the
 * service does not carry out of the first holds the second back, by the rule of
 * flow/sum.h, as long as that has not left. */
#include <string.h>

#include "api/call.h"
#include "api/handles.h"
#include "base/error.h"

static const tinker__kind_t kind_step = {
    .id = TINKER_KIND_STEP, .name = "step", .effect = TINKER__EFFECT_STEP};

/* The two halves, and how they have ended; NULL = well, or not yet. */
typedef struct ends_s {
  const tinker_error_t *forward;
  const tinker_error_t *optim;
  bool open; /* the optim_step has not ended */
} ends_t;

static tinker_future_t *half(const tinker__compound_t *c, int i) {
  return c->children[i].future;
}

static bool has_ended(const tinker__compound_t *c, int i) {
  return tinker__future_state(half(c, i)) != TINKER__FUTURE_PENDING;
}

static bool advises(const tinker_error_t *error, tinker__advice_t bit) {
  return tinker__error_advice(error) & bit;
}

/* By the sum, the door or the gate. */
static bool was_held_back(const tinker_error_t *optim) {
  return tinker_error_code(optim) == TINKER_ESTATE;
}

/* The service has said itself that it did not carry it out. */
static bool has_failed_there(const tinker_error_t *forward) {
  int code = tinker_error_code(forward);
  return code == TINKER_ESERVER || code == TINKER_EREJECTED;
}

static unsigned advice_of(const ends_t *e) {
  const unsigned retriable = TINKER__ADVICE_RETRIABLE;
  unsigned advice =
      (tinker__error_advice(e->forward) | tinker__error_advice(e->optim)) &
      ~retriable;
  if (!e->forward) return advice | TINKER__ADVICE_UNKNOWN;
  if (!e->optim && !e->open) {
    if (has_failed_there(e->forward)) advice |= TINKER__ADVICE_RECOVER;
    return advice | TINKER__ADVICE_UNKNOWN;
  }
  bool nothing =
      advises(e->forward, TINKER__ADVICE_RETRIABLE) &&
      (was_held_back(e->optim) || advises(e->optim, TINKER__ADVICE_RETRIABLE));
  return advice | (nothing && !advice ? retriable : 0);
}

/* What became of the optim_step, after the forward_backward's error. */
static const char *rest_of(const ends_t *e) {
  if (e->open) return "; its optim_step is sent after it";
  if (!e->optim) return "; its optim_step was carried out";
  if (was_held_back(e->optim)) return "; its optim_step was not sent";
  if (tinker_error_code(e->optim) == tinker_error_code(e->forward)) return "";
  return "; its optim_step has failed as well: ";
}

/* The one error of a step; NULL when both have ended well. */
static tinker_error_t *judge(const tinker__compound_t *c, const ends_t *e) {
  const tinker_error_t *first = e->forward ? e->forward : e->optim;
  if (!first) return NULL;
  tinker__error_spec_t spec = {
      .code = tinker_error_code(first),
      .http_status = tinker_error_http_status(first),
      .category = tinker_error_category(first),
      .advice = advice_of(e),
      .retry_after_ms = tinker_error_retry_after_ms(first),
      .request_id = tinker_error_request_id(first),
  };
  const char *rest = e->forward ? rest_of(e) : "";
  size_t n = strlen(rest);
  return tinker__error_new(
      c->future->mem, &spec, "step: %s%s%s%s",
      e->forward ? "" : "its forward_backward was carried out; ",
      tinker_error_message(first), rest,
      n && rest[n - 1] == ' ' ? tinker_error_message(e->optim) : "");
}

static void ended(tinker__child_t *child) {
  tinker__compound_t *c = child->compound;
  if (tinker__future_state(c->future) != TINKER__FUTURE_PENDING) return;
  if (!has_ended(c, 0) || !has_ended(c, 1)) return;
  ends_t e = {half(c, 0)->error, half(c, 1)->error, false};
  tinker__compound_settle(c, judge(c, &e));
}

/* Its second half has not left and is sent all the same. */
static tinker_error_t *half_way(const tinker__compound_t *c, int code,
                                const char *why) {
  ends_t e = {half(c, 0)->error, NULL, true};
  if (e.forward) return judge(c, &e);
  return tinker__error_new(
      c->future->mem,
      &(tinker__error_spec_t){.code = code,
                              .advice = TINKER__ADVICE_UNKNOWN,
                              .where = tinker__job_of(c->future)->core->where},
      "step: its forward_backward was carried out; optim_step: %s; it is sent "
      "all the same",
      why);
}

static void stop(tinker__compound_t *c, int code, const char *why) {
  tinker_client_t *core = c->future->owner;
  tinker__flow_stop_pair(&core->flow, half(c, 0)->op, half(c, 1)->op, code, why,
                         tinker__loop_now(core->loop));
  if (tinker__future_state(c->future) != TINKER__FUTURE_PENDING) return;
  tinker__compound_settle(c, half_way(c, code, why));
}

static const tinker__compound_ops_t step_ops = {
    .together = true, .ended = ended, .stop = stop};

static const tinker_error_t *decoded(tinker_future_t *f) {
  tinker__future_decode(f, true);
  return tinker__future_error(f);
}

static tinker_error_t *decode_step(tinker_future_t *f) {
  const tinker__compound_t *c = tinker__compound_of(f);
  ends_t e = {decoded(half(c, 0)), decoded(half(c, 1)), false};
  return judge(c, &e);
}

static const tinker__future_ops_t result_step = {decode_step, tinker__job_free};

tinker_future_t *tinker_trainer_step(tinker_trainer_t *trainer,
                                     tinker_datum_t *const *data, size_t n,
                                     const tinker_loss_t *loss,
                                     const tinker_adam_params_t *adam,
                                     const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__optim_step_t optim;
  tinker__call_begin(&c, trainer->core, trainer->turn, &kind_step, call);
  tinker__call_take_adam(&c, &optim, adam);
  if (c.partial) {
    tinker__call_refuse(&c, TINKER_EINVAL,
                        "adam_params: allow_partial is 1, and a step goes "
                        "whole or not at all");
  }
  if (tinker__call_open_compound(&c, &result_step, &step_ops, 2)) {
    tinker__call_batch(&c, &tinker__kind_forward_backward, data, n, loss);
    tinker__call_optim(&c, &optim);
  }
  return tinker__call_end(&c);
}
