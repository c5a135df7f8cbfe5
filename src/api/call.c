/* Begin and end of every asynchronous call, see call.h. */
#include "api/call.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/checks.h"
#include "base/error.h"
#include "base/options.h"

#define TTL_MIN 3600
#define TTL_MAX 315360000 /* ten years */

void tinker__call_refuse(tinker__call_t *call, int code, const char *fmt, ...) {
  va_list ap;
  if (call->rc) return;
  call->rc = code;
  va_start(ap, fmt);
  vsnprintf(call->why, sizeof call->why, fmt, ap);
  va_end(ap);
}

void tinker__call_check(tinker__call_t *call, int rc) {
  if (rc) tinker__call_refuse(call, rc, "%s", tinker_code_text(rc));
}

void tinker__call_want(tinker__call_t *call, bool ok, const char *name,
                       double value, const char *want) {
  if (ok) return;
  tinker__call_refuse(call, TINKER_EINVAL, "%s is %.17g: want %s", name, value,
                      want);
}

void tinker__call_flag(tinker__call_t *call, const char *name, int32_t value) {
  tinker__call_want(call, value == 0 || value == 1, name, value, "0 or 1");
}

void tinker__call_reserved(tinker__call_t *call, const char *name,
                           int32_t value) {
  if (!value) return;
  tinker__call_refuse(call, TINKER_ENOTSUP, "%s.reserved0 is %d: want 0", name,
                      value);
}

void tinker__call_ttl(tinker__call_t *call, int64_t ttl_seconds) {
  tinker__call_want(call,
                    ttl_seconds == TINKER_NO_TTL ||
                        (ttl_seconds >= TTL_MIN && ttl_seconds <= TTL_MAX),
                    "ttl_seconds", (double)ttl_seconds,
                    "3600 to 315360000, or TINKER_NO_TTL");
}

void tinker__call_text(tinker__call_t *call, const char *name, const char *s) {
  const char *fault = tinker__text_fault(s);
  if (fault) tinker__call_refuse(call, TINKER_EINVAL, "%s %s", name, fault);
}

void tinker__call_path(tinker__call_t *call, const char *name, const char *s) {
  tinker__call_text(call, name, s);
  if (call->rc || tinker__path_ok(s)) return;
  tinker__call_refuse(call, TINKER_EINVAL,
                      "%s is \"%.200s\": want \"tinker://...\"", name, s);
}

void tinker__call_take(tinker__call_t *call, void *out, size_t known,
                       const void *defaults, const void *given,
                       const char *name) {
  char why[TINKER__CALL_WHY];
  int rc =
      tinker__options_take(out, known, defaults, given, name, why, sizeof why);
  if (rc) tinker__call_refuse(call, rc, "%s", why);
}

/* --- begin --- */

static void take_deadline(tinker__call_t *call) {
  int64_t ms = call->options.timeout_ms;
  if (ms == TINKER_TIMEOUT_DEFAULT) ms = call->core->default_timeout_ms;
  if (ms < TINKER_NO_TIMEOUT) {
    tinker__call_refuse(call, TINKER_EINVAL,
                        "timeout_ms is %lld: want milliseconds, -1 or -2",
                        (long long)ms);
  }
  if (ms == 0) {
    tinker__call_refuse(call, TINKER_ETIMEDOUT,
                        "its deadline had passed when it was called "
                        "(timeout_ms is 0): nothing was sent");
  }
  const tinker__world_t *world = call->core->world;
  int64_t now = world->now_ms(world->user);
  call->timeout_ms = ms;
  call->deadline_ms = ms < 0 || ms > INT64_MAX - now ? -1 : now + ms;
}

static void refuse_late(tinker__call_t *call) {
  if (!tinker__core_takes(call->core, call->kind)) {
    tinker__call_refuse(call, TINKER_ECLOSED, "the client %s",
                        tinker__core_phase(call->core) ==
                                TINKER__CLIENT_DRAINING
                            ? "drains and takes no new calls"
                            : "is closed");
  }
  if (call->turn && atomic_load(&call->turn->fatal)) {
    tinker__call_refuse(call, TINKER_EFATAL, "it was not sent: %s",
                        tinker__turn_why(call->turn));
  }
}

static void check_ahead(tinker__call_t *call) {
  const tinker_call_options_t *o = &call->options;
  tinker__call_flag(call, "ahead", o->ahead);
  tinker__call_want(call, o->reserved1 == 0, "reserved1", o->reserved1, "0");
  if (o->ahead && !(call->turn && call->turn->ordered)) {
    tinker__call_refuse(call, TINKER_EINVAL,
                        "ahead is 1, and it has no place in a trainer's queue");
  }
}

void tinker__call_begin(tinker__call_t *call, tinker_client_t *core,
                        tinker__turn_t *turn, const tinker__kind_t *kind,
                        const tinker_call_options_t *options) {
  static const tinker_call_options_t defaults = TINKER_CALL_OPTIONS_INIT;
  call->core = core;
  call->turn = turn;
  call->kind = kind;
  call->future = NULL;
  call->partial = false;
  call->op = NULL;
  call->compound = NULL;
  call->rc = 0;
  call->options = defaults;
  if (!tinker__core_is_here(core)) {
    tinker__call_check(call, TINKER_EFORKED);
    return;
  }
  tinker__call_take(call, &call->options, sizeof call->options, &defaults,
                    options, "call_options");
  tinker__call_flag(call, "detached", call->options.detached);
  tinker__call_reserved(call, "call_options", call->options.reserved0);
  check_ahead(call);
  if (call->rc) call->options.detached = 0; /* the caller gets the reason */
  take_deadline(call);
  refuse_late(call);
}

