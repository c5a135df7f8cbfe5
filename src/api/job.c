/* Begin and end of every asynchronous call, see job.h. */
#include "api/job.h"

#include "base/options.h"

static void drop_owner(void *core) {
  tinker__core_unhold(core);
}

static int new_future(const tinker__args_t *args,
                      const tinker__future_ops_t *result, size_t parts,
                      tinker_future_t **out) {
  tinker__mem_t *mem = args->core->mem;
  tinker_future_t *f;
  tinker__job_t *job = tinker__mem_zalloc(mem, sizeof *job);
  if (!job) return TINKER_ENOMEM;
  if (tinker__future_new(&f, mem, result, parts, args->cb, args->user)) {
    tinker__mem_free(mem, job);
    return TINKER_ENOMEM;
  }
  job->core = args->core;
  tinker__arena_init(&job->arena, mem);
  f->subject = job;
  tinker__core_hold(args->core);
  f->owner = args->core;
  f->unown = drop_owner;
  *out = f;
  return 0;
}

/* INT64_MIN = invalid, -1 = none. */
static int deadline_of(const tinker__args_t *args, int64_t *out) {
  tinker_call_options_t o;
  int rc = tinker__options_take(&o, sizeof o, args->options, "call_options",
                                NULL, 0);
  if (rc) return rc;
  int64_t ms = o.timeout_ms ? o.timeout_ms : args->core->default_timeout_ms;
  if (ms < -1) return TINKER_EINVAL;
  int64_t now = tinker__loop_now(args->core->loop);
  *out = ms < 0 || ms > INT64_MAX - now ? -1 : now + ms;
  return 0;
}

int tinker__job_begin(const tinker__args_t *args, const tinker__kind_t *kind,
                      const tinker__future_ops_t *result, size_t parts,
                      tinker__op_t **out) {
  tinker_future_t *f;
  tinker__op_t *op;
  int64_t deadline_ms;
  if (!args->cb && !args->out) return TINKER_EINVAL;
  if (!tinker__core_is_here(args->core)) return TINKER_EFORKED;
  if (!tinker__core_takes(args->core, kind)) return TINKER_ECLOSED;
  if (args->turn && atomic_load(&args->turn->fatal)) return TINKER_EFATAL;
  int rc = deadline_of(args, &deadline_ms);
  if (!rc) rc = new_future(args, result, parts, &f);
  if (rc) return rc;
  rc = tinker__op_new(&op, args->core->mem, kind, parts, f);
  tinker__future_unref(f);
  if (rc) return rc;
  op->deadline_ms = deadline_ms;
  if (args->turn) op->turn = tinker__turn_retain(args->turn);
  *out = op;
  return 0;
}

int tinker__job_end(const tinker__args_t *args, tinker__op_t *op, int rc) {
  if (!op) return rc;
  if (rc) {
    tinker__op_free(op);
    return rc;
  }
  return tinker__driver_submit(args->core, op, args->out);
}

const char *tinker__job_str(tinker__job_t *job, const char *s) {
  return s ? tinker__arena_str(&job->arena, tinker__str(s)) : NULL;
}