/* --- the future --- */

static int new_future(tinker__call_t *call, const tinker__future_ops_t *result,
                      size_t parts) {
  tinker_future_t *f;
  int rc = tinker__job_new(&f, call->core, call->kind, result, parts);
  if (rc) return rc;
  f->cb = call->options.cb;
  f->user = call->options.user;
  f->kept = call->options.detached && !call->options.cb;
  if (!call->options.detached) tinker__future_to_user(f);
  call->future = f;
  return 0;
}

bool tinker__call_open_local(tinker__call_t *call,
                             const tinker__future_ops_t *result, size_t parts) {
  if (!call->rc) tinker__call_check(call, new_future(call, result, parts));
  return call->rc == 0;
}

bool tinker__call_open(tinker__call_t *call, const tinker__future_ops_t *result,
                       size_t parts) {
  if (!tinker__call_open_local(call, result, parts)) return false;
  tinker__call_check(
      call, tinker__job_op(&call->op, call->future, call->kind, parts));
  if (call->rc) return false;
  call->op->deadline_ms = call->deadline_ms;
  call->op->timeout_ms = call->timeout_ms;
  call->op->ahead = call->options.ahead != 0;
  call->op->tag = call->options.tag;
  if (call->turn) call->op->turn = tinker__turn_retain(call->turn);
  return true;
}

bool tinker__call_open_compound(tinker__call_t *call,
                                const tinker__future_ops_t *result,
                                const tinker__compound_ops_t *ops,
                                size_t children) {
  if (!tinker__call_open_local(call, result, 0)) return false;
  call->compound = tinker__compound_new(call->future, ops, children);
  if (!call->compound) tinker__call_check(call, TINKER_ENOMEM);
  if (call->rc) return false;
  call->compound->deadline_ms = call->deadline_ms;
  call->compound->timeout_ms = call->timeout_ms;
  return true;
}

tinker__op_t *tinker__call_op_of(tinker__call_t *call, tinker_client_t *core,
                                 tinker__turn_t *turn,
                                 const tinker__kind_t *kind,
                                 const tinker__future_ops_t *result,
                                 size_t parts) {
  if (call->rc) return NULL;
  if (!call->compound) {
    return tinker__call_open(call, result, parts) ? call->op : NULL;
  }
  tinker__op_t *op =
      tinker__compound_add(call->compound, core, turn, kind, result, parts);
  if (!op) {
    tinker__call_check(call, TINKER_ENOMEM);
    return NULL;
  }
  op->ahead = call->options.ahead != 0;
  op->tag = call->options.tag;
  return op;
}

/* --- end --- */

/* What the caller gets for a future that will be, or was, reported. One that is
 * kept for tinker_client_next may be gone by now. */
tinker_future_t *tinker__call_hand_out(tinker__call_t *call) {
  if (!call->options.detached) return call->future;
  if (call->options.cb) tinker__future_unref(call->future);
  return tinker__future_detached(call->options.cb != NULL);
}

static tinker_error_t *refusal(const tinker__call_t *call) {
  tinker__error_spec_t spec = {.code = call->rc};
  if (call->rc == TINKER_EFATAL) {
    spec.advice = TINKER__ADVICE_FATAL | TINKER__ADVICE_RECOVER;
  }
  if (call->rc == TINKER_EINVAL || call->rc == TINKER_EOVERFLOW ||
      call->rc == TINKER_ENOTSUP) {
    spec.category = TINKER_CATEGORY_USER;
  }
  return tinker__error_new(call->core->mem, &spec, "%s: %s", call->kind->name,
                           call->why);
}

static tinker_future_t *report_refusal(tinker__call_t *call) {
  if (!call->future && new_future(call, &tinker__result_none, 0)) {
    return tinker__future_constant(TINKER_ENOMEM);
  }
  tinker_future_t *f = call->future;
  tinker__future_ref(f); /* for who reports it */
  tinker__future_settle(f, refusal(call));
  if (tinker__driver_refused(call->core, f)) return tinker__call_hand_out(call);
  tinker__future_unref(f);
  tinker__future_unref(f);
  return tinker__future_constant(TINKER_ECLOSED);
}

/* 0 when it is under way. */
static int submit(tinker__call_t *call) {
  tinker__op_t *op = call->op;
  if (call->compound && call->compound->ops->together) {
    op = call->compound->children[0].op;
  }
  if (call->turn && op) op->before = tinker__turn_take_refused(call->turn);
  return call->compound
             ? tinker__driver_submit_all(call->compound, call->kind, call->turn)
             : tinker__driver_submit(call->core, op);
}

/* A step is a forward_backward, too. */
static void count_refusal(const tinker__call_t *call) {
  if (!call->turn || call->rc == TINKER_EFORKED) return;
  if (call->kind->id == TINKER_KIND_STEP) {
    tinker__turn_refused(call->turn, TINKER__EFFECT_ADD);
  }
  tinker__turn_refused(call->turn, call->kind->effect);
}

tinker_future_t *tinker__call_end(tinker__call_t *call) {
  if (!call->rc && (call->op || call->compound)) {
    if (submit(call) == 0) return tinker__call_hand_out(call);
    refuse_late(call);
  }
  tinker__op_free(call->op);
  count_refusal(call);
  if (call->rc != TINKER_ENOMEM && call->rc != TINKER_EFORKED) {
    return report_refusal(call);
  }
  tinker__future_unref(call->future);
  return tinker__future_constant(call->rc);
}
